"""How the boot engines show text in VGA's text memory, and how to read it back.

    from common.machine import screen
    screen.style(engine)                               # CELLS, LINES or CHAT
    screen.seen(engine)                                 # how many bytes of its text can be read back
    screen.problem(memory, text, screen.LINES, before)  # where the memory differs from what it should be

`memory` is all of the text memory's characters, without attributes; `before` is the same as the firmware left it.
"""

from __future__ import annotations

from common.engine.engines import Engine
from common.errors import UserError

CELLS = "cells"  # every byte of the text is put into the next cell as it is, over what was there before
LINES = "lines"  # the screen is cleared first, a newline goes to the next row, and COM1 gets every byte as well
CHAT = "chat"  # the screen is cleared first, and the BIOS's teletype shows on it what COM1 gets, also what is typed

# By an engine's `console` in golf/engines.json: the screen alone, or COM1 as well, or a conversation on both.
STYLES = {"cells": CELLS, "serial": LINES, "chat": CHAT}

COLUMNS, ROWS = 80, 25
CELL_COUNT = 0x8000 // 2  # of text memory, B8000h to BFFFFh; the first 2000 are on the screen
BLANK = b"\0 "
BELL, BACKSPACE, NEWLINE, RETURN = 7, 8, 10, 13


def style(engine: Engine) -> str:
    """How the engine's console shows text."""
    if engine.console not in STYLES:
        raise UserError(f"golf/engines.json: {engine.name}: console: {engine.console!r}, known are {', '.join(STYLES)}")
    return STYLES[engine.console]


def seen(engine: Engine) -> int | None:
    """How many bytes of the engine's text can be read back; None: all. Behind text memory there is nothing to write to,
    so an engine of style CELLS goes on without leaving a trace; COM1 gets everything."""
    return CELL_COUNT if style(engine) == CELLS else None


def rows(memory: bytes) -> bytes:
    """The text that stands in the rows of a cleared screen: no blanks at their ends, and no empty rows at the end."""
    lines = [memory[i:i + COLUMNS].rstrip(BLANK).replace(b"\0", b" ") for i in range(0, len(memory), COLUMNS)]
    return b"\n".join(lines).rstrip(b"\n")


class Teletype:
    """What 80 columns and 25 rows show of bytes that the BIOS's teletype (INT 10h, AH = 0Eh) writes to them, cleared at first."""

    def __init__(self) -> None:
        self.cells, self.row, self.column = bytearray(b" " * (COLUMNS * ROWS)), 0, 0

    def write(self, text: bytes) -> Teletype:
        for byte in text:
            if byte == RETURN:
                self.column = 0
            elif byte == NEWLINE:
                self._down()
            elif byte == BACKSPACE:  # never to the row above
                self.column = max(self.column - 1, 0)
            elif byte != BELL:
                self.cells[self.row * COLUMNS + self.column] = byte
                self.column += 1
                if self.column == COLUMNS:
                    self.column = 0
                    self._down()
        return self

    def _down(self) -> None:
        """To the next row; the last one becomes free by moving all of them up."""
        self.row += 1
        if self.row == ROWS:
            self.row -= 1
            self.cells[:] = self.cells[COLUMNS:] + b" " * COLUMNS


def expected(text: bytes, how: str, before: bytes) -> bytes:
    """All of text memory, as it should be when the text has been shown. A blank cell is a space. For style CHAT the text is
    what COM1 got, with all that was typed."""
    if how == CELLS:
        return (text + before[len(text):])[:len(before)]
    if how == CHAT:
        return bytes(Teletype().write(text).cells.ljust(len(before), b" "))
    cells = bytearray()
    for byte in text:
        if byte == NEWLINE:
            cells += b" " * (COLUMNS - len(cells) % COLUMNS)
        else:
            cells.append(byte)
    return bytes(cells.ljust(len(before), b" ")[:len(before)])


def problem(memory: bytes, text: bytes, how: str, before: bytes) -> str:
    """What is wrong with text memory, "" when it is exactly as it should be."""
    wanted = expected(text, how, before)
    if how != CELLS:
        memory, wanted = memory.replace(b"\0", b" "), wanted.replace(b"\0", b" ")
    if memory == wanted:
        return ""
    place = next(i for i in range(len(wanted)) if memory[i] != wanted[i])
    return (f"text memory, row {place // COLUMNS}, column {place % COLUMNS}: {memory[place:place + 40]!r}, "
            f"expected {wanted[place:place + 40]!r}")
