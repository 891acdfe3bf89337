"""Boots a PC from an engine's disk image, in QEMU, and streams the story that it shows.

The image is built for the model first, unless one is given; it is never written to. The story comes from the screen's
memory (from COM1 for an engine that sends it there as well), so no window is needed. The tool ends when the machine
does: the engine halts it after the story. With --window it stays on until the window is closed.

examples:
  tools/llama512 boot
  tools/llama512 boot --engine asm-boot --model stories260K --cpu 486 --memory 8
  tools/llama512 boot --window
  tools/llama512 boot --image story.img --disk usb --screenshot story.png
"""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import tempfile
import time
from pathlib import Path

from common import builds, engines, machine, screen
from common.builds import Built
from common.engines import Engine
from common.errors import UserError, run_tool
from common.machine import DISKS, Machine
from common.models import find_model
from common.terminal import add_model_options, argument_parser

TARGET = "boot"
CPU, MEMORY, DISK = "qemu32", 128, "ide"  # the default machine
PATIENCE = 60.0  # seconds without a new character
DEFAULT_ENGINES = ("asm-boot-full", "asm-boot")  # the first one that is in the table


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--engine", metavar="NAME", help="a boot engine (default: asm-boot-full)")
    add_model_options(parser)
    parser.add_argument("--prompt", metavar="TEXT", help="what the story begins with (asm-boot-full)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where the image is built (default: build/…)")
    parser.add_argument("--image", type=Path, metavar="FILE", help="boot this image of the engine, build nothing")
    parser.add_argument("--cpu", default=CPU, metavar="NAME",
                        help="QEMU's name of the processor: 486, pentium, max … (default: %(default)s)")
    parser.add_argument("--memory", type=_megabytes, default=MEMORY, metavar="MB", help="(default: %(default)s)")
    parser.add_argument("--disk", choices=DISKS, default=DISK, help="how the image is attached (default: %(default)s)")
    parser.add_argument("--window", action="store_true", help="open a window with the machine's screen")
    parser.add_argument("--screenshot", type=Path, metavar="FILE.png", help="write what the screen shows at the end")
    options = parser.parse_args()
    if options.image and (options.model or options.tokenizer or options.prompt):
        parser.error("--image has its model in it: it goes without --model, --tokenizer and --prompt")

    engine = find_engine(options.engine)
    if options.image:
        image = check_image(options.image)
    elif options.prompt is None:
        image = builds.build(engine, find_model(options.model, options.tokenizer), options.output).program
    else:
        model = find_model(options.model, options.tokenizer)
        folder = options.output or builds.default_folder(model) / "prompt"
        image = builds.build_with_prompt(engine, model, folder, options.prompt).program
    with tempfile.TemporaryDirectory(prefix="llama512-") as folder:
        serial = Path(folder) / "com1"
        before = machine.firmware_screen(options.cpu, options.memory, options.disk)
        with (Machine(image, options.cpu, options.memory, options.disk, serial=serial, window=options.window) as pc,
              contextlib.closing(open_stream(engine, pc, serial, before)) as stream):
            pc.wait_until_stopped(math.inf, stream.look_patiently)
            stream.finish()
            if options.screenshot:
                pc.screenshot(options.screenshot)
            if options.window:
                print("(the story is over; close the window)", file=sys.stderr)
                pc.process.wait()


def _megabytes(text: str) -> int:
    size = int(text)
    if not 8 <= size <= 3584:
        raise argparse.ArgumentTypeError(f"{size}: 8 to 3584 MB are possible")
    return size


def find_engine(name: str | None) -> Engine:
    """The boot engine of that name, or the default one."""
    bootable = [engine.name for engine in engines.table() if engine.target == TARGET]
    if name is None:
        name = next((name for name in DEFAULT_ENGINES if name in bootable), DEFAULT_ENGINES[0])
    engine = engines.find(name)
    if engine.target != TARGET:
        raise UserError(f"engine {name!r}: no boot engine (it is a program: `llama512 run {name}`); boot engines are "
                        f"{', '.join(bootable) or 'not in the table'}")
    return engine


def check_image(path: Path) -> Path:
    """An image that a BIOS would boot."""
    with path.open("rb") as file:
        sector = file.read(machine.SECTOR)
    if sector[510:] != b"\x55\xAA":
        raise UserError(f"{path}: signature: bytes 510 and 511 are {sector[510:].hex(' ') or 'missing'}, not 55 aa; "
                        "this is no image of a boot engine")
    return path


def capture(built: Built, show: bool) -> tuple[bytes, float]:
    """Boots an engine on the default machine: its text, and the seconds from power-on. `show`: also to stdout."""
    before = machine.firmware_screen(CPU, MEMORY, DISK)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="llama512-") as folder:
        serial = Path(folder) / "com1"
        with (Machine(built.program, CPU, MEMORY, DISK, serial=serial) as pc,
              contextlib.closing(open_stream(built.engine, pc, serial, before, show)) as stream):
            pc.wait_until_stopped(math.inf, stream.look_patiently)
            return bytes(stream.text), time.monotonic() - start


def open_stream(engine: Engine, pc: Machine, serial: Path, before: bytes, show: bool = True) -> Stream:
    """The stream that the engine's text comes from."""
    if screen.style(engine) == screen.LINES:
        return SerialStream(pc, show, serial)
    return ScreenStream(pc, show, before)


class Stream:
    """Collects an engine's text as it comes, and writes it to stdout when it is to be shown."""

    def __init__(self, pc: Machine, show: bool) -> None:
        self.pc, self.show, self.text, self.moved = pc, show, bytearray(), time.monotonic()

    def add(self, data: bytes) -> None:
        self.text += data
        if self.show:
            write(data)

    def look(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing more is read."""

    def look_patiently(self) -> None:
        """Looks, and gives up when nothing has come for long."""
        before = len(self.text)
        self.look()
        if len(self.text) > before:
            self.moved = time.monotonic()
        elif time.monotonic() - self.moved > PATIENCE:
            raise UserError(f"nothing new for {PATIENCE:.0f} s, after {len(self.text)} characters; give the machine more "
                            "--memory, and check that the image is one of this engine")


class ScreenStream(Stream):
    """From text memory, since the engine runs."""

    def __init__(self, pc: Machine, show: bool, before: bytes) -> None:
        super().__init__(pc, show)
        self.before, self.running = before, False

    def look(self) -> None:
        self.running = self.running or self.pc.in_boot_sector()
        if self.running:
            text = screen.shown(self.pc.text_memory(), self.before)
            self.add(text[len(self.text):])

    def finish(self) -> None:
        if not self.running:
            raise UserError("the engine stopped before it told anything: the disk or the memory did not suit it")
        write(b"\n")


class SerialStream(Stream):
    """From the file that COM1 goes to."""

    def __init__(self, pc: Machine, show: bool, serial: Path) -> None:
        super().__init__(pc, show)
        self.file = serial.open("rb")

    def look(self) -> None:
        self.add(self.file.read())

    def close(self) -> None:
        self.file.close()

    def finish(self) -> None:
        if not self.text:  # a message that only the screen has
            raise UserError(f"no story; the screen shows {screen.rows(self.pc.text_memory()).decode('cp437')!r}")
        write(b"\n")


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    run_tool(main)
