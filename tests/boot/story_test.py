#!/usr/bin/env python3
"""The default model's full story, from BOS to the stop, on a booted PC: equal to the reference on both checkpoints.

    tests/run boot/story_test.py asm-boot

Exit status 77 (SKIP): there is no model on this machine.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import images
from support.skip import SKIP

from common.errors import UserError
from common.match import matching
from common.model import models


def main() -> int:
    engine = images.engine_argument()
    try:
        model = models.find_model()
    except UserError as error:
        print(f"SKIP: {error}")
        return SKIP
    with tempfile.TemporaryDirectory(prefix="llama512-boot-") as folder:
        sample = images.sample(engine, model, Path(folder))
        run = images.boot(sample, timeout=300)
    tokens = len(sample.expected.tokens)
    print(f"{engine.name}: {model.name}: {tokens} tokens, {len(sample.expected.text)} characters in {run.seconds:.1f} "
          f"s; smallest gap {sample.expected.gap:.4f}")
    problems = [run.problem]
    if model.name in models.NAMED_MODELS and sample.expected.tokens != matching.expect(model).tokens:
        problems.append("the effective checkpoint gives other tokens than the original one")
    # The comparison notices a story that is one token shorter.
    shorter = replace(sample, expected=replace(sample.expected, tokens=sample.expected.tokens[:-1]))
    if not images.problem(shorter, run.cells, run.shown, run.serial, run.before):
        problems.append("the comparison does not see where a story ends")
    print("\n".join(f"{engine.name}: FAILED: {problem}" for problem in problems if problem))
    return 1 if any(problems) else 0


if __name__ == "__main__":
    sys.exit(main())
