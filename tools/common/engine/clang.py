"""The toolchain of the WebAssembly engines: clang, LLVM's wasm-ld, and binaryen's wasm-opt.

    from common.engine import clang
    clang.name(engine)                          # "clang 19.1.7", of the newest that is installed with its linker

wasm-opt makes instructions anew, so DWARF does not describe what comes out. Here it gets a source map in which the "line" of
every instruction is its offset in engine.linked.wasm, and writes one for engine.bin: engine.origins.json. With DWARF of
engine.linked.wasm that leads from each byte to its line, and wasm-opt works as it does without any of that.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
from pathlib import Path
from typing import Iterator, Sequence

from common.engine import steps
from common.engine.engines import Engine, nearest
from common.engine.images import wasm
from common.errors import MissingTool, UserError, atomic_write, require_tool
from common.model import checkpoint
from common.pack.layouts import LAYOUTS
from common.project import ROOT

# What every engine is compiled with: freestanding, and no code or data that the source does not ask for.
CPP_FLAGS = ("-std=gnu++20", "-ffreestanding", "-fno-exceptions", "-fno-rtti", "-fno-math-errno", "-Wall", "-Wextra", "-g")

WAY_OUT = "install clang, lld and binaryen (tools/quickstart --all does)"
OLDEST, NEWEST = 14, 40  # versions that are looked for
LINKED, ORIGINS = "engine.linked.wasm", "engine.origins.json"
MAP_IN, MAP_OUT = "engine.linked.map", "engine.bin.map"


@functools.cache
def suffix(chosen: str = "", tools: tuple[str, ...] = ("clang", "wasm-ld")) -> str:
    """"-19": what these tools have behind their names; of `chosen`, or of the newest version of which all are there."""
    versions = [f"-{chosen}"] if chosen else [*(f"-{version}" for version in range(NEWEST, OLDEST - 1, -1)), ""]
    for version in versions:
        if all(shutil.which(f"{tool}{version}") for tool in tools):
            return version
    raise MissingTool(f"{' and '.join(f'{tool}{versions[-1]}' for tool in tools)}: not found; {WAY_OUT}")


def command(tool: str) -> str:
    """The command of one of LLVM's tools: of version $LLAMA512_CLANG, or the newest."""
    return tool + suffix(os.environ.get("LLAMA512_CLANG", ""))


@functools.cache
def compiler_name(command: str) -> str:
    """`clang 19.1.7`."""
    version = steps.run([command, "-dumpversion"]).strip()
    if not re.fullmatch(r"[\d.]+", version):
        raise UserError(f"{command}: {version!r} is no version; {WAY_OUT}")
    return f"clang {version}"


def name(engine: Engine) -> str:
    """The compiler with its version: sizes depend on it."""
    found = compiler_name(command("clang"))
    require_tool("wasm-opt", WAY_OUT)
    return found


def programs(engine: Engine) -> list[str]:
    """The commands that make the engine."""
    return [command("clang"), command("wasm-ld"), "wasm-opt"]


def small_flags(engine: Engine, compiler: str) -> tuple[tuple[str, ...], bool]:
    """The flags that make the engine small, and whether they were found with this very compiler."""
    sets = engine.target.flag_sets().get(engine.name)
    if not sets:
        return ("-Oz", "-mllvm", "-disable-lsr", "-mllvm", "-disable-machine-licm"), False
    found = nearest(sets, compiler)
    return tuple(sets[found]["flags"]), found == compiler


def make(engine: Engine, files: Path, flags: Sequence[str]) -> None:
    """engine.bin from the source, model.hpp, model.packed and the target's folder; engine.linked.wasm with debug information."""
    compile(engine, files, flags)
    link(engine, files)
    optimize(engine, files)


def compile(engine: Engine, files: Path, flags: Sequence[str]) -> None:
    """engine.o from the source, model.hpp and the target's folder."""
    target, source = engine.target, ROOT / engine.source
    steps.run([command("clang"), f"--target={target.clang('target')}", *CPP_FLAGS, *target.clang("flags")[engine.idea], *flags,
               "-I", ".", "-I", str(target.folder), "-I", str(source.parent), "-c", str(source), "-o", "engine.o"], files)


def link(engine: Engine, files: Path) -> None:
    """engine.linked.wasm from engine.o and model.packed, with memory for the model and all that it works in."""
    target, size = engine.target, (files / "model.packed").stat().st_size
    with atomic_write(files / "model.s", "w") as file:
        file.write('.section .data.model, "", @\n.globl model\n.type model, @object\nmodel: .incbin "model.packed"\n'
                   f".size model, {size}\n")
    steps.run([command("clang"), f"--target={target.clang('target')}", "-c", "model.s", "-o", "model.o"], files)
    workspace = LAYOUTS[engine.layout].workspace(checkpoint.read_config(files / "effective.bin"))
    pages = -(-workspace // wasm.PAGE)
    flags = [flag.format(workspace=pages * wasm.PAGE) for flag in target.clang("linker")[engine.idea]]
    steps.run([command("wasm-ld"), "--no-entry", *flags, "engine.o", "model.o", "-o", LINKED], files)


def optimize(engine: Engine, files: Path) -> None:
    """engine.bin from engine.linked.wasm, and where its instructions come from."""
    linked = (files / LINKED).read_bytes()
    with atomic_write(files / MAP_IN, "w") as file:
        json.dump({"version": 3, "sources": ["linked"], "names": [], "mappings": _identity(wasm.code(linked))}, file,
                  separators=(",", ":"))
    steps.run(["wasm-opt", *engine.target.clang("optimizer")[engine.idea], f"--input-source-map={MAP_IN}", LINKED, "-o", "engine.bin",
               f"--output-source-map={MAP_OUT}"], files)
    with atomic_write(files / ORIGINS, "w") as file:
        json.dump(list(_lines(json.loads((files / MAP_OUT).read_text("utf-8"))["mappings"])), file)
        file.write("\n")


# --- Source maps: `mappings` is one line, with groups of base64 numbers that are differences: column, source, line, column there ---

DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def _identity(code: range) -> str:
    """Every offset of the code stands for itself."""
    first = _number(code.start) + "A" + _number(code.start) + "A"
    return ",".join([first, *["CACA"] * (len(code) - 1)])


def _number(value: int) -> str:
    """A number as base64 digits of five bits, the lowest first; its sign is the lowest bit."""
    value = value << 1 if value >= 0 else -value << 1 | 1
    text = ""
    while True:
        digit, value = value & 31, value >> 5
        text += DIGITS[digit | (32 if value else 0)]
        if not value:
            return text


def _lines(mappings: str) -> Iterator[tuple[int, int]]:
    """(column, line) of each group. A group of one number is of code that comes from nowhere."""
    column = line = 0
    for group in mappings.split(","):
        values, value, shift = [], 0, 0
        for digit in map(DIGITS.index, group):
            value |= (digit & 31) << shift
            shift += 5
            if not digit & 32:
                values.append(-(value >> 1) if value & 1 else value >> 1)
                value = shift = 0
        if values:
            column += values[0]
        if len(values) >= 3:
            line += values[2]
            yield column, line
