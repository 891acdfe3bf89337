#!/usr/bin/env python3
"""NASM's listing: which line of which file made a byte, for sources that look alike.

    tests/run anatomy/listing_test.py -v
"""

from __future__ import annotations

import unittest
from dataclasses import replace

from support.folders import FolderTest
from support.sources import other_sources

from common.anatomy import listing
from common.engine import engines, nasm
from common.engine.builds import Built

ENGINE = next(engine for engine in engines.table() if engine.toolchain == "nasm")
ONE = "; @rope\n  nop\n%macro TURN 1\n  mov al, %1\n%endmacro\n"
TWO = "; @softmax\n  nop\n%macro SCORE 1\n  mov al, %1\n%endmacro\n"  # line by line the same, but for the names


class Listing(FolderTest):
    def units(self, generated: str = "", **sources: str) -> list[tuple[str, str, str]]:
        """(instruction, operation, where) of what `main` and what it includes make; model.inc is generated."""
        golf = self.folder / "golf" / "asm"
        golf.mkdir(parents=True, exist_ok=True)
        for name, text in sources.items():
            (golf / f"{name}.{'asm' if name == 'main' else 'inc'}").write_text(text, "utf-8")
        files = self.folder / "files"
        files.mkdir(exist_ok=True)
        (files / "model.inc").write_text(generated, "utf-8")
        engine = replace(ENGINE, source="golf/asm/main.asm")
        with other_sources(self.folder):
            nasm.make(engine, files, [])
            return self.explain(Built(engine, "m", "f32", files / "engine.bin", files, "nasm", (), True, 0, 0, {}))

    def explain(self, built: Built) -> list[tuple[str, str, str]]:
        program = built.program.read_bytes()
        units = listing.units(built, program)
        self.assertEqual(b"".join(unit.data for unit in units), program)
        return [(unit.instruction, unit.operation, " < ".join(
            f"{place.file.removeprefix('golf/asm/')}:{place.line}" for place in unit.places)) for unit in units]

    def test_equal_lines_of_two_files(self) -> None:
        main = '%include "one.inc"\n%include "two.inc"\n; @loop\n  nop\n'
        self.assertEqual(self.units(main=main, one=ONE, two=TWO), [
            ("nop", "rope", "one.inc:2 < main.asm:1"), ("nop", "softmax", "two.inc:2 < main.asm:2"),
            ("nop", "loop", "main.asm:4")])

    def test_equal_lines_of_two_macros(self) -> None:
        main = '%include "one.inc"\n%include "two.inc"\n; @loop\n  SCORE 2\nhere: turn 1\n'
        self.assertEqual(self.units(main=main.replace("turn", "TURN"), one=ONE, two=TWO)[2:], [
            ("mov al, 2", "softmax", "two.inc:4 < main.asm:4"), ("mov al, 1", "rope", "one.inc:4 < main.asm:5")])
        self.assertEqual(self.units(main=main, one=ONE.replace("%macro", "%imacro"), two=TWO)[3:],
                         [("mov al, 1", "rope", "one.inc:4 < main.asm:5")])

    def test_within_one_another(self) -> None:
        main = '; @loop\n%include "outer.inc"\n%macro TWICE 1\n  %rep 2\n  TURN %1\n  %endrep\n%endmacro\n  TWICE 3\n'
        outer = '\n%include "model.inc"\n%include "one.inc"\n  nop\n'
        self.assertEqual(self.units(main=main, outer=outer, one=ONE, generated="%define X 1\n  ; nop\n"), [
            ("nop", "rope", "one.inc:2 < outer.inc:3 < main.asm:2"), ("nop", "loop", "outer.inc:4 < main.asm:2"),
            *[("mov al, %1", "rope", "one.inc:4 < main.asm:5 < main.asm:6 < main.asm:8")] * 2])

    def test_one_name_for_two_macros(self) -> None:
        """Which of them is used is not in the listing. Where their lines differ, it is clear all the same."""
        main = '%include "one.inc"\n%undef X\n%unmacro TURN 1\n%include "two.inc"\n  TURN 1\n'
        two = TWO.replace("SCORE", "TURN")
        self.assertUserError("engine.lst: line 4: 'mov al, %1': it may be of golf/asm/one.inc or golf/asm/two.inc, which "
                             "define a macro of the same name; rename one",
                             lambda: self.units(main=main, one=ONE, two=two))
        self.assertEqual(self.units(main=main, one=ONE, two="\n" + two)[2:],
                         [("mov al, 1", "softmax", "two.inc:5 < main.asm:5")])

    def test_what_is_in_no_source(self) -> None:
        with self.subTest("a generated file"):
            self.assertUserError("line 1: 'nop': it is not what a generated file has there; ",
                                 lambda: self.units(main='; @loop\n%include "model.inc"\n', generated="  nop\n"))
        with self.subTest("a macro by another name"):
            self.assertUserError("line 4: 'mov al, %1': no macro by a name of the line before is in a source; ",
                                 lambda: self.units(main='%include "one.inc"\n%define OTHER TURN\n  OTHER 1\n', one=ONE))
        with self.subTest("another text"):
            self.units(main="  nop ; @loop\n")
            (self.folder / "golf" / "asm" / "main.asm").write_text("  cld ; @loop\n", "utf-8")
            files = self.folder / "files"
            built = Built(replace(ENGINE, source="golf/asm/main.asm"), "m", "f32", files / "engine.bin", files, "nasm", (),
                          True, 0, 0, {})
            with other_sources(self.folder):
                self.assertUserError("line 1: 'nop ; @loop': it is not what golf/asm/main.asm has there; ", self.explain,
                                     built)
        with self.subTest("no such folder"):
            built.files.joinpath("engine.lst").write_text('     1   %include "gone.inc"\n     1   <1> nop\n', "utf-8")
            (self.folder / "golf" / "asm" / "main.asm").write_text('%include "gone.inc"\n', "utf-8")
            with other_sources(self.folder):
                self.assertUserError("%include 'gone.inc': in none of .*/golf/asm; ", self.explain, built)


if __name__ == "__main__":
    unittest.main()
