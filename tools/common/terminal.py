"""What the tools show: a command line in the project's style, colours, tables and progress.

    from common.terminal import Progress, argument_parser, paint, table
    parser = argument_parser(__doc__)                       # description, and examples as the epilog
    print(table([["cpp-linux-i386", 612]], ["engine", "bytes"]))
    with Progress("pack", total=2048, unit="B") as progress:
        progress.add(1024)

Colour appears only on a terminal, and never when NO_COLOR is set (https://no-color.org) or TERM is dumb.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from typing import Any, Callable, Sequence, TextIO

from common.errors import tool_name

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
WIDEST = 110  # column of a Markdown table
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def argument_parser(doc: str | None, **options: Any) -> argparse.ArgumentParser:
    """A parser whose help is the tool's docstring: its first line, the options, then the rest with the examples."""
    first, _, rest = (doc or "").strip().partition("\n")
    return argparse.ArgumentParser(prog=tool_name(), description=first, epilog=rest.strip("\n"),
                                   formatter_class=argparse.RawDescriptionHelpFormatter, **options)


def add_engines_option(parser: argparse.ArgumentParser) -> None:
    """--engine, for engines.select()."""
    parser.add_argument("--engine", action="append", metavar="NAME", help="an engine; may be repeated (default: all)")


def add_model_options(parser: argparse.ArgumentParser, purpose: str = "the model (default: the project's own)") -> None:
    """-m and --tokenizer, for models.find_model()."""
    parser.add_argument("-m", "--model", metavar="NAME|PATH", help=purpose)
    parser.add_argument("--tokenizer", metavar="PATH", help="its tokenizer (default: beside the model)")


def use_colour(stream: TextIO) -> bool:
    """Whether escape sequences may go to this stream."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """The text in a style of STYLES where the stream (stdout when not given) shows colours; otherwise just the text."""
    if not use_colour(stream or sys.stdout):
        return text
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def table(rows: Sequence[Sequence[Any]], headers: Sequence[str], align: str | None = None) -> str:
    """An aligned table as text, without a final newline. `align` has a letter per column, "l" or "r"; by default a
    column of numbers is aligned right. None is an empty cell. Cells may hold colours."""
    cells, sides = _cells(rows, headers, align)
    widths = [max(map(_width, column)) for column in zip(*cells)]
    lines = ["  ".join(_pad(*cell) for cell in zip(line, widths, sides)).rstrip() for line in cells]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def markdown_table(rows: Sequence[Sequence[Any]], headers: Sequence[str], align: str | None = None) -> str:
    """The same table as Markdown, aligned to be readable as text, too; a very long cell only makes its own line long."""
    cells, sides = _cells(rows, headers, align)
    cells = [[ESCAPE.sub("", cell).replace("|", "\\|") for cell in line] for line in cells]
    widths = [min(max(3, *map(len, column)), WIDEST) for column in zip(*cells)]
    lines = ["| " + " | ".join(_pad(*cell) for cell in zip(line, widths, sides)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 1) + (":" if side == "r" else "-")
                                   for width, side in zip(widths, sides)) + "|")
    return "\n".join(lines)


def _cells(rows: Sequence[Sequence[Any]], headers: Sequence[str], align: str | None) -> tuple[list[list[str]], str]:
    """Every cell as text, headers first, and each column's side."""
    if align is None:
        align = "".join("r" if _is_numeric([row[column] for row in rows]) else "l" for column in range(len(headers)))
    if any(len(row) != len(headers) for row in rows) or len(align) != len(headers):
        raise ValueError("every row, and align, must have as many columns as the headers")
    return [list(headers), *(["" if cell is None else str(cell) for cell in row] for row in rows)], align


def _is_numeric(column: Sequence[Any]) -> bool:
    """Whether a column holds numbers: int, float or their text (`612`, `1,189`, `+12`, `3.1`), with gaps allowed."""
    texts = [ESCAPE.sub("", str(cell)) for cell in column if cell not in (None, "", "-")]
    return bool(texts) and all(re.fullmatch(r"[-+−]?[\d,]+(\.\d+)?%?", text) for text in texts)


def _width(text: str) -> int:
    return len(ESCAPE.sub("", text))


def _pad(text: str, width: int, side: str) -> str:
    space = " " * (width - _width(text))
    return space + text if side == "r" else text + space


def size_text(size: float) -> str:
    """A number of bytes for people: `512 B`, `1.1 MB` (powers of 1000)."""
    for unit in ("B", "KB", "MB"):
        if size < 999.95:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def time_text(seconds: float) -> str:
    """A duration for people: `42 s`, `3:05`, `1:00:00`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = f"{whole // 60 % 60}:{whole % 60:02}"
    return minutes if whole < 3600 else f"{whole // 3600}:{minutes.zfill(5)}"


class Progress:
    """One line on stderr: what is done, how fast, and how long it will take.

    On a terminal the line is drawn again at most ten times a second. Elsewhere (a log) a line is printed every
    ten seconds, and one at the end. `total` may be None when it is not known; unit "B" shows bytes as KB and MB.
    """

    def __init__(self, label: str, total: float | None = None, unit: str = "", stream: TextIO | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.label, self.total, self.unit, self.clock = label, total, unit, clock
        self.stream: TextIO = stream or sys.stderr
        self.tty = self.stream.isatty() and os.environ.get("TERM") != "dumb"
        self.done: float = 0
        self.note = ""  # shown at the end of the line, for example the best result so far
        self.start = self.drawn = clock()
        self.closed = False

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if error is None:
            self.close()
        elif self.tty:
            self.stream.write("\n")  # the message comes below the line

    def add(self, amount: float = 1, note: str | None = None) -> None:
        """So much more is done."""
        self.update(self.done + amount, note)

    def update(self, done: float, note: str | None = None) -> None:
        """So much is done altogether."""
        self.done = done
        self.note = self.note if note is None else note
        now = self.clock()
        if now - self.drawn >= (0.1 if self.tty else 10):
            self.drawn = now
            self._show("")

    def close(self) -> None:
        """Shows the last state and ends the line."""
        if not self.closed:
            self.closed = True
            self._show("\n")

    def line(self) -> str:
        """The line as it is now."""
        elapsed = self.clock() - self.start
        parts = []
        if self.total:
            share = min(self.done / self.total, 1)
            if self.tty:
                parts.append("[" + ("#" * int(20 * share)).ljust(20, ".") + "]")
            parts += [f"{int(100 * share):3}%", f"{self._amount(self.done)} of {self._amount(self.total)}"]
        else:
            parts.append(self._amount(self.done))
        if elapsed > 0 and self.done > 0:
            parts.append(f"{self._amount(self.done / elapsed)}/s")
            if self.closed:
                parts.append(f"in {time_text(elapsed)}")
            elif self.total:
                parts.append(f"{time_text(max(self.total - self.done, 0) * elapsed / self.done)} left")
        return f"{self.label}: " + "  ".join([*parts, self.note] if self.note else parts)

    def _amount(self, value: float) -> str:
        if self.unit == "B":
            return size_text(value)
        number = f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.1f}"
        return f"{number} {self.unit}".rstrip()

    def _show(self, end: str) -> None:
        # "\r" returns to the line's start, "ESC [K" clears what an earlier, longer line left.
        if self.tty:
            width = _terminal_width(self.stream) - 1
            self.stream.write(f"\r\x1b[K{self.line()[:width]}{end}")
        else:
            self.stream.write(f"{self.line()}\n")
        self.stream.flush()


def _terminal_width(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
