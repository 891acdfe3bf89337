"""Sources and their marks: `@rope` in a comment says what the bytes of its line are for.

    from common.anatomy.marks import operation, source
    source("golf/asm/boot.asm").marks[98]               # of line 99: "header"
    operation([("golf/cpp/isa/x86.hpp", 37), ("golf/cpp/x87.cpp", 174)], "byte 170")    # the innermost mark: "attention"

Behind code a mark holds for that line; where the comment stands alone, for all lines from there on. Macros and inlined
functions without marks belong to the line that uses them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Sequence

from common.anatomy.operations import OPERATIONS
from common.errors import UserError
from common.project import ROOT

Line = tuple[str, int]  # a file, from the project's folder, and the number of a line in it

MARK = re.compile(r"(?<![`\"\w])@ ?([A-Za-z]+)\b")  # not in a quotation
CPP = (".cpp", ".hpp")  # there `//` begins a comment, in other sources `;`


@dataclass(frozen=True)
class Place:
    """A line of a source file."""

    file: str  # from the project's folder
    line: int
    text: str  # without its comment
    comment: str  # without marks; where the line has none, that of the mark that it stands under


@dataclass(frozen=True)
class Source:
    """A source file's lines, and the operation that each is marked with."""

    places: tuple[Place, ...]
    marks: tuple[str | None, ...]


@cache
def source(file: str) -> Source:
    """A source of the project, read once."""
    path = ROOT / file
    places: list[Place] = []
    marks: list[str | None] = []
    region: str | None = None
    heading = ""  # the comment that the region's mark is in
    headed = False  # whether the line before belongs to it
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        text, comment = split(line, "//" if path.suffix in CPP else ";")
        name = _mark(comment, f"{path}:{number}")
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


def place(line: Line) -> Place:
    return source(line[0]).places[line[1] - 1]


def operation(chain: Sequence[Line], where: str) -> str:
    """The innermost mark of the lines that a byte comes from; `where` is the byte, for the message."""
    for file, line in chain:
        mark = source(file).marks[line - 1]
        if mark:
            return mark
    raise UserError(f"{where}: no line that it comes from stands under a mark like @matmul: {chain}; add one")


def split(line: str, begin: str) -> tuple[str, str]:
    """Code and comment, which `begin` begins; not in quotes."""
    quoted = re.sub(r'"[^"]*"', lambda match: "x" * len(match[0]), line)
    found = quoted.find(begin)
    return (line.strip(), "") if found < 0 else (line[:found].strip(), line[found + len(begin):].strip())


def _mark(comment: str, where: str) -> str | None:
    found = MARK.findall(comment)
    if not found:
        return None
    if found[0] not in OPERATIONS or len(found) > 1 or f"@{found[0]}" not in comment:
        raise UserError(f"{where}: {comment!r}: a comment has one mark, such as @rope; known are {', '.join(OPERATIONS)}")
    return found[0]


def _words(comment: str) -> str:
    """A comment to be read: a mark at its end is gone, one inside is a word."""
    return " ".join(MARK.sub(r"\1", re.sub(MARK.pattern + "$", "", comment)).split())
