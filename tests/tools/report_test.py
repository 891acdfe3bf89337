"""tools/common/report.py: what the report says, and which differences a committed one may have."""

from __future__ import annotations

import unittest
from dataclasses import replace

from support.repository import today_of, use_shapes
from support.skip import main

from common.size import report
from common.size.changes import Change
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
    return next(cells for line in text.splitlines() if (cells := report.cells(line)) and cells[0] == start)


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

    def test_story(self) -> None:
        broken = Change(commit("3", "broken"), "k3", {}, {"a": 98}, "x.asm: error: <no>")
        last = Change(None, "k4", {"b": 513}, {"a": 98, "b": 512})
        text = report.text(TODAY, [FIRST, SECOND, broken, last])
        self.assertEqual(row(text, "1"), ["1", "`111111111`", "2020-01-01", r"first \| \*one\*", "", "100 (new)"])
        self.assertEqual(row(text, "2"), ["2", "`222222222`", "2020-01-01", "second", "512 (new)", "98 (-2)"])
        self.assertEqual(row(text, "3"), ["3", "`333333333`", "2020-01-01",
                                         r"broken — **does not build:** x.asm: error: \<no\>", "", ""])
        self.assertEqual(row(text, "4"), ["4", "this commit", "", "", "513 (+1)", "gone"])

    def test_two_shapes(self) -> None:
        use_shapes(self, "m", "n")
        today = replace(today_of({"a": 98}, {"a": 108}), budgets={
            "a": {"g++ 12.2.0": {"m": 98, "n": 108}, "g++ 14.2.0": {"m": 99, "n": 109}},
            "b": {"nasm": {"m": 1, "n": 2}}})
        changes = [replace(FIRST, sizes={"a": 100, "a n": 109}),
                   replace(SECOND, sizes={"a": 98, "a n": 109}, before={"a": 100, "a n": 109}),
                   replace(SECOND, sizes={"a": 98, "a n": 108}, before={"a": 98, "a n": 109})]
        text = report.text(today, changes)
        self.assertIn("- m: dim 1\n- n: dim 1\n", text)
        self.assertEqual(row(text, "engine"), ["engine", "m", "Δ", "n", "Δ", "of 1500", "of 1189", "of 1076"])
        self.assertEqual(row(text, "`a`"), ["`a`", "98", "0", "108", "-1", "7 %", "8 %", "9 %"])
        self.assertIn("| engine | g++ 12.2.0 | g++ 14.2.0 |  nasm |\n", text)
        self.assertIn("| `a`    |   98 / 108 |   99 / 109 |       |\n", text)
        self.assertEqual([row(text, number)[-1] for number in "123"],
                         ["100 (new) / 109 (new)", "98 (-2) / 109", "98 / 108 (-1)"])
        self.assertEqual(report.story_sizes(text), [change.sizes for change in changes])
        self.assertEqual(report.first_shape(changes[0].sizes), {"a": 100})
        self.assertIn("Size: +3 asm-boot n, ", text)
        changed = text.replace("| 108 |  -1 |", "| 108 |  -2 |")
        self.assertNotEqual(changed, text)
        self.assertEqual(report.differences(changed, text, True, []), [report.TODAY])
        self.assertEqual(report.differences(changed, text, False, []), [])
        self.assertEqual(report.differences(text.replace("| 108 |  -1 |", "| 107 |  -1 |"), text, False, []),
                         [report.TODAY])

    def test_anatomy_prices_and_pictures(self) -> None:
        text = report.text(TODAY, [FIRST])
        self.assertEqual(row(text, "headers"), ["headers", "10", "10"])
        self.assertEqual(row(text, "**sum**"), ["**sum**", "**98**", "**512**"])
        self.assertIn("| `b`    | SERIAL  |     512 |        500 |   +12 |", text)
        self.assertIn("](golf/sizes/history.svg)", text)
        self.assertIn("](golf/sizes/anatomy.svg)", text)


class Differences(unittest.TestCase):
    def setUp(self) -> None:
        use_shapes(self, "m")

    def differences(self, old: list[Change], new: list[Change], visible: bool = True) -> list[str]:
        return report.differences(report.text(TODAY, old), report.text(TODAY, new), visible, [])

    def test_equal(self) -> None:
        self.assertEqual(self.differences([FIRST, SECOND], [FIRST, SECOND]), [])
        self.assertEqual(self.differences([FIRST, THIS], [FIRST, THIS]), [])

    def test_allowed(self) -> None:
        self.assertEqual(self.differences([FIRST, THIS], [FIRST, SECOND]), [])
        rebased = replace(FIRST, commit=commit("7", "first | *one*"))
        self.assertEqual(self.differences([FIRST, SECOND], [rebased, SECOND]), [])
        self.assertEqual(self.differences([FIRST, THIS], [rebased, SECOND]), [])

    def test_not_allowed(self) -> None:
        story = [report.STORY]
        renamed = replace(SECOND, commit=commit("2", "other"))
        self.assertEqual(self.differences([FIRST, SECOND], [FIRST, renamed]), story)
        self.assertEqual(self.differences([FIRST, SECOND], [FIRST, THIS]), story)
        other = replace(FIRST, commit=commit("1", "x"))
        self.assertEqual(self.differences([FIRST, THIS], [other, SECOND]), story)
        self.assertEqual(self.differences([replace(FIRST, commit=None), SECOND], [FIRST, SECOND]), story)
        more = [FIRST, SECOND, replace(SECOND, before={"a": 1})]
        self.assertIn(report.STORY, self.differences([FIRST, THIS], more))
        self.assertEqual(self.differences([FIRST, THIS], [FIRST, replace(SECOND, before={"a": 97})]),
                         [report.TODAY, report.STORY])
        self.assertEqual(self.differences([replace(FIRST, sizes={"a": 101}), THIS], [FIRST, SECOND]), story)

    def test_without_history(self) -> None:
        self.assertEqual(self.differences([FIRST, SECOND], [], visible=False), [])
        old, new = report.text(TODAY, [FIRST, SECOND]), report.text(TODAY, [])
        self.assertEqual(report.differences(old.replace(" 7 % |", " 8 % |"), new, False, []), [report.TODAY])
        for title in ("Where the bytes go", "Price list", report.STORY):
            self.assertEqual(report.differences(old.replace(f"## {title}\n", "## Else\n"), new, False, []),
                             [title, "Else"])

    def test_lost_states(self) -> None:
        """Changes of states that no commit has may be told, but nothing else, and nothing may be missing."""
        def stale(old: list[Change], new: list[Change], *lost: dict[str, int]) -> bool:
            return report.STORY in report.differences(report.text(TODAY, old), report.text(TODAY, new), True, lost)
        between = replace(SECOND, key="k", sizes={"a": 99})
        squashed = replace(SECOND, before={})
        self.assertFalse(stale([FIRST, between, SECOND], [FIRST, SECOND], {"a": 99}))
        self.assertFalse(stale([FIRST, between, THIS], [squashed], {"a": 99}, {"a": 100}))
        self.assertTrue(stale([FIRST, between, SECOND], [FIRST, SECOND], {"a": 97}))
        self.assertTrue(stale([FIRST, between], [FIRST, SECOND], {"a": 99}))
        self.assertTrue(stale([FIRST, SECOND, replace(between, sizes={"a": 96})], [FIRST, SECOND], {"a": 99}))

    def test_sizes_of_the_story(self) -> None:
        changes = [FIRST, SECOND, replace(SECOND, sizes={}, problem="x"), replace(SECOND, sizes={"b": 1})]
        self.assertEqual(report.story_sizes(report.text(TODAY, changes)),
                         [{"a": 100}, {"a": 98, "b": 512}, {}, {"b": 1}])


if __name__ == "__main__":
    main()
