"""A second, independent PC to boot an image on: Bochs, with its own BIOS, steered through its debugger.

    import bochs
    result = bochs.run(image, folder)
    result.memory, result.writes        # text memory's characters; a write into the code's page, or ""
    result = bochs.run(image, folder, lines=[b"", b"Once"])      # typed over COM1, each at the prompt of an engine that takes them
    result.serial                       # all that COM1 got

Needs the Debian packages bochs, bochs-sdl, bochsbios and vgabios; versions 2.7 (Debian 12) and 3.0 (Debian 13) are
known to work. Debian builds Bochs with its debugger, which reads commands from stdin: stop at 7C00h, where the BIOS
hands over; watch the code's page; run. Bochs says in its log when the processor halts with interrupts off; a SIGINT
then brings the debugger back, which writes text memory to a file. COM1 is a terminal that belongs to this test.
"""

from __future__ import annotations

import functools
import os
import shutil
import signal
import subprocess
import time
import tty
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Sequence

from support import skip

from common.errors import UserError
from common.machine.console import PROMPT
from common.machine.qemu import CYLINDER, TEXT_MEMORY, on_disk

PROGRAM = "bochs-bin"  # Debian's `bochs` is a script that asks questions before it starts this
BIOS = Path("/usr/share/bochs/BIOS-bochs-latest")
VGA_BIOS = (Path("/usr/share/vgabios/vgabios.bin"), Path("/usr/share/bochs/VGABIOS-lgpl-latest"))

CODE_PAGE = 0x7000
WATCHED = 0x1000
ONE_SECTOR = 0xE00  # of it up to the end of the boot sector, where that loads others behind it
QUIET = 1.5  # seconds without a new byte behind a prompt: it waits there

HALTED = "HLT instruction with IF=0"
CAUGHT = "Caught write watch point"

CONFIGURATION = """\
config_interface: textconfig
display_library: sdl2
megs: {memory}
cpu: model={cpu}, ips=50000000
romimage: file={bios}
vgaromimage: file={vga_bios}
ata0-master: type=disk, path="{disk}", mode=flat, cylinders={cylinders}, heads=16, spt=63
boot: disk
clock: sync=none
{com1}
log: {log}
panic: action=fatal
error: action=report
"""


@dataclass(frozen=True)
class Result:
    """How a machine ended."""

    memory: bytes  # text memory's characters
    before: bytes  # the same when the boot sector started
    registers: str  # as Bochs lists them
    writes: str  # "", or the first write into the boot sector's page
    serial: bytes  # what COM1 got, if lines were typed there


@functools.cache
def _debugger(program: str) -> list[str]:
    """What starts the debugger: version 3.0 waits to be asked for it, 2.7 has no such option."""
    said = subprocess.run([program, "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT).stdout
    return ["-debugger"] if b" -debugger" in said else []


def run(image: Path, folder: Path, cpu: str = "pentium", memory: int = 32, timeout: float = 60,
        lines: Sequence[bytes] | None = None, watched: int = WATCHED) -> Result:
    """Boots an image, and waits until the processor halts for good; or types lines, each at a prompt, and waits for the prompt that
    follows. `watched`: how many bytes of the code's page must not be written to."""
    programs = (PROGRAM, "bochs")
    program = next((name for name in programs if shutil.which(name)), None)
    vga_bios = next((path for path in VGA_BIOS if path.is_file()), None)
    if program is None or not BIOS.is_file() or vga_bios is None:
        raise UserError(f"Bochs is not complete (looked for {PROGRAM}, {BIOS}, {VGA_BIOS[0]}); install the packages "
                        "bochs, bochs-sdl, bochsbios and vgabios (tools/quickstart does)")
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve()
    files = {name: folder / f"bochs.{name}" for name in ("disk", "log", "out", "rc", "memory", "before", "disk.lock")}
    for path in files.values():
        path.unlink(missing_ok=True)
    disk = on_disk(image, files["disk"])
    com1, ends = "", ()
    if lines is not None:
        ours, theirs = ends = skip.pseudo_terminal()
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        com1 = f"com1: enabled=1, mode=term, dev={os.ttyname(theirs)}"
    serial, moved = bytearray(), time.monotonic()
    files["rc"].write_text(CONFIGURATION.format(
        memory=memory, cpu=cpu, bios=BIOS, vga_bios=vga_bios, disk=disk.name, log=files["log"].name, com1=com1,
        cylinders=disk.stat().st_size // CYLINDER), "utf-8")
    with files["out"].open("wb") as out:
        process = subprocess.Popen(
            [program, "-q", "-f", files["rc"].name, *_debugger(program)], cwd=folder, stdin=subprocess.PIPE, stdout=out,
            stderr=subprocess.STDOUT, env={**os.environ, "SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"})
    assert process.stdin

    def said(name: str) -> str:
        return files[name].read_text("utf-8", errors="replace") if files[name].is_file() else ""

    deadline = time.monotonic() + timeout

    def wait(done: Callable[[], bool], what: str) -> None:
        while not done():
            if process.poll() is not None or time.monotonic() > deadline:
                why = "ended" if process.poll() is not None else f"not after {timeout:.0f} s"
                raise UserError(f"Bochs: waited for {what}: {why}; it said {(said('out') + said('log'))[-500:]!r}")
            time.sleep(0.05)

    def at_prompt(count: int) -> bool:
        """Whether so many prompts are there, and nothing else has come for a while."""
        nonlocal moved
        with suppress(BlockingIOError):
            while data := os.read(ours, 1 << 16):
                serial.extend(data)
                moved = time.monotonic()
        return (b"\r\n" + serial).count(PROMPT) >= count and serial.endswith(b">") and time.monotonic() - moved > QUIET

    def command(text: str) -> None:
        assert process.stdin
        process.stdin.write(text.encode() + b"\n")
        process.stdin.flush()

    try:
        command("pb 0x7c00\nc")
        wait(lambda: ") Breakpoint " in said("out"), "the boot sector to start")
        command(f'writemem "{files["before"].name}" {TEXT_MEMORY[0]:#x} {TEXT_MEMORY[1]}')
        command(f"watch w {CODE_PAGE:#x} {watched:#x}\nc")
        if lines is None:
            wait(lambda: HALTED in said("log") or CAUGHT in said("out"), "the processor to halt")
        else:
            for count, line in enumerate([*lines, None], 1):
                wait(lambda: at_prompt(count) or CAUGHT in said("out"), f"prompt {count}")
                if line is not None:
                    os.write(ours, line + b"\r")
                    moved = time.monotonic()
        writes = ""
        if CAUGHT in said("out"):
            writes = next(line for line in said("out").splitlines() if CAUGHT in line)
        else:
            process.send_signal(signal.SIGINT)
        command(f'r\nwritemem "{files["memory"].name}" {TEXT_MEMORY[0]:#x} {TEXT_MEMORY[1]}\nq')
        process.wait(20)
        output = said("out")
        if f"write watchpoint at 0x{CODE_PAGE:012x} len={watched} inserted" not in output:
            raise UserError("Bochs: the watch point was not set")
        return Result(files["memory"].read_bytes()[::2], files["before"].read_bytes()[::2],
                      output[output.rindex("rax:"):], writes, bytes(serial))
    finally:
        for end in ends:
            os.close(end)
        process.kill()
        process.communicate()
