"""What choices at compile time cost: each engine built with and without, everything else alike.

    from common.size import prices
    for price in prices.price_list(["asm-boot-full"]):
        price.feature, price.with_it, price.without_it, price.price
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Callable, Sequence

from common.engine.builds import Built
from common.engine.engines import Engine
from common.engine.nasm import SectorFull
from common.machine import here
from common.model.models import Model
from common.model.tokenizer import BOS
from common.pack import race
from common.pack.race import Sampling
from common.size.measure import workshop


@dataclass(frozen=True)
class Price:
    """What a compile-time feature costs: the engine built with and without it, everything else alike."""

    engine: str
    feature: str
    with_it: int
    without_it: int

    @property
    def price(self) -> int:
        return self.with_it - self.without_it


def price_list(names: Sequence[str] | None = None, model: Model | None = None) -> list[Price]:
    """Every feature and choice, what large models need, what a build can be asked for (a partition, a prompt, drawn tokens), every
    encoding of the weights besides the default one, and flags that nobody searched."""
    prices = []
    with workshop(model) as build:
        for engine in here.choose(names, to_run=False):
            full = build(engine).counted
            for feature in engine.features:
                rest = tuple(other for other in engine.features if other != feature)
                prices.append(Price(engine.name, feature, full, build(replace(engine, features=rest)).counted))
            for choice in engine.choices:
                rest = (*engine.features, f"NO_{choice}")
                prices.append(Price(engine.name, choice, full, build(replace(engine, features=rest)).counted))
            if engine.beyond:
                first, comforts = engine.beyond["features"][0], engine.comforts
                plain = build(engine.without(comforts).large).counted
                prices.append(Price(engine.name, first, plain, full))
                for comfort in comforts:
                    with_it = engine.without(other for other in comforts if other != comfort).large
                    prices.append(Price(engine.name, f"{comfort}, with {first}", build(with_it).counted, plain))
            for feature in engine.on_request:
                without_it, with_it = _as_far_as_there_is_room(build, engine, feature)
                prices.append(Price(engine.name, feature, with_it, without_it))
            if engine.prompts:  # for which the message of READ_ERROR may have to make room
                rest = tuple(feature for feature in engine.features if feature != "READ_ERROR")
                prices.append(Price(engine.name, "PROMPT of one token", *(
                    build(replace(engine, features=(*rest, *prompt))).counted for prompt in ((f"PROMPT={BOS}",), ()))))
            if engine.samples:
                drawn = build(engine.sampled(Sampling(1.0))).counted
                prices.append(Price(engine.name, race.FEATURE, drawn, full))
                for feature, sampling in ((race.TOP_P, Sampling(1.0, top_p=0.5)), (race.CLOCK, Sampling(1.0, None))):
                    if feature in engine.samples:
                        with_it = build(engine.sampled(sampling)).counted
                        prices.append(Price(engine.name, f"{feature}, with {race.FEATURE}", with_it, drawn))
            first, *others = engine.encodings
            prices += [Price(engine.name, f"{other} instead of {first}", build(engine, other).counted, full)
                       for other in others]
            prices += [Price(engine.name, f"nothing but {flag}", build(engine, flags=[flag]).counted, full)
                       for flag in engine.flags_alone]
    return prices


def _as_far_as_there_is_room(build: Callable[[Engine], Built], engine: Engine, feature: str) -> tuple[int, int]:
    """Counted bytes without and with a feature that a build is asked for: of the engine without its last features, as few of them as
    must make room."""
    for kept in range(len(engine.features), -1, -1):
        fewer = engine.without(engine.features[kept:])
        try:
            return build(fewer).counted, build(fewer.with_requested([feature])).counted
        except SectorFull:
            if not kept:
                raise
    raise AssertionError
