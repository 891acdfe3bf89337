"""A WebAssembly module: sections, of which one is code and one, the last, holds the data.

    wasm.header_fields(program)[8:12]       # ["type section: id", "type section: size", "types: count", "type 0"]
    wasm.code(program), wasm.functions(program)     # where the code is; and in it each function's body

Offsets are those in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from common.errors import UserError

MAGIC = b"\0asm\1\0\0\0"
PAGE = 65536  # bytes, in which memory is counted
NAMES = ("custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data")
CODE, DATA = NAMES.index("code"), NAMES.index("data")
BODY = "function body"  # what fields of code are called
I32_CONST = 0x41


@dataclass(frozen=True)
class Section:
    """A section: its number, and its bytes with that number (whole) and without number and size (body)."""

    id: int
    whole: range
    body: range

    @property
    def name(self) -> str:
        return f"{NAMES[self.id] if self.id < len(NAMES) else self.id} section"


def leb(data: bytes, offset: int) -> tuple[int, int]:
    """An unsigned number of seven bits a byte, the lowest first, and the offset behind it."""
    value = shift = 0
    while True:
        byte = data[offset]
        offset += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, offset


def sections(program: bytes) -> list[Section]:
    """All sections, in the file's order."""
    found, offset = [], len(MAGIC)
    try:
        while offset < len(program):
            size, body = leb(program, offset + 1)
            found.append(Section(program[offset], range(offset, body + size), range(body, body + size)))
            offset = body + size
    except IndexError:
        offset = -1
    if program[:len(MAGIC)] != MAGIC or offset != len(program):
        raise UserError("no WebAssembly module: its sections do not fill it; build it again")
    return found


def code(program: bytes) -> range:
    """The body of the code section."""
    return next((section.body for section in sections(program) if section.id == CODE), range(0))


def functions(program: bytes) -> list[range]:
    """The body of each function, behind its size: locals, instructions."""
    found, body = [], code(program)
    if body:
        count, offset = leb(program, body.start)
        for _ in range(count):
            size, offset = leb(program, offset)
            found.append(range(offset, offset + size))
            offset += size
    return found


def signatures(program: bytes) -> list[tuple[int, int]]:
    """Of each function, the imported ones first: how many numbers it takes and gives."""
    bodies = {section.id: section.body for section in sections(program)}
    types, imported, own = [], [], []
    for name, found in (("type", types), ("import", imported), ("function", own)):
        number = NAMES.index(name)
        count, offset = leb(program, bodies[number].start) if number in bodies else (0, 0)
        for _ in range(count):
            end = ENTRY_ENDS[number](program, offset)
            if name == "type":
                takes, after = leb(program, offset + 1)
                found.append((takes, leb(program, after + takes)[0]))
            elif name == "function":
                found.append(leb(program, offset)[0])
            else:
                kind = _vector(program, _vector(program, offset))
                found += [leb(program, kind + 1)[0]] if program[kind] == 0 else []
            offset = end
    return [types[index] for index in imported + own]


def custom(program: bytes) -> dict[str, bytes]:
    """The custom sections, such as those of DWARF, by name."""
    found = {}
    for section in sections(program):
        if section.id == 0:
            size, start = leb(program, section.body.start)
            found[program[start:start + size].decode()] = program[start + size:section.body.stop]
    return found


def header_fields(program: bytes) -> list[str]:
    """For each byte the field that it belongs to; "" for what data segments hold."""
    if program[:len(MAGIC)] != MAGIC:
        return []
    names = ["magic"] * 4 + ["version"] * 4
    for section in sections(program):
        fields = [(section.whole.start + 1, f"{section.name}: id"), (section.body.start, f"{section.name}: size"),
                  *_entries(program, section)]
        start = section.whole.start
        for end, name in fields:
            names += [name] * (end - start)
            start = end
        names += [section.name] * (section.body.stop - start)
    return names


def _entries(program: bytes, section: Section) -> Iterator[tuple[int, str]]:
    """The end and the name of what stands in a section, one after the other."""
    if section.id == 0:
        return
    count, offset = leb(program, section.body.start)
    yield offset, f"{section.name}: count"
    for number in range(count):
        if section.id == CODE:
            size, offset = leb(program, offset)
            yield offset + size, f"{BODY} {number}"
            offset += size
        elif section.id == DATA:
            size, offset = leb(program, _offset_end(program, offset + 1))
            yield offset, f"data segment {number}: address, size"
            offset += size
            yield offset, ""
        else:
            offset = ENTRY_ENDS[section.id](program, offset)
            yield offset, f"{NAMES[section.id]} {number}"


def _offset_end(program: bytes, offset: int) -> int:
    """Behind a constant expression of one i32.const."""
    if program[offset] != I32_CONST:
        raise UserError(f"byte {offset} of the module: only i32.const is known for addresses; extend {__name__}")
    _, offset = leb(program, offset + 1)
    return offset + 1  # end


def _vector(program: bytes, offset: int) -> int:
    """Behind a number of bytes, and the bytes."""
    size, offset = leb(program, offset)
    return offset + size


def _limits(program: bytes, offset: int) -> int:
    _, end = leb(program, offset + 1)
    return leb(program, end)[1] if program[offset] & 1 else end


ENTRY_ENDS = {
    NAMES.index("type"): lambda program, offset: _vector(program, _vector(program, offset + 1)),
    NAMES.index("import"): lambda program, offset: leb(program, _vector(program, _vector(program, offset)) + 1)[1],
    NAMES.index("function"): lambda program, offset: leb(program, offset)[1],
    NAMES.index("memory"): _limits,
    NAMES.index("global"): lambda program, offset: _offset_end(program, offset + 2),
    NAMES.index("export"): lambda program, offset: leb(program, _vector(program, offset) + 1)[1],
}


def padding(files: Path) -> int:
    """None: every byte of a module counts."""
    return 0
