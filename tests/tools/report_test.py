"""common/size/report.py: what the report says."""

from __future__ import annotations

import unittest
from dataclasses import replace

from repository import today_of, use_shapes
from support.skip import main

from common.size import freshness, report
from common.size.changes import Change, first_shape
from common.size.git import Commit
from common.size.prices import Price

TODAY = replace(today_of({"a": 98, "b": 512}), prices=[Price("b", "SERIAL", 512, 500)])


def commit(digit: str, subject: str) -> Commit:
    return Commit(digit * 40, (), "2020-01-01", subject, "")


FIRST = Change(commit("1", "first | *one*"), "k1", {"a": 100}, {})
SECOND = Change(commit("2", "second"), "k2", {"a": 98, "b": 512}, {"a": 100})
THIS = replace(SECOND, commit=None)


def row(text: str, start: str) -> list[str]:
    """The cells of the first table row that starts so."""
    return next(cells for line in text.splitlines() if (cells := freshness.cells(line)) and cells[0] == start)


class Text(unittest.TestCase):
    def setUp(self) -> None:
        use_shapes(self, "m")

    def test_today(self) -> None:
        text = report.text(TODAY, [FIRST, SECOND])
        self.assertTrue(text.startswith(report.HEADER))
        self.assertEqual(row(text, "engine"),
                         ["engine", "m", "Δ", "of 1500", "of 1189", "of 1076"])
        self.assertEqual(row(text, "`a`"), ["`a`", "98", "-2", "7 %", "8 %", "9 %"])
        self.assertEqual(row(text, "`b`")[:3], ["`b`", "512", "new"])
        self.assertIn("| `a`    | nasm 2.0 |     10 |   86 |    2 |        1000 |", text)
        self.assertEqual(row(report.text(TODAY, []), "`a`")[2], "")
        self.assertEqual(row(report.text(TODAY, [replace(SECOND, before={"a": 98})]), "`a`")[2], "0")

    def test_changes(self) -> None:
        broken = Change(commit("3", "broken"), "k3", {}, {"a": 98}, "x.asm: error: <no>")
        last = Change(None, "k4", {"b": 513}, {"a": 98, "b": 512})
        text = report.text(TODAY, [FIRST, SECOND, broken, last])
        self.assertEqual(row(text, "1"), ["1", "`111111111`", "2020-01-01", r"first \| \*one\*", "`a` new 100"])
        self.assertEqual(row(text, "2"), ["2", "`222222222`", "2020-01-01", "second",
                                         "`a` 100 → 98 (-2)<br>`b` new 512"])
        self.assertEqual(row(text, "3"), ["3", "`333333333`", "2020-01-01",
                                         r"broken — **does not build:** x.asm: error: \<no\>", ""])
        self.assertEqual(row(text, "4"), ["4", "this commit", "", "", "`a` gone<br>`b` 512 → 513 (+1)"])
        mended = Change(commit("5", "mended"), "k5", SECOND.sizes, SECOND.sizes)
        self.assertEqual(row(report.text(TODAY, [FIRST, SECOND, broken, mended]), "4")[-1], "as before")

    def test_two_shapes(self) -> None:
        use_shapes(self, "m", "n")
        today = replace(today_of({"a": 98}, {"a": 108}), budgets={
            "a": {"g++ 12.2.0": {"m": 98, "n": 108}, "g++ 14.2.0": {"m": 99, "n": 109},
                  "g++ 15.1.0": {"m": 98, "n": 108}, "clang": {"m": 98, "n": 108}},
            "b": {"nasm": {"m": 1, "n": 2}}})
        changes = [replace(FIRST, sizes={"a": 100, "a n": 109}),
                   replace(SECOND, sizes={"a": 98, "a n": 109}, before={"a": 100, "a n": 109}),
                   replace(SECOND, sizes={"a": 98, "a n": 108}, before={"a": 98, "a n": 109})]
        text = report.text(today, changes)
        self.assertIn("- m: dim 1\n- n: dim 1\n", text)
        self.assertEqual(row(text, "engine"), ["engine", "m", "Δ", "n", "Δ", "of 1500", "of 1189", "of 1076"])
        self.assertEqual(row(text, "`a`"), ["`a`", "98", "0", "108", "-1", "7 %", "8 %", "9 %"])
        self.assertIn("| engine | compiler                  |   m |   n |\n", text)
        self.assertIn("| `a`    | g++ 12.2.0, 15.1.0; clang |  98 | 108 |\n"
                      "| `a`    | g++ 14.2.0                |  99 | 109 |\n"
                      "| `b`    | nasm                      |   1 |   2 |\n", text)
        self.assertEqual([row(text, number)[-1] for number in "123"],
                         ["`a` new 100 / 109", "`a` 100 → 98 (-2) / 109", "`a` 98 / 109 → 108 (-1)"])
        self.assertEqual(freshness.told_sizes(text), [change.sizes for change in changes])
        self.assertEqual(first_shape(changes[0].sizes), {"a": 100})
        self.assertIn("Size: +3 a n, ", text)
        changed = text.replace("| 108 |  -1 |", "| 108 |  -2 |")
        self.assertNotEqual(changed, text)
        self.assertEqual(freshness.differences(changed, text, True, []), [report.TODAY])
        self.assertEqual(freshness.differences(changed, text, False, []), [])
        self.assertEqual(freshness.differences(text.replace("| 108 |  -1 |", "| 107 |  -1 |"), text, False, []),
                         [report.TODAY])

    def test_anatomy_prices_and_pictures(self) -> None:
        text = report.text(TODAY, [FIRST])
        self.assertIn("| engine | bytes |  HD |  MM |\n", text)
        self.assertIn("| `b`    |   512 |  10 | 502 |\n", text)
        self.assertIn("\nHD headers and boot, MM matmul.\n", text)
        self.assertIn("| `b`    | SERIAL  |     512 |        500 |   +12 |", text)
        self.assertIn("](golf/sizes/history.svg)", text)
        self.assertIn("](golf/sizes/anatomy.svg)", text)


if __name__ == "__main__":
    main()
