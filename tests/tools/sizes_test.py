"""common/size/sizes.py: comparing, and the files that others read."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from unittest import mock

from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main

from common.engine import engines
from common.errors import UserError
from common.size import sizes
from common.size.sizes import Change, Price, Size

SIZE = Size("e", "m", bytes=400, budget=410, headroom=10, header=50, code=340, data=10, packed=12345,
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
        with mock.patch.object(sizes.engines, "budget_shape",
                                       lambda: replace(shape, config=small_checkpoint().config, longest_piece=9)):
            model = sizes.budget_model(self.folder)
        self.assertEqual(model.name, shape.name)
        self.assertEqual(model.checkpoint.stat().st_size, 28 + 4 * sum(map(len, small_checkpoint().tensors.values()))
                         + 2 * 6 * 4)

    def test_price(self) -> None:
        self.assertEqual(Price("e", "f", with_it=483, without_it=468).price, 15)


class Compare(FolderTest):
    def test_changes(self) -> None:
        changes = sizes.compare([("same", "m", 1), ("smaller", "m", 5), ("larger", "m", 5), ("gone", "m", 7)],
                                [("new", "m", 9), ("larger", "m", 6), ("smaller", "m", 3), ("same", "m", 1)])
        self.assertEqual([(change.engine, change.before, change.after, change.delta, change.mark, change.grew)
                          for change in changes],
                         [("new", None, 9, None, "new", False), ("larger", 5, 6, 1, "▲ larger", True),
                          ("smaller", 5, 3, -2, "▼ smaller", False), ("same", 1, 1, 0, "= same", False),
                          ("gone", 7, None, None, "gone", False)])

    def test_of_other_models_nothing_is_compared(self) -> None:
        self.assertEqual(sizes.compare([("e", "a", 1)], [("e", "b", 2)]),
                         [Change("e", "b", None, 2), Change("e", "a", 1, None)])

    def test_signed(self) -> None:
        self.assertEqual([sizes.signed(value) for value in (12, -3, 0, None)], ["+12", "-3", "0", ""])


class Files(FolderTest):
    def test_csv_and_back(self) -> None:
        path = self.folder / "sizes.csv"
        path.write_text(sizes.to_csv([SIZE, replace(SIZE, engine="f", bytes=7)]), "utf-8")
        self.assertEqual(sizes.from_csv(path), [("e", "m", 400), ("f", "m", 7)])
        with path.open(newline="", encoding="utf-8") as file:
            (first, _) = csv.DictReader(file)
        self.assertEqual(first, {"engine": "e", "model": "m", "bytes": "400", "budget": "410", "headroom": "10",
                                 "header": "50", "code": "340", "data": "10", "packed": "12345",
                                 "compiler": "g++ 12.2.0", "searched_flags": "1", "binding": "1"})

    def test_bad_csv(self) -> None:
        path = self.folder / "old.csv"
        for text, message in [("", "no column bytes, engine, model; compare with a file that `llama512 size -o NEW.csv`"),
                              ("engine,model,bytes\na,m,²\n", "line 2: bytes: '²' is no number"),
                              ("engine,model,bytes\na,m,1\na,m,2\n", "line 3: a second row of a for m"),
                              ("engine,bytes\na,1\n", "no column model"),
                              ("engine,model,bytes\na,m,many\n", "line 2: bytes: 'many' is no number"),
                              ("engine,model,bytes\na,m\n", "line 2: bytes: None is no number"),
                              ("\0", "")]:
            with self.subTest(text=text), self.assertRaisesRegex(UserError, f"^{path}: .*{message}"):
                path.write_text(text, "utf-8")
                sizes.from_csv(path)
        path.write_bytes(b"engine,model,bytes\n\xff,m,1\n")
        with self.assertRaisesRegex(UserError, "cannot read the sizes"):
            sizes.from_csv(path)
        with self.assertRaisesRegex(UserError, "cannot read the sizes"):
            sizes.from_csv(self.folder / "none.csv")

    def test_csv_of_a_spreadsheet(self) -> None:
        path = self.folder / "sizes.csv"
        path.write_bytes("\ufeffengine,model,bytes\r\ne,m,400\r\n".encode())
        self.assertEqual(sizes.from_csv(path), [("e", "m", 400)])

    def test_benchmark(self) -> None:
        (entry,) = json.loads(sizes.to_benchmark([SIZE]))
        # What github-action-benchmark reads: name, unit and value; extra is shown.
        self.assertEqual(entry, {"name": "e (m)", "unit": "bytes", "value": 400, "extra": "budget 410, g++ 12.2.0"})

    def test_badge(self) -> None:
        badges = [json.loads(sizes.to_badge(size)) for size in
                  (SIZE, replace(SIZE, bytes=600), replace(SIZE, headroom=-1))]
        self.assertEqual(badges[0], {"schemaVersion": 1, "label": "e", "message": "400 bytes", "color": "brightgreen"})
        self.assertEqual([badge["color"] for badge in badges], ["brightgreen", "blue", "red"])

    def test_bloaty(self) -> None:
        first = replace(SIZE, model=engines.budget_shape().name, data=0)
        self.assertEqual(sizes.to_bloaty([first, replace(SIZE, header=0, code=0)]).splitlines(),
                         ["inputfiles,sections,vmsize,filesize", "e,header,50,50", "e,code,340,340",
                          "e,model,12345,12345", "e m,data,10,10", "e m,model,12345,12345"])


if __name__ == "__main__":
    main()
