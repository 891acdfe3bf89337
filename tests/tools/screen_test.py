"""common/machine/screen.py and keyboard.py: what the BIOS's teletype shows, which keys make a character."""

from __future__ import annotations

import string
import unittest

from support.skip import main

from common.errors import UserError
from common.machine import console, keyboard, screen
from common.machine.screen import COLUMNS, ROWS, Teletype

MEMORY = bytes(screen.CELL_COUNT)


class Screen(unittest.TestCase):
    def shows(self, text: bytes, *rows: bytes) -> Teletype:
        teletype = Teletype().write(text)
        self.assertEqual(screen.rows(bytes(teletype.cells)), b"\n".join(rows))
        return teletype

    def test_lines(self) -> None:
        self.shows(b"a\r\nbc\r\n>", b"a", b"bc", b">")
        self.shows(b"a\nbc", b"a", b" bc")  # a line feed alone goes straight down
        self.shows(b"abc\rx", b"xbc")

    def test_characters(self) -> None:
        """A bell is heard, all others are glyphs: zero, too."""
        self.shows(b"a\7b\x1b\t\xc3\x7fc", b"ab\x1b\t\xc3\x7fc")
        self.assertEqual(Teletype().write(b"a\0b").cells[:4], b"a\0b ")

    def test_backspace(self) -> None:
        """It moves, and takes nothing away. From the first column it goes nowhere."""
        self.shows(b"abc\b\bx", b"axc")
        self.shows(b"abc\b \bx", b"abx")
        self.shows(b"\r\n\b\bx", b"", b"x")
        self.shows(b"a" * COLUMNS + b"\b \bx", b"a" * COLUMNS, b"x")

    def test_wrap(self) -> None:
        """The cursor is in the next row as soon as a row is full, so a new line then leaves an empty one."""
        self.shows(b"a" * COLUMNS + b"b", b"a" * COLUMNS, b"b")
        self.shows(b"a" * COLUMNS + b"\r\nb", b"a" * COLUMNS, b"", b"b")
        self.shows(b"a" * (COLUMNS - 1) + b"\r\nb", b"a" * (COLUMNS - 1), b"b")

    def test_scroll(self) -> None:
        lines = [b"%d" % number for number in range(ROWS + 5)]
        teletype = self.shows(b"\r\n".join(lines), *lines[-ROWS:])
        self.assertEqual((teletype.row, teletype.column), (ROWS - 1, 2))
        full = self.shows(b"a" * COLUMNS * ROWS, *[b"a" * COLUMNS] * (ROWS - 1))
        self.assertEqual((full.row, full.column), (ROWS - 1, 0))

    def test_problem(self) -> None:
        shown = b"\r\n>ab\b \b\r\nstory"
        memory = screen.expected(shown, screen.CHAT, MEMORY)
        self.assertEqual(len(memory), len(MEMORY))
        self.assertEqual(screen.problem(memory, shown, screen.CHAT, MEMORY), "")
        self.assertEqual(screen.problem(memory.replace(b" ", b"\0"), shown, screen.CHAT, MEMORY), "")
        for wrong, place in ((memory.replace(b"story", b"stiry"), "row 2, column 2"), (memory[:-1] + b"x", "row 204, column 63")):
            self.assertIn(place, screen.problem(wrong, shown, screen.CHAT, MEMORY))


class Wire(unittest.TestCase):
    def test_plain(self) -> None:
        """Whatever a story has: the engine puts a CR before each LF, and that one alone is taken away."""
        for story in (b"", b"a\nb", b"\r", b"\r\n", b"\r\r\n\n\r", b"\n\r\n"):
            self.assertEqual(console.plain(story.replace(b"\n", b"\r\n")), story)


class Keyboard(unittest.TestCase):
    def test_keys(self) -> None:
        self.assertEqual(keyboard.keys("a"), ["a"])
        self.assertEqual(keyboard.keys("A"), ["shift", "a"])
        self.assertEqual(keyboard.keys("?"), ["shift", "slash"])
        self.assertEqual(keyboard.keys("@"), ["shift", "2"])
        self.assertEqual(keyboard.keys("_"), ["shift", "minus"])
        self.assertEqual(keyboard.keys("\r"), ["ret"])

    def test_all_of_ascii(self) -> None:
        typed = string.ascii_letters + string.digits + string.punctuation + " \r\b"
        self.assertTrue(keyboard.types(typed))
        self.assertEqual(len({tuple(keyboard.keys(character)) for character in typed}), len(typed), "two are the same")

    def test_no_key(self) -> None:
        self.assertFalse(keyboard.types("\u00e9t\u00e9"))
        with self.assertRaisesRegex(UserError, "keyboard: '\u00e9': no key of the US layout makes it; send it over COM1"):
            keyboard.keys("\u00e9")


if __name__ == "__main__":
    main()
