#!/usr/bin/env python3
"""One engine for a model that the project ships or names: exactly what is shipped, on its machine or emulated.

    tests/run match/named_test.py stories260K cpp-linux-i386

In each encoding (with --emulate, which takes a minute, in the engine's first one) its tokens equal the reference's on the
effective checkpoint and on the original one; for stories260K its text is also what llama2.c printed. int8 keeps the weights of
a model alone that lie on a grid; of others it says where the original's tokens are left. With --first, what is
emulated here runs in its first encoding, and a second model by its target's first engine alone (with firmware, by none). Exit
status 77 (SKIP): the model is not on this machine, or what runs the engine.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from support import cases
from support.skip import SKIP

from common.engine import builds, engines
from common.errors import MissingTool, UserError
from common.machine import run
from common.match import matching, originals
from common.model import models

GOLDEN = {"stories260K": "greedy.txt"}  # llama2.c (commit 350e04f), -t 0 -n 512


def golden_text(path: Path) -> bytes:
    """The text of a golden file, without the newline that llama2.c prints at the end."""
    return path.read_bytes().removesuffix(b"\n")


def check(engine: engines.Engine, model: models.Model, encoding: str, emulate: bool, folder: Path,
          golden: Path | None) -> list[str]:
    """All that is wrong with the engine in one encoding."""
    built = builds.build(engine, model, folder, encoding)
    standards = {"effective": matching.expect(built.effective), "original": matching.expect(model)}
    for name, expected in standards.items():
        print(f"{engine.name} {encoding}: {name} weights: {len(expected.tokens)} tokens, smallest gap "
              f"{expected.gap:.4f} at position {expected.gap_position}", flush=True)
    try:
        story = run.run(built, emulate=emulate, expected=standards["effective"])
    except MissingTool:
        raise
    except UserError as error:
        return [f"{encoding}: {error}"]
    print(f"{engine.name} {encoding}: {story.seconds:.2f} s, {built.counted} counted bytes", flush=True)
    problems = []
    keeps = originals.must_match(model, encoding)
    for name, expected in standards.items():
        difference = matching.compare(story.text, expected, run.seen(engine))
        if difference and name == "original" and not keeps:
            print(f"{engine.name} {encoding}: original weights, which it rounds: {difference}")
        elif difference:
            problems.append(f"{encoding}, {name} weights: {difference}")
    if golden and keeps and story.text.removeprefix(b" ") != golden_text(golden):
        problems.append(f"{encoding}: the text is not that of {golden}")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("engine", choices=engines.names())
    parser.add_argument("--emulate", action="store_true", help="run it under the target's emulator")
    parser.add_argument("--first", action="store_true", help="less of what is emulated here (see above)")
    parser.add_argument("--work", type=Path, help="the folder to build in (default: a temporary one)")
    options = parser.parse_args()
    try:
        models.find_checkpoint(options.model)
    except UserError as error:
        print(f"SKIP: {error}")
        return SKIP
    # Beyond this point nothing is skipped: a model that is there must be good.
    model, engine = models.find_model(options.model), engines.find(options.engine)
    if options.emulate and run.emulated(engine):
        print(f"{engine.name}: it is emulated without --emulate, too: nothing else to see")
        return 0
    golden = models.find_golden(GOLDEN[model.name]) if model.name in GOLDEN else None
    if model.name in GOLDEN and golden is None:
        print(f"{model.name}: no golden/{GOLDEN[model.name]} beside the model, so only the reference says what is right")
    problems = []
    with tempfile.TemporaryDirectory(prefix="llama512-match-") as temporary:
        how = "emulated" if options.emulate else "native"
        folder = (options.work or Path(temporary)) / model.name / engine.name / how
        try:
            slow = options.first and run.emulated(engine)
            alike = [other.name for other in engines.table() if other.target == engine.target]
            if slow and model.name != models.PROJECT_MODEL and engine.target.machine in cases.SWITCHED_ON:
                print(f"{engine.name}: it is emulated, firmware and all; `long` has this story")
                return 0
            if slow and model.name != models.PROJECT_MODEL and engine.name != alike[0]:
                print(f"{engine.name}: it is emulated, and {alike[0]} tells this story by default; `long` has the others")
                return 0
            for encoding in engine.encodings[:1] if options.emulate or slow else engine.encodings:
                problems += check(engine, model, encoding, options.emulate, folder / encoding, golden)
        except MissingTool as error:
            print(f"SKIP: {error}")
            return SKIP
    print("\n".join(f"{engine.name}: FAILED: {problem}" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
