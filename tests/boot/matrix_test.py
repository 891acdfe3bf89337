#!/usr/bin/env python3
"""A short story on PCs of all ages in QEMU: processors, memory sizes, disk controllers, memory full of garbage.

    tests/run boot/matrix_test.py asm-boot

Each of them shows the reference's text: all 32 KB of text memory are as they must be, to the last cell.
"""

from __future__ import annotations

import unittest
from dataclasses import replace

import images
from images import BootTest, boot

from common.machine import screen

ENGINE = images.engine_argument()

#         cpu, MB of memory, disk, garbage above 1 MB
MACHINES = [
    ("486", 8, "ide", True),
    ("486", 128, "ahci", False),
    ("pentium", 8, "virtio", False),
    ("pentium", 128, "ide", False),
    ("qemu32", 128, "usb", True),
    ("max", 3072, "ahci", True),
    ("max", 3072, "ide", False),
]


class Matrix(BootTest):
    def test_every_value_is_there(self) -> None:
        cpus, memories, disks, filled = map(set, zip(*MACHINES))
        self.assertEqual(cpus, {"486", "pentium", "qemu32", "max"})
        self.assertEqual(memories, {8, 128, 3072})
        self.assertEqual(disks, {"ide", "ahci", "virtio", "usb"})
        self.assertEqual(filled, {False, True})

    def test_short_story(self) -> None:
        model = images.short_model(self.folder)
        samples = [images.sample(ENGINE, model, self.folder / encoding, encoding) for encoding in ENGINE.encodings]
        for number, (cpu, memory, disk, filled) in enumerate(MACHINES):
            sample = samples[number % len(samples)]  # each encoding on old and new processors
            self.assertGreaterEqual(len(sample.expected.text), images.SHORT // 2)
            with self.subTest(cpu=cpu, memory=memory, disk=disk, garbage=filled, encoding=sample.built.encoding):
                garbage = images.garbage(self.folder / "garbage", memory) if filled else None
                run = boot(sample, cpu, memory, disk, garbage=garbage)
                print(f"{ENGINE.name}: {cpu}, {memory} MB, {disk}{', garbage' if filled else ''}, {sample.built.encoding}: "
                      f"{run.seconds:.1f} s, {run.problem or 'equal'}", flush=True)
                self.assertEqual(run.problem, "")


class Faults(BootTest):
    """The comparison can fail."""

    def test_another_text(self) -> None:
        sample = self.small_sample(ENGINE)
        run = boot(sample)
        self.assertEqual(run.problem, "")
        problem = images.problem
        self.assertEqual(problem(sample, run.cells, run.shown, run.serial, run.before), "")
        length = len(sample.expected.text)
        for place in (0, length - 1, length, screen.CELL_COUNT - 1):  # the last two are behind the text, if it stands alone
            with self.subTest(place=place):
                wrong = bytearray(run.cells)
                wrong[2 * place] ^= 1
                self.assertIn("text memory", problem(sample, bytes(wrong), run.shown, run.serial, run.before))
        invisible = bytearray(run.cells)
        invisible[1 + 2 * next(i for i, character in enumerate(run.cells[::2]) if character not in screen.BLANK)] = 0x77
        self.assertIn("cannot be seen", problem(sample, bytes(invisible), run.shown, run.serial, run.before))
        self.assertIn("COM1", problem(sample, run.cells, run.shown, run.serial + b"x", run.before))
        for tokens in (sample.expected.tokens[:-1], sample.expected.tokens + [2]):
            longer = replace(sample, expected=replace(sample.expected, tokens=tokens))
            self.assertNotEqual(problem(longer, run.cells, run.shown, run.serial, run.before), "")

    def test_other_weights(self) -> None:
        """An image with one weight's sign changed says something else, or the comparison sees nothing."""
        sample = self.small_sample(ENGINE)
        image = bytearray(sample.image.read_bytes())
        first_text = next(span for span in images.manifest(sample)["spans"] if span["tensor"] == "wcls")
        start = images.rules.image_of(sample.built).model_offset + first_text["offset"]
        for i in range(start + 1, start + first_text["rows"] * first_text["row_bytes"], 2):
            image[i] ^= 0x80
        path = self.folder / "changed.img"
        path.write_bytes(image)
        self.assertNotEqual(boot(replace(sample, image=path)).problem, "")

    def test_lines(self) -> None:
        """The newline goes to the next row; in the other style it is a cell like others."""
        before = b"#" * 16384
        cells = screen.expected(b"ab\nc", screen.LINES, before)
        self.assertEqual(cells.rstrip(), b"ab".ljust(80) + b"c")
        self.assertEqual(screen.problem(cells.replace(b" ", b"\0"), b"ab\nc", screen.LINES, before), "")
        self.assertIn("row 0, column 2", screen.problem(b"ab\nc".ljust(16384), b"ab\nc", screen.LINES, before))
        self.assertEqual(screen.rows(cells), b"ab\nc")
        self.assertEqual(screen.expected(b"ab\nc", screen.CELLS, before)[:6], b"ab\nc##")


if __name__ == "__main__":
    unittest.main()
