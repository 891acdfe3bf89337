"""What a change moved, in words, and read from them again: the cells of the report.

    for change, said in zip(changes, moves.of(changes)):
        said["asm-boot"]                                # "424 → 412 (-12) / 432 → 420 (-12)": for each shape
    moves.after(said, above)                            # the sizes of all engines, from the row and those of the row above

A change names the engines that it moved, against its first parent. So that all sizes can be told from the rows, one
below the other, it also names engines whose bytes are not those of the row above, as where branches were merged.
"""

from __future__ import annotations

import re
from typing import Mapping, Sequence

from common.engine import engines
from common.size.changes import Change
from common.size.compare import signed

BETWEEN = " / "  # an engine's sizes for one shape and the next
NEW, GONE = "new", "gone"
ABSENT = "not there"  # and not at the parent either, but in the row above
NOTHING = "–"  # for a shape for which there was no size either


def of(changes: Sequence[Change]) -> list[dict[str, str]]:
    """What is said of each change: words by engine. Nothing of a change that does not build."""
    said = []
    above: Mapping[str, int] = {}
    for change in changes:
        said.append(_moves(change, above) if change.sizes else {})
        above = change.sizes or above
    return said


def _moves(change: Change, above: Mapping[str, int]) -> dict[str, str]:
    names = sorted({label.split()[0] for sizes in (change.sizes, change.before, above) for label in sizes})
    return {name: _words(name, change) for name in names
            if any(change.sizes.get(label) != old.get(label) for label in engines.labels(name)
                   for old in (change.before, above))}


def _words(engine: str, change: Change) -> str:
    """`424 → 412 (-12) / 432`, `new 424 / 432`, `gone`."""
    labels = engines.labels(engine)
    known = any(label in change.before for label in labels)
    if not any(label in change.sizes for label in labels):
        return GONE if known else ABSENT
    parts = [_part(change.before.get(label), change.sizes.get(label), known) for label in labels]
    while parts[-1] == NOTHING:
        parts.pop()
    return BETWEEN.join(parts) if known else f"{NEW} {BETWEEN.join(parts)}"


def _part(before: int | None, now: int | None, known: bool) -> str:
    """For one shape. An engine that is new, too, says so once, not here."""
    if now is None:
        return NOTHING if before is None else GONE
    if before is None:
        return f"{NEW} {now}" if known else str(now)
    return str(now) if before == now else f"{before} → {now} ({signed(now - before)})"


def after(said: Mapping[str, str], above: Mapping[str, int]) -> dict[str, int]:
    """Counted bytes by label behind a change, from what is said of it and the bytes of the row above."""
    sizes = dict(above)
    for engine, words in said.items():
        labels = engines.labels(engine)
        for label in labels:
            sizes.pop(label, None)
        for label, part in zip(labels, words.split(BETWEEN)):
            number = re.search(r"(\d+)( \([-+]\d+\))?$", part)
            if number:
                sizes[label] = int(number[1])
    return sizes
