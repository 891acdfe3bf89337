"""Formats of images: each is one module, which names fields and tells padding."""

from __future__ import annotations

import importlib
import io
import sys
from unittest import mock

from support.folders import FolderTest
from support.skip import main

from common.engine import engines, images
from common.engine.images import disk, elf, flat, pe
from common.engine.targets import Target
from common.libraries import library
from common.pack.packer import Padding, Span

ENGINE = engines.table()[0]
MINE = '''def header_fields(program):
    return ["e_magic"] * 2

def padding(files):
    return 5
'''


def header32(phoff: int) -> bytes:
    return b"\x7fELF\1\1\1" + bytes(21) + phoff.to_bytes(4, "little") + bytes(100)


class Images(FolderTest):
    def with_image(self, name: object) -> images.Image:
        with mock.patch.object(Target, "image", name):
            return images.of(ENGINE)

    def test_every_target_names_one(self) -> None:
        for engine in engines.table():
            self.assertIn(engine.target.image, images.names())
            self.assertIsInstance(images.of(engine).header_fields(header32(32)), list)

    def test_one_that_is_not_there(self) -> None:
        for name in ("pe32", "", "../elf", "os", None, 7):
            self.assertUserError("target.json: image: .*: known are .*disk.*, elf.*; a new format is a module",
                                 self.with_image, name)

    def test_a_new_one_is_one_module(self) -> None:
        (self.folder / "mine.py").write_text(MINE, "utf-8")
        program = self.folder / "program"
        program.write_bytes(bytes(100))
        spans = [Span("tok_embeddings", 3, 10, 0, 10), Padding("padding", 1, 2, 30, 2)]
        self.addCleanup(sys.modules.pop, f"{images.__name__}.mine", None)
        importlib.invalidate_caches()
        with mock.patch.object(images, "__path__", [*images.__path__, str(self.folder)]), \
                mock.patch.object(Target, "image", "mine"):
            self.assertEqual(images.of(ENGINE).header_fields(b"MZ"), ["e_magic", "e_magic"])
            self.assertEqual(images.counted_bytes(ENGINE, program, self.folder, spans), 100 - 30 - 5)


class Elf(FolderTest):
    def test_headers(self) -> None:
        """What we write is what pyelftools reads, and what we read again."""
        for bits, order in ((32, "little"), (64, "little"), (32, "big"), (64, "big")):
            header = elf.headers(bits, order, {"e_type": 2, "e_machine": 22, "p_type": 3, "p_filesz": 7})
            self.assertEqual(len(header), sum(elf.sizes(bits)))
            file = library("elftools.elf.elffile").ELFFile(io.BytesIO(header))
            self.assertEqual((file.elfclass, file.little_endian, file["e_type"], file["e_machine"], file["e_shnum"]),
                             (bits, order == "little", "ET_EXEC", "EM_S390", 0))
            segments = [(segment["p_type"], segment["p_filesz"]) for segment in file.iter_segments()]
            self.assertEqual(segments, [("PT_INTERP", 7)])
            self.assertEqual(elf.header_fields(header)[-1], "p_align")

    def test_headers_that_overlap(self) -> None:
        fields = elf.header_fields(header32(32))
        self.assertEqual(fields[:4] + fields[24:26] + fields[32:33] + fields[44:47] + fields[48:53:2],
                         ["EI_MAG"] * 4 + ["e_entry"] * 2 + ["e_shoff, p_type", "e_phnum, p_paddr", "e_phnum, p_paddr",
                                                             "e_shentsize, p_paddr", "e_shnum, p_filesz",
                                                             "e_shstrndx, p_filesz", "p_memsz"])
        self.assertEqual(len(fields), 64)

    def test_headers_that_do_not(self) -> None:
        fields = elf.header_fields(b"\x7fELF\2\1\1" + bytes(25) + (64).to_bytes(8, "little") + bytes(100))
        self.assertEqual((len(fields), fields[63], fields[64], fields[119]), (120, "e_shstrndx", "p_type", "p_align"))
        big = elf.header_fields(b"\x7fELF\2\2\1" + bytes(25) + (64).to_bytes(8, "big") + bytes(100))
        self.assertEqual(big, fields)
        gap = elf.header_fields(header32(60))
        self.assertEqual((gap[51:61], len(gap)), (["e_shstrndx", *[""] * 8, "p_type"], 92))

    def test_no_byte_is_free(self) -> None:
        self.assertEqual(elf.padding(self.folder), 0)


class Flat(FolderTest):
    def test_vector_table(self) -> None:
        self.assertEqual(flat.header_fields(bytes(400)), ["initial SP"] * 4 + ["reset vector"] * 4)
        self.assertEqual(flat.padding(self.folder), 0)


class Pe(FolderTest):
    def test_headers_that_overlap(self) -> None:
        """The PE header at byte 4, so that two fields are the same four bytes; and behind the DOS header."""
        program = b"MZ".ljust(0x3C, b"\0") + (4).to_bytes(4, "little") + bytes(200)
        fields = pe.header_fields(program)
        self.assertEqual((fields[0], fields[2], fields[4], fields[44], fields[0x3C], fields[0x3F], fields[98], fields[-1]),
                         ("e_magic", "", "Signature", "AddressOfEntryPoint", "e_lfanew, SectionAlignment",
                          "e_lfanew, SectionAlignment", "DllCharacteristics", "NumberOfRvaAndSizes"))
        self.assertEqual(len(fields), 140)
        self.assertEqual(len(pe.header_fields(b"MZ".ljust(0x3C, b"\0") + (64).to_bytes(4, "little") + bytes(200))), 200)

    def test_no_byte_is_free(self) -> None:
        self.assertEqual(pe.padding(self.folder), 0)


class Disk(FolderTest):
    def test_code_sectors(self) -> None:
        """The boot sector alone, unless the source's map says more."""
        self.assertEqual(disk.code_sectors(self.folder), 1)
        for said, count in (("", 1), ("               2                  2  code_sectors\n", 2),
                            ("               2                  2  code_sectors_of_another\n", 1)):
            (self.folder / "engine.map").write_text(said, "utf-8")
            self.assertEqual(disk.code_sectors(self.folder), count)

    def test_padding(self) -> None:
        (self.folder / "engine.map").write_text("Real              Virtual           Name\n"
                                                "              7C                 7C  padding_of_another\n"
                                                "              67                 67  padding\n", "utf-8")
        self.assertEqual(disk.padding(self.folder), 0x67)

    def test_a_source_that_does_not_say_it(self) -> None:
        self.assertUserError("engine.map: padding: no such symbol; ", disk.padding, self.folder)
        (self.folder / "engine.map").write_text("no symbols\n", "utf-8")
        self.assertUserError("engine.map: padding: no such symbol; ", disk.padding, self.folder)


if __name__ == "__main__":
    main()
