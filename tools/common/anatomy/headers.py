"""Headers that a linker script makes itself, by BYTE, SHORT, LONG and QUAD: what their bytes are called.

    from common.anatomy import headers
    headers.units(built, program, {".all": 0}, taken)       # "e_phoff = 32", "unused byte", …

The script says where each number stands: `. = 24;` or `. = ALIGN(4);` and what is put before it. The image's format says what its bytes are
called there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Iterator, Mapping

from common.anatomy.marks import Place
from common.anatomy.units import Unit
from common.engine import gcc, images
from common.engine.builds import Built
from common.errors import UserError
from common.project import ROOT

SIZES = {"BYTE": 1, "SHORT": 2, "LONG": 4, "QUAD": 8, "SQUAD": 8}
# What matters of a linker script: an output section begins, a number, a new place, sections of the sources, an end.
STATEMENT = re.compile(r"(?:^|(?<=[;{}]))[ \t]*(?P<section>[./\w]+)[^:;{}\n]*:[^:;{}]*\{"
                       r"|\b(?P<number>S?QUAD|LONG|SHORT|BYTE)\s*\((?P<value>(?:[^()]|\([^()]*\))*)\)"
                       r"|(?<![\w.])\.\s*=\s*(?P<place>[^;]+);"
                       r"|(?P<input>\*\s*\([^()]*\))"
                       r"|(?P<end>\})"
                       r"|\bINCLUDE\s+(?P<include>[^\s;]+)", re.MULTILINE)


def units(built: Built, program: bytes, sections: Mapping[str, int], taken: bytearray) -> list[Unit]:
    """The numbers of the script, and the bytes that it skips. `sections` are the offsets of the output sections, `taken`
    is not 0 for bytes that are explained already."""
    path = gcc.link_script(built.engine)
    fields = images.of(built.engine).header_fields(program)
    found: list[Unit] = []
    base = position = None  # of the section; where the next byte goes
    for statement, place in _statements(path, (ROOT / built.engine.source).parent):
        if statement["section"] or statement["end"]:
            base = position = sections.get(statement["section"] or "")
        elif base is None:
            continue
        elif statement["input"]:
            position = None if position is None else _first_free(taken, position)
        elif statement["place"]:
            new = _place(statement["place"], base, position)
            if new is not None and position is not None:
                found += [Unit(offset, program[offset:offset + 1], "header", "header", "unused byte", (place,))
                          for offset in range(position, min(new, len(taken))) if not taken[offset]]
            position = new
        elif position is None:
            raise UserError(f"{path}:{place.line}: {statement[0]}: it is not clear where this stands; "
                            "put `. = N;` before it")
        else:
            size = SIZES[statement["number"]]
            names = dict.fromkeys(", ".join(filter(None, fields[position:position + size])).split(", "))
            text = " = ".join(filter(None, [", ".join(names) or statement["number"], statement["value"].strip()]))
            found.append(Unit(position, program[position:position + size], "header", "header", text, (place,)))
            position += size
    return found


def _statements(path: Path, included: Path) -> Iterator[tuple[re.Match[str], Place]]:
    """Each statement of a script, and its line. `included` is the folder of what it includes."""
    script, file = path.read_text("utf-8"), str(path.relative_to(ROOT))
    lines = script.splitlines()
    without_comments = re.sub(r"/\*.*?\*/", lambda comment: re.sub(r"[^\n]", " ", comment[0]), script, flags=re.DOTALL)
    for match in STATEMENT.finditer(without_comments):
        if match["include"]:
            yield from _statements(included / match["include"], included)
            continue
        number = without_comments.count("\n", 0, match.start()) + 1
        yield match, Place(file, number, lines[number - 1].strip(), "")


def _first_free(taken: bytearray, position: int) -> int:
    """Behind what stands at a position."""
    free = taken.find(0, position)
    return len(taken) if free < 0 else free


def _place(text: str, base: int, position: int | None) -> int | None:
    """Where `. = text` leads: a number counts from the section's beginning; None when it is not known."""
    aligned = re.fullmatch(r"ALIGN\s*\(\s*(\w+)\s*\)", text.strip())
    try:
        if aligned and position is not None:
            return position + -position % int(aligned[1], 0)
        return base + int(text, 0)
    except ValueError:
        return None
