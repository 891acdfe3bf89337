"""Which features of an engine fit together into its sector, with a model: each set is assembled.

    from common.engine import together
    sets = together.fitting_sets(engine, model, "bf16")
    together.largest(sets)                      # those to which nothing can be added
    sets[0].features, sets[0].counted

What a set is made of: the engine's features and choices, those that it has where it is asked for them, what large models need (in every set where the model is one), and
where the engine can draw tokens TEMPERATURE, TOP_P and CLOCK, as far as its source knows them.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Iterator, Sequence

from common import processes
from common.engine import images, nasm, packing, steps
from common.engine.engines import Engine
from common.errors import UserError
from common.model.models import Model
from common.pack import race
from common.pack.packer import Span
from common.pack.race import Sampling

TOO_FULL = re.compile(r"TIMES value -\d+ is negative")
NO_SET = re.compile(r"error: .*leave out both, or neither")  # a feature that needs another one: the source says so


@dataclass(frozen=True)
class Together:
    """Features that fit together."""

    features: tuple[str, ...]
    counted: int


def known(engine: Engine) -> tuple[str, ...]:
    """All features that a set may have, in the order of a table."""
    beyond = engine.beyond["features"] if engine.beyond else ()
    return *engine.features, *beyond, *engine.on_request, *engine.choices, *engine.samples


def fitting_sets(engine: Engine, model: Model, encoding: str) -> list[Together]:
    """Every set that fits, the largest first; by their bytes where they are equally large."""
    if not engine.features:
        raise UserError(f"{engine.name}: features: it has none that could be left out")
    found = []
    drawn: dict[tuple[str, ...], Sampling | None] = {(): None}
    for top_p, seed in itertools.product((1.0, 0.5), (0, None)):
        sampling = Sampling(1.0, seed, top_p)
        names = tuple(feature.partition("=")[0] for feature in sampling.features if not feature.startswith(race.SEED))
        if {*names} <= {*engine.samples}:
            drawn[names] = sampling
    is_large = packing.fitting(engine, model, encoding) != engine
    beyond = [] if is_large else [()]
    if engine.beyond:
        beyond += [(engine.beyond["features"][0], *comforts) for comforts in _subsets(engine.comforts)]
    for names, sampling in drawn.items():
        sampled = engine.sampled(sampling) if sampling else engine
        with processes.temporary_folder() as files:
            variant = packing.fitting(sampled, model, encoding)
            packing.configure(variant, model, encoding, files)
            _, _, spans = packing.check_shape(variant, model, encoding)
            for features, large, requested, choices in itertools.product(
                    _subsets(engine.features), beyond, _subsets(engine.on_request), _subsets(engine.choices)):
                left_out = tuple(f"NO_{choice}" for choice in engine.choices if choice not in choices)
                flags = (*features, *large, *requested, *left_out, *(sampling.features if sampling else ()))
                counted = _counted(replace(variant, features=flags), spans, files)
                if counted is not None:
                    found.append(Together((*features, *large, *requested, *choices, *names), counted))
    return sorted(found, key=lambda each: (-len(each.features), each.counted))


def largest(sets: Sequence[Together]) -> list[Together]:
    """Those that are no part of another one."""
    return [each for each in sets if not any(set(each.features) < set(other.features) for other in sets)]


def _subsets(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for count in range(len(names), -1, -1):
        yield from itertools.combinations(names, count)


def _counted(engine: Engine, spans: Sequence[Span], files: Path) -> int | None:
    """Counted bytes; None: it does not fit, or is no set."""
    (files / "engine.map").unlink(missing_ok=True)
    try:
        steps.run([*nasm.assembling(engine, nasm.small_flags(engine, "")[0]), "-o", "engine.bin"], files)
    except UserError as error:
        if TOO_FULL.search(str(error)) or NO_SET.search(str(error)):
            return None
        raise
    return images.counted_bytes(engine, files / "engine.bin", files, spans)
