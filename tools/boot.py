"""Boots a PC from an engine's disk image, in QEMU, and streams the story that it shows.

The image is built for the model first, unless one is given; it is never written to. A model of any size is taken, as long
as it fits below 3 GB with the memory that the engine works in. If the engine's sector has no room with the model's shape,
a smaller engine is taken, unless --engine names one (`llama512 build --without` leaves a feature out). The story comes from what is
written to the screen's memory, which takes 16,384 characters (from COM1 for an engine that sends it there as well), so
no window is needed. The tool ends when the machine does: the engine halts it after the story. With --window it stays
on until the window is closed.

An engine that one can type to makes this a live terminal: keys go to the machine's COM1 as they are pressed, until Ctrl-C or
Ctrl-]. --prompt types for you, once or several times, and the tool ends after the last answer; and so it does when stdin is a file,
whose lines are typed.

examples:
  tools/llama512 boot
  tools/llama512 boot --engine asm-boot --model stories260K --cpu 486 --memory 8
  tools/llama512 boot --model stories260K --encoding int8
  tools/llama512 boot --model nibbles                      a disk of 64 KB
  tools/llama512 boot --model stories15M.bin --tokenizer tokenizer.bin
  tools/llama512 boot --temperature 0.8 --seed clock                another story each time
  tools/llama512 boot --window
  tools/llama512 boot --engine asm-boot-chat                       type to it
  tools/llama512 boot --engine asm-boot-chat --prompt "The dragon was sad" --prompt "A fox"
  tools/llama512 boot --engine asm-boot-chat --temperature 0.8 --top-p 0.9 --seed clock
  tools/llama512 boot --image story.img --disk usb --screenshot story.png
"""

from __future__ import annotations

import argparse
import stat
import sys
from pathlib import Path

from common.engine import builds, engines, packing, prompt, sampling
from common.engine.builds import Built
from common.engine.engines import Engine
from common.engine.nasm import SectorFull
from common.errors import UserError, run_tool
from common.files import protect
from common.machine import console, live, qemu, screen
from common.machine.pc import CPU, DISK, MEMORY, memory_for
from common.machine.qemu import DISKS, Machine
from common.model import checkpoint
from common.model.models import Model, find_model
from common.pack.encodings import ENCODINGS
from common.terminal import add_model_options, argument_parser
from common.training import rounding

MACHINE = "pc"  # of the targets whose images are booted here


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--engine", metavar="NAME", help="a boot engine (default: the first one that has features)")
    add_model_options(parser)
    parser.add_argument("--encoding", choices=ENCODINGS, help="of the weights, one that the engine reads (default: int4 for a "
                        "model that was trained for it, otherwise the engine's first)")
    parser.add_argument("--prompt", action="append", metavar="TEXT",
                        help="what the story begins with, if the engine takes one; may be repeated for an engine that one types to")
    sampling.add_options(parser, "of engines that can")
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
    if options.image and (options.model or options.tokenizer or options.encoding or options.temperature):
        parser.error("--image has its model in it: it goes without --model, --tokenizer, --encoding and --temperature")

    if options.cpu in ("help", "?"):
        print(qemu.processors(), end="")
        return

    drawn = sampling.chosen(parser, options)
    engine = find_engine(options.engine)
    if drawn:
        engine = engine.sampled(drawn)
    talks = screen.style(engine) == screen.CHAT
    if options.prompt and not talks:
        if options.image:
            parser.error(f"--image has its prompt in it: {engine.name} goes without --prompt")
        if len(options.prompt) > 1:
            parser.error(f"--prompt: {engine.name} takes one, it is built in")
    memory = options.memory or MEMORY
    if options.image:
        image = check_image(options.image)
    else:
        model = find_model(options.model, options.tokenizer)
        protect([options.screenshot], [model.checkpoint, model.tokenizer])
        options.encoding = options.encoding or own_encoding(engine, model)
        others = [] if options.engine else instead_of(engine, model, options)
        while True:
            try:
                built = build(engine, model, options)
                break
            except SectorFull as error:
                if not others:
                    raise
                (said, engine), *others = others
                print(f"{error}; {said} is taken instead", file=sys.stderr)
        image, memory = built.program, memory_for(built, options.memory)
    protect([options.screenshot], [image])
    cells = screen.style(engine) == screen.CELLS
    with Machine(image, options.cpu, memory, options.disk, window=options.window, cells=cells) as pc:
        if talks:
            talk(pc, options.prompt)
        else:
            stream = console.open_stream(engine, pc)
            stream.to_the_end()
            stream.finish()
        if options.screenshot and pc.process.poll() is None:
            pc.screenshot(options.screenshot)
        if options.window and pc.process.poll() is None and (options.prompt or not talks or not sys.stdin.isatty()):
            print("(the story is over; close the window)", file=sys.stderr)
            pc.process.wait()


def talk(pc: Machine, prompts: list[str] | None) -> None:
    """A conversation, with prompts, the lines of a file, or a person."""
    conversation = live.conversation(pc)
    try:
        if prompts:
            live.prompts(conversation, prompts)
        elif sys.stdin is not None and sys.stdin.isatty():
            live.terminal(conversation, sys.stdin.fileno())
        else:
            live.lines(conversation, sys.stdin.buffer if sys.stdin is not None else [])
    finally:
        conversation.finish()


def instead_of(engine: Engine, model: Model, options: argparse.Namespace) -> list[tuple[str, Engine]]:
    """What is tried next where the sector has no room, with its name: for a large model the engine without what is comfort there,
    then the others. A prompt makes room by itself."""
    if options.prompt is not None:
        return []
    talks = screen.style(engine) == screen.CHAT
    drawn = engine.sampling
    others = [(other.name, other.sampled(drawn) if drawn else other) for other in bootable()
              if other.name != engine.name and talks == (screen.style(other) == screen.CHAT) and (not drawn or other.draws(drawn))]
    if not engine.comforts or packing.fitting(engine, model, options.encoding) == engine:
        return others
    return [(f"the same without {' and '.join(engine.comforts)}", engine.without(engine.comforts)), *others]


def own_encoding(engine: Engine, model: Model) -> str:
    """What the model is told in when nobody says: int4 loses nothing of a model on its grid."""
    smallest = "int4"
    keeps = smallest in engine.encodings and rounding.on_a_grid(checkpoint.load(model.checkpoint), smallest)
    return smallest if keeps else engine.encodings[0]


def build(engine: Engine, model: Model, options: argparse.Namespace) -> Built:
    """Builds the image."""
    folder = builds.default_folder(model) / (sampling.FOLDER if engine.sampling else "")
    if options.prompt is None or screen.style(engine) == screen.CHAT:
        return builds.build(engine, model, options.output or folder, options.encoding)
    folder = options.output or folder / prompt.FOLDER
    return prompt.build(engine, model, folder, options.prompt[0], options.encoding)


def _megabytes(text: str) -> int:
    size = int(text) if text.isascii() and text.isdigit() else -1
    if not qemu.LEAST_MEMORY <= size <= qemu.MOST_MEMORY:
        raise argparse.ArgumentTypeError(
            f"{text}: {qemu.LEAST_MEMORY} to {qemu.MOST_MEMORY} MB are possible")
    return size


def bootable() -> list[Engine]:
    """The boot engines."""
    return [engine for engine in engines.table() if engine.target.machine == MACHINE]


def find_engine(name: str | None) -> Engine:
    """The boot engine of that name, or the default one."""
    if name is None:
        return next((engine for engine in bootable() if engine.features), bootable()[0])
    engine = engines.find(name)
    if engine not in bootable():
        raise UserError(f"engine {name!r}: no boot engine (`llama512 run {name}` runs it); boot engines are "
                        f"{', '.join(engine.name for engine in bootable())}")
    return engine


def check_image(path: Path) -> Path:
    """An image that a BIOS would boot."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise UserError(f"{path}: no regular file; an image of a boot engine is needed")
    with path.open("rb") as file:
        sector = file.read(qemu.SECTOR)
    if sector[510:] != b"\x55\xAA":
        raise UserError(f"{path}: signature: bytes 510 and 511 are {sector[510:].hex(' ') or 'missing'}, not 55 aa; "
                        "this is no image of a boot engine")
    return path


if __name__ == "__main__":
    run_tool(main)
