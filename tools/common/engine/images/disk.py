"""A disk image: a boot sector, then the packed model, both filled up to whole sectors.

    disk.padding(files)         # 103: the free bytes between the code and the signature, and behind the model
"""

from __future__ import annotations

import re
from pathlib import Path

from common.errors import UserError


def header_fields(program: bytes) -> list[str]:
    """None: what the firmware wants to find, the source says itself."""
    return []


def padding(files: Path) -> int:
    """What the source's symbol `padding` says, in the map that NASM writes when the source asks for it."""
    path = files / "engine.map"
    try:
        found = re.search(r"^ *([0-9A-F]+) .*\bpadding$", path.read_text("utf-8"), re.MULTILINE)
    except FileNotFoundError:
        found = None
    if found is None:
        raise UserError(f"{path}: padding: no such symbol; the source of a disk image has `[map symbols engine.map]` and "
                        "`padding equ …`, the bytes that only fill its sectors")
    return int(found[1], 16)
