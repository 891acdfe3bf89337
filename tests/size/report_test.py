#!/usr/bin/env python3
"""size_report.md, its pictures and record, and the README's table show the sizes of today.

    tests/run size/report_test.py -v

With a compiler that the budgets are not for, sizes differ, and the files are not compared.
"""

from __future__ import annotations

import re
import subprocess
import sys
import unittest

from support.tools import ROOT

from common.engine import engines, toolchains
from common.machine import here

BINDING = all(engine.headline_compiler == toolchains.name(engine) for engine in here.choose(None, to_run=False))


class Report(unittest.TestCase):
    def test_committed_report_is_fresh(self) -> None:
        lacking = [what for engine in engines.table() if (what := here.missing(engine, to_run=False))]
        if lacking:
            self.skipTest(lacking[0])
        result = subprocess.run([sys.executable, "-B", ROOT / "tools" / "llama512", "history", "--check"],
                                capture_output=True, encoding="utf-8")
        print(result.stdout + result.stderr)
        self.assertEqual(result.returncode, 0, "run `tools/llama512 history`, and commit what it writes")

    def test_readme(self) -> None:
        """The front page's table has what the report says of today."""
        report = (ROOT / "size_report.md").read_text("utf-8")
        readme = (ROOT / "README.md").read_text("utf-8")
        today = re.findall(r"^\| `([\w-]+)` +\| +(\d+) \| +\S+ \| +(\d+) \|", report, re.MULTILINE)
        today = today[:len(engines.names())]
        self.assertEqual([name for name, *_ in today], engines.names())
        for name, first, second in today:
            self.assertRegex(readme, rf"\| `{name}` +\|[^\n]*\| +\*\*{first}\*\* \| +{second} \|", name)
        for link in ("size_report.md", "golf/sizes/history.svg"):
            self.assertIn(f"({link})", readme)


if __name__ == "__main__":
    if not BINDING:
        print("sizes are for the budgets' compiler: README.md is not compared")
        Report.test_readme = unittest.skip("another compiler")(Report.test_readme)  # type: ignore[method-assign]
    unittest.main()
