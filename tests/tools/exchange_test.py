"""common/size/exchange.py: the files that others read."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

from measure_test import SIZE
from support.folders import FolderTest
from support.skip import main

from common.engine import engines
from common.errors import UserError
from common.size import exchange


class Files(FolderTest):
    def test_csv_and_back(self) -> None:
        path = self.folder / "sizes.csv"
        path.write_text(exchange.to_csv([SIZE, replace(SIZE, engine="f", bytes=7)]), "utf-8")
        self.assertEqual(exchange.from_csv(path), [("e", "m", 400), ("f", "m", 7)])
        with path.open(newline="", encoding="utf-8") as file:
            (first, _) = csv.DictReader(file)
        self.assertEqual(first, {"engine": "e", "model": "m", "bytes": "400", "budget": "410", "headroom": "10",
                                 "header": "50", "code": "340", "data": "10", "packed": "12345", "memory": "23456",
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
                exchange.from_csv(path)
        path.write_bytes(b"engine,model,bytes\n\xff,m,1\n")
        with self.assertRaisesRegex(UserError, "cannot read the sizes"):
            exchange.from_csv(path)
        with self.assertRaisesRegex(UserError, "cannot read the sizes"):
            exchange.from_csv(self.folder / "none.csv")

    def test_csv_of_a_spreadsheet(self) -> None:
        path = self.folder / "sizes.csv"
        path.write_bytes("\ufeffengine,model,bytes\r\ne,m,400\r\n".encode())
        self.assertEqual(exchange.from_csv(path), [("e", "m", 400)])

    def test_benchmark(self) -> None:
        (entry,) = json.loads(exchange.to_benchmark([SIZE]))
        # What github-action-benchmark reads: name, unit and value; extra is shown.
        self.assertEqual(entry, {"name": "e (m)", "unit": "bytes", "value": 400, "extra": "budget 410, g++ 12.2.0"})

    def test_badge(self) -> None:
        badges = [json.loads(exchange.to_badge(size)) for size in
                  (SIZE, replace(SIZE, bytes=600), replace(SIZE, headroom=-1))]
        self.assertEqual(badges[0], {"schemaVersion": 1, "label": "e", "message": "400 bytes", "color": "brightgreen"})
        self.assertEqual([badge["color"] for badge in badges], ["brightgreen", "blue", "red"])

    def test_bloaty(self) -> None:
        first = replace(SIZE, model=engines.budget_shape().name, data=0)
        self.assertEqual(exchange.to_bloaty([first, replace(SIZE, header=0, code=0)]).splitlines(),
                         ["inputfiles,sections,vmsize,filesize", "e,header,50,50", "e,code,340,340",
                          "e,model,12345,12345", "e m,data,10,10", "e m,model,12345,12345"])


if __name__ == "__main__":
    main()
