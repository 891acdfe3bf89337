"""How a test program says that it cannot run here."""

from __future__ import annotations

import sys
import unittest
from typing import NoReturn

SKIP = 77  # CTest's SKIP_RETURN_CODE


def main() -> NoReturn:
    """Runs the tests of the running file; the exit status is SKIP when every one of them was skipped."""
    result = unittest.main(exit=False).result
    skipped = 0 < result.testsRun == len(result.skipped)
    sys.exit(SKIP if skipped else not result.wasSuccessful())
