"""What decides the engines' sizes: one list of files and folders, for the keys of the record, for builds, and for CMake.

    from common.engine import inputs
    inputs.paths()                       # ["golf/engines.json", "golf/asm", …], from the project's folder
    inputs.files()                       # every file there that decides anything

The list is "inputs" of golf/engines.json. It is asked of old commits as well, which are known in the record by what it
finds in them. So it may only grow: what has moved stays in EARLIER.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

from common.errors import UserError
from common.project import ROOT

TABLE = "golf/engines.json"
NOTES = ".md"  # decide nothing
FIELDS = ("inputs", "input_suffixes", "headline_compilers", "shapes", "memory_maps", "engines")  # of the table

# Where it was until the tools were sorted into folders.
EARLIER = tuple(f"tools/common/{name}.py" for name in (
    "builds", "checkpoint", "engines", "layout", "random_model", "tokenizer"))


@functools.cache
def table() -> dict:
    """golf/engines.json, as it is."""
    path = ROOT / TABLE
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: {error}: not JSON; repair it") from error
    missing = [name for name in FIELDS if name not in found]
    if missing:
        raise UserError(f"{path}: {missing[0]}: it is not there; the file's head says what it means")
    return found


def paths() -> list[str]:
    """The files and folders that decide sizes now."""
    return table()["inputs"]


def suffixes() -> tuple[str, ...]:
    """What a file in these folders ends in when it decides anything."""
    return tuple(table()["input_suffixes"])


def files() -> list[Path]:
    """All such files, in order."""
    found = [ROOT / path for path in paths()]
    found += [path for folder in found if folder.is_dir() for path in folder.rglob("*")]
    return sorted({path for path in found if path.suffix in suffixes() and path.is_file()})
