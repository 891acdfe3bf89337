"""tools/history.py: the record and the report follow from git's history, and --check accepts just what it must."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest import mock

import history
from repository import RepositoryTest, use_shapes
from support.skip import main
from support.tools import ROOT

from common.size import git, record, report, states
from common.size.changes import Change


class HistoryTest(RepositoryTest):
    def setUp(self) -> None:
        super().setUp()
        patch = mock.patch.object(history, "today_facts", self.today)
        patch.start()
        self.addCleanup(patch.stop)
        shutil.copy(ROOT / ".gitattributes", self.root)

    def history(self, *arguments: str) -> tuple[int, str, str]:
        return self.run_main(history, *arguments)

    def check(self) -> tuple[int, str]:
        """--check, which must not write."""
        before = self.files()
        status, out, err = self.history("--check")
        self.assertEqual(before, self.files())
        return status, out + err

    def files(self) -> dict[Path, bytes]:
        """Everything but git's own."""
        return {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file() and ".git" not in path.parts}

    def assertFresh(self) -> None:
        status, said = self.check()
        self.assertEqual(status, 0, said)

    def assertStale(self, *parts: str) -> None:
        status, said = self.check()
        self.assertEqual(status, 1, said)
        for part in (*parts, "run `tools/llama512 history`"):
            self.assertIn(part, said)

    def change(self, message: str, **engines: object) -> str:
        """A change as it should be made: with its record and report in the same commit."""
        self.put(**engines)  # type: ignore[arg-type]
        self.assertEqual(self.history()[0], 0)
        return self.commit(message)

    def begin(self) -> None:
        self.put(a=100)
        self.commit("first")
        self.history()
        self.commit("report")

    def report(self) -> str:
        return (self.root / "size_report.md").read_text("utf-8")


class Walk(HistoryTest):
    def test_changes(self) -> None:
        self.put(a=100)
        first = self.commit("first")
        self.put(a=90, b=200)
        second = self.commit("a|b: 10 bytes less")
        (self.root / "golf" / "asm" / "comment.inc").write_text("; no byte", "utf-8")
        self.commit("comment")
        self.put(a="oops", b=200)
        broken = self.commit("broken")
        self.put(a=93, b=200)
        repaired = self.commit("repaired")
        self.put(b=200)
        status, out, _ = self.history("--json")
        told = json.loads(out)
        self.assertEqual(status, 0)
        self.assertEqual([(row["commit"], row["bytes"], row["delta"]) for row in told], [
            (first, {"a": 100}, {}), (second, {"a": 90, "b": 200}, {"a": -10}), (broken, {}, {}),
            (repaired, {"a": 93, "b": 200}, {"a": 3}), (None, {"b": 200}, {})])
        self.assertEqual(told[2]["problem"], 'golf/asm: error: oops, "quoted"')
        rows = [line for line in self.report().splitlines() if line.startswith("|      ")]
        self.assertIn(r"a\|b: 10 bytes less", rows[1])
        self.assertIn("this commit", rows[-1])
        self.assertIn("gone", rows[-1])
        self.assertEqual([row.problem for row in record.read(self.root / history.RECORD) if row.problem],
                         ['golf/asm: error: oops, "quoted"'])

    def test_every_commit_is_built_once_and_retried_when_asked(self) -> None:
        self.put(a=100)
        self.commit("first")
        self.put(a="oops")
        self.commit("broken")
        self.put(a=99)
        self.commit("second")
        self.history()
        self.assertEqual(self.builds(), 3 + 2)  # and the working tree, for the record and for the report
        self.history()
        self.assertEqual(self.builds(), 5 + 2)
        self.history("--retry")
        self.assertEqual(self.builds(), 7 + 1 + 2)

    def test_interrupted_and_resumed(self) -> None:
        for size in (100, 99, 98):
            self.put(a=size)
            self.commit(str(size))
        measure, seen = states.measure, []

        def stop(rev: str, **options: object) -> object:
            seen.append(rev)
            if len(seen) == 3:
                raise KeyboardInterrupt
            return measure(rev, **options)  # type: ignore[arg-type]

        with mock.patch.object(states, "measure", stop), self.assertRaises(KeyboardInterrupt):
            self.history()
        self.assertEqual([row.bytes for row in record.read(self.root / history.RECORD)], [100, 99])
        shutil.rmtree(self.root / "build")
        self.history()
        self.assertEqual(self.builds(), 2 + 1 + 2)

    def test_merge_is_compared_with_its_first_parent(self) -> None:
        self.begin()
        self.git("checkout", "-q", "-b", "side")
        self.put(a=100, b=50)
        self.commit("side")
        self.git("checkout", "-q", "main")
        self.put(a=97)
        self.commit("main")
        self.git("merge", "-q", "-s", "ours", "--no-commit", "side")
        self.put(a=97, b=50)
        self.commit("merge")
        told = json.loads(self.history("--json")[1])
        self.assertEqual({row["subject"]: (row["bytes"], row["delta"]) for row in told}, {
            "first": ({"a": 100}, {}), "side": ({"a": 100, "b": 50}, {}), "main": ({"a": 97}, {"a": -3}),
            "merge": ({"a": 97, "b": 50}, {})})

    def test_experiments_leave_nothing(self) -> None:
        self.begin()
        for size in (90, 91):
            self.put(a=size)
            self.history()
        self.assertEqual([row.bytes for row in record.read(self.root / history.RECORD)], [100, 91])

    def test_other_compilers_record_only(self) -> None:
        self.begin()
        before = self.report()
        self.put(a=99)
        path = self.root / "golf" / "engines.json"
        path.write_text(path.read_text("utf-8").replace("nasm 2.0", "nasm 9"), "utf-8")
        status, _, err = self.history()
        self.assertEqual((status, self.report()), (0, before))
        self.assertIn("they are for nasm 9, these are g++ 1.0, nasm 2.0", err)
        self.assertIn(99, [row.bytes for row in record.read(self.root / history.RECORD)])
        self.assertEqual(self.check()[0], 0)

    def test_shallow(self) -> None:
        self.begin()
        self.change("second", a=99)
        shallow = self.folder / "shallow"
        self.git("clone", "-q", "--depth", "1", f"file://{self.root}", str(shallow))
        self.root = shallow
        status, said = self.check()
        self.assertEqual(status, 0, said)
        self.assertIn("this clone is shallow: the changes are not compared", said)
        before = self.files()
        self.assertUserError("git fetch --unshallow", self.history)
        self.assertEqual(self.files(), before)
        path = self.root / report.CHART
        path.write_text(path.read_text("utf-8").replace("99", "98"), "utf-8")
        self.assertStale(report.CHART)

    def test_no_repository(self) -> None:
        self.begin()
        shutil.rmtree(self.root / ".git")
        status, said = self.check()
        self.assertEqual(status, 0, said)
        self.assertIn("no git repository", said)
        self.assertUserError("no git repository.*git clone", self.history)


class Terminal(HistoryTest):
    def test_fifteen_engines_fit(self) -> None:
        use_shapes(self, "m", "n")
        names = [f"asm-linux-x86_64-{number}" for number in range(10)] + [f"cpp-{number}" for number in range(5)]
        before = {label: 1010 for name in names for label in (name, f"{name} n")}
        commit = git.Commit("1" * 40, (), "2020-01-01", "a subject " * 20, "")
        now = {label: size - 12 for label, size in before.items()}
        text = history.changes_table([Change(commit, "", before, {}), Change(commit, "", now, before),
                                    Change(commit, "", {}, now, "x.asm: error"), Change(commit, "", now, now)])
        self.assertLessEqual(max(map(len, text.splitlines())), 125)
        self.assertEqual(len(text.splitlines()), 2 + 15 + 15 + 1 + 1)
        self.assertEqual(text.count("1010 → 998 (-12) / 1010 → 998 (-12)"), 15)
        self.assertIn("does not build: x.asm: error", text.splitlines()[-2])
        self.assertIn("as before", text.splitlines()[-1])


class Shapes(HistoryTest):
    """Sizes for the shape m, and from some commit on for n as well."""

    def told(self) -> list[tuple[str, dict[str, int], dict[str, int]]]:
        return [(row["subject"], row["bytes"], row["delta"]) for row in json.loads(self.history("--json")[1])]

    def begin(self) -> None:
        self.put(a="100 120")
        self.commit("first")
        self.put(a="99 oops")
        self.commit("second")
        self.history()
        self.commit("report")

    def test_commits_that_know_one_shape_are_measured_for_both(self) -> None:
        self.begin()
        self.assertEqual(self.told(), [("first", {"a": 100}, {}), ("second", {"a": 99}, {"a": -1})])
        use_shapes(self, "m", "n")
        self.put(a="99 119")
        self.history()
        self.commit("both shapes")
        self.assertFresh()
        self.change("n alone", a="99 118")
        self.assertFresh()
        self.assertEqual(self.told(), [
            ("first", {"a": 100, "a n": 120}, {}), ("second", {"a": 99}, {"a": -1}),
            ("both shapes", {"a": 99, "a n": 119}, {}), ("n alone", {"a": 99, "a n": 118}, {"a n": -1})])
        self.assertIn("`a` 99 / 119 → 118 (-1) ", self.report())
        (problem,) = (row for row in record.read(self.root / history.RECORD) if row.problem)
        self.assertEqual((problem.shape, problem.problem), ("n", 'golf/asm: error: oops, "quoted"'))
        # Measured once, unless asked again; the working tree is measured each time, for the record and for the report.
        before = self.builds()
        self.history()
        self.assertEqual(self.builds(), before + 2)
        self.history("--retry")
        self.assertEqual(self.builds(), before + 2 + 2 + 2)

    def test_a_shape_without_rows_is_stale(self) -> None:
        self.begin()
        use_shapes(self, "m", "n")
        self.assertStale("no row of commit", "(first)", "(second)")
        self.put(a="99 119")
        self.history()
        self.commit("both shapes")
        path = self.root / history.RECORD
        path.write_text("".join(line for line in path.read_text("utf-8").splitlines(True) if ",119," not in line),
                        "utf-8")
        self.assertStale("no row of a n for the present files")


class Check(HistoryTest):
    def test_fresh_in_the_same_commit(self) -> None:
        self.begin()
        self.assertFresh()
        self.put(a=99)
        self.assertStale("no row of a for the present files")
        self.history()
        self.assertIn("this commit", self.report())
        self.assertFresh()
        self.commit("one byte less")
        self.assertFresh()
        (self.root / "notes.md").write_text("x", "utf-8")
        self.commit("notes")
        self.assertFresh()
        self.change("two more", a=98)
        self.assertIn("one byte less", self.report())
        self.assertFresh()

    def test_a_rebase_changes_hashes(self) -> None:
        self.begin()
        self.change("second", a=99)
        self.change("third", a=98)
        self.git("commit", "-q", "--amend", "-m", "third, said better")
        self.assertFresh()
        self.git("checkout", "-q", "-b", "other", "HEAD~2")
        (self.root / "notes.md").write_text("x", "utf-8")
        self.commit("notes")
        self.git("rebase", "-q", "other", "main")
        self.assertFresh()

    def test_a_squash(self) -> None:
        self.begin()
        self.change("second", a=99)
        self.change("third", a=98)
        self.git("reset", "-q", "--soft", "HEAD~2")
        self.commit("second and third")
        status, said = self.check()
        self.assertEqual(status, 0, said)
        self.assertIn("no commit of the history has", said)
        self.history()  # what was committed stays in the record
        self.assertIn(99, [row.bytes for row in record.read(self.root / history.RECORD)])
        self.commit("report")
        self.assertFresh()
        self.history("--prune")
        self.assertNotIn(99, [row.bytes for row in record.read(self.root / history.RECORD)])
        self.commit("pruned")
        self.assertEqual(self.check(), (0, "fresh: the record, the report and its pictures\n"))

    def test_a_lost_state_excuses_nothing_else(self) -> None:
        self.begin()
        self.change("second", a=99)
        self.put(a=98)
        self.history()
        self.commit("third", "--amend")  # 99 is in the record, and no commit has it
        status, said = self.check()
        self.assertEqual(status, 0, said)
        self.assertIn("no commit of the history has", said)
        path = self.root / history.REPORT
        text = path.read_text("utf-8")
        for old, new in (("new 100", "new 999"), ("→ 99 (-1)", "→ 97 (-3)")):
            self.assertIn(old, text)
            path.write_text(text.replace(old, new), "utf-8")
            self.assertStale("Every change")
        path.write_text(text, "utf-8")
        path = self.root / history.RECORD
        rows = path.read_text("utf-8").splitlines(True)
        path.write_text("".join(row for row in rows if ",100," not in row), "utf-8")
        self.assertStale("no row of commit")

    def test_a_merge(self) -> None:
        """In the middle of a merge the other branch's rows stay, and the report that is written then is right."""
        self.begin()
        self.git("checkout", "-q", "-b", "side")
        self.change("side", a=100, b=50)
        self.git("checkout", "-q", "main")
        self.change("main", a=97)
        self.git("merge", "-q", "side", check=False)
        self.put(a=97, b=50)
        self.history()
        told = record.read(self.root / history.RECORD)
        self.assertLessEqual({(97,), (97, 50), (100, 50), (100,)},
                             {tuple(row.bytes for row in told if row.inputs == state) for state in
                              {row.inputs for row in told}})
        self.assertIn("side", self.report())
        self.commit("merge")
        self.assertFresh()

    def test_stale(self) -> None:
        self.begin()
        self.change("second", a=99)
        files = {name: (self.root / name).read_text("utf-8") for name in (report.CHART, report.ANATOMY, history.REPORT,
                                                                 history.RECORD)}

        def edited(name: str, old: str, new: str, *parts: str) -> None:
            self.assertIn(old, files[name])
            (self.root / name).write_text(files[name].replace(old, new, 1), "utf-8")
            with self.subTest(name=name, new=new):
                self.assertStale(name, *parts)
            (self.root / name).write_text(files[name], "utf-8")

        edited(history.REPORT, "first", "First", "section 'Every change'")
        edited(history.REPORT, "2020-01-01", "2020-01-02", "Every change")
        edited(history.REPORT, "99 (-1)", "99 (-2)", "Every change")
        edited(history.REPORT, "|  -1 |", "|  -2 |", "section 'Today'")
        edited(history.REPORT, "headers", "Headers", "beginning")
        edited(history.REPORT, "this commit", "0123456789a", "Every change")  # a name, but no date and no subject
        edited(report.CHART, "99", "98")
        edited(report.ANATOMY, "99", "98")
        edited(history.RECORD, ",99,10,87,2,", ",99,11,86,2,", "differs from what was measured")
        for name in files:
            (self.root / name).unlink()
            with self.subTest(missing=name):
                self.assertStale(name)
            (self.root / name).write_text(files[name], "utf-8")
        self.assertFresh()

    def test_readme(self) -> None:
        """The table of engines, the smallest one's line, and bytes beside speeds, which are not ours to judge."""
        self.begin()
        use_shapes(self, "m", "n")
        path = self.root / "README.md"

        def readme(line: str, size: int, table: str) -> str:
            return (f"Title\n\n<!-- engines: w -->\n{table}\n<!-- end of engines -->\n<!-- one-line: x -->\n```sh\n{line}```\n<!-- end of one-line -->\n<!-- speed: y -->\n"
                    f"| `a`  |   {size} |  7,000 | 1 MB |\n<!-- end of speed -->\n| `a`  |   1 |\n")
        with mock.patch.object(history, "PROJECT_MODEL", "n"):
            self.put(a="100 120")
            self.history()
            table, line = report.front_table(self.today()), "line of {'a': 100}\n"
            self.assertRegex(table, r"(?m)^\| `a` +\| what it is +\| +\*\*100\*\* \| +120 \| +5\.0 KB \| every token +\|$")
            for facts in (("", 120, table), ("line of {'a': 99}\n", 120, table), (line, 100, table), (line, 120, "")):
                path.write_text(readme(*facts), "utf-8")
                self.assertStale("README.md: it is stale")
            self.history()
            self.assertEqual(path.read_text("utf-8"), readme(line, 120, table))
            self.assertFresh()
            path.write_text("Title\n", "utf-8")
            self.assertUserError("README.md: no block `<!-- engines: …", self.check)

    def test_only_the_last_change_may_lack_a_name(self) -> None:
        self.begin()
        self.change("second", a=99)
        text = self.report()
        self.change("third", a=98)
        path = self.root / history.REPORT
        line = next(line for line in text.splitlines() if "this commit" in line)
        known = next(line for line in path.read_text("utf-8").splitlines() if "second" in line)
        path.write_text(path.read_text("utf-8").replace(known, line), "utf-8")
        self.assertStale("Every change")

    def test_a_commit_without_a_row(self) -> None:
        self.begin()
        self.put(a=99)
        self.commit("second")
        self.put(a=100)
        self.commit("back")
        self.assertStale("record.csv: no row of commit", "(second)")


if __name__ == "__main__":
    main()
