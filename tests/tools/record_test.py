"""common/size/record.py: rows are not lost, not doubled, and must not contradict each other."""

from __future__ import annotations

import shutil
from dataclasses import replace

from repository import RepositoryTest
from support.folders import FolderTest
from support.skip import main
from support.tools import ROOT

from common.size import record
from common.size.record import COLUMNS, Row

KEY = "0123456789abcdef"
ROW = Row(KEY, "a", 100, 10, 88, 2, 1000, "nasm 2.0")
OLD = replace(ROW, header=None, code=None, data=None)
FAILED = record.failed(KEY + "more", "g++ 1.0, nasm 2.0", 'x.asm:3: error: a, "b"')
HEADER = ",".join(COLUMNS)


class Record(FolderTest):
    def parse(self, *lines: str) -> list[Row]:
        return record.parse("".join(f"{line}\n" for line in lines), "r.csv")

    def test_there_and_back(self) -> None:
        rows = [ROW, replace(OLD, engine="b"), replace(FAILED, inputs="f" * 16)]
        path = self.folder / "new" / "r.csv"
        self.assertEqual(record.read(path), [])
        record.write(path, rows)
        self.assertEqual(record.read(path), rows)
        self.assertEqual(path.read_text("utf-8").splitlines(), [
            "inputs,engine,bytes,header,code,data,packed,toolchain,problem,shape",
            f"{KEY},a,100,10,88,2,1000,nasm 2.0,,stories260K", f"{KEY},b,100,,,,1000,nasm 2.0,,stories260K",
            f'{"f" * 16},,,,,,,"g++ 1.0, nasm 2.0","x.asm:3: error: a, ""b""",'])
        before = path.stat().st_mtime_ns
        record.write(path, rows)
        self.assertEqual(path.stat().st_mtime_ns, before)

    def test_measured(self) -> None:
        size = {"engine": "a", "model": ROW.shape, "bytes": 100, "packed": 1000, "compiler": "nasm 2.0", "ok": True}
        self.assertEqual(record.measured(KEY + "more", [size]), [OLD])
        self.assertEqual(record.measured(KEY, [{**size, "header": 10, "code": 88, "data": 2}]), [ROW])
        self.assertEqual(record.measured(KEY, [{**size, "model": "n"}]), [replace(OLD, shape="n")])
        problem = {"engine": "", "model": "n", "compiler": FAILED.toolchain, "problem": FAILED.problem}
        self.assertEqual(record.measured(KEY, [problem]), [replace(FAILED, shape="n")])

    def test_add_keeps_the_order(self) -> None:
        other, third = replace(ROW, engine="b"), replace(ROW, engine="0")
        self.assertEqual(record.add([other, ROW], [third, ROW]), [other, ROW, third])
        self.assertEqual(record.add([OLD, other], [ROW]), [ROW, other])
        self.assertEqual(record.add([ROW], [OLD]), [ROW])
        self.assertEqual(record.add([ROW], [replace(ROW, header=11, code=87)]), [replace(ROW, header=11, code=87)])

    def test_what_builds_has_no_problem(self) -> None:
        self.assertEqual(record.add([FAILED], [ROW]), [ROW])
        self.assertEqual(record.add([ROW], [FAILED]), [ROW])
        other = replace(ROW, toolchain="nasm 9")
        self.assertEqual(record.add([FAILED], [other]), [FAILED, other])
        self.assertEqual(record.add([FAILED], [replace(FAILED, problem="other words")]), [FAILED])
        # One shape may build where another one does not.
        self.assertEqual(record.add([replace(FAILED, shape="n")], [ROW]), [replace(FAILED, shape="n"), ROW])
        self.assertEqual(record.add([replace(FAILED, shape="n")], [replace(ROW, shape="n")]), [replace(ROW, shape="n")])

    def test_doubled_lines(self) -> None:
        line = f"{KEY},a,100,10,88,2,1000,nasm 2.0,"
        self.assertEqual(self.parse(HEADER, line, HEADER, "", line, f"{KEY},a,100,,,,1000,nasm 2.0,"), [ROW])

    def test_rows_of_old_name_no_shape(self) -> None:
        """A branch from before shapes were named still adds such rows, which a merge keeps."""
        lines = record.text([ROW, replace(ROW, shape="n", bytes=101), replace(FAILED, inputs="f" * 16)]).splitlines()
        old = [",".join(COLUMNS[:-1]), *(line.rpartition(",")[0] for line in (lines[1], lines[3]))]
        self.assertEqual(self.parse(*old), [ROW, replace(FAILED, inputs="f" * 16)])
        self.assertEqual(self.parse(*old, *lines), self.parse(*lines[:2], lines[3], lines[2]))

    def test_contradictions(self) -> None:
        line = f"{KEY},a,100,10,88,2,1000,nasm 2.0,"
        self.assertUserError(r"^r.csv: line 3: bytes: 101 for a .*also says 100; delete", self.parse, HEADER, line,
                             line.replace("100,", "101,", 1))
        self.assertUserError(r"^r.csv: line 3: packed: 7 ", self.parse, HEADER, line, line.replace("1000", "7"))
        self.assertUserError("bytes: 101 ", record.add, [ROW], [replace(ROW, bytes=101)])

    def test_bad_lines(self) -> None:
        for line, message in [("<<<<<<< HEAD", "line 2: 1 cells instead of 10; after a merge conflict"),
                              (f"{KEY},a,-3,,,,1,n,", "line 2: bytes: '-3', a whole number"),
                              (f"{KEY},a,١,,,,1,n,", "line 2: bytes"), (f'{KEY},"a"b,1,,,,1,n,', "line 2: ")]:
            self.assertUserError(message, self.parse, HEADER, line)


class Merge(RepositoryTest):
    def test_a_merge_keeps_the_rows_of_both_branches(self) -> None:
        """By git itself, with the project's own attributes; without them it would be a conflict."""
        for attributes in (True, False):
            with self.subTest(attributes=attributes):
                shutil.rmtree(self.root)
                path = self.root / "golf" / "sizes" / "record.csv"
                path.parent.mkdir(parents=True)
                self.git("init", "-q", "-b", "main")
                if attributes:
                    shutil.copy(ROOT / ".gitattributes", self.root)
                common, ours, theirs = (replace(ROW, inputs=f"{number}" * 16) for number in range(3))
                record.write(path, [common])
                self.commit("base")
                self.git("checkout", "-q", "-b", "side")
                record.write(path, record.add(record.read(path), [theirs]))
                self.commit("theirs")
                self.git("checkout", "-q", "main")
                record.write(path, record.add(record.read(path), [ours]))
                self.commit("ours")
                self.git("merge", "-q", "--no-edit", "side", check=False)
                if attributes:
                    self.assertEqual(record.read(path), [common, ours, theirs])
                    self.assertEqual(self.git("status", "--short"), "")
                else:
                    self.assertUserError("merge conflict", record.read, path)


if __name__ == "__main__":
    main()
