"""How the cost of a token grows: with the number of parameters, and with its position in the story.

    from common.bench import growth
    growth.by_parameters(results)            # [(What, label, milliseconds per token)]
    growth.by_position(results)              # {(shape, label): [(1, 64, milliseconds per token), (64, 128, …)]}
"""

from __future__ import annotations

from common.bench import samples
from common.bench.contenders import FAST, LLAMA2C, PLAIN
from common.bench.results import Results, What
from common.bench.samples import GROWTH, STORY, Sample

GROUPS = (PLAIN, FAST, LLAMA2C)  # whose growth is shown, with float32 and one thread


def by_parameters(results: Results) -> list[tuple[What, str, float]]:
    """Milliseconds for a token, smallest model first."""
    found = []
    for what in sorted(results.models, key=lambda what: what.parameters):
        for who in results.contenders:
            if who.group in GROUPS and who.weights == "f32" and who.threads == 1 and not who.name.startswith("batch"):
                rate = samples.of(results.of(what.name, who.name, STORY), samples.rate)
                if rate:
                    found.append((what, who.label, 1000 / rate.middle))
    return found


def by_position(results: Results) -> dict[tuple[str, str], list[tuple[int, int, float]]]:
    """Of each shape and contender: from a position, to a position, milliseconds for a token between them: the difference between
    a story that ends there and one that ends before, in the same round."""
    found: dict[tuple[str, str], list[tuple[int, int, float]]] = {}
    for what in results.models:
        for who in results.contenders:
            runs = results.of(what.name, who.name, GROWTH)
            lengths = sorted({run.steps for run in runs})
            rows = []
            for before, length in zip([None, *lengths], lengths):
                cost = samples.spread(between(earlier, later) for earlier, later in pairs(runs, before, length))
                if cost:
                    rows.append((before or 1, length, 1000 * cost.middle))
            if rows:
                found[what.name, who.label] = rows
    return found


def pairs(runs: list[Sample], before: int | None, length: int) -> list[tuple[Sample | None, Sample]]:
    """Runs of this length, each with that of the length before in the same round."""
    earlier = {run.round: run for run in runs if run.steps == before}
    return [(earlier.get(run.round), run) for run in runs if run.steps == length and (before is None or run.round in earlier)]


def between(earlier: Sample | None, later: Sample) -> float | None:
    """Seconds for a token."""
    tokens = (later.tokens or 0) - (earlier.tokens or 0 if earlier else 0)
    if not later.seconds or tokens <= 0 or earlier and not earlier.seconds:
        return None
    return (later.seconds - (earlier.seconds or 0 if earlier else 0)) / tokens
