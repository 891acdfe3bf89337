#!/usr/bin/env python3
"""Rule 2 for disk images: what may be executed on a PC, and what a planted sector executes.

    tests/run rules/disk_image_test.py
"""

from __future__ import annotations

import subprocess
import unittest

from support import rules
from support.folders import FolderTest
from support.rules import DiskImage

from common.machine.qemu import Machine

ENTRY, SECTOR = DiskImage.entry, DiskImage.SECTOR
MANIFEST = {"spans": [{"tensor": "w", "offset": 0, "rows": 1, "row_bytes": SECTOR, "row_stride": SECTOR}]}
MODEL = b"\x90\xfa\xf4".ljust(SECTOR, b"\1")  # nop; cli; hlt


def disk(sector: bytes, counted: int, *free: range) -> DiskImage:
    return DiskImage(sector + MODEL, MODEL, MANIFEST, counted, free)


class Places(unittest.TestCase):
    def test_what_may_not_be_executed(self) -> None:
        image = disk(bytes(510) + b"\x55\xAA", 20)
        self.assertEqual(rules.execution_problems(image, [(ENTRY, 2), (ENTRY + 16, 2)]), [])
        for address, place in {ENTRY + 17: "padding", ENTRY + 18: "padding", 0x7E00: "memory", 0x7BFF: "memory",
                               0x9000: "copy", 0x91FF: "copy", 0x9200: "model", 0x93FF: "model", 0x9400: "memory",
                               0xB8000: "memory", 0x100000: "memory", 0xBFFFF: "memory"}.items():
            with self.subTest(hex(address)):
                found = rules.execution_problems(image, [(ENTRY, 2), (address, 2)])
                self.assertEqual(len(found), 1)
                self.assertIn(place, found[0])
        self.assertEqual(rules.never_executed(image, [(ENTRY, 2), (ENTRY + 4, 14)]), [(2, 4), (510, 512)])
        self.assertEqual(image.counted_bytes, 20)

    def test_above_1_mb(self) -> None:
        """A sector whose data segment begins further up has the image in front of that."""
        segment = b"\xFF\xFF\x0A\x00\x11\x93\xCF\x00"  # base 11000Ah
        image = disk(segment.ljust(510, b"\0") + b"\x55\xAA", 20)
        start = 0x11000A - 2 * SECTOR
        for address, place in {start: "copy", start + 511: "copy", start + 512: "model", 0x110009: "model", 0x11000A: "memory",
                               start - 1: "memory", 0x9200: "memory", ENTRY + 18: "padding"}.items():
            with self.subTest(hex(address)):
                found = rules.execution_problems(image, [(ENTRY, 2), (address, 1)])
                self.assertEqual(len(found), 1)
                self.assertIn(place, found[0])
        self.assertEqual((image.address(SECTOR), image.offset(0x110009)), (start + SECTOR, 2 * SECTOR - 1))
        low = disk(segment.replace(b"\x11", b"\x10").ljust(510, b"\0") + b"\x55\xAA", 20)
        self.assertEqual(low.address(SECTOR), 0x9200)

    def test_two_sectors(self) -> None:
        """The second one follows the first, and the model is loaded behind a copy of it at 1 MB. Padding is where the source says."""
        code = (b"\x90" * 300 + bytes(100) + b"\x90" * 110 + b"\x55\xAA" + b"\xFA\x00\xDB\xE3".ljust(510, b"\0") + b"\x55\xAA")
        free = range(310, 400), range(SECTOR + 4, SECTOR + 510)
        image = disk(code, 2 * SECTOR - 506 - 90, *free)
        self.assertEqual(rules.execution_problems(image, [(ENTRY, 310), (ENTRY + 400, 116)]), [])
        for address, place in {ENTRY + 310: "padding", ENTRY + 399: "padding", ENTRY + SECTOR + 4: "padding", 0x100000: "copy",
                               0x1001FF: "copy", 0x100200: "model", 0x1003FF: "model", 0x100400: "memory", 0x8000: "memory",
                               0x9200: "memory"}.items():
            with self.subTest(hex(address)):
                found = rules.execution_problems(image, [(ENTRY, 2), (address, 1)])
                self.assertEqual(len(found), 1)
                self.assertIn(place, found[0])
        self.assertEqual((image.counted_bytes, image.code_end), (428, SECTOR + 4))
        self.assertEqual((image.address(2 * SECTOR), image.offset(0x100200)), (0x100200, 2 * SECTOR))
        self.assertEqual((image.soon([]), image.elsewhere()), (ENTRY + SECTOR + 2, ENTRY + SECTOR + 4))
        with self.assertRaisesRegex(ValueError, "708 bytes are not counted, but padding is at"):
            disk(code, 2 * SECTOR - 506 - 202, *free)
        with self.assertRaisesRegex(ValueError, "the padding at 299 is not zero"):
            disk(code, 2 * SECTOR - 506 - 91, range(299, 390), free[1])
        with self.assertRaisesRegex(ValueError, "not at the beginning of a sector"):
            disk(bytes(700), 20)

    def test_the_firmware_before_the_sector(self) -> None:
        image = disk(bytes(510) + b"\x55\xAA", 20)
        self.assertIn("shows nothing", rules.execution_problems(image, [(0xF0000, 2)])[0])
        self.assertEqual(rules.execution_problems(image, [(0x9200, 1), (ENTRY, 2), (0xF0000, 2)]), [])

    def test_padding_is_zero(self) -> None:
        self.assertRaisesRegex(ValueError, "the padding at 18 is not zero", disk, b"\1" * 510 + b"\x55\xAA", 20)


class Planted(FolderTest):
    """Sectors that copy code somewhere, and jump there; and one that does not."""

    def planted(self, code: str) -> list[str]:
        """Boots a sector with `MODEL` behind it; what the check says."""
        source, image, log = self.folder / "planted.asm", self.folder / "planted.img", self.folder / "log"
        source.write_text("""
            bits 16
            org 0x7c00
            xor ax, ax
            mov ds, ax
            mov ss, ax
            mov sp, 0x7000
            mov si, packet
            mov ah, 0x42
            int 0x13
            """ + code + """
            packet: dw 16, 1, 0x9200, 0, 1, 0, 0, 0
            end:
            times 510-($-$$) db 0
            dw 0xaa55
            dw end - 0x7c00 + 2
        """, "utf-8")
        subprocess.run(["nasm", "-f", "bin", "-o", image, source], check=True)
        data = image.read_bytes()
        image.write_bytes(data[:SECTOR] + MODEL)
        with Machine(image, extra=["-d", "in_asm"], log=log) as pc:
            pc.wait_until_stopped(30)
        return rules.execution_problems(disk(data[:SECTOR], int.from_bytes(data[SECTOR:], "little")),
                                        rules.executed(log.read_text("utf-8")))

    def test_planted(self) -> None:
        copy = "mov si, 0x9200\nmov cx, 3\ncld\nrep movsb\n"
        for place, code in {
            "": "cli\nhlt",
            "the model, byte 0": "jmp 0x9200",
            "padding": "xor ax, ax\nmov es, ax\nmov di, 0x7d80\n" + copy + "jmp 0x7d80",
            "neither the sector nor the firmware":
                "mov ax, 0xffff\nmov es, ax\nmov di, 0x110\n" + copy + "jmp 0xffff:0x110",
        }.items():
            with self.subTest(place):
                found = self.planted(code)
                if place:
                    self.assertEqual(len(found), 3, found)  # nop; cli; hlt
                    self.assertIn(place, found[0])
                else:
                    self.assertEqual(found, [])


if __name__ == "__main__":
    unittest.main()
