"""Runs the tools as a user does.

    from support.tools import run_tool
    result = run_tool("fetch", "--list")            # result.returncode, .stdout, .stderr
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / "tools"


def run_tool(*arguments: object, env: dict[str, str] | None = None,
             cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `tools/llama512 ARGUMENTS…`; `env` is added to the environment."""
    return subprocess.run([sys.executable, TOOLS / "llama512", *map(str, arguments)], capture_output=True, timeout=200,
                          encoding="utf-8", cwd=cwd, env={**os.environ, **(env or {})})


def without_notes(stderr: str) -> str:
    """Without notes about a compiler that no flags were searched for, programs that the kernel cannot run, and engines whose
    tools are not here."""
    notes = r"not here: |.*(no searched flags|the kernel cannot run it)"
    return "".join(line for line in stderr.splitlines(True) if not re.match(notes, line))
