"""golf/sizes/record.csv, the committed record: what every state of the engines weighed.

    from common.size import record
    rows = record.read(ROOT / RECORD)
    rows = record.add(rows, record.measured(key, states.measure("HEAD")))
    record.write(ROOT / RECORD, rows)

A row is one engine made from one state of the inputs (the key of common/size/states.py) by one toolchain for one shape;
numbers are bytes. A state that does not build has one row, without an engine and with the first error; so has a shape
for which a state does not build. New rows go to the end, and git merges the file as a union of lines, so that two
branches can both add theirs. Rows of old name no shape.
"""

from __future__ import annotations

import csv
import io
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Collection, Iterable, Mapping, Sequence

from common.errors import UserError, atomic_write
from common.size.states import KEY_DIGITS

RECORD = "golf/sizes/record.csv"  # from the project's folder
OLD_SHAPE = "stories260K"  # of rows that name none


@dataclass(frozen=True)
class Row:
    """A line of the record."""

    inputs: str  # the key's first digits
    engine: str  # empty: the state does not build
    bytes: int | None
    header: int | None  # the parts of `bytes`; commits before `size --json` told them have none
    code: int | None
    data: int | None
    packed: int | None  # bytes of the packed model
    toolchain: str
    problem: str = ""
    shape: str = OLD_SHAPE  # empty: no shape's engines build

    @property
    def name(self) -> tuple[str, str, str, str]:
        """What there is one row of."""
        return self.inputs, self.engine, self.shape, self.toolchain

    @property
    def toolchains(self) -> set[str]:
        """All that made it; of an engine it is one."""
        return set(self.toolchain.split(", "))

    def is_by(self, toolchains: Collection[str]) -> bool:
        """Whether it says what these toolchains do. A state that some of them do not build, all of them do not build:
        so a failure counts also when there are more toolchains than there were then."""
        return self.toolchains <= set(toolchains)


COLUMNS = tuple(field.name for field in fields(Row))
NUMBERS = ("bytes", "header", "code", "data", "packed")


def measured(key: str, sizes: Sequence[Mapping[str, object]]) -> list[Row]:
    """The rows of what states.measure() said."""
    return [Row(key[:KEY_DIGITS], str(size["engine"]), *(_number(size.get(name)) for name in NUMBERS),
                str(size["compiler"]), str(size.get("problem", "")), str(size["model"])) for size in sizes]


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def failed(key: str, toolchains: str, problem: str) -> Row:
    """The row of a state that does not build."""
    return Row(key[:KEY_DIGITS], "", None, None, None, None, None, toolchains, problem, "")


def parse(text: str, source: object) -> list[Row]:
    """The rows of a record; `source` is its name for messages."""
    found: dict[tuple[str, str, str], Row] = {}
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for cells in reader:
            place = f"{source}: line {reader.line_num}"
            if cells in ([], list(COLUMNS), list(COLUMNS[:-1])):
                continue  # the header, which a merge may have doubled
            if len(cells) == len(COLUMNS) - 1:
                cells.append(OLD_SHAPE if cells[COLUMNS.index("engine")] else "")
            if len(cells) != len(COLUMNS):
                raise UserError(f"{place}: {len(cells)} cells instead of {len(COLUMNS)}; after a merge conflict keep "
                                "the rows of both sides, and run `tools/llama512 history`")
            values = {name: _cell(name, cell, place) for name, cell in zip(COLUMNS, cells)}
            row = Row(**values)  # type: ignore[arg-type]
            found[row.name] = _unite(found.get(row.name), row, place)
    except csv.Error as error:
        raise UserError(f"{source}: line {reader.line_num}: {error}; restore the file from git, and run "
                        "`tools/llama512 history`") from error
    return _settle(found.values())


def _cell(column: str, cell: str, place: str) -> object:
    if column not in NUMBERS:
        return cell
    if cell and not (cell.isascii() and cell.isdigit()):
        raise UserError(f"{place}: {column}: {cell!r}, a whole number is needed; delete the line, and run "
                        "`tools/llama512 history`")
    return int(cell) if cell else None


def read(path: Path) -> list[Row]:
    """The rows of the file; none when there is no file yet."""
    try:
        return parse(path.read_text("utf-8"), path)
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {error}: no UTF-8; take the file from git, and run "
                        "`tools/llama512 history`") from error


def add(rows: Iterable[Row], new: Iterable[Row]) -> list[Row]:
    """The rows with the new ones at the end. A known row keeps its place, and learns header, code and data."""
    found = {row.name: row for row in rows}
    for row in new:
        found[row.name] = _unite(found.get(row.name), row, "new measurement")
    return _settle(found.values())


def _settle(rows: Collection[Row]) -> list[Row]:
    """That something was built outweighs that it once was not: without the problems of states that have sizes."""
    built = {(row.inputs, row.toolchain, shape) for row in rows if row.engine for shape in (row.shape, "")}
    return [row for row in rows
            if row.engine or not any((row.inputs, name, row.shape) in built for name in row.toolchains)]


def _unite(known: Row | None, new: Row, place: str) -> Row:
    """One row from two that must not contradict each other."""
    if known is None:
        return new
    if not known.engine:
        return known  # one error message is as good as another
    for column in ("bytes", "packed"):
        old, value = getattr(known, column), getattr(new, column)
        if old != value:
            raise UserError(f"{place}: {column}: {value} for {known.engine} made from {known.inputs} by "
                            f"{known.toolchain}, but the record also says {old}; delete the wrong line, and run "
                            "`tools/llama512 history`")
    # How bytes are told apart is the anatomy's business, and may become better: the newer row says it.
    return new if new.header is not None else known


def text(rows: Sequence[Row]) -> str:
    """The file's content."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(["" if cell is None else cell for cell in astuple(row)] for row in rows)
    return file.getvalue()


def write(path: Path, rows: Sequence[Row]) -> None:
    """Writes the file, unless it says just that already."""
    content = text(rows)
    if not path.is_file() or path.read_bytes() != content.encode():
        with atomic_write(path, "w") as file:
            file.write(content)
