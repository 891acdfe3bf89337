"""common/model/checkpoint.py: what is written is read again, in every version, and nothing broken is accepted."""

from __future__ import annotations

import math
import struct
from pathlib import Path

from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main

from common.libraries import numpy as np
from common.model import checkpoint, llama2c
from common.model.checkpoint import Checkpoint, Config

FIELDS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")


def header(config: Config, version: int, group_size: int = 0, shared: int | None = None) -> bytes:
    """The 256 bytes that open a file of version 1 or 2."""
    fields = [getattr(config, name) for name in FIELDS]
    flag = int(config.tied) if shared is None else shared
    packed = struct.pack("<Ii7iB", llama2c.MAGIC, version, *fields, flag)
    return (packed + struct.pack("<i", group_size) * (version == 2)).ljust(256, b"\0")


def write_v1(path: Path, model: Checkpoint, **options: int) -> None:
    order = ["rms_att", "rms_ffn", "rms_final", "token_embedding", "wq", "wk", "wv", "wo", "w1", "w2", "w3", "wcls"]
    tensors = [model.tensors[name].tobytes() for name in order if name in model.tensors]
    path.write_bytes(header(model.config, 1, **options) + b"".join(tensors))


def write_v2(path: Path, model: Checkpoint, group_size: int) -> Checkpoint:
    """Quantizes as llama2.c's export.py does, value by value; returns the model that the file means."""
    data = [header(model.config, 2, group_size)]
    decoded = {}
    for name in ("rms_att", "rms_ffn", "rms_final"):
        data.append(model.tensors[name].tobytes())
        decoded[name] = model.tensors[name]
    for name in ("token_embedding", "wq", "wk", "wv", "wo", "w1", "w2", "w3", "wcls"):
        if name not in model.tensors:
            continue
        tensor = decoded[name] = model.tensors[name].copy()
        for matrix in tensor if tensor.ndim == 3 else [tensor]:
            groups = matrix.reshape(-1, group_size)
            scales = np.abs(groups).max(1, keepdims=True) / np.float32(127)
            values = np.rint(groups / scales).astype("i1")
            data += [values.tobytes(), scales.tobytes()]
            groups[:] = values * scales
    path.write_bytes(b"".join(data))
    return Checkpoint(model.config, decoded)


class RoundTrip(FolderTest):
    def test_v0(self) -> None:
        for tied in (True, False):
            model = small_checkpoint(tied)
            checkpoint.write(self.folder / "m.bin", model)
            self.assertEqual(checkpoint.load(self.folder / "m.bin"), model)
            self.assertEqual(checkpoint.read_config(self.folder / "m.bin"), model.config)
            self.assertEqual("wcls" in model.tensors, not tied)

    def test_v0_is_what_llama2c_reads(self) -> None:
        model = small_checkpoint(tied=False)
        checkpoint.write(self.folder / "m.bin", model)
        data = (self.folder / "m.bin").read_bytes()
        self.assertEqual(struct.unpack_from("<7i", data), (8, 12, 2, 4, 2, -10, 6))
        self.assertEqual(data[28:28 + 4 * 80], model.tensors["token_embedding"].tobytes())
        self.assertEqual(data[-4 * 80:], model.tensors["wcls"].tobytes())
        # cos and sin of (position, pair) stand before the classifier; a head has one pair here, of angle = position.
        cosines = struct.unpack("<6f", data[-4 * 80 - 48:-4 * 80 - 24])
        sines = struct.unpack("<6f", data[-4 * 80 - 24:-4 * 80])
        for position in range(6):
            self.assertAlmostEqual(cosines[position], math.cos(position), 6)
            self.assertAlmostEqual(sines[position], math.sin(position), 6)

    def test_freq_cis_of_larger_heads(self) -> None:
        cosines, sines = llama2c.freq_cis(Config(16, 8, 1, 2, 2, 4, 3))
        self.assertEqual((cosines.shape, sines.shape), ((3, 4), (3, 4)))
        self.assertAlmostEqual(cosines[2, 1], math.cos(2 * 10000 ** (-2 / 8)), 6)
        self.assertAlmostEqual(sines[1, 3], math.sin(10000 ** (-6 / 8)), 6)

    def test_v1(self) -> None:
        for tied in (True, False):
            model = small_checkpoint(tied)
            write_v1(self.folder / "m.bin", model)
            self.assertEqual(checkpoint.load(self.folder / "m.bin"), model)

    def test_v2(self) -> None:
        for tied in (True, False):
            for group_size in (1, 4, 8):
                expected = write_v2(self.folder / "m.bin", small_checkpoint(tied), group_size)
                model = checkpoint.load(self.folder / "m.bin")
                self.assertEqual(model, expected)
                self.assertAlmostEqual(model.tensors["w2"][0, 0, 5], small_checkpoint(tied).tensors["w2"][0, 0, 5], delta=0.01)

    def test_properties(self) -> None:
        model = small_checkpoint(tied=False)
        self.assertEqual((model.config.head_size, model.config.kv_dim, model.config.kv_mul), (2, 4, 2))
        self.assertIs(model.classifier, model.tensors["wcls"])
        tied = small_checkpoint()
        self.assertIs(tied.classifier, tied.tensors["token_embedding"])

    def test_copies_are_equal_and_their_own(self) -> None:
        model = small_checkpoint()
        copy = model.copy()
        self.assertEqual(copy, model)
        copy.tensors["w1"][1, 0, 0] += 1
        self.assertNotEqual(copy, model)
        self.assertNotEqual(small_checkpoint(tied=False), model)

    def test_write_refuses_wrong_shapes(self) -> None:
        model = small_checkpoint()
        for wrong in (model.tensors["w3"][:1], model.tensors["w3"].ravel()):
            model.tensors["w3"] = wrong
            self.assertUserError(r"m.bin: w3: shape \(.*\), \(2, 12, 8\) is needed", checkpoint.write, self.folder / "m.bin", model)
        del model.tensors["w3"]
        self.assertUserError(r"m.bin: w3: shape \(\), \(2, 12, 8\) is", checkpoint.write, self.folder / "m.bin", model)
        self.assertEqual(list(self.folder.iterdir()), [])


class BadInput(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.folder / "bad.bin"
        checkpoint.write(self.path, small_checkpoint())
        self.good = self.path.read_bytes()

    def assertRefused(self, pattern: str, data: bytes | None = None) -> None:
        if data is not None:
            self.path.write_bytes(data)
        message = self.assertUserError(pattern, checkpoint.load, self.path)
        self.assertTrue(message.startswith(f"{self.path}: "), message)

    def with_field(self, name: str, value: int) -> bytes:
        at = 4 * FIELDS.index(name)
        return self.good[:at] + struct.pack("<i", value) + self.good[at + 4:]

    def test_missing(self) -> None:
        self.path.unlink()
        self.assertRefused("No such file")
        self.assertUserError("No such file", checkpoint.read_config, self.path)

    def test_folder(self) -> None:
        self.assertUserError("Is a directory", checkpoint.load, self.folder)

    def test_empty(self) -> None:
        self.assertRefused("empty", b"")

    def test_header_truncated(self) -> None:
        for size in (1, 3, 4, 27):
            self.assertRefused(f"file size: {size} bytes, the header alone needs 28", self.good[:size])
        self.assertRefused("file size: 255 bytes, the header alone needs 256",
                           header(small_checkpoint().config, 1)[:255])

    def test_truncated(self) -> None:
        for cut in (1, 4, 1000):
            size = len(self.good)
            self.assertRefused(f"file size: {size - cut} bytes, .* exactly {size}; .*truncated", self.good[:-cut])

    def test_oversized(self) -> None:
        self.assertRefused("too long", self.good + b"\0")
        # The header alone is checked against the size, too: quick for programs that need no more than the header.
        self.assertUserError("too long", checkpoint.read_config, self.path)

    def test_zero_and_negative(self) -> None:
        for name in FIELDS:
            self.assertRefused(f"{name}: 0, a value from", self.with_field(name, 0))
            if name != "vocab_size":
                self.assertRefused(f"{name}: -5, a value from", self.with_field(name, -5))

    def test_negative_vocab_size_means_untied(self) -> None:
        self.assertRefused("file size: .*truncated", self.with_field("vocab_size", -10))
        self.assertRefused("vocab_size: 2147483648", self.with_field("vocab_size", -2**31))

    def test_huge(self) -> None:
        for name in FIELDS:
            self.assertRefused(f"{name}: 2147483647, a value from", self.with_field(name, 2**31 - 1))

    def test_size_overflow(self) -> None:
        # Every field at its limit: more than 2^40 values. 2^32 bytes per layer would wrap to a small number.
        limits = [high for _, high in checkpoint.RANGES.values()]
        limits[3] = limits[4] = 2**15
        self.assertRefused("file size: .*truncated", struct.pack("<7i", *limits))
        self.assertRefused("file size: .*truncated", struct.pack("<7i", 65536, 65536, 4, 1, 1, 65536, 1) + bytes(64))

    def test_does_not_divide(self) -> None:
        self.assertRefused("n_heads: 3, a divisor of dim 8", self.with_field("n_heads", 3))
        self.assertRefused("n_kv_heads: 3, a divisor of n_heads 4", self.with_field("n_kv_heads", 3))
        self.assertRefused("n_kv_heads: 8, a divisor of n_heads 4", self.with_field("n_kv_heads", 8))
        self.assertRefused("head_size: 1 .*even", self.with_field("n_heads", 8))

    def test_not_finite(self) -> None:
        for value in (math.nan, math.inf, -math.inf):
            for name, index in (("token_embedding", 0), ("w2", 100), ("rms_final", 7)):
                model = small_checkpoint()
                model.tensors[name].flat[index] = value
                checkpoint.write(self.path, model)
                self.assertRefused(f"{name}: element {index} is {value}")

    def test_freq_cis_is_ignored(self) -> None:
        self.path.write_bytes(self.good[:-4] + struct.pack("<f", math.nan))
        self.assertEqual(checkpoint.load(self.path), small_checkpoint())

    def test_v1(self) -> None:
        config = small_checkpoint().config
        write_v1(self.path, small_checkpoint())
        good = self.path.read_bytes()
        self.assertRefused("version: 3, 1 or 2", header(config, 3) + good[256:])
        self.assertRefused("version: 0, 1 or 2", header(config, 0) + good[256:])
        self.assertRefused("shared_classifier: 2, 0 or 1", header(config, 1, shared=2) + good[256:])
        self.assertRefused("truncated", header(config, 1, shared=0) + good[256:])
        self.assertRefused("truncated", good[:-4])
        self.assertRefused("too long", good + bytes(4))
        self.assertRefused("vocab_size: -10", good[:28] + struct.pack("<i", -10) + good[32:])

    def test_v2(self) -> None:
        write_v2(self.path, small_checkpoint(), 4)
        good = self.path.read_bytes()
        for group_size in (0, -4, 3, 16):
            self.assertRefused(f"group_size: {group_size}, a divisor of dim 8",
                               good[:37] + struct.pack("<i", group_size) + good[41:])
        self.assertRefused("file size", good[:37] + struct.pack("<i", 8) + good[41:])
        self.assertRefused("truncated", good[:-1])
        self.assertRefused("w3: element 188 is (nan|inf|-inf)", good[:-4] + struct.pack("<f", math.inf))
        # A finite scale, and a product that is too large for f32.
        self.assertRefused("w3: element 188 is", good[:-4] + struct.pack("<f", 3e38))


if __name__ == "__main__":
    main()
