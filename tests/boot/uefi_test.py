#!/usr/bin/env python3
"""Engines for UEFI on PCs that make it hard for them: all of their memory is garbage before, the firmware uses what the calling
convention gives it, the other board; and what a terminal at the serial port shows.

    tests/run boot/uefi_test.py -v
"""

from __future__ import annotations

import re
import unittest
import unittest.mock
from dataclasses import replace
from typing import Any

from support import cases, rules
from support.folders import FolderTest
from support.skip import main

from common.engine import builds, engines
from common.engine.builds import Built
from common.errors import MissingTool
from common.machine import run, uefi
from common.match import matching
from common.model import random_model
from common.model.checkpoint import Config

ENGINES = [engine for engine in engines.table() if run.machine(engine) is uefi]
SMALL = Config(24, 40, 2, 6, 2, 40, 12, False)
TIMEOUT = 200.0
GARBAGE = bytes.fromhex("ffffff7f 0000c0ff 1234a57e")  # NaNs and large numbers
ESCAPES = re.compile(rb"\x1b\[[0-9;=]*[A-Za-z]")


class Uefi(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        for engine in ENGINES:
            try:
                run.check(engine)
            except MissingTool as problem:
                self.skipTest(str(problem))

    def build(self, engine: engines.Engine, config: Config = SMALL) -> Built:
        model = random_model.write(self.folder, "m", random_model.weights(config, seed=3, spread=4))
        return builds.build(engine, model, self.folder / engine.name)

    def story(self, built: Built, hostile: bool = False, **machine: Any) -> bytes:
        with uefi.Machine(built, **machine) as pc:
            return pc.story(TIMEOUT, hostile=hostile)

    def test_the_worst_of_firmware(self) -> None:
        """Garbage where the arena is to be, in the bytes above the return address, and on the other board."""
        for engine in ENGINES:
            built = self.build(engine)
            expected = matching.expect(built.effective)
            text = self.story(built, True, board=uefi.BOARDS[1], garbage=GARBAGE)
            self.assertIsNone(matching.compare(text, expected))

    def test_garbage_would_be_noticed(self) -> None:
        for engine in ENGINES:
            built = self.build(engine)
            expected = matching.expect(built.effective)
            program = built.program.read_bytes()
            self.assertEqual(program[:4096].count(b"\xf3\xaa"), 1)  # rep stosb, which becomes rep nop
            path = self.folder / "planted"
            path.write_bytes(program.replace(b"\xf3\xaa", b"\xf3\x90", 1))
            text = self.story(replace(built, program=path), garbage=GARBAGE)
            self.assertIsNotNone(matching.compare(text, expected))

    def test_what_a_terminal_shows(self) -> None:
        """All of the text; the firmware may break its lines."""
        for engine in ENGINES:
            built = self.build(engine, replace(SMALL, seq_len=20))
            with uefi.Machine(built) as pc:
                before = len(pc.serial())
                text = pc.story(TIMEOUT)
                shown = ESCAPES.sub(b"", pc.serial()[before:])
            self.assertGreater(len(text), 100)
            self.assertLessEqual(shown.count(b"\r\n"), len(text) // 80)
            self.assertEqual(shown.replace(b"\r\n", b""), text)
            self.assertTrue(pc.watchdog)

    def test_watchdog(self) -> None:
        """Off where a story may take minutes, and on where it does not."""
        for engine in ENGINES:
            case = cases.find("seq-len-20000")
            sample = case.sample(replace(engine, encodings=engine.encodings[:1]), self.folder)
            with uefi.Machine(sample.built[engine.encodings[0]]) as pc:
                self.assertIsNone(matching.compare(pc.story(TIMEOUT), sample.expected[engine.encodings[0]]))
                self.assertFalse(pc.watchdog)


    def test_memory(self) -> None:
        """All that the header asks for, and with the model no less than what the engine works in."""
        for engine in ENGINES:
            built = self.build(engine)
            self.assertEqual(run.memory(built), rules.image_of(built).memory_size)
            self.assertGreater(run.memory(built), built.memory)


class Firmware(unittest.TestCase):
    def test_what_is_missing(self) -> None:
        with unittest.mock.patch.dict("os.environ", LLAMA512_OVMF="/nowhere.fd"):
            self.assertRaisesRegex(MissingTool, "/nowhere.fd: not found; install the package ovmf", uefi.firmware)


if __name__ == "__main__":
    main()
