"""Whether a committed size_report.md is still right.

    from common.size import freshness, report
    freshness.differences(committed, report.text(today, changes), visible=True, lost=[])    # the sections that are stale

A report calls the commit that it is part of "this commit". That is accepted, and that a rebase changes hashes, and
nothing else.
"""

from __future__ import annotations

import re
from typing import Mapping, Sequence

from common.size import moves
from common.size.changes import THIS_COMMIT
from common.size.report import CHANGES, DELTA, NEXT_ENGINE, TODAY


def differences(committed: str, fresh: str, visible: bool, lost: Sequence[Mapping[str, int]]) -> list[str]:
    """The sections that differ beyond what they may; "" is what stands before the first one.

    Visible: git's history is there; otherwise what needs it is not compared. Lost are the sizes of states that the
    record has and the history has not: the committed report may tell of them."""
    old, new = _sections(committed), _sections(fresh)
    stale = []
    for title in dict.fromkeys([*new, *old]):
        if title not in old or title not in new or not _equal(title, old[title], new[title], visible, lost):
            stale.append(title)
    return stale


def told_sizes(document: str) -> list[dict[str, int]]:
    """Counted bytes by label of each change that a report tells of."""
    return _told_sizes(_sections(document).get(CHANGES, []))


def _sections(document: str) -> dict[str, list[str]]:
    """The lines of each `## ` section by its title."""
    found: dict[str, list[str]] = {"": []}
    title = ""
    for line in document.splitlines():
        if line.startswith("## "):
            title = line[3:]
        found.setdefault(title, []).append(line)
    return found


def _equal(title: str, old: list[str], new: list[str], visible: bool, lost: Sequence[Mapping[str, int]]) -> bool:
    if title == CHANGES:
        if not visible:
            return True
        return _tells(old, new, lost) if lost else _change_lines(old, old) == _change_lines(new, old)
    if title == TODAY and (not visible or lost):
        return _without_delta(old) == _without_delta(new)
    return old == new


def _tells(old: list[str], new: list[str], lost: Sequence[Mapping[str, int]]) -> bool:
    """Whether a committed list has every change of the history in its order, and besides them only lost states."""
    told = _told_sizes(old)
    for wanted in _told_sizes(new):
        while told and told[0] != wanted:
            if told.pop(0) not in lost:
                return False
        if not told:
            return False
        told.pop(0)
    return all(sizes in lost for sizes in told)


def _told_sizes(lines: list[str]) -> list[dict[str, int]]:
    """Of each change in the report's table: counted bytes by label; none of one that does not build."""
    found: list[dict[str, int]] = []
    above: dict[str, int] = {}
    for row in map(cells, lines):
        if row and len(row) > BYTES and row[0].isdigit():
            said = dict(re.findall(r"^`([^`]+)` (.*)$", row[BYTES].replace(NEXT_ENGINE, "\n"), re.MULTILINE))
            found.append(moves.after(said, above) if row[BYTES] else {})
            above = found[-1] or above
    return found


def cells(line: str) -> list[str] | None:
    """The cells of a table's line; None for another line. The line of dashes below the headers has empty cells."""
    if not line.startswith("|"):
        return None
    return ["" if re.fullmatch(r"-+:?", cell.strip()) else cell.strip()
            for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


COMMIT, DATE, SUBJECT, BYTES = 1, 2, 3, 4  # columns of the table of changes


def _change_lines(lines: list[str], committed: list[str]) -> list[object]:
    """The changes without commit hashes; without the last row's date and subject where the committed one has none yet."""
    rows: list[list[str]] = [row for row in map(cells, committed) if row]
    unnamed = bool(rows) and len(rows[-1]) > SUBJECT and rows[-1][COMMIT] == THIS_COMMIT
    found: list[object] = []
    last = max((number for number, line in enumerate(lines) if cells(line)), default=-1)
    for number, line in enumerate(lines):
        row = cells(line)
        if row is None or len(row) <= SUBJECT:
            found.append(line)
            continue
        if row[0].isdigit():
            # Only the last change may be without a name.
            row[COMMIT] = THIS_COMMIT if row[COMMIT] == THIS_COMMIT and number != last else ""
            if number == last and unnamed:
                row[DATE] = row[SUBJECT] = ""
        found.append(row)
    return found


def _without_delta(lines: list[str]) -> list[object]:
    """Today's lines, the tables without their columns Δ."""
    found: list[object] = []
    headers: list[str] = []
    for line in lines:
        row = cells(line)
        headers = [] if row is None else headers or row
        found.append(line if row is None else [cell for cell, header in zip(row, headers) if header != DELTA])
    return found
