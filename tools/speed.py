"""Measures the engines side by side: tokens per second, and memory, beside their counted bytes.

Each engine tells the model's whole story several times, and the run with the least processor time counts, from the
program's start to its end: so other work on the machine matters little. A boot engine runs once, on a PC that QEMU
emulates, from power-on; its time is that of QEMU, firmware included. Memory is the most that a program had resident,
model included; of a boot engine, model and workspace. What is measured is checked as well: an engine that does not say
what the reference says is an error.

examples:
  tools/llama512 speed
  tools/llama512 speed --model stories260K --runs 20 --engine cpp-linux-i386
  tools/llama512 speed --readme                 the table of README.md, with today's date
"""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import re
import select
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Sequence

import boot
from common import blocks
from common.engine import builds, engines
from common.engine.builds import Built
from common.errors import UserError, atomic_write, run_tool
from common.machine import screen
from common.machine.pc import Machine
from common.match import matching
from common.model import checkpoint
from common.model.models import Model, find_model
from common.pack import layout
from common.project import ROOT
from common.terminal import (Progress, add_engines_option, add_model_options, argument_parser, markdown_table, size_text,
                             table)

BLOCK = "speed"  # of README.md
HEADERS = ["engine", "bytes", "tokens/s", "memory"]


@dataclass(frozen=True)
class Speed:
    """What an engine needs."""

    engine: str
    bytes: int | None  # counted; the reference's are not
    tokens: int
    seconds: float  # of the processor, in the fastest run
    memory: int | None  # bytes; None: it ran under an emulator, whose memory says nothing

    @property
    def row(self) -> list[object]:
        return [f"`{self.engine}`", self.bytes, f"{self.tokens / self.seconds:,.0f}",
                "" if self.memory is None else size_text(self.memory)]


def main() -> None:
    parser = argument_parser(__doc__)
    add_engines_option(parser)
    add_model_options(parser)
    parser.add_argument("--runs", type=int, default=10, metavar="N", help="of a program (default: 10); a PC boots once")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of objects instead of the table")
    form.add_argument("--readme", action="store_true", help="write the table of README.md; of the project's model")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs {options.runs}: at least one is needed")
    if options.readme and (options.model or options.engine):
        parser.error("--readme is for all engines and the project's own model")

    speeds = measure(find_model(options.model, options.tokenizer), options.engine, options.runs)
    if options.json:
        print(json.dumps([asdict(speed) for speed in speeds], indent=1))
        return
    print(table([speed.row for speed in speeds], HEADERS, "lrrr").replace("`", ""))
    if options.readme:
        path = ROOT / blocks.README
        text = blocks.replaced(path.read_text("utf-8"), BLOCK, for_readme(speeds, options.runs))
        with atomic_write(path, "w") as file:
            file.write(text)


def for_readme(speeds: Sequence[Speed], runs: int) -> str:
    """The block of README.md."""
    return (f"Measured on {datetime.date.today().isoformat()} on one core of {processor()}: the fastest of {runs} "
            "whole runs with fables. The boot engines ran once, on\na PC that QEMU emulates: its time, from power-on.\n\n"
            f"{markdown_table([speed.row for speed in speeds], HEADERS, 'lrrr')}\n")


def processor() -> str:
    """Its name."""
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    return f"an {found[1]}" if found and found[1][0] in "AEIOU" else f"a {found[1]}" if found else platform.machine()


def measure(model: Model, names: Sequence[str] | None, runs: int) -> list[Speed]:
    """The reference and the engines of these names (None: all)."""
    chosen = engines.select(names)
    with Progress("speed", total=1 + len(chosen), unit="engines") as progress:
        progress.update(0, "reference")
        speeds = [reference_speed(model, runs)]
        progress.add()
        for engine in chosen:
            progress.update(progress.done, engine.name)
            speeds.append(engine_speed(builds.build(engine, model), runs))
            progress.add()
    return speeds


def reference_speed(model: Model, runs: int) -> Speed:
    """Of the readable engine, on the original weights."""
    command = [str(matching.reference_program()), "-m", str(model.checkpoint), "--tokenizer", str(model.tokenizer),
               "--quiet"]
    tokens = len(matching.expect(model).tokens)
    results = [run(command) for _ in range(runs)]
    return Speed("reference", None, tokens, min(result[1] for result in results), max(result[2] for result in results))


def engine_speed(built: Built, runs: int) -> Speed:
    """Of an engine, which must be right as well."""
    expected = matching.expect(built.effective)
    memory: int | None
    seen = None
    if built.engine.target == boot.TARGET:
        seen = screen.seen(built.engine)
        output, seconds = run_on_a_pc(built)
        config = checkpoint.read_config(built.effective.checkpoint)
        memory = built.packed + layout.WORKSPACES[built.engine.layout](config)
    else:
        command = matching.native_command(built)
        results = [run(command) for _ in range(runs)]
        output, seconds = results[0][0], min(result[1] for result in results)
        memory = max(result[2] for result in results) if len(command) == 1 else None
    difference = matching.compare(output, expected, seen)
    if difference:
        raise UserError(f"{built.engine.name}: {difference}; `llama512 verify` says more")
    return Speed(built.engine.name, built.counted, len(expected.tokens), seconds, memory)


def run_on_a_pc(built: Built) -> tuple[bytes, float]:
    """A boot engine's text, and the seconds of the processor that the emulated PC took for it."""
    with Machine(built.program, boot.CPU, boot.memory_for(built), boot.DISK) as pc:
        stream = boot.open_stream(built.engine, pc, False)
        pc.wait_until_stopped(math.inf, stream.look_patiently)
        # Behind the name, which is in parentheses, are the fields 3 and on; 14 and 15 are times.
        fields = Path(f"/proc/{pc.process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        return bytes(stream.text), sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def run(command: Sequence[str]) -> tuple[bytes, float, int]:
    """A program's output, its seconds of the processor, and the most memory that it had resident.

    The kernel's own figure of memory, ru_maxrss, is no use: a new process inherits it from this one, which is larger.
    So the process is asked while it runs, again and again; what it had is known to the row of its last positions."""
    output, peak = bytearray(), 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout
        while True:
            peak = max(peak, resident(process.pid))
            if select.select([process.stdout], [], [], 0.0005)[0]:
                data = os.read(process.stdout.fileno(), 1 << 16)
                if not data:
                    break
                output += data
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"{command[-1]}: ended with status {process.returncode} after {len(output)} bytes of output")
    return bytes(output), usage.ru_utime + usage.ru_stime, peak


def resident(process: int) -> int:
    """The most bytes that a process had resident so far; 0 when it has ended."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{process}/status").read_text("utf-8"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    run_tool(main)
