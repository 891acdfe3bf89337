#!/usr/bin/env python3
"""The same rules as packed_test.py, for a model that the project ships or names.

    tests/run rules/named_packed_test.py stories260K

Exit status 77 (SKIP): the model is not on this machine.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import packed_test
from support.skip import SKIP

from common.engine import engines
from common.errors import UserError
from common.model import models



def main() -> int:
    name = sys.argv[1]
    try:
        models.find_checkpoint(name)
    except UserError as error:
        print(f"SKIP: {error}")
        return SKIP
    model = models.find_model(name)
    problems = []
    with tempfile.TemporaryDirectory(prefix="llama512-rules-") as folder:
        # Engines that share a layout share what is packed.
        for engine in {engine.layout: engine for engine in engines.table()}.values():
            for encoding in engine.encodings:
                found = packed_test.problems(engine, model, encoding, Path(folder))
                problems += [f"layout {engine.layout}, {encoding}: {line}" for line in found]
    print("\n".join(problems) or f"{model.name}: packed as the rules want it")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
