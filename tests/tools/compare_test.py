"""common/size/compare.py: before and after."""

from __future__ import annotations

import unittest

from support.skip import main

from common.size import compare
from common.size.compare import Difference


class Compare(unittest.TestCase):
    def test_changes(self) -> None:
        found = compare.compare([("same", "m", 1), ("smaller", "m", 5), ("larger", "m", 5), ("gone", "m", 7)],
                                [("new", "m", 9), ("larger", "m", 6), ("smaller", "m", 3), ("same", "m", 1)])
        self.assertEqual([(each.engine, each.before, each.after, each.delta, each.mark, each.grew)
                          for each in found],
                         [("new", None, 9, None, "new", False), ("larger", 5, 6, 1, "▲ larger", True),
                          ("smaller", 5, 3, -2, "▼ smaller", False), ("same", 1, 1, 0, "= same", False),
                          ("gone", 7, None, None, "gone", False)])

    def test_of_other_models_nothing_is_compared(self) -> None:
        self.assertEqual(compare.compare([("e", "a", 1)], [("e", "b", 2)]),
                         [Difference("e", "b", None, 2), Difference("e", "a", 1, None)])

    def test_signed(self) -> None:
        self.assertEqual([compare.signed(value) for value in (12, -3, 0, None)], ["+12", "-3", "0", ""])


if __name__ == "__main__":
    main()
