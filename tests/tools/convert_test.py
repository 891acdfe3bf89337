"""`llama512 convert`: what it makes of a GGUF file or a folder of Hugging Face is the same model, and what is wrong is said."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

from support import gguf, huggingface
from support.folders import FolderTest
from support.skip import main
from support.tools import run_tool

from common.libraries import numpy as np
from common.model import checkpoint, random_model, tokenizer
from common.model.checkpoint import Checkpoint, Config
from common.model.huggingface import neighbours

BYTES = [b"<0x%02X>" % byte for byte in range(11)]
CONFIG = Config(dim=32, hidden_dim=64, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=34, seq_len=12, tied=True)
MODEL = random_model.weights(CONFIG, 1)
# Letters, and what merges make of them: "ab" before "bc", so that "abc" is spelled "ab c".
PIECES = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *BYTES, b" ", *(bytes([letter]) for letter in b"abcdefghij"), "é".encode(), b"ab",
          b"bc", b" a", b" ab", b"de", b"cde", b"fg", b"fgh"]
SCORES = [0.0] * 26 + [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0]
TEXTS = [b"abcde", b"a bc", b"ab fgh", "abé\n".encode()]


class ConvertTest(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.source, self.out = self.folder / "in", self.folder / "out.bin"

    def convert(self, source: Path | str, *arguments: object, status: int = 0) -> str:
        result = run_tool("convert", source, self.out, *arguments)
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stderr if status else result.stdout

    def write(self, model: Checkpoint = MODEL, **options: Any) -> None:
        huggingface.write(self.source, model, PIECES, SCORES, **options)

    def converted(self) -> Checkpoint:
        self.convert(self.source)
        return checkpoint.load(self.out)

    def assertRefused(self, pattern: str) -> None:
        said = self.convert(self.source, status=1)
        self.assertRegex(said, r"\Allama512 convert: error: [^\n]*" + pattern)
        self.assertEqual(said.count("\n"), 1)
        self.assertFalse(list(self.folder.glob("out*")))


class Gguf(ConvertTest):
    def test_the_same_model(self) -> None:
        self.source = self.folder / "m.gguf"
        gguf.write(self.source, gguf.metadata(CONFIG, PIECES, SCORES), gguf.tensors(MODEL))
        said = self.convert(self.source)
        self.assertRegex(said, r"out.bin: 19,680 parameters \(dim 32, hidden_dim 64, .* seq_len 12\)\n.*out.tokenizer.bin: 34 tokens\n")
        self.assertEqual(checkpoint.load(self.out), MODEL)
        vocabulary = tokenizer.load(self.folder / "out.tokenizer.bin", 34)
        self.assertEqual((vocabulary.pieces, vocabulary.scores), (PIECES, SCORES))

    def test_a_shorter_context(self) -> None:
        self.write()
        self.convert(self.source, "--seq-len", 5)
        self.assertEqual(checkpoint.load(self.out), Checkpoint(replace(CONFIG, seq_len=5), MODEL.tensors))
        for wrong in (0, 13):
            self.assertIn(f"--seq-len: {wrong}, a value from 1 to the model's 12", self.convert(self.source, "--seq-len", wrong, status=1))

    def test_other_names_and_places(self) -> None:
        self.write()
        self.assertIn("a name that ends in .bin is needed", run_tool("convert", self.source, self.folder / "out.gguf").stderr)
        self.out = self.folder / "new" / "folder" / "m.bin"
        self.convert(self.source)
        self.assertEqual(sorted(path.name for path in self.out.parent.iterdir()), ["m.bin", "m.tokenizer.bin"])
        first = self.out
        self.out = self.folder / "again.bin"
        self.convert(first)  # a checkpoint of llama2.c's is a model, too
        self.assertEqual(self.out.read_bytes(), first.read_bytes())
        self.out = first
        self.assertIn("would overwrite", self.convert(first, status=1))
        self.assertIn("not found", self.convert("no-such-model", status=1))


class HuggingFace(ConvertTest):
    def test_types_and_parts(self) -> None:
        for kind, parts, tied in (("F32", 1, True), ("F32", 3, False), ("BF16", 2, True), ("F16", 1, False)):
            with self.subTest(kind=kind, parts=parts):
                self.source = self.folder / f"{kind}-{parts}"
                model = random_model.weights(replace(CONFIG, tied=tied), 1)
                self.write(model, kind=kind, parts=parts)
                found = self.converted()
                self.assertEqual(found.config, model.config)
                for name, values in model.tensors.items():
                    most = {"F32": 0, "BF16": 2.0**-8, "F16": 2.0**-11}[kind] * np.abs(values) + (kind == "F16") * 1e-7
                    self.assertTrue((np.abs(found.tensors[name] - values) <= most).all(), name)

    def test_pairs_are_neighbours(self) -> None:
        """Scores of queries turned in halves, as there, and in neighbours, as here."""
        generator = np.random.default_rng(1)
        rows = generator.normal(size=(2 * 8, 5))  # two heads
        x, angles = generator.normal(size=5), np.array([0.3, 0.1, 0.05, 0.01])

        def halves(head: np.ndarray) -> np.ndarray:
            one, other = head[:4], head[4:]
            return np.concatenate([one * np.cos(angles) - other * np.sin(angles), other * np.cos(angles) + one * np.sin(angles)])

        def pairs(head: np.ndarray) -> np.ndarray:
            one, other = head[::2], head[1::2]
            return np.stack([one * np.cos(angles) - other * np.sin(angles), other * np.cos(angles) + one * np.sin(angles)], 1).ravel()
        there, here = rows @ x, neighbours(rows, 8) @ x
        self.assertAlmostEqual(halves(there[:8]) @ there[8:], pairs(here[:8]) @ here[8:])

    def test_both_tokenizers_spell_alike(self) -> None:
        for name in ("tokenizer.model", "tokenizer.json"):
            self.source = self.folder / name
            self.write(tokenizer=name)
            self.convert(self.source)
            vocabulary = tokenizer.load(self.folder / "out.tokenizer.bin", 34)
            self.assertEqual(vocabulary.pieces, PIECES)
            spelled = [b"|".join(vocabulary.pieces[token] for token in tokenizer.encode(vocabulary, text)) for text in TEXTS]
            self.assertEqual(spelled, [b" ab|cde", b" a| |bc", b" ab| |fgh", " ab|é|<0x0A>".encode()], name)

    def test_constants(self) -> None:
        config = replace(CONFIG, rms_epsilon=1e-6, rope_theta=500000.0)
        self.write(Checkpoint(config, MODEL.tensors))
        self.assertEqual(self.converted().config, config)
        self.write(config={"rms_norm_eps": None, "rope_theta": None, "rope_parameters": {"rope_theta": 1e6, "rope_type": "default"},
                           "num_key_value_heads": 2, "head_dim": 8})
        self.assertEqual(self.converted().config, replace(CONFIG, rms_epsilon=1e-6, rope_theta=1e6))

    def test_another_tokenizer(self) -> None:
        self.write()
        other = self.folder / "other.bin"
        tokenizer.write(other, [b"%d" % token for token in range(34)], [0.0] * 34)
        self.convert(self.source, "--tokenizer", other)
        self.assertEqual((self.folder / "out.tokenizer.bin").read_bytes(), other.read_bytes())

    def test_models_that_are_not_llama_2(self) -> None:
        for config, pattern in (
                ({"model_type": "gemma"}, 'config.json: model_type: "gemma", "llama" is needed'),
                ({"hidden_act": "gelu"}, 'hidden_act: "gelu", "silu" is needed'),
                ({"attention_bias": True}, "attention_bias: true, false is needed"),
                ({"sliding_window": 4096}, "sliding_window: 4096, null is needed"),
                ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 'rope_scaling: .*"llama3".*, RoPE that is not scaled'),
                ({"head_dim": 16}, "head_dim: 16, 8 is needed"),
                ({"bos_token_id": 128000}, "bos_token_id: 128000, 1 is needed"),
                ({"hidden_size": None}, "hidden_size: it is missing"),
                ({"hidden_size": "64"}, 'hidden_size: "64", a number is needed'),
                ({"num_attention_heads": 5}, "n_heads: 5, a divisor of dim 32"),
                ({"rms_norm_eps": 2.0}, "rms_epsilon: 2, a value from"),
                ({"vocab_size": 25}, r"shape \(34, 32\), \(25, 32\) is needed")):
            with self.subTest(config):
                self.write(config=config)
                self.assertRefused(pattern)

    def test_tensors(self) -> None:
        good = huggingface.tensors(MODEL)
        path = self.source / "model.safetensors"
        self.write()
        for change, pattern in (
                ({"model.layers.0.self_attn.q_proj.bias": np.zeros(32)}, "q_proj.bias: a tensor that Llama 2 has not"),
                ({"model.norm.weight": np.zeros(31)}, r"model.norm.weight: shape \(31,\), \(32,\) is needed"),
                ({"model.norm.weight": np.full(32, np.inf)}, "")):
            huggingface.safetensors(path, good | change)
            if pattern:
                self.assertRefused(pattern)
        huggingface.safetensors(path, {name: values for name, values in good.items() if name != "model.norm.weight"})
        self.assertRefused("model.norm.weight: it is in none of the")
        huggingface.safetensors(path, good | {"model.layers.0.self_attn.rotary_emb.inv_freq": np.zeros(4)})
        self.assertEqual(self.converted(), MODEL)

    def test_damaged_tensors(self) -> None:
        self.write()
        path = self.source / "model.safetensors"
        entry = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
        for header, data, pattern in (
                (b"{", b"", "header: .*damaged"), (b"[]", b"", "header: a JSON object"), (b'{"a":1,"a":2}', b"", "'a' is there twice"),
                (json.dumps({"a": entry}).encode(), bytes(15), r"a: data_offsets: \[0, 16\], 16 of the 15 bytes"),
                (json.dumps({"a": entry | {"dtype": "I8"}}).encode(), bytes(16), "a: dtype: I8, one of F32, F16, BF16"),
                (json.dumps({"a": entry | {"shape": [5]}}).encode(), bytes(16), r"a: data_offsets: \[0, 16\], 20 of"),
                (json.dumps({"a": entry | {"shape": [-4]}}).encode(), bytes(16), "a: .*dtype, shape and data_offsets are needed"),
                (json.dumps({"a": {"dtype": "F32"}}).encode(), bytes(16), "a: .*dtype, shape and data_offsets are needed")):
            with self.subTest(pattern):
                huggingface.raw_safetensors(path, header, data)
                self.assertRefused(pattern)
        path.write_bytes(struct.pack("<Q", 2**40))
        self.assertRefused("length of the header: 1099511627776, the file has 0")
        path.write_bytes(b"x")
        self.assertRefused("file size: 1 bytes")
        path.unlink()
        self.assertRefused("no model.safetensors and no model.safetensors.index.json")
        (self.source / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../../etc/passwd"}}', "utf-8")
        self.assertRefused("weight_map: names of files in the same folder")

    def test_damaged_tokenizers(self) -> None:
        self.write()
        path = self.source / "tokenizer.model"
        pieces = [piece.replace(b" ", "\u2581".encode()) for piece in PIECES]
        good = huggingface.sentencepiece(pieces, SCORES)
        for data, pattern in (
                (good[:-3], "tokenizer.model: a field of .* bytes at byte .*: no SentencePiece model, or a damaged one"),
                (b"\x80" * 20, "does not end"), (b"\x0f", "a field of type 7"), (b"\x08\x01", "the number 1, where bytes are needed"),
                (huggingface.sentencepiece(pieces, SCORES, model_type=1), "model_type: unigram, BPE is needed"),
                (huggingface.sentencepiece(pieces, SCORES, bos=0), "bos_id: 0, 1 is needed"),
                (huggingface.sentencepiece(pieces, SCORES, dummy_prefix=0), "add_dummy_prefix: 0, 1 is needed"),
                (huggingface.sentencepiece(pieces, [float("nan"), *SCORES[1:]]), "token 0: score nan"),
                (huggingface.sentencepiece(pieces[:-1], SCORES), "33 tokens, config.json has vocab_size 34")):
            with self.subTest(pattern):
                path.write_bytes(data)
                self.assertRefused(pattern)
        path.unlink()
        self.assertRefused("tokenizer.json: cannot read the tokenizer")
        good_json = huggingface.merges(pieces, SCORES)
        for change, pattern in (({"type": "WordPiece"}, "model: .*WordPiece.*, BPE with byte_fallback is needed"),
                                ({"byte_fallback": False}, "byte_fallback is needed"), ({"merges": [["a"]]}, "merges"),
                                ({"merges": None}, "merges"), ({"vocab": {"a": 7}}, "token 3 is missing of 4")):
            with self.subTest(change):
                (self.source / "tokenizer.json").write_text(json.dumps(good_json | {"model": good_json["model"] | change}), "utf-8")
                self.assertRefused(pattern)


if __name__ == "__main__":
    main()
