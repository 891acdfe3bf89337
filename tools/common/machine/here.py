"""Which engines this machine can make and run: not every one has every compiler and every emulator.

    from common.machine import here
    here.missing(engine)                     # "" or "riscv64-linux-gnu-g++: not found; install …"
    here.choose(names)                       # the engines of these names, or without any all that are possible here

An engine that is asked for by its name is not left out: what it lacks is then an error, where it is needed. With
LLAMA512_ENGINES=all in the environment none is left out.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Sequence

from common.engine import engines, toolchains
from common.engine.engines import Engine
from common.errors import MissingTool
from common.machine import run


def missing(engine: Engine, to_run: bool = True) -> str:
    """What this machine lacks to make the engine, and to run it; "" when there is nothing."""
    try:
        toolchains.name(engine)
        if to_run:
            run.check(engine)
    except MissingTool as problem:
        return str(problem)
    return ""


def choose(names: Sequence[str] | None, to_run: bool = True) -> list[Engine]:
    """The engines of these names; without names all that this machine can make (and run). The others are named on stderr,
    in one line."""
    chosen = engines.select(names)
    if names or os.environ.get("LLAMA512_ENGINES") == "all":
        return chosen
    lacking = {engine.name: missing(engine, to_run) for engine in chosen}
    found = [engine for engine in chosen if not lacking[engine.name]]
    if not found:
        raise MissingTool(lacking[chosen[0].name])
    if len(found) < len(chosen):
        _say(one_line({name: what for name, what in lacking.items() if what}))
    return found


def require_all() -> None:
    """Raises MissingTool unless this machine can make every engine: what is said of all of them needs all of them."""
    for engine in engines.table():
        what = missing(engine, to_run=False)
        if what:
            raise MissingTool(f"{engine.name}: {what}")


@functools.cache
def _say(line: str) -> None:
    """Once."""
    print(line, file=sys.stderr)


def one_line(lacking: dict[str, str]) -> str:
    """`not here: a, b (x-g++: not found), c (y-g++: not found); tools/quickstart --all installs what they need`."""
    groups: dict[str, list[str]] = {}
    for name, what in lacking.items():
        groups.setdefault(what.partition(";")[0], []).append(name)
    listed = ", ".join(f"{', '.join(members)} ({what})" for what, members in groups.items())
    return f"not here: {listed}; tools/quickstart --all installs what they need"
