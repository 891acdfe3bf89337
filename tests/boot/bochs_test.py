#!/usr/bin/env python3
"""The short story in Bochs, a second implementation of processor, devices and BIOS; and no write into the code's page.

    tests/run boot/bochs_test.py asm-boot

Bochs's debugger watches every write to 7000h-7FFFh from the moment the BIOS starts the sector, also writes that change
nothing (an accessed bit that is set already) and those of the processor itself. There must be none.
"""

from __future__ import annotations

import subprocess
import unittest
from pathlib import Path

import bochs
import images
from images import BootTest, boot

from common.errors import UserError

ENGINE = images.engine_argument()
# An engine of several sectors loads them itself, behind the first one.
WATCHED = bochs.ONE_SECTOR if images.screen.style(ENGINE) == images.screen.CHAT else bochs.WATCHED


class Bochs(BootTest):
    def test_short_story(self) -> None:
        model = images.short_model(self.folder)
        for encoding in ENGINE.encodings:
            with self.subTest(encoding):
                sample = images.sample(ENGINE, model, self.folder / encoding, encoding)
                talks = images.screen.style(ENGINE) == images.screen.CHAT
                result = bochs.run(sample.image, self.folder, timeout=300, lines=[b""] if talks else None, watched=WATCHED)
                self.assertEqual(result.writes, "", "a write into the code's page")
                cells = bytes(byte for character in result.memory for byte in (character, 7))
                # Where Bochs's COM1 is not connected, nobody lists writes: what the screen shows at the end says it all.
                serial = sample.expected.text if images.screen.style(ENGINE) == images.screen.LINES else result.serial
                self.assertEqual(images.problem(sample, cells, sample.expected.text, serial, result.before), "")
                print(f"{ENGINE.name} {encoding}: {len(sample.expected.tokens)} tokens equal in Bochs, no write into "
                      f"{bochs.CODE_PAGE:X}h-{bochs.CODE_PAGE + WATCHED - 1:X}h")

    @unittest.skipUnless(images.screen.style(ENGINE) == images.screen.CHAT, "it takes no lines")
    def test_a_typed_line(self) -> None:
        sample = images.sample(ENGINE, images.short_model(self.folder), self.folder / "typed")
        result = bochs.run(sample.image, self.folder, timeout=300, lines=[b"A fox", b""], watched=WATCHED)
        answers = [images.matching.expect(sample.built.effective, prompt=line).text for line in ("A fox", "")]
        told = images.console.plain(result.serial).removeprefix(b"\n")
        self.assertEqual(told, b">A fox\n%b\n>\n%b\n>" % tuple(answers))
        self.assertEqual(images.screen.problem(result.memory, result.serial, images.screen.CHAT, result.before), "")

    def test_page_in_qemu(self) -> None:
        """After a run the whole page 7000h-7FFFh is as the firmware and the disk made it; the packed model, too."""
        sample = self.small_sample(ENGINE)
        halt = self.folder / "halt.img"
        halt.write_bytes(images.machine.HALT)
        with images.Machine(halt) as pc:
            pc.wait_until_stopped(60)
            before = pc.memory(0x7000, 0x1000)
        run = boot(sample)
        self.assertEqual(run.problem, "")
        image = sample.image.read_bytes()
        self.assertEqual(run.page[0xC00:0xE00], image[:512], "the boot sector changed itself")
        self.assertEqual(run.page[:0xC00], before[:0xC00], "something was written below the boot sector")
        model = images.rules.image_of(sample.built).model_offset
        behind = image[512:model] + before[0xC00 + model:]  # more code, or what was there
        self.assertEqual(run.page[0xE00:], behind, "something was written behind the boot sector")
        packed = image[model:model + sample.built.packed]
        self.assertEqual(run.model[:len(packed)], packed, "the model is not where it belongs, or it changed")

    def assemble(self, code: str) -> Path:
        source, image = self.folder / "planted.asm", self.folder / "planted.img"
        source.write_text(f"bits 16\norg 0x7c00\n{code}\ntimes 510-($-$$) db 0\ndw 0xaa55\n", "utf-8")
        subprocess.run(["nasm", "-f", "bin", "-o", image, source], check=True)
        return image

    def test_planted_writes_are_caught(self) -> None:
        for name, code in {
            "stack": "mov sp, 0x7c00\npush ax\ncli\nhlt",
            "behind it": "mov [0x7fff], al\ncli\nhlt",
            "the same value": "mov al, [0x7c00]\nmov [0x7c00], al\ncli\nhlt",
            "accessed bit": "cli\nlgdt [gdtr]\nmov eax, cr0\ninc ax\nmov cr0, eax\nmov cx, 8\nmov ds, cx\nhlt\n"
                            "gdtr: dw 15\ndd gdt\nalign 8\ngdt: dq 0\ndq 0xcf92000000ffff",
        }.items():
            with self.subTest(name):
                self.assertIn("Caught", bochs.run(self.assemble("xor ax, ax\nmov ds, ax\nmov ss, ax\n" + code),
                                                  self.folder).writes)

    def test_no_writes(self) -> None:
        """And a sector that writes elsewhere is not accused. The folder has a name that no configuration could quote."""
        result = bochs.run(self.assemble("xor ax, ax\nmov ds, ax\nmov [0x6fff], al\nmov [0x8000], al\n"
                                         "mov ss, ax\nmov sp, 0x7000\npush ax\ncli\nhlt"), self.folder / 'a "\\,\n\udcff')
        self.assertEqual(result.writes, "")
        self.assertIn(b"Bochs", result.memory)
        self.assertEqual(result.memory, result.before)

    def test_never_ends(self) -> None:
        with self.assertRaisesRegex(UserError, "waited for the processor to halt"):
            bochs.run(self.assemble("jmp $"), self.folder, timeout=4)


if __name__ == "__main__":
    unittest.main()
