"""What every counted byte of an engine is for: its operation, its instruction, its place in the source.

    from common.anatomy.explain import explain
    units = explain(built)                                      # in file order; their bytes are the counted ones
    sum(len(unit.data) for unit in units if unit.operation == "rope")

The sources say it themselves, by marks (marks.py). From bytes to source lines lead the listing of an assembler
(listing.py), or a compiler's debug information (compiled.py, module.py) and the linker script (headers.py).
"""

from __future__ import annotations

import json
import re
from typing import Callable, Sequence

from common.anatomy import compiled, listing, module
from common.anatomy.operations import OPERATIONS
from common.anatomy.units import KINDS, Unit, packed
from common.engine.builds import Built
from common.errors import UserError

EXPLAINERS = {"nasm": listing.units, "gcc": compiled.units, "clang": module.units}  # by toolchain


def _explainer(built: Built) -> Callable[[Built, bytes], list[Unit]]:
    name = built.engine.toolchain
    if name not in EXPLAINERS:
        raise UserError(f"{built.engine.name}: toolchain {name!r}: its bytes cannot be explained; add it to EXPLAINERS in "
                        "tools/common/anatomy/explain.py")
    return EXPLAINERS[name]


def explain(built: Built) -> list[Unit]:
    """Every counted byte, in the program's order."""
    program = built.program.read_bytes()
    units = _explainer(built)(built, program) + _packed_padding(built, program)
    units.sort(key=lambda unit: unit.offset)
    end = 0
    for unit in units:
        if unit.offset < end:
            raise UserError(f"{built.program}: byte {unit.offset}: it is explained twice, the second time as "
                            f"{unit.instruction!r}; this is a defect of tools/common/anatomy")
        end = unit.offset + len(unit.data)
    explained = sum(len(unit.data) for unit in units)
    if explained != built.counted:
        raise UserError(f"{built.program}: {built.counted} bytes are counted, but {explained} explained; "
                        + _what_to_do(built, program, units))
    return units


def _what_to_do(built: Built, program: bytes, units: Sequence[Unit]) -> str:
    """About bytes that are explained by nothing."""
    explained = bytearray(len(program))
    for piece in [range(unit.offset, unit.offset + len(unit.data)) for unit in units] + [packed(built, program)]:
        explained[piece.start:piece.stop] = b"\1" * len(piece)
    gaps = [match.span() for match in re.finditer(rb"\0+", explained)]
    first = next((start for start, end in gaps if any(program[start:end])), None)  # zeros may fill a sector
    if first is None:
        return "this is a defect of tools/common/anatomy"
    return (f"of byte {first} the sources say nothing; a number that the compiler keeps in memory (.rodata) has no name: "
            "declare it as a variable, with a mark")


def bytes_by(units: Sequence[Unit], field: str) -> dict[str, int]:
    """Bytes by "operation" or "kind", all keys present."""
    keys: Sequence[str] = KINDS if field == "kind" else tuple(OPERATIONS)
    return {key: sum(len(unit.data) for unit in units if getattr(unit, field) == key) for key in keys}


def _packed_padding(built: Built, program: bytes) -> list[Unit]:
    """Alignment inside the packed model, which the rules count as the engine's."""
    manifest = json.loads((built.files / "manifest.json").read_text("utf-8"))
    start = packed(built, program).start
    units = []
    for span in manifest["spans"]:
        if span["tensor"] == "padding":
            for row in range(span["rows"]):
                offset = start + span["offset"] + row * span["row_stride"]
                units.append(Unit(offset, program[offset:offset + span["row_bytes"]], "loading", "data",
                                  "alignment of the packed model", ()))
    return units
