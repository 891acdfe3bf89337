#!/usr/bin/env python3
"""Every counted byte of every engine is explained, once: the sums are exact, for several models and encodings.

    tests/run anatomy/sums_test.py [everything] -v
"""

from __future__ import annotations

import shutil
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

from support import cases, rules
from support.everything import EVERYTHING
from support.folders import FolderTest
from support.sources import other_sources
from support.tools import ROOT

from common.anatomy import marks
from common.anatomy.explain import EXPLAINERS, bytes_by, explain
from common.anatomy.operations import OPERATIONS
from common.anatomy.units import KINDS, Unit
from common.engine import builds
from common.errors import UserError
from common.machine import here
from common.model import models, random_model
from common.pack.race import Sampling
from common.size import exchange, measure

ENGINES = here.choose(None, to_run=False)
# Heads without groups and dims that are no power of two; odd sizes; slack; counts above 127, and above 255; next to nothing;
# many positions. One engine of each source for all, the others for FEW. With `everything`: all cases.
SHAPES = ("head-size-4", "one-kv-head", "kv-ratio-3", "300-layers", "head-size-258", "tiny", "seq-len-20000")
FEW = ("kv-ratio-3",)
FIRST = {engine.source: engine for engine in reversed(ENGINES)}.values()
# In every engine, whatever its size: without one of these it would not be a Llama 2.
NEEDED = ("loading", "embedding", "rmsnorm", "matmul", "rope", "attention", "softmax", "swiglu", "argmax", "output", "loop")


class Anatomy(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.temporary = tempfile.TemporaryDirectory(prefix="llama512-anatomy-")
        cls.folder = Path(cls.temporary.name)
        cls.model = measure.budget_model(cls.folder)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.temporary.cleanup()

    def check(self, built: builds.Built) -> list[Unit]:
        """All that holds for every engine and model."""
        units = explain(built)
        program = built.program.read_bytes()
        explained: set[int] = set()
        for unit in units:
            self.assertEqual(program[unit.offset:unit.offset + len(unit.data)], unit.data)
            self.assertIn(unit.operation, OPERATIONS)
            self.assertIn(unit.kind, KINDS)
            self.assertTrue(unit.instruction)
            place = set(range(unit.offset, unit.offset + len(unit.data)))
            self.assertTrue(place and not explained & place, unit)
            explained |= place
        self.assertEqual(len(explained), built.counted)
        self.assertEqual(sum(bytes_by(units, "operation").values()), built.counted)
        self.assertEqual(sum(bytes_by(units, "kind").values()), built.counted)
        # The very bytes that the rules count, found in another way: from the file and the manifest alone.
        self.assertEqual(explained, {i for i, counted in enumerate(rules.image_of(built).counted) if counted})
        return units

    def test_budget_shape(self) -> None:
        for built in self.enterContext(measure.built_engines()):
            with self.subTest(engine=built.engine.name):
                units = self.check(built)
                found = bytes_by(units, "operation")
                print(f"{built.engine.name}: {found}")
                self.assertEqual([name for name in NEEDED if not found[name]], [])
                for unit in units:
                    for place in unit.places:
                        line = (ROOT / place.file).read_text("utf-8").splitlines()[place.line - 1]
                        self.assertIn(place.text, line)

    def test_encodings(self) -> None:
        for engine in ENGINES:
            for encoding in engine.encodings[1:]:
                with self.subTest(engine=engine.name, encoding=encoding):
                    self.check(builds.build(engine, self.model, self.folder / encoding, encoding))

    def test_features(self) -> None:
        for engine in ENGINES:
            if engine.features:
                self.check(builds.build(replace(engine, features=()), self.model, self.folder / "bare"))
                self.check(builds.build(replace(engine, features=("LINE_BREAKS", "SERIAL", "PROMPT=2,3")), self.model,
                                        self.folder / "prompt"))
            elif engine.prompts:
                for prompt in ("2", "2,300,301", "300,301,302", "300,9000"):
                    self.check(builds.build(replace(engine, features=(f"PROMPT={prompt}",)), self.model, self.folder / "prompt"))
            for feature in engine.on_request:
                self.check(builds.build(replace(engine, features=()).with_requested([feature]), self.model, self.folder / "asked"))
            if engine.large:
                self.check(builds.build(engine.large, self.model, self.folder / "large"))
            for sampling in filter(engine.draws, (Sampling(0.8, 1), Sampling(0.8, None), Sampling(0.8, 1, 0.9))):
                sampled = engine.without(engine.features[-1:]).sampled(sampling)
                self.check(builds.build(sampled, self.model, self.folder / "sampled"))

    def test_other_shapes(self) -> None:
        """Other instructions: heads without groups, counts above 255, slack, odd sizes."""
        for case in cases.CASES if EVERYTHING else map(cases.find, SHAPES):
            weights = random_model.weights(case.config, seed=1)
            model = random_model.write(self.folder / case.name, "m", weights, case.piece_length)
            for engine in ENGINES if EVERYTHING or case.name in FEW else FIRST:
                with self.subTest(case=case.name, engine=engine.name):
                    try:
                        built = builds.build(engine, model, self.folder / case.name / "engines")
                    except UserError as error:
                        print(f"{engine.name}: {case.name}: not built: {error}")
                        continue
                    self.check(built)

    def test_default_model(self) -> None:
        try:
            model = models.find_model()
        except UserError as error:
            self.skipTest(str(error))
        for engine in ENGINES:
            with self.subTest(engine=engine.name):
                self.check(builds.build(engine, model, self.folder / "default"))


class Defects(FolderTest):
    """What cannot be explained is an error, never a guess."""

    def setUp(self) -> None:
        super().setUp()
        self.model = measure.budget_model(self.folder)

    def test_code_without_a_mark(self) -> None:
        for built in self.enterContext(measure.built_engines()):
            source = built.engine.source
            with self.subTest(engine=built.engine.name):
                places = REAL(source).places
                unmarked = marks.Source(places, (None,) * len(places))
                with mock.patch.object(marks, "source", lambda file: unmarked if file == source else REAL(file)), \
                        self.assertRaisesRegex(UserError, "stands under a mark like @matmul"):
                    explain(built)

    def test_fills_are_explained_where_they_are_counted(self) -> None:
        """`times` and `align` in the code are counted; those that make a disk image's sectors full are not. (Code that has the padding
        in front of it takes no `align`: each would wait for the other.)"""
        for engine in ENGINES:
            if engine.toolchain == "nasm":
                with self.subTest(engine=engine.name), tempfile.TemporaryDirectory() as folder:
                    golf = Path(folder) / "golf"
                    shutil.copytree(ROOT / "golf", golf)
                    path = golf / "asm" / "transformer.inc"
                    align = "" if engine.spells else "                align 8\n"
                    path.write_text(path.read_text("utf-8").replace(
                        "\nrows:\n", f"\nrows:\n                times 3 nop\n{align}"), "utf-8")
                    with other_sources(Path(folder)):
                        built = builds.build(engine, self.model, self.folder / "filled")
                        units = explain(built)
                    self.assertIn("times 3 nop", [unit.instruction for unit in units])

    def test_without_marks_the_size_is_known(self) -> None:
        built = builds.build(ENGINES[0], self.model, self.folder / "engines")
        with mock.patch.object(measure, "explain", side_effect=UserError("no mark")):
            size = measure.size_of(built)
        self.assertEqual((size.bytes, size.header, size.code, size.data), (built.counted, None, None, None))
        self.assertIn(",,,,", exchange.to_csv([size]))

    def test_a_number_without_a_name(self) -> None:
        """A byte that no function, variable or line of the linker script has: its place is said, and what to do."""
        built = builds.build(ENGINES[0], self.model, self.folder / "engines")
        units = explain(built)
        lost = next(unit for unit in units if unit.kind == "data")
        with mock.patch.dict(EXPLAINERS, {ENGINES[0].toolchain: lambda *_: [unit for unit in units if unit is not lost]}), \
                self.assertRaisesRegex(UserError, f"of byte {lost.offset} the sources say nothing; .* with a mark$"):
            explain(built)

    def test_bytes_that_are_left_over(self) -> None:
        built = builds.build(ENGINES[0], self.model, self.folder / "engines")
        with self.assertRaisesRegex(UserError, f"{built.counted + 1} bytes are counted, but {built.counted} explained"):
            explain(replace(built, counted=built.counted + 1))


REAL = marks.source


if __name__ == "__main__":
    unittest.main()
