"""What the tools' tests share. Importing it makes `from common import …` work.

    from support import TOOLS, run_tool, small_checkpoint
    result = run_tool("fetch", "--list")            # result.returncode, .stdout, .stderr
"""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import tempfile
import unittest
from array import array
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"
sys.path.insert(0, str(TOOLS))
sys.dont_write_bytecode = True

from common.checkpoint import Checkpoint, Config  # noqa: E402
from common.errors import UserError  # noqa: E402

SKIP = 77  # CTest's SKIP_RETURN_CODE


def main() -> NoReturn:
    """Runs the tests of the calling file; the exit status is SKIP when every one of them was skipped."""
    result = unittest.main(exit=False).result
    skipped = 0 < result.testsRun == len(result.skipped)
    sys.exit(SKIP if skipped else not result.wasSuccessful())


def run_tool(*arguments: object, env: dict[str, str] | None = None,
             cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `tools/llama512 ARGUMENTS…`; `env` is added to the environment."""
    return subprocess.run([sys.executable, TOOLS / "llama512", *map(str, arguments)], capture_output=True, timeout=200,
                          encoding="utf-8", cwd=cwd,
                          env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **(env or {})})


def without_notes(stderr: str) -> str:
    """Without what `build` notes about a compiler that no flags were searched for."""
    return "".join(line for line in stderr.splitlines(True) if "no searched flags" not in line)


def small_checkpoint(tied: bool = True, seed: int = 1) -> Checkpoint:
    """A random model of a few kilobytes: grouped attention, two layers."""
    config = Config(dim=8, hidden_dim=12, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=10, seq_len=6, tied=tied)
    generator = random.Random(seed)
    return Checkpoint(config, {name: array("f", [generator.uniform(-1, 1) for _ in range(math.prod(shape))])
                               for name, shape in config.shapes().items()})


class FolderTest(unittest.TestCase):
    """A test with a folder of its own, `self.folder`, that is gone afterwards."""

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
