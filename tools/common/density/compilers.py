"""The compilers of the density study: g++ and clang for any target, how good they are at being small, and what they lack.

    from common.density import compilers
    for compiler in compilers.known():
        compiler.missing(target)                            # "" or "x-g++: not found"
        compiler.compile(engine, files, "-Os")              # engine.o

An engine is made small by nothing but -Os or -Oz here. What is missing is said, and is no error.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Sequence

from common.engine import clang, gcc, steps
from common.engine.engines import Engine
from common.engine.targets import Target
from common.errors import MissingTool
from common.project import ROOT

LEVELS = ("-Os", "-Oz")


class Compiler:
    """One of them."""

    name: str

    def knows(self, target: Target) -> bool:
        """Whether target.json says how this compiler is told of the machine."""
        raise NotImplementedError

    def words(self, target: Target) -> list[str]:
        """The command, with what tells it the machine."""
        raise NotImplementedError

    def version(self, target: Target) -> str:
        """`g++ 12.2.0`; a MissingTool when it is not there."""
        raise NotImplementedError

    def flags(self, engine: Engine) -> list[str]:
        """Those that the source needs on this machine."""
        raise NotImplementedError

    def missing(self, target: Target) -> str:
        """What this machine lacks for it, "" when nothing."""
        try:
            self.version(target)
            linker = f"{target.gcc('prefix')}ld"
            return "" if shutil.which(linker) else f"{linker}: not found"
        except MissingTool as problem:
            return str(problem).partition(";")[0]

    def compile(self, engine: Engine, files: Path, level: str) -> None:
        """engine.o from the source, model.hpp and the target's folder."""
        source = ROOT / engine.source
        steps.run([*self.words(engine.target), *gcc.CPP_FLAGS, *self.flags(engine), level, "-I", ".", "-I",
                   str(engine.target.folder), "-I", str(source.parent), "-c", str(source), "-o", "engine.o"], files)


class Gcc(Compiler):
    name = "gcc"

    def knows(self, target: Target) -> bool:
        return True

    def words(self, target: Target) -> list[str]:
        return [gcc.command(target), *target.gcc("machine")]

    def version(self, target: Target) -> str:
        return gcc.compiler_name(gcc.command(target))

    def flags(self, engine: Engine) -> list[str]:
        return gcc.right_flags(engine)


class Clang(Compiler):
    name = "clang"

    def knows(self, target: Target) -> bool:
        return target.facts.get("clang") is not None

    def words(self, target: Target) -> list[str]:
        return [self._command(), f"--target={self._fact(target, 'target')}", *self._fact(target, "machine")]

    def version(self, target: Target) -> str:
        return clang.compiler_name(self._command())

    def flags(self, engine: Engine) -> list[str]:
        # It does not evaluate pow in a constant expression, but makes a constant of it all the same.
        return [*self._fact(engine.target, "flags")[engine.idea], "-Dconstexpr=const"]

    def _command(self) -> str:
        return f"clang{clang.suffix(tools=('clang',))}"

    def _fact(self, target: Target, name: str) -> Any:
        """What target.json says for clang, or else for g++."""
        facts = target.fact("clang")
        return facts[name] if name in facts else target.gcc(name)


def known() -> list[Compiler]:
    return [Gcc(), Clang()]


def library(target: Target) -> Sequence[str]:
    """The target's libgcc, which has what the processor has no instructions for. Only what is called gets into a program."""
    if shutil.which(gcc.command(target)) is None:
        return []
    path = steps.run([gcc.command(target), *target.gcc("machine"), "-print-libgcc-file-name"]).strip()
    return [path] if Path(path).is_file() else []
