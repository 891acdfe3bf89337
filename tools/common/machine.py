"""A PC to boot an image on: QEMU, driven through its machine protocol (QMP), with nothing but pipes.

    from common.machine import Machine, firmware_screen
    with Machine(image, cpu="486", memory=8, disk="ide") as machine:
        machine.wait_until_stopped(timeout=60)
        machine.text_memory()             # the characters of VGA's text memory, B8000h to BFFFFh
    firmware_screen("486", 8, "ide")      # the same, as the firmware leaves it to a boot sector

The image is never written to. A file shorter than a cylinder is laid out on a disk of one cylinder, as it would be on
a real disk, for SeaBIOS takes nothing smaller on AHCI, virtio and USB. Needs the Debian package qemu-system-x86.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Sequence

from common.errors import UserError

QEMU = "qemu-system-i386"
TEXT_MEMORY = (0xB8000, 0x8000)  # address and bytes: a character and its attribute, in turn
CYLINDER = 16 * 63 * 512  # bytes
SECTOR = 512
ENTRY = 0x7C00  # where the firmware loads the boot sector

# How the image is attached. All of them reach the engine through the same BIOS interface, INT 13h.
DISKS: dict[str, list[str]] = {
    "ide": ["-device", "ide-hd,drive=disk,bootindex=0"],
    "ahci": ["-device", "ahci,id=ahci", "-device", "ide-hd,drive=disk,bus=ahci.0,bootindex=0"],
    "virtio": ["-device", "virtio-blk-pci,drive=disk,bootindex=0"],
    "usb": ["-device", "qemu-xhci", "-device", "usb-storage,drive=disk,bootindex=0"],
}


class Machine:
    """A running QEMU. Ends with the `with` block."""

    def __init__(self, image: Path, cpu: str = "qemu32", memory: int = 128, disk: str = "ide",
                 garbage: Path | None = None, serial: Path | None = None, window: bool = False,
                 exact: bool = False, bad_sector: int | None = None, extra: Sequence[str] = ()) -> None:
        """`memory` in MB. `garbage`: a file that is laid over the memory above 1 MB before the machine starts.
        `serial`: where COM1's output goes. `exact`: the disk ends where the file ends, whatever its size.
        `bad_sector`: a sector that cannot be read."""
        if shutil.which(QEMU) is None:
            raise UserError(f"{QEMU}: not found; install the package qemu-system-x86 (tools/quickstart does)")
        self.folder = tempfile.TemporaryDirectory(prefix="llama512-")
        if not exact and image.stat().st_size < CYLINDER:
            image = on_disk(image, Path(self.folder.name) / "disk")
        drive = f"if=none,id=disk,format=raw,snapshot=on,{_file_option(image, bad_sector)}"
        command = [QEMU, "-cpu", cpu, "-m", f"{memory}M", "-nodefaults", "-vga", "std", "-no-reboot",
                   "-net", "none", "-qmp", "stdio", "-display", "gtk" if window else "none",
                   "-serial", f"file:{serial}" if serial else "null", "-drive", drive, *DISKS[disk], *extra]
        if garbage is not None:
            command += ["-device", f"loader,file={garbage},addr=0x100000,force-raw=on"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, encoding="utf-8", errors="replace")
        try:
            self._read()  # the greeting
            self.call("qmp_capabilities")
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Switches the machine off."""
        self.process.kill()
        self.process.communicate()
        self.folder.cleanup()

    def call(self, command: str, **arguments: Any) -> Any:
        """A QMP command's return value."""
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # _read says what happened
        while True:
            answer = self._read()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise UserError(f"{QEMU}: {command}: {answer['error']['desc']}")

    def monitor(self, line: str) -> str:
        """What QEMU's human monitor answers."""
        return self.call("human-monitor-command", **{"command-line": line})

    def memory(self, address: int, size: int) -> bytes:
        """Physical memory."""
        path = Path(self.folder.name) / "memory"
        self.call("pmemsave", val=address, size=size, filename=str(path))
        return path.read_bytes()

    def text_memory(self) -> bytes:
        """All characters of VGA's text memory, without their attributes."""
        return self.memory(*TEXT_MEMORY)[::2]

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

    def in_boot_sector(self) -> bool:
        """Whether the processor executes the boot sector in flat protected mode, rather than the firmware."""
        registers = self.monitor("info registers")
        place = re.search(r"EIP=([0-9a-f]+)", registers)
        control = re.search(r"CR0=([0-9a-f]+)", registers)
        base = re.search(r"^CS =\w+ ([0-9a-f]+)", registers, re.MULTILINE)
        return bool(place and control and base and int(control[1], 16) & 1
                    and ENTRY <= int(base[1], 16) + int(place[1], 16) < ENTRY + SECTOR)

    def wait_until_stopped(self, timeout: float, look: Callable[[], None] = lambda: None, pause: float = 0.05) -> None:
        """Waits for `stopped`, and calls `look` now and then on the way and once at the end."""
        start = time.monotonic()
        while not self.stopped():
            look()
            if time.monotonic() - start > timeout:
                raise UserError(f"{QEMU}: the machine still runs after {timeout:.0f} s")
            time.sleep(pause)
        look()

    def screenshot(self, path: Path) -> None:
        """Writes what the screen shows, as PNG."""
        temporary = Path(self.folder.name) / "screen.png"
        self.call("screendump", filename=str(temporary), format="png")
        shutil.move(temporary, path)

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout and self.process.stderr
        line = self.process.stdout.readline()
        if not line:
            said = self.process.stderr.read().strip() or f"exit status {self.process.wait()}"
            raise UserError(f"{QEMU}: ended: {said.splitlines()[-1]}")
        return json.loads(line)


def _file_option(image: Path, bad_sector: int | None) -> str:
    """The drive option that says where the disk's bytes are."""
    name = str(image).replace(",", ",,")
    if bad_sector is None:
        return f"file={name}"
    return ("file.driver=blkdebug,file.inject-error.0.event=read_aio,file.inject-error.0.errno=5,"
            f"file.inject-error.0.sector={bad_sector},file.image.driver=file,file.image.filename={name}")


def on_disk(image: Path, path: Path) -> Path:
    """Writes the image and zeros after it, up to a whole number of cylinders."""
    data = image.read_bytes()
    path.write_bytes(data.ljust(max(-(-len(data) // CYLINDER), 1) * CYLINDER, b"\0"))
    return path


# cli; hlt
HALT = b"\xFA\xF4".ljust(510, b"\0") + b"\x55\xAA"


def firmware_screen(cpu: str, memory: int, disk: str) -> bytes:
    """All characters of text memory as a boot sector on this machine finds them."""
    with tempfile.TemporaryDirectory(prefix="llama512-") as folder:
        image = Path(folder) / "halt.img"
        image.write_bytes(HALT)
        with Machine(image, cpu, memory, disk) as machine:
            machine.wait_until_stopped(60)
            return machine.text_memory()
