"""tools/pack.py: what it writes, and what it refuses, with figures and one line."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import struct
from dataclasses import asdict, replace
from unittest import mock

from checkpoint_test import write_v1
from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main
from support.tools import run_tool

from common.engine import configuration, engines, limits, packing
from common.libraries import numpy as np
from common.model import checkpoint, random_model, tokenizer
from common.model.checkpoint import Checkpoint, Config
from common.pack import encodings, layouts, packer

ENGINES = engines.table()
FILES = {"model.packed", "model.hpp", "model.inc", "effective.bin", "tokenizer.bin", "manifest.json"}


class PackTest(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.weights = small_checkpoint()
        self.model = random_model.write(self.folder, "m", self.weights)
        self.out = self.folder / "out"

    def pack(self, *arguments: object, status: int = 0, engine: str = ENGINES[0].name) -> str:
        """Runs `llama512 pack`; returns what it printed (on stderr when it must fail)."""
        result = run_tool("pack", "--engine", engine, "--model", self.model.checkpoint, "-o", self.out, *arguments)
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stderr if status else result.stdout


class Writes(PackTest):
    def test_files(self) -> None:
        self.assertRegex(self.pack(), r"^.*model.packed: [\d,]+ bytes in \d+ spans\n$")
        self.assertEqual({path.name for path in self.out.iterdir()}, FILES)

    def test_effective_checkpoint(self) -> None:
        """An ordinary untied checkpoint beside its tokenizer: any llama2.c program can run it."""
        self.pack()
        effective = checkpoint.load(self.out / "effective.bin")
        self.assertEqual(effective.config, replace(self.weights.config, tied=False))
        self.assertTrue((effective.tensors["token_embedding"] == self.weights.tensors["token_embedding"]).all())
        self.assertEqual((self.out / "tokenizer.bin").read_bytes(), self.model.tokenizer.read_bytes())
        self.assertEqual(set(effective.tensors["rms_att"].flat), {1.0})

    def test_manifest(self) -> None:
        for engine in ENGINES:
            for encoding in engine.encodings:
                self.pack("--encoding", encoding, engine=engine.name)
                manifest = json.loads((self.out / "manifest.json").read_text("utf-8"))
                self.assertEqual((manifest["engine"], manifest["layout"], manifest["encoding"], manifest["model"]),
                                 (engine.name, engine.layout, encoding, "m"))
                self.assertEqual(manifest["config"], asdict(self.weights.config))
                self.assertEqual(manifest["bytes"], (self.out / "model.packed").stat().st_size)
                for name, path in [("checkpoint", self.model.checkpoint), ("tokenizer", self.model.tokenizer),
                                   *((name, self.out / name) for name in FILES - {"manifest.json", "tokenizer.bin"})]:
                    self.assertEqual(manifest["sha256"][name], hashlib.sha256(path.read_bytes()).hexdigest(), name)

    def test_configuration(self) -> None:
        """Both files say the same."""
        self.pack("--encoding", ENGINES[0].encodings[-1])
        cpp = dict(re.findall(r"constexpr (?:int|long long) (\w+) = (\d+);",
                              (self.out / "model.hpp").read_text("utf-8")))
        asm = dict(re.findall(r"%define (\w+) +(\d+)", (self.out / "model.inc").read_text("utf-8")))
        floats = {name.upper() for name in configuration.assembler_constants(self.weights.config, 1e-5)}
        self.assertEqual({name.upper(): value for name, value in cpp.items()},
                         {name: value for name, value in asm.items() if name not in floats})
        self.assertLess(floats, set(asm))
        config = self.weights.config
        for name in ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"):
            self.assertEqual(int(cpp[name]), getattr(config, name))
        self.assertEqual((cpp["longest_piece"], int(cpp["weight_bytes"])),
                         ("7", encodings.ENCODINGS[ENGINES[0].encodings[-1]].weight_bytes))

    def test_same_inputs_same_files(self) -> None:
        self.pack()
        first = {path.name: path.read_bytes() for path in self.out.iterdir()}
        self.out = self.folder / "again"
        self.pack()
        self.assertEqual(first, {path.name: path.read_bytes() for path in self.out.iterdir()})

    def test_every_version(self) -> None:
        """v1 is the same weights, so the same packed file."""
        self.pack()
        first = (self.out / "model.packed").read_bytes()
        write_v1(self.model.checkpoint, self.weights)
        self.pack()
        self.assertEqual((self.out / "model.packed").read_bytes(), first)

    def test_check(self) -> None:
        result = run_tool("pack", "--check", "--model", self.model.checkpoint)
        self.assertEqual(result.stdout.splitlines(), ["m", str(self.model.checkpoint), str(self.model.tokenizer)])
        self.assertEqual(result.returncode, 0)
        self.assertFalse(self.out.exists())


class Domain(PackTest):
    """Weights that are too large for the engines' arithmetic: packed, with a warning."""

    def warnings(self, env: dict[str, str] | None = None) -> list[str]:
        result = run_tool("pack", "--engine", ENGINES[0].name, "--model", self.model.checkpoint, "-o", self.out, env=env)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stderr.splitlines()

    def scale(self, **factors: float) -> None:
        weights = small_checkpoint()
        for name, factor in factors.items():
            weights.tensors[name] *= factor
        checkpoint.write(self.model.checkpoint, weights)

    def test_greedy_path(self) -> None:
        if "LLAMA512_REFERENCE" not in os.environ:
            self.skipTest("LLAMA512_REFERENCE is not set, ctest does")
        self.assertEqual(self.warnings(), [])
        for factors, kind in [({"wq": 1e3, "wk": 1e3}, "score"), ({"w1": 1e8}, "gate")]:
            with self.subTest(kind):
                self.scale(**factors)
                lines = self.warnings()
                self.assertRegex("\n".join(lines), rf"\Allama512 pack: warning: {kind}: [\d.e+]+ in layer \d at position \d, "
                                                   "beyond [^\n]*\\Z")
        self.scale(token_embedding=1e20)
        self.assertRegex("\n".join(self.warnings()), r"\Allama512 pack: warning: not checked .*: the reference failed: .* "
                                                     r"rms_att: inf as the mean square of x in layer 0 at position 0.*\Z")

    def test_no_reference(self) -> None:
        lines = self.warnings(env={"LLAMA512_REFERENCE": str(self.folder / "none")})
        self.assertRegex("\n".join(lines), r"\Allama512 pack: warning: not checked whether .*none: the reference engine is not")


class Refuses(PackTest):
    """One line: `llama512 pack: error: FILE: FIELD: VALUE…`, status 1, and nothing written."""

    def assertRefused(self, pattern: str, *arguments: object) -> None:
        for check in ((), ("--check",)):
            said = self.pack(*arguments, *check, status=1)
            self.assertRegex(said, r"\Allama512 pack: error: [^\n]*\n\Z")
            self.assertRegex(said, pattern)
        self.assertNoFiles()

    def assertNoFiles(self) -> None:
        self.assertEqual(list(self.out.glob("*")) if self.out.exists() else [], [])

    def test_model_that_does_not_fit(self) -> None:
        """Small dimensions, many positions: with the figures, the limit and a way out."""
        config = Config(2, 1, 1, 1, 1, 1200, checkpoint.RANGES["seq_len"][1])
        weights = Checkpoint(config, {name: np.full(shape, 0.5, np.float32) for name, shape in config.shapes().items()})
        write_v1(self.model.checkpoint, weights)  # v0 would have cos and sin for each of these positions
        tokenizer.write(self.model.tokenizer, random_model.pieces(1200, 3), [0.0] * 1200)
        for engine in ENGINES:
            packed = packer.packed_bytes(packer.plan(engine.layout, engine.encodings[0], config,
                                                     random_model.pieces(1200, 3)))
            said = self.pack(status=1, engine=engine.name)
            limit = next(limit for limit in limits.of(engine.large or engine) if limit.field in ("seq_len", "workspace_bytes", "memory_bytes"))
            self.assertRegex(said, rf"m.bin: seq_len: 1048576.*, {engine.name} takes at most {limit.most:,} "
                                   rf"\({re.escape(limit.why)}\); use a model with a smaller seq_len")
            if limit.field == "memory_bytes":
                self.assertRegex(said, rf"would need [\d,]+ bytes of memory \({packed:,} for the model, [\d,]+ to work in\)")
        self.assertNoFiles()
        # `--check` without an engine asks them all.
        result = run_tool("pack", "--check", "--model", self.model.checkpoint)
        self.assertEqual((result.returncode, result.stdout), (1, ""))

    def test_model_that_just_fits(self) -> None:
        engine = ENGINES[0]
        spans = packer.plan(engine.layout, "f32", self.weights.config, random_model.pieces(10, 7))
        need = packer.packed_bytes(spans) + layouts.LAYOUTS[engine.layout].workspace(self.weights.config)
        for limit, fits in ((need, True), (need - 1, False)):
            limits = [{"field": "memory_bytes", "most": limit, "why": "reason"}]
            with mock.patch.object(engines.Engine, "limits", limits):
                if fits:
                    packing.check(engine, self.model, "f32")
                else:
                    self.assertUserError(f"would need {need:,} bytes", packing.check, engine, self.model, "f32")

    def test_long_pieces(self) -> None:
        tokenizer.write(self.model.tokenizer, [b"a"] * 5 + [b"x" * 256] + [b"b"] * 4, [0.0] * 10)
        self.assertRefused("m.tokenizer.bin: token 5: length 256, .* at most 255 bytes")

    def test_encoding(self) -> None:
        said = self.pack("--encoding", "f16", status=2)
        self.assertIn("invalid choice: 'f16'", said)
        engine = replace(ENGINES[0], encodings=("bf16",))
        self.assertUserError(f"{engine.name}: encoding 'f32': this engine reads bf16", packing.check, engine, self.model,
                             "f32")

    def test_vocab_size_1(self) -> None:
        data = bytearray(self.model.checkpoint.read_bytes())
        struct.pack_into("<i", data, 20, 1)
        self.model.checkpoint.write_bytes(data)
        self.assertRefused("m.bin: vocab_size: 1, a value from 2")

    def test_bad_checkpoints(self) -> None:
        good = self.model.checkpoint.read_bytes()
        nan = good[:28] + struct.pack("<f", math.nan) + good[32:]
        for data, pattern in [(b"", "empty"), (good[:-1], "truncated"), (good + b"\0", "too long"),
                              (nan, "token_embedding: element 0 is nan"), (bytes(28) + good[28:], "dim: 0, a value from"),
                              (good[:12] + struct.pack("<i", 3) + good[16:], "n_heads: 3, a divisor")]:
            self.model.checkpoint.write_bytes(data)
            self.assertRefused(f"m.bin: .*{pattern}")

    def test_bad_tokenizers(self) -> None:
        good = self.model.tokenizer.read_bytes()
        for data, pattern in [(b"", "empty"), (good[:-1], "ends early"), (good + b"12345678", "bytes are left")]:
            self.model.tokenizer.write_bytes(data)
            self.assertRefused(f"m.tokenizer.bin: .*{pattern}")
        self.model.tokenizer.unlink()
        self.assertRefused("m.bin: no tokenizer beside it")

    def test_weights_that_overflow_when_folded(self) -> None:
        """Only found when all is packed, so --check does not see it; but nothing is written."""
        for tensor, value, pattern in [("w3", 1e33, "w3: layer 0, row 0: .*does not fit into float32"),
                                       ("wq", 3e38, "wq: .*does not fit into float32")]:
            weights = random_model.weights(self.weights.config, 1)
            weights.tensors["rms_att"][:] = 2.0
            weights.tensors[tensor][:] = value
            checkpoint.write(self.model.checkpoint, weights)
            said = self.pack(status=1)
            self.assertRegex(said, rf"\Allama512 pack: error: {re.escape(str(self.model.checkpoint))}: {pattern}[^\n]*\n\Z")
            self.assertNoFiles()

    def test_layout_with_a_hole(self) -> None:
        blocks = [layouts.Matrix("wcls"), layouts.Records((layouts.Text(),))]
        with mock.patch.dict(layouts.LAYOUTS, partial=layouts.Layout(lambda config: blocks, lambda config: 0)):
            self.assertUserError("m.bin: token_embedding: element 0 is nan as packed: layout partial does not hold it",
                                 packing.pack, replace(ENGINES[0], layout="partial"), self.model, "f32", self.folder)

    def test_usage(self) -> None:
        self.assertEqual(run_tool("pack").returncode, 2)
        self.assertEqual(run_tool("pack", "--engine", ENGINES[0].name).returncode, 2)
        self.assertIn("not in golf/engines.json", self.pack(status=1, engine="none"))
        self.assertEqual(run_tool("pack", "--check", "--model", self.folder / "none.bin").returncode, 1)


if __name__ == "__main__":
    main()
