"""common/size/moves.py: what a change moved is said shortly, and all sizes can be told from the rows."""

from __future__ import annotations

import random
import unittest

from repository import use_shapes
from support.skip import main

from common.size import moves
from common.size.changes import Change


def told(*sizes: dict[str, int]) -> list[Change]:
    """Changes one after the other."""
    return [Change(None, str(number), now, before) for number, (now, before) in enumerate(zip(sizes, ({}, *sizes)))]


class Moves(unittest.TestCase):
    def setUp(self) -> None:
        use_shapes(self, "m", "n")

    def test_words(self) -> None:
        said = moves.of(told({"a": 100, "a n": 120, "b": 50}, {"a": 90, "a n": 120, "b": 50, "b n": 60},
                              {"a": 90, "a n": 120, "b": 50}, {"b": 50}, {"b": 50}))
        self.assertEqual(said, [{"a": "new 100 / 120", "b": "new 50"}, {"a": "100 → 90 (-10) / 120", "b": "50 / new 60"},
                                {"b": "50 / gone"}, {"a": "gone"}, {}])
        self.assertEqual(moves.of(told({"a n": 1}))[0], {"a": "new – / 1"})

    def test_branches(self) -> None:
        """Two branches, told by date, and the merge: each compared with its parent, and told after another one."""
        base, main_branch, side = {"a": 100, "b": 50}, {"a": 100, "b": 49}, {"a": 90, "b": 50, "c": 7}
        merged = {"a": 90, "b": 49, "c": 7}
        changes = [Change(None, "", base, {}), Change(None, "", side, base), Change(None, "", main_branch, base),
                   Change(None, "", merged, main_branch)]
        said = moves.of(changes)
        self.assertEqual(said[2:], [{"a": "100", "b": "50 → 49 (-1)", "c": "not there"},
                                    {"a": "100 → 90 (-10)", "c": "new 7"}])
        self.check(changes)

    def test_after_one_that_does_not_build(self) -> None:
        changes = [Change(None, "", {"a": 5}, {}), Change(None, "", {}, {"a": 5}, "x"), Change(None, "", {"a": 5}, {"a": 5}),
                   Change(None, "", {"a": 4}, {"a": 5})]
        self.assertEqual(moves.of(changes), [{"a": "new 5"}, {}, {}, {"a": "5 → 4 (-1)"}])
        self.check(changes)

    def test_all_sizes_can_be_told(self) -> None:
        dice = random.Random(512)
        for _ in range(100):
            states: list[dict[str, int]] = [{}]
            changes = []
            for _ in range(12):
                before = dice.choice(states)
                now = {label: dice.randrange(300, 303) for label in ("a", "a n", "b", "b n", "c") if dice.random() < 0.8}
                changes.append(Change(None, "", now, before))
                states.append(now)
            self.check(changes)

    def check(self, changes: list[Change]) -> None:
        above: dict[str, int] = {}
        for change, said in zip(changes, moves.of(changes)):
            if change.sizes:
                above = moves.after(said, above)
                self.assertEqual(above, change.sizes)


if __name__ == "__main__":
    main()
