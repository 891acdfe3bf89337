"""common/size/freshness.py: which differences a committed report may have."""

from __future__ import annotations

from dataclasses import replace
from unittest import TestCase

from report_test import FIRST, SECOND, THIS, TODAY, commit
from repository import use_shapes
from support.skip import main

from common.size import freshness, report
from common.size.changes import Change


class Differences(TestCase):
    def setUp(self) -> None:
        use_shapes(self, "m")

    def differences(self, old: list[Change], new: list[Change], visible: bool = True) -> list[str]:
        return freshness.differences(report.text(TODAY, old), report.text(TODAY, new), visible, [])

    def test_equal(self) -> None:
        self.assertEqual(self.differences([FIRST, SECOND], [FIRST, SECOND]), [])
        self.assertEqual(self.differences([FIRST, THIS], [FIRST, THIS]), [])

    def test_allowed(self) -> None:
        self.assertEqual(self.differences([FIRST, THIS], [FIRST, SECOND]), [])
        rebased = replace(FIRST, commit=commit("7", "first | *one*"))
        self.assertEqual(self.differences([FIRST, SECOND], [rebased, SECOND]), [])
        self.assertEqual(self.differences([FIRST, THIS], [rebased, SECOND]), [])

    def test_not_allowed(self) -> None:
        stale = [report.CHANGES]
        renamed = replace(SECOND, commit=commit("2", "other"))
        self.assertEqual(self.differences([FIRST, SECOND], [FIRST, renamed]), stale)
        self.assertEqual(self.differences([FIRST, SECOND], [FIRST, THIS]), stale)
        other = replace(FIRST, commit=commit("1", "x"))
        self.assertEqual(self.differences([FIRST, THIS], [other, SECOND]), stale)
        self.assertEqual(self.differences([replace(FIRST, commit=None), SECOND], [FIRST, SECOND]), stale)
        more = [FIRST, SECOND, replace(SECOND, before={"a": 1})]
        self.assertIn(report.CHANGES, self.differences([FIRST, THIS], more))
        self.assertEqual(self.differences([FIRST, THIS], [FIRST, replace(SECOND, before={"a": 97})]),
                         [report.TODAY, report.CHANGES])
        self.assertEqual(self.differences([replace(FIRST, sizes={"a": 101}), THIS], [FIRST, SECOND]), stale)

    def test_without_history(self) -> None:
        self.assertEqual(self.differences([FIRST, SECOND], [], visible=False), [])
        old, new = report.text(TODAY, [FIRST, SECOND]), report.text(TODAY, [])
        self.assertEqual(freshness.differences(old.replace(" 7 % |", " 8 % |"), new, False, []), [report.TODAY])
        for title in ("Where the bytes go", "Price list", report.CHANGES):
            self.assertEqual(freshness.differences(old.replace(f"## {title}\n", "## Else\n"), new, False, []),
                             [title, "Else"])

    def test_lost_states(self) -> None:
        """Changes of states that no commit has may be told, but nothing else, and nothing may be missing."""
        def stale(old: list[Change], new: list[Change], *lost: dict[str, int]) -> bool:
            return report.CHANGES in freshness.differences(report.text(TODAY, old), report.text(TODAY, new), True, lost)
        between = replace(SECOND, key="k", sizes={"a": 99})
        squashed = replace(SECOND, before={})
        self.assertFalse(stale([FIRST, between, SECOND], [FIRST, SECOND], {"a": 99}))
        self.assertFalse(stale([FIRST, between, THIS], [squashed], {"a": 99}, {"a": 100}))
        self.assertTrue(stale([FIRST, between, SECOND], [FIRST, SECOND], {"a": 97}))
        self.assertTrue(stale([FIRST, between], [FIRST, SECOND], {"a": 99}))
        self.assertTrue(stale([FIRST, SECOND, replace(between, sizes={"a": 96})], [FIRST, SECOND], {"a": 99}))

    def test_sizes_of_the_changes(self) -> None:
        sizes: list[dict[str, int]] = [{"a": 100}, {"a": 98, "b": 512}, {}, {"a": 98, "b": 512}, {"b": 1}]
        changes = [FIRST, SECOND, replace(SECOND, sizes={}, problem="x"), replace(SECOND, before=SECOND.sizes),
                   replace(SECOND, sizes={"b": 1})]
        self.assertEqual(freshness.told_sizes(report.text(TODAY, changes)), sizes)

    def test_a_report_of_another_form(self) -> None:
        """With a column for each engine, as reports once were: stale, and no failure."""
        old = report.text(TODAY, [FIRST]).replace("| bytes  ", "| `a`    ").replace("`a` new 100", "100 (new)")
        self.assertEqual(freshness.differences(old, report.text(TODAY, [FIRST]), True, []), [report.CHANGES])
        self.assertEqual(len(freshness.told_sizes(old)), 1)
        self.assertEqual(freshness.told_sizes("# Size report\n"), [])


if __name__ == "__main__":
    main()
