"""common/picture/groups.py: every engine is in one group, in the table's order."""

from __future__ import annotations

import unittest

from support.skip import main

from common.engine import engines
from common.picture.groups import GONE, by_target, targets


class Groups(unittest.TestCase):
    def test_order_is_that_of_the_table(self) -> None:
        table = {"b": "x", "c": "y", "a": "x"}
        self.assertEqual(by_target("abc", table), {"x": ["b", "a"], "y": ["c"]})
        self.assertEqual(list(by_target("cba", table)), ["x", "y"])
        self.assertEqual(by_target("c", table), {"y": ["c"]})
        self.assertEqual(by_target("", table), {})

    def test_gone(self) -> None:
        found = by_target(["z", "b", "q"], {"b": "x"})
        self.assertEqual((found, list(found)[-1]), ({"x": ["b"], GONE: ["q", "z"]}, GONE))

    def test_of_today(self) -> None:
        self.assertEqual(list(targets()), engines.names())
        self.assertEqual({name for group in by_target(targets(), targets()).values() for name in group},
                         set(engines.names()))


if __name__ == "__main__":
    main()
