"""common/machine/board.py: boards whose processors end well, and those that do not. Each is an image of a few bytes."""

from __future__ import annotations

import resource
import struct
import time
from types import SimpleNamespace
from unittest import mock

from support.folders import FolderTest
from support.skip import main

from common.engine import engines
from common.engine.targets import Target
from common.machine import board, here

ENGINES = [engine for engine in engines.table() if engine.target.machine == "board" and not here.missing(engine)]

# For the first UART of the boards, a CMSDK APB UART: base in r0, CTRL = 1, DATA = 'h'.
HELLO = bytes.fromhex("4ff04020" "0121" "8160" "6821" "0160")
END = bytes.fromhex("fee7")  # b .
FOREVER = bytes.fromhex("00bf" "fde7")  # nop; b to it
FAULT = bytes.fromhex("00de")  # udf


class Board(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        if not ENGINES:
            self.skipTest("no board's tools are here")
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # QEMU aborts when a processor locks up

    def built(self, code: bytes) -> SimpleNamespace:
        program = self.folder / "program"
        program.write_bytes(struct.pack("<II", 0x20001000, 9) + code)
        return SimpleNamespace(program=program, engine=ENGINES[0], memory=7)

    def test_a_text_and_the_end(self) -> None:
        story = board.run(self.built(HELLO + END), False, True, 60)
        self.assertEqual(story.text, b"h")
        self.assertEqual(board.run(self.built(END), False, True, 60).text, b"")

    def test_trace(self) -> None:
        log = self.folder / "log"
        self.assertEqual(board.trace(self.built(HELLO + END), log, 60), b"h")
        self.assertIn("0x00000008:", log.read_text("utf-8"))
        self.assertIn(f"{8 + len(HELLO):#010x}:", log.read_text("utf-8"))

    def test_measure(self) -> None:
        text, seconds, memory = board.measure(self.built(HELLO + END), 3)
        self.assertEqual((text, memory), (b"h", 7))
        self.assertLess(seconds, 60)

    def test_one_that_goes_on(self) -> None:
        start = time.monotonic()
        self.assertUserError("the machine still runs after 1 s", board.run, self.built(HELLO + FOREVER), False, True, 1.0)
        self.assertLess(time.monotonic() - start, 60)

    def test_a_fault(self) -> None:
        self.assertUserError("ended: Lockup", board.run, self.built(HELLO + FAULT), False, True, 60.0)

    def test_what_is_missing(self) -> None:
        engine = SimpleNamespace(target=Target("t", self.folder, {"emulator": "qemu-x", "isa": "arm"}))
        self.assertUserError("qemu-x: not found; install what golf/targets/t/packages.txt lists", board.check, engine)
        self.assertTrue(board.emulated(ENGINES[0]))
        self.assertIsNone(board.seen(ENGINES[0]))
        facts = {**ENGINES[0].target.facts, "isa": "z80"}
        built = self.built(END)
        built.engine = SimpleNamespace(target=Target("t", self.folder, facts))
        self.assertUserError("isa: 'z80': how such a processor stops is not known, only for arm", board.run, built, False,
                             True, 60.0)
        with mock.patch.object(board, "STOPS", {"arm": ("PC<([0-9a-f]+)>", b"")}):
            self.assertUserError("info registers: no PC<.* in its answer", board.run, self.built(END), False, True, 60.0)


if __name__ == "__main__":
    main()
