"""The kernels that the program `reference` has on a machine.

    from support import kernels
    kernels.names([program])      # ["plain", "fast", "fast-baseline", ...]
    kernels.levels([program])     # of those, the fast ones by name: ["fast-baseline", ...], the widest vectors last
"""

from __future__ import annotations

import re
import subprocess
from typing import Sequence


def names(command: Sequence[str]) -> list[str]:
    """All that this processor runs: the message about a name that the program does not know lists them."""
    result = subprocess.run([*command, "-m", "none", "--kernels", "x"], capture_output=True, encoding="utf-8")
    listed = re.search(r"reference: error: --kernels: 'x' is not a name of kernels that this processor runs: (.*)\n\Z", result.stderr)
    if listed is None or result.returncode != 2:
        raise AssertionError(result)
    return listed[1].split(", ")


def levels(command: Sequence[str]) -> list[str]:
    return [name for name in names(command) if name not in ("plain", "fast")]
