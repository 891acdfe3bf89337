"""Engines that a compiler makes: DWARF leads from bytes to source lines, and through inlined functions.

    from common.anatomy import compiled
    compiled.units(built, program)

Functions and variables are those of engine.elf, of which the program is a copy; what the linker script makes itself is the
business of headers.py.
"""

from __future__ import annotations

from typing import Iterator

from common.anatomy import headers
from common.anatomy.dwarf import Program, Symbol
from common.anatomy.instructions import instructions
from common.anatomy.marks import place
from common.anatomy.units import Unit, packed, unit
from common.engine.builds import Built
from common.errors import UserError

WORD = 4  # data between instructions are shown in words


def units(built: Built, program: bytes) -> list[Unit]:
    """All counted bytes but those in the packed model."""
    elf = Program(built.files / "engine.elf")
    found: list[Unit] = []
    for symbol in elf.symbols:
        if 0 <= symbol.address - elf.start < len(program):
            found += _function(elf, program, symbol) if symbol.is_code else [_variable(elf, program, symbol)]
    taken = bytearray(len(program))  # 1: explained, or of the model
    for piece in [range(each.offset, each.offset + len(each.data)) for each in found] + [packed(built, program)]:
        taken[piece.start:piece.stop] = b"\1" * len(piece)
    return found + headers.units(built, program, elf.sections, taken)


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
