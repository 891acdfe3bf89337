#!/usr/bin/env python3
"""One engine that draws its tokens (TEMPERATURE, TOP_P): they equal those of `reference --sampler race`, for equal seeds, temperatures
and nuclei.

    tests/run match/sampled_test.py asm-linux-i386
    tests/run match/sampled_test.py asm-boot --all          # all random cases, every temperature with three seeds

Where a race is so close that rounding may decide (matching.SMALLEST_RACE_GAP), the next seed is taken, and the test says so. By
default: three temperatures with the models of the project that are here (where it is emulated, one with the second of them), and a
few random cases, in each encoding with one of the temperatures. Where the engine knows TOP_P every second way is from a nucleus, and
one that takes lines is typed to: each answer of a boot begins with the seed again. And with CLOCK two runs differ.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from support import cases
from support.models import present

from common.engine import builds, engines, prompt as prompts
from common.engine.builds import Built
from common.engine.engines import Engine
from common.engine.nasm import SectorFull
from common.errors import UserError
from common.machine import pc, run
from common.machine.console import SERIAL
from common.match import matching
from common.model import models, random_model
from common.model.checkpoint import Config
from common.model.models import NAMED_MODELS, Model
from common.pack import race
from common.pack.race import Sampling

TEMPERATURES = (0.8, 1.5, 0.05)
NUCLEI = (0.9, 1.0, 0.5)  # for engines that know TOP_P, to the temperatures; and LOW besides
LOW = (1.5, 0.5)  # a temperature and a nucleus with which most races are repeated
LINES = ("The cat", "", "One day", "The cat")  # typed one after the other
SEEDS = (0, 2**64 - 2, 7)  # from which on one is tried; the last one has a successor
TRIES = 20
LONGEST = 600.0  # seconds for a run


def check(engine: Engine, model: Model, encoding: str, sampling: Sampling, folder: Path, large: bool = False,
          prompt: str = "") -> str:
    """What is wrong, "" when nothing is. `large`: with what a build adds for large models."""
    assert sampling.seed is not None
    for seed in range(sampling.seed, sampling.seed + TRIES):
        drawn = replace(sampling, seed=seed % 2**64)
        built = build(engine, model, encoding, drawn, folder, large, prompt)
        expected = matching.expect(built.effective, sampling=drawn, prompt=prompt)
        if expected.gap >= matching.SMALLEST_RACE_GAP:
            break
        print(f"{engine.name} {encoding}: {drawn}: a near-tie at position {expected.gap_position}, {expected.gap:.2g}: "
              "another seed is taken", flush=True)
    else:
        return f"{encoding}: no seed from {sampling.seed} on without a near-tie"
    said = f"{model.name}, {encoding}, {', '.join(built.engine.features)}"
    try:
        output = run.run(built, timeout=LONGEST, expected=expected).text
    except UserError as error:
        return f"{said}: {error}"
    difference = matching.compare(output, expected, run.seen(built.engine))
    if difference:
        return f"{said}: {difference}; {expected.gap_at(difference)} logits were enough there"
    print(f"{engine.name}: {said}: {len(expected.tokens)} tokens equal, smallest gap {expected.gap:.2g}; "
          f"{built.counted} counted bytes", flush=True)
    return ""


def build(engine: Engine, model: Model, encoding: str, sampling: Sampling, folder: Path, large: bool = False,
          prompt: str = "") -> Built:
    """The engine; as far as its sector has no room for them, without its last features."""
    optional = engine.optional_features
    for kept in range(len(optional), -1, -1):
        fewer = engine.without(optional[kept:])
        variant = (fewer.large or fewer if large else fewer).sampled(sampling)
        try:
            if prompt:
                return prompts.build(variant, model, folder, prompt, encoding)
            return builds.build(variant, model, folder, encoding)
        except SectorFull as error:
            if not kept:
                raise
            print(f"{error}: so without {', '.join(optional[kept - 1:])}", flush=True)
    raise AssertionError


def typed(engine: Engine, folder: Path, sampling: Sampling) -> str:
    """What is wrong with the answers to lines in one boot. Where one is a near-tie, another seed is taken."""
    assert sampling.seed is not None
    for seed in range(sampling.seed, sampling.seed + TRIES):
        built = build(engine, models.find_model(), engine.encodings[0], replace(sampling, seed=seed), folder / "typed")
        expected = [matching.expect(built.effective, sampling=built.engine.sampling, prompt=line) for line in LINES]
        if min(each.gap for each in expected) >= matching.SMALLEST_RACE_GAP:
            break
        print(f"{engine.name}: seed {seed}: a near-tie in an answer: another seed is taken", flush=True)
    else:
        return f"typed: no seed from {sampling.seed} on without a near-tie"
    said = f"typed, {', '.join(built.engine.features)}"
    try:
        answers = pc.converse(built, LINES, SERIAL, LONGEST)
    except UserError as error:
        return f"{said}: {error}"
    for line, answer, each in zip(LINES, answers, expected):
        difference = matching.compare(answer, each)
        if difference:
            return f"{said}: the answer to {line!r}: {difference}; {each.gap_at(difference)} logits were enough there"
        print(f"{engine.name}: {said}: {line!r}: {len(each.tokens)} tokens equal, smallest gap {each.gap:.2g}", flush=True)
    return ""


def by_clock(engine: Engine, folder: Path) -> str:
    """Whether every run says something else."""
    built = build(engine, models.find_model(), engine.encodings[0], Sampling(0.8, None, NUCLEI[0] if knows_top_p(engine) else 1.0),
                  folder / "clock")
    texts = [run.run(built, timeout=LONGEST).text for _ in range(2)]
    print(f"{engine.name}: {built.counted} counted bytes, by the clock: {texts[0][:60]!r}, {texts[1][:60]!r}", flush=True)
    return "" if texts[0] != texts[1] else f"by the clock: twice {texts[0]!r}"


def variants(engine: Engine, folder: Path) -> list[str]:
    """What is wrong with other builds: for large models, with a prompt, with lines that are typed, for positions of few bytes."""
    model, sampling = models.find_model(), Sampling(0.8, 5)
    found = []
    if engine.large:
        found.append(check(engine, model, engine.encodings[-1], sampling, folder / "large", large=True))
    if engine.prompts:
        found.append(check(engine, model, engine.encodings[0], sampling, folder / "prompt", prompt="The cat"))
    if engine.spells:
        found += [typed(engine, folder, each) for each in (sampling, replace(sampling, top_p=NUCLEI[0]))]
    config = Config(4, 4, 1, 1, 1, 40, 60, False)  # COM1's port is a number above its second position
    small = random_model.write(folder / "small", "small", random_model.weights(config, 1, spread=4), 7)
    found += [check(engine, small, engine.encodings[0], Sampling(1.5, seed), folder / "small-built") for seed in (0, 1)]
    return found


def named(engine: Engine, folder: Path, everything: bool) -> list[str]:
    """What is wrong with the models of the project that are here."""
    problems = []
    for model in present(NAMED_MODELS):
        found = ways(engine, everything)
        if not everything and model.name != models.PROJECT_MODEL and run.emulated(engine):
            del found[1:]
        for encoding, sampling in itertools.product(engine.encodings if everything else engine.encodings[:1], found):
            problems.append(check(engine, model, encoding, sampling, folder / model.name))
    return problems


def knows_top_p(engine: Engine) -> bool:
    return race.TOP_P in engine.samples


def ways(engine: Engine, everything: bool) -> list[Sampling]:
    """How tokens are drawn: all temperatures, with one seed each or with all."""
    found = [Sampling(*way) for way in (itertools.product(TEMPERATURES, SEEDS) if everything else zip(TEMPERATURES, SEEDS))]
    if not knows_top_p(engine):
        return found
    nuclei = [replace(each, top_p=NUCLEI[TEMPERATURES.index(each.temperature)]) for each in found]
    low = [Sampling(LOW[0], seed, LOW[1]) for seed in (SEEDS if everything else SEEDS[:1])]
    return [*nuclei, *low, *(each for each in found if each not in nuclei and everything)]


def random(engine: Engine, folder: Path, everything: bool) -> list[str]:
    """What is wrong with random checkpoints: all shapes, all encodings."""
    chosen = cases.CASES if everything else [case for case, _ in cases.by_default(engine)][:3]
    turns = itertools.cycle(zip(itertools.cycle(TEMPERATURES), SEEDS + (1,)))
    nuclei = itertools.cycle(NUCLEI[::-1] if knows_top_p(engine) else (1.0,))
    problems = []
    for number, case in enumerate(chosen):
        able = cases.without_refused(case, engine, folder / "refused")
        model = case.write(folder / case.name.replace(" ", "-"), case.seed, engine)
        # Where it is emulated, each shape in another encoding.
        turn = number % len(able.encodings)
        few = not everything and run.emulated(engine)
        for encoding in able.encodings[turn:turn + 1] if few else able.encodings:
            problems.append(check(engine, model, encoding, Sampling(*next(turns), next(nuclei)), folder / "built"))
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", choices=[engine.name for engine in engines.table() if engine.samples])
    parser.add_argument("--all", action="store_true", help="all random cases, encodings, temperatures and seeds")
    options = parser.parse_args()
    engine = engines.find(options.engine)
    with tempfile.TemporaryDirectory(prefix="llama512-sampled-") as temporary:
        folder = Path(temporary)
        problems = list(filter(None, named(engine, folder, options.all) + random(engine, folder, options.all)
                               + variants(engine, folder) + [by_clock(engine, folder)]))
    print("\n".join(f"{engine.name}: FAILED: {problem}" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
