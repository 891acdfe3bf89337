"""tools/gate.py: every byte of growth needs its line, and every line must be true."""

from __future__ import annotations

import json

import gate
from repository import RepositoryTest, use_shapes
from support.skip import main

from common.size import record, states

ZEROS = "0" * 40


class Gate(RepositoryTest):
    def setUp(self) -> None:
        super().setUp()
        self.put(a=100, b=200)
        self.base = self.commit("base")

    def gate(self, *arguments: str, base: str | None = None) -> tuple[int, str]:
        status, out, _ = self.run_main(gate, base or self.base, *arguments)
        return status, out

    def judge(self, message: str, **engines: object) -> tuple[int, str]:
        """The gate on one commit after the base."""
        self.git("reset", "-q", "--hard", self.base)
        self.put(**engines)  # type: ignore[arg-type]
        self.commit(message)
        return self.gate()

    def test_one_byte_of_growth(self) -> None:
        status, out = self.judge("grow", a=101, b=200)
        self.assertEqual(status, 1)
        self.assertIn("a grew by 1 to 101 bytes, and no line says why", out)
        self.assertIn("\n    Size: +1 a, REASON\n", out)
        self.assertIn("a 101 (+1)", out)
        status, out = self.judge("grow\n\nBecause.\n\nSize: +1 a, epsilon is part of the model", a=101, b=200)
        self.assertEqual(status, 0, out)
        self.assertIn("declared", out)
        self.assertEqual(self.judge("grow\nSize: +1 a, no empty line above", a=101, b=200)[0], 0)

    def test_growth_of_another_shape(self) -> None:
        self.put(a="100 120", b=200)
        self.base = self.commit("base")
        use_shapes(self, "m", "n")  # from here on; the base knows m alone
        status, out = self.judge("grow", a="100 121", b=200)
        self.assertEqual(status, 1)
        self.assertIn("a n grew by 1 to 121 bytes, and no line says why", out)
        self.assertIn("\n    Size: +1 a n, REASON\n", out)
        self.assertEqual(self.judge("grow\n\nSize: +1 a n, longer records", a="100 121", b=200)[0], 0)
        self.assertEqual(self.judge("grow\n\nSize: +1 a, longer records", a="100 121", b=200)[0], 1)
        self.assertEqual(self.judge("both\n\nSize: +1 a, x\nSize: +2 a n, y", a="101 122", b=200)[0], 0)
        status, out = self.judge("both\n\nSize: +1 a, x\nSize: +2 a k, y", a="101 122", b=200)
        self.assertEqual((status, "there is no engine a k; engines are a, a n, b, b n" in out), (1, True), out)
        status, out = self.judge("over\n\nSize: +900 a n, x", a="100 1020", b=200)
        self.assertEqual((status, "a n is over its budget: 1020 bytes, allowed are 999" in out), (1, True), out)

    def test_what_needs_no_line(self) -> None:
        self.assertEqual(self.judge("shrink", a=99, b=200)[0], 0)
        self.assertEqual(self.judge("new", a=100, b=200, c=900)[0], 0)
        self.assertEqual(self.judge("gone", a=100)[0], 0)
        self.assertEqual(self.judge("nothing", a=100, b=200)[0], 0)
        self.assertEqual(self.judge("nothing\n\nThe size: a word in a sentence is none.\n", a=100, b=200)[0], 0)

    def test_lines_that_do_not_fit(self) -> None:
        for line, sizes, message in [
                ("Size: +2 a, x", (101, 200), "a grew by 1, not by 2"),
                ("Size: +1 b, x", (101, 200), "b did not grow (its change is +0)"),
                ("Size: +1 a, x\nSize: +1 c, x", (101, 200), "there is no engine c; engines are a, b"),
                ("Size: +1 a, x\nSize: +1 a, y", (101, 200), "a second line for a"),
                ("Size: +1 a,", (101, 200), "the form is"), ("Size: +1 a", (101, 200), "the form is"),
                ("size: +1 a, x", (101, 200), "the form is"), ("Size: 1 a, x", (101, 200), "the form is"),
                ("Size: +1 a, x", (99, 200), "a did not grow (its change is -1)"),
                ("Size: +1 a, x", (100, 200), "a did not grow"),
                ("Size: +1 a, x", (101, 201), "Size: +1 b, REASON")]:
            with self.subTest(line=line, sizes=sizes):
                status, out = self.judge(f"change\n\n{line}", a=sizes[0], b=sizes[1])
                self.assertEqual(status, 1)
                self.assertIn(message, out)
        status, out = self.judge("new\n\nSize: +300 c, x", a=100, b=200, c=300)
        self.assertEqual((status, "c did not grow (it is new)" in out), (1, True))

    def test_each_commit_by_itself(self) -> None:
        self.put(a=103, b=200)
        self.commit("three more")
        self.put(a=100, b=200)
        self.commit("three less")
        status, out = self.gate()
        self.assertEqual((status, out.count("refused"), out.count(" ok")), (1, 1, 1))
        self.assertEqual(self.gate(base="HEAD~1")[0], 0)
        self.assertEqual(self.gate("--head", self.base)[0], 0)

    def test_over_budget(self) -> None:
        status, out = self.judge("grow\n\nSize: +900 a, x", a=1000, b=200)
        self.assertEqual(status, 1)
        self.assertIn("a is over its budget: 1000 bytes, allowed are 999", out)

    def test_budgets_are_sizes_that_were_reached(self) -> None:
        self.put(budget=1500, a=100, b=200)
        self.commit("room")
        status, out = self.gate()
        self.assertEqual(status, 1)
        self.assertIn("the budget of a was raised from 999 to 1500, but its size is 100", out)
        self.put(budget=500, a=100, b=200)
        self.commit("less room")
        self.assertEqual(self.gate(base="HEAD~1")[0], 0)

    def test_other_lines_about_size(self) -> None:
        self.assertEqual(self.judge("change\n\nSize: the report got smaller\nsizes: 1", a=100, b=200)[0], 0)

    def test_does_not_build(self) -> None:
        status, out = self.judge("typo", a="oops", b=200)
        self.assertEqual(status, 1)
        self.assertIn("does not build: golf/asm: error: oops", out)
        self.assertNotIn("no change", out)
        self.put(a=101, b=200)
        broken = self.git("rev-parse", "HEAD")
        self.commit("repaired, and larger than before")
        status, out = self.gate(base=broken)  # compared with the nearest commit that builds
        self.assertEqual(status, 1)
        self.assertIn("Size: +1 a, REASON", out)

    def merge(self, ours: int, theirs: int, merged: int, message: str = "merge") -> tuple[int, str]:
        """Two branches from the base, where a has 100 bytes, merged to `merged` bytes; both sides are declared."""
        self.git("checkout", "-q", "-B", "side", self.base)
        self.put(a=theirs, b=200)
        self.commit(f"side\n\nSize: +{theirs - 100} a, x" if theirs > 100 else "side")
        self.git("checkout", "-q", "-B", "main", self.base)
        self.put(a=ours, b=200)
        self.commit(f"main\n\nSize: +{ours - 100} a, x" if ours > 100 else "main")
        self.git("merge", "-q", "-s", "ours", "--no-commit", "side")
        self.put(a=merged, b=200)
        self.commit(message)
        return self.gate()

    def test_merges(self) -> None:
        self.assertEqual(self.merge(103, 104, 107)[0], 0)  # both sides' growth was declared
        status, out = self.merge(103, 104, 109)
        self.assertEqual((status, out.count("Size: +2 a, REASON")), (1, 1), out)
        self.assertEqual(self.merge(103, 104, 109, "merge\n\nSize: +2 a, glue")[0], 0)
        self.assertEqual(self.merge(90, 95, 95)[0], 0)  # no larger than a parent
        status, out = self.merge(90, 95, 96)
        self.assertEqual((status, "Size: +1 a, REASON" in out), (1, True), out)

    def test_allowance(self) -> None:
        for parents, base, allowed in [([100], {}, 100), ([100, 103], {"a": 100}, 103), ([102, 103], {"a": 100}, 105),
                                       ([90, 95], {"a": 100}, 95), ([101, 102, 104], {"a": 100}, 107), ([5, 6], {}, 6)]:
            self.assertEqual(gate.allowance("a", [{"a": size} for size in parents], base), allowed)
        self.assertIsNone(gate.allowance("a", [{"b": 1}], {}))
        self.assertEqual(gate.allowance("a", [{"b": 1}, {"a": 7}], {}), 7)

    def test_whole_history(self) -> None:
        self.put(a=101, b=200)
        self.commit("grow")
        status, out = self.gate(base=ZEROS)
        self.assertEqual(status, 1)
        self.assertIn("a 100 (new), b 200 (new)", out)

    def test_shallow(self) -> None:
        self.put(a=99, b=200)
        self.commit("less")
        shallow = self.folder / "shallow"
        self.git("clone", "-q", "--depth", "1", f"file://{self.root}", str(shallow))
        self.root = shallow
        for base in (ZEROS, self.base):
            self.assertUserError("git fetch --unshallow", lambda: self.gate(base=base))

    def test_record_is_compared_not_trusted(self) -> None:
        path = self.root / gate.RECORD
        self.put(a=101, b=200)
        rows = record.measured(states.key_of_worktree(self.root), states.measure_folder(self.root))
        record.write(path, rows)
        self.commit("grow\n\nSize: +1 a, x")
        self.assertEqual(self.gate()[0], 0)
        true = path.read_text("utf-8")
        for wrong, said in [((",101,", ",100,"), "100 bytes and a model of 1000, measured are 101 and 1000"),
                            ((",1000,", ",1001,"), "101 bytes and a model of 1001, measured are 101 and 1000")]:
            path.write_text(true.replace(*wrong, 1), "utf-8")
            self.commit("grow\n\nSize: +1 a, x", "--amend")
            status, out = self.gate()
            self.assertEqual(status, 1)
            self.assertIn(f"the record says {said}", out)
        record.write(path, [record.failed(states.key_of_worktree(self.root), "g++ 1.0, nasm 2.0", "oops")])
        self.commit("grow\n\nSize: +1 a, x", "--amend")
        status, out = self.gate()
        self.assertEqual((status, "that it does not build (oops), but it does" in out), (1, True))

    def test_json(self) -> None:
        self.put(a=101, b=199)
        commit = self.commit("grow")
        status, out = self.gate("--json")
        answer = json.loads(out)
        self.assertEqual((status, answer["ok"]), (1, False))
        self.assertEqual(answer["toolchains"], {"gcc": "g++ 1.0", "nasm": "nasm 2.0"})
        (verdict,) = answer["commits"]
        self.assertEqual((verdict["commit"], verdict["bytes"], verdict["before"], verdict["growth"], verdict["add"]),
                         (commit, {"a": 101, "b": 199}, {"a": 100, "b": 200}, {"a": 1}, ["Size: +1 a, REASON"]))

    def test_a_commit_is_built_once(self) -> None:
        self.put(a=99, b=200)
        self.commit("less")
        (self.root / "README.md").write_text("x", "utf-8")
        self.commit("notes")
        self.gate()
        self.gate()
        self.assertEqual(self.builds(), 2)


if __name__ == "__main__":
    main()
