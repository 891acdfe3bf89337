"""Who is measured: what every contender has.

    for contender in everyone:
        if kind in contender.kinds(model):
            contender.run(model, kind, steps)             # a Run

A contender is an object of a class of its own module: `reference`, `llama2c`, `golfed`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from common.bench import pinned
from common.bench.shapes import BenchModel
from common.errors import UserError

# Groups, whose members look alike in a picture.
GROUPS = PLAIN, FAST, QUANTIZED, LLAMA2C, GOLFED, OTHER = "plain", "fast", "quantized", "llama2.c", "golfed", "other"


@dataclass(frozen=True)
class Run:
    """What a run said of itself: fields of a Sample, and its text (None: it is of no use for a comparison)."""

    fields: dict[str, Any]
    text: bytes | None = None


@dataclass(frozen=True)
class Contender:
    """Somebody to measure."""

    name: str  # for --only, and in files
    label: str  # for people
    group: str
    weights: str  # f32, int8, int4
    threads: int = 1
    exact: bool = field(default=True, kw_only=True)  # it must say what the reference says

    def kinds(self, model: BenchModel) -> tuple[str, ...]:
        """Kinds of runs that make sense with this model."""
        raise NotImplementedError

    def why_not(self, model: BenchModel) -> str:
        """Where there are none, and one may wonder."""
        return ""

    def facts(self) -> dict[str, str]:
        """What one should know of it beside the machine."""
        return {}

    def run(self, model: BenchModel, kind: str, steps: int) -> Run:
        raise NotImplementedError

    def warm_up(self, model: BenchModel, steps: int, kind: str) -> None:
        """So that its files are in memory."""
        self.run(model, kind, steps)

    @property
    def story(self) -> str:
        """What it tells: those of one story are compared with each other."""
        return "a story from nothing"

    @property
    def core(self) -> int | None:
        """Where one thread stays."""
        return pinned.one_core() if self.threads == 1 else None

    def whole(self, process: pinned.Process, positions: int) -> dict[str, Any]:
        """The fields that every run has."""
        return {"wall": process.wall, "processor": process.processor, "positions": positions}

    def check_length(self, model: BenchModel, positions: int, wanted: int) -> None:
        """A story that ends early has fewer positions, of which the last ones cost the most."""
        if positions < wanted:
            raise UserError(f"{model.checkpoint}: {self.label}: the story ended after {positions} of {wanted} positions, in which BOS "
                            "should not win; remove the file, and it is made anew")
