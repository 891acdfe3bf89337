"""Finds a function of the reference engine in its source.

    from common.anatomy.reference_source import find_function
    find_function("reference/ops.hpp:rmsnorm").source       # the definition, of ops.cpp
    find_function("reference/ops.hpp:rmsnorm").comment      # what ops.hpp says about it
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.project import ROOT


@dataclass(frozen=True)
class Function:
    """A function of the reference."""

    name: str
    file: str     # where it is defined
    line: int
    comment: str  # its contract, without comment marks
    source: str   # the definition


def find_function(entry: str) -> Function:
    """The function that `FILE:NAME` means; its definition may be in the .cpp file beside a .hpp file."""
    file, _, name = entry.partition(":")
    short = name.rpartition("::")[2]
    paths = [path for path in (ROOT / file, (ROOT / file).with_suffix(".cpp")) if path.is_file()]
    for path in reversed(paths):
        lines = path.read_text("utf-8").splitlines()
        start = find_line(lines, rf"(\w[^(]*[\s&*:]|){re.escape(short)}\(", "{")
        if start is not None:
            comment = comment_above(lines, start) or declared(paths, short)
            source = "\n".join(definition(lines, start))
            return Function(name, str(path.relative_to(ROOT)), start + 1, comment, source)
    raise UserError(f"{file}: {name}: no function of this name is defined there; "
                    "mend OPERATIONS in tools/common/anatomy/operations.py")


def find_line(lines: list[str], pattern: str, end: str) -> int | None:
    """The first line that matches from its start, where the next of `;` and `{` is `end`."""
    for number, line in enumerate(lines):
        if re.match(rf"\s*{pattern}", line) and not re.match(r"\s*(return|if|for|while|//|else)\b", line):
            following = re.search(r"[;{]", "\n".join(lines[number:]))
            if following and following[0] == end:
                return number
    return None


def declared(paths: list[Path], short: str) -> str:
    """The comment above the declaration, in the header."""
    for path in {path.with_suffix(".hpp") for path in paths}:
        if path.is_file():
            lines = path.read_text("utf-8").splitlines()
            start = find_line(lines, rf"(\w[^(]*[\s&*]){re.escape(short)}\(", ";")
            if start is not None:
                return comment_above(lines, start)
    return ""


def comment_above(lines: list[str], start: int) -> str:
    """The /// lines directly above, as text: a line feed ends a paragraph."""
    comment: list[str] = []
    while start > 0 and (found := re.match(r"\s*///? ?(.*)", lines[start - 1])):
        comment.insert(0, found[1])
        start -= 1
    return re.sub(r"(?<=\S)\n(?=\S)", " ", "\n".join(comment)).replace("\n\n", "\n")


def definition(lines: list[str], start: int) -> list[str]:
    """The lines up to the brace that closes the function: it stands below the function's first letter."""
    indent = re.match(r"\s*", lines[start])[0]  # type: ignore[index]
    for number in range(start, len(lines)):
        if lines[number].rstrip() == f"{indent}}}" or (number == start and lines[number].rstrip().endswith("}")):
            return [line.removeprefix(indent) for line in lines[start:number + 1]]
    return lines[start:]
