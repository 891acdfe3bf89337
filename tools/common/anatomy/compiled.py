"""Engines that a compiler makes: DWARF leads from bytes to source lines, and through inlined functions.

    from common.anatomy import compiled
    compiled.units(built, program)

The linker script leads to the header's fields, DWARF to everything else: `addr2line -i` names the source line of each
instruction and the lines that it was inlined into. It is read from engine.elf, of which the program is a copy.
"""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Sequence

from common.anatomy.marks import Place, source
from common.anatomy.units import Unit, unit
from common.engine import images
from common.engine.builds import Built
from common.errors import UserError
from common.project import ROOT

STATEMENTS = {"BYTE": 1, "SHORT": 2, "LONG": 4, "QUAD": 8}


def units(built: Built, program: bytes) -> list[Unit]:
    elf = built.files / "engine.elf"
    symbols = _symbols(elf)
    image = symbols["image"][0]
    # Functions and data of the sources, as the compiler named them: symbols that have a size.
    own = sorted((address - image, size, kind, name) for name, (address, size, kind) in symbols.items()
                 if size and 0 <= address - image < len(program))
    found = [each for offset, size, kind, name in own if kind not in "tT" or not _has_code(elf, name)
             for each in _datum(elf, program, offset, size, image, name)]
    data = {each.offset for each in found}
    code = _disassembly(elf, image, image + len(program), data)
    chains = _chains(elf, [image + offset for offset, _, _ in code])
    found += [unit(program, offset, size, True, text, chain)
              for (offset, size, text), chain in zip(code, chains)]
    taken = {byte for each in found for byte in range(each.offset, each.offset + len(each.data))}
    return found + _script_units(built, program, taken)


def _tool(elf: Path, *command: object) -> str:
    """What a tool of binutils says of engine.elf. It runs in its folder, whose name might look like an answer."""
    result = subprocess.run([str(word) for word in [*command, elf.name]], capture_output=True, encoding="utf-8",
                            errors="surrogateescape", cwd=elf.parent)
    if result.returncode:
        raise UserError(f"{command[0]}: {result.stderr.strip() or result.returncode}; it is of the package binutils")
    return result.stdout


@cache
def _symbols(elf: Path) -> dict[str, tuple[int, int, str]]:
    """Address, bytes (0: not known) and kind of every symbol."""
    symbols = {}
    for line in _tool(elf, "nm", "-S").splitlines():
        words = line.split()
        address, size = int(words[0], 16), int(words[1], 16) if len(words) == 4 else 0
        symbols[words[-1]] = (address, size, words[-2])
    return symbols


@cache
def _declarations(elf: Path) -> dict[str, tuple[str, int]]:
    """Where each symbol was declared, from DWARF."""
    places = {}
    for line in _tool(elf, "nm", "-l").splitlines():
        symbol, _, place = line.partition("\t")
        if place:
            places[symbol.split()[-1]] = _place(place)
    return {name: place for name, place in places.items() if place}


def _has_code(elf: Path, name: str) -> bool:
    """Whether a symbol of the code section is a function: only functions have line numbers inside."""
    address = _symbols(elf)[name][0]
    return _chains(elf, [address]) != [[]]


def _datum(elf: Path, program: bytes, offset: int, size: int, image: int, name: str) -> list[Unit]:
    """A variable with an initial value."""
    place = _declarations(elf).get(name)
    if place is None:
        raise UserError(f"{elf}: {name}: DWARF does not say where it is declared")
    text = source(place[0]).places[place[1] - 1].text
    return [unit(program, offset, size, False, text, [place])]


def _place(text: str) -> tuple[str, int] | None:
    """FILE:LINE of the tools, as a file of the project; None for what is not in a file of the project."""
    file, _, line = text.partition(" (discriminator")[0].rpartition(":")
    if not line.isdigit() or line == "0":
        return None
    path = Path(file).resolve()
    return (str(path.relative_to(ROOT)), int(line)) if path.is_relative_to(ROOT / "golf") else None


def _chains(elf: Path, addresses: Sequence[int]) -> list[list[tuple[str, int]]]:
    """For each address its source line, then the lines that it was inlined into."""
    chains: list[list[tuple[str, int]]] = []
    for line in _tool(elf, "addr2line", "-a", "-i", *map(hex, addresses), "-e").splitlines():
        if re.fullmatch(r"0x[0-9a-f]+", line):
            chains.append([])
        else:
            place = _place(line)
            if place:
                chains[-1].append(place)
    return chains


def _disassembly(elf: Path, image: int, end: int, data: set[int]) -> list[tuple[int, int, str]]:
    """Offset, bytes and text of every instruction of the functions."""
    found = []
    for name, (address, size, kind) in _symbols(elf).items():
        if not size or address - image in data or kind not in "tT" or not image <= address < end:
            continue
        for line in _tool(elf, "objdump", "-d", "-w", "-M", "intel", f"--start-address={address}",
                          f"--stop-address={address + size}").splitlines():
            match = re.match(r"^ *([0-9a-f]+):\t((?:[0-9a-f]{2} )+) *\t?(.*)$", line)
            if match:
                text = re.sub(r" +<[^>]*>|#.*", "", match[3])
                found.append((int(match[1], 16) - image, len(match[2].split()), text))
    return sorted(found)


def _script_units(built: Built, program: bytes, taken: set[int]) -> list[Unit]:
    """What the linker script writes itself: the headers."""
    file = str((built.engine.target.folder / "link.ld").relative_to(ROOT))
    fields = images.of(built.engine).header_fields(program)
    units = []
    offset = 0
    inside = False
    for number, line in enumerate((ROOT / file).read_text("utf-8").splitlines(), 1):
        inside = inside or ".all" in line
        if not inside:
            continue
        place = Place(file, number, line.strip(), "")
        for word, value, place_set in re.findall(r"\b(BYTE|SHORT|LONG|QUAD)\(([^()]*)\)|^ *\. = (\d+);", line):
            if place_set:
                units += _filler(program, offset, int(place_set), taken, place)
                offset = int(place_set)
                continue
            size = STATEMENTS[word]
            name = ", ".join(dict.fromkeys(", ".join(fields[offset:offset + size]).split(", ")))
            units.append(Unit(offset, program[offset:offset + size], "header", "header", f"{name} = {value}", (place,)))
            offset += size
        if ".text" in line:
            return units
    return units


def _filler(program: bytes, start: int, end: int, taken: set[int], place: Place) -> list[Unit]:
    """Bytes that the script skips, but for those with data in them."""
    return [Unit(offset, program[offset:offset + 1], "header", "header", "unused byte", (place,))
            for offset in range(start, end) if offset not in taken]
