"""A test with a folder of its own."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

from common.errors import UserError


class FolderTest(unittest.TestCase):
    """`self.folder` is gone after the test."""

    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="llama512-test-")
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)

    def assertUserError(self, pattern: str, function: object, *arguments: object) -> str:
        """The call must raise a UserError of one line that matches; returns the line."""
        with self.assertRaisesRegex(UserError, pattern) as caught:
            function(*arguments)  # type: ignore[operator]
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)
