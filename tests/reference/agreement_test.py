#!/usr/bin/env python3
"""Fast kernels say what the plain ones say, token for token: every random checkpoint that engines must be right for, and the project's
models, greedy and drawn, with prompts, several rows to a pass, and threads.

    agreement_test.py [everything] build/default/reference/reference [unittest arguments]

The sums of fast kernels are others, so a near-tie could be decided the other way. There is none here: whatever differs fails.
`everything` adds the shapes of 15M, 42M and 110M weights.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Sequence

from support import cases
from support.everything import EVERYTHING
from support.models import present

from common.model import checkpoint, models, random_model
from common.model.models import Model

PROGRAM = ""

SEEDS = range(1, 4)
WARM = [("--temp", "0.8"), ("--temp", "1", "--top-p", "1"), ("--temp", "1.2", "--sampler", "race"),
        ("--temp", "0.9", "--sampler", "race", "--top-p", "0.9")]
STEPS = ("--steps", "200")  # of what is drawn; what is greedy goes on to its end

# Top-p adds up the tokens' probabilities. Of so many tokens one is about as wide as the sum's rounding in float32, so nearly every
# random number falls near the border of two. (The race has no sums.)
MANY_TOKENS = 10_000


def tokens(model: Model, kernels: str, *arguments: str) -> list[int]:
    result = subprocess.run([PROGRAM, "-m", model.checkpoint, "--tokenizer", model.tokenizer, "--kernels", kernels, "--tokens",
                             "--quiet", *arguments], capture_output=True)
    if result.returncode:
        raise AssertionError(f"{kernels} {arguments}: {result.returncode}: {result.stderr.decode(errors='replace')}")
    return [int(line) for line in result.stdout.split()]


class Agreement(unittest.TestCase):
    def compare(self, model: Model, prompts: Sequence[str], most: int = 0) -> None:
        """All ways to tell a model's story, `most` positions of it when that is not 0."""
        few = checkpoint.read_config(model.checkpoint).vocab_size < MANY_TOKENS
        warms = [warm for warm in WARM if few or "race" in warm]
        ways = [(), *((*warm, "--seed", str(seed), *STEPS) for warm in warms for seed in SEEDS)]
        limit = ("--steps", str(most)) if most else ()
        for prompt in prompts:
            for way in ways:
                arguments = (*way, *limit, "-p", prompt)
                plain = tokens(model, "plain", *arguments)
                for extra in ((), ("-b", "1"), ("-b", "7", "-t", "2")):
                    with self.subTest(model=model.name, arguments=(*arguments, *extra)):
                        self.assertEqual(tokens(model, "fast", *arguments, *extra), plain)

    def test_random_checkpoints(self) -> None:
        for case in [*cases.CASES, *cases.LONG * EVERYTHING]:
            with tempfile.TemporaryDirectory(prefix="llama512-test-") as folder:
                model = random_model.write(Path(folder), case.name, case.checkpoint(case.seed), case.piece_length, case.vocabulary)
                self.compare(model, [""], 40 if case in cases.LONG else 0)

    def test_models(self) -> None:
        found = present(models.NAMED_MODELS)
        self.assertTrue(found)
        for model in found:
            self.compare(model, ["", "Once upon a time", "The dragon was sad. He said"])


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
