"""The density study's rows as table, Markdown, CSV, JSON, picture and page.

    from common.density import report
    report.table_of(rows), report.markdown_of(rows), report.csv_of(rows), report.picture_of(rows)
    rows = report.rows_of(report.csv_of(rows))             # and back: the committed result
"""

from __future__ import annotations

import csv
import io
from dataclasses import fields
from typing import Iterable, Sequence

from common.density.study import EQUAL, Row
from common.picture.density import density_svg
from common.terminal import markdown_table, paint, table

COLUMNS = [field.name for field in fields(Row)]
NUMBERS = {"bytes", "header", "constants", "code", "padding", "instructions", "instruction_bytes", "two_byte",
           "loop_instructions", "loop_bytes", "libgcc"}


def csv_of(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(row, name) for name in COLUMNS] for row in rows)
    return text.getvalue()


def rows_of(text: str) -> list[Row]:
    """The rows of a CSV."""
    return [Row(**{name: (int(value) if value else None) if name in NUMBERS else value for name, value in line.items()})
            for line in csv.DictReader(io.StringIO(text))]


def ordered(rows: Iterable[Row]) -> list[Row]:
    """Smallest first; then those without a size."""
    return sorted(rows, key=lambda row: (row.bytes is None, row.bytes or 0, row.code_name, row.compiler, row.level))


def sets(rows: Iterable[Row]) -> list[list[Row]]:
    """The rows of each instruction set, smallest first."""
    groups: dict[str, list[Row]] = {}
    for row in ordered(rows):
        groups.setdefault(row.code_name, []).append(row)
    return list(groups.values())


def each(row: Row) -> str:
    """Bytes of an instruction, on average."""
    return f"{row.instruction_bytes / row.instructions:.2f}" if row.instructions and row.instruction_bytes else ""


def loop(row: Row) -> str:
    """matmul's inner loop: instructions, bytes."""
    return f"{row.loop_instructions} / {row.loop_bytes}" if row.loop_instructions else ""


def table_of(rows: Sequence[Row]) -> str:
    """Every program, for people."""
    lines = [[row.code_name, row.compiler, row.level, row.bytes, row.header, row.constants, row.code, row.instructions, each(row),
              loop(row), row.libgcc or "", row.text if row.right else paint(row.text[:90], "yellow" if row.missing else "red")]
             for row in ordered(rows)]
    return table(lines, ["instruction set", "compiler", "", "bytes", "header", "constants", "code", "instructions", "bytes each",
                         "inner loop", "libgcc", "text"], "lllrrrrrrrrl")


def markdown_of(rows: Sequence[Row]) -> str:
    """A line for each instruction set: all its sizes, and more of its smallest program."""
    compilers = sorted({(row.compiler.split()[0], row.level) for row in rows if row.bytes}, key=lambda pair: (pair[0] == "clang", pair))
    lines = []
    for group in sets(rows):
        best = group[0]
        sizes = {(row.compiler.split()[0], row.level): row for row in group}
        cells = [cell(sizes[pair]) if pair in sizes else "" for pair in compilers]
        if best.bytes is None:
            lines.append([best.code_name, *cells, *[""] * 8, best.text])
            continue
        share = f"{100 * (best.two_byte or 0) / (best.instructions or 1):.0f} %" if best.two_byte else ""
        lines.append([best.code_name, *cells, best.header, best.constants, best.code, best.instructions, each(best), share,
                      loop(best), best.libgcc or "", best.text])
    return markdown_table(lines, ["instruction set", *(f"{name} {level}" for name, level in compilers), "header", "constants",
                                  "code", "instructions", "bytes each", "of 2 bytes", "inner loop", "libgcc", "text"],
                          "l" + "r" * (len(compilers) + 8) + "l")


def cell(row: Row) -> str:
    """A size, and whether it may count."""
    if row.bytes is None:
        return "" if row.missing else "fails"
    return str(row.bytes) if row.right else f"{row.bytes} (wrong)"


def versions(rows: Iterable[Row]) -> str:
    """The compilers, for the page."""
    return ", ".join(sorted({row.compiler for row in rows if row.bytes}))


def picture_of(rows: Sequence[Row]) -> str:
    """The smallest right program of each instruction set."""
    best = [group[0] for group in sets(row for row in rows if row.right)]
    return density_svg([(row.code_name, f"{row.compiler} {row.level}",
                         {"header": row.header or 0, "constants": (row.constants or 0), "code": (row.code or 0) + (row.padding or 0)})
                        for row in best])


def page_block(rows: Sequence[Row]) -> str:
    """What the page says of all programs."""
    reasons: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.missing:
            reasons.setdefault(row.code_name, {})[row.text.partition(": ")[2]] = None
    lacking = [f"{name} ({', '.join(found)})" for name, found in reasons.items()]
    right = sum(row.text == EQUAL for row in rows)
    names = len({row.code_name for row in rows if row.right})
    said = f"{right} programs for {names} instruction sets, by {versions(rows)}; each one says what the reference says."
    return "\n".join([said, "", markdown_of([row for row in rows if not row.missing]), "",
                      f"Missing: {', '.join(lacking)}." if lacking else "Missing: nothing.", ""])
