"""The table of golfed engines, golf/engines.json: the single source of truth for what engines there are.

    from common import engines
    for engine in engines.table():
        engine.name, engine.layout, engine.budget
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from common.checkpoint import Config
from common.errors import UserError
from common.models import ROOT

TABLE = ROOT / "golf" / "engines.json"


@dataclass(frozen=True)
class Engine:
    """A row of the table."""

    name: str
    family: str
    source: str
    target: str
    layout: str
    encodings: tuple[str, ...]
    budget: int
    budget_compiler: str
    features: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    screen: str = ""  # a boot engine: how text is on the screen, "cells" or "lines"

    @property
    def folder(self) -> Path:
        """What is particular to the engine's target."""
        return ROOT / "golf" / self.family / self.target

    @property
    def takes_prompt(self) -> bool:
        """Whether a prompt can be built in: a feature like others, for a source that has features."""
        return bool(self.features)

    @property
    def flagset(self) -> Path:
        """The flags that `llama512 flagsearch` found."""
        return self.folder / "flagset.json"

    def target_facts(self) -> dict:
        """target.json."""
        return json.loads((self.folder / "target.json").read_text("utf-8"))

    def runner(self) -> list[str]:
        """The command that runs this engine's programs under emulation."""
        return [self.target_facts()["emulator"]]


@functools.cache
def _table_file() -> dict:
    try:
        return json.loads(TABLE.read_text("utf-8"))
    except ValueError as error:
        raise UserError(f"{TABLE}: {error}: not JSON; repair it") from error


def table() -> list[Engine]:
    """All engines, in the table's order."""
    lists = ("encodings", "features", "choices")
    return [Engine(**{name: tuple(value) if name in lists else value for name, value in row.items()})
            for row in _table_file()["engines"]]


def names() -> list[str]:
    return [engine.name for engine in table()]


def find(name: str) -> Engine:
    """The engine of that name."""
    for engine in table():
        if engine.name == name:
            return engine
    raise UserError(f"engine {name!r}: not in golf/engines.json, known are {', '.join(names())}")


def select(wanted: Sequence[str] | None) -> list[Engine]:
    """The engines of these names, or all when there are none."""
    return [find(name) for name in dict.fromkeys(wanted)] if wanted else table()


@dataclass(frozen=True)
class Shape:
    """The shape that budgets are for."""

    name: str
    config: Config
    longest_piece: int


def budget_shape() -> Shape:
    shape = dict(_table_file()["budget_shape"])
    return Shape(shape.pop("name"), longest_piece=shape.pop("longest_piece"), config=Config(**shape, tied=True))
