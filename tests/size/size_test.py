#!/usr/bin/env python3
"""Every engine is within its budget, by `llama512 size`; and the bytes are counted right.

    tests/run size/size_test.py -v

Budgets are asserted with the compilers that golf/engines.json names; with another one the bytes are only reported.
No model is needed, so nothing is skipped: counted bytes do not depend on the weights.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest

from support import rules
from support.folders import FolderTest
from support.tools import ROOT

from common.engine import builds, engines, toolchains
from common.machine import here
from common.model import random_model
from common.size import measure
from common.size.prices import price_list

ENGINES = here.choose(None, to_run=False)
FIELDS = {"engine": str, "model": str, "bytes": int, "budget": int}  # what CI and the size report read


def size(*arguments: object) -> tuple[int, list[dict]]:
    """`llama512 size --json`: its exit status and its list."""
    result = subprocess.run([sys.executable, "-B", ROOT / "tools" / "llama512", "size", "--json",
                             *map(str, arguments)], capture_output=True, encoding="utf-8",
                            env={**os.environ, "NO_COLOR": "1"})
    if result.returncode not in (0, 1) or not result.stdout:
        raise AssertionError(f"llama512 size failed: {result.stderr}")
    return result.returncode, json.loads(result.stdout)


class Budget(unittest.TestCase):
    def test_every_engine_is_within_its_budget(self) -> None:
        status, rows = size()
        self.assertEqual([(row["engine"], row["model"]) for row in rows],
                         [(engine.name, shape.name) for shape in engines.shapes() for engine in ENGINES])
        for row in rows:
            with self.subTest(engine=row["engine"], shape=row["model"]):
                for name, kind in FIELDS.items():
                    self.assertIs(type(row[name]), kind, name)
                engine = engines.find(row["engine"])
                name = engines.nearest(engine.budgets, toolchains.name(engine))
                self.assertEqual(row["budget"], engine.budgets[name][row["model"]])
                said = f"{row['bytes']} counted bytes, budget {row['budget']} with {name}"
                print(f"{row['engine']}, {row['model']}: {said}")
                if not engines.is_named(name, toolchains.name(engine)):
                    self.skipTest(f"no budget for {toolchains.name(engine)}: {said}")
                self.assertLessEqual(row["bytes"], row["budget"])
        self.assertEqual(status, 0)


class Features(unittest.TestCase):
    def test_every_feature_has_its_price(self) -> None:
        prices = price_list()
        for price in prices:
            print(f"{price.engine}: {price.feature}: {price.with_it} - {price.without_it} = {price.price}")
        expected = []
        for engine in ENGINES:
            beyond = engine.beyond["features"] if engine.beyond else []
            names = [*engine.features, *engine.choices, *beyond[:1], *(f"{comfort}, with {beyond[0]}" for comfort in beyond[1:]),
                     *engine.on_request,
                     *["PROMPT of one token"] * engine.prompts,
                     *(feature if feature == "TEMPERATURE" else f"{feature}, with TEMPERATURE" for feature in engine.samples),
                     *(f"{other} instead of {engine.encodings[0]}" for other in engine.encodings[1:]),
                     *(f"nothing but {flag}" for flag in engine.flags_alone)]
            expected += [(engine.name, name) for name in names]
        self.assertEqual([(price.engine, price.feature) for price in prices], expected)
        choices = {choice for engine in ENGINES for choice in engine.choices}
        for price in prices:  # a choice may be one for fewer bytes, but for none it would be none; an encoding may cost nothing
            free = price.price == 0 and " instead of " in price.feature
            self.assertTrue(price.price > 0 or price.feature in choices and price.price or free, price)
        today = {row["engine"]: row["bytes"] for row in size()[1] if row["model"] == engines.budget_shape().name}
        for engine in ENGINES:
            for price in prices:
                if price.engine == engine.name and price.feature in (*engine.features, *engine.choices):
                    self.assertEqual(price.with_it, today[engine.name])


class Counting(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.build = self.enterContext(measure.workshop())  # for the shape of the budgets

    def test_weights_do_not_matter(self) -> None:
        shape = engines.budget_shape()
        other = random_model.write(self.folder, "m", random_model.weights(shape.config, 2, spread=100),
                                   vocabulary=measure.vocabulary(shape))
        for engine in ENGINES:
            with self.subTest(engine=engine.name):
                first, second = self.build(engine), builds.build(engine, other, self.folder / "engines")
                self.assertNotEqual(first.program.read_bytes(), second.program.read_bytes())
                self.assertEqual(first.counted, second.counted)
                # Not their number alone: all bytes that are counted are the same.
                self.assertEqual(self.own(first), self.own(second))

    def own(self, built: builds.Built) -> bytes:
        """The counted bytes."""
        image = rules.image_of(built)
        return bytes(byte for byte, counted in zip(image.program, image.counted) if counted)

    def test_counted_again(self) -> None:
        """From the program file and the manifest alone: the file's size less the tensors' and the vocabulary's."""
        shape = engines.budget_shape()
        for engine in ENGINES:
            for encoding in engine.encodings:
                with self.subTest(engine=engine.name, encoding=encoding):
                    built = self.build(engine, encoding)
                    manifest = json.loads((built.files / "manifest.json").read_text("utf-8"))
                    model_bytes = sum(span["rows"] * span["row_bytes"] for span in manifest["spans"]
                                      if span["tensor"] not in ("padding", "step"))
                    config = shape.config
                    matrices = config.n_layers * config.dim * (2 * config.dim + 2 * config.kv_dim
                                                               + 3 * config.hidden_dim)
                    keeps_gains = any(span["tensor"].startswith("rms_") for span in manifest["spans"])  # else they are folded
                    gains = (2 * config.n_layers + 1) * config.dim if keeps_gains else 0
                    embedding = next(span["encoding"] for span in manifest["spans"] if span["tensor"] == "token_embedding")
                    rows, rest = divmod(matrices, config.dim)
                    self.assertEqual(rest, 0)
                    weights = (rules.row_bytes(encoding, config.dim) * (rows + config.vocab_size) + rules.row_bytes("f32", gains)
                               + rules.row_bytes(embedding, config.dim, rules.one_step(manifest)) * config.vocab_size)
                    record = (model_bytes - weights) / config.vocab_size  # a length, the text, alignment
                    text = shape.longest_piece * (2 if any(map(rules.wide, manifest["spans"])) else 1)
                    model_bytes += sum(span["row_bytes"] for span in manifest["spans"] if span["tensor"] == "step")
                    self.assertIn(record, range(1 + text, 4 + text + rules.CLEAR.get(encoding, 0) + 4))
                    if engine.target.image == "disk":
                        self.check_image(built, model_bytes)
                        continue
                    self.assertEqual(built.counted, built.program.stat().st_size - model_bytes)
                    self.assertEqual(built.counted, rules.image_of(built).counted_bytes)
                    self.assertGreater(built.counted, 52)  # an ELF header at the least

    def check_image(self, built: builds.Built, model_bytes: int) -> None:
        """A disk image: the sectors with code, the model, zeros to a whole sector. What is not counted of the former is zero."""
        image, known = built.program.read_bytes(), rules.image_of(built)
        start = known.model_offset
        self.assertEqual(start % 512, 0)
        self.assertEqual(image[start:start + model_bytes], (built.files / "model.packed").read_bytes())
        self.assertEqual(len(image) % 512, 0)
        self.assertEqual(image[start + model_bytes:].strip(b"\0"), b"")
        self.assertLessEqual(built.counted, start)
        if start == 512:
            self.assertEqual(len(image), 512 + -(-model_bytes // 512) * 512)
            code = built.counted - 2  # and the signature
            self.assertEqual(image[code:510].strip(b"\0"), b"")
        else:
            free = [place for place in range(start) if not known.counted[place]]
            self.assertEqual((len(free), {image[place] for place in free}), (start - built.counted, {0}))
        self.assertEqual(image[510:512], b"\x55\xaa")

    def test_size_is_of_the_program_that_was_built(self) -> None:
        model = random_model.write(self.folder, "mine", random_model.weights(engines.budget_shape().config, 5), 7)
        _, rows = size("--model", model.checkpoint, "--engine", ENGINES[0].name)
        self.assertEqual([(row["engine"], row["model"]) for row in rows], [(ENGINES[0].name, "mine")])
        self.assertEqual(rows[0]["bytes"], builds.build(ENGINES[0], model, self.folder / "again").counted)


if __name__ == "__main__":
    unittest.main()
