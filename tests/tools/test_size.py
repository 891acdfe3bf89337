"""tools/size.py: budgets bind with their own compiler alone, and the three forms of the answer."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest import mock

import support
from support import FolderTest, run_tool, small_checkpoint

import size

from common import builds, engines, random_model
from common.builds import Built
from common.engines import Engine

ENGINE = Engine("e", "cpp", "golf/e.cpp", "t", "stream", ("f32",), 700, "g++ 12.2.0")


def built(counted: int, compiler: str = "g++ 12.2.0") -> Built:
    return Built(ENGINE, "m", "f32", Path("p"), Path("p.build"), compiler, ("-Oz",), True, counted, 12345)


class Budget(FolderTest):
    def test_over(self) -> None:
        for result, over in [(built(700), False), (built(701), True), (built(701, "g++ 13.2.0"), False)]:
            self.assertEqual(size.over_budget(result), over)
        self.assertEqual(size.remark(built(700)), "ok")
        self.assertEqual(size.remark(built(701)), "over budget")
        self.assertEqual(size.remark(built(701, "g++ 13.2.0")), "budget is for g++ 12.2.0: not binding")

    def test_row(self) -> None:
        self.assertEqual(size.row(built(701), True), {
            "engine": "e", "model": "m", "bytes": 701, "budget": 700, "packed": 12345, "compiler": "g++ 12.2.0",
            "searched_flags": True, "binding": True, "ok": False})
        # A model of the user's own is not held to the budget.
        own = size.row(built(701), False)
        self.assertEqual((own["binding"], own["ok"]), (False, True))

    def run_main(self, *arguments: str, results: list[Built]) -> tuple[int, str]:
        with mock.patch.object(sys, "argv", ["size.py", *arguments]), \
                mock.patch.object(size.engines, "select", lambda names: [ENGINE] * len(results)), \
                mock.patch.object(size, "budget_model", lambda folder: None), \
                mock.patch.object(size.builds, "build", mock.Mock(side_effect=results)), \
                contextlib.redirect_stdout(io.StringIO()) as said:
            return size.main(), said.getvalue()

    def test_status(self) -> None:
        self.assertEqual(self.run_main(results=[built(1), built(700)])[0], 0)
        self.assertEqual(self.run_main(results=[built(1), built(701)])[0], 1)
        self.assertEqual(self.run_main("--json", results=[built(701), built(1)])[0], 1)
        self.assertEqual(self.run_main("--json", results=[built(701, "g++ 14.1.0")])[0], 0)

    def test_forms(self) -> None:
        rows = json.loads(self.run_main("--json", results=[built(650)])[1])
        self.assertEqual([(row["engine"], row["bytes"], row["budget"]) for row in rows], [("e", 650, 700)])
        self.assertIn("| e      | m     |   650 |    700 |       50 |", self.run_main("--markdown", results=[built(650)])[1])
        self.assertIn("ok", self.run_main(results=[built(650)])[1])

    def test_budget_model(self) -> None:
        shape = replace(engines.budget_shape(), config=small_checkpoint().config, longest_piece=9)
        with mock.patch.object(size.engines, "budget_shape", lambda: shape):
            model = size.budget_model(self.folder)
        self.assertEqual(model.name, shape.name)
        self.assertEqual(model.checkpoint.stat().st_size, 28 + 4 * sum(map(len, small_checkpoint().tensors.values()))
                         + 2 * 6 * 4)


class Tool(FolderTest):
    def test_own_model(self) -> None:
        model = random_model.write(self.folder, "mine", small_checkpoint())
        result = run_tool("size", "--model", model.checkpoint, "--engine", engines.names()[0], "--json")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        (row,) = json.loads(result.stdout)
        again = builds.build(engines.table()[0], model, self.folder / "engines")
        self.assertEqual((row["engine"], row["model"], row["bytes"], row["packed"]),
                         (engines.names()[0], "mine", again.counted, again.packed))
        # Counted twice from the file: all but weights and records.
        self.assertEqual(again.counted, again.program.stat().st_size - again.packed)

    def test_usage(self) -> None:
        self.assertEqual(run_tool("size", "--json", "--markdown").returncode, 2)
        result = run_tool("size", "--engine", "none")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertRegex(result.stderr, r"^llama512 size: error: engine 'none': not in golf/engines.json, known are .*\n$")


if __name__ == "__main__":
    support.main()
