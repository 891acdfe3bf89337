"""Sizes before and after.

    from common.size import compare
    for difference in compare.compare([("asm-boot", "fables", 424)], [("asm-boot", "fables", 412)]):
        difference.engine, difference.delta, difference.mark        # asm-boot, -12, "▼ smaller"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence


@dataclass(frozen=True)
class Difference:
    """An engine before and after; None: it is not there."""

    engine: str
    model: str
    before: int | None
    after: int | None

    @property
    def delta(self) -> int | None:
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def grew(self) -> bool:
        return (self.delta or 0) > 0

    @property
    def mark(self) -> str:
        """In words and signs: better, worse."""
        if self.before is None:
            return "new"
        if self.after is None:
            return "gone"
        return "▲ larger" if self.grew else "▼ smaller" if self.delta else "= same"


def compare(before: Sequence[tuple[str, str, int]], after: Sequence[tuple[str, str, int]]) -> list[Difference]:
    """Of (engine, model, bytes): what is now first, then what is gone."""
    old = {(engine, model): size for engine, model, size in before}
    new = {(engine, model): size for engine, model, size in after}
    return [Difference(*key, old.get(key), new.get(key)) for key in [*new, *(key for key in old if key not in new)]]


def signed(delta: int | None) -> str:
    """`+12`, `-3`, `0`; empty where there is nothing to compare."""
    return "" if delta is None else f"{delta:+d}" if delta else "0"
