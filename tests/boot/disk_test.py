#!/usr/bin/env python3
"""A disk that is too short, or cannot be read: an engine with a message says so, and none prints garbage forever.

    tests/run boot/disk_test.py asm-boot

"Not forever": within a minute the machine has stopped, or its text memory no longer changes.
"""

from __future__ import annotations

import re
import subprocess
import time
import unittest
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import images
from images import BootTest

from common.machine import screen
from common.machine.qemu import CYLINDER, SECTOR, Machine

ENGINE = images.engine_argument()
MESSAGE = re.compile(rb"disk|read", re.IGNORECASE)
QUIET = 3.0  # seconds without a change
TIMEOUT = 60.0


@dataclass(frozen=True)
class End:
    """How a machine came to rest."""

    quiet: bool
    stopped: bool
    memory: bytes
    before: bytes  # as the boot sector found it


def rest(image: Path, timeout: float = TIMEOUT, **options: Any) -> End:
    """Boots, and waits until the machine has stopped, or text memory has not changed for a while."""
    with Machine(image, **options) as pc:
        start = changed = time.monotonic()
        memory = b""
        while True:
            stopped, now, last = pc.stopped(), time.monotonic(), memory
            memory = pc.text_memory()
            if stopped:
                return End(True, True, memory, pc.before)
            if memory != last:
                changed = now
            still = now - changed > QUIET and b"Booting" in memory or now - changed > 3 * QUIET
            waits = screen.style(ENGINE) == screen.CHAT and screen.rows(memory).endswith(b">")
            if still and (waits or screen.style(ENGINE) == screen.CELLS):  # others stop, be it late on a busy machine
                return End(True, False, memory, pc.before)
            if now - start > timeout:
                return End(False, False, memory, pc.before)
            time.sleep(0.1)


class Disk(BootTest):
    def check(self, end: End, sample: images.Sample) -> None:
        self.assertTrue(end.quiet, f"it still prints: {end.memory[:200]!r}")
        if screen.style(ENGINE) != screen.CELLS:
            self.assertTrue(end.stopped)
            text = screen.rows(end.memory)
            self.assertRegex(text.replace(b"Booting from Hard Disk", b""), MESSAGE)
            self.assertNotIn(sample.expected.text[:20], end.memory)
            print(f"{ENGINE.name}: {text!r}")
        else:
            # It cannot tell, and half a KB of wrong weights need not even change the text.
            print(f"{ENGINE.name}: {'stopped' if end.stopped else 'quiet'}: {end.memory[:60]!r}")

    def big_sample(self) -> images.Sample:
        sample = images.sample(ENGINE, images.short_model(self.folder), self.folder)
        self.assertGreater(sample.image.stat().st_size, 100 * SECTOR)
        return sample

    def test_too_short(self) -> None:
        sample = self.big_sample()
        data = sample.image.read_bytes()
        for size in {min(CYLINDER, len(data) // 2), 20 * SECTOR}:
            with self.subTest(size=size):
                short = self.folder / "short.img"
                short.write_bytes(data[:size // SECTOR * SECTOR])
                self.check(rest(short, exact=True), sample)

    def test_bad_sector(self) -> None:
        sample = self.big_sample()
        for sector in (1, 64):
            with self.subTest(sector=sector):
                self.check(rest(sample.image, bad_sector=sector), sample)

    def test_good_disk(self) -> None:
        """The same way to look at a good disk finds the story, or the prompt."""
        sample = self.small_sample(ENGINE)
        end = rest(sample.image)
        if screen.style(ENGINE) == screen.CHAT:
            self.assertEqual((end.stopped, screen.rows(end.memory).strip()), (False, b">"))
            return
        self.assertTrue(end.stopped)
        self.assertEqual(screen.problem(end.memory, sample.expected.text, screen.style(ENGINE), end.before), "")

    def test_garbage_forever_is_noticed(self) -> None:
        source, image = self.folder / "planted.asm", self.folder / "planted.img"
        source.write_text("bits 16\norg 0x7c00\nmov ax, 0xb800\nmov es, ax\nagain: stosw\nadd ax, cx\ninc cx\n"
                          "jmp again\ntimes 510-($-$$) db 0\ndw 0xaa55\n", "utf-8")
        subprocess.run(["nasm", "-f", "bin", "-o", image, source], check=True)
        self.assertFalse(rest(image, timeout=6).quiet)


if __name__ == "__main__":
    unittest.main()
