#!/usr/bin/env python3
"""The match tests themselves: the random checkpoints are as varied as they claim, and the comparison can fail.

    tests/run match/cases_test.py -v
"""

from __future__ import annotations

import contextlib
import io
import unittest
from dataclasses import replace
from unittest import mock

import random_test
from support import cases
from support.cases import CASES, Case
from support.folders import FolderTest

from common.engine import builds, configuration, packing
from common.errors import UserError
from common.libraries import numpy as np
from common.machine import here, program, run
from common.match import matching
from common.match.matching import Expected
from common.model import checkpoint, random_model
from common.pack import encodings, packer

ENGINES = here.choose(None)
LARGE = 600_000  # bytes of a packed model that an engine may have no room for
LARGE_WORKSPACE = 16 << 20  # bytes that an engine works in, and a small machine has not


class CaseTest(FolderTest):
    def expect(self, case: Case, seed: int | None = None, change: object = None) -> Expected:
        """The reference on a case's checkpoint, changed."""
        weights = case.checkpoint(case.seed if seed is None else seed)
        if change:
            change(weights)
        return matching.expect(random_model.write(self.folder, "m", weights, case.piece_length, case.vocabulary))


class Default(unittest.TestCase):
    """What is tried when nobody asks for all."""

    def test_every_case_of_every_source(self) -> None:
        self.assertLess(set(cases.FEWEST), set(cases.FEWER))
        self.assertLess(set(cases.FEWER), set(cases.FEW))
        tried: dict[tuple[str, str], set[str]] = {}
        for engine in ENGINES:
            names = [case.name for case, _ in cases.by_default(engine)]
            self.assertEqual({encoding for _, some in cases.by_default(engine) for encoding in some.encodings},
                             set(engine.encodings))
            if engine.target.machine in cases.SWITCHED_ON:
                self.assertEqual(set(names), set(cases.FEWER))
                continue
            self.assertLessEqual(set(cases.FEWER if run.emulated(engine) else cases.FEW), set(names))
            tried.setdefault((engine.source, engine.layout), set()).update(names)
        self.assertEqual(set(map(frozenset, tried.values())), {frozenset(case.name for case in CASES)})


class Variety(unittest.TestCase):
    """What the issue asks of the random checkpoints."""

    def test_shapes(self) -> None:
        configs = [case.config for case in CASES]
        self.assertGreaterEqual(len(CASES), 12)
        self.assertEqual(len({case.name for case in CASES}), len(CASES))
        for values, lowest, highest in [([c.head_size for c in configs], 2, 258), ([c.n_layers for c in configs], 1, 300),
                                        ([c.vocab_size for c in configs], 5, 65536),
                                        ([c.hidden_dim for c in configs], 1, 65536),
                                        ([c.seq_len for c in configs], 1, 20000)]:
            self.assertEqual((min(values), max(values)), (lowest, highest))
        self.assertEqual({c.tied for c in configs}, {True, False})
        self.assertTrue(any(c.kv_mul == 1 for c in configs))
        self.assertTrue(any(c.kv_mul == 3 for c in configs))
        self.assertTrue(any(c.n_kv_heads == 1 < c.n_heads for c in configs))
        self.assertTrue(any(c.hidden_dim > 255 for c in configs))
        self.assertTrue(any(c.hidden_dim < c.dim for c in configs))
        self.assertTrue(any(c.n_heads & (c.n_heads - 1) for c in configs))
        self.assertTrue(any(c.dim & (c.dim - 1) for c in configs))
        self.assertTrue(any(c.vocab_size > 256 and c.vocab_size % 256 for c in configs))

    def test_what_they_show(self) -> None:
        self.assertEqual({case.name for case in CASES if case.ends_by_bos}, {"ends-by-bos", "seq-len-20000"})
        self.assertEqual({case.name for case in CASES if case.ties}, {"ties"})
        self.assertGreaterEqual(max(case.piece_length for case in CASES), 255)
        self.assertTrue(any(8 <= case.piece_length < 128 for case in CASES))


class Refused(CaseTest):
    def test_only_what_is_large(self) -> None:
        """A case that an engine refuses would test nothing: that is for large models alone, and int8 or int4 for rows of two weights."""
        for engine in ENGINES:
            for case in CASES:
                model = cases.sparse_model(case.config, self.folder, case.piece_length)
                for encoding in engine.encodings:
                    try:
                        packing.check_shape(engine, model, encoding)
                    except UserError as error:
                        if encodings.ENCODINGS[encoding].most and "more than in bf16" in str(error):
                            self.assertEqual(case.config.dim, 2)
                            continue
                        spans = packer.plan(engine.layout, encoding, case.config, random_model.pieces(
                            case.config.vocab_size, case.piece_length))
                        known = configuration.constants(engine, case.config, encoding, spans)
                        self.assertTrue(known["packed_bytes"] > LARGE or known["workspace_bytes"] > LARGE_WORKSPACE,
                                        f"{engine.name}, {encoding}: {case.name}")


class SeedsAreReplaced(CaseTest):
    """A seed that does not show what the case is there for is never used."""

    def test_reasons(self) -> None:
        case = cases.find("grouped")
        seq_len, config = case.config.seq_len, case.config
        tokens = [2 + i % 10 for i in range(seq_len)]
        logits = [[float(i == token) for i in range(config.vocab_size)] for token in tokens]

        def problem(case: Case, tokens: list[int], gap: float, logits: list[list[float]]) -> str:
            return case.problem(Expected(tokens, [], [gap], 1.0), np.array(logits))
        self.assertEqual(problem(case, tokens, 1.0, logits), "")
        self.assertIn("near-tie", problem(case, tokens, 0.0009, logits))
        self.assertIn("near-tie", problem(case, tokens, 0.0, logits))
        self.assertIn("only 7 different", problem(case, [2 + i % 7 for i in range(seq_len)], 1.0, logits))
        self.assertIn("ends after 20 tokens", problem(case, tokens[:20], 1.0, logits[:21]))
        ending = replace(case, ends_by_bos=True)
        self.assertEqual(problem(ending, tokens[:20], 1.0, logits[:21]), "")
        self.assertIn("not by BOS", problem(ending, tokens, 1.0, logits))
        self.assertIn("not by BOS", problem(ending, tokens[:-1], 1.0, logits))  # the last pass is no midway
        self.assertIn("largest logit", problem(replace(case, demand=cases.want_negative), tokens, 1.0, logits))
        self.assertIn("exact ties", problem(replace(case, demand=cases.want_ties), tokens, 1.0, logits))
        # A tie must be exact: 0.0005 is none.
        nearly = [[value or (0.9995 if i == 0 else 0.0) for i, value in enumerate(row)] for row in logits]
        self.assertIn("near-tie", problem(replace(case, ties=True), tokens, 0.0005, nearly))

    def test_next_seed(self) -> None:
        """Deterministic, and all encodings must be good."""
        case = cases.find("grouped")
        asked = []

        def problem(expected: Expected, logits: object) -> str:
            asked.append(expected.tokens)
            return "not wanted" if len(asked) in (2, 3) else ""
        with mock.patch.object(Case, "problem", lambda self, expected, logits: problem(expected, logits)):
            sample = case.sample(ENGINES[0], self.folder)
        encodings = ENGINES[0].encodings
        self.assertEqual(sample.seed, case.seed + 2)
        self.assertEqual(sample.replaced, [f"seed {case.seed} is replaced: {encodings[1]}: not wanted",
                                           f"seed {case.seed + 1} is replaced: {encodings[0]}: not wanted"])
        self.assertEqual(list(sample.expected), list(encodings))
        self.assertEqual(asked[-len(encodings):], [expected.tokens for expected in sample.expected.values()])

    def test_no_good_seed(self) -> None:
        with mock.patch.object(cases, "SEEDS", 3), mock.patch.object(Case, "problem", lambda *_: "never good"):
            with self.assertRaisesRegex(AssertionError, "no good seed from 1 to 3"):
                cases.find("grouped").sample(ENGINES[0], self.folder)

    def test_same_files_again(self) -> None:
        first = cases.find("grouped").write(self.folder / "1", 7, ENGINES[0])
        again = cases.find("grouped").write(self.folder / "2", 7, ENGINES[0])
        self.assertEqual(first.checkpoint.read_bytes(), again.checkpoint.read_bytes())
        self.assertNotEqual(first.checkpoint.read_bytes(),
                            cases.find("grouped").write(self.folder / "3", 8, ENGINES[0]).checkpoint.read_bytes())


class Epsilon(CaseTest):
    """In the case `epsilon`, RMSNorm's epsilon decides the tokens."""

    CASE = cases.find("epsilon")

    def test_it_matters(self) -> None:
        """Without epsilon, no scale of the residual stream would change a token. With it, making it large does."""
        small = self.expect(self.CASE)
        large = self.expect(self.CASE, change=lambda m: cases.scale_residual(m, 1e6))
        self.assertGreater(min(small.gap, large.gap), matching.SMALLEST_GAP)
        self.assertNotEqual(small.tokens, large.tokens)
        # What is large already stays the same when it is made larger: there, epsilon has no say.
        larger = self.expect(self.CASE, change=lambda m: cases.scale_residual(m, 1e6 * 1024))
        self.assertEqual(large.tokens, larger.tokens)

    def test_its_value_matters(self) -> None:
        """A residual stream that is sqrt(0.8) times as large sees an epsilon that is 1 / 0.8 times as large."""
        self.assertNotEqual(self.expect(self.CASE).tokens,
                            self.expect(self.CASE, change=lambda m: cases.scale_residual(m, 0.8**0.5)).tokens)


class Ties(CaseTest):
    def test_the_rule_decides_early(self) -> None:
        """With the highest of the tied tokens instead of the lowest, the text would be another one at once. Tied tokens
        stand side by side and far apart."""
        case = cases.find("ties")
        for seed in range(case.seed, case.seed + 3):
            logits = self.folder / "logits"
            expected = matching.expect(case.write(self.folder, seed, ENGINES[0]), logits)
            distances = []
            for token, row in zip(expected.tokens, matching.read_logits(logits, case.config.vocab_size)):
                best = [i for i, value in enumerate(row) if value == max(row)]
                self.assertEqual(token, best[0])
                distances += [later - earlier for earlier, later in zip(best, best[1:])]
                if len(distances) == 0:
                    self.fail("no tie at the first position")
            self.assertIn(1, distances)
            self.assertGreater(max(distances), case.config.vocab_size // 4)


class ComparisonCanFail(CaseTest):
    """Wrong outputs, and engines that were built for another model, are noticed."""

    CASE = cases.find("full-attention")

    def setUp(self) -> None:
        super().setUp()
        self.sample = self.CASE.sample(ENGINES[0], self.folder)
        self.expected = self.sample.expected[ENGINES[0].encodings[0]]
        self.text = self.expected.text

    def test_altered_output(self) -> None:
        length = self.CASE.piece_length
        self.assertIsNone(matching.compare(self.text, self.expected))
        for index in range(len(self.expected.tokens)):
            other = self.expected.pieces[(self.expected.tokens[index] + 1) % self.CASE.config.vocab_size]
            altered = self.text[:index * length] + other + self.text[(index + 1) * length:]
            difference = matching.compare(altered, self.expected)
            self.assertEqual((difference.index, difference.found), (index, other))
        self.assertIsNone(matching.compare(self.text[:-length], self.expected).found)
        self.assertIsNone(matching.compare(self.text + b"a", self.expected).expected)
        self.assertEqual(matching.compare(b"", self.expected).index, 0)

    def check_stub(self, script: str) -> str:
        """What random_test says about a program that is not the engine."""
        path = self.folder / "stub"
        path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
        path.chmod(0o755)
        with mock.patch.object(program, "native_command", lambda built: [str(path)]), \
                contextlib.redirect_stdout(io.StringIO()):
            return random_test.check(self.sample, ENGINES[0].encodings[0])

    def test_wrong_programs(self) -> None:
        good = self.text.decode()
        self.assertEqual(self.check_stub(f"printf %s '{good}'"), "")
        self.assertIn(f"token {len(good) - 1}: expected", self.check_stub(f"printf %s '{good[:-1]}'"))  # stops early
        self.assertIn("expected the end", self.check_stub(f"printf %s '{good}{good[0]}'"))  # stops late
        self.assertIn("token 0", self.check_stub(f"printf %s '{good[1:]}'"))
        self.assertIn("exit status 3", self.check_stub(f"printf %s '{good}'; exit 3"))
        self.assertIn("signal 11", self.check_stub("kill -11 $$"))
        with mock.patch.object(random_test, "TIMEOUT", 0.2):
            self.assertIn("not finished", self.check_stub("exec sleep 100"))

    def test_engine_of_another_model(self) -> None:
        """For each engine: the program for one model, against the reference's tokens for another."""
        other = self.CASE.write(self.folder / "other", self.sample.seed + 1, ENGINES[0])
        for engine in ENGINES:
            with self.subTest(engine=engine.name):
                built = builds.build(engine, other, self.folder / engine.name)
                sample = replace(self.sample, built={built.encoding: built}, expected={built.encoding: self.expected})
                self.assertRegex(random_test.check(sample, built.encoding), "^token [0-9]+: expected ")

    def test_what_does_not_build(self) -> None:
        """A compiler that fails is a failure of the test."""
        with mock.patch.object(builds, "build", side_effect=UserError("no compiler")), \
                contextlib.redirect_stdout(io.StringIO()) as out:
            self.assertEqual(random_test.match(self.CASE, ENGINES[0], self.folder), 1)
        self.assertIn(f"FAILED: {self.CASE.name}: no compiler", out.getvalue())

    def test_expected_is_of_the_packed_weights(self) -> None:
        """What the reference ran with is what the engine was built from."""
        for encoding, built in self.sample.built.items():
            effective, _ = packer.decode(packer.plan(built.engine.layout, encoding, self.CASE.config, self.expected.pieces),
                                         self.CASE.config, (built.files / "model.packed").read_bytes())
            self.assertEqual(checkpoint.load(built.effective.checkpoint), effective)
            self.assertEqual(matching.expect(built.effective).tokens, self.sample.expected[encoding].tokens)


if __name__ == "__main__":
    unittest.main()
