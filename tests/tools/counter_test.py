"""common/machine/counter.py: counts are exact. Programs of known length, for every kind of machine; and engines, beside QEMU's
log of every single instruction and a real processor."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import struct
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main

from common import processes
from common.engine import builds, engines, gcc, steps
from common.engine.builds import Built
from common.engine.engines import Engine
from common.engine.targets import Target
from common.errors import MissingTool, UserError
from common.machine import board, counter, here, pc, program, qemu, run, uefi
from common.machine.counter import Counter
from common.match import matching
from common.model import random_model

LOOPS = 2000
# By instruction set: a program that ends well after a loop of three instructions, and how many others it executes. The loop writes
# where the code is, which makes QEMU translate it again.
PROGRAMS = {
    "riscv": (6, f"""
        .option norelax
        .globl _start
_start: lla     t1, room                # 2 instructions
        li      t0, {LOOPS}
1:      sw      t0, 0(t1)
        addi    t0, t0, -1
        bnez    t0, 1b
        li      a7, 93
        li      a0, 0
        ecall
        .balign 4
room:   .space 8
"""),
    "arm": (7, f"""
        .syntax unified
        .thumb
        .globl _start
        .thumb_func
_start: adr     r1, room
        mov     r0, {LOOPS}
1:      str     r0, [r1]
        subs    r0, 1
        bne     1b
        it      ne                      @ so the next one does nothing
        movne   r7, 0
        movs    r7, 1
        movs    r0, 0
        svc     0
        .balign 4
room:   .space 8
"""),
    "aarch64": (5, f"""
        .globl _start
_start: adr     x1, room
        mov     x0, {LOOPS}
1:      str     x0, [x1]
        subs    x0, x0, 1
        b.ne    1b
        mov     x8, 93
        mov     x0, 0
        svc     0
        .balign 8
room:   .space 8
"""),
    "x86": (7, f"""
        .globl _start
_start: mov     $room, %edi
        mov     ${LOOPS}, %ecx
1:      mov     %ecx, (%edi)
        dec     %ecx
        jnz     1b
        mov     $100, %ecx
        rep stosb                       # 1 instruction
#ifdef __x86_64__
        mov     $60, %eax
        xor     %edi, %edi
        syscall
#else
        mov     $1, %eax
        xor     %ebx, %ebx
        int     $0x80
#endif
room:   .space 100
"""),
}
LOGGED = re.compile(r"^Trace \d+: 0x\w+ \[\w+/(\w+)/", re.MULTILINE)  # a line of QEMU's -d exec


def engines_on(machine: str) -> list[Engine]:
    """The engines on a kind of machine that can be made and counted here."""
    found = [engine for engine in engines.table() if engine.target.machine == machine and not here.missing(engine)]
    return [engine for engine in found if not lacking(engine)]


def lacking(engine: Engine) -> str:
    """Why its instructions cannot be counted here."""
    kinds = {"pc": qemu.QEMU, "uefi": uefi.QEMU}
    try:
        counter.plugin_version(kinds.get(engine.target.machine) or program.runner(engine)[0])
    except MissingTool as problem:
        return str(problem)
    return ""


class Known(FolderTest):
    def engines(self, machine: str) -> list[Engine]:
        found = engines_on(machine)
        if not found:
            self.skipTest(f"no engine's emulator that counts is here: {machine}")
        return found

    def assembled(self, target: Target, source: str) -> Path:
        (self.folder / "p.S").write_text(source, "utf-8")
        path = self.folder / target.name
        steps.run([gcc.command(target), *target.gcc("machine"), "-x", "assembler-with-cpp", "-nostdlib", "-static", "-Wl,-N",
                   f"-Wl,-m,{target.gcc('linker')}", "-Wl,--build-id=none", "-o", str(path), str(self.folder / "p.S")])
        return path

    def test_programs(self) -> None:
        for engine in {engine.target.name: engine for engine in self.engines("program") if engine.toolchain == "gcc"}.values():
            others, source = PROGRAMS[engine.target.fact("isa")]
            for more in (0, 1):
                with self.subTest(engine.target.name, more=more):
                    longer = source.replace("_start:", "_start: nop\n" * more or "_start:", 1)
                    built = SimpleNamespace(program=self.assembled(engine.target, longer), engine=engine)
                    self.assertEqual(run.count(built), (b"", 3 * LOOPS + others + more))

    def test_a_board(self) -> None:
        """The jump to itself counts once, however long it takes until somebody looks."""
        # mov r0, LOOPS; l: subs r0, 1; bne l; b .
        code = struct.pack("<5H", 0xF240 | LOOPS >> 12 | (LOOPS >> 11 & 1) << 10, (LOOPS >> 8 & 7) << 12 | LOOPS & 255,
                           0x3801, 0xD1FD, 0xE7FE)
        path = self.folder / "program"
        path.write_bytes(struct.pack("<II", 0x20001000, 9) + code)
        for engine in self.engines("board"):
            self.assertEqual(board.count(SimpleNamespace(program=path, engine=engine), 60), (b"", 2 * LOOPS + 2))

    def test_a_pc(self) -> None:
        """Not the firmware's: neither before nor in the call of INT 10h. Beside it QEMU's own count, of which the
        repetitions are a part, and the look that finds none left."""
        self.engines("pc")
        # cli; mov cx, LOOPS; l: dec cx; jnz l; mov ax, 0E41h; int 10h
        code = b"\xFA\xB9" + LOOPS.to_bytes(2, "little") + b"\x49\x75\xFD" + b"\xB8\x41\x0E\xCD\x10"
        self.assertEqual(self.counted_on_a_pc(code + b"\xFA\xF4")[0], 2 * LOOPS + 6)
        # The same without INT 10h; then xor di, di; push 2000h; pop es; mov cx, 100; rep stosb; cli; hlt
        code = code[:-5] + b"\x31\xFF\x68\x00\x20\x07\xB9\x64\x00\xF3\xAA\xFA\xF4"
        one_by_one, all_of_them = self.counted_on_a_pc(code)
        self.assertEqual((one_by_one, all_of_them - one_by_one), (2 * LOOPS + 9, 100))

    def counted_on_a_pc(self, code: bytes) -> tuple[int, int]:
        image = self.folder / "image"
        image.write_bytes(code.ljust(510, b"\0") + b"\x55\xAA")
        with Counter(qemu.QEMU, pc.code(SimpleNamespace(files=self.folder))) as counting, qemu.Machine(image, extra=[
                *counting.options, "-icount", f"shift=0,rr=record,rrfile={self.folder / 'record'}"]) as machine:
            machine.wait_until_stopped(100)
            return counting.value(), machine.call("query-replay")["icount"] - machine.icount

    def test_firmware(self) -> None:
        for engine in self.engines("uefi"):
            built = small(engine, self.folder)
            content = bytearray(built.program.read_bytes())
            entry = uefi.field(content, "AddressOfEntryPoint")
            # mov ecx, LOOPS; l: dec ecx; jnz l; xor eax, eax; ret
            code = b"\xB9" + LOOPS.to_bytes(4, "little") + b"\xFF\xC9\x75\xFC\x31\xC0\xC3"
            content[entry:entry + len(code)] = code
            path = self.folder / "planted"
            path.write_bytes(content)
            self.assertEqual(uefi.count(SimpleNamespace(program=path, engine=engine), 100), (b"", 2 * LOOPS + 3))

    def test_no_instructions(self) -> None:
        for engine in (engine for engine in engines.table() if engine.target.machine == "wasi" and not here.missing(engine)):
            built = small(engine, self.folder)
            self.assertEqual(run.count(built), (run.run(built).text, None))


def small(engine: Engine, folder: Path) -> Built:
    """Of a model with a story of two tokens."""
    model = random_model.write(folder, "m", random_model.weights(replace(small_checkpoint().config, seq_len=2), 3, 4))
    return builds.build(engine, model, folder / engine.name)


class BesideTheLog(FolderTest):
    """QEMU translates one instruction at a time, and writes a line for each that it executes."""

    def logged(self, built: Built) -> int:
        log = self.folder / "log"
        log.unlink(missing_ok=True)
        emulator = program.runner(built.engine)
        known = subprocess.run([emulator[0], "--help"], capture_output=True, encoding="utf-8").stdout
        single = next(option for option in ("-one-insn-per-tb", "-singlestep") if re.search(rf"^{option}\b", known, re.MULTILINE))
        options = [single, "-d", "exec,nochain", "-D", str(log)]
        program.run_command([*emulator, *options, str(built.program)])
        places = LOGGED.findall(log.read_text("utf-8"))
        return sum(place != before for place, before in zip(places, ["", *places]))

    def test_engines(self) -> None:
        found = engines_on("program")
        if not found:
            self.skipTest("no engine's emulator that counts is here")
        for engine in {engine.target.name: engine for engine in reversed(found)}.values():  # the first one on each target
            with self.subTest(engine.name):
                built = small(engine, self.folder)
                text, number = run.count(built)
                self.assertIsNone(matching.compare(text, matching.expect(built.effective), run.seen(engine)))
                self.assertGreater(number, 10_000)
                self.assertEqual(number, self.logged(built))


class BesideTheProcessor(FolderTest):
    """This machine's own processor, where it is one of x86-64: the kernel lets it execute one instruction after the other."""

    TRACEME, PEEKUSER, SINGLESTEP = 0, 3, 9  # linux/ptrace.h
    RIP = 8 * 16  # in struct user_regs_struct

    def stepped(self, path: Path) -> int:
        ptrace = ctypes.CDLL(None).ptrace
        ptrace.argtypes, ptrace.restype = [ctypes.c_long] * 4, ctypes.c_long
        process = os.fork()
        if not process:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            if ptrace(self.TRACEME, 0, 0, 0) == 0:
                os.execv(path, [path])
            os._exit(77)
        number, before, (_, status) = 0, None, os.waitpid(process, 0)
        while os.WIFSTOPPED(status):
            place = ptrace(self.PEEKUSER, process, self.RIP, 0)
            number, before = number + (place != before), place
            ptrace(self.SINGLESTEP, process, 0, 0)
            _, status = os.waitpid(process, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 77:
            self.skipTest("the kernel lets nobody trace")
        self.assertEqual(status, 0)
        return number

    def test_engines(self) -> None:
        own = [engine for engine in engines_on("program") if engine.toolchain == "gcc" and platform.machine() == "x86_64"]
        found = [engine for engine in own if engine.target.gcc("linker") == "elf_x86_64"]
        if not found:
            self.skipTest("no processor, engine or emulator for it is here")
        built = small(found[0], self.folder)
        self.assertEqual(run.count(built)[1], self.stepped(built.program), found[0].name)


class Missing(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        counter.plugin_version.cache_clear()
        self.addCleanup(counter.plugin_version.cache_clear)

    def command(self, version: str = "qemu-x version 7.2.22", options: str = "-plugin  a plugin") -> str:
        path = self.folder / "qemu-x"
        path.write_text(f"#!/bin/sh\ncase $1 in --version) echo '{version}';; --help) echo '{options}';; esac\n", "utf-8")
        path.chmod(0o755)
        counter.plugin_version.cache_clear()
        return str(path)

    def test_versions(self) -> None:
        self.assertEqual(counter.plugin_version(self.command()), 1)
        self.assertEqual(counter.plugin_version(self.command("QEMU emulator version 10.0.2 (Debian)")), 2)
        self.assertUserError("--version: 'what', a version like 7.2", counter.plugin_version, self.command("what"))

    def test_no_plugins(self) -> None:
        self.assertUserError("qemu-x: it loads no plugins", counter.plugin_version, self.command(options="-singlestep"))
        self.assertUserError("qemu-y: not found; emulators are in the packages", counter.plugin_version, "qemu-y")
        with mock.patch.dict(os.environ, LLAMA512_CXX="g++-x"):
            self.assertUserError(r"g\+\+-x: not found; install g\+\+", counter.compiled, -1)

    def test_nothing_counted(self) -> None:
        with Counter(self.command()) as counting:
            self.assertUserError("no instruction was counted", counting.value)

    def test_files_are_gone_and_may_be_called_anything(self) -> None:
        odd = self.folder / "a, b=c%d"
        odd.mkdir()
        found = engines_on("program")
        if not found:
            self.skipTest("no engine's emulator that counts is here")
        built = small(found[0], self.folder)
        number = run.count(built)
        with mock.patch("tempfile.tempdir", str(odd)), mock.patch.dict(os.environ, TMPDIR=str(odd)):
            self.assertEqual(run.count(built), number)
            self.assertRaises(UserError, run.count, SimpleNamespace(program=self.folder / "none", engine=found[0]))
        self.assertEqual([path.name for path in odd.iterdir() if not path.name.startswith(processes.PREFIX)], [])
        self.assertEqual(list(odd.iterdir()), [])


if __name__ == "__main__":
    main()
