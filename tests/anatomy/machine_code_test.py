#!/usr/bin/env python3
"""Compiled engines: ELF and DWARF of several kinds, and machine code that capstone may not know.

    tests/run anatomy/machine_code_test.py -v
"""

from __future__ import annotations

import struct
import unittest
from pathlib import Path
from unittest import mock

from support.folders import FolderTest

from common.anatomy import dwarf, headers, instructions as module
from common.anatomy.explain import explain
from common.anatomy.instructions import ISAS, UNKNOWN, instructions
from common.engine import builds, gcc, images
from common.engine.builds import Built
from common.machine import here
from common.size.measure import budget_model

COMPILED = [engine for engine in here.choose(None, to_run=False) if engine.source.endswith(".cpp")]
RISCV = bytes.fromhex("05 47  53 74 27 d2  a9 47")  # li a4, 1; fcvt.d.l fs0, a4; li a5, 10
THUMB = bytes.fromhex("05 46  94 ed 02 5b  52 46")  # mov r5, r4; vldr d5, [r4, #8]; mov r2, r10
FUNCTION, OBJECT = 2, 1


def elf32(machine: int, code: bytes, symbols: list[tuple[str, int, int, int]], address: int = 0x200000) -> bytes:
    """An ELF file of one section `.all`; symbols are name, offset, size and type."""
    names = b"\0.all\0.symtab\0.strtab\0.shstrtab\0"
    strings, table = b"\0", bytes(16)
    for name, offset, size, kind in symbols:
        table += struct.pack("<IIIBBH", len(strings), address + offset, size, kind, 0, 1)
        strings += name.encode() + b"\0"
    blocks = [code, table, strings, names]
    offsets = [52 + sum(map(len, blocks[:index])) for index in range(len(blocks) + 1)]
    header = b"\x7fELF\1\1\1".ljust(16, b"\0") + struct.pack("<HHIIIIIHHHHHH", 2, machine, 1, 0, 0, offsets[-1], 0, 52, 32,
                                                             0, 40, 5, 4)
    rows = [(0,) * 10, (1, 1, 7, address, offsets[0], len(code), 0, 0, 1, 0),
            (6, 2, 0, 0, offsets[1], len(table), 3, 1, 4, 16), (14, 3, 0, 0, offsets[2], len(strings), 0, 0, 1, 0),
            (22, 3, 0, 0, offsets[3], len(names), 0, 0, 1, 0)]
    return header + b"".join(blocks) + b"".join(struct.pack("<10I", *row) for row in rows)


class Instructions(unittest.TestCase):
    def texts(self, machine: str, bits: int, state: str, code: bytes, rows: tuple[int, ...] = ()) -> list[tuple[int, str]]:
        return list(instructions(machine, bits, state, code, 0x1000, rows))

    def test_what_capstone_knows(self) -> None:
        self.assertEqual(self.texts("EM_386", 32, "", b"\x43\xeb\x30"), [(1, "inc ebx"), (2, "jmp 0x1033")])
        self.assertEqual(self.texts("EM_X86_64", 64, "", b"\xff\xc3\x0f\x05"), [(2, "inc ebx"), (2, "syscall")])
        self.assertEqual([size for size, _ in self.texts("EM_ARM", 32, "t", THUMB)], [2, 4, 2])
        self.assertEqual(self.texts("EM_ARM", 32, "a", b"\x04\x50\xa0\xe1"), [(4, "mov r5, r4")])
        self.assertEqual(self.texts("EM_AARCH64", 64, "", b"\xf7\x03\x13\xaa"), [(4, "mov x23, x19")])

    def test_what_it_does_not_know(self) -> None:
        """The sums are right all the same: by the encoding, or else by the lines of the source."""
        with mock.patch.object(module, "_disassembler", lambda isa: None):
            for bits in (32, 64):
                self.assertEqual(self.texts("EM_RISCV", bits, "", RISCV), [(2, "05 47"), (4, "53 74 27 d2"), (2, "a9 47")])
            self.assertEqual([size for size, _ in self.texts("EM_ARM", 32, "t", THUMB)], [2, 4, 2])
            self.assertEqual([size for size, _ in self.texts("EM_AARCH64", 64, "", bytes(10))], [4, 4, 2])
            for machine in ("EM_386", "EM_MIPS"):
                self.assertEqual(self.texts(machine, 32, "", b"\1\2\3\4", (0x0FF0, 0x1000, 0x1003, 0x2000)),
                                 [(3, "01 02 03"), (1, "04")])

    def test_bytes_that_are_no_instruction(self) -> None:
        self.assertEqual(self.texts("EM_386", 32, "", b"\x90\x0f\x04\x90\x43", (0x1000, 0x1004)),
                         [(1, "nop"), (3, "0f 04 90"), (1, "inc ebx")])

    def test_machines_that_no_release_knows(self) -> None:
        self.assertIsNone(module._disassembler(UNKNOWN))
        for isa in ISAS.values():
            module._disassembler(isa)  # a disassembler, or None


class Elf(FolderTest):
    def program(self, *arguments: object) -> dwarf.Program:
        path = self.folder / "engine.elf"
        path.write_bytes(elf32(*arguments))  # type: ignore[arg-type]
        return dwarf.Program(path)

    def test_thumb_and_data_between(self) -> None:
        elf = self.program(40, THUMB + bytes(8), [
            ("$t", 0, 0, 0), ("rows", 1, 12, FUNCTION), ("rows_again", 1, 12, FUNCTION), ("$d", 8, 0, 0),
            ("value", 12, 4, OBJECT), ("model", 16, 0, 0)])
        self.assertEqual((elf.machine, elf.bits, elf.start, elf.sections), ("EM_ARM", 32, 0x200000, {".all": 0}))
        self.assertEqual([(symbol.address, symbol.size, symbol.is_code) for symbol in elf.symbols],
                         [(0x200000, 12, True), (0x20000c, 4, False)])
        self.assertEqual(list(elf.pieces(elf.symbols[0])), [(0x200000, 0x200008, "t"), (0x200008, 0x20000c, "d")])

    def test_without_mapping_symbols(self) -> None:
        for machine, offset, state in ((40, 1, "t"), (40, 0, "a"), (243, 0, ""), (3, 0, "")):
            elf = self.program(machine, bytes(8), [("rows", offset, 8, FUNCTION)])
            self.assertEqual(list(elf.pieces(elf.symbols[0])), [(0x200000, 0x200008, state)])

    def test_a_damaged_file(self) -> None:
        path = self.folder / "engine.elf"
        good = elf32(3, bytes(8), [("rows", 0, 8, FUNCTION)])
        for data in (b"", b"no ELF", good[:20], good[:-20]):
            path.write_bytes(data)
            self.assertUserError("engine.elf: cannot be read as an ELF file with symbols: .*; build into another folder",
                                 dwarf.Program, path)
        path.unlink()
        self.assertUserError("engine.elf: cannot be read .*No such file", dwarf.Program, path)

    def test_every_version_of_dwarf(self) -> None:
        """Units, operations and chains do not depend on it."""
        model = budget_model(self.folder)
        for engine in COMPILED:
            if engine.target.image != "elf":
                continue
            found = []
            for version in (4, 5):
                with self.subTest(engine=engine.name, version=version):
                    flags = (*gcc.small_flags(engine, gcc.name(engine))[0], f"-gdwarf-{version}")
                    found.append(explain(builds.build(engine, model, self.folder / str(version), flags=flags)))
            self.assertEqual(*found)
            self.assertGreater(max(len(unit.places) for unit in found[0]), 2)


class Headers(FolderTest):
    """Linker scripts: where each number stands, and what it is called."""

    def units(self, script: str, program: bytes, explained: dict[int, int] | None = None,
              sections: dict[str, int] | None = None) -> list[tuple[int, str, str]]:
        (self.folder / "code.ld").write_text(script, "utf-8")
        taken = bytearray(len(program))
        for offset, size in (explained or {}).items():
            taken[offset:offset + size] = b"\1" * size
        engine = mock.Mock(target=mock.Mock(script=lambda idea: self.folder / f"{idea}.ld"), idea="code", source="code.cpp")
        built = Built(engine, "m", "f32", Path("p"), Path("f"), "g++", (), True, 0, 0, {})
        image = mock.Mock(header_fields=lambda _: ["magic", "magic", "size", "size, flags", "", ""])
        with mock.patch.object(headers, "ROOT", self.folder), mock.patch.object(images, "of", lambda _: image):
            found = headers.units(built, program, sections or {".all": 0}, taken)
        self.assertTrue(all(unit.operation == unit.kind == "header" for unit in found))
        return [(unit.offset, unit.data.hex(), f"{unit.instruction} @{unit.places[0].line}") for unit in found]

    def test_fields(self) -> None:
        script = ("/* BYTE(9) of no section */\nOUTPUT_FORMAT(elf32-i386)\nimage = 0x200000;\nSECTIONS {\n  . = image;\n"
                  "  .all : SUBALIGN(1) {\n    SHORT(0x1234) BYTE(1) /* : { */ BYTE((end - image) / (2 * 8))\n"
                  "    *(.first) . = 0x0a; LONG(7) *(.text .text.*)\n    BYTE(8)\n  }\n"
                  "  /DISCARD/ : { *(.comment) BYTE(3) }\n}\nASSERT(SIZEOF(.all) > 52, \"no code\")\n")
        self.assertEqual(self.units(script, bytes(range(18)), {4: 3, 14: 3}), [
            (0, "0001", "magic = 0x1234 @7"), (2, "02", "size = 1 @7"),
            (3, "03", "size, flags = (end - image) / (2 * 8) @7"),
            *[(offset, f"{offset:02x}", "unused byte @8") for offset in (7, 8, 9)],
            (10, "0a0b0c0d", "LONG = 7 @8"), (17, "11", "BYTE = 8 @9")])

    def test_included(self) -> None:
        (self.folder / "elf.ld").write_text("SECTIONS {\n .all : { BYTE(1)\n BYTE(machine) } }\n", "utf-8")
        self.assertEqual(self.units("machine = 2;\nINCLUDE elf.ld\n", bytes(range(2))),
                         [(0, "00", "magic = 1 @2"), (1, "01", "magic = machine @3")])

    def test_several_sections(self) -> None:
        script = ("SECTIONS {\n .a : AT(0) { BYTE(1) } > ram :text\n .b 0x80 : { . = 1; BYTE(2) } .gone :\n {BYTE(4)}\n"
                  " .empty : { BYTE(3) }\n}\n")
        self.assertEqual(self.units(script, bytes(6), sections={".b": 4, ".a": 0}),
                         [(0, "00", "magic = 1 @2"), (4, "00", "unused byte @3"), (5, "00", "BYTE = 2 @3")])

    def test_a_place_that_is_not_known(self) -> None:
        self.assertUserError(r"code.ld:2: BYTE\(1\): it is not clear where this stands; put `. = N;` before it", self.units,
                             "SECTIONS { .all : { . = other;\n BYTE(1) } }", bytes(6))
        self.assertEqual(self.units("SECTIONS { .all : { . = other; . = 4; BYTE(1) } }", bytes(6)),
                         [(4, "00", "BYTE = 1 @1")])

    def test_aligned_places(self) -> None:
        self.assertEqual(self.units("SECTIONS { .all : { *(.text)\n . = ALIGN(0x4); BYTE(1)\n . = ALIGN( 1 ); BYTE(2) } }",
                                    bytes(range(6)), {0: 3}),
                         [(3, "03", "unused byte @2"), (4, "04", "BYTE = 1 @2"), (5, "05", "BYTE = 2 @3")])
        self.assertUserError(r"code.ld:1: BYTE\(1\): it is not clear", self.units,
                             "SECTIONS { .all : { . = other; . = ALIGN(4); BYTE(1) } }", bytes(6))


if __name__ == "__main__":
    unittest.main()
