"""Whether a test program is to try everything (`tests/run FOLDER/FILE.py everything`), as CTest's label `long` does."""

from __future__ import annotations

import sys

EVERYTHING = sys.argv[1:2] == ["everything"] and bool(sys.argv.pop(1))
