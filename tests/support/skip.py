"""How a test program says that it cannot run here."""

from __future__ import annotations

import pty
import sys
import unittest
from typing import NoReturn

SKIP = 77  # CTest's SKIP_RETURN_CODE


def pseudo_terminal() -> tuple[int, int]:
    """Both its ends. A test that needs one is skipped where the system has none, as in a chroot without /dev/pts."""
    try:
        return pty.openpty()
    except OSError as error:
        raise unittest.SkipTest(f"no pseudo-terminal: {error}") from error


def main() -> NoReturn:
    """Runs the tests of the running file; the exit status is SKIP when every one of them was skipped."""
    result = unittest.main(exit=False).result
    skipped = 0 < result.testsRun == len(result.skipped)
    sys.exit(SKIP if skipped else not result.wasSuccessful())
