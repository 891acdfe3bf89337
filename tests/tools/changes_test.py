"""common/size/changes.py: which states of the engines the record knows, with the toolchains of today."""

from __future__ import annotations

import json
import unittest
from dataclasses import replace

from repository import RepositoryTest, use_shapes
from support.skip import main

from common.size import changes, record, states
from common.size.record import Row

KEY = "0123456789abcdef"
TODAY = {"gcc": "g++ 12.2.0", "nasm": "nasm 2.16.01"}
LATER = {**TODAY, "clang": "clang 16.0.6"}
NEW_TABLE = [{"name": "a", "toolchain": "nasm"}, {"name": "c", "toolchain": "gcc"}]
OLD_TABLE = [{"name": "a", "family": "asm"}, {"name": "c", "family": "cpp"}]
ROWS = [Row(KEY, "a", 100, 10, 88, 2, 1000, "nasm 2.16.01", shape="m"),
        Row(KEY, "c", 120, 10, 108, 2, 1000, "g++ 12.2.0", shape="m")]
FAILED = record.failed(KEY, "g++ 12.2.0, nasm 2.16.01", "error: x")


class IsMeasured(unittest.TestCase):
    def setUp(self) -> None:
        use_shapes(self, "m")

    def known(self, rows: list[Row], table: object, toolchains: dict[str, str], retry: bool = False) -> bool:
        return changes.is_measured(rows, KEY, json.dumps({"engines": table}), toolchains, retry)

    def test_tables_of_any_age(self) -> None:
        for table in (OLD_TABLE, NEW_TABLE):
            for toolchains in (TODAY, LATER):
                self.assertTrue(self.known(ROWS, table, toolchains))
                self.assertFalse(self.known(ROWS[:1], table, toolchains))
                self.assertFalse(self.known(ROWS, table, {**toolchains, **{name: "nasm 3" for name in toolchains}}))
        for unreadable in (None, [{"name": "a"}], [{"name": "a", "family": "pascal"}]):
            self.assertFalse(self.known(ROWS, unreadable, TODAY))

    def test_a_toolchain_that_is_not_at_hand(self) -> None:
        """What nobody can build here is not asked for; elsewhere it is."""
        table = [*NEW_TABLE, {"name": "w", "toolchain": "clang"}]
        self.assertTrue(self.known(ROWS, table, TODAY))
        self.assertFalse(self.known(ROWS, table, LATER))
        made = replace(ROWS[0], engine="w", toolchain="clang 16.0.6")
        self.assertTrue(self.known([*ROWS, made], table, LATER))

    def test_a_failure_outlives_new_toolchains(self) -> None:
        for toolchains in (TODAY, LATER):
            self.assertTrue(self.known([FAILED], NEW_TABLE, toolchains))
            self.assertFalse(self.known([FAILED], NEW_TABLE, toolchains, retry=True))
            self.assertEqual(changes.problems_by_state([FAILED], toolchains.values()), {KEY: "error: x"})
        other = {**LATER, "gcc": "g++ 13.3.0"}
        self.assertFalse(self.known([FAILED], NEW_TABLE, other))
        self.assertEqual(changes.problems_by_state([FAILED], other.values()), {})

    def test_a_failure_of_one_shape(self) -> None:
        use_shapes(self, "m", "n")
        for toolchains in (TODAY, LATER):
            self.assertFalse(self.known(ROWS, NEW_TABLE, toolchains))
            self.assertTrue(self.known([*ROWS, replace(FAILED, shape="n")], NEW_TABLE, toolchains))


class Unmeasured(RepositoryTest):
    def test_every_engine_needs_a_row_by_the_present_tools(self) -> None:
        self.put(a=100, b=200)
        self.commit("first")
        rows = record.measured(states.key_of_revision("HEAD", self.root), states.measure("HEAD", root=self.root))
        chains = states.toolchains()
        self.assertEqual(changes.unmeasured(rows, chains, self.root), [])
        self.assertEqual(len(changes.unmeasured(rows[:1], chains, self.root)), 1)
        self.assertEqual(len(changes.unmeasured(rows, {**chains, "nasm": "nasm 3"}, self.root)), 1)


if __name__ == "__main__":
    main()
