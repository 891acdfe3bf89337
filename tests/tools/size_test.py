"""tools/size.py: exit status, forms, comparisons."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from dataclasses import replace
from unittest import mock

import size
from measure_test import SIZE
from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main
from support.tools import run_tool

from common.engine import builds, engines
from common.model import random_model
from common.size.measure import Size

LARGE = replace(SIZE, engine="large", bytes=411, headroom=-1)


class Main(FolderTest):
    """With measurements that are given."""

    def run_main(self, *arguments: object, rows: list[Size], before: list[dict] | None = None) -> tuple[int, str]:
        with mock.patch.object(sys, "argv", ["size.py", *map(str, arguments)]), \
                mock.patch.object(size.measure, "sizes", lambda names, model: rows), \
                mock.patch.object(size.states, "measure", lambda rev, *arguments: before), \
                mock.patch.object(size.git, "is_branch", lambda rev: rev == "main"), \
                mock.patch.object(size.git, "merge_base", lambda rev: "base"), \
                mock.patch.object(size.git, "resolve", lambda rev: rev), \
                contextlib.redirect_stdout(io.StringIO()) as said:
            return size.main(), said.getvalue()

    def test_status(self) -> None:
        self.assertEqual(self.run_main(rows=[SIZE])[0], 0)
        for form in ("--json", "--markdown", "--csv", "--bloaty", "--benchmark"):
            self.assertEqual(self.run_main(form, rows=[SIZE, LARGE])[0], 1)
        self.assertEqual(self.run_main("--json", rows=[replace(LARGE, binding=False)])[0], 0)

    def test_forms(self) -> None:
        self.assertRegex(self.run_main(rows=[SIZE, LARGE])[1], r"large +m +411 +410 +-1 .* over budget\n")
        self.assertIn("another shape or compiler", self.run_main(rows=[replace(LARGE, binding=False)])[1])
        (row,) = json.loads(self.run_main("--json", rows=[SIZE])[1])
        self.assertEqual((row["engine"], row["bytes"], row["budget"], row["header"], row["compiler"], row["ok"]),
                         ("e", 400, 410, 50, "g++ 12.2.0", True))
        self.assertIs(json.loads(self.run_main("--json", rows=[LARGE])[1])[0]["ok"], False)
        self.assertIn("| e      | m     |   400 |", self.run_main("--markdown", rows=[SIZE])[1])
        self.assertIn("engine,model,bytes", self.run_main("--csv", rows=[SIZE])[1])

    def test_output(self) -> None:
        path = self.folder / "sizes.csv"
        self.assertEqual(self.run_main("-o", path, rows=[SIZE, LARGE]), (1, ""))
        with path.open(newline="", encoding="utf-8") as file:
            self.assertEqual([row["bytes"] for row in csv.DictReader(file)], ["400", "411"])
        self.assertEqual(self.run_main("--badge", "--engine", "e", "-o", path, rows=[SIZE]), (0, ""))
        self.assertEqual(json.loads(path.read_text("utf-8"))["message"], "400 bytes")

    def test_against_a_file(self) -> None:
        path = self.folder / "old.csv"
        path.write_text(f"engine,model,bytes\ne,m,{SIZE.bytes - 1}\n", "utf-8")
        status, said = self.run_main("-d", path, rows=[SIZE])
        self.assertEqual(status, 0)
        self.assertRegex(said, r"e +m +399 +400 +\+1 +▲ larger\n")
        self.assertEqual(self.run_main("-d", path, "--fail-on-growth", rows=[SIZE])[0], 1)
        self.assertEqual(self.run_main("-d", path, "--fail-on-growth", rows=[replace(SIZE, bytes=399)])[0], 0)
        path.write_text("engine,model,bytes\ne,other,399\n", "utf-8")
        self.assertUserError("none of these engines for the model m",
                             lambda: self.run_main("-d", path, "--fail-on-growth", rows=[SIZE]))
        path.write_text(f"engine,model,bytes\ne,m,{SIZE.bytes - 1}\n", "utf-8")
        # Over the budget is 1 also without growth.
        self.assertEqual(self.run_main("-d", path, rows=[replace(SIZE, bytes=399, headroom=-1)])[0], 1)
        (row,) = json.loads(self.run_main("-d", path, "--json", rows=[SIZE])[1])
        self.assertEqual(row, {"engine": "e", "model": "m", "before": 399, "after": 400, "delta": 1,
                               "mark": "▲ larger"})

    def test_against_a_commit(self) -> None:
        before = [{"engine": "e", "model": "m", "bytes": 402}, {"engine": "other", "model": "m", "bytes": 1}]
        said = self.run_main("--diff", "HEAD~1", rows=[SIZE], before=before)[1]
        self.assertRegex(said, r"e +m +402 +400 +-2 +▼ smaller\n")
        self.assertIn("gone", said)
        only = self.run_main("--diff", "HEAD~1", "--engine", "e", rows=[SIZE], before=before)[1]
        self.assertNotIn("gone", only)

    def test_a_branch_is_compared_from_where_it_left(self) -> None:
        asked: list[str] = []
        with mock.patch.object(size.git, "merge_base", lambda rev: "base"), \
                mock.patch.object(size.git, "is_branch", lambda rev: rev == "main"), \
                mock.patch.object(size.git, "resolve", lambda rev: f"resolved {rev}"), \
                mock.patch.object(size.states, "measure", lambda rev: asked.append(rev) or []):
            for rev in ("main", "HEAD~1"):
                with mock.patch.object(sys, "argv", ["size.py", "--diff", rev]):
                    size.old_sizes(size.command_line(size.parser()), None)
        self.assertEqual(asked, ["base", "resolved HEAD~1"])


class Tool(FolderTest):
    def test_own_model(self) -> None:
        model = random_model.write(self.folder, "mine", small_checkpoint())
        result = run_tool("size", "--model", model.checkpoint, "--engine", engines.names()[0], "--json")
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        (row,) = json.loads(result.stdout)
        again = builds.build(engines.table()[0], model, self.folder / "engines")
        self.assertEqual((row["engine"], row["model"], row["bytes"], row["packed"]),
                         (engines.names()[0], "mine", again.counted, again.packed))
        self.assertEqual(row["header"] + row["code"] + row["data"], row["bytes"])
        # Counted twice from the file: all but weights and records.
        self.assertEqual(again.counted, again.program.stat().st_size - again.packed)
        # A model of the user's own is not held to the budget.
        self.assertEqual((row["binding"], row["ok"]), (False, True))

    def test_usage(self) -> None:
        for arguments in (["--json", "--markdown"], ["--fail-on-growth"], ["--badge"], ["--features", "--bloaty"],
                          ["-d", "x.csv", "--diff", "HEAD"], ["--diff", "HEAD", "-o", "x.csv"],
                          ["--tokenizer", "t.bin"]):
            with self.subTest(arguments=arguments):
                result = run_tool("size", *arguments)
                self.assertEqual((result.returncode, result.stdout), (2, ""))

    def test_errors(self) -> None:
        result = run_tool("size", "--engine", "none")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertRegex(result.stderr,
                         r"^llama512 size: error: engine 'none': not in golf/engines.json, known are .*\n$")
        # An empty revision, as of a variable that is not set, is no wish for no comparison.
        result = run_tool("size", "--diff", "")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertRegex(result.stderr, "revision '': no such commit|no git repository")  # a tarball of the project
        result = run_tool("size", "-d", self.folder / "none.csv")
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertRegex(result.stderr, r"^llama512 size: error: .*none.csv: cannot read the sizes")


if __name__ == "__main__":
    main()
