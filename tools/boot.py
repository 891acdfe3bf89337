"""Boots a PC from an engine's disk image, in QEMU, and streams the story that it shows.

The image is built for the model first, unless one is given; it is never written to. The story comes from what is
written to the screen's memory, which takes 16,384 characters (from COM1 for an engine that sends it there as well), so
no window is needed. The tool ends when the machine does: the engine halts it after the story. With --window it stays
on until the window is closed.

examples:
  tools/llama512 boot
  tools/llama512 boot --engine asm-boot --model stories260K --cpu 486 --memory 8
  tools/llama512 boot --window
  tools/llama512 boot --image story.img --disk usb --screenshot story.png
"""

from __future__ import annotations

import argparse
import math
import stat
import sys
import time
from pathlib import Path

from common.engine import builds, engines
from common.engine.builds import Built
from common.engine.engines import Engine
from common.errors import UserError, run_tool
from common.files import protect
from common.machine import pc as machine, screen
from common.machine.pc import DISKS, Machine
from common.model import checkpoint
from common.model.models import find_model
from common.pack import layout
from common.terminal import add_model_options, argument_parser

TARGET = "boot"
CPU, MEMORY, DISK = "qemu32", 128, "ide"  # the default machine
BELOW_WORKSPACE = 2  # MB: the engines work in the memory above 1 MB and a little
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
    parser.add_argument("--memory", type=_megabytes, metavar="MB",
                        help=f"(default: {MEMORY}, or what the model needs; with --image always {MEMORY})")
    parser.add_argument("--disk", choices=DISKS, default=DISK, help="how the image is attached (default: %(default)s)")
    parser.add_argument("--window", action="store_true", help="open a window with the machine's screen")
    parser.add_argument("--screenshot", type=Path, metavar="FILE.png", help="write what the screen shows at the end")
    options = parser.parse_args()
    if options.image and (options.model or options.tokenizer or options.prompt):
        parser.error("--image has its model in it: it goes without --model, --tokenizer and --prompt")

    if options.cpu in ("help", "?"):
        print(machine.processors(), end="")
        return

    engine = find_engine(options.engine)
    memory = options.memory or MEMORY
    if options.image:
        image = check_image(options.image)
    else:
        model = find_model(options.model, options.tokenizer)
        protect([options.screenshot], [model.checkpoint, model.tokenizer])
        if options.prompt is None:
            built = builds.build(engine, model, options.output)
        else:
            folder = options.output or builds.default_folder(model) / "prompt"
            built = builds.build_with_prompt(engine, model, folder, options.prompt)
        image, memory = built.program, memory_for(built, options.memory)
    protect([options.screenshot], [image])
    with Machine(image, options.cpu, memory, options.disk, window=options.window) as pc:
        stream = open_stream(engine, pc)
        pc.wait_until_stopped(math.inf, stream.look_patiently)
        stream.finish()
        if options.screenshot:
            pc.screenshot(options.screenshot)
        if options.window:
            print("(the story is over; close the window)", file=sys.stderr)
            pc.process.wait()


def _megabytes(text: str) -> int:
    size = int(text) if text.isascii() and text.isdigit() else -1
    if not machine.LEAST_MEMORY <= size <= machine.MOST_MEMORY:
        raise argparse.ArgumentTypeError(
            f"{text}: {machine.LEAST_MEMORY} to {machine.MOST_MEMORY} MB are possible")
    return size


def memory_for(built: Built, wanted: int | None = None) -> int:
    """MB of memory for a machine that runs the engine: what is wanted, or else enough."""
    workspace = layout.WORKSPACES[built.engine.layout](checkpoint.read_config(built.effective.checkpoint))
    needed = BELOW_WORKSPACE + -(-workspace >> 20)
    most = wanted or machine.MOST_MEMORY
    if needed > most:
        raise UserError(f"{built.program}: memory: {built.engine.name} needs {needed} MB for this model, and "
                        + (f"--memory gives it {wanted}; leave that out" if wanted else
                           f"QEMU's PC has at most {most}; use a model with a smaller seq_len or dim"))
    return wanted or max(MEMORY, needed)


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
    if not stat.S_ISREG(path.stat().st_mode):
        raise UserError(f"{path}: no regular file; an image of a boot engine is needed")
    with path.open("rb") as file:
        sector = file.read(machine.SECTOR)
    if sector[510:] != b"\x55\xAA":
        raise UserError(f"{path}: signature: bytes 510 and 511 are {sector[510:].hex(' ') or 'missing'}, not 55 aa; "
                        "this is no image of a boot engine")
    return path


def capture(built: Built, show: bool) -> tuple[bytes, float]:
    """Boots an engine on the default machine: its text (all that can be seen of it, see screen.seen), and the seconds
    from power-on. `show`: also to stdout."""
    start = time.monotonic()
    with Machine(built.program, CPU, memory_for(built), DISK) as pc:
        stream = open_stream(built.engine, pc, show)
        pc.wait_until_stopped(math.inf, stream.look_patiently)
        return bytes(stream.text), time.monotonic() - start


def open_stream(engine: Engine, pc: Machine, show: bool = True) -> Stream:
    """The stream that the engine's text comes from."""
    return SerialStream(pc, show) if screen.style(engine) == screen.LINES else ScreenStream(pc, show)


class Stream:
    """Collects an engine's text as it comes, and writes it to stdout when it is to be shown."""

    most: int | None = None  # bytes that can be seen

    def __init__(self, pc: Machine, show: bool) -> None:
        self.pc, self.show, self.text, self.moved = pc, show, bytearray(), time.monotonic()

    def add(self, data: bytes) -> None:
        self.text += data
        if self.show and data:
            write(data)

    def look(self) -> None:
        raise NotImplementedError

    def look_patiently(self) -> None:
        """Looks, and gives up when nothing has come for long."""
        before = len(self.text)
        self.look()
        if len(self.text) > before or len(self.text) == self.most:
            self.moved = time.monotonic()
        elif time.monotonic() - self.moved > PATIENCE:
            raise UserError(f"nothing new for {PATIENCE:.0f} s, after {len(self.text)} characters; give the machine more "
                            "--memory, and check that the image is one of this engine")


class ScreenStream(Stream):
    """From what is written to text memory, as far as that goes."""

    most = screen.CELL_COUNT

    def look(self) -> None:
        self.add(self.pc.cells())

    def finish(self) -> None:
        if not self.text:
            raise UserError("the engine stopped before it told anything: the disk or the memory did not suit it")
        write(b"\n")
        if len(self.text) == self.most:
            print(f"(text memory ends here, after {self.most:,} characters)", file=sys.stderr)


class SerialStream(Stream):
    """From COM1."""

    def look(self) -> None:
        self.add(self.pc.serial())

    def finish(self) -> None:
        if not self.text:  # a message that only the screen has
            raise UserError(f"no story; the screen shows {screen.rows(self.pc.text_memory()).decode('cp437')!r}")
        write(b"\n")


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    run_tool(main)
