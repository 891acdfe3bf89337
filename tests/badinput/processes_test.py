#!/usr/bin/env python3
"""Tools that are killed, interrupted or given strange descriptors: no process, folder or half-written file outlives them.

    tests/run badinput/processes_test.py
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import unittest.mock
from pathlib import Path
from typing import Callable

from support.cases import Case
from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main
from support.tools import TOOLS

from common import processes
from common.errors import atomic_write
from common.machine.qemu import HALT, QEMU
from common.model import random_model
from common.model.checkpoint import Config
from common.processes import PREFIX

LOOP = b"\xF4\xEB\xFD".ljust(510, b"\0") + b"\x55\xAA"  # hlt with interrupts on, for ever
SPECIAL = "TMPDIR,with=%d 'all\" kinds;of$names"


def wait_until(done: Callable[[], object], what: str, timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"not after {timeout:.0f} s: {what}")
        time.sleep(0.05)


def end(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


class ProcessesTest(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.temporary = self.folder / SPECIAL
        self.temporary.mkdir()

    def start(self, *command: object, **options: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   encoding="utf-8", env={**os.environ, "TMPDIR": str(self.temporary),
                                                          "PYTHONDONTWRITEBYTECODE": "1"}, **options)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def image(self, sector: bytes) -> Path:
        path = self.folder / "x.img"
        path.write_bytes(sector)
        return path

    def children(self, process: subprocess.Popen[str], name: str) -> list[int]:
        """Processes of a program that have a process for their parent."""
        found = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                facts = dict(line.split(":\t", 1) for line in status.read_text("utf-8").splitlines() if ":\t" in line)
                if int(facts["PPid"]) == process.pid and name.startswith(facts["Name"]):
                    found.append(int(status.parent.name))
            except OSError:
                pass  # it has ended meanwhile
        for child in found:  # it may be an orphan at the end of a test that fails
            self.addCleanup(end, child)
        return found

    def left(self) -> list[str]:
        return [path.name for path in self.temporary.iterdir()]


class Killed(ProcessesTest):
    def test_qemu_ends_with_the_tool(self) -> None:
        """SIGKILL: QEMU ends as well, and the next run removes what is left."""
        process = self.start(TOOLS / "llama512", "boot", "--image", self.image(LOOP))
        wait_until(lambda: self.children(process, QEMU), "QEMU runs")
        (machine,) = self.children(process, QEMU)
        self.assertTrue(self.left())
        process.kill()
        process.wait()
        wait_until(lambda: not Path(f"/proc/{machine}").exists(), "QEMU ends", 20)
        self.assertTrue(self.left(), "this test has nothing to look at")
        again = self.start(TOOLS / "llama512", "boot", "--image", self.image(HALT))
        self.assertIn("no story", again.communicate(timeout=60)[1])
        self.assertEqual(self.left(), [])

    def test_program_ends_with_the_tool(self) -> None:
        script = ("import sys; sys.path.insert(0, sys.argv[1])\nfrom common.machine import program\n"
                  "program.run_command(['sleep', '1000'])")
        process = self.start(sys.executable, "-c", script, TOOLS)
        wait_until(lambda: self.children(process, "sleep"), "the program runs")
        (program,) = self.children(process, "sleep")
        process.kill()
        process.wait()
        wait_until(lambda: not Path(f"/proc/{program}").exists(), "it ends", 20)

    def test_reference_ends_with_the_tool(self) -> None:
        """It tells every token, and nobody listens any more."""
        model = random_model.write(self.folder, "m", Case("m", Config(64, 128, 4, 4, 4, 64, 50_000, False), 1).checkpoint(1))
        script = ("import sys; sys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\nfrom common.match import matching\n"
                  "matching.expect(matching.Model('m', *map(Path, sys.argv[2:])))")
        process = self.start(sys.executable, "-c", script, TOOLS, model.checkpoint, model.tokenizer)
        wait_until(lambda: self.children(process, "reference"), "the reference runs")
        (program,) = self.children(process, "reference")
        process.kill()
        process.wait()
        wait_until(lambda: not Path(f"/proc/{program}").exists(), "it ends", 20)

    def test_half_written_file(self) -> None:
        """What a killed tool has not finished is removed by the next one that writes the file; what is in use stays."""
        script = ("import sys, time; sys.path.insert(0, sys.argv[1])\nfrom common.errors import atomic_write\n"
                  "with atomic_write(sys.argv[2]) as file:\n file.write(b'half'); print(flush=True); time.sleep(1000)")
        target = self.folder / "x[1].bin"
        other = self.folder / ".x[1].bin.backup.tmp"
        other.write_bytes(b"mine")
        dead, alive = (self.start(sys.executable, "-c", script, TOOLS, target) for _ in range(2))
        for process in (dead, alive):
            process.stdout.readline()
        dead.kill()
        dead.wait()
        names = [self.folder / f".{target.name}.{process.pid}.tmp" for process in (dead, alive)]
        self.assertEqual([name.exists() for name in names], [True, True])
        with atomic_write(target) as file:
            file.write(b"whole")
        self.assertEqual([name.exists() for name in (*names, other)], [False, True, True])
        self.assertEqual(target.read_bytes(), b"whole")

    def test_folders(self) -> None:
        """Only those of ours that no process has."""
        with unittest.mock.patch.object(tempfile, "tempdir", str(self.temporary)):
            (self.temporary / f"{PREFIX}old" / "sub").mkdir(parents=True)
            (self.temporary / f"{PREFIX}link").symlink_to(self.folder)
            (self.temporary / "llama512-mine").mkdir()
            with processes.temporary_folder() as first, processes.temporary_folder() as second:
                self.assertEqual(set(self.left()), {first.name, second.name, f"{PREFIX}link", "llama512-mine"})
            self.assertEqual(set(self.left()), {f"{PREFIX}link", "llama512-mine"})
            with self.assertRaises(ZeroDivisionError), processes.temporary_folder():
                print(1 // 0)
            self.assertEqual(set(self.left()), {f"{PREFIX}link", "llama512-mine"})

    def test_foreign_file_systems(self) -> None:
        """Where there are no locks, or where all files belong to one user (FAT), one folder is made, and not one more."""
        for where, what in ((processes.os, {"getuid": lambda: os.stat(self.temporary).st_uid + 1}),
                            (processes.fcntl, {"flock": unittest.mock.Mock(side_effect=OSError(errno.ENOLCK, "no"))})):
            made = iter((self.temporary / "one",))
            with self.subTest(what), unittest.mock.patch.multiple(where, **what), \
                    unittest.mock.patch.object(tempfile, "mkdtemp", lambda **_: next(made).mkdir() or self.temporary / "one"):
                with processes.temporary_folder() as folder, processes.lock(folder / "lock"):
                    self.assertEqual(self.left(), ["one"])
                self.assertEqual(self.left(), [])

    def test_lock(self) -> None:
        """One process at a time, until it ends, however that is."""
        script = ("import sys, time; sys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\n"
                  "from common import processes\nwith processes.lock(Path(sys.argv[2])):\n"
                  " print(flush=True); time.sleep(1000)")
        first = self.start(sys.executable, "-c", script, TOOLS, self.folder / "lock")
        first.stdout.readline()
        second = self.start(sys.executable, "-c", script, TOOLS, self.folder / "lock")
        self.assertEqual(select.select([second.stdout], [], [], 1)[0], [], "it does not wait")
        self.assertIsNone(second.poll())
        first.kill()
        self.assertEqual(second.stdout.readline(), "\n")


class Interrupted(ProcessesTest):
    def test_while_a_tool_is_read(self) -> None:
        """Ctrl-C during imports: no traceback."""
        tools = self.folder / "tools"
        tools.mkdir()
        shutil.copy(TOOLS / "llama512", tools)
        shutil.copytree(TOOLS / "common", tools / "common", ignore=shutil.ignore_patterns("__pycache__"))
        (tools / "slow.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(1)\n"
                                       "from common.errors import run_tool\nrun_tool(lambda: print('ran'))\n", "utf-8")
        process = self.start(tools / "llama512", "slow")
        self.assertEqual(process.stdout.readline(), "importing\n")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.communicate(timeout=60), ("", "\nllama512 slow: interrupted\n"))
        self.assertEqual(process.returncode, 130)

    def test_front_door(self) -> None:
        """At any time after it has begun: never a traceback."""
        beginning, following, _ = (TOOLS / "llama512").read_text("utf-8").partition("import os\n")
        self.assertTrue(following)
        door = self.folder / "llama512"
        door.write_text(beginning + "print(flush=True)\nimport time\ntime.sleep(100)\n", "utf-8")
        process = self.start(sys.executable, door)
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.communicate(timeout=60), ("", ""))
        self.assertEqual(process.returncode, -signal.SIGINT)

    def test_boot(self) -> None:
        """Ctrl-C and SIGTERM end QEMU and leave nothing."""
        for number, status in [(signal.SIGINT, 130), (signal.SIGTERM, 143)]:
            process = self.start(TOOLS / "llama512", "boot", "--image", self.image(LOOP))
            wait_until(lambda: self.children(process, QEMU), "QEMU runs")
            (machine,) = self.children(process, QEMU)
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
            self.assertEqual((process.returncode, "Traceback" in errors), (status, False), errors)
            wait_until(lambda: not Path(f"/proc/{machine}").exists(), "QEMU ends", 20)
            self.assertEqual(self.left(), [])


class Descriptors(ProcessesTest):
    """Standard input, output or error that is closed or full."""

    def run_shell(self, redirection: str, *arguments: object) -> tuple[int, str]:
        process = self.start("sh", "-c", f'exec "$@" {redirection}', "sh", TOOLS / "llama512", *arguments)
        _, errors = process.communicate(timeout=120)
        return process.returncode, errors

    def test_output(self) -> None:
        looks = ["boot", "--image", self.image(HALT)]
        for arguments in (looks, ["boot", "--cpu", "help"], ["run", "--list"], ["verify", "--help"]):
            with self.subTest(arguments=arguments):
                status, errors = self.run_shell(">&-", *arguments)
                self.assertEqual((status, errors.count("\n")), (1, 1), errors)
                self.assertIn("standard output: it is closed", errors)
                status, errors = self.run_shell(">/dev/full", *arguments)
                self.assertEqual((status, errors.count("\n")), (1, 1), errors)
                self.assertRegex(errors, "no story" if arguments is looks else "standard output: No space left on device")

    def test_input_and_error(self) -> None:
        for redirection in ("<&-", "<&- 2>&-", "</dev/full"):
            with self.subTest(redirection):
                status, errors = self.run_shell(redirection, "boot", "--image", self.image(HALT))
                self.assertEqual(status, 1)
                self.assertRegex(errors, r"\A(llama512 boot: error: no story; [^\n]*\n)?\Z")

    def test_lost_messages(self) -> None:
        """What stderr does not take (progress, here) is no failure; nor may it stand in the output."""
        model = random_model.write(self.folder, "m", small_checkpoint())
        for redirection in ("2>/dev/full", "2</dev/null", "2>&-"):
            for arguments in (["size", "--engine", "asm-boot", "--json"], ["speed", "--engine", "asm-linux-i386", "--runs", "1", "--model", model.checkpoint]):
                with self.subTest((redirection, arguments)):
                    process = self.start("sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, TOOLS / "llama512",
                                         *arguments)
                    output, errors = process.communicate(timeout=120)
                    self.assertEqual((process.returncode, errors), (0, ""))
                    self.assertIn(arguments[2], output)


class Links(ProcessesTest):
    def test_loops(self) -> None:
        """A symbolic link to itself, wherever a name is given."""
        (self.folder / "loop").symlink_to("loop")
        for arguments in (["build", "--engine", "asm-boot", "-o", "loop"], ["boot", "-o", "loop/x"], ["boot", "--image", "loop"],
                          ["verify", "-o", "loop"], ["boot", "--image", self.image(HALT), "--screenshot", "loop"]):
            with self.subTest(arguments=arguments):
                process = self.start(TOOLS / "llama512", *arguments, cwd=self.folder)
                _, errors = process.communicate(timeout=120)
                self.assertEqual(process.returncode, 1)
                self.assertRegex(errors, r"\Allama512 \w+: error: [^\n]*(loop[^\n]*: Too many levels|no story)[^\n]*\n\Z")


if __name__ == "__main__":
    main()
