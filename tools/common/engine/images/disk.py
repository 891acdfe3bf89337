"""A disk image: a boot sector, others with code when it needs them, then the packed model, both filled up to whole sectors.

    disk.padding(files)         # 103: the free bytes between the code and the signature, and behind the model
    disk.code_sectors(files)    # 1: how many sectors have code
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
    found = symbol(files, "padding")
    if found is None:
        raise UserError(f"{files / 'engine.map'}: padding: no such symbol; the source of a disk image has `[map symbols engine.map]` and "
                        "`padding equ …`, the bytes that only fill its sectors")
    return found


def code_sectors(files: Path) -> int:
    """What the source's symbol `code_sectors` says there: the boot sector alone when there is none."""
    return symbol(files, "code_sectors") or 1


def symbol(files: Path, name: str) -> int | None:
    """A symbol's value in the map; None: it is not there."""
    try:
        found = re.search(rf"^ *([0-9A-F]+) .*\b{name}$", (files / "engine.map").read_text("utf-8"), re.MULTILINE)
    except FileNotFoundError:
        return None
    return int(found[1], 16) if found else None
