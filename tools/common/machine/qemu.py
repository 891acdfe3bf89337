"""A PC to boot an image on: QEMU.

    from common.machine.qemu import Machine
    with Machine(image, cpu="486", memory=8, disk="ide") as machine:
        machine.image_bytes               # the image's size
        machine.before                    # the characters of VGA's text memory, B8000h to BFFFFh, for the boot sector
        machine.wait_until_stopped(timeout=60)
        machine.text_memory()             # the same, now
        machine.cells()                   # the bytes that were written to its cells, one after the other
        machine.serial()                  # what COM1 got
        machine.send(b"Once\r")           # to COM1
        machine.press("?")                # keys, for a character
        machine.in_real_mode()            # where an engine is that waits at its prompt

What the memory holds cannot tell what was written: a space may have been there before. So QEMU lists every write, from
the boot sector's first instruction on, where its debugger's protocol (gdb's) stops the firmware for a moment.

COM1 writes to a file, so that nothing is lost when nobody reads, and it reads from a pipe, as fast as the engine takes it.

The image is never written to. A file shorter than a cylinder is laid out on a disk of one cylinder, as it would be on
a real disk, for SeaBIOS takes nothing smaller on AHCI, virtio and USB. Needs the Debian package qemu-system-x86.
"""

from __future__ import annotations

import array
import fcntl
import os
import re
import socket
import subprocess
import termios
from contextlib import ExitStack
from pathlib import Path
from typing import Sequence

from common import processes
from common.errors import UserError, atomic_write, require_tool
from common.machine import keyboard
from common.machine.gdb import Debugger
from common.machine.qmp import Emulation

QEMU = "qemu-system-i386"
TEXT_MEMORY = (0xB8000, 0x8000)  # address and bytes: a character and its attribute, in turn
CYLINDER = 16 * 63 * 512  # bytes
SECTOR = 512
ENTRY = 0x7C00  # where the firmware loads the boot sector
KEY_TIME = 10  # milliseconds between the events of a key
FIRMWARE_TIME = 120.0  # seconds that the firmware may take to start it
LEAST_MEMORY, MOST_MEMORY = 8, 3584  # MB; QEMU's PC has its devices above that

WRITES = "memory_region_ops_write"  # QEMU's trace event of every write to a device, as which text memory counts
WRITE = re.compile(WRITES.encode() + rb" .*addr 0x(b[89a-f][0-9a-f]{3}) value 0x([0-9a-f]+) size (\d)")  # to text memory

# How the image is attached. All of them reach the engine through the same BIOS interface, INT 13h.
DISKS: dict[str, list[str]] = {
    "ide": ["-device", "ide-hd,drive=disk,bootindex=0"],
    "ahci": ["-device", "ahci,id=ahci", "-device", "ide-hd,drive=disk,bus=ahci.0,bootindex=0"],
    "virtio": ["-device", "virtio-blk-pci,drive=disk,bootindex=0"],
    "usb": ["-device", "qemu-xhci", "-device", "usb-storage,drive=disk,bootindex=0"],
}


def processors() -> str:
    """QEMU's list of what `cpu` may be."""
    return subprocess.run([program(), "-cpu", "help"], capture_output=True, encoding="utf-8", check=True).stdout


def program() -> str:
    """QEMU's command."""
    return require_tool(QEMU, "install the package qemu-system-x86 (tools/quickstart does)")


class Machine(Emulation):
    """A running QEMU. Ends with the `with` block."""

    def __init__(self, image: Path, cpu: str = "qemu32", memory: int = 128, disk: str = "ide",
                 garbage: Path | None = None, window: bool = False, exact: bool = False, bad_sector: int | None = None,
                 log: Path | None = None, begin: int = ENTRY, cells: bool = True, extra: Sequence[str] = ()) -> None:
        """`memory` in MB. `garbage`: a file that is laid over the memory above 1 MB before the machine starts.
        `exact`: the disk ends where the file ends, whatever its size. `bad_sector`: a sector that cannot be read.
        `log`: where QEMU's log goes. `begin`: the instruction that the machine has come to when this is done; `icount` is
        then the number of those before it, if QEMU counts them. `cells`: whether writes to text memory are listed."""
        qemu, self.image_bytes = program(), image.stat().st_size
        with ExitStack() as stack:
            folder = stack.enter_context(processes.temporary_folder())
            if not exact and image.stat().st_size < CYLINDER:
                image = on_disk(image, folder / "disk")
            log, serial, typed = log or folder / "log", folder / "com1.out", folder / "com1.in"
            for path in (log, serial):
                path.touch()
            os.mkfifo(typed)
            debugger, theirs = map(stack.enter_context, socket.socketpair())
            drive = f"if=none,id=disk,format=raw,snapshot=on,{_file_option(image, bad_sector)}"
            command = [qemu, "-cpu", cpu, "-m", f"{memory}M", "-nodefaults", "-vga", "std", "-no-reboot",
                       "-net", "none", "-display", "gtk" if window else "none",
                       "-chardev", f"socket,id=gdb,fd={theirs.fileno()}", "-gdb", "chardev:gdb", "-S",
                       "-serial", f"pipe:{serial.stem}", "-D", os.path.relpath(log, folder),
                       "-drive", drive, *DISKS[disk], *extra]
            if garbage is not None:
                command += ["-device", f"loader,file={garbage.absolute()},addr=0x100000,force-raw=on"]
            self.start(command, folder, stack, pass_fds=[theirs.fileno()])
            theirs.close()
            self.greet()
            self._written = 0  # cells
            self._log, self._line = stack.enter_context(log.open("rb")), b""
            self._serial = stack.enter_context(serial.open("rb"))
            self._typed = os.open(typed, os.O_RDWR | os.O_NONBLOCK)
            stack.callback(os.close, self._typed)
            self._start_boot_sector(debugger, begin, cells)
            self._stack = stack.pop_all()

    def __enter__(self) -> Machine:
        return self

    def _start_boot_sector(self, debugger: socket.socket, begin: int, cells: bool) -> None:
        """Lets the firmware run up to the boot sector, or further, and lists writes to text memory from then on, if wanted."""
        debugger.settimeout(FIRMWARE_TIME)
        gdb = Debugger(debugger, QEMU)
        try:
            gdb.stop_at(begin)
            gdb.go_on()
            self.before = self.text_memory()
            self.icount = self.call("query-replay")["icount"]
            self.call("trace-event-set-state", name=WRITES, enable=cells)
            gdb.no_stop_at(begin)
            gdb.let_go()
        except TimeoutError as error:
            raise UserError(f"{QEMU}: the firmware did not start the boot sector in {FIRMWARE_TIME:.0f} s") from error

    def text_memory(self) -> bytes:
        """All characters of VGA's text memory, without their attributes."""
        return self.memory(*TEXT_MEMORY)[::2]

    def cells(self) -> bytes:
        """What has been written to the characters of text memory since the last call: byte by byte from the first
        cell on, as the engines do that show every byte of their text."""
        lines, _, self._line = (self._line + self._log.read()).rpartition(b"\n")
        text = bytearray()
        for match in WRITE.finditer(lines):
            address, size = int(match[1], 16), int(match[3])
            for place, byte in enumerate(int(match[2], 16).to_bytes(size, "little"), address - TEXT_MEMORY[0]):
                if place % 2 == 0:  # a character, no attribute
                    if place != 2 * self._written:
                        raise UserError(f"cell {place // 2} of text memory was written when {self._written} was next; "
                                        "is this another engine's image?")
                    self._written += 1
                    text.append(byte)
        return bytes(text)

    def serial(self) -> bytes:
        """What COM1 got since the last call."""
        return self._serial.read()

    def send(self, data: bytes) -> int:
        """Sends bytes to COM1: how many of them there was room for. They wait until the engine takes them."""
        try:
            return os.write(self._typed, data) if data else 0
        except BlockingIOError:
            return 0

    def unsent(self) -> int:
        """How many bytes for COM1 still wait, but for those that its receiver has (1, or 16 with a buffer)."""
        size = array.array("i", [0])
        fcntl.ioctl(self._typed, termios.FIONREAD, size)
        return size[0]

    def press(self, character: str) -> None:
        """Presses the keys that make a character, and lets them go. Their events follow one another by themselves; the
        keyboard remembers 16 bytes of them, so whoever types a text waits for its echo."""
        self.call("send-key", **{"keys": [{"type": "qcode", "data": key} for key in keyboard.keys(character)],
                                 "hold-time": KEY_TIME})

    def in_real_mode(self) -> bool:
        """Whether the processor is in real mode now: bit 0 of CR0, PE, is 0."""
        found = re.search(r"^CR0=([0-9a-f]+)", self.monitor("info registers"), re.MULTILINE)
        if not found:
            raise UserError(f"{QEMU}: info registers: no CR0 in its answer; is this QEMU 7.2 or later?")
        return not int(found[1], 16) & 1

    def stopped(self) -> bool:
        """Whether the processor will never do anything again: interrupts are off, and it is halted or at a jump to
        itself. The state itself proves it; looking twice at the same address would not."""
        registers = self.monitor("info registers")
        flags = re.search(r"EFL=([0-9a-f]+)", registers)
        halted = re.search(r"HLT=(\d)", registers)
        if not flags or not halted:
            raise UserError(f"{QEMU}: info registers: no EFL or HLT in its answer; is this QEMU 7.2 or later?")
        if int(flags[1], 16) & 0x200:
            return False
        if halted[1] == "1":
            return True
        place = re.search(r"EIP=([0-9a-f]+)", registers)
        base = re.search(r"^CS =\w+ ([0-9a-f]+)", registers, re.MULTILINE)
        return bool(place and base) and self.memory(int(base[1], 16) + int(place[1], 16), 2) == b"\xEB\xFE"

    def screenshot(self, path: Path) -> None:
        """Writes what the screen shows, as PNG."""
        self.call("screendump", filename="screen.png", format="png")
        with atomic_write(path) as file:
            file.write((self.folder / "screen.png").read_bytes())


def _file_option(image: Path, bad_sector: int | None) -> str:
    """The drive option that says where the disk's bytes are."""
    name = str(image.absolute()).replace(",", ",,")
    if bad_sector is None:
        return f"file={name}"
    return ("file.driver=blkdebug,file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,"
            f"file.inject-error.0.sector={bad_sector},file.image.driver=file,file.image.filename={name}")


def on_disk(image: Path, path: Path) -> Path:
    """Writes the image and zeros after it, up to a whole number of cylinders."""
    data = image.read_bytes()
    with atomic_write(path) as file:
        file.write(data.ljust(max(-(-len(data) // CYLINDER), 1) * CYLINDER, b"\0"))
    return path


# cli; hlt
HALT = b"\xFA\xF4".ljust(510, b"\0") + b"\x55\xAA"
