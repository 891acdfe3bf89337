#!/usr/bin/env python3
"""Rules 1, 3 and 4 for what `pack` writes: the packed file is the checkpoint's weights and the vocabulary's text, each
once, with nothing left over; and the checks notice what would break that.

    tests/run rules/packed_test.py -v
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
import unittest
from dataclasses import replace
from pathlib import Path
from typing import Callable, Iterator
from unittest import mock

from support import rules
from support.folders import FolderTest

from common.engine import engines, packing
from common.engine.engines import Engine
from common.errors import UserError
from common.libraries import numpy as np
from common.model import checkpoint, random_model, tokenizer
from common.model.checkpoint import Checkpoint, Config
from common.model.models import Model
from common.pack import layouts, packer, race
from common.pack.layouts import Layout, Matrix, Records, Text
from common.pack.race import Sampling

ENGINES = engines.table()
SAMPLED = [engine.sampled(Sampling(0.8)) for engine in ENGINES if engine.samples]
CONFIGS = {
    "grouped, tied": Config(24, 40, 2, 6, 2, 40, 12, True),
    "full attention, untied": Config(16, 300, 1, 2, 2, 33, 8, False),
    "one kv head": Config(30, 7, 3, 5, 1, 257, 5, False),
}


def problems(engine: Engine, model: Model, encoding: str, folder: Path) -> list[str]:
    """Packs a model, and holds all that was written against the rules."""
    packing.pack(engine, model, encoding, folder)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    packed = (folder / "model.packed").read_bytes()
    original = checkpoint.load(model.checkpoint)
    config = original.config
    pieces = tokenizer.load(model.tokenizer, config.vocab_size).pieces
    found = rules.manifest_problems(manifest, config)
    if len(packed) != manifest["bytes"]:
        found.append(f"the file has {len(packed)} bytes, the manifest says {manifest['bytes']}")
    for name, path in (("checkpoint", model.checkpoint), ("tokenizer", model.tokenizer), *(
            (name, folder / name) for name in ("model.packed", "effective.bin", "model.hpp", "model.inc"))):
        if manifest["sha256"][name] != hashlib.sha256(path.read_bytes()).hexdigest():
            found.append(f"sha256 of {name} is wrong")
    factors = {name: factor(config) for name, factor in layouts.FACTORS.items()}
    found += rules.factor_problems(factors, config)
    if engine.sampling:  # the one factor more: sqrt(dim), log2 e and 1 / temperature
        factors[race.FACTOR] = math.sqrt(config.dim) * math.log2(math.e) / np.float32(engine.sampling.temperature).item()
    found += rules.folding_problems(manifest, factors)
    embedding = next(span["encoding"] for span in manifest["spans"] if span["tensor"] == "token_embedding")
    if rules.one_step(manifest):
        embedding += ", one step"
        found += rules.step_problems(manifest, packed)
    found += rules.decoding_problems(original, checkpoint.load(folder / "effective.bin"), encoding, embedding)
    found += rules.vocabulary_problems(manifest, packed, pieces)
    found += rules.size_problems(len(packed), config, pieces)
    # The effective checkpoint comes from the packed file itself.
    again, texts = packer.decode(packer.plan(engine.layout, encoding, config, pieces, engine.target.byte_order,
                                             engine.sampling and engine.sampling.temperature), config, packed)
    if again != checkpoint.load(folder / "effective.bin"):
        found.append("the packed file decodes to something else than effective.bin")
    if texts != [tokenizer.printed(piece) for piece in pieces]:
        found.append("the packed file's texts are not the vocabulary's")
    return found


class PackTest(FolderTest):
    def model(self, config: Config, seed: int = 1, vocabulary: list[bytes] | None = None) -> Model:
        return random_model.write(self.folder, "m", random_model.weights(config, seed), 7, vocabulary)


class Engines(PackTest):
    def test_random_models(self) -> None:
        for engine in ENGINES + SAMPLED:
            for encoding in engine.encodings:
                for name, config in CONFIGS.items():
                    with self.subTest(engine=engine.name, encoding=encoding, model=name, sampling=engine.sampling):
                        self.assertEqual(problems(engine, self.model(config), encoding, self.folder / "packed"), [])

    def test_weights_of_every_size(self) -> None:
        """Zeros, and weights from 1e-20 to 1e20, of both signs; to 1e15 where a scale is a product of two."""
        config = CONFIGS["grouped, tied"]
        models = {}
        for reach in (20, 15):
            weights = random_model.weights(config, 2)
            for name, values in weights.tensors.items():
                if not name.startswith("rms"):
                    places = np.arange(values.size).reshape(values.shape)
                    values *= np.where(places % 7 == 0, 0.0, 10.0 ** (places % (2 * reach + 1) - reach))
            models[reach] = random_model.write(self.folder, f"to-1e{reach}", weights)
        for engine in ENGINES:
            for encoding in engine.encodings:
                with self.subTest(engine=engine.name, encoding=encoding):
                    model = models[15 if encoding in rules.STEPS else 20]
                    self.assertEqual(problems(engine, model, encoding, self.folder / "packed"), [])

    def test_pieces_of_every_kind(self) -> None:
        pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n", b"", b"<0x00>", b"<0x0A>", "\u00e9".encode(), b"x" * 20]
        pieces += [f"<0x{i:02X}>".encode() for i in range(32)]
        for engine in ENGINES:
            if not layouts.LAYOUTS[engine.layout].empty_pieces:
                model = self.model(CONFIGS["grouped, tied"], vocabulary=pieces)
                with self.assertRaisesRegex(UserError, "m.tokenizer.bin: token 3: an empty piece"):
                    problems(engine, model, engine.encodings[0], self.folder / "packed")
                model = self.model(CONFIGS["grouped, tied"], vocabulary=[piece or b"?" for piece in pieces])
            else:
                model = self.model(CONFIGS["grouped, tied"], vocabulary=pieces)
            found = problems(engine, model, engine.encodings[0], self.folder / "packed")
            # Records are as long as the longest piece, so such a vocabulary is larger than its tokenizer.bin.
            self.assertEqual([line for line in found if "the packed file has" not in line], [])

    def test_budget_shape(self) -> None:
        shape = engines.budget_shape()
        model = random_model.write(self.folder, "m", random_model.weights(shape.config, 1), shape.longest_piece)
        for engine_layout in {engine.layout: engine for engine in ENGINES}.values():
            for encoding in engine_layout.encodings:
                self.assertEqual(problems(engine_layout, model, encoding, self.folder / "packed"), [])


def planted(name: str, change: Callable[[int, Matrix | Records, Config], Iterator[Matrix | Records]]) -> Layout:
    """A layout like that of this name, but for what `change` makes of each block."""
    original = layouts.LAYOUTS[name]

    def changed(config: Config) -> Iterator[Matrix | Records]:
        for i, block in enumerate(original.blocks(config)):
            yield from change(i, block, config)
    return Layout(changed, lambda config: 0)


class PlantedLayouts(PackTest):
    """Layouts that break the rules, each in one way. `pack` itself or a check must notice."""

    CONFIG = CONFIGS["grouped, tied"]
    LAYOUT = ENGINES[0].layout  # what is changed

    def found(self, change: Callable, factors: dict[str, Callable[[Config], float]] | None = None) -> str:
        engine = replace(ENGINES[0], layout="planted")
        self.model(self.CONFIG)
        with (mock.patch.dict(layouts.LAYOUTS, planted=planted(self.LAYOUT, change)),
              mock.patch.dict(layouts.FACTORS, factors or {})):
            try:
                return "\n".join(problems(engine, Model("m", self.folder / "m.bin", self.folder / "m.tokenizer.bin"),
                                          "f32", self.folder / "packed"))
            except Exception as error:  # refused by the tools: as good
                return f"{type(error).__name__}: {error}"

    @staticmethod
    def first(tensor: str, block: Matrix | Records) -> bool:
        return isinstance(block, Matrix) and block.tensor == tensor and not block.layer

    def test_the_layout_itself_is_good(self) -> None:
        def same(i: int, block: Matrix | Records, config: Config) -> Iterator[Matrix | Records]:
            yield block
        self.assertEqual(self.found(same), "")

    def test_dropped_matrix(self) -> None:
        for tensor in ("wq", "w2", "wcls"):
            def drop(i: int, block: Matrix | Records, config: Config) -> Iterator[Matrix | Records]:
                if not self.first(tensor, block):
                    yield block
            self.assertRegex(self.found(drop), f"{tensor}.*(0 weights|nan)")

    def test_repeated_matrix(self) -> None:
        def repeat(i: int, block: Matrix | Records, config: Config) -> Iterator[Matrix | Records]:
            yield block
            if self.first("wk", block):
                yield block
        self.assertIn("wk, layer 0: 384 weights, the checkpoint has 192", self.found(repeat))

    def rows(self, order: list[int]) -> str:
        def reorder(i: int, block: Matrix | Records, config: Config) -> Iterator[Matrix | Records]:
            yield replace(block, order=order) if self.first("wk", block) else block
        return self.found(reorder)

    def test_rows(self) -> None:
        n = self.CONFIG.kv_dim
        self.assertEqual(self.rows(list(reversed(range(n)))), "")
        self.assertRegex(self.rows([0, *range(n)]), "wk")  # a duplicated row
        self.assertNotEqual(self.rows(list(range(n - 1))), "")  # a missing one
        self.assertRegex(self.rows([0, *range(n - 1)]), "wk.* nan")  # both: the number is right, the last is a hole
        self.assertNotEqual(self.rows([*range(n - 1), n]), "")  # a row of the next matrix

    def test_factor_that_is_not_allowed(self) -> None:
        def scale(i: int, block: Matrix | Records, config: Config) -> Iterator[Matrix | Records]:
            yield replace(block, factors=(*block.factors, "planted")) if self.first("w3", block) else block
        for value in (1.5, 3.0, 1 / 24):
            self.assertIn(f"factor planted: {value} is no constant", self.found(scale, {"planted": lambda _: value}))
        for value in (4.0, -0.5, 24**0.5, 1.4426950408889634, 0.6931471805599453):
            self.assertEqual(self.found(scale, {"planted": lambda _: value}), "")
        self.assertRegex(self.found(scale), "planted")  # in no table at all

    def test_gains(self) -> None:
        for tensor, gain in (("wq", None), ("wq", "rms_ffn"), ("w2", "rms_ffn")):
            def fold(i: int, block: Matrix | Records, config: Config) -> Iterator[Matrix | Records]:
                yield replace(block, gain=gain) if self.first(tensor, block) else block
            self.assertIn(tensor, self.found(fold))

    def test_more_records(self) -> None:
        def more(i: int, block: Matrix | Records, config: Config) -> Iterator[Matrix | Records]:
            yield block
            if isinstance(block, Records):
                yield Records((Text(),))
        self.assertIn("records for 40 tokens", self.found(more))

    def test_other_tensors(self) -> None:
        def gains(i: int, block: Matrix | Records, config: Config) -> Iterator[Matrix | Records]:
            yield block
            if self.first("w2", block):
                yield Matrix("rms_ffn")
        self.assertIn("rms_ffn", self.found(gains))


class PlantedGains(PlantedLayouts):
    """The same for a layout whose gains stand for themselves: all of them, or none."""

    LAYOUT = "plain"

    def changed(self, tensor: str, **changes: object) -> str:
        """What is found when the first block of a tensor is changed; without changes, when it is dropped."""
        def change(i: int, block: Matrix | Records, config: Config) -> Iterator[Matrix | Records]:
            if not self.first(tensor, block) or block.order not in (None, [0]):  # [1]: the gains of layer 1
                yield block
            elif changes:
                yield replace(block, **changes)
        return self.found(change)

    def test_gains(self) -> None:
        for tensor in rules.GAINS:
            self.assertRegex(self.changed(tensor), f"{tensor}.*(weights, the checkpoint has|nan)")  # dropped
        for tensor, gain in rules.GAIN_OF.items():
            self.assertIn(tensor, self.changed(tensor, gain=gain))  # folded as well
        self.assertIn("rms_att", self.changed("rms_att", order=[1]))  # another layer's

    def test_all_or_none(self) -> None:
        """Some gains folded, the others there."""
        for gain in rules.GAINS:
            def fold(i: int, block: Matrix | Records, config: Config) -> Iterator[Matrix | Records]:
                tensor = block.tensor if isinstance(block, Matrix) else ""
                if tensor != gain:
                    yield replace(block, gain=gain) if rules.GAIN_OF.get(tensor) == gain else block
            self.assertIn(gain, self.found(fold))

    def test_other_tensors(self) -> None:
        def twice(i: int, block: Matrix | Records, config: Config) -> Iterator[Matrix | Records]:
            yield block
            if self.first("w2", block):
                yield Matrix("rms_ffn")
        self.assertIn("rms_ffn", self.found(twice))


class PlantedManifests(PackTest):
    """A manifest that does not say what is in the file."""

    def setUp(self) -> None:
        super().setUp()
        self.config = CONFIGS["grouped, tied"]
        model = self.model(self.config)
        packing.pack(ENGINES[0], model, "f32", self.folder / "p")
        self.manifest = json.loads((self.folder / "p" / "manifest.json").read_text("utf-8"))
        self.packed = (self.folder / "p" / "model.packed").read_bytes()
        self.pieces = tokenizer.load(model.tokenizer, self.config.vocab_size).pieces
        self.assertEqual(rules.manifest_problems(self.manifest, self.config), [])

    def assertFound(self, pattern: str, change: Callable[[dict], object]) -> None:
        manifest = copy.deepcopy(self.manifest)
        change(manifest)
        self.assertRegex("\n".join(rules.manifest_problems(manifest, self.config)), pattern)

    def test_ranges(self) -> None:
        self.assertFound("4 bytes are in no span", lambda m: m.update(bytes=m["bytes"] + 4))
        self.assertFound("outside the file", lambda m: m.update(bytes=m["bytes"] - 4))
        self.assertFound("overlaps", lambda m: m["spans"][1].update(offset=m["spans"][1]["offset"] - 4))
        self.assertFound("in no span", lambda m: m["spans"].pop(2))
        self.assertFound("overlaps", lambda m: m["spans"].append(m["spans"][0]))
        self.assertFound("not counted", lambda m: m["spans"][0].update(tensor="padding"))
        self.assertFound("counted as the engine's own", lambda m: m["spans"][0].update(counted=True))
        self.assertFound("padding: [0-9]+ bytes", lambda m: m["spans"][0].update(tensor="padding", counted=True))
        self.assertFound(r"table, layer 0: \d+ weights, the checkpoint has 0", lambda m: m["spans"][0].update(tensor="table"))

    def test_records(self) -> None:
        self.assertEqual(rules.vocabulary_problems(self.manifest, self.packed, self.pieces), [])
        span = next(span for span in self.manifest["spans"] if span["tensor"] == "vocabulary")
        for token in (0, 1, 39):
            # Length, first letter, last letter.
            for byte in (0, 1, span["row_bytes"] - 1):
                if (token, byte) == (1, 0):
                    continue
                packed = bytearray(self.packed)
                packed[span["offset"] + token * span["row_stride"] + byte] ^= 3
                self.assertEqual(len(rules.vocabulary_problems(self.manifest, bytes(packed), self.pieces)), 1)

    def test_size(self) -> None:
        untied = 28 + 4 * sum(values.size for values in random_model.weights(
            replace(self.config, tied=False), 1).tensors.values())
        cos_sin = 4 * self.config.seq_len * self.config.head_size
        limit = untied + cos_sin + 4 + 40 * (8 + 7)
        self.assertEqual(rules.size_problems(limit, self.config, self.pieces), [])
        self.assertEqual(len(rules.size_problems(limit + 1, self.config, self.pieces)), 1)


class PlantedWeights(unittest.TestCase):
    """An effective checkpoint that is not the original, by a little."""

    def test_one_weight(self) -> None:
        original = random_model.weights(CONFIGS["full attention, untied"], 1)
        for name in rules.GAIN_OF.values():
            original.tensors[name][:] = 1.0
        self.assertEqual(rules.decoding_problems(original, original, "f32"), [])
        for encoding, too_much in (("f32", 2.0**-20), ("bf16", 2.0**-7)):
            for name in original.tensors:
                effective = original.copy()
                effective.tensors[name].flat[-1] *= 1 + too_much
                self.assertEqual(len(rules.decoding_problems(original, effective, encoding)), 1, name)

    def test_one_step(self) -> None:
        """A weight that is a whole step off: of its row, or of the columns that share one."""
        original = random_model.weights(CONFIGS["grouped, tied"], 1)
        for name in rules.GAINS:
            original.tensors[name][:] = 1.0
        original = Checkpoint(replace(original.config, tied=False), {**original.tensors, "wcls": original.classifier})
        self.assertEqual(rules.decoding_problems(original, original, "int8"), [])
        for name in (*rules.SINGLE, *rules.MATRICES):
            values = original.tensors[name]
            allowed = rules.deviations("int8", name, values, original.config)
            self.assertGreater(len(set(allowed.flat)), 1, name)
            for index in (0, values.size // 2, values.size - 1):
                effective = original.copy()
                effective.tensors[name].flat[index] += 2 * allowed.flat[index]
                self.assertEqual(len(rules.decoding_problems(original, effective, "int8")), 1, name)

    def test_scales_that_weigh_too_much(self) -> None:
        """With rows of two weights, int8 would be larger than bf16."""
        for dim, wanted in ((4, 0), (2, 1)):
            config = Config(dim, 40, 1, 1, 1, 10, 12, False)
            spans = packer.plan("stream", "int8", config, random_model.pieces(10, 7))
            manifest = {"encoding": "int8", "longest_piece": 7, "spans": packer.manifest(spans)}
            found = rules.count_problems(manifest, config)
            self.assertEqual(len(found), wanted, found)
            self.assertEqual(["in bf16 they would be fewer" in problem for problem in found], [True] * wanted)

    def test_gains(self) -> None:
        """Gains that stand for themselves are the checkpoint's, bit by bit, and all of them."""
        original = random_model.weights(CONFIGS["full attention, untied"], 1)
        self.assertEqual(rules.decoding_problems(original, original, "f32"), [])
        for name, change in itertools.product(rules.GAINS, (lambda gains: np.nextafter(gains, np.float32(9)), np.ones_like)):
            effective = original.copy()
            effective.tensors[name] = change(effective.tensors[name])
            self.assertEqual(len(rules.decoding_problems(original, effective, "f32")), 1, name)


if __name__ == "__main__":
    unittest.main()
