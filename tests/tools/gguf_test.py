"""GGUF files: every version and type is read, and nothing broken is accepted. And all tools take one for a checkpoint."""

from __future__ import annotations

import os
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable

from support import gguf as writer
from support.folders import FolderTest
from support.skip import main

from common.libraries import numpy as np
from common.model import checkpoint, gguf, models, random_model, tokenizer
from common.model.checkpoint import Checkpoint, Config

CONFIG = Config(dim=32, hidden_dim=64, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=40, seq_len=12, tied=True)
PIECES = [b"<unk>", b"\n<s>\n", b"\n</s>\n", b"<0x0A>", b" ", *(b" w%d" % token for token in range(35))]
MODEL = random_model.weights(CONFIG, 1)


class GgufTest(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.folder / "m.gguf"

    def write(self, *, model: Checkpoint = MODEL, kind: str = "F32", version: int = 3, alignment: int = 32, extra: list = [],
              more_tensors: list = [], changes: dict[str, Any] = {}) -> None:
        entries = writer.metadata(model.config, PIECES, [-float(token) for token in range(len(PIECES))], changes) + extra
        if alignment != 32:
            entries.append(("general.alignment", writer.UINT32, alignment))
        writer.write(self.path, entries, writer.tensors(model, kind) + more_tensors, version, alignment)


class Reads(GgufTest):
    def test_versions_and_alignments(self) -> None:
        for version in (1, 2, 3):
            for alignment in (8, 32, 4096):
                for tied in (True, False):
                    model = random_model.weights(replace(CONFIG, tied=tied), 1)
                    self.write(model=model, version=version, alignment=alignment)
                    self.assertEqual(checkpoint.load(self.path), model)
                    self.assertEqual(checkpoint.read_config(self.path), model.config)

    def test_types(self) -> None:
        """How far a number may be off: half a step of its type, or of the largest number of its block."""
        for kind, relative, of_largest in (("F16", 2.0**-11, 1e-7), ("BF16", 2.0**-8, 0), ("Q8_0", 0, 0.51 / 127), ("Q4_0", 0, 0.51 / 7)):
            self.write(kind=kind)
            found = checkpoint.load(self.path)
            for name, values in MODEL.tensors.items():
                blocks, other = values.reshape(-1, 32), found.tensors[name].reshape(-1, 32)
                most = relative * np.abs(blocks) + of_largest * np.abs(blocks).max(1, keepdims=True)
                self.assertTrue((np.abs(other - blocks) <= (0 if name.startswith("rms") else most)).all(), f"{kind} {name}")

    def test_types_by_hand(self) -> None:
        half, numbers = struct.pack("<e", 0.5), [*range(-16, 16)]
        q8 = half + struct.pack("32b", *numbers)
        q4 = half + bytes(low | high << 4 for low, high in zip(range(16), range(15, -1, -1)))
        for kind, data, wanted in (
                ("F32", struct.pack("<32f", *numbers), numbers), ("F16", struct.pack("<32e", *numbers), numbers),
                ("BF16", b"".join(struct.pack("<f", number)[2:] for number in numbers), numbers),
                ("Q8_0", q8, [0.5 * number for number in numbers]),
                ("Q4_0", q4, [0.5 * (i - 8) for i in range(16)] + [0.5 * (7 - i) for i in range(16)])):
            writer.write(self.path, [], [("a", (1, 32), writer.TYPES[kind], data)])
            self.assertEqual(gguf.read(self.path).values("a").tolist(), [wanted], kind)

    def test_constants(self) -> None:
        """Epsilon and RoPE's base are the file's; and they outlive llama2.c's format, for which only we have a place."""
        config = replace(CONFIG, rms_epsilon=1e-6, rope_theta=500000.0)
        self.write(model=Checkpoint(config, MODEL.tensors))
        model = checkpoint.load(self.path)
        self.assertEqual(model.config, config)
        checkpoint.write(self.folder / "copy.bin", model)
        self.assertEqual(checkpoint.load(self.folder / "copy.bin"), model)
        self.write(changes={"freq_base": None})
        self.assertEqual(checkpoint.read_config(self.path), CONFIG)

    def test_metadata_of_every_type(self) -> None:
        entries = [(f"k{kind}", kind, value) for kind, value in (
            (writer.UINT8, 200), (writer.INT8, -3), (writer.UINT16, 60000), (writer.INT16, -5), (writer.UINT32, 2**32 - 1),
            (writer.INT32, -7), (writer.FLOAT32, 0.5), (writer.BOOL, True), (writer.STRING, b"x\xff"), (writer.UINT64, 2**63),
            (writer.INT64, -2**60), (writer.FLOAT64, 1e300))]
        entries += [("l" + key, (writer.ARRAY, kind), [value, value]) for key, kind, value in entries] + [("e", (writer.ARRAY, 4), [])]
        for version in (1, 2, 3):
            writer.write(self.path, entries, [], version)
            self.assertEqual(gguf.read(self.path).metadata, {key: value for key, _, value in entries})

    def test_vocabulary(self) -> None:
        self.write()
        vocabulary = tokenizer.load(self.path, 40)
        self.assertEqual(vocabulary.pieces, PIECES)
        self.assertEqual(vocabulary.scores, [-float(token) for token in range(40)])
        self.assertUserError("tokenizer.ggml.tokens: 40 tokens, the checkpoint has 41", tokenizer.load, self.path, 41)

    def test_a_model_by_its_path(self) -> None:
        self.write()
        model = models.find_model(self.path)
        self.assertEqual((model.name, model.checkpoint, model.tokenizer), ("m", self.path, self.path))
        other = self.folder / "other.bin"
        tokenizer.write(other, PIECES, [0.0] * 40)
        self.assertEqual(models.find_model(self.path, other).tokenizer, other)
        self.path.rename(self.folder / "plain.bin")  # the contents tell, not the name
        self.assertEqual(models.find_model(self.folder / "plain.bin").tokenizer, self.folder / "plain.bin")

    def test_what_changes_nothing(self) -> None:
        """Metadata that says what Llama 2 does anyhow."""
        self.write(extra=[("llama.expert_count", writer.UINT32, 0), ("llama.rope.scaling.type", writer.STRING, "none"),
                          ("llama.vocab_size", writer.UINT32, 40), ("llama.attention.key_length", writer.UINT32, 8),
                          ("tokenizer.chat_template", writer.STRING, "…")],
                   more_tensors=[writer.tensor("rope_freqs.weight", np.ones(4), "F32")])
        self.assertEqual(checkpoint.load(self.path), MODEL)


class Reference(GgufTest):
    """The reference reads the same files, and refuses the same."""

    def reference(self, path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        if "LLAMA512_REFERENCE" not in os.environ:
            self.skipTest("LLAMA512_REFERENCE is not set, ctest does")
        return subprocess.run([os.environ["LLAMA512_REFERENCE"], "-m", path, "--quiet", *map(str, arguments)], capture_output=True,
                              encoding="utf-8", check=False)

    def test_the_same_story(self) -> None:
        """As a GGUF file, and as the checkpoint that it is converted into, with the constants."""
        stories = set()
        untied = replace(CONFIG, tied=False)
        tensors = random_model.weights(untied, 4).tensors
        for kind in ("F32", "BF16", "Q8_0", "Q4_0"):
            for options in ({"rms_epsilon": 0.5, "rope_theta": 300.0}, {}):
                self.write(model=Checkpoint(replace(untied, **options), tensors), kind=kind)
                checkpoint.write(self.folder / "copy.bin", checkpoint.load(self.path))
                found = [self.reference(path, "--tokens", "--tokenizer", self.path).stdout for path in (self.path, self.folder / "copy.bin")]
                self.assertEqual(found[0], found[1])
                stories.add(found[0])
        self.assertGreater(len(stories), 2)  # the constants matter

    def test_the_same_refusals(self) -> None:
        for entry in NOT_LLAMA_2:
            self.write(extra=[entry])
            result = self.reference(self.path)
            self.assertEqual(result.returncode, 1, entry)
            self.assertIn(entry[0], result.stderr)
        for changes in ({"architecture": "gpt2"}, {"embedding_length": None}, {"head_count": 3}, {"dimension_count": 4}, {"model": "gpt2"},
                        {"tokens": None}, {"scores": [0.0]}, {"bos_token_id": 2}, {"layer_norm_rms_epsilon": 0.0}):
            self.write(changes=changes)
            self.assertEqual(self.reference(self.path).returncode, 1, changes)
        self.write(more_tensors=[writer.tensor("blk.0.attn_q.bias", np.zeros(32), "F32")])
        self.assertIn("blk.0.attn_q.bias", self.reference(self.path).stderr)


NOT_LLAMA_2 = {
    ("llama.rope.scaling.type", writer.STRING, "linear"): "llama.rope.scaling.type: 'linear', 'none' is needed",
    ("llama.rope.scaling.factor", writer.FLOAT32, 4.0): "llama.rope.scaling.factor: 4.0, 1.0 or 0.0 is needed",
    ("llama.attention.sliding_window", writer.UINT32, 4096): "llama.attention.sliding_window: 4096, 0 is",
    ("llama.expert_count", writer.UINT32, 8): "llama.expert_count: 8, 0 is needed",
    ("llama.logit_scale", writer.FLOAT32, 2.0): "llama.logit_scale: 2.0, an unknown key",
    ("llama.attention.key_length", writer.UINT32, 16): "llama.attention.key_length: 16, 8 is needed",
    ("llama.vocab_size", writer.UINT32, 32000): "llama.vocab_size: 32000, 40 is needed",
    ("tokenizer.ggml.add_space_prefix", writer.BOOL, False): "tokenizer.ggml.add_space_prefix: False, True is needed",
}


class Refuses(GgufTest):
    def assertRefused(self, pattern: str, function: Callable[..., object] = checkpoint.load) -> None:
        message = self.assertUserError(pattern, function, self.path)
        self.assertTrue(message.startswith(f"{self.path}: "), message)

    def test_every_end(self) -> None:
        """Cut anywhere, nothing is read, whatever it claims."""
        self.write()
        whole = self.path.read_bytes()
        for size in [*range(1, 3000, 13), *range(3000, len(whole), 1997), len(whole) - 1]:
            self.path.write_bytes(whole[:size])
            self.assertRefused("")
        self.path.write_bytes(b"")
        self.assertRefused("empty")

    def test_every_byte_of_the_head(self) -> None:
        """Another value there is another model, or is refused: never an exception of another kind."""
        self.write()
        whole = self.path.read_bytes()
        head = whole.index(b"output_norm.weight") + 60
        for place in range(4, head, 5):
            for value in (0, 0x7F, 0xFF):
                self.path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1:])
                try:
                    checkpoint.read_config(self.path)
                except checkpoint.UserError as error:
                    self.assertTrue(str(error).startswith(f"{self.path}: "), error)

    def test_metadata(self) -> None:
        for changes, pattern in (
                ({"architecture": "gpt2"}, "general.architecture: 'gpt2', 'llama' is needed"),
                ({"embedding_length": None}, "llama.embedding_length: it is missing"),
                ({"embedding_length": 0}, "dim: 0, a value from 1"),
                ({"head_count": 3}, "n_heads: 3, a divisor of dim 32"),
                ({"head_count_kv": 3}, "n_kv_heads: 3, a divisor of n_heads 4"),
                ({"block_count": 2**31}, "n_layers: 2147483648, a value from 1 to 1024"),
                ({"context_length": 0}, "seq_len: 0"),
                ({"dimension_count": 4}, "llama.rope.dimension_count: 4, 8 is needed"),
                ({"layer_norm_rms_epsilon": 0.0}, "rms_epsilon: 0, a value from"),
                ({"layer_norm_rms_epsilon": float("nan")}, "layer_norm_rms_epsilon: nan, a number is needed"),
                ({"freq_base": 0.5}, "rope_theta: 0.5, a value from 1"),
                ({"model": "gpt2"}, "tokenizer.ggml.model: 'gpt2', 'llama' is needed"),
                ({"tokens": None}, "tokenizer.ggml.tokens: it is missing"),
                ({"scores": [0.0]}, "tokenizer.ggml.scores: 1 numbers, as many as the 40 tokens"),
                ({"scores": [float("inf")] * 40}, "tokenizer.ggml.scores: inf, a finite number is needed for token 0"),
                ({"bos_token_id": 2}, "tokenizer.ggml.bos_token_id: 2, 1 is needed")):
            with self.subTest(changes):
                self.write(changes=changes)
                self.assertRefused(pattern)

    def test_models_that_are_not_llama_2(self) -> None:
        for entry, pattern in NOT_LLAMA_2.items():
            with self.subTest(entry[0]):
                self.write(extra=[entry])
                self.assertRefused(pattern)
        for name, values, pattern in (("blk.0.attn_q.bias", np.zeros(32), "blk.0.attn_q.bias: a tensor that Llama 2 has not"),
                                      ("rope_freqs.weight", np.arange(4.0), r"rope_freqs.weight: \[0.0, 1.0, 2.0, 3.0\] …, RoPE that is")):
            self.write(more_tensors=[writer.tensor(name, values, "F32")])
            self.assertRefused(pattern)

    def test_tensors(self) -> None:
        good = writer.tensors(MODEL)
        bad = MODEL.tensors["wq"][0].copy()
        bad[3, 5] = np.nan
        cases: list[tuple[list, str]] = [
            (good[1:], "token_embd.weight: it is missing"),
            ([*good, good[0]], "token_embd.weight: it is there twice"),
            ([("token_embd.weight", (40, 16), 0, bytes(40 * 64)), *good[1:]], r"token_embd.weight: shape \(40, 16\), \(40, 32\) is needed"),
            ([("token_embd.weight", (40, 32), 12, bytes(2000)), *good[1:]], r"token_embd.weight: type 12 \(Q4_K\), one of F32, F16"),
            ([("token_embd.weight", (40, 32), 99, bytes(2000)), *good[1:]], "token_embd.weight: type 99, one of F32"),
            ([("token_embd.weight", (40, 16), 8, bytes(2000)), *good[1:]], "Q8_0 needs rows of a multiple of 32"),
            ([("token_embd.weight", (2**40, 2**40), 0, b""), *good[1:]], "token_embd.weight: its .* end behind the file's"),
            ([("token_embd.weight", (1,) * 5, 0, b""), *good[1:]], "token_embd.weight: n_dimensions: 5"),
            ([("token_embd.weight", (), 0, b""), *good[1:]], "token_embd.weight: n_dimensions: 0"),
            ([("token_embd.weight", (40, 32), 0, b""), *good[1:]], "blk.0.attn_norm.weight: .*it overlaps token_embd.weight|: it overlaps"),
            ([(*tensor[:3], tensor[3] if tensor[0] != "blk.0.attn_q.weight" else bad.tobytes()) for tensor in good],
             "wq: element 101 is nan"),
        ]
        for tensors, pattern in cases:
            with self.subTest(pattern):
                writer.write(self.path, writer.metadata(CONFIG, PIECES), tensors)
                self.assertRefused(pattern)

    def test_container(self) -> None:
        entry = ("general.architecture", writer.STRING, "llama")
        for data, pattern in (
                (writer.contents([], [], 4), "version: 4, 1, 2 or 3 is needed"),
                (writer.contents([entry], []) + bytes(64), "file size: .* bytes, the tensors end at"),
                (b"GGUF" + struct.pack(">I", 3) + bytes(40), r"version: 50331648 \(it is big-endian\)"),
                (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "tensor_count: 1152921504606846976, more than the"),
                (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "metadata_kv_count: 1152921504606846976, more than the"),
                (writer.contents([entry, entry], []), "general.architecture: it is there twice"),
                (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"a" + struct.pack("<IQ", 13, 0), "a: type 13, one of"),
                (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<IIQIQ", 9, 9, 1, 4, 0), "a: type 9 in a list"),
                (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a" + struct.pack("<IIQ", 9, 10, 2**61) + bytes(16), "length of a: 2305843"),
                (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"\xff" + struct.pack("<II", 4, 4), r"key: b'\\xff' is no UTF-8"),
                (writer.contents([("general.alignment", writer.UINT32, 12)], []), "general.alignment: 12, a multiple of 8"),
                (writer.contents([("general.alignment", writer.UINT32, 0)], []), "general.alignment: 0, a multiple of 8")):
            with self.subTest(pattern):
                self.path.write_bytes(data)
                self.assertRefused(pattern, gguf.read)
        self.path.write_bytes(b"GGML" + bytes(100))
        self.assertRefused("magic: it does not begin with 'GGUF'", gguf.read)


if __name__ == "__main__":
    main()
