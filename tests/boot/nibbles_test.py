#!/usr/bin/env python3
"""A story from 64 KB: the whole disk of models/nibbles in int4, boot sector and model, and it says what float32 says.

    tests/run boot/nibbles_test.py asm-boot
"""

from __future__ import annotations

import unittest

import images
from images import BootTest, boot

from common.match import matching
from common.model import checkpoint, models
from common.training import rounding

ENGINE = images.engine_argument()
MODEL = models.find_model("nibbles")
MOST = 65536


class Nibbles(BootTest):
    def test_a_disk_of_64_kilobytes(self) -> None:
        self.assertTrue(rounding.on_a_grid(checkpoint.load(MODEL.checkpoint), "int4"))
        sample = images.sample(ENGINE, MODEL, self.folder, "int4")
        size = sample.image.stat().st_size
        if images.screen.style(ENGINE) != images.screen.CHAT:  # that one loads whole chunks
            self.assertLessEqual(size, MOST)
        original = matching.expect(MODEL)
        self.assertEqual(sample.expected.tokens, original.tokens)
        run = boot(sample)
        self.assertEqual(run.problem, "")
        print(f"{ENGINE.name}: {size:,} bytes of disk, {sample.counted} of them counted; {len(original.tokens)} tokens, "
              f"smallest gap {original.gap:.4f}")


if __name__ == "__main__":
    unittest.main()
