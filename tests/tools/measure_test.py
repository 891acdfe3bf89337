"""common/size/measure.py: when a budget binds."""

from __future__ import annotations

import os
from dataclasses import replace
from unittest import mock

from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main

from common.engine import engines
from common.machine import here
from common.model import random_model
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
        self.assertEqual(model.checkpoint.stat().st_size, 28 + 4 * sum(values.size for values in small_checkpoint().tensors.values())
                         + 2 * 6 * 4)

    def test_what_is_kept(self) -> None:
        """A shape of the budgets is built once, a model of the caller's leaves nothing; nor does anything where it cannot."""
        shape = replace(engines.budget_shape(), config=small_checkpoint().config)
        model = random_model.write(self.folder / "mine", "m", small_checkpoint())
        engine, stamps = here.choose(None, to_run=False)[0], []
        with mock.patch.object(measure, "ROOT", self.folder / "project"):
            measure.ROOT.mkdir()
            for given in (model, None):
                with mock.patch.object(os, "access", lambda *_: False), measure.workshop(given, shape) as build:
                    build(engine)
                with measure.workshop(model, shape) as build:
                    build(engine)
                self.assertEqual(list(measure.ROOT.iterdir()), [])
            for flags in (None, None, ["-O1"], None):
                with measure.workshop(None, shape) as build:
                    stamps.append(build(engine, flags=flags).program.stat().st_mtime_ns)
        self.assertEqual((stamps[0], stamps[0]), (stamps[1], stamps[3]))
        self.assertNotEqual(stamps[0], stamps[2])


if __name__ == "__main__":
    main()
