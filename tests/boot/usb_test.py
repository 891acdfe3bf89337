#!/usr/bin/env python3
"""Rule 2 where the firmware does most of its own: the default model's short story from a USB disk, every instruction listed.

    tests/run boot/usb_test.py asm-boot

INT 13h enters system management mode for some disks; what is executed there is the firmware's (see rules.DiskImage).
"""

from __future__ import annotations

import unittest

import images
from images import BootTest, boot
from support import rules

ENGINE = images.engine_argument()


class Usb(BootTest):
    def test_short_story(self) -> None:
        sample, log = images.sample(ENGINE, images.short_model(self.folder), self.folder), self.folder / "log"
        run = boot(sample, disk="usb", extra=["-d", "in_asm"], log=log)
        self.assertEqual(run.problem, "")
        image, instructions = rules.image_of(sample.built), rules.executed(log.read_text("utf-8"))
        self.assertEqual(rules.execution_problems(image, instructions), [])
        idle = rules.never_executed(image, instructions)
        if image.model_offset == image.SECTOR:  # where more sectors have code, that may execute it
            self.assertEqual(idle[-1], (image.SECTOR - 2, image.SECTOR))  # the signature
        self.assertLess(sum(end - start for start, end in idle), sample.counted * image.idle_share)


if __name__ == "__main__":
    unittest.main()
