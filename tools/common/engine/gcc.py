"""The toolchain of the C++ engines: g++ and binutils, the host's or a target's own (the prefix in its target.json)."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Sequence

from common.engine import steps
from common.engine.engines import Engine, nearest
from common.engine.targets import FOLDER, Target
from common.errors import UserError, atomic_write, require_tool
from common.project import ROOT

# What every C++ engine is compiled with: freestanding, and no code or data that the source does not ask for.
CPP_FLAGS = (
    "-std=gnu++20", "-ffreestanding", "-fno-exceptions", "-fno-rtti", "-fno-asynchronous-unwind-tables",
    "-fno-stack-protector", "-fcf-protection=none", "-fno-pic", "-fomit-frame-pointer", "-fno-math-errno",
    "-Wall", "-Wextra", "-Wno-register", "-g",
)

HOST_WAY_OUT = "install g++, or set LLAMA512_CXX to it"


def command(target: Target) -> str:
    """The target's C++ compiler: g++, or $LLAMA512_CXX. A cross compiler of that version is taken where there is one."""
    prefix, chosen = target.gcc("prefix"), os.environ.get("LLAMA512_CXX", "g++")
    if not prefix:
        return chosen
    cross = f"{prefix}{os.path.basename(chosen)}"
    return cross if shutil.which(cross) else f"{prefix}g++"


@functools.cache
def compiler_name(command: str, way_out: str = HOST_WAY_OUT) -> str:
    """`g++ 12.2.0`; the golfed engines need g++."""
    require_tool(command, way_out)
    first = steps.run([command, "--version"]).splitlines()[0]
    version = steps.run([command, "-dumpfullversion", "-dumpversion"]).strip()
    if "clang" in first or not re.fullmatch(r"[\d.]+", version):
        raise UserError(f"{command}: {first}: the golfed engines need g++; {way_out}")
    return f"g++ {version}"


def name(engine: Engine) -> str:
    """The compiler with its version: sizes depend on it."""
    target = engine.target
    if not target.gcc("prefix"):
        return compiler_name(command(target))
    return compiler_name(command(target), f"install what {FOLDER}/{target.name}/packages.txt lists (tools/quickstart --all does)")


def programs(engine: Engine) -> list[str]:
    """The commands that make the engine."""
    return [command(engine.target), *(f"{engine.target.gcc('prefix')}{tool}" for tool in ("as", "ld", "objcopy"))]


def link_script(engine: Engine) -> Path:
    """The target's linker script for the engine's source. It may INCLUDE what lies beside the source."""
    return engine.target.script(engine.idea)


def right_flags(engine: Engine) -> list[str]:
    """The flags that the engine's source cannot do without on its target."""
    flags = engine.target.gcc("flags")
    if engine.idea not in flags:
        raise UserError(f"{engine.target.folder / 'target.json'}: gcc: flags: {engine.idea}: it is not there; {engine.name} is "
                        "made of this source")
    return flags[engine.idea]


def small_flags(engine: Engine, compiler: str) -> tuple[tuple[str, ...], bool]:
    """The flags that make the engine small, and whether they are the searched ones for this very compiler.

    The set of the nearest version is the best guess, if this version knows its flags."""
    sets = engine.target.flag_sets().get(engine.name)
    if sets:
        found = nearest(sets, compiler)
        flags = tuple(sets[found]["flags"])
        if found == compiler or _accepts(command(engine.target), flags):
            return flags, found == compiler
    old = int(compiler.split()[1].split(".")[0]) < 12
    return tuple(engine.target.gcc("fallback_before_gcc_12" if old else "fallback")), False


@functools.cache
def _accepts(command: str, flags: tuple[str, ...]) -> bool:
    """Whether the compiler knows these flags."""
    return subprocess.run([command, *flags, "-fsyntax-only", "-x", "c++", "/dev/null"], capture_output=True,
                          stdin=subprocess.DEVNULL).returncode == 0


def make(engine: Engine, files: Path, flags: Sequence[str]) -> None:
    """engine.bin from the source, model.hpp, model.packed and the target's folder; engine.elf with debug information."""
    compile(engine, files, flags)
    link(engine, files)


def compile(engine: Engine, files: Path, flags: Sequence[str]) -> None:
    """engine.o from the source, model.hpp and the target's folder."""
    target, source = engine.target, ROOT / engine.source
    steps.run([command(target), *CPP_FLAGS, *target.gcc("machine"), *right_flags(engine), *flags, "-I", ".",
               "-I", str(target.folder), "-I", str(source.parent), "-c", str(source), "-o", "engine.o"], files)


def link(engine: Engine, files: Path, more: Sequence[str] = ()) -> None:
    """engine.elf and engine.bin from engine.o and model.packed, by the target's linker script. `more`: for the linker.

    engine.elf also says which instruction means which address: `anatomy` tells by it what a constant is for."""
    target = engine.target
    with atomic_write(files / "model.s", "w") as file:
        file.write('.section .note.GNU-stack, "", %progbits\n'
                   '.section .model, "a"\n.globl model\nmodel: .incbin "model.packed"\n')
    steps.run([command(target), *target.gcc("machine"), "-c", "model.s", "-o", "model.o"], files)
    steps.run([f"{target.gcc('prefix')}ld", "-m", target.gcc("linker"), "--no-warn-rwx-segments", "--emit-relocs",
               "-L", str((ROOT / engine.source).parent), "-T", str(link_script(engine)), "engine.o", "model.o", *more,
               "-o", "engine.elf"], files)
    steps.run([f"{target.gcc('prefix')}objcopy", "-O", "binary", "engine.elf", "engine.bin"], files)
