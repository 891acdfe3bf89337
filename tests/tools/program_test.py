"""common/machine/program.py and run.py: programs that do not end well, and kernels that cannot run one."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import struct
import sys
import time
import unittest
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from support.folders import FolderTest
from support.skip import main

from common.engine import engines
from common.engine.targets import Target
from common.machine import program, run
from common.match import matching
from common.match.matching import Expected


class Run(FolderTest):
    def test_output(self) -> None:
        output, seconds = program.run_command(["sh", "-c", "printf 'a\\0b'; sleep 0.1; printf c"])
        self.assertEqual(output, b"a\0bc")
        self.assertGreater(seconds, 0.09)

    def test_failures(self) -> None:
        for script, message in [("printf ab; exit 7", "ended with exit status 7 after 2 bytes"),
                                ("kill -11 $$", "ended with signal 11 after 0 bytes")]:
            self.assertUserError(message, program.run_command, ["sh", "-c", script])

    def test_stuck(self) -> None:
        for script in ("sleep 50", "while :; do echo; done"):
            start = time.monotonic()
            self.assertUserError("not finished after 0 s, stopped", program.run_command, ["sh", "-c", f"exec {script}"
                                 if script.startswith("sleep") else script], False, 0.3)
            self.assertLess(time.monotonic() - start, 10)

    def test_no_emulator(self) -> None:
        for start in (program.run_command, program.measure_command, program.replace_process):
            self.assertUserError("qemu-x: not found; emulators are in the package qemu-user", start, ["qemu-x", "p"])

    def test_no_input(self) -> None:
        self.assertEqual(program.run_command(["cat"])[0], b"")


class Native(FolderTest):
    """A kernel that cannot run a program is no reason to skip: its emulator runs it."""

    def built(self, content: bytes) -> object:
        path = self.folder / "program"
        path.write_bytes(content)
        path.chmod(0o755)
        target = Target("t", self.folder, {"emulator": "qemu-x"})
        return SimpleNamespace(program=path, engine=SimpleNamespace(name="e", target=target))

    def command(self, built: object, emulate: str = "") -> tuple[list[str], str]:
        with contextlib.redirect_stderr(io.StringIO()) as said, mock.patch.dict(program._refusals, clear=True), \
                mock.patch.object(program, "_said", set()), mock.patch.dict(os.environ, LLAMA512_EMULATE=emulate):
            self.assertEqual(program.native_command(built), program.native_command(built))
            return program.native_command(built), said.getvalue()  # once, however often it runs

    def test_kernel_runs_it(self) -> None:
        built = self.built(b"#!/bin/sh\nexec sleep 100\n")
        self.assertEqual(self.command(built), ([str(built.program)], ""))

    def test_kernel_does_not(self) -> None:
        # An ELF header of a machine that no kernel knows.
        built = self.built(b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + struct.pack("<HHI", 2, 0xFFFE, 1) + bytes(60))
        command, said = self.command(built)
        self.assertEqual(command, ["qemu-x", str(built.program)])
        self.assertRegex(said, r"^e: the kernel cannot run it \(Exec format error\), so it runs under qemu-x\n$")

    def test_asked_for(self) -> None:
        built = self.built(b"#!/bin/sh\n")
        self.assertEqual(self.command(built, "0"), ([str(built.program)], ""))
        self.assertEqual(self.command(built, "1"), (["qemu-x", str(built.program)],
                                                    "e: LLAMA512_EMULATE is set, so it runs under qemu-x\n"))

    def test_missing_program(self) -> None:
        built = self.built(b"")
        built.program.unlink()
        with self.assertRaises(FileNotFoundError):
            self.command(built)


class Emulated(unittest.TestCase):
    """The kernel says whether it runs a target's programs, and none is started for that."""

    def emulated(self, answer: object = None, **facts: object) -> bool:
        engine = SimpleNamespace(target=Target("t", Path("t"), facts))
        program._answer.cache_clear()
        self.addCleanup(program._answer.cache_clear)
        with mock.patch.object(program.subprocess, "Popen", side_effect=answer) if answer else contextlib.nullcontext():
            return program.emulated(engine)

    def test_this_kernel(self) -> None:
        here = Path(os.path.realpath(sys.executable)).read_bytes()[:20]  # what it certainly runs
        order = {1: "little", 2: "big"}[here[5]]
        mine = {"class": 32 * here[4], "machine": int.from_bytes(here[18:20], order)}
        self.assertFalse(self.emulated(elf=mine, byte_order=order))
        self.assertTrue(self.emulated(elf={**mine, "machine": 0xFFFE}, byte_order=order))
        self.assertTrue(self.emulated(elf={**mine, "class": 96 - mine["class"], "machine": 0xFFFE}, byte_order=order))
        with mock.patch.dict(os.environ, LLAMA512_EMULATE="1"):
            self.assertTrue(self.emulated(elf=mine, byte_order=order))

    def test_binfmt_misc(self) -> None:
        """A kernel that starts an emulator does not run it itself; one that says something else is not known to refuse."""
        facts = {"class": 32, "machine": 0xFFFE}
        self.assertTrue(self.emulated(lambda *given, **options: mock.MagicMock(), elf=facts))
        self.assertFalse(self.emulated(PermissionError(errno.EACCES, "no"), elf=facts))
        self.assertFalse(self.emulated(OSError("without a number"), elf=facts))

    def test_nothing_is_left(self) -> None:
        before = os.listdir("/proc/self/fd")
        self.emulated(elf={"class": 32, "machine": 3})
        self.assertEqual(os.listdir("/proc/self/fd"), before)


class Time(FolderTest):
    def test_time_follows_the_work(self) -> None:
        """An engine may take long when the reference took long."""
        given = []
        machine = SimpleNamespace(run=lambda built, show, emulate, timeout: given.append(timeout))
        with mock.patch.object(run, "machine", lambda engine: machine):
            for seconds in (2.0, 0.0003):
                run.run(SimpleNamespace(engine=None), timeout=10, expected=Expected([], [], [1.0], seconds))
            run.run(SimpleNamespace(engine=None))
        self.assertEqual(given, [2.0 * matching.SLOWEST, 10, matching.TIMEOUT])


class Everywhere(FolderTest):
    def test_every_target_has_a_machine(self) -> None:
        for engine in engines.table():
            module = run.machine(engine)
            for name in ("run", "tell", "trace", "measure", "count", "memory", "seen", "emulated"):
                self.assertTrue(callable(getattr(module, name)), f"{engine.target.machine}: {name}")


if __name__ == "__main__":
    main()
