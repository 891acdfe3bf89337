#!/usr/bin/env python3
"""The numeric domain of rule 6 is true: up to its ends the tokens are the reference's, beyond them the tools warn.

    tests/run match/domain_test.py -v
"""

from __future__ import annotations

import tempfile
import unittest
from array import array
from pathlib import Path

from support.attempt import Outcome, attempt
from support.cases import Case

from common.engine import engines
from common.machine import run
from common.match import domain, matching
from common.model import random_model
from common.model.checkpoint import Config

CONFIG = Config(32, 64, 2, 4, 2, 64, 32, False)
ENGINES = [engine for engine in engines.table() if not run.emulated(engine)]
SEEDS = (1, 2, 3)


class Domain(unittest.TestCase):
    def attempts(self, seed: int, **factors: float) -> list[Outcome]:
        """Every engine that is quick on the case's weights, with some tensors scaled."""
        weights = Case("domain", CONFIG, seed).checkpoint(seed)
        for name, factor in factors.items():
            weights.tensors[name] = array("f", [value * factor for value in weights.tensors[name]])
        with tempfile.TemporaryDirectory(prefix="llama512-match-") as temporary:
            folder = Path(temporary)
            model = random_model.write(folder, "m", weights)
            return [attempt(engine, "f32", model, folder / engine.name, 60) for engine in ENGINES
                    if "f32" in engine.encodings]

    def check(self, kind: str, low: float, inside: dict[str, float], outside: dict[str, float]) -> None:
        """Equal and without a warning when the largest of its kind is above `low`, as far as `inside` takes it; a warning,
        and other tokens or none, outside."""
        for seed in SEEDS:
            for outcome in self.attempts(seed, **inside):
                assert outcome.expected
                found = {extreme.kind: extreme.value for extreme in outcome.expected.extremes}[kind]
                self.assertTrue(low < found < domain.LIMITS[kind][0], found)
                self.assertEqual(domain.warnings(outcome.expected.extremes), [])
                self.assertGreater(outcome.expected.gap, matching.SMALLEST_GAP)
                self.assertEqual((outcome.verdict, outcome.detail), ("equal", ""))
            for outcome in self.attempts(seed, **outside):
                assert outcome.expected
                self.assertRegex("\n".join(domain.warnings(outcome.expected.extremes)), rf"\A{kind}: .*scale the weights down\Z")
                self.assertIn(outcome.verdict, ("different", "crashed"))  # where no logit is a number, there is no best one

    def test_scores(self) -> None:
        self.check("score", 6e3, {"wq": 100.0}, {"wq": 300.0})

    def test_gates(self) -> None:
        self.check("gate", 1e7, {"w1": 1e6, "w2": 1e-6}, {"w1": 1e7, "w2": 1e-7})

    def test_small_and_large_streams(self) -> None:
        """What adds to the residual stream may be as large as its squares in float32 allow; small, ε decides."""
        for factor in (1e-2, 1e6, 1e15):
            for outcome in self.attempts(1, token_embedding=factor, wo=factor, w2=factor):
                assert outcome.expected
                self.assertGreater(outcome.expected.gap, matching.SMALLEST_GAP)
                self.assertEqual((outcome.verdict, outcome.detail), ("equal", ""))


if __name__ == "__main__":
    unittest.main()
