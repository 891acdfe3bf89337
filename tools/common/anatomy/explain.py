"""What every counted byte of an engine is for: its operation, its instruction, its place in the source.

    from common.anatomy import explain as anatomy
    units = anatomy.explain(built)                              # in file order; their bytes are the counted ones
    sum(len(unit.data) for unit in units if unit.operation == "rope")

The sources say it themselves: `@rope` in a comment is a mark. Behind code it holds for that line; where the comment
stands alone, for all lines from there on. Macros and inlined functions without marks belong to the line that uses them.

- NASM: the listing that the build writes leads from bytes to source lines, and through macros.
- C++: the linker script leads to the header's fields, DWARF to everything else: `addr2line -i` names the source line of
  each instruction and the lines that it was inlined into. It is read from engine.elf, of which the program is a copy.
"""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Iterator, Sequence

from common.anatomy.operations import OPERATIONS
from common.engine import images
from common.engine.builds import Built
from common.errors import UserError
from common.project import ROOT

KINDS = ("header", "code", "data")


@dataclass(frozen=True)
class Place:
    """A line of a source file."""

    file: str  # from the project's folder
    line: int
    text: str  # without its comment
    comment: str  # without marks; where the line has none, that of the mark that it stands under


@dataclass(frozen=True)
class Unit:
    """An instruction, a datum or a field of a header."""

    offset: int  # in the program file
    data: bytes
    operation: str  # a key of OPERATIONS
    kind: str  # one of KINDS
    instruction: str
    places: tuple[Place, ...]  # innermost first: the last one is where an inlined function or a macro is used


def explain(built: Built) -> list[Unit]:
    """Every counted byte, in the program's order."""
    program = built.program.read_bytes()
    units = _nasm_units(built, program) if built.engine.toolchain == "nasm" else _cpp_units(built, program)
    units += _packed_padding(built, program)
    units.sort(key=lambda unit: unit.offset)
    end = 0
    for unit in units:
        if unit.offset < end:
            raise UserError(f"{built.program}: byte {unit.offset}: it is explained twice, the second time as "
                            f"{unit.instruction!r}; this is a defect of tools/common/anatomy.py")
        end = unit.offset + len(unit.data)
    explained = sum(len(unit.data) for unit in units)
    if explained != built.counted:
        raise UserError(f"{built.program}: {built.counted} bytes are counted, but {explained} explained; "
                        "this is a defect of tools/common/anatomy.py")
    return units


def bytes_by(units: Sequence[Unit], field: str) -> dict[str, int]:
    """Bytes by "operation" or "kind", all keys present."""
    keys: Sequence[str] = KINDS if field == "kind" else tuple(OPERATIONS)
    return {key: sum(len(unit.data) for unit in units if getattr(unit, field) == key) for key in keys}


def _packed_padding(built: Built, program: bytes) -> list[Unit]:
    """Alignment inside the packed model, which the rules count as the engine's."""
    manifest = json.loads((built.files / "manifest.json").read_text("utf-8"))
    start = program.find((built.files / "model.packed").read_bytes())
    units = []
    for span in manifest["spans"]:
        if span["tensor"] == "padding":
            for row in range(span["rows"]):
                offset = start + span["offset"] + row * span["row_stride"]
                units.append(Unit(offset, program[offset:offset + span["row_bytes"]], "loading", "data",
                                  "alignment of the packed model", ()))
    return units


# --- Sources -----------------------------------------------------------------------------------------------------

MARK = re.compile(r"(?<![`\"\w])@ ?([A-Za-z]+)\b")  # not in a quotation


@dataclass(frozen=True)
class Source:
    """A source file's lines, and the operation that each is marked with."""

    places: tuple[Place, ...]
    marks: tuple[str | None, ...]


@cache
def source(file: str) -> Source:
    """A source of the project, read once. `;` begins a comment in NASM, `//` in C++."""
    path = ROOT / file
    begin = re.compile(r"//" if path.suffix in (".cpp", ".hpp") else r";")
    places: list[Place] = []
    marks: list[str | None] = []
    region: str | None = None
    heading = ""  # the comment that the region's mark is in
    headed = False  # whether the line before belongs to it
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        text, comment = _split(line, begin)
        found = MARK.findall(comment)
        name = found[0] if found else None
        if name is not None and (name not in OPERATIONS or len(found) > 1 or f"@{name}" not in comment):
            raise UserError(f"{path}:{number}: {comment!r}: a comment has one mark, such as @rope; known are "
                            f"{', '.join(OPERATIONS)}")
        words = _words(comment)
        if name and not text:
            region, heading, headed = name, words, True
        elif headed and words and not text and words.strip("-"):
            heading += " " + words
        else:
            headed = False
        places.append(Place(file, number, text, words or heading))
        marks.append(name if name and text else region)
    return Source(tuple(places), tuple(marks))


def _split(line: str, begin: re.Pattern[str]) -> tuple[str, str]:
    """Code and comment; a quoted sign begins no comment."""
    quoted = re.sub(r'"[^"]*"', lambda match: "x" * len(match[0]), line)
    found = begin.search(quoted)
    return (line[:found.start()].strip(), line[found.end():].strip()) if found else (line.strip(), "")


def _words(comment: str) -> str:
    """A comment to be read: a mark at its end is gone, one inside is a word."""
    return " ".join(MARK.sub(r"\1", re.sub(MARK.pattern + "$", "", comment)).split())


def _operation(chain: Sequence[tuple[str, int]], where: str) -> str:
    """The innermost mark of the lines that a byte comes from."""
    for file, line in chain:
        mark = source(file).marks[line - 1]
        if mark:
            return mark
    raise UserError(f"{where}: no line that it comes from stands under a mark like @matmul: {chain}; add one")


def _unit(program: bytes, offset: int, size: int, code: bool, text: str, chain: Sequence[tuple[str, int]]) -> Unit:
    operation = _operation(chain, f"byte {offset}, {text}")
    kind = "code" if code else "header" if operation == "header" else "data"
    return Unit(offset, program[offset:offset + size], operation, kind, " ".join(text.split()),
                tuple(source(file).places[line - 1] for file, line in chain))


# --- NASM --------------------------------------------------------------------------------------------------------

# Line number, address, bytes ("-" at the end: they go on in the next line), depth of macros, source text.
LISTING = re.compile(r"^ *(\d+) (?:([0-9A-F]{8}) (\S+(?: [0-9A-F]+h>)?) *|  *)(?:<(\d+)>)?(.*)$")
DATA = re.compile(r"^(?:\w+:)?\s*(?:d[bwdq])\b")
FILL = re.compile(r"^(?:\w+:)?\s*(?:times|align)\b")
REPEAT = re.compile(r"([0-9A-F]+)<rep ([0-9A-F]+)h>")  # bytes, and how often


@dataclass(frozen=True)
class ListingLine:
    line: int
    depth: int
    offset: int | None  # None: the line makes no bytes
    size: int
    text: str


def _listing(path: Path) -> Iterator[ListingLine]:
    pending: ListingLine | None = None
    for row in path.read_text("utf-8", errors="replace").splitlines():
        match = LISTING.match(row)
        if not match:
            continue
        line, address, digits, depth, text = match.groups()
        size = _size(digits or "")
        offset = int(address, 16) if address else None
        if pending and offset is not None:  # a line that goes on
            pending = ListingLine(pending.line, pending.depth, pending.offset, pending.size + size, pending.text)
        else:
            pending = ListingLine(int(line), int(depth or 0), offset, size, text.strip())
        if not (digits and digits.endswith("-")):
            yield pending
            pending = None


def _size(digits: str) -> int:
    """How many bytes a line of the listing shows; those of the packed model, `<bin …>`, are none of it."""
    repeated = REPEAT.fullmatch(digits)
    if repeated:
        return len(repeated[1]) // 2 * int(repeated[2], 16)
    return 0 if "<" in digits else len(re.sub(r"[^0-9A-F]", "", digits)) // 2


def _squeeze(text: str) -> str:
    """A source line without its comment and its spaces, to compare it with the listing's."""
    return "".join(_split(text, re.compile(";"))[0].split())


def _nasm_units(built: Built, program: bytes) -> list[Unit]:
    main = built.engine.source
    files = [main, *sorted(str(path.relative_to(ROOT)) for path in (ROOT / main).parent.rglob("*.inc"))]
    units: list[Unit] = []
    fills: list[Unit] = []  # units that only fill
    stack: list[tuple[str, int]] = []  # the lines that the present one stands in, outermost first
    for row in _listing(built.files / "engine.lst"):
        place = _find(row, files[:1] if row.depth == 0 else files)
        del stack[row.depth:]
        if place is None:
            if row.size and row.offset is not None:
                raise UserError(f"{built.files / 'engine.lst'}: line {row.line}: {row.text!r}: in none of "
                                f"{', '.join(files)}; this is a defect of tools/common/anatomy.py")
            continue
        stack.append(place)
        if row.size and row.offset is not None:
            code = not DATA.match(row.text)
            units.append(_unit(program, row.offset, row.size, code, _instruction(stack), stack[::-1]))
            fills += [units[-1]] * bool(FILL.match(row.text))
    free = images.of(built.engine).padding(built.files)
    while fills and 0 < len(fills[-1].data) <= free:  # a disk image's last fills: what its `padding` counts
        free -= len(fills[-1].data)
        units.remove(fills.pop())
    return units


def _find(row: ListingLine, files: Sequence[str]) -> tuple[str, int] | None:
    """The file whose line this is. The listing says the number and the text, but not the file."""
    wanted = _squeeze(row.text)
    for file in files:
        lines = _lines(file)
        if row.line <= len(lines) and lines[row.line - 1] == wanted:
            return file, row.line
    return None


@cache
def _lines(file: str) -> list[str]:
    return [_squeeze(line) for line in (ROOT / file).read_text("utf-8").splitlines()]


def _instruction(stack: Sequence[tuple[str, int]]) -> str:
    """The innermost line without its label, and with its macro's arguments."""
    *uses, text = [source(file).places[line - 1].text for file, line in stack]
    arguments = uses[-1].partition(" ")[2].split(",") if uses else []
    for number, argument in enumerate(arguments, 1):
        text = re.sub(rf"\(%{number}\)|%{number}\b", argument.strip(), text)
    return re.sub(r"^[\w.]+:\s*", "", text)


# --- C++ ---------------------------------------------------------------------------------------------------------

STATEMENTS = {"BYTE": 1, "SHORT": 2, "LONG": 4, "QUAD": 8}


def _cpp_units(built: Built, program: bytes) -> list[Unit]:
    elf = built.files / "engine.elf"
    symbols = _symbols(elf)
    image = symbols["image"][0]
    # Functions and data of the sources, as the compiler named them: symbols that have a size.
    own = sorted((address - image, size, kind, name) for name, (address, size, kind) in symbols.items()
                 if size and 0 <= address - image < len(program))
    units = [unit for offset, size, kind, name in own if kind not in "tT" or not _has_code(elf, name)
             for unit in _datum(elf, program, offset, size, image, name)]
    data = {unit.offset for unit in units}
    code = _disassembly(elf, image, image + len(program), data)
    chains = _chains(elf, [image + offset for offset, _, _ in code])
    units += [_unit(program, offset, size, True, text, chain)
              for (offset, size, text), chain in zip(code, chains)]
    taken = {byte for unit in units for byte in range(unit.offset, unit.offset + len(unit.data))}
    return units + _script_units(built, program, taken)


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
    return [_unit(program, offset, size, False, text, [place])]


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
