"""Measures the engines side by side: tokens per second, instructions per token, and memory, beside their counted bytes.

Each engine tells the model's whole story several times, and the run with the least processor time counts, from the
program's start to its end: so other work on the machine matters little. A boot engine runs once, on a PC that QEMU
emulates, from power-on; its time is that of QEMU, firmware included. Memory is the most that a program had resident,
model included; of a boot engine, model and workspace.

Instructions are counted exactly, in one more run, on a processor that QEMU emulates: all that the engine executes from its first
one to its end, divided by the tokens of the story; neither a firmware's nor a kernel's. A repeated string instruction of x86 is
one. A WebAssembly module has none: they are its runtime's. Where QEMU cannot count, stderr says why, and the column is
empty. The figure depends on nothing but engine and model: any machine gives the same.

What is measured is checked as well: an engine that does not say what the reference says is an error.

examples:
  tools/llama512 speed
  tools/llama512 speed --model stories260K --runs 20 --engine cpp-linux-i386
  tools/llama512 speed --readme                 the table of README.md, with today's date
"""

from __future__ import annotations

import datetime
import json
import platform
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Sequence

from common import blocks
from common.engine import builds
from common.engine.builds import Built
from common.errors import MissingTool, UserError, atomic_write, run_tool
from common.machine import here, program, run
from common.match import matching
from common.match.matching import Expected
from common.model.models import Model, find_model
from common.pack.encodings import ENCODINGS
from common.project import ROOT
from common.terminal import (Progress, add_engines_option, add_model_options, argument_parser, markdown_table, size_text,
                             table)

BLOCK = "speed"  # of README.md
HEADERS = ["engine", "bytes", "tokens/s", "instructions/token", "memory"]
ALIGNMENT = "lrrrr"


@dataclass(frozen=True)
class Speed:
    """What an engine needs."""

    engine: str
    bytes: int | None  # counted; the reference's are not
    tokens: int
    seconds: float  # of the processor, in the fastest run
    memory: int | None  # bytes; None: it ran under an emulator, whose memory says nothing
    instructions: int | None  # of the whole story; None: not counted

    @property
    def row(self) -> list[object]:
        return [f"`{self.engine}`", self.bytes, f"{self.tokens / self.seconds:,.0f}",
                "" if self.instructions is None else f"{self.instructions / self.tokens:,.0f}",
                "" if self.memory is None else size_text(self.memory)]


def main() -> None:
    parser = argument_parser(__doc__)
    add_engines_option(parser)
    add_model_options(parser)
    parser.add_argument("--encoding", choices=ENCODINGS, help="of the weights; engines that have it (default: each engine's first)")
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="of a program (default: 10); a PC boots once")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of objects instead of the table")
    form.add_argument("--readme", action="store_true", help="write the table of README.md; of the project's model")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs {options.runs}: at least one is needed")
    if options.readme and (options.model or options.engine or options.encoding):
        parser.error("--readme is for all engines and the project's own model")

    speeds = measure(find_model(options.model, options.tokenizer), options.engine, options.runs, options.encoding)
    if options.json:
        print(json.dumps([asdict(speed) for speed in speeds], indent=1))
        return
    print(table([speed.row for speed in speeds], HEADERS, ALIGNMENT).replace("`", ""))
    if options.readme:
        path = ROOT / blocks.README
        text = blocks.replaced(path.read_text("utf-8"), BLOCK, for_readme(speeds, options.runs))
        with atomic_write(path, "w") as file:
            file.write(text)


def for_readme(speeds: Sequence[Speed], runs: int) -> str:
    """The block of README.md."""
    return (f"Measured on {datetime.date.today().isoformat()} on one core of {processor()}: the fastest of {runs} "
            "whole runs with fables. The boot engines ran once, on\na PC that QEMU emulates: its time, from power-on. "
            "Instructions are all that an engine executes for the story, divided by its\ntokens: counted one by one, on an "
            "emulated processor; a repeated string instruction is one. They are the same on every machine. (None where no\n"
            "processor has them, or where an engine waits for keys.)\n\n"
            f"{markdown_table([speed.row for speed in speeds], HEADERS, ALIGNMENT)}\n")


def processor() -> str:
    """Its name."""
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    return f"an {found[1]}" if found and found[1][0] in "AEIOU" else f"a {found[1]}" if found else platform.machine()


def measure(model: Model, names: Sequence[str] | None, runs: int, encoding: str | None = None) -> list[Speed]:
    """The reference and the engines of these names (None: all), in their first encoding or those that have this one."""
    chosen = [engine for engine in here.choose(names) if encoding is None or encoding in engine.encodings]
    with Progress("speed", total=1 + len(chosen), unit="engines") as progress:
        progress.update(0, "reference")
        speeds = [reference_speed(model, runs)]
        progress.add()
        for engine in chosen:
            progress.update(progress.done, engine.name)
            speeds.append(engine_speed(builds.build(engine, model, encoding=encoding), runs))
            progress.add()
    return speeds


def reference_speed(model: Model, runs: int) -> Speed:
    """Of the readable engine, on the original weights."""
    command = [str(matching.reference_program()), "-m", str(model.checkpoint), "--tokenizer", str(model.tokenizer),
               "--quiet"]
    tokens = len(matching.expect(model).tokens)
    results = [program.measure_command(command) for _ in range(runs)]
    return Speed("reference", None, tokens, min(result[1] for result in results), max(result[2] for result in results),
                 None)


def engine_speed(built: Built, runs: int) -> Speed:
    """Of an engine, which must be right as well."""
    expected = matching.expect(built.effective)
    text, seconds, memory = run.measure(built, runs)
    difference = matching.compare(text, expected, run.seen(built.engine))
    if difference:
        raise UserError(f"{built.engine.name}: {difference}; `llama512 verify` says more")
    return Speed(built.engine.name, built.counted, len(expected.tokens), seconds, memory, instructions(built, expected))


def instructions(built: Built, expected: Expected) -> int | None:
    """How many the engine executes for its story, which must be right there, too."""
    try:
        text, number = run.count(built, expected)
    except MissingTool as problem:
        print(f"{built.engine.name}: instructions are not counted: {problem}", file=sys.stderr)
        return None
    difference = matching.compare(text, expected, run.seen(built.engine))
    if difference:
        raise UserError(f"{built.engine.name}: emulated, while its instructions are counted: {difference}")
    return number


if __name__ == "__main__":
    run_tool(main)
