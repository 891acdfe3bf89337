#!/usr/bin/env python3
"""Random small checkpoints on a booted PC: the cases of tests/match, from BOS to the stop.

    tests/run boot/random_test.py asm-boot
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from support import cases, images

from common.errors import UserError

NAMES = ["grouped", "full-attention", "head-size-4", "head-size-64", "kv-ratio-3", "one-kv-head", "seq-len-256",
         "mixed-pieces", "ends-by-bos", "epsilon", "negative-logits", "ties", "head-size-258", "one-head-of-64", "kv-dim-128",
         "kv-dim-24", "300-layers", "tiny", "seq-len-1", "seq-len-20000"]


def main() -> int:
    engine = images.engine_argument()
    failures = 0
    with tempfile.TemporaryDirectory(prefix="llama512-boot-") as temporary:
        for name in sys.argv[1:] or NAMES:
            case = cases.find(name)
            folder = Path(temporary) / name
            drawn = case.sample(engine, folder)
            try:
                sample = images.sample(engine, drawn.model, folder / "build")
                run = images.boot(sample)
                problem = run.problem
                if sample.expected.tokens != drawn.expected[engine.encodings[0]].tokens:
                    problem = "the engine was built for other weights than the reference ran with"
            except UserError as error:
                problem = str(error)
            failures += bool(problem)
            if problem:
                print(f"{engine.name}: {name}: seed {drawn.seed}: FAILED: {problem}", flush=True)
            else:
                ending = "BOS" if case.ends_by_bos else "seq_len"
                print(f"{engine.name}: {name}: seed {drawn.seed}: {len(sample.expected.tokens)} tokens equal, to "
                      f"{ending}; smallest gap {sample.expected.gap:.4f}; {run.seconds:.1f} s", flush=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
