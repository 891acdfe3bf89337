"""The toolchain of the engines in assembly language: NASM alone, no linker."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Sequence

from common.engine import steps
from common.engine.engines import Engine
from common.errors import UserError, require_tool
from common.project import ROOT


class SectorFull(UserError):
    """A boot sector that would need more than 512 bytes."""


@functools.cache
def assembler_name() -> str:
    """`nasm 2.16.01`."""
    require_tool("nasm", "install the package nasm (tools/quickstart does)")
    return f"nasm {steps.run(['nasm', '-v']).split()[2]}"


def name(engine: Engine) -> str:
    """The assembler with its version: sizes depend on it."""
    return assembler_name()


def programs(engine: Engine) -> list[str]:
    """The command that makes the engine."""
    return ["nasm"]


def small_flags(engine: Engine, compiler: str) -> tuple[tuple[str, ...], bool]:
    """Assembly has nothing to search: its flags are the engine's features."""
    return tuple(f"-D{feature}" for feature in engine.features), True


def include_folders(engine: Engine) -> list[Path]:
    """Where NASM looks for what a source includes, after the build's folder."""
    return [(ROOT / engine.source).parent]


def make(engine: Engine, files: Path, flags: Sequence[str]) -> None:
    """engine.bin from the source, model.inc and model.packed; engine.lst, and engine.map when the source asks."""
    source = ROOT / engine.source
    (files / "engine.map").unlink(missing_ok=True)
    command = ["nasm", "-f", "bin", "-w+all", "-w+error=number-overflow", "-w-reloc", "-w-unknown-warning", *flags,
               *(f"-I{folder}/" for folder in include_folders(engine)), str(source), "-o", "engine.bin", "-l", "engine.lst"]
    try:
        steps.run(command, files)
    except UserError as error:
        over = re.search(r"TIMES value -(\d+) is negative", str(error))
        if over is None:
            raise
        features = ", ".join(flag.removeprefix("-D").partition("=")[0] for flag in flags) or "no features"
        raise SectorFull(f"{engine.name}: the sector is {over[1]} bytes too full with this model's shape and {features}; "
                         "leave a feature out, or use a shorter prompt") from error
