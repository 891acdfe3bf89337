"""Engines that NASM assembles: the listing that the build writes leads from bytes to source lines, and through macros.

    from common.anatomy import listing
    listing.units(built, program)

The listing says a line's number, its text and how deep it stands, but not its file. So it is read as NASM reads the
sources: below an `%include` stand the lines of that file, below the use of a macro those of its definition. A line that
makes bytes must then have the very text that the listing shows, or this is an error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Collection, Iterator, Sequence

from common.anatomy.marks import Line, place, source, split
from common.anatomy.units import Unit, unit
from common.engine import images, nasm
from common.engine.builds import Built
from common.errors import UserError
from common.project import ROOT

# Line number, address, bytes ("-" at the end: they go on in the next line), depth, source text.
LISTING = re.compile(r"^ *(\d+) (?:([0-9A-F]{8}) (\S+(?: [0-9A-F]+h>)?) *|  *)(?:<(\d+)>)?(.*)$")
REPEAT = re.compile(r"([0-9A-F]+)<rep ([0-9A-F]+)h>")  # bytes, and how often
DATA = re.compile(r"^(?:\w+:)?\s*(?:d[bwdq])\b")
FILL = re.compile(r"^(?:\w+:)?\s*(?:times|align)\b")
INCLUDE = re.compile(r"%include\s+(?:[\"'`]([^\"'`]+)|(\w+))", re.IGNORECASE)  # a file, or a macro that is one
END_REPETITION = re.compile(r"%endrep\b", re.IGNORECASE)
MACRO = re.compile(r"%i?macro\s+([^\s,]+)", re.IGNORECASE)
END_MACRO = re.compile(r"%endm(acro)?\b", re.IGNORECASE)
CONFIGURATION = "model.inc"
LABEL = re.compile(r"^[\w.]+:\s*")
WORD = re.compile(r"[\w.$#@~?]+")


@dataclass(frozen=True)
class Row:
    line: int
    depth: int
    offset: int | None  # None: the line makes no bytes
    size: int
    text: str


def units(built: Built, program: bytes) -> list[Unit]:
    """What the sources make: all counted bytes but those in the packed model."""
    found: list[Unit] = []
    fills: list[Unit] = []  # units that only fill, with zeros
    reader = _Reader(built)
    for row in rows(built.files / "engine.lst"):
        chain = reader.lines(row)
        if row.size and row.offset is not None:
            code = not DATA.match(row.text)
            found.append(unit(program, row.offset, row.size, code, instruction(chain), chain))
            fills += [found[-1]] * bool(FILL.match(row.text) and not any(found[-1].data))
    free = images.of(built.engine).padding(built.files)
    while fills and 0 < len(fills[-1].data) <= free:  # a disk image's last fills are its padding
        free -= len(fills[-1].data)
        found.remove(fills.pop())
    return found


def rows(path: Path) -> Iterator[Row]:
    """The listing, line by line."""
    pending: Row | None = None
    for text in path.read_text("utf-8", errors="replace").splitlines():
        match = LISTING.match(text)
        if not match:
            continue
        line, address, digits, depth, text = match.groups()
        size = _size(digits or "")
        offset = int(address, 16) if address else None
        if pending and offset is not None:  # a line that goes on
            pending = Row(pending.line, pending.depth, pending.offset, pending.size + size, pending.text)
        else:
            pending = Row(int(line), int(depth or 0), offset, size, text.strip())
        if not (digits and digits.endswith("-")):
            yield pending
            pending = None


def _size(digits: str) -> int:
    """How many bytes a line of the listing shows; those of the packed model, `<bin …>`, are none of it."""
    repeated = REPEAT.fullmatch(digits)
    if repeated:
        return len(repeated[1]) // 2 * int(repeated[2], 16)
    return 0 if "<" in digits else len(re.sub(r"[^0-9A-F]", "", digits)) // 2


@dataclass(frozen=True)
class _Part:
    """Lines of a file: all of an included one, or a macro's."""

    file: str  # from the project's folder; "": it was generated for this build
    lines: range


class _Reader:
    """Follows the listing through the files."""

    def __init__(self, built: Built) -> None:
        self.listing = built.files / "engine.lst"
        self.folders = nasm.include_folders(built.engine)
        self.generated = built.files
        self.files = [built.engine.source]  # that were read so far
        self.stack: list[Line | None] = []  # the lines that the present one stands in, outermost first

    def lines(self, row: Row) -> list[Line]:
        """The line of a row, then those that it stands in; empty where they are in no source and make no bytes."""
        del self.stack[row.depth:]
        parts = self._parts(row)
        fitting = {part.file for part in parts if row.line in part.lines and _is(row, part.file)}
        self.stack += [None] * (row.depth - len(self.stack))
        self.stack.append((fitting.pop(), row.line) if len(fitting) == 1 else None)
        if None not in self.stack:
            return [line for line in reversed(self.stack) if line]
        if row.size:
            raise UserError(f"{self.listing}: line {row.line}: {row.text!r}: {self._why(parts, fitting)}")
        return []

    @staticmethod
    def _why(parts: Sequence[_Part], fitting: Collection[str]) -> str:
        """Why it is not clear where a line that makes bytes comes from, and what to do."""
        if len(fitting) > 1:
            return f"it may be of {' or '.join(sorted(fitting))}, which define a macro of the same name; rename one"
        files = " or ".join(sorted({part.file or "a generated file" for part in parts}))
        return (f"it is not what {files} has there; what makes bytes stands in a source, and no source has changed since"
                if files else "no macro by a name of the line before is in a source; use macros by their names")

    def _parts(self, row: Row) -> list[_Part]:
        """Where a row's line can be: which file, and which lines of it."""
        if row.depth == 0:
            return [_whole(self.files[0])]
        using = self.stack[-1] if len(self.stack) == row.depth else None
        if using is None:
            return []
        text = place(using).text
        included = INCLUDE.match(text)
        if included:
            return [_whole(self._file(included[1] or self._defined(included[2])))]
        if END_REPETITION.match(text):  # the lines of %rep stand below its end
            return [_whole(using[0])]
        defined = [(name, part) for file in self.files for name, part in _macros(file)]
        names = [word.lower() for word in WORD.findall(text)]
        used = next((word for word in names if any(word == name for name, _ in defined)), "")
        return [part for name, part in defined if name == used]

    def _defined(self, macro: str) -> str:
        """The file that a macro of the generated configuration names."""
        path = self.generated / CONFIGURATION
        found = re.search(rf'^%define {macro} +"(.+)"$', path.read_text("utf-8"), re.MULTILINE)
        if found is None:
            raise UserError(f"{self.listing}: %include {macro}: no such macro in {path.name}; name the file itself")
        return found[1]

    def _file(self, name: str) -> str:
        """The file that NASM includes: it looks in the build's folder first."""
        if (self.generated / name).is_file():
            return ""
        for folder in self.folders:
            if (folder / name).is_file():
                file = str((folder / name).resolve().relative_to(ROOT.resolve()))
                if file not in self.files:
                    self.files.append(file)
                return file
        raise UserError(f"{self.listing}: %include {name!r}: in none of {', '.join(map(str, self.folders))}; "
                        "what the engine includes must be there")


def _whole(file: str) -> _Part:
    return _Part(file, range(1, len(source(file).places) + 1) if file else range(0))


@cache
def _macros(file: str) -> list[tuple[str, _Part]]:
    """The macros that a file defines, by their names in lower case, as some are found in any case."""
    found: list[tuple[str, _Part]] = []
    begun: list[tuple[str, int]] = []
    for line in source(file).places:
        defined = MACRO.match(line.text)
        if defined:
            begun.append((defined[1].lower(), line.line))
        elif END_MACRO.match(line.text) and begun:
            name, first = begun.pop()
            found.append((name, _Part(file, range(first + 1, line.line))))
    return found


def _is(row: Row, file: str) -> bool:
    """Whether the row shows this line of the file. In a macro it is without its comment and some of its spaces."""
    return "".join(split(row.text, ";")[0].split()) == "".join(place((file, row.line)).text.split())


def instruction(chain: Sequence[Line]) -> str:
    """The innermost line without its label, and with its macro's arguments."""
    text, *uses = [LABEL.sub("", place(line).text) for line in chain]
    arguments = uses[0].partition(" ")[2].split(",") if uses else []
    for number, argument in enumerate(arguments, 1):
        text = re.sub(rf"\(%{number}\)|%{number}\b", argument.strip(), text)
    return text
