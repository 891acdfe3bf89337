"""common/pack/packer.py: every byte of a packed file by hand, round trips, and the nearest bf16 weights."""

from __future__ import annotations

import math
import random
import struct
import unittest
from dataclasses import replace
from typing import Iterator
from unittest import mock

from support.models import small_checkpoint
from support.skip import main

from common.errors import UserError
from common.libraries import numpy as np
from common.model import random_model, tokenizer
from common.model.checkpoint import GAINS, Checkpoint, Config
from common.model.tokenizer import printed
from common.pack import encodings, layouts, packer, utf16
from common.pack.layouts import Layout, Matrix, Records, Text
from common.training.rounding import on_a_grid

PIECES = [b"<unk>", b"\n<s>\n", b"abc", b"<0x0A>", b"", b"<0x00>", b"d", b"e", b"f", b"g"]


TEXTS = [b"%d" % token for token in range(40)]


def floats(data: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(data) // 4}f", data))


class ByHand(unittest.TestCase):
    """Declarations, one by one, on a model of dim 2: what stands where in the file."""

    CONFIG = Config(dim=2, hidden_dim=3, n_layers=2, n_heads=1, n_kv_heads=1, vocab_size=2, seq_len=4, tied=True)

    def setUp(self) -> None:
        self.model = Checkpoint(self.CONFIG, {
            name: np.arange(math.prod(shape), dtype=np.float32).reshape(shape) + 100 * number
            for number, (name, shape) in enumerate(self.CONFIG.shapes().items())})
        self.embedding = [0, 1, 2, 3]

    def packed(self, *blocks: Matrix | Records, encoding: str = "f32") -> bytes:
        def declared(config: Config) -> Iterator[Matrix | Records]:
            yield from blocks
        with mock.patch.dict(layouts.LAYOUTS, test=Layout(declared, lambda config: 0)):
            spans = packer.plan("test", encoding, self.CONFIG, [b"<0x41>", b"yz"])
            return packer.encode(spans, self.model, [b"<0x41>", b"yz"])

    def test_rows(self) -> None:
        w1 = self.model.tensors["w1"][1].ravel().tolist()  # (3, 2)
        self.assertEqual(floats(self.packed(Matrix("w1", 1))), w1)
        self.assertEqual(floats(self.packed(Matrix("w1", 1, order=[2, 0, 1]))), w1[4:] + w1[:4])
        self.assertEqual(floats(self.packed(Matrix("w1", 1, order=[2]), Matrix("wcls"), Matrix("w1", 1, order=[0, 1]))),
                         w1[4:] + self.embedding + w1[:4])  # a matrix in two parts
        self.assertEqual(floats(self.packed(Matrix("w1", 1, backwards=True))),
                         [w1[1], w1[0], w1[3], w1[2], w1[5], w1[4]])
        self.assertEqual(floats(self.packed(Matrix("w1", 1, transposed=True))), w1[::2] + w1[1::2])
        self.assertEqual(floats(self.packed(Matrix("w1", 1, transposed=True, backwards=True, order=[1, 0]))),
                         w1[::-2] + w1[4::-2])

    def test_first_layer_backwards(self) -> None:
        wq = self.model.tensors["wq"][0].ravel().tolist()
        self.assertEqual(floats(self.packed(Matrix("wq", 0, backwards=True))), [wq[1], wq[0], wq[3], wq[2]])

    def test_gains_and_factors(self) -> None:
        w3, gains = self.model.tensors["w3"][1], self.model.tensors["rms_ffn"][1]
        scale = -math.sqrt(2)
        self.assertEqual(floats(self.packed(Matrix("w3", 1, gain="rms_ffn", factors=("sqrt(dim)", "-1")))),
                         (w3.astype(np.float64) * gains * scale).astype(np.float32).ravel().tolist())
        self.assertEqual(floats(self.packed(Matrix("w3", 1, gain="rms_ffn", backwards=True)))[:2],
                         [w3[0, 1] * gains[1], w3[0, 0] * gains[0]])
        self.assertEqual(floats(self.packed(Matrix("w2", 0, factors=("2^exp_squarings",))))[5],
                         self.model.tensors["w2"][0, 1, 2] * 2.0**layouts.EXP_SQUARINGS)

    def test_tied_classifier(self) -> None:
        self.assertEqual(floats(self.packed(Matrix("wcls"))), self.embedding)
        final = self.model.tensors["rms_final"]
        self.assertEqual(floats(self.packed(Matrix("wcls", gain="rms_final")))[3], 3 * final[1])

    def test_records(self) -> None:
        data = self.packed(Matrix("wk", 0), Records((Matrix("token_embedding"), Text())))
        self.assertEqual(len(data), 16 + 2 * (8 + 3))
        self.assertEqual(data[16:27], struct.pack("<2f", 0, 1) + b"\1A\0")
        self.assertEqual(data[27:], struct.pack("<2f", 2, 3) + b"\0yz")  # BOS: length 0

    def test_records_of_wide_characters(self) -> None:
        """UTF-16, and a zero ends it; BOS has one before its text."""
        data = self.packed(Matrix("wk", 0), Records((Matrix("token_embedding"), Text(text_offset=0, multiple=4, wide=True))))
        self.assertEqual(data[16:], struct.pack("<2f", 0, 1) + b"A\0" + bytes(6) + struct.pack("<2f", 2, 3) + b"\0\0y\0z\0\0\0")

    def test_bf16(self) -> None:
        """Dense, with two bytes of padding before the first weight; 1.0, 2.0, 3.0 are exact but for the low half."""
        self.assertEqual(self.packed(Matrix("token_embedding"), encoding="bf16")[:4].hex(), "00000000")
        data = self.packed(Matrix("token_embedding"), encoding="bf16")
        self.assertEqual(len(data), 2 + 8)
        values = [struct.unpack_from("<f", data, i)[0] for i in (0, 2, 4, 6)]
        for value, wanted in zip(values, [0, 1, 2, 3]):
            self.assertAlmostEqual(value, wanted, delta=0.004 * wanted)


class ByteOrder(unittest.TestCase):
    """For big-endian machines the same numbers stand there with their bytes the other way round; texts do not change."""

    def packed(self, order: str) -> tuple[bytes, list[packer.Span], Checkpoint]:
        model = small_checkpoint()
        spans = packer.plan("plain", "f32", model.config, PIECES, order)
        return packer.encode(spans, model, PIECES), spans, model

    def test_by_hand(self) -> None:
        values, nothing = np.array([[1.0, -2.5]], np.float32), np.zeros((1, 0), np.uint8)
        f32 = encodings.ENCODINGS["f32"]
        self.assertEqual(f32.encode(values, nothing, "big").tobytes().hex(), "3f800000c0200000")
        self.assertEqual(f32.encode(values, nothing, "little").tobytes().hex(), "0000803f000020c0")
        self.assertEqual(f32.encode(values, nothing).tobytes().hex(), "0000803f000020c0")
        self.assertEqual(f32.decode(f32.encode(values, nothing, "big"), "big").tolist(), [[1.0, -2.5]])
        self.assertEqual(values.tolist(), [[1.0, -2.5]])  # the model's own numbers stay as they are

    def test_weights_are_turned_and_texts_are_not(self) -> None:
        (little, spans, _), (big, *_) = self.packed("little"), self.packed("big")
        self.assertNotEqual(little, big)
        turned = bytearray(big)
        for span in spans:
            if isinstance(span, packer.Weights):
                for row in range(span.rows):
                    start = span.offset + row * span.row_stride
                    for place in range(start, start + span.row_bytes, 4):
                        turned[place:place + 4] = big[place:place + 4][::-1]
        self.assertEqual(bytes(turned), little)

    def test_both_are_the_same_checkpoint(self) -> None:
        decoded = [packer.decode(spans, model.config, packed) for packed, spans, model in map(self.packed, ("little", "big"))]
        self.assertEqual(decoded[0], decoded[1])
        self.assertTrue((decoded[0][0].tensors["wq"] == small_checkpoint().tensors["wq"]).all())

    def test_a_wrong_order_is_no_checkpoint(self) -> None:
        packed, _, model = self.packed("big")
        wrong, _ = packer.decode(self.packed("little")[1], model.config, packed)
        self.assertFalse((wrong.tensors["wq"] == model.tensors["wq"]).any())

    def test_the_manifest_says_it(self) -> None:
        for order in ("little", "big"):
            entries = packer.manifest(self.packed(order)[1])
            self.assertEqual({entry["byte_order"] for entry in entries if "byte_order" in entry}, {order})
            self.assertEqual([entry["tensor"] for entry in entries if "byte_order" not in entry], ["vocabulary"])

    def test_what_no_machine_can_read(self) -> None:
        with self.assertRaisesRegex(UserError, "^encoding bf16: big-endian machines cannot read it, use one of f32$"):
            packer.plan("plain", "bf16", small_checkpoint().config, PIECES, "big")


class Wide(unittest.TestCase):
    def test_nothing_is_lost(self) -> None:
        for text in (b"", b"\n", b"a\r\n\0\xff", "\u00e9\U0001d11e".encode(), bytes(range(256)), b"\xed\xb0\x80", b"\xc0\x80"):
            self.assertEqual(utf16.decode(utf16.encode(text)), text)
            self.assertNotIn(b"\0\0", [utf16.encode(text)[i:i + 2] for i in range(0, 2 * len(text), 2)])
        self.assertEqual(utf16.encode("\u00e9\n\0".encode() + b"\xc3").hex(" ", 2), "e900 0d00 0a00 00dc c3dc")
        self.assertEqual(utf16.decode(utf16.encode(b"\xc3") + utf16.encode(b"\xa9")), "\u00e9".encode())

    def test_split(self) -> None:
        self.assertEqual(utf16.split(b"a\0\0\1\0\0b\0"), (b"a\0\0\1", b"\0\0", b"b\0"))
        self.assertEqual(utf16.split(b"a\0"), (b"a\0", b"", b""))


class Round(unittest.TestCase):
    def test_every_layout(self) -> None:
        """Packed and decoded again: the checkpoint with its gains folded, or there as they are, and the texts."""
        for name in layouts.LAYOUTS:
            for encoding, error in (("f32", 2.0**-22), ("bf16", 1.01 * 2.0**-8)):
                for tied in (True, False):
                    model = small_checkpoint(tied)
                    pieces = [piece or b"?" for piece in PIECES] if not layouts.LAYOUTS[name].empty_pieces else PIECES
                    spans = packer.plan(name, encoding, model.config, pieces)
                    packed = packer.encode(spans, model, pieces)
                    self.assertEqual(len(packed), packer.packed_bytes(spans))
                    effective, texts = packer.decode(spans, model.config, packed)
                    self.assertEqual(effective.config, replace(model.config, tied=False))
                    self.assertEqual(texts, [printed(piece) for piece in pieces])
                    gains = {tensor for tensor in model.tensors if tensor.startswith("rms")}
                    whole = {span.tensor for span in spans} & gains
                    self.assertIn(whole, (set(), gains))
                    for tensor in gains:
                        self.assertNear(effective.tensors[tensor], model.tensors[tensor] if whole else 1.0, error)
                    for tensor, gain in [("wq", "rms_att"), ("w1", "rms_ffn"), ("wcls", "rms_final")]:
                        wanted = model.classifier if tensor == "wcls" else model.tensors[tensor]
                        gains = 1.0 if whole else model.tensors[gain][..., None, :]  # (…, rows, columns)
                        self.assertNear(effective.tensors[tensor], wanted * gains, error)
                    for tensor in ("token_embedding", "wo", "w2"):
                        self.assertNear(effective.tensors[tensor], model.tensors[tensor], error)

    def assertNear(self, values: np.ndarray, wanted: np.ndarray | float, error: float) -> None:
        self.assertTrue((np.abs(values - wanted) <= error * np.abs(wanted)).all())

    def test_blocks(self) -> None:
        """However many rows are packed at once, and decoded."""
        model = small_checkpoint(tied=False)
        for name in layouts.LAYOUTS:
            for encoding in layouts.LAYOUTS[name].encodings:
                spans = packer.plan(name, encoding, model.config, TEXTS[:10])
                packed = packer.encode(spans, model, TEXTS[:10])
                effective, _ = packer.decode(spans, model.config, packed)
                for block in (1, 3 * model.config.dim):
                    with mock.patch.object(packer, "BLOCK", block):
                        self.assertEqual(packer.encode(spans, model, TEXTS[:10]), packed)
                        self.assertEqual(packer.decode(spans, model.config, packed)[0], effective)

    def test_packing_the_effective_checkpoint_again(self) -> None:
        """What an engine's weights are does not change any more (in f32, up to the last bit)."""
        model = small_checkpoint()
        spans = packer.plan("stream", "f32", model.config, PIECES)
        effective, _ = packer.decode(spans, model.config, packer.encode(spans, model, PIECES))
        again, _ = packer.decode(spans, effective.config, packer.encode(spans, effective, PIECES))
        for name, values in effective.tensors.items():
            self.assertNear(again.tensors[name], values, 2.0**-22)

    def test_holes_are_nan(self) -> None:
        def partial(config: Config) -> Iterator[Matrix | Records]:
            yield Matrix("wcls")
        model = small_checkpoint()
        with mock.patch.dict(layouts.LAYOUTS, partial=Layout(partial, lambda config: 0)):
            spans = packer.plan("partial", "f32", model.config, PIECES)
        effective, _ = packer.decode(spans, model.config, packer.encode(spans, model, PIECES))
        self.assertTrue(np.isnan(effective.tensors["wk"]).all())
        self.assertFalse(np.isnan(effective.tensors["wcls"]).any())


class Bf16(unittest.TestCase):
    """The upper half is the best one for the lower half that is there."""

    def encoded(self, values: list[float], before: bytes = b"\0\0") -> tuple[bytes, list[float]]:
        bf16 = encodings.ENCODINGS["bf16"]
        in_front = np.frombuffer(before, np.uint8)[None]
        data = np.concatenate([in_front, bf16.encode(np.array([values], np.float32), in_front)], 1)
        return data.tobytes(), bf16.decode(data)[0].tolist()

    def test_nearest(self) -> None:
        generator = random.Random(1)
        values = [generator.gauss(0, 10.0 ** generator.randint(-12, 12)) for _ in range(3000)]
        data, decoded = self.encoded(values, b"\xfe\xff")
        for i, (value, found) in enumerate(zip(np.array(values, np.float32).tolist(), decoded)):
            low, half = struct.unpack_from("<HH", data, 2 * i)
            for other in (half - 1, half + 1):
                candidate = struct.unpack("<f", struct.pack("<HH", low, other))[0]
                self.assertLessEqual(abs(found - value), abs(candidate - value), (value, found, candidate))

    def test_one_after_the_other(self) -> None:
        """Each half hangs upon the one before it: that of a constant at the edge between two."""
        for low in (0x3F40, 0x3F3F, 0x3F41):
            value = struct.unpack("<f", struct.pack("<HH", low, 0xBF40))[0]
            data, decoded = self.encoded([value] * 50)
            for i, found in enumerate(decoded):
                before, half = struct.unpack_from("<HH", data, 2 * i)
                candidates = [struct.unpack("<f", struct.pack("<HH", before, other))[0] for other in (half - 1, half + 1)]
                self.assertLessEqual(abs(found - value), min(abs(candidate - value) for candidate in candidates))

    def test_limits(self) -> None:
        largest = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
        for low in (b"\0\0", b"\xff\xff", b"\0\x80"):
            _, decoded = self.encoded([largest, -largest, 0.0, 1e-40, -0.0, 1e-45, largest], low)
            self.assertTrue(all(map(math.isfinite, decoded)))
            self.assertGreater(decoded[0], 0.99 * largest)
            self.assertLess(decoded[1], -0.99 * largest)
            for small in decoded[2:6]:
                self.assertLess(abs(small), 1e-38)


class Bf16Alone(unittest.TestCase):
    """An embedding that is copied to zeros: the nearest float of 16 bits, whatever stands before it."""

    ALONE = encodings.FOR_STREAM["int8"].embedding

    def test_by_hand(self) -> None:
        largest = float(np.finfo(np.float32).max)
        values = np.array([[1.0, -2.5, 1 + 2.0**-8 + 2.0**-20, 1 + 2.0**-9, -0.0, largest, -largest]], np.float32)
        data = self.ALONE.encode(values, np.zeros((1, 0), np.uint8))
        self.assertEqual(data.tobytes().hex(), "803f" "20c0" "813f" "803f" "0080" "7f7f" "7fff")
        self.assertEqual(self.ALONE.decode(data)[0, :5].tolist(), [1.0, -2.5, 1 + 2.0**-7, 1.0, 0.0])

    def test_where_it_is(self) -> None:
        """With an x87 the C++ engines have it, in every encoding but f32: so weights of 16 bits are exact."""
        model = random_model.weights(Config(24, 40, 1, 6, 2, 40, 12, False), 1)
        embedding = model.tensors["token_embedding"]
        embedding[:] = (embedding.view(np.uint32) & 0xFFFF0000).view(np.float32)
        for layout in ("stream", "stream-wide"):
            for encoding in ("bf16", "int8", "int4"):
                spans = packer.plan(layout, encoding, model.config, TEXTS)
                effective, _ = packer.decode(spans, model.config, packer.encode(spans, model, TEXTS))
                self.assertTrue((effective.tensors["token_embedding"] == embedding).all(), f"{layout}, {encoding}")


class Int8(unittest.TestCase):
    """Whole steps, and a step for each row; that of columns which are added goes where they are added from."""

    INT8 = encodings.ENCODINGS["int8"]

    def test_by_hand(self) -> None:
        values = np.array([[1.0, -2.5, 0.02, 127.0], [4.0, 0.0, -2.0, 1.0]], np.float32)
        self.assertEqual(self.INT8.step(values).tolist(), [1.0, 2.0**-4])
        self.assertEqual(self.INT8.step(values, np.array([0, 0])).tolist(), [1.0])  # a group: 0.02 is no whole number of anything
        data = self.INT8.encode_steps(values, np.array([1.0, 2.0]), np.array([0.5, 2.0]))
        self.assertEqual([row.tobytes().hex() for row in data], ["01fe007f" + "0000003f", "0200ff00" + "00000040"])  # to the even one
        self.assertEqual(self.INT8.steps(data).tolist(), [[1, -2, 0, 127], [2, 0, -1, 0]])
        self.assertEqual(self.INT8.scales(data).tolist(), [0.5, 2.0])
        self.assertEqual((2, self.INT8.row_bytes(4)), data.shape)

    def test_a_grid_is_kept(self) -> None:
        for power in (-30, -7, 0, 9):
            values = np.array([[-127, 5, 0, 126]]) * 2.0**power
            step = self.INT8.step(values)
            self.assertEqual(step.tolist(), [2.0**power])
            data = self.INT8.encode_steps(values, step, step)
            self.assertEqual((self.INT8.steps(data) * self.INT8.scales(data)).tolist(), values.tolist())
        for values, step in (([3 * 2.0**-9, 2.0**-9], 2.0**-14),  # smaller than needed, and exact as well
                             ([0.0, 0.0], 1.0), ([1e-44, 0.0], 2.0**-100), ([0.3, -1.1], 1.1 / 127)):
            self.assertEqual(self.INT8.step(np.array([values])).tolist(), [step])

    def test_half_a_step(self) -> None:
        """Also when gains and factors are folded, and where columns share a step."""
        model = random_model.weights(Config(24, 40, 2, 6, 2, 40, 12, False), 1, spread=4)
        for layout in layouts.LAYOUTS:
            spans = packer.plan(layout, "int8", model.config, TEXTS)
            effective, _ = packer.decode(spans, model.config, packer.encode(spans, model, TEXTS))
            for span in spans:
                if not isinstance(span, packer.Weights) or not span.encoding.most:
                    continue
                gains = span.gains(model)
                wanted = span.of(model)[span.order_of_rows] * (1.0 if gains is None else gains)
                largest = np.abs(wanted).max(None if span.tensor == "wo" and span.transposed else 1, keepdims=True)
                off = np.abs(span.of(effective)[span.order_of_rows] - wanted)
                self.assertTrue((off <= 0.50001 * largest / 127).all(), f"{layout} {span.tensor}")

    def test_what_columns_meet(self) -> None:
        """Heads of queries that share keys and values share the step of their columns."""
        model = random_model.weights(Config(24, 40, 1, 6, 2, 40, 12, False), 1)
        spans = packer.plan("stream", "int8", model.config, TEXTS)
        scales = packer._column_scales(spans, model)
        self.assertEqual({name: len(some) for (name, _), some in scales.items()}, {"wo": 2 * 4, "w2": 40})  # n_kv_heads * head_size
        largest = np.abs(model.tensors["wo"][0][:, [head * 4 + 3 for head in (3, 4, 5)]]).max()
        self.assertAlmostEqual(scales["wo", 0][1 * 4 + 3], largest / 127 / layouts.LAYOUTS["stream"].step_value)

    def test_doubles(self) -> None:
        """Every row has its scale in front of it, which is that row's alone: also one that is added."""
        model = random_model.weights(Config(24, 40, 1, 6, 2, 40, 12, False), 1)
        for layout in ("doubles", "doubles-pairs"):
            spans = packer.plan(layout, "int8", model.config, TEXTS)
            packed = packer.encode(spans, model, TEXTS)
            for span in spans:
                if not isinstance(span, packer.Weights):
                    continue
                gains = span.gains(model)
                wanted = span.of(model)[span.order_of_rows] * (1.0 if gains is None else gains) * span.scale
                for row, values in enumerate(wanted):
                    scale, *steps = struct.unpack_from("<f24b", packed, span.offset + row * span.row_stride)
                    self.assertAlmostEqual(scale * 127 / np.abs(values).max(), 1, 6)
                    self.assertTrue((np.abs(values - np.array(steps) * scale) <= 0.50001 * scale).all(), span.tensor)

    def test_embedding_of_doubles(self) -> None:
        """In steps. Whole records are a multiple of 8, whatever dim is."""
        for dim in (8, 10, 12, 14):
            model = random_model.weights(Config(dim, 40, 1, 1, 1, 10, 12, False), 1)
            for layout, halves in (("doubles", 1), ("doubles-pairs", 2)):
                spans = packer.plan(layout, "int8", model.config, TEXTS[:10])
                packed = packer.encode(spans, model, TEXTS[:10])
                span = next(span for span in spans if span.tensor == "token_embedding")
                self.assertEqual((span.encoding.name, span.row_bytes, span.factors), ("int8", dim + 4, ("1/2",) * (halves - 1)))
                self.assertEqual((span.row_stride % 8, packer.texts_of(spans).row_stride), (0, span.row_stride))
                self.assertLess(span.row_stride - dim - 4 - max(map(len, TEXTS[:10])) - 1, 8)
                scale, *steps = struct.unpack_from(f"<f{dim}b", packed, span.offset + 3 * span.row_stride)
                off = np.abs(model.tensors["token_embedding"][3] - halves * scale * np.array(steps))
                self.assertTrue((off <= 0.50001 * halves * scale).all())

    def test_refused(self) -> None:
        config = Config(2, 40, 1, 1, 1, 10, 12, False)
        with self.assertRaisesRegex(UserError, "^encoding int8: wv: with its scale a row of 2 weights has 6 bytes, more than in bf16; "
                                    "use another encoding$"):
            packer.check_rows(packer.plan("stream", "int8", config, PIECES))
        packer.check_rows(packer.plan("stream", "int8", replace(config, dim=4), PIECES))
        with self.assertRaisesRegex(UserError, "^encoding int8: big-endian machines cannot read it"):
            packer.plan("stream", "int8", config, PIECES, "big")
        model = random_model.weights(Config(4, 40, 1, 1, 1, 10, 12, False), 1)
        model.tensors["w2"][:] = model.tensors["w3"][:] = 1e37
        with self.assertRaisesRegex(UserError, "^w3: layer 0, row 0: its scale of .* does not fit into float32"):
            packer.encode(packer.plan("stream", "int8", model.config, PIECES), model, PIECES)
        model = random_model.weights(Config(4, 40, 1, 1, 1, 10, 12, False), 1)
        model.tensors["rms_att"][:], model.tensors["wk"][:] = 1, 3e38  # which fits, but not times sqrt(dim)
        with self.assertRaisesRegex(UserError, "^wk: layer 0, row 0: its scale of .* times 127 does not fit into float32$"):
            packer.encode(packer.plan("doubles", "int8", model.config, TEXTS[:10]), model, TEXTS[:10])


class Int4(unittest.TestCase):
    """Two weights in a byte, in steps of a size that leaves small errors. All else is as in int8."""

    INT4 = encodings.ENCODINGS["int4"]

    def test_by_hand(self) -> None:
        values = np.array([[1.0, -2.5, 7.0], [-16.0, 16.0, 2.9]], np.float32)
        data = self.INT4.encode_steps(values, np.array([1.0, 2.0]), np.array([0.5, -2.0]))
        self.assertEqual([row.tobytes().hex() for row in data], ["1e70" + "0000003f", "8710" + "000000c0"])
        self.assertEqual(self.INT4.steps(data).tolist(), [[1, -2, 7, 0], [-8, 7, 1, 0]])  # the last one is no weight
        self.assertEqual(self.INT4.scales(data).tolist(), [0.5, -2.0])
        self.assertEqual([self.INT4.row_bytes(columns) for columns in (3, 4)], [6, 6])

    def test_doubles_by_hand(self) -> None:
        """The scale is in front of a row; the halves of a byte are in the order in which an engine takes them."""
        values = np.array([[1.0, -2.5, 7.0, -8.0], [-16.0, 16.0, 2.9, 0.0]], np.float32)
        for layout, halves in (("doubles", ("1e78", "8710")), ("doubles-by-bits", ("1e78", "8710")), ("doubles-by-rows", ("1e78", "8710")),
                               ("doubles-pairs", ("e187", "7801")), ("doubles-rows", ("e187", "7801"))):
            encoding = layouts.LAYOUTS[layout].encodings["int4"]
            data = encoding.encode_steps(values, np.array([1.0, 2.0]), np.array([0.5, -2.0]))
            self.assertEqual([row.tobytes().hex() for row in data], ["0000003f" + halves[0], "000000c0" + halves[1]])
            self.assertEqual(encoding.steps(data).tolist(), [[1, -2, 7, -8], [-8, 7, 1, 0]])
            self.assertEqual(encoding.scales(data).tolist(), [0.5, -2.0])

    def test_rows_of_doubles(self) -> None:
        """Every row has a step of its own, also one that is added, and so has the embedding, whose records are a multiple of 8."""
        for dim in (8, 10, 12, 14):
            model = random_model.weights(Config(dim, 40, 1, 1, 1, 10, 12, False), 1)
            for layout in ("doubles", "doubles-pairs"):
                spans = packer.plan(layout, "int4", model.config, TEXTS[:10])
                effective, _ = packer.decode(spans, model.config, packer.encode(spans, model, TEXTS[:10]))
                for span in spans:
                    if not isinstance(span, packer.Weights):
                        continue
                    self.assertEqual((span.encoding.name, span.row_bytes), ("int4", dim // 2 + 4))
                    gains = span.gains(model)
                    wanted = span.of(model)[span.order_of_rows] * (1.0 if gains is None else gains)
                    steps = span.encoding.step(wanted)[:, None]
                    nearest = span.encoding.numbers(wanted, steps) * steps
                    self.assertTrue((np.abs(span.of(effective)[span.order_of_rows] - nearest) <= 1e-6 * np.abs(nearest)).all(), span.tensor)
                self.assertEqual(packer.texts_of(spans).row_stride % 8, 0)

    def test_a_grid_is_kept(self) -> None:
        for power in (-30, -7, 0, 9):
            values = np.array([[-7, 5, 0, 6], [3, -2, 1, 0]]) * 2.0**power
            step = self.INT4.step(values)
            self.assertTrue((step <= 2.0**power).all())
            data = self.INT4.encode_steps(values, step, step)
            self.assertEqual((self.INT4.steps(data) * self.INT4.scales(data)[:, None]).tolist(), values.tolist())
            # A group has one step, so its largest weight is counted in no smaller ones.
            self.assertEqual(self.INT4.step(values, np.array([0, 0])).tolist(), [2.0**power])

    def test_a_model_on_a_grid(self) -> None:
        """Its weights are what they were, up to float32's rounding of factors, and so are those of its columns."""
        model = random_model.weights(Config(24, 40, 2, 6, 2, 40, 12, False), 1)
        for name, values in model.tensors.items():
            on_it = np.clip(np.rint(values / np.abs(values).max() * 9), -7, 7) / 64
            model.tensors[name] = (np.ones_like(values) if name in GAINS else on_it).astype(np.float32)
        self.assertTrue(on_a_grid(model, "int4"))
        for layout in ("asm-linux", "boot", "stream", "doubles", "doubles-pairs"):
            spans = packer.plan(layout, "int4", model.config, TEXTS)
            effective, _ = packer.decode(spans, model.config, packer.encode(spans, model, TEXTS))
            for name, values in model.tensors.items():
                self.assertTrue((np.abs(effective.tensors[name] - values) <= 2.0**-22 * np.abs(values) + 1e-30).all(), name)
        model.tensors["wo"][0, 0, 0] += 1 / 256
        self.assertFalse(on_a_grid(model, "int4"))

    def test_small_errors(self) -> None:
        """Not larger than with the largest weight as 7 steps, and with -8 where that is better; in a group, all of its rows."""
        def squares(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
            return ((self.INT4.numbers(values, steps) * steps - values) ** 2).sum(1)
        values = random_model.weights(Config(24, 40, 1, 6, 2, 40, 12, False), 1, spread=4).tensors["w1"][0].astype(np.float64)
        largest = np.abs(values).max(1, keepdims=True)
        steps = self.INT4.step(values)[:, None]
        found = squares(values, steps)
        self.assertTrue((found <= squares(values, largest / 7)).all())
        self.assertLess(found.sum(), 0.9 * squares(values, largest / 7).sum())
        self.assertTrue((np.abs(steps) >= largest / 10).all() and (np.abs(steps) <= largest / 5).all())
        one = self.INT4.step(values, np.zeros(len(values), int))
        self.assertEqual(one.shape, (1,))
        self.assertLess(squares(values, one).sum(), squares(values, largest.max(keepdims=True) / 7).sum())
        for sign in (1, -1):
            self.assertEqual(self.INT4.step(np.array([[8.0, -5.0, 6.0, 4.0, 1.0, 3.0, 2.0]]) * -sign).tolist(), [sign * 1.0])
        self.assertEqual(self.INT4.step(np.array([[0.0, 0.0]])).tolist(), [1.0])

    def test_embedding(self) -> None:
        """One step for all of it, a power of two, behind the last row. x is counted in it, so all that is added to x is, too."""
        table = self.INT4.embedding
        for largest, step in ((7, 1.0), (3, 0.5), (-6, 1.0), (7.5, 1.0), (0, 1.0)):
            self.assertEqual(table.step(np.array([[largest, 0], [0, 0]])).tolist(), [step], largest)
        self.assertEqual(table.encode_steps(np.array([[1.0, -3.5, 0.5]]), np.array([0.5]), np.ones(1)).tobytes().hex(), "2910")
        model = random_model.weights(Config(24, 40, 2, 6, 2, 40, 12, False), 1)
        spans = packer.plan("boot", "int4", model.config, TEXTS)
        packed = packer.encode(spans, model, TEXTS)
        step, = struct.unpack("<f", packed[-4:])
        self.assertEqual((math.frexp(step)[0], spans[-1].offset), (0.5, len(packed) - 4))
        self.assertEqual(packer.x_unit(spans, packed), step / 256)
        self.assertEqual(packer.x_unit(packer.plan("boot", "int8", model.config, TEXTS), b""), 1.0)
        embedding = next(span for span in spans if span.tensor == "token_embedding")
        self.assertEqual((embedding.row_bytes, embedding.backwards), (12, True))
        effective, _ = packer.decode(spans, model.config, packed)
        self.assertTrue((np.mod(effective.tensors["token_embedding"], step) == 0).all())
        # The same model, all that makes x four times as large: the same steps, and scales that are those of the first.
        for name in ("token_embedding", "wo", "w2"):
            model.tensors[name] *= 4
        self.assertEqual(packer.encode(spans, model, TEXTS)[-4:], struct.pack("<f", 4 * step))
        for span in spans:
            if span.tensor in ("wv", "w3", "wq"):
                row = slice(span.offset, span.offset + span.row_bytes)
                self.assertEqual(packer.encode(spans, model, TEXTS)[row], packed[row])

    def test_embedding_without_epsilon(self) -> None:
        """Counted in such steps, RMSNorm's epsilon is none that float32 has."""
        for size in (1e-24, 1e30):
            model = random_model.weights(Config(24, 40, 1, 6, 2, 40, 12, False), 1)
            model.tensors["token_embedding"] *= size
            with self.assertRaisesRegex(UserError, "^token_embedding: the largest weight is .* does not fit into float32; use another encoding"):
                packer.encode(packer.plan("boot", "int4", model.config, TEXTS), model, TEXTS)

    def test_odd_rows(self) -> None:
        """They have whole bytes, and an engine does not use what is left of the last one."""
        config = Config(9, 5, 1, 1, 1, 10, 12, False)
        self.assertEqual(self.INT4.row_bytes(config.dim), 5 + 4)
        span = packer.Weights("w1", 5, 9, encoding=self.INT4, layer=0, gain="rms_ffn", factors=(), scale=1.0, order_of_rows=range(5),
                              backwards=True, columns=9, transposed=False, step_value=256, order="little")
        values = np.arange(45, dtype=np.float32).reshape(5, 9)
        data = self.INT4.encode_steps(values, np.full(5, 8.0), np.ones(5))
        self.assertEqual(data.shape, (span.rows, span.row_bytes))
        self.assertEqual((data[:, 4] & 15).tolist(), [0] * 5)

    def test_refused(self) -> None:
        config = Config(2, 40, 1, 1, 1, 10, 12, False)
        with self.assertRaisesRegex(UserError, "^encoding int4: wq: with its scale a row of 2 weights has 5 bytes, more than in bf16; "
                                    "use another encoding$"):
            packer.check_rows(packer.plan("boot", "int4", config, [piece or b"?" for piece in PIECES]))


class Refused(unittest.TestCase):
    def test_long_pieces(self) -> None:
        self.assertEqual(packer.longest_piece([b"a", b"x" * 255]), 255)
        with self.assertRaisesRegex(UserError, "token 1: length 256, .* at most 255"):
            packer.longest_piece([b"a", b"x" * 256, b"b"])

    def test_longest_piece_is_what_is_printed(self) -> None:
        self.assertEqual(packer.longest_piece([b"<0x0A>", b"ab"]), 2)
        self.assertEqual(packer.longest_piece([b"", b""]), 1)

    def test_overflow(self) -> None:
        model = small_checkpoint()
        model.tensors["w3"][0, 0, 0] = 1e32
        spans = packer.plan("stream", "f32", model.config, PIECES)
        with self.assertRaisesRegex(UserError, r"^w3: layer 0, row 0: .* float32 .* 2\^exp_squarings .* largest is"):
            packer.encode(spans, model, PIECES)


    def test_empty_pieces(self) -> None:
        """Engines that know BOS by its length of 0 would end the story at any other empty piece."""
        config = small_checkpoint().config
        for name in layouts.LAYOUTS:
            for encoding in layouts.LAYOUTS[name].encodings:
                if layouts.LAYOUTS[name].empty_pieces:
                    packer.plan(name, encoding, config, PIECES)
                    continue
                with self.assertRaisesRegex(UserError, f"^token 4: an empty piece, which engines with layout {name} would"):
                    packer.plan(name, encoding, config, PIECES)
                pieces = [piece or b"?" for piece in PIECES]
                pieces[tokenizer.BOS] = b""  # BOS itself may be empty
                packer.plan(name, encoding, config, pieces)


class Workspaces(unittest.TestCase):
    """Counted by hand, from what the sources say that they keep for a position."""

    #                       dim hidden_dim n_layers n_heads n_kv_heads vocab_size seq_len
    STORIES260K = Config(64, 172, 5, 8, 4, 512, 512)
    ODD = Config(30, 23, 4, 5, 1, 33, 17)

    def test_stream(self) -> None:
        """A cell (where dim is no multiple of 256), x, the layers' keys, values, queries, a head, w1 x and w3 x, the logits: for
        every position, one before the first, and one behind the last."""
        self.assertEqual(layouts.stream_workspace(self.STORIES260K),
                         4 * (1 + 64 + 5 * (32 + 32 + 64 + 8 + 172 + 172) + 512) * (1 + 512 + 1))
        self.assertEqual(layouts.stream_workspace(self.ODD), 4 * (1 + 30 + 4 * (6 + 6 + 30 + 6 + 23 + 23) + 33) * (1 + 17 + 1))
        self.assertEqual(layouts.stream_workspace(Config(256, 5, 1, 1, 1, 33, 17)),
                         4 * (256 + (256 + 256 + 256 + 256 + 5 + 5) + 33) * (1 + 17 + 1))

    def test_walk(self) -> None:
        """An unused slot, x, the layers' queries, values, keys, attention's output, w1 x and w3 x, the logits. The NASM
        sources assert that they use as much."""
        for config, slots in ((self.STORIES260K, 1 + 64 + 5 * (64 + 32 + 32 + 64 + 172 + 172) + 512),
                              (self.ODD, 1 + 30 + 4 * (30 + 6 + 6 + 30 + 23 + 23) + 33)):
            self.assertEqual(layouts.boot_workspace(config), 4 * slots * config.seq_len + 8)
            self.assertEqual(layouts.asm_linux_workspace(config), 4 * slots * config.seq_len)

    def test_tiny_position(self) -> None:
        """A position of asm-linux-i386 has at least 256 bytes."""
        tiny = Config(2, 3, 2, 1, 1, 2, 5)
        self.assertEqual(layouts.boot_workspace(tiny), 4 * (1 + 2 + 2 * (2 + 2 + 2 + 2 + 3 + 3) + 2) * 5 + 8)
        self.assertEqual(layouts.asm_linux_workspace(tiny), 256 * 5)


class Manifest(unittest.TestCase):
    def test_spans(self) -> None:
        model = small_checkpoint()
        for encoding in encodings.ENCODINGS:
            spans = packer.plan("stream", encoding, model.config, PIECES)
            entries = packer.manifest(spans)
            self.assertEqual(len(entries), len(spans))
            self.assertEqual(sum(entry["rows"] * entry["row_bytes"] for entry in entries), packer.packed_bytes(spans))
            padding = [entry for entry in entries if entry["counted"]]
            self.assertEqual([entry["tensor"] for entry in padding], ["padding"] * (encoding == "bf16"))
            text = next(entry for entry in entries if entry["tensor"] == "vocabulary")
            self.assertEqual((text["rows"], text["row_bytes"], "shape" in text), (10, 4 + 8, False))

    def test_zeros_before_an_embedding(self) -> None:
        """Where the engine of an encoding wants them, and text stands there."""
        config, pieces = small_checkpoint().config, [piece or b"?" for piece in PIECES]
        for layout, encoding, size in (("boot", "bf16", 4 + 8), ("boot", "int8", 4 + 12), ("asm-linux", "int8", 4 + 12),
                                       ("asm-linux", "int4", 4 + 8)):
            self.assertEqual(packer.texts_of(packer.plan(layout, encoding, config, pieces)).row_bytes, size)

    def test_factors_are_known(self) -> None:
        config = Config(64, 172, 5, 8, 4, 512, 512)
        self.assertEqual(layouts.FACTORS["sqrt(dim)"](config), 8.0)
        self.assertEqual(layouts.FACTORS["1/sqrt(head_size)"](config), 1 / math.sqrt(8))
        self.assertEqual(layouts.FACTORS["2^exp_squarings"](config) * layouts.FACTORS["2^-exp_squarings"](config), 1.0)


if __name__ == "__main__":
    main()
