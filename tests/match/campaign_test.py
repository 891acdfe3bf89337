#!/usr/bin/env python3
"""The campaign itself: its shapes are as varied as it says, a wrong engine is found, and an interrupted run goes on.

    tests/run match/campaign_test.py -v
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

import campaign
from support import attempt, cases
from support.folders import FolderTest

from common.engine import engines, limits, toolchains
from common.engine.limits import Limit
from common.machine import run
from common.match import matching
from common.match.matching import Expected

ENGINE = engines.table()[0]


class Draws(unittest.TestCase):
    DRAWS = [campaign.draw(1, index) for index in range(2000)]

    def test_the_same_everywhere(self) -> None:
        self.assertEqual(campaign.draw(1, 3), self.DRAWS[3])
        self.assertNotEqual(campaign.draw(2, 3).config, self.DRAWS[3].config)

    def test_extremes(self) -> None:
        """The ends of every range are drawn, and what lies next to a power of two."""
        configs = [drawn.config for drawn in self.DRAWS]
        for values, wanted in [([c.head_size for c in configs], {2, 254, 256, 258, 512, 1024}),
                               ([c.n_layers for c in configs], {1, 127, 128, 129, 255, 256, 257, 300}),
                               ([c.seq_len for c in configs], {1, 255, 256, 16383, 16384, 16385, 20000}),
                               ([c.vocab_size for c in configs], {3, 256, 257, 16384, 40000}),
                               ([c.hidden_dim for c in configs], {1, 255, 256, 8191, 8192}),
                               ([c.kv_mul for c in configs], {1, 3, 5, 7, 8}), ([c.n_kv_heads for c in configs], {1, 3, 16}),
                               ([drawn.piece_length for drawn in self.DRAWS], {1, 3, 4, 127, 128, 255})]:
            self.assertLessEqual(wanted, set(values))
        for values in ([c.tied for c in configs], [bool(drawn.passes) for drawn in self.DRAWS],
                       [bool(drawn.scales) for drawn in self.DRAWS]):
            self.assertGreater(values.count(True), 200)
            self.assertGreater(values.count(False), 200)

    def test_cost(self) -> None:
        for drawn in self.DRAWS:
            self.assertLessEqual(sum(map(math.prod, drawn.config.shapes().values())), campaign.WEIGHTS)
            self.assertLessEqual(campaign.work(drawn.config, drawn.passes or drawn.config.seq_len), campaign.WORK)

    def test_scales(self) -> None:
        drawn = next(drawn for drawn in self.DRAWS if drawn.scales and drawn.config.dim < 50)
        plain = replace(drawn, scales={}).case().checkpoint(1)
        scaled = drawn.case().checkpoint(1)
        for name, factor in drawn.scales.items():
            self.assertAlmostEqual(scaled.tensors[name].flat[-1], plain.tensors[name].flat[-1] * factor, delta=abs(factor) * 1e-5)


class Campaign(FolderTest):
    """A few small shapes by one engine."""

    def setUp(self) -> None:
        super().setUp()
        self.log = self.folder / "log"

    def run_campaign(self, *arguments: str, emulated: bool = False) -> tuple[int, str]:
        command = ["campaign.py", "--quick", "--engines", ENGINE.name, "--log", str(self.log), *arguments]
        with mock.patch.object(sys, "argv", command), mock.patch.object(campaign, "SLOW_WORK", 1_000_000), \
                mock.patch.object(campaign, "QUICK_WEIGHTS", 20_000), \
                mock.patch.object(run, "emulated", lambda engine: emulated), contextlib.redirect_stdout(io.StringIO()) as out:
            return campaign.main(), out.getvalue()

    def rows(self) -> list[dict]:
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]

    def test_equal_and_going_on(self) -> None:
        status, out = self.run_campaign("--count", "2")
        self.assertEqual(status, 0, out)
        encodings = len(ENGINE.encodings)
        self.assertEqual([(row["index"], row["verdict"]) for row in self.rows()],
                         [(index, "equal") for index in range(2) for _ in range(encodings)])
        self.assertIn(f"2 shapes, {2 * encodings} programs and images: 0 neither equal nor refused", out)
        with self.log.open("a", encoding="utf-8") as file:
            file.write('{"seed": 1, "ind')  # cut off
        with mock.patch.object(campaign, "try_draw", side_effect=AssertionError("tried again")):
            self.assertEqual(self.run_campaign("--count", "2")[0], 0)
            with self.assertRaisesRegex(AssertionError, "tried again"):
                self.run_campaign("--count", "3")

    def test_shards(self) -> None:
        tried: list[int] = []

        def note(drawn: campaign.Draw, *_: object) -> tuple[attempt.Outcome, int]:
            tried.append(drawn.index)
            return attempt.Outcome("refused", "reason"), 0
        with mock.patch.object(campaign, "try_draw", note):
            for shard in ("1/3", "2/3", "3/3"):
                self.run_campaign("--count", "8", "--shard", shard)
        self.assertEqual(tried[::len(ENGINE.encodings)], [0, 3, 6, 1, 4, 7, 2, 5])

    def test_emulated(self) -> None:
        """Where it is slow, one shape of the quick ones, that the engine takes."""
        shapes = [campaign.draw(1, index, 1_000_000, 20_000).config.dim for index in range(3)]
        self.assertGreater(len(set(shapes)), 1)
        most = min(shapes)
        with mock.patch.object(campaign, "try_draw", lambda *_: (attempt.Outcome("refused", "reason"), 0)), \
                mock.patch.object(limits, "of", lambda engine: [Limit("dim", most, "reason")]):
            self.assertEqual(self.run_campaign("--count", "3", emulated=True)[0], 0)
        self.assertEqual([row["index"] for row in self.rows()], [shapes.index(most)] * len(ENGINE.encodings))

    def test_what_is_bad(self) -> None:
        """A wrong text, a crash, a build that fails after the check let it pass: found, and the status says so."""
        original = run.run
        wrong = mock.patch.object(run, "run", lambda *a, **b: run.Story(original(*a, **b).text[:-1], 1.0))
        crash = mock.patch.object(run, "run", side_effect=cases.UserError("ended with signal 11"))
        broken = mock.patch.object(toolchains.of(ENGINE), "make", side_effect=campaign_error)
        near_tie = mock.patch.object(matching, "SMALLEST_GAP", 1e9)
        for patch, verdict, detail in [(wrong, "different", "token "), (crash, "crashed", "signal 11"),
                                       (broken, "crashed", "it does not build: no"), (near_tie, "unsuitable", "near-tie")]:
            with self.subTest(verdict), patch:
                self.log.unlink(missing_ok=True)
                status, out = self.run_campaign("--only", "0")
                self.assertEqual((status, {row["verdict"] for row in self.rows()}), (1, {verdict}))
                self.assertIn(detail, self.rows()[0]["detail"])
                self.assertIn(verdict.upper(), out)

    def test_refused(self) -> None:
        with mock.patch.object(limits, "of", lambda engine: [Limit("dim", 1, "reason")]):
            status, out = self.run_campaign("--only", "0")
        self.assertEqual((status, {row["verdict"] for row in self.rows()}), (0, {"refused"}))
        self.assertIn("(reason)", out)

    def test_out_of_the_domain(self) -> None:
        engine = engines.table()[0]
        expected = Expected([5], [b"a"] * 6, [1.0], 1.0, [campaign.domain.Extreme("score", 2e4, 0, 3)])
        self.assertIn("score: 2e+04 in layer 0 at position 3, beyond", campaign.problem(expected, engine))
        self.assertEqual(campaign.problem(replace(expected, extremes=[]), engine), "")


class EndsEarly(unittest.TestCase):
    """A case with `passes` stops by BOS, about there, although its context goes on."""

    def test_passes(self) -> None:
        case = cases.Case("early", replace(cases.find("grouped").config, seq_len=5000, tied=False), 3, passes=20)
        with tempfile.TemporaryDirectory(prefix="llama512-match-") as folder:
            sample = case.sample(ENGINE, Path(folder))
        for expected in sample.expected.values():
            self.assertTrue(cases.DISTINCT_TOKENS <= len(expected.tokens) < 20)


def campaign_error(*_: object) -> None:
    raise cases.UserError("no compiler")


if __name__ == "__main__":
    unittest.main()
