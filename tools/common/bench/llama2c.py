"""llama2.c's programs as contenders: `run` (float32) and `runq` (int8), each with one thread.

    from common.bench import llama2c
    found = llama2c.contenders(Path("llama2.c"), Path("build/bench"))

A folder with run.c and runq.c is built, with FLAGS; one with programs `run` and `runq` is taken as it is. They print their tokens
per second to a millisecond: enough for a story that takes longer than FINE. A shorter one is timed by the difference of two whole
processes, one that stops after its first position, in time of the processor.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from common.bench import int8, pinned
from common.bench.contenders import LLAMA2C, Contender, Run
from common.bench.samples import GROWTH, STORY, WHOLE
from common.bench.shapes import PIECE, SMALLEST_GROUP, BenchModel, weight_bytes
from common.errors import UserError, require_tool

FLAGS = ("-Ofast", "-march=native")
FINE = 0.2  # seconds of a story in which a millisecond matters little
SAID = re.compile(r"^achieved tok/s: ([0-9.]+)$", re.MULTILINE)


@dataclass(frozen=True)
class Llama2c(Contender):
    """One of the programs."""

    program: Path = Path()
    folder: Path = Path()  # for its models in int8
    how: str = ""  # it was made

    def facts(self) -> dict[str, str]:
        return {"llama2.c": self.how}

    def kinds(self, model: BenchModel) -> tuple[str, ...]:
        if self.weights == "int8":
            return () if self.why_not(model) else (STORY,)
        return (STORY, GROWTH, *((WHOLE,) if model.shape.whole else ()))

    def why_not(self, model: BenchModel) -> str:
        if self.weights == "int8" and model.trained:
            return (f"{self.label}: left out with {model.shape.name}: rounded weights may end the story elsewhere, and it does not say "
                    "where")
        if self.weights == "int8" and int8.group_size(model.config) < SMALLEST_GROUP:
            return (f"{self.label}: left out with {model.shape.name}: dim {model.config.dim} and hidden_dim {model.config.hidden_dim} "
                    f"have no common groups of {SMALLEST_GROUP} columns or more")
        return ""

    def run(self, model: BenchModel, kind: str, steps: int) -> Run:
        process = self.process(model, steps)
        text = process.output.rstrip(b"\n")
        if not model.trained:
            self.check_length(model, len(text) // PIECE, steps)  # the text tells its number of tokens
        fields = self.whole(process, steps)
        if kind == WHOLE:
            return Run(fields, text)
        found = SAID.search(process.errors)
        tokens, seconds = steps - 1, (steps - 1) / float(found[1]) if found and float(found[1]) else 0.0
        if seconds < FINE:
            seconds = process.processor - self.process(model, 1).processor
        group = int8.group_size(model.config)
        return Run(fields | {"tokens": tokens, "seconds": max(seconds, 1e-6), "passes": tokens,
                             "weight_bytes": weight_bytes(model.config, self.weights, group)}, text)

    def process(self, model: BenchModel, steps: int) -> pinned.Process:
        path = model.checkpoint if self.weights == "f32" else model.quantized(self.folder)
        return pinned.run([str(self.program), str(path), "-t", "0", "-n", str(steps), "-z", str(model.tokenizer)], self.core)


def contenders(folder: Path, build: Path) -> list[Llama2c]:
    """run and runq, of the sources or the programs in the folder; what is built goes to `build`."""
    found = []
    for program, name, weights in (("run", "llama2c", "f32"), ("runq", "llama2c-int8", "int8")):
        path, how = made(folder, program, build)
        found.append(Llama2c(name, f"llama2.c {program}", LLAMA2C, weights, 1, path, build, how, exact=False))
    return found


def made(folder: Path, name: str, build: Path) -> tuple[Path, str]:
    """The program, and by whom."""
    source, program = folder / f"{name}.c", folder / name
    if source.is_file():
        return built(source, build), f"{compiler_name()} {' '.join(FLAGS)}"
    if program.is_file() and os.access(program, os.X_OK):
        return program.resolve(), "programs as they were given"
    raise UserError(f"--llama2c: {folder}: neither {name}.c nor a program {name} is there; give a checkout of "
                    "https://github.com/karpathy/llama2.c")


def built(source: Path, build: Path) -> Path:
    """The program of this source by this compiler, built once."""
    compiler = require_tool("gcc", "it builds llama2.c; install gcc, or give programs that are built")
    key = hashlib.sha256(b"\0".join([source.read_bytes(), compiler_name().encode(), *(flag.encode() for flag in FLAGS)])).hexdigest()
    program = build / "llama2.c" / f"{source.stem}-{key[:12]}"
    if not program.is_file():
        program.parent.mkdir(parents=True, exist_ok=True)
        temporary = program.with_name(f".{program.name}.{os.getpid()}.tmp")
        result = subprocess.run([compiler, *FLAGS, "-o", str(temporary), str(source), "-lm"], capture_output=True, encoding="utf-8",
                                errors="replace")
        if result.returncode:
            temporary.unlink(missing_ok=True)
            reason = next((line for line in result.stderr.splitlines() if "error" in line), "it does not compile")
            raise UserError(f"{source}: {compiler} {' '.join(FLAGS)}: {reason}")
        os.replace(temporary, program)
    return program


@functools.cache
def compiler_name() -> str:
    """`gcc (Debian 12.2.0-14) 12.2.0`, or "" without one."""
    if shutil.which("gcc") is None:
        return ""
    return subprocess.run(["gcc", "--version"], capture_output=True, encoding="utf-8", errors="replace").stdout.partition("\n")[0]
