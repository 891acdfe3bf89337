#!/usr/bin/env python3
"""Every tensor counts: with any one of them zeroed, an engine says something else, and what the reference says.

    tests/run match/zeroed_test.py cpp-linux-i386
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import random_test
from support import cases
from support.cases import Case

from common.engine import builds, engines
from common.errors import UserError
from common.machine import run
from common.match import matching
from common.match.matching import Expected
from common.model import random_model
from common.model.checkpoint import Config

CASE = Case("zeroed", Config(32, 64, 2, 4, 2, 64, 24, False), 1)
TENSORS = tuple(CASE.config.shapes())
NOTHING = 1e-30  # a logit of weights that would be zero, in an encoding that has no zero


def zeroed(seed: int, tensor: str | None, folder: Path) -> tuple[matching.Model, Expected | None]:
    """The random model with one tensor (or none) zeroed, and what the reference says; None for a near-tie."""
    weights = CASE.checkpoint(seed)
    if tensor:
        weights.tensors[tensor][:] = 0.0
    model = random_model.write(folder, tensor or "whole", weights)
    # In f32 the effective weights are the original ones, rounded once: a gap of 1e-3 is one for both.
    logits = folder / "logits"
    expected = matching.expect(model, logits)
    for row in matching.read_logits(logits, CASE.config.vocab_size):
        best, second = sorted(row)[:-3:-1]
        if best - second < matching.SMALLEST_GAP and any(row):  # a row of zeros is an exact tie: token 0
            return model, None
    return model, expected


def good_models(folder: Path) -> tuple[int, dict[str | None, tuple[matching.Model, Expected]]]:
    """The first seed without a near-tie in any of the models; and these, by the tensor that is zeroed."""
    for seed in range(CASE.seed, CASE.seed + cases.SEEDS):
        models = {}
        for tensor in (None, *TENSORS):
            model, expected = zeroed(seed, tensor, folder)
            if expected is None:
                print(f"seed {seed} is replaced: a near-tie, zeroed: {tensor}")
                break
            models[tensor] = model, expected
        else:
            return seed, models
    raise AssertionError("no good seed")


def tell(engine: engines.Engine, model: matching.Model, expected: Expected, folder: Path) -> tuple[bytes, str]:
    """What the engine prints, and what is wrong with it."""
    built = builds.build(engine, model, folder / model.name, "f32" if "f32" in engine.encodings else None)
    if built.encoding != "f32":  # its weights are rounded; and zeros may not be zeros, but next to nothing
        expected = matching.expect(built.effective)
    try:
        output = run.run(built, timeout=random_test.TIMEOUT).text
    except UserError as error:
        return b"", str(error)
    difference = matching.compare(output, expected, run.seen(engine))
    gap = expected.gap_at(difference) if difference else None
    if built.encoding != "f32" and model.name == "rms_final" and gap is not None and 0 < gap < NOTHING:
        return output, ""  # the classifier is next to nothing: which token is the best, rounding decides
    return output, str(difference or "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=engines.names())
    parser.add_argument("--work", type=Path, help="the folder to build in (default: a temporary one)")
    options = parser.parse_args()
    engine = engines.find(options.engine)
    failures = 0
    with tempfile.TemporaryDirectory(prefix="llama512-match-") as temporary:
        folder = (options.work or Path(temporary)) / "zeroed" / engine.name
        seed, models = good_models(folder)
        print(f"seed {seed}, {CASE.config}")
        outputs: dict[str | None, bytes] = {}
        for tensor, (model, expected) in models.items():
            outputs[tensor], problem = tell(engine, model, expected, folder)
            if tensor and not problem and outputs[tensor] == outputs[None]:
                problem = "the output is the same without this tensor"
            failures += bool(problem)
            print(f"{engine.name}: {tensor or 'nothing'} zeroed: smallest gap {expected.gap:.4f}: "
                  f"{f'FAILED: {problem}' if problem else 'equal'}", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
