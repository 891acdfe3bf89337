"""A PC with UEFI: QEMU with OVMF, which finds the engine as EFI/BOOT/BOOTX64.EFI on a disk with a FAT file system.

    from common.machine import uefi
    with uefi.Machine(built) as pc:                  # the firmware has loaded the engine, and is about to start it
        text = pc.story(timeout=60)

The text is what the engine hands to the firmware: a debugger stops at ConOut->OutputString, which it finds in the system table
as the engine does, and reads the string there (`utf16` says what its characters stand for). A screen, or a terminal at the serial
port, shows less: it wraps lines, and has not every character. The engine must keep to the calling convention, and
return EFI_SUCCESS at the end.

Needs the Debian packages qemu-system-x86 and ovmf. Nothing is written but in a temporary folder.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Sequence

from common import processes
from common.engine.builds import Built
from common.engine.engines import Engine
from common.engine.images import pe
from common.errors import MissingTool, UserError, require_tool
from common.machine import warm
from common.machine.counter import Counter, escaped
from common.machine.gdb import Debugger
from common.machine.run import Story
from common.pack import utf16

QEMU = "qemu-system-x86_64"
# The firmware's code, as distributions call it. Its variables are in memory.
FIRMWARE = ("OVMF/OVMF_CODE_4M.fd", "OVMF/OVMF_CODE.fd", "edk2/x64/OVMF_CODE.4m.fd", "edk2/ovmf/OVMF_CODE.fd",
            "qemu/ovmf-x86_64-code.bin", "qemu/edk2-x86_64-code.fd")
SHARE = Path("/usr/share")
BOARDS = ("pc", "q35")  # QEMU's machines; the first one is the default
LEAST_MEMORY, MOST_MEMORY = 256, 2048  # MB; QEMU's q35 has its devices above that
FOR_FIRMWARE = 96  # MB at the end of memory
FIRMWARE_TIME = 240.0  # seconds that the firmware may take to start the engine
MOST_TEXT = 4096  # bytes of a string

RAX, RCX, RDX, RSP, RIP = 0, 2, 3, 7, 16  # in gdb's order
# Where they are in EFI_SYSTEM_TABLE, EFI_SIMPLE_TEXT_OUTPUT_PROTOCOL and EFI_BOOT_SERVICES.
CON_OUT, BOOT_SERVICES, OUTPUT_STRING, SET_WATCHDOG = 64, 96, 8, 256
EXCEPTIONS = 32
LONGEST_INSTRUCTION = 15  # bytes


def run(built: Built, show: bool, emulate: bool, timeout: float) -> Story:
    with Machine(built) as pc:
        start = time.monotonic()
        text = pc.story(timeout, show)
        return Story(text, time.monotonic() - start)


def tell(built: Built, emulate: bool) -> None:
    with Machine(built) as pc:
        pc.story(math.inf, True)
    print()


def trace(built: Built, log: Path, timeout: float) -> bytes:
    """The log begins with the engine's first instruction, and has what is executed in the engine's memory; what is
    executed elsewhere is the firmware."""
    log.unlink(missing_ok=True)
    with Machine(built, log=log) as pc:
        return pc.story(timeout)


def measure(built: Built, runs: int) -> tuple[bytes, float, int | None]:
    """Of one run, from the engine's start."""
    with Machine(built) as pc:
        before = pc.seconds()
        text = pc.story(math.inf)
        return text, pc.seconds() - before, memory(built)


def count(built: Built, timeout: float) -> tuple[bytes, int | None]:
    """From the engine's first instruction on; what is executed elsewhere is the firmware."""
    with Counter(QEMU, place(built)) as counter, Machine(built, extra=counter.options) as pc:
        return pc.story(timeout), counter.value()


def memory(built: Built) -> int:
    """What it has the firmware give it, nearly all of which it clears: more than it works in."""
    return len(place(built))


def check(engine: Engine) -> None:
    program()
    firmware()


def seen(engine: Engine) -> int | None:
    return None


def emulated(engine: Engine) -> bool:
    return True


def program() -> str:
    """QEMU's command."""
    return require_tool(QEMU, "install the package qemu-system-x86 (tools/quickstart --all does)")


def firmware() -> Path:
    """The firmware: $LLAMA512_OVMF, or where distributions have it."""
    chosen = os.environ.get("LLAMA512_OVMF")
    for path in [Path(chosen)] if chosen else [SHARE / name for name in FIRMWARE]:
        if path.is_file():
            return path
    raise MissingTool(f"{chosen or FIRMWARE[0]}: not found; install the package ovmf (tools/quickstart --all does)")


def field(program: bytes, name: str) -> int:
    """A number of the PE header."""
    names = pe.header_fields(program)
    return int.from_bytes(bytes(byte for byte, found in zip(program, names) if name in found.split(", ")), "little")


def header(built: Built) -> bytes:
    """The beginning of the file, with all of its PE header."""
    with built.program.open("rb") as file:
        return file.read(4096)


def place(built: Built) -> range:
    """Where the firmware gives it memory."""
    base = field(header(built), "ImageBase")
    return range(base, base + field(header(built), "SizeOfImage"))


class Machine:
    """A running QEMU, stopped before the engine's first instruction. Ends with the `with` block."""

    def __init__(self, built: Built, board: str = BOARDS[0], log: Path | None = None, garbage: bytes = b"",
                 extra: Sequence[str] = ()) -> None:
        """`log`: of the instructions from here on. `garbage`: what all of the engine's memory is filled with before the
        firmware starts."""
        program_, firmware_ = program(), firmware()
        with ExitStack() as stack:
            self.folder = stack.enter_context(processes.temporary_folder())
            disk = self.folder / "disk" / "EFI" / "BOOT"
            disk.mkdir(parents=True)
            shutil.copy(built.program, disk / "BOOTX64.EFI")
            where = place(built)
            self.base, self.size = where.start, len(where)
            self.entry = self.base + field(header(built), "AddressOfEntryPoint")
            mine, theirs = map(stack.enter_context, socket.socketpair())
            command = [program_, "-machine", f"{board},accel=tcg", "-m", f"{self._memory(built)}M", "-nodefaults",
                       "-display", "none", "-no-reboot", "-net", "none", "-serial", "file:com1", "-monitor", "none",
                       "-drive", f"if=pflash,format=raw,readonly=on,file={escaped(firmware_)}",
                       "-drive", "if=none,id=disk,format=raw,snapshot=on,file=fat:disk", "-device", "ide-hd,drive=disk",
                       *extra]
            usual = not (garbage or extra or self._memory(built) > LEAST_MEMORY)  # others are switched on
            state = warm.options(command, "disk", firmware_, self.folder) if usual else []
            command += ["-chardev", f"socket,id=gdb,fd={theirs.fileno()}", "-gdb", "chardev:gdb", "-S", *state]
            if log:
                command += ["-D", str(log.absolute()), "-dfilter", f"{self.base:#x}+{self.size:#x}"]
            if garbage:
                (self.folder / "garbage").write_bytes((garbage * (self.size // len(garbage) + 1))[:self.size])
                command += ["-device", f"loader,file=garbage,addr={self.base:#x},force-raw=on"]
            with (self.folder / "said").open("wb") as said:
                self.process = processes.start(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                                               cwd=self.folder, env={**os.environ, "TMPDIR": str(self.folder)},
                                               pass_fds=[theirs.fileno()])
            stack.callback(self._switch_off)
            theirs.close()
            self._connection, self.debugger = mine, Debugger(mine, QEMU)
            mine.settimeout(FIRMWARE_TIME)
            if state:
                warm.wait(self.debugger)
            self._start(built, log)
            self._stack = stack.pop_all()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _switch_off(self) -> None:
        self.process.kill()
        self.process.wait()

    def _memory(self, built: Built) -> int:
        needed = max(LEAST_MEMORY, -(-(self.base + self.size) >> 20) + FOR_FIRMWARE)
        if needed > MOST_MEMORY:
            raise UserError(f"{built.program}: memory: {built.engine.name} needs {needed} MB for this model, QEMU's PC has at "
                            f"most {MOST_MEMORY}; use a model with a smaller seq_len or dim")
        return needed

    def _start(self, built: Built, log: Path | None) -> None:
        """Lets the firmware run up to the engine's first instruction."""
        gdb = self.debugger
        try:
            gdb.stop_at(self.entry)
            gdb.go_on()
            gdb.no_stop_at(self.entry)
        except TimeoutError as error:
            raise UserError(f"{QEMU}: the firmware did not start {built.program} in {FIRMWARE_TIME:.0f} s; its last words: "
                            f"{self.serial()[-200:]!r}") from error
        except (UserError, ConnectionError) as error:
            said = (self.folder / "said").read_text("utf-8", "replace").strip()
            raise UserError(f"{QEMU}: ended: {said.splitlines()[-1] if said else error}") from error
        self.table, stack = gdb.register(RDX), gdb.register(RSP)
        self.con_out = self._word(self.table + CON_OUT)
        self.output_string = self._word(self.con_out + OUTPUT_STRING)
        self.set_watchdog = self._word(self._word(self.table + BOOT_SERVICES) + SET_WATCHDOG)
        self.watchdog = True  # whether it is on
        self.back = self._word(stack)
        # An exception is the end: the firmware's handlers wait for ever.
        table = re.search(r"IDT= *([0-9a-f]+)", gdb.monitor("info registers"))
        assert table
        self.handlers = {}
        for number in range(EXCEPTIONS):
            gate = gdb.memory(int(table[1], 16) + 16 * number, 16)
            self.handlers[int.from_bytes(gate[0:2] + gate[6:12], "little")] = number
        for address in (self.output_string, self.set_watchdog, self.back, self.base + self.size, *self.handlers):
            gdb.stop_at(address)
        if log:
            gdb.monitor("log in_asm")

    def _word(self, address: int) -> int:
        return int.from_bytes(self.debugger.memory(address, 8), "little")

    def story(self, timeout: float, show: bool = False, hostile: bool = False) -> bytes:
        """Lets the engine run to its end: its text. `hostile`: the firmware's function uses all that belongs to it, the 32 bytes
        above the return address."""
        text, end, gdb = bytearray(), time.monotonic() + timeout, self.debugger
        while True:
            left = end - time.monotonic()
            self._connection.settimeout(max(left, 0.01) if left < math.inf else None)
            try:
                gdb.go_on()
            except TimeoutError as error:
                raise UserError(f"{QEMU}: the engine still runs after {timeout:.0f} s") from error
            self._connection.settimeout(FIRMWARE_TIME)
            place, stack = gdb.register(RIP), gdb.register(RSP)
            if place == self.back:
                status = gdb.register(RAX)
                if status:
                    raise UserError(f"the engine returned {status:#x}, which is not EFI_SUCCESS, after {len(text)} bytes of text")
                return bytes(text)
            if place == self.base + self.size:
                raise UserError(f"the engine ran out of its memory, after {len(text)} bytes of text")
            if place in self.handlers:
                raise UserError(f"exception {self.handlers[place]} after {len(text)} bytes of text")
            if self.base <= self._word(stack) < self.base + self.size:  # the engine's call, and not the firmware's own
                if stack % 16 != 8:
                    raise UserError(f"the engine calls the firmware with a stack that is not aligned ({stack + 8:#x})")
                if place == self.set_watchdog:
                    self.watchdog = gdb.register(RCX) != 0
                else:
                    text += self._said(show)
                if hostile:
                    gdb.write(stack + 8, b"\xDB" * 32)
            # Over the breakpoint. QEMU may come back from a step without having made it.
            while gdb.register(RIP) == place:
                gdb.step()
            if not place < gdb.register(RIP) <= place + LONGEST_INSTRUCTION:
                raise UserError(f"{QEMU}: a step from {place:#x} leads to {gdb.register(RIP):#x}")

    def _said(self, show: bool) -> bytes:
        """The string of a call of OutputString."""
        gdb = self.debugger
        if gdb.register(RCX) != self.con_out:
            raise UserError(f"the engine calls OutputString with rcx = {gdb.register(RCX):#x} instead of {self.con_out:#x}")
        address, data = gdb.register(RDX), b""
        while len(data) < MOST_TEXT:
            data += gdb.memory(address + len(data), 64)
            string, zero, _ = utf16.split(data)
            if zero:
                break
        else:
            raise UserError(f"the engine's text at {address:#x} does not end")
        text = utf16.decode(string)
        if show:
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
        return text

    def seconds(self) -> float:
        """Of the processor, that QEMU has used."""
        return processes.seconds(self.process.pid)

    def serial(self) -> bytes:
        """All that a terminal at the serial port got so far."""
        path = self.folder / "com1"
        return path.read_bytes() if path.is_file() else b""
