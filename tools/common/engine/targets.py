"""A target: all that is particular to one kind of machine, in its folder golf/targets/NAME.

    from common.engine import targets
    target = targets.find("…")
    target.facts["isa"], target.flagset

target.json says

    about      what the machine is
    family     which machines it belongs to, for tables
    isa        the instruction set, as the headers in golf/cpp/isa are named
    code       the instruction set as people call it, in full
    byte_order of a number in memory, where it is not little: big
    image      the format of what is built: a module of common/engine/images
    machine    what runs it: a module of common/machine
    elf        of a program: by what the kernel sees whether it can run it, the file's class (32 or 64 bits) and e_machine
    emulator   of a program: the command that runs it where the kernel cannot; of a board: the command that emulates it
    board      of a board: what the emulator calls it
    study      why it is there when no engine of the table is for it: density (`llama512 density`)
    variants   the same machine with other instructions, for that study: by name what is said otherwise
    gcc        for C++: prefix of the cross tools; flags that make it right (machine: of every step; flags: of the
               compiler, by source);
               linker: ld's emulation; fallback: flags that make it small without a searched set; knobs: what flagsearch
               turns besides the knobs of all targets
    clang      the same for clang, where it knows the machine: target (as --target wants it), machine, flags; linker: wasm-ld's
               flags, by source ({workspace}: the bytes that an engine works in, as whole pages); optimizer: wasm-opt's, by
               source; what is not there is as for gcc

Beside it lie, for each source in C++ that runs there, SOURCE.hpp and (for gcc) SOURCE.ld (SOURCE-VARIANT.ld, where a variant
wants another one), and flagset.json (the flags that were searched, by engine); and packages.txt, what the target needs
besides tools/packages.txt.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Mapping

from common.errors import UserError
from common.project import ROOT

FOLDER = "golf/targets"


@dataclass(frozen=True)
class Target:
    """A folder of golf/targets."""

    name: str
    folder: Path
    facts: Mapping[str, Any] = field(hash=False, compare=False)
    variant: str = ""

    def fact(self, name: str) -> Any:
        """What target.json says of something."""
        if name not in self.facts:
            raise UserError(f"{self.folder / 'target.json'}: {name}: it is not there; tools/common/engine/targets.py says what "
                            "it means")
        return self.facts[name]

    def gcc(self, name: str) -> Any:
        """What "gcc" says of something there."""
        return self._of_toolchain("gcc", name)

    def clang(self, name: str) -> Any:
        """What "clang" says of something there."""
        return self._of_toolchain("clang", name)

    def _of_toolchain(self, toolchain: str, name: str) -> Any:
        facts = self.fact(toolchain)
        if name not in facts:
            raise UserError(f"{self.folder / 'target.json'}: {toolchain}: {name}: it is not there; "
                            "tools/common/engine/targets.py says what it means")
        return facts[name]

    @property
    def image(self) -> str:
        return self.fact("image")

    @property
    def machine(self) -> str:
        return self.fact("machine")

    @property
    def byte_order(self) -> str:
        """Of a number in memory: little or big."""
        return self.facts.get("byte_order", "little")

    def script(self, idea: str) -> Path:
        """The linker script for a source."""
        own = self.folder / f"{idea}-{self.variant}.ld"
        return own if self.variant and own.is_file() else self.folder / f"{idea}.ld"

    def variants(self) -> list[Target]:
        """The target as it is, and its variants."""
        def merged(new: Mapping[str, Any]) -> dict[str, Any]:
            return {**self.facts, **{name: {**self.facts.get(name, {}), **value} if isinstance(value, dict) else value
                                     for name, value in new.items()}}
        return [self, *(replace(self, variant=name, facts=merged(new)) for name, new in self.facts.get("variants", {}).items())]

    @property
    def flagset(self) -> Path:
        """The file of the flags that `llama512 flagsearch` found."""
        return self.folder / "flagset.json"

    def flag_sets(self) -> dict[str, dict[str, dict]]:
        """What flagsearch found, by engine and compiler: a set suits a source, and a target may have several."""
        return json.loads(self.flagset.read_text("utf-8"))["sets"] if self.flagset.is_file() else {}


@functools.cache
def find(name: str) -> Target:
    """The target of that name."""
    folder = ROOT / FOLDER / name
    path = folder / "target.json"
    try:
        return Target(name, folder, json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a target has a folder of its own, known are {', '.join(names())}") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}: not JSON; repair it") from error


def names() -> list[str]:
    """All targets."""
    return sorted(path.parent.name for path in (ROOT / FOLDER).glob("*/target.json"))
