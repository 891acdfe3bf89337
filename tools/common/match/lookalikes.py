"""Token for token, from text alone: a second run of a program in which every token's text begins with another byte.

    from common.match import lookalikes
    copy, expected = lookalikes.told_apart(built, expected)     # a Built and an Expected, with other texts
    lookalikes.left(expected)                                   # groups of tokens that look alike even then

An output has no numbers of tokens: an engine that generates `<0x20>` where the reference generates ` `, or `a` and `b`
where it generates `ab`, prints the same. So in a copy of the program the first byte of every text is changed, by another
mask in each token of the same text; nothing else is. (Not the end of a text either: two bytes there are the low half of
a bf16 weight.) When program and copy both print what is expected, the tokens are the expected ones. For take the first
other one: if its text is as long, it is the same text with another mask. If it is shorter or longer, then one of the two
token sequences has a first byte, a changed one, where the other has an unchanged one.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace

from common.engine.builds import Built
from common.errors import atomic_write
from common.match.matching import Expected
from common.pack import utf16

MASKS = 255
ENDS = (0x0000, 0x000A, 0x000D)  # characters that a text of 16-bit characters cannot begin with here: the end, and half a line break


def told_apart(built: Built, expected: Expected) -> tuple[Built, Expected]:
    """The copy, and what it has to print."""
    program, packed = bytearray(built.program.read_bytes()), (built.files / "model.packed").read_bytes()
    manifest = json.loads((built.files / "manifest.json").read_text(encoding="utf-8"))
    texts = next(span for span in manifest["spans"] if span["encoding"] == "text")
    first = program.index(packed) + texts["offset"] + texts["text_offset"]
    pieces, used = list(expected.pieces), dict.fromkeys(expected.pieces, 0)
    for token, piece in enumerate(expected.pieces):
        if piece and "characters" in texts:
            start = first + token * texts["row_stride"]
            record = bytes(program[start:start + texts["row_bytes"]])
            if not any(record[:utf16.CHARACTER]):
                continue  # BOS
            good = [changed for mask in range(1, MASKS + 1) if _is_text(changed := bytes([record[0] ^ mask]) + record[1:])]
            program[start:start + len(record)] = changed = good[used[piece] % len(good)]
            pieces[token] = utf16.decode(utf16.split(changed)[0])
            used[piece] += 1
        elif piece:
            mask = 1 + used[piece] % MASKS
            used[piece] += 1
            pieces[token] = bytes([piece[0] ^ mask]) + piece[1:]
            program[first + token * texts["row_stride"]] ^= mask
    path = built.files / "told-apart"
    with atomic_write(path) as file:
        file.write(program)
        os.fchmod(file.fileno(), 0o755)
    return replace(built, program=path), replace(expected, pieces=pieces)


def _is_text(record: bytes) -> bool:
    """Whether a record's text can be told from what is before and behind it."""
    try:
        utf16.decode(utf16.split(record)[0])
    except UnicodeError:
        return False
    return int.from_bytes(record[:utf16.CHARACTER], "little") not in ENDS


def left(expected: Expected) -> list[list[int]]:
    """Groups of tokens that look alike even then: without any text, or more than there are masks."""
    return [group for group in expected.lookalikes if not expected.pieces[group[0]] or len(group) > MASKS]
