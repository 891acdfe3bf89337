#!/usr/bin/env python3
"""size_report.md and the README's table show the sizes of today.

    python3 tests/size/report_test.py -v

With a compiler that the budgets are not for, sizes differ, and the files are not compared.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

from common import builds, engines  # noqa: E402

TOOLCHAINS = {builds.toolchain(engine) for engine in engines.table()}
BINDING = all(engine.budget_compiler in TOOLCHAINS for engine in engines.table())


class Report(unittest.TestCase):
    def test_committed_report_and_readme_are_fresh(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "size_report.md"
            command = [sys.executable, "-B", str(ROOT / "tools" / "llama512"), "size", "--report", str(path)]
            self.assertIn(subprocess.run(command).returncode, (0, 1))
            fresh = path.read_text()
        if not BINDING:
            print(f"sizes are for the budgets' compiler, these are {TOOLCHAINS}: not compared")
            return
        self.assertEqual((ROOT / "size_report.md").read_text(), fresh,
                         "size_report.md is stale, run `tools/llama512 size --report size_report.md`")
        readme = (ROOT / "README.md").read_text()
        for name, counted in re.findall(r"\| `([\w-]+)` +\| +(\d+) \|", fresh):
            self.assertRegex(readme, rf"\| `{name}` \|[^\n]*\*\*{counted}\*\*",
                             f"README.md: the row of {name} must say **{counted}** bytes")


if __name__ == "__main__":
    unittest.main()
