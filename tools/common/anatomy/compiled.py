"""Engines that a compiler makes: DWARF leads from bytes to source lines, and through inlined functions.

    from common.anatomy import compiled
    compiled.units(built, program)

Functions and variables are those of engine.elf, of which the program is a copy. A number that the compiler keeps in memory
has no name: it is for what the first instruction does that uses it. What the linker script makes itself is the business of
headers.py.
"""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Iterator, Sequence

from common.anatomy import headers
from common.anatomy.dwarf import Program, Symbol
from common.anatomy.instructions import instructions
from common.anatomy.marks import place
from common.anatomy.units import Unit, packed, unit
from common.engine.builds import Built
from common.errors import UserError

WORD = 4  # data between instructions are shown in words
FLOATS = {4: "<f", 8: "<d"}
LARGEST_ALIGNMENT = 16


def units(built: Built, program: bytes) -> list[Unit]:
    """All counted bytes but those in the packed model."""
    elf = Program(built.files / "engine.elf")
    found: list[Unit] = []
    for symbol in elf.symbols:
        if 0 <= symbol.address - elf.start < len(program):
            found += _function(elf, program, symbol) if symbol.is_code else [_variable(elf, program, symbol)]
    model = packed(built, program)
    found += headers.units(built, program, elf.sections, _taken([*found, model], len(program)))
    found += _constants(elf, program, _taken([*found, model], len(program)))
    return found + list(_alignment(found, program, model))


def _taken(pieces: Sequence[Unit | range], size: int) -> bytearray:
    """1 for every byte of the program that is explained, or of the model."""
    taken = bytearray(size)
    for each in pieces:
        piece = each if isinstance(each, range) else range(each.offset, each.offset + len(each.data))
        taken[piece.start:piece.stop] = b"\1" * len(piece)
    return taken


def _constants(elf: Program, program: bytes, taken: bytearray) -> Iterator[Unit]:
    """Numbers without a name, each up to the next one, or to what is explained."""
    offsets = sorted(address - elf.start for address in elf.users
                     if 0 <= address - elf.start < len(program) and not taken[address - elf.start])
    for offset, following in zip(offsets, [*offsets[1:], len(program)]):
        end = taken.find(1, offset, following)
        size = (following if end < 0 else end) - offset
        data = program[offset:offset + size]
        text = f"constant {struct.unpack(FLOATS[size], data)[0]:.9g}" if size in FLOATS else f"constant {data.hex(' ')}"
        yield unit(program, offset, size, False, text, elf.chain(elf.users[offset + elf.start]))


def _alignment(found: Sequence[Unit], program: bytes, model: range) -> Iterator[Unit]:
    """Zeros that align what stands behind them."""
    taken = _taken([*found, model], len(program))
    for each in [*found, Unit(model.start, b"", "loading", "data", "", ())]:
        start = taken.rfind(1, 0, each.offset) + 1
        if each.offset - start in range(1, LARGEST_ALIGNMENT) and not any(program[start:each.offset]):
            yield replace(each, offset=start, data=program[start:each.offset], kind="data", instruction="alignment")


def _variable(elf: Program, program: bytes, symbol: Symbol) -> Unit:
    """A variable with an initial value."""
    line = elf.declared.get(symbol.address)
    if line is None:
        raise UserError(f"{elf.path}: {symbol.name}: DWARF does not say where it is declared; give it a line of a source")
    return unit(program, symbol.address - elf.start, symbol.size, False, place(line).text, [line])


def _function(elf: Program, program: bytes, symbol: Symbol) -> Iterator[Unit]:
    """A function's instructions, and the data between them."""
    for address, end, state in elf.pieces(symbol):
        code = program[address - elf.start:end - elf.start]
        for size, text in (_words(code) if state == "d" else
                           instructions(elf.machine, elf.bits, state, code, address, elf.starts)):
            yield unit(program, address - elf.start, size, state != "d", text, elf.chain(address))
            address += size


def _words(data: bytes) -> Iterator[tuple[int, str]]:
    for word in (data[start:start + WORD] for start in range(0, len(data), WORD)):
        yield len(word), f".word 0x{int.from_bytes(word, 'little'):0{2 * len(word)}x}"
