"""The toolchain of the engines in assembly language: NASM alone, no linker."""

from __future__ import annotations

import functools
import itertools
import re
from pathlib import Path
from typing import Sequence

from common.engine import steps
from common.engine.engines import Engine, find
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
    (files / "engine.map").unlink(missing_ok=True)
    command = assembling(engine, flags)
    try:
        steps.run([*command, "-o", "engine.bin", "-l", "engine.lst"], files)
    except UserError as error:
        over = re.search(r"TIMES value -(\d+) is negative", str(error))
        if over is None:
            raise
        features = ", ".join(flag.removeprefix("-D").partition("=")[0] for flag in flags) or "no features"
        ways = [" and ".join(left_out) for left_out in what_makes_room(engine, files, flags)]
        raise SectorFull(f"{engine.name}: the sector is {over[1]} bytes too full with this model's shape and {features}; "
                         + (f"leave out {', or '.join(ways)} (--without), " if ways else "")
                         + "take an engine with fewer features, or use a shorter prompt") from error


def check_room(engine: Engine, files: Path, flags: Sequence[str]) -> None:
    """SectorFull if that is what `make` will say with the packed model. Takes the hole away that stands for this."""
    try:
        make(engine, files, flags)
    finally:
        for name in ("engine.bin", "model.packed"):
            (files / name).unlink(missing_ok=True)


def assembling(engine: Engine, flags: Sequence[str]) -> list[str]:
    """The command but for its outputs."""
    return ["nasm", "-f", "bin", "-w+all", "-w+error=number-overflow", "-w-reloc", "-w-unknown-warning", *flags,
            *(f"-I{folder}/" for folder in include_folders(engine)), str(ROOT / engine.source)]


def what_makes_room(engine: Engine, files: Path, flags: Sequence[str]) -> list[tuple[str, ...]]:
    """The smallest sets of the table's features for the engine without which its sector has room."""
    features = [f"-D{feature}" for feature in find(engine.name).optional_features if f"-D{feature}" in flags]
    found: list[tuple[str, ...]] = []
    for count in range(1, len(features) + 1):
        for left_out in itertools.combinations(features, count):
            if any(set(smaller) <= set(left_out) for smaller in found):
                continue
            try:
                steps.run([*assembling(engine, [flag for flag in flags if flag not in left_out]), "-o", "engine.bin"], files)
            except UserError:
                continue
            found.append(left_out)
    (files / "engine.bin").unlink(missing_ok=True)
    return [tuple(flag.removeprefix("-D") for flag in left_out) for left_out in found]
