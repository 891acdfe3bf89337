"""common/terminal.py: tables, colours only where they belong, and a progress line that suits its stream."""

from __future__ import annotations

import io
import os
import unittest
from unittest import mock

from support.skip import main

from common import terminal
from common.terminal import WIDEST, Progress, argument_parser, markdown_table, paint, size_text, table, time_text


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Colour(unittest.TestCase):
    def test_only_on_a_terminal(self) -> None:
        cases = [({"TERM": "xterm"}, Tty(), True), ({"TERM": "xterm"}, io.StringIO(), False),
                 ({"TERM": "dumb"}, Tty(), False), ({"TERM": "xterm", "NO_COLOR": "1"}, Tty(), False),
                 ({"TERM": "xterm", "NO_COLOR": ""}, Tty(), True)]
        for environment, stream, expected in cases:
            with mock.patch.dict(os.environ, environment, clear=True):
                self.assertEqual(terminal.use_colour(stream), expected, environment)
                self.assertEqual(paint("ok", "green", stream), "\x1b[32mok\x1b[0m" if expected else "ok")


class Tables(unittest.TestCase):
    ROWS = [["reference", None, "equal"], ["cpp-linux-i386", 612, "token 62"]]
    HEADERS = ["engine", "bytes", "result"]

    def test_text(self) -> None:
        self.assertEqual(table(self.ROWS, self.HEADERS), "\n".join([
            "engine          bytes  result",
            "--------------  -----  --------",
            "reference              equal",
            "cpp-linux-i386    612  token 62"]))

    def test_alignment(self) -> None:
        self.assertEqual(table([["x", 1]], ["long", "long"], "rl").splitlines()[2], "   x  1")
        for cells, right in [([1, 22], True), (["1,189", "-12"], True), (["3.1", "-"], True), ([1, "x"], False),
                             ([None, ""], False), (["100%"], True), (["495 + 2"], False)]:
            shown = table([[cell] for cell in cells], ["heading"]).splitlines()[2]
            self.assertEqual(shown.startswith(" ") and shown.strip() != "", right, cells)

    def test_colours_have_no_width(self) -> None:
        coloured = [["\x1b[32m12\x1b[0m", "a"], ["345", "b"]]
        plain = [["12", "a"], ["345", "b"]]
        self.assertEqual(terminal.ESCAPE.sub("", table(coloured, ["n", "x"])), table(plain, ["n", "x"]))
        self.assertEqual(markdown_table(coloured, ["n", "x"]), markdown_table(plain, ["n", "x"]))

    def test_markdown(self) -> None:
        self.assertEqual(markdown_table([["a|b", 5], ["c", 1000]], ["x", "bytes"]), "\n".join([
            "| x    | bytes |",
            "|------|------:|",
            "| a\\|b |     5 |",
            "| c    |  1000 |"]))

    def test_no_rows(self) -> None:
        self.assertEqual(table([], ["a", "bb"]), "a  bb\n-  --")
        self.assertEqual(markdown_table([], ["a", "bb"]), "| a   | bb  |\n|-----|-----|")
        long, *_, short = markdown_table([["x" * 1000], ["x"]], ["a"]).splitlines()[-2:]
        self.assertEqual((len(long), len(short)), (1004, WIDEST + 4))

    def test_ragged_rows_are_a_mistake(self) -> None:
        for rows in ([[1]], [[1, 2, 3]], [[1, 2], [1]]):
            with self.assertRaises((ValueError, IndexError)):
                table(rows, ["a", "b"])
        with self.assertRaises(ValueError):
            table([[1, 2]], ["a", "b"], "l")


class Texts(unittest.TestCase):
    def test_size(self) -> None:
        for size, text in [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (1_056_540, "1.1 MB"), (999_960, "1.0 MB"),
                           (7e9, "7.0 GB"), (7e12, "7000.0 GB")]:
            self.assertEqual(size_text(size), text)

    def test_time(self) -> None:
        for seconds, text in [(0, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (185, "3:05"), (3600, "1:00:00"),
                              (36_065, "10:01:05")]:
            self.assertEqual(time_text(seconds), text)


class ProgressLine(unittest.TestCase):
    def test_log(self) -> None:
        """Not a terminal: a line every ten seconds, and one at the end."""
        stream, clock = io.StringIO(), Clock()
        with Progress("search", 100, "sets", stream, clock) as progress:
            for _ in range(25):
                clock.now += 1
                progress.add(2)
        self.assertEqual(stream.getvalue().splitlines(), [
            "search:  20%  20 sets of 100 sets  2 sets/s  40 s left",
            "search:  40%  40 sets of 100 sets  2 sets/s  30 s left",
            "search:  50%  50 sets of 100 sets  2 sets/s  in 25 s"])

    def test_terminal(self) -> None:
        """A terminal: one line that is drawn again, ten times a second at most, and ended once."""
        stream, clock = Tty(), Clock()
        with mock.patch.dict(os.environ, {"TERM": "xterm"}):
            progress = Progress("get", 1000, "B", stream, clock)
            for _ in range(100):
                clock.now += 0.01
                progress.add(5, "half")
            progress.close()
            progress.close()
        self.assertLessEqual(stream.getvalue().count("\r"), 11)
        self.assertEqual(stream.getvalue().count("\n"), 1)
        self.assertTrue(stream.getvalue().endswith(
            "\r\x1b[Kget: [##########..........]   50%  500 B of 1.0 KB  500 B/s  in 1 s  half\n"))

    def test_failure(self) -> None:
        """A log then has the error's line alone; on a terminal it comes below the progress."""
        for stream, expected in ((io.StringIO(), ""), (Tty(), "\n")):
            with mock.patch.dict(os.environ, {"TERM": "xterm"}), self.assertRaises(ValueError):
                with Progress("x", 10, stream=stream, clock=Clock()):
                    raise ValueError
            self.assertEqual(stream.getvalue(), expected)

    def test_unknown_total_and_no_time(self) -> None:
        stream = io.StringIO()
        clock = Clock()
        with Progress("count", stream=stream, clock=clock) as progress:
            progress.update(1234)
        self.assertEqual(stream.getvalue(), "count: 1,234\n")
        self.assertEqual(Progress("x", 0, stream=stream, clock=clock).line(), "x: 0")

    def test_more_than_the_total(self) -> None:
        clock = Clock()
        progress = Progress("x", 10, stream=io.StringIO(), clock=clock)
        clock.now += 1
        progress.update(20)
        self.assertEqual(progress.line(), "x: 100%  20 of 10  20/s  0 s left")

    def test_long_lines_are_cut_on_a_terminal(self) -> None:
        stream = Tty()
        with mock.patch.dict(os.environ, {"TERM": "xterm"}), Progress("x" * 200, stream=stream, clock=Clock()):
            pass
        self.assertEqual(len(stream.getvalue()), len("\r\x1b[K") + 79 + len("\n"))


class Parser(unittest.TestCase):
    def test_help_is_the_docstring(self) -> None:
        parser = argument_parser("Do it. 100 %\n\n    llama512 do it    an example\n")
        text = parser.format_help()
        self.assertIn("\nDo it. 100 %\n", text)
        self.assertTrue(text.endswith("\n    llama512 do it    an example\n"))
        self.assertTrue(parser.prog.startswith("llama512 "))
        argument_parser(None).format_help()


if __name__ == "__main__":
    main()
