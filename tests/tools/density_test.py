"""tools/density.py: programs that are made, measured and run; disassembly, maps and reports by hand; what is missing or wrong.

    tests/run tools/density_test.py              with targets whose compiler is the host's own
    tests/run tools/density_test.py everything   all that this machine has compilers for, as it is committed
"""

from __future__ import annotations

import json
import sys
import xml.etree.ElementTree
from dataclasses import replace
from unittest import mock

from support.folders import FolderTest
from support.skip import main
from support.tools import run_tool

import density
from common import blocks
from common.density import compilers, disassembly, report, study
from common.density.study import Program, Row
from common.engine import targets
from common.model.models import find_model

HOSTS = [target for target in study.all_targets() if not target.gcc("prefix") and not target.variant]
BIG = [target for target in study.all_targets() if target.byte_order == "big"]


def row(name: str, size: int | None, compiler: str = "g++ 12.2.0", level: str = "-Os", text: str = study.EQUAL) -> Row:
    parts = {"header": 72, "constants": 8, "code": size - 80, "padding": 0, "instructions": 10, "instruction_bytes": 25,
             "two_byte": 5, "loop_instructions": 5, "loop_bytes": 16, "libgcc": 0} if size else {}
    return Row(name, "t", "", "little", compiler, level, size, **parts, text=text)


class Made(FolderTest):
    """Programs for the host's own compiler."""

    def test_a_host_s_program(self) -> None:
        self.assertTrue(HOSTS)
        programs = study.programs([HOSTS[0].name], "gcc")
        self.assertEqual([program.level for program in programs], list(compilers.LEVELS))
        seen = []
        rows = study.study(find_model(), programs, seen.append)
        self.assertEqual(sorted(rows, key=str), sorted(seen, key=str))
        for made in rows:
            self.assertEqual(made.text, study.EQUAL, made)
            self.assertEqual(made.bytes, made.header + made.constants + made.code + made.padding)
            self.assertEqual(made.instruction_bytes, made.code)  # nothing but instructions is there
            self.assertTrue(0 < made.loop_instructions < 15 and 0 < made.loop_bytes < 60, made)
            self.assertEqual((made.libgcc, made.missing), (0, False))

    def test_a_planted_byte_order_is_noticed(self) -> None:
        """A model that is packed for a big-endian machine makes a program for this one say something else, or nothing."""
        wrong = replace(HOSTS[0], facts={**HOSTS[0].facts, "byte_order": "big"})
        arguments = ["density", "--json", "-o", str(self.folder / "x")]
        with mock.patch.object(study, "programs", return_value=[Program(wrong, compilers.Gcc(), "-Os")]), \
                mock.patch.object(sys, "argv", arguments), mock.patch.object(sys, "stderr"):
            self.assertEqual(density.main(), 1)
        (said,) = json.loads((self.folder / "x").read_text("utf-8"))
        self.assertTrue(said["bytes"])
        self.assertFalse(said["right"])
        self.assertNotRegex(said["text"], "^missing")

    def test_what_does_not_compile_is_said(self) -> None:
        target = HOSTS[0]
        broken = replace(target, facts={**target.facts, "gcc": {**target.facts["gcc"], "machine": ["-mno-such-machine"]}})
        (made,) = study.study(find_model(), [Program(broken, compilers.Gcc(), "-Os")])
        self.assertRegex(made.text, "no-such-machine")
        self.assertEqual((made.bytes, made.missing, made.right), (None, False, False))

    def test_what_is_missing_is_said(self) -> None:
        target = HOSTS[0]
        lacking = replace(target, facts={**target.facts, "gcc": {**target.facts["gcc"], "prefix": "zzz-"}})
        (made,) = study.study(find_model(), [Program(lacking, compilers.Gcc(), "-Os")])
        self.assertEqual((made.text, made.missing), ("missing: zzz-g++: not found", True))
        away = replace(target, facts={**target.facts, "emulator": "qemu-zzz"})
        (made,) = study.study(find_model(), [Program(away, compilers.Gcc(), "-Os")])
        self.assertRegex(made.text, "^missing: qemu-zzz: not found")

    def test_wrong_usage(self) -> None:
        for arguments, said in ((["--target", "zzz"], "target 'zzz': not one of"), (["--write", "--compiler", "gcc"], "--write: the")):
            result = run_tool("density", *arguments)
            self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (1, "", 1))
            self.assertIn(said, result.stderr)


class Targets(FolderTest):
    def test_both_orders_are_studied(self) -> None:
        self.assertGreater(len(BIG), 4)
        for target in study.all_targets():
            script = target.script(study.IDEA).read_text("utf-8")
            self.assertEqual("be.ld" in script, target.byte_order == "big", target)

    def test_variants(self) -> None:
        with_variants = [target for target in study.all_targets() if target.variant]
        self.assertTrue(with_variants)
        for target in with_variants:
            whole = targets.find(target.name)
            self.assertNotEqual(target.fact("code"), whole.fact("code"))
            self.assertEqual(target.gcc("linker"), whole.gcc("linker"))  # what a variant does not say is the target's
        names = [target.fact("code") for target in study.all_targets()]
        self.assertEqual(len(set(names)), len(names))

    def test_every_package_list_has_the_compiler(self) -> None:
        for target in study.all_targets():
            commands = [command for _, command in density.packages_of(target)]
            if target.gcc("prefix"):
                self.assertIn(f"{target.gcc('prefix')}g++", commands, target)
            self.assertTrue(any(command.startswith("qemu-") for command in commands), target)


class Disassembly(FolderTest):
    X86 = ("a.elf:     file format elf32-i386\n\n00010000 <start>:\n   10000:\t31 c0                \txor    %eax,%eax\n"
           "   10002:\td9 04 81             \tflds   (%ecx,%eax,4)\n   10005:\t40                   \tinc    %eax\n"
           "   10006:\t75 fa                \tjne    10002 <start+0x2>\n   10008:\te8 f3 ff ff ff       \tcall   10000 <start>\n"
           "   1000d:\teb f1                \tjmp    10000 <start>\n")

    def test_instructions(self) -> None:
        found = disassembly.instructions(self.X86, 0x1000F)
        self.assertEqual([each.bytes for each in found], [2, 3, 1, 2, 5, 2])
        self.assertEqual(found[3].text, "jne    10002 <start+0x2>")

    def test_the_smallest_loop(self) -> None:
        found = disassembly.instructions(self.X86, 0x1000F)
        loop = disassembly.inner_loop(found, 0x10000, {0x10005}, slots=False)
        self.assertEqual([each.address for each in loop], [0x10002, 0x10005, 0x10006])
        self.assertEqual(len(disassembly.inner_loop(found, 0x10000, {0x10008}, slots=False)), 6)
        self.assertEqual(disassembly.inner_loop(found, 0x10000, set(), slots=False), [])

    def test_delay_slots(self) -> None:
        text = ("   10000:\t24630001 \taddiu\tv1,v1,1\n   10004:\t1467fffe \tbne\tv1,a3,10000 <start>\n"
                "   10008:\t46241080 \tadd.d\t$f2,$f2,$f4\n")
        found = disassembly.instructions(text, 0x1000C)
        self.assertEqual([len(disassembly.inner_loop(found, 0x10000, {0x10000}, slots)) for slots in (False, True)], [2, 3])
        for head, slots in (("mipsel", True), ("tradbigmips", True), ("sh-linux", True), ("sparc", True), ("i386", False),
                            ("powerpc", False), ("littlearm", False)):
            self.assertEqual(disassembly.SLOT.search(f"a.elf:     file format elf32-{head}") is not None, slots, head)

    def test_literal_pools_are_no_instructions(self) -> None:
        text = ("   10000:\t01 d1       \tmov.l\t10008 <start+0x8>,r1\t! 4\n   10002:\t0b 00       \trts\n"
                "   10004:\t09 00       \tnop\n   10006:\t09 00       \tnop\n   10008:\t04 00       \tmov.b\tr0,@(r0,r0)\n"
                "   1000a:\t00 00       \t.word 0x0000\n   1000c:\t00000000 \t.word\t0x00000000\n")
        self.assertEqual([each.address for each in disassembly.instructions(text, 0x10010)], [0x10000, 0x10002, 0x10004, 0x10006])

    def test_a_map(self) -> None:
        text = ("Linker script and memory map\n .text          0x00010100       0x40 engine.o\n"
                " .text          0x00010140       0x1c /usr/lib/libgcc.a(_muldf3.o)\n"
                " .text._x       0x0001015c        0x4 /usr/lib/libgcc.a(_adddf3.o)\n"
                " .text          0x00000000        0x8 /usr/lib/libgcc.a(_discarded.o)\n.bss  0x3\n")
        self.assertEqual(study.library_bytes(text), 0x20)


class Reports(FolderTest):
    ROWS = [row("B", 300), row("A", 200, "clang 19.1.7"), row("A", 250), row("C", None, "g++", text="missing: c-g++: not found"),
            row("D", 227, text="token 3: expected ' a', found 'b', after …''")]

    def test_csv_goes_there_and_back(self) -> None:
        self.assertEqual(report.rows_of(report.csv_of(self.ROWS)), self.ROWS)

    def test_table(self) -> None:
        lines = report.table_of(self.ROWS).splitlines()[2:]
        self.assertEqual([line[0] for line in lines], ["A", "D", "A", "B", "C"])
        self.assertIn("missing: c-g++", lines[-1])
        self.assertIn("token 3: expected", lines[1])
        self.assertIn("5 / 16", lines[0])

    def test_markdown(self) -> None:
        lines = report.markdown_of(self.ROWS).splitlines()
        self.assertEqual([line.split("|")[1].strip() for line in lines[2:]], ["A", "D", "B", "C"])
        self.assertIn("227 (wrong)", lines[3])

    def test_picture(self) -> None:
        picture = report.picture_of([*self.ROWS, row("Z", 9000)])
        tree = xml.etree.ElementTree.fromstring(picture)
        said = "".join(tree.itertext())
        for text in ("A", "B", "9000", "cut here", "header", "constants", "code"):
            self.assertIn(text, said)
        self.assertNotIn("227", said)  # what is wrong is in no picture
        self.assertIn("prefers-color-scheme:dark", picture)
        self.assertEqual(picture, report.picture_of([*self.ROWS, row("Z", 9000)]))

    def test_what_is_committed_belongs_together(self) -> None:
        rows = report.rows_of(density.CSV.read_text("utf-8"))
        self.assertTrue(all(each.right or each.missing for each in rows))
        self.assertEqual(density.PICTURE.read_text("utf-8"), report.picture_of(rows))
        self.assertEqual(blocks.content(density.PAGE.read_text("utf-8"), density.BLOCK), report.page_block(rows))
        self.assertGreater(len({each.code_name for each in rows if each.right}), 20)
        programs = {(program.target.name, program.target.variant, program.compiler.name, program.level)
                    for program in study.programs()}
        self.assertEqual({(each.target, each.variant, "clang" if each.compiler.startswith("clang") else "gcc", each.level)
                          for each in rows}, programs)


class Everything(FolderTest):
    """Of the label `long`: all that this machine can make says what the reference says, and weighs what is committed."""

    def test_all(self) -> None:
        committed = {(each.target, each.variant, each.compiler, each.level): each
                     for each in report.rows_of(density.CSV.read_text("utf-8"))}
        for made in study.study(find_model(), study.programs()):
            with self.subTest(code=made.code_name, compiler=made.compiler, level=made.level):
                self.assertTrue(made.right or made.missing, made.text)
                known = committed.get((made.target, made.variant, made.compiler, made.level))
                if known and made.right and known.right:
                    self.assertEqual(made, known)


if __name__ == "__main__":
    if sys.argv[1:] == ["everything"]:
        sys.argv[1] = Everything.__name__
    else:
        del Everything
    main()
