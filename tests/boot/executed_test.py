#!/usr/bin/env python3
"""Rule 2, no code in the model, for images: QEMU lists every instruction that a booted PC executes.

    tests/run boot/executed_test.py asm-boot

From the sector's first instruction on, all of them are among its counted bytes, or the firmware's own in C0000h-FFFFFh.
The check itself is checked: it must fail for an empty trace, and for images that jump into their model, into the
sector's padding or into memory above 1 MB.
"""

from __future__ import annotations

import re
import subprocess
import unittest
from typing import Any

from support import images, rules
from support.images import BootTest, Layout, boot

from common.machine.pc import ENTRY, SECTOR, Machine

ENGINE = images.engine_argument()

Instructions = list[tuple[int, int]]  # (address, size)


def since_entry(instructions: Instructions) -> Instructions:
    """The trace from the boot sector's first instruction on; empty when it never started."""
    start = next((i for i, (address, _) in enumerate(instructions) if address == ENTRY), len(instructions))
    return instructions[start:]


def problems(layout: Layout, instructions: Instructions) -> list[str]:
    """Every byte executed since the sector started is counted or the firmware's."""
    instructions = since_entry(instructions)
    if not instructions:
        return ["the trace does not have the boot sector, so it shows nothing"]
    found = []
    for address, size in sorted(set(instructions)):
        for byte in range(address, address + size):
            place = layout.place(byte)
            if place not in ("counted", "firmware"):
                found.append(f"{byte:#x} was executed: {place}")
                break
    return found


def never_executed(layout: Layout, instructions: Instructions) -> list[tuple[int, int]]:
    """Ranges of the sector's counted bytes that no instruction was fetched from."""
    idle = bytearray(b"\1" * SECTOR)
    for i in layout.padding:
        idle[i] = 0
    for address, size in since_entry(instructions):
        for byte in range(address - ENTRY, address - ENTRY + size):
            if 0 <= byte < SECTOR:
                idle[byte] = 0
    return [match.span() for match in re.finditer(rb"\x01+", idle)]


class Executed(BootTest):
    def trace_options(self) -> dict[str, Any]:
        return {"extra": ["-d", "in_asm"], "log": self.folder / "log"}

    def trace(self) -> Instructions:
        return rules.executed((self.folder / "log").read_text("utf-8"))

    def check(self, sample: images.Sample, **machine: object) -> None:
        run = boot(sample, **self.trace_options(), **machine)
        self.assertEqual(run.problem, "")  # a run that did all of its work
        layout, instructions = Layout(sample.image.read_bytes(), sample.counted), self.trace()
        self.assertEqual(problems(layout, instructions), [])
        idle = never_executed(layout, instructions)
        print(f"{ENGINE.name}: of {sample.counted} counted bytes {sum(end - start for start, end in idle)} were never "
              "executed, in the sector at " + ", ".join(f"{start:#x}-{end - 1:#x}" for start, end in idle))
        self.assertEqual(idle[-1], (SECTOR - 2, SECTOR))  # the signature
        self.assertLess(sum(end - start for start, end in idle), sample.counted / 3)

    def test_small_model(self) -> None:
        self.check(self.small_sample(ENGINE))

    def test_default_model(self) -> None:
        self.check(images.sample(ENGINE, images.short_model(self.folder), self.folder), disk="usb")

    def test_empty_trace_fails(self) -> None:
        layout = Layout(bytes(510) + b"\x55\xAA" + bytes(512), 20)
        self.assertIn("shows nothing", problems(layout, [])[0])
        self.assertIn("shows nothing", problems(layout, rules.executed("IN: \nnothing\n"))[0])
        self.assertIn("shows nothing", problems(layout, [(0xF0000, 2)])[0])
        self.assertEqual(problems(layout, [(0x9200, 1), (ENTRY, 2), (0xF0000, 2)]), [])

    def test_what_may_not_be_executed(self) -> None:
        layout = Layout(bytes(510) + b"\x55\xAA" + bytes(512), 20)
        self.assertEqual(problems(layout, [(ENTRY, 2), (ENTRY + 16, 2)]), [])
        for address, place in {ENTRY + 17: "padding", ENTRY + 18: "padding", 0x7E00: "memory", 0x7BFF: "memory",
                               0x9000: "copy", 0x91FF: "copy", 0x9200: "model", 0x93FF: "model", 0x9400: "memory", 0xB8000: "memory", 0x100000: "memory", 0xBFFFF: "memory"}.items():
            with self.subTest(hex(address)):
                found = problems(layout, [(ENTRY, 2), (address, 2)])
                self.assertEqual(len(found), 1)
                self.assertIn(place, found[0])
        self.assertEqual(never_executed(layout, [(ENTRY, 2), (ENTRY + 4, 14)]), [(2, 4), (510, 512)])
        self.assertRaises(AssertionError, Layout, b"\1" * 510 + b"\x55\xAA", 20)

    def planted(self, code: str) -> list[str]:
        """Boots a sector with a sector of `model` behind it, which is `nop; cli; hlt`; what the check says."""
        source, image = self.folder / "planted.asm", self.folder / "planted.img"
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
            db 0x90, 0xfa, 0xf4
            times 509 db 0
            dw end - 0x7c00 + 2
        """, "utf-8")
        subprocess.run(["nasm", "-f", "bin", "-o", image, source], check=True)
        data = image.read_bytes()
        with Machine(image, **self.trace_options()) as pc:
            pc.wait_until_stopped(30)
        return problems(Layout(data[:1024], int.from_bytes(data[1024:], "little")), self.trace())

    def test_planted(self) -> None:
        copy = "mov si, 0x9200\nmov cx, 3\ncld\nrep movsb\n"
        for place, code in {
            "": "cli\nhlt",
            "the model, byte 0": "jmp 0x9200",
            "the sector's padding": "xor ax, ax\nmov es, ax\nmov di, 0x7d80\n" + copy + "jmp 0x7d80",
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
