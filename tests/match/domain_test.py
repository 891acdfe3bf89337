#!/usr/bin/env python3
"""The numeric domain of rule 6 is true: up to its ends the tokens are the reference's, beyond them the tools warn.

    tests/run match/domain_test.py -v
"""

from __future__ import annotations

import itertools
import tempfile
import unittest
from pathlib import Path

from support.attempt import Outcome, attempt
from support.cases import Case

from common.machine import here, run
from common.match import domain, matching
from common.model import random_model
from common.model.checkpoint import Config

CONFIG = Config(32, 64, 2, 4, 2, 64, 32, False)
# The domain is the arithmetic's and the source's: one engine for each, on a kernel rather than on a machine of its own.
ENGINES = list({(engine.arithmetic, engine.source): engine for engine in sorted(
    here.choose(None), key=lambda engine: (not run.emulated(engine), engine.target.machine == "program"))
    if "f32" in engine.encodings}.values())
ARITHMETICS = sorted({engine.arithmetic for engine in ENGINES})
SEEDS = (1, 2, 3)


class Domain(unittest.TestCase):
    def attempts(self, arithmetic: str, seed: int, **factors: float) -> list[Outcome]:
        """The engines of an arithmetic on the case's weights, with some tensors scaled."""
        weights = Case("domain", CONFIG, seed).checkpoint(seed)
        for name, factor in factors.items():
            weights.tensors[name] *= factor
        with tempfile.TemporaryDirectory(prefix="llama512-match-") as temporary:
            folder = Path(temporary)
            model = random_model.write(folder, "m", weights)
            return [attempt(engine, "f32", model, folder / engine.name, 60) for engine in ENGINES
                    if engine.arithmetic == arithmetic]

    def check(self, arithmetic: str, kind: str, low: float, inside: dict[str, float], outside: dict[str, float]) -> None:
        """Equal and without a warning when the largest of its kind is above `low`, as far as `inside` takes it; a warning,
        and other tokens or none, outside."""
        for seed in SEEDS:
            for outcome in self.attempts(arithmetic, seed, **inside):
                assert outcome.expected
                found = {extreme.kind: extreme.value for extreme in outcome.expected.extremes}[kind]
                self.assertTrue(low < found < domain.LIMITS[arithmetic][kind][0], found)
                self.assertEqual(domain.warnings(outcome.expected.extremes, arithmetic), [])
                self.assertGreater(outcome.expected.gap, matching.SMALLEST_GAP)
                self.assertEqual((outcome.verdict, outcome.detail), ("equal", ""))
            for outcome in self.attempts(arithmetic, seed, **outside):
                assert outcome.expected
                self.assertRegex("\n".join(domain.warnings(outcome.expected.extremes, arithmetic)), rf"\A{kind}: .*scale the weights down\Z")
                self.assertIn(outcome.verdict, ("different", "crashed"))  # where no logit is a number, there is no best one

    def test_scores(self) -> None:
        for arithmetic in ARITHMETICS:
            part = domain.LIMITS[arithmetic]["score"][0] / 11_000
            self.check(arithmetic, "score", 6e3 * part, {"wq": 100 * part}, {"wq": 300 * part})

    def test_gates(self) -> None:
        for arithmetic in ARITHMETICS:
            part = domain.LIMITS[arithmetic]["gate"][0] / 2**24
            self.check(arithmetic, "gate", 1e7 * part, {"w1": 1e6 * part, "w2": 1e-6 / part},
                       {"w1": 1e7 * part, "w2": 1e-7 / part})

    def test_small_and_large_streams(self) -> None:
        """What adds to the residual stream may be as large as its squares in float32 allow; small, ε decides."""
        for arithmetic, factor in itertools.product(ARITHMETICS, (1e-2, 1e6, 1e15)):
            for outcome in self.attempts(arithmetic, 1, token_embedding=factor, wo=factor, w2=factor):
                assert outcome.expected
                self.assertGreater(outcome.expected.gap, matching.SMALLEST_GAP)
                self.assertEqual((outcome.verdict, outcome.detail), ("equal", ""))


if __name__ == "__main__":
    unittest.main()
