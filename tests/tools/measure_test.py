"""common/size/measure.py: when a budget binds."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main

from common.engine import engines
from common.size import measure
from common.size.measure import Size

SIZE = Size("e", "m", bytes=400, budget=410, headroom=10, header=50, code=340, data=10, packed=12345, memory=23456,
            compiler="g++ 12.2.0", searched_flags=True, binding=True)


class Budget(FolderTest):
    def test_over(self) -> None:
        self.assertFalse(SIZE.over_budget)
        self.assertFalse(replace(SIZE, headroom=0).over_budget)
        self.assertTrue(replace(SIZE, headroom=-1).over_budget)
        # With another compiler or shape the budget does not bind.
        self.assertFalse(replace(SIZE, headroom=-1, binding=False).over_budget)

    def test_budget_model(self) -> None:
        shape = engines.budget_shape()
        with mock.patch.object(measure.engines, "budget_shape",
                               lambda: replace(shape, config=small_checkpoint().config, longest_piece=9)):
            model = measure.budget_model(self.folder)
        self.assertEqual(model.name, shape.name)
        self.assertEqual(model.checkpoint.stat().st_size, 28 + 4 * sum(map(len, small_checkpoint().tensors.values()))
                         + 2 * 6 * 4)


if __name__ == "__main__":
    main()
