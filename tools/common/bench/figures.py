"""The figures that were asked for: ratios, each with what it must be at least, and what is aimed at.

    from common.bench import figures
    for found in figures.found(results):
        found.figure.against, found.value, found.verdict

A ratio is that of two runs in the same round; the figure is the middle one of all rounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from common.bench import samples
from common.bench.results import Results
from common.bench.samples import STORY, WHOLE, Sample, Spread

TIMES, SHARE = "x", "%"  # how a figure is written


@dataclass(frozen=True)
class Figure:
    """`who` against `other`; or, without one, the share of the bandwidth that `who` reaches."""

    shape: str
    who: str
    other: str
    against: str  # in words
    what: str
    least: float
    aim: float
    kind: str = STORY
    measure: Callable[[Sample], float | None] = samples.rate
    unit: str = TIMES


RUN, RUNQ = "llama2.c run, 1 thread", "llama2.c runq, 1 thread"
FIGURES = (
    Figure("260K", "fast", "llama2c", RUN, "whole process", 1.2, 1.6, WHOLE, samples.whole_rate),
    *(Figure(shape, who, "llama2c", RUN, what, least, aim)
      for shape, least, aim in (("15M", 1.2, 1.5), ("42M", 1.2, 1.5), ("110M", 1.05, 1.05))
      for who, what in (("draft", "f32 as it is by default, with a draft"), ("fast", "f32, a pass for each token"))),
    Figure("110M", "fast", "", "read bandwidth of one core, as measured", "f32, a pass for each token", 0.85, 0.95, unit=SHARE),
    Figure("15M", "int8", "llama2c-int8", RUNQ, "int8", 1.5, 2.5),
    Figure("110M", "int8", "llama2c-int8", RUNQ, "int8", 1.5, 2.5),
    Figure("42M", "fast-t2", "fast", "1 thread of our own", "2 threads", 1.7, 1.9),
    Figure("110M", "fast-t2", "fast", "1 thread of our own", "2 threads", 1.7, 1.9),
    Figure("15M", "batch-8", "batch-1", "one by one", "a batch of 8 prompts, 1 thread", 2.5, 4),
    Figure("110M", "fast", "plain", "plain kernels", "load to first token, 1 thread", 2, 4, measure=samples.first_rate),
    Figure("110M", "fast-t2", "plain", "plain kernels", "load to first token, 2 threads", 2, 4, measure=samples.first_rate),
)


@dataclass(frozen=True)
class Found:
    """A figure as it is; None: it was not measured."""

    figure: Figure
    value: Spread | None

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        if self.value.middle >= self.figure.aim:
            return "aim reached"
        return "reached" if self.value.middle >= self.figure.least else "MISSED"

    def written(self, value: float) -> str:
        return f"{100 * value:.0f} %" if self.figure.unit == SHARE else f"{value:.2f}x"

    @property
    def cells(self) -> list[str]:
        """Against, shape, what; the figure, its spread; at least, aim, verdict."""
        value = self.value
        return [self.figure.against, self.figure.shape, self.figure.what,
                self.written(value.middle) if value else "", f"{self.written(value.low)} to {self.written(value.high)}" if value else "",
                self.written(self.figure.least), self.written(self.figure.aim), self.verdict]


HEADERS = ["against", "shape", "what", "ratio", "lowest to highest", "at least", "aim", "verdict"]
ALIGNMENT = "lllrrrrl"


def found(results: Results) -> list[Found]:
    """All figures of the shapes that were measured."""
    shapes = {what.name for what in results.models}
    return [Found(figure, value(results, figure)) for figure in FIGURES if figure.shape in shapes]


def value(results: Results, figure: Figure) -> Spread | None:
    these = results.of(figure.shape, figure.who, figure.kind)
    if figure.other:
        return samples.ratio(these, results.of(figure.shape, figure.other, figure.kind), figure.measure)
    who = results.who(figure.who)
    return results.share(figure.shape, who) if who else None
