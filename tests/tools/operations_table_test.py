"""common/picture/operations_table.py: it fits, however many engines there are, and its legend says what there is."""

from __future__ import annotations

import unittest

from support.skip import main

from common.anatomy.explain import OPERATIONS
from common.picture.operations_table import text
from common.picture.style import styles

COLUMNS = {f"asm-some-target-x86_64-{number}": {name: 100 + number for name in OPERATIONS} for number in range(15)}


class Table(unittest.TestCase):
    def test_fifteen_engines_fit(self) -> None:
        for markdown in (False, True):
            said = text(COLUMNS, markdown)
            self.assertLessEqual(max(map(len, said.splitlines())), 132)
            self.assertEqual(len(said.partition("\n\n")[0].splitlines()), 2 + 15)

    def test_numbers(self) -> None:
        said = text({"a": {"header": 12, "matmul": 90, "rope": 0}, "b": {"matmul": 1000}}, markdown=False)
        self.assertEqual(said.splitlines(), ["engine  bytes  HD    MM", "------  -----  --  ----", "a         102  12    90",
                                             "b        1000      1000", "", "HD headers and boot, MM matmul."])
        said = text({"a": {"header": 12, "matmul": 90}, "b": {"matmul": 1000}}, markdown=True)
        self.assertIn("| `a`    |   102 |  12 |   90 |\n", said)

    def test_legend(self) -> None:
        legend = text(COLUMNS, False).partition("\n\n")[2]
        self.assertEqual([entry.strip(" .\n") for entry in legend.split(",")],
                         [f"{styles()[name].code} {operation.title}" for name, operation in OPERATIONS.items()])


if __name__ == "__main__":
    main()
