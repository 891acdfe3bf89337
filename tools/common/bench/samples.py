"""What is measured: one run of a program, and many of them, with their middle, their spread and their ratios.

    from common.bench import samples
    samples.of(these, samples.rate)                      # a Spread: middle, low, high
    samples.ratio(these, those, samples.rate)            # the same, of the ratios of runs in the same round
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Callable, Iterable, Sequence

# Kinds of runs: a story in which the passes are timed; a whole process, with nothing else to do; a story of another length.
STORY, WHOLE, GROWTH = "story", "whole", "growth"


@dataclass(frozen=True)
class Sample:
    """One run. Times are in seconds; None: the program does not tell."""

    shape: str
    contender: str
    kind: str
    steps: int  # positions that were asked for
    round: int
    wall: float
    processor: float
    positions: int  # that were computed, by all sequences together
    tokens: int | None = None  # positions in `seconds`: all but those of the first pass, or of the prompts
    seconds: float | None = None
    first_token: float | None = None  # from the start of the load
    weight_bytes: int | None = None  # that one pass reads
    passes: int | None = None  # in `seconds`
    bandwidth: float | None = None  # bytes per second that can be read at most, as the program measured it


def rate(sample: Sample) -> float | None:
    """Tokens per second within the story."""
    return sample.tokens / sample.seconds if sample.tokens and sample.seconds else None


def whole_rate(sample: Sample) -> float | None:
    """Positions per second of the processor, of the whole process."""
    return sample.positions / sample.processor if sample.processor else None


def first_rate(sample: Sample) -> float | None:
    """First tokens per second: how often it could load and begin."""
    return 1 / sample.first_token if sample.first_token else None


def read_rate(sample: Sample) -> float | None:
    """Bytes of weights per second."""
    if sample.weight_bytes and sample.passes and sample.seconds:
        return sample.weight_bytes * sample.passes / sample.seconds
    return None


@dataclass(frozen=True)
class Spread:
    """Of several numbers: the middle one, the least, the most, and how many they are."""

    middle: float
    low: float
    high: float
    count: int


def spread(values: Iterable[float | None]) -> Spread | None:
    """None: there is no number."""
    known = [value for value in values if value is not None]
    return Spread(statistics.median(known), min(known), max(known), len(known)) if known else None


def of(samples: Sequence[Sample], measure: Callable[[Sample], float | None]) -> Spread | None:
    return spread(map(measure, samples))


def scaled(found: Spread | None, by: float | None) -> Spread | None:
    """All its numbers divided by another one."""
    return Spread(found.middle / by, found.low / by, found.high / by, found.count) if found and by else None


def ratio(above: Sequence[Sample], below: Sequence[Sample], measure: Callable[[Sample], float | None]) -> Spread | None:
    """Of runs in the same round: the neighbours in time saw the same machine."""
    others = {sample.round: measure(sample) for sample in below}
    pairs = [(measure(sample), others.get(sample.round)) for sample in above]
    return spread(one / other if one and other else None for one, other in pairs)


def choose(samples: Iterable[Sample], shape: str, contender: str, kind: str) -> list[Sample]:
    """Those of a shape, a contender and a kind."""
    return [sample for sample in samples if (sample.shape, sample.contender, sample.kind) == (shape, contender, kind)]
