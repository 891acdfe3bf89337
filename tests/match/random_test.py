#!/usr/bin/env python3
"""One engine for random checkpoints, in each of its encodings: its tokens equal the reference's.

    tests/run match/random_test.py ties cpp-linux-i386
    tests/run match/random_test.py default cpp-linux-i386         # as CTest does by default
    tests/run match/random_test.py all cpp-linux-i386             # all but the models of minutes
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from support import cases
from support.cases import Case, Sample

from common.engine import engines
from common.errors import UserError
from common.machine import run
from common.match import matching
from common.model import random_model

TIMEOUT = 240.0  # seconds for a run that takes far less than one, or under an emulator half a minute
LONG_TIMEOUT = 5400.0  # and for one that takes a minute, or on an emulated PC half an hour


def check(sample: Sample, encoding: str) -> str:
    """Runs the engine for its full context; what is wrong, "" when nothing is."""
    built, expected = sample.built[encoding], sample.expected[encoding]
    engine = built.engine
    try:
        patience = LONG_TIMEOUT if sample.case in cases.LONG else TIMEOUT
        output = run.run(built, timeout=patience).text
    except UserError as error:
        return str(error)
    seen = run.seen(engine)
    difference = matching.compare(output, expected, seen)
    if difference:
        return str(difference)
    whole = seen is None or len(expected.text) <= seen
    if sample.case.vocabulary is None and whole:  # pieces of one length: the output names its tokens
        ids = random_model.token_ids(output, expected.pieces)
        if ids != expected.tokens:
            return f"tokens {ids}, expected {expected.tokens}"
    ending = "BOS" if sample.case.ends_by_bos else "seq_len"
    print(f"{engine.name} {encoding}: {len(expected.tokens)} tokens equal ({len(set(expected.tokens))} different ones), "
          f"to {ending}; smallest gap {expected.gap:.4f} at position {expected.gap_position}; "
          f"{built.counted} counted bytes")
    return ""


def match(case: Case, engine: engines.Engine, folder: Path) -> int:
    """The number of encodings in which something is wrong."""
    engine = cases.without_refused(case, engine, folder)  # which engines take it is a matter of limits_test.py
    if not engine.encodings:
        return 0
    try:
        sample = case.sample(engine, folder)
    except UserError as error:
        print(f"{engine.name}: FAILED: {case.name}: {error}", flush=True)
        return 1
    print("\n".join([*sample.replaced, f"{case.name}: seed {sample.seed}, {case.config}"]), flush=True)
    failures = 0
    for encoding in engine.encodings:
        problem = check(sample, encoding)
        if problem:
            failures += 1
            print(f"{engine.name} {encoding}: FAILED: {problem}; smallest gap {sample.expected[encoding].gap:.4f}", flush=True)
    return failures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=["default", "all", *(case.name for case in cases.CASES + cases.LONG)])
    parser.add_argument("engine", choices=engines.names())
    parser.add_argument("--work", type=Path, help="the folder to build in (default: a temporary one)")
    options = parser.parse_args()

    engine, failed = engines.find(options.engine), []
    if options.case == "default":
        chosen = cases.by_default(engine)
    else:
        chosen = [(case, engine) for case in (cases.CASES if options.case == "all" else [cases.find(options.case)])]
    with tempfile.TemporaryDirectory(prefix="llama512-match-") as temporary:
        for case, engine in chosen:
            if match(case, engine, (options.work or Path(temporary)) / case.name / engine.name):
                failed.append(case.name)
    if failed:
        print(f"{engine.name}: FAILED: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
