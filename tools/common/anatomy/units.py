"""The pieces that an engine's bytes are explained in: instructions, data, fields of headers.

    from common.anatomy.units import Unit, unit
    loop = unit(program, 217, 2, True, "loop 0x2000b2", [("golf/cpp/isa/x86.hpp", 37), ("golf/cpp/x87.cpp", 190)])
    loop.operation, loop.kind               # "rope", "code"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence

from common.anatomy.marks import Line, Place, operation, place
from common.engine.builds import Built

KINDS = ("header", "code", "data")


@dataclass(frozen=True)
class Unit:
    """An instruction, a datum or a field of a header."""

    offset: int  # in the program file
    data: bytes
    operation: str  # a key of OPERATIONS
    kind: str  # one of KINDS
    instruction: str
    places: tuple[Place, ...]  # innermost first: the last one is where an inlined function or a macro is used


def unit(program: bytes, offset: int, size: int, code: bool, text: str, chain: Sequence[Line]) -> Unit:
    """What a source's lines make: the operation is that of their marks."""
    name = operation(chain, f"byte {offset}, {text}")
    kind = "code" if code else "header" if name == "header" else "data"
    return Unit(offset, program[offset:offset + size], name, kind, " ".join(text.split()), tuple(map(place, chain)))


def packed(built: Built, program: bytes) -> range:
    """Where the packed model stands in a program."""
    model = (built.files / "model.packed").read_bytes()
    start = program.find(model)
    return range(start, start + len(model))
