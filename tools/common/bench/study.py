"""The benchmark itself: models, contenders, rounds.

    from common.bench import study
    results = study.measure(plan, say)               # Results, also when it is interrupted (results.interrupted)

Contenders take turns: A B C, A B C, … What slows a machine down for a while then slows down all of them, and a ratio of neighbours
hardly changes. Before the rounds everyone runs once for a few positions: files are in memory then.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

from common.bench import machine, pinned, reference, shapes
from common.bench.contenders import Contender
from common.bench.results import Results
from common.bench.samples import GROWTH, STORY, Sample
from common.bench.shapes import PIECE, BenchModel, Shape
from common.errors import UserError

WARM = 4  # positions
GROWTH_ROUNDS = 3
WAITED = 1.1  # times its time of the processor: then a program that has a core to itself had to wait for it


@dataclass(frozen=True)
class Plan:
    """What is to be measured."""

    program: Path  # the reference
    contenders: Sequence[Contender]
    chosen: Sequence[Shape]
    folder: Path  # for models
    rounds: int
    quick: bool = False
    steps: int | None = None  # positions, in place of a shape's own


@dataclass(frozen=True)
class Job:
    """A program to run, again and again."""

    model: BenchModel
    contender: Contender
    kind: str
    steps: int

    @property
    def story(self) -> tuple[str, int, str]:
        """What the text depends on."""
        return self.model.shape.name, self.steps, self.contender.story


@dataclass
class Schedule:
    """All jobs, in groups whose members take turns for some rounds."""

    groups: list[tuple[int, list[Job]]] = field(default_factory=list)

    @property
    def runs(self) -> int:
        return sum(rounds * len(jobs) for rounds, jobs in self.groups)

    def __iter__(self) -> Iterator[tuple[int, Job]]:
        """(round, job); a round has its number within the group."""
        for rounds, jobs in self.groups:
            for turn in range(rounds):
                for job in jobs:
                    yield turn, job


Say = Callable[[str, int, int], None]  # what is done now, runs that are done, runs in all


def select(contenders: Sequence[Contender], patterns: Sequence[str] | None) -> list[Contender]:
    """Those whose names match one of the patterns (`fast`, `int8*`); without patterns all."""
    if not patterns:
        return list(contenders)
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(each.name, pattern) for each in contenders):
            raise UserError(f"--only {pattern}: no contender has this name, one of {', '.join(each.name for each in contenders)} is "
                            "needed (llama2.c's with --llama2c)")
    return [each for each in contenders if any(fnmatch.fnmatchcase(each.name, pattern) for pattern in patterns)]


def schedule(plan: Plan, models: Sequence[BenchModel], lengths: Callable[[BenchModel, int], int]) -> Schedule:
    """All runs. `lengths` says how many positions of so many a model's story has."""
    found = Schedule()
    for model in models:
        shape = model.shape
        longest = lengths(model, plan.steps or (shape.quick if plan.quick else shape.steps))
        jobs = [Job(model, each, kind, longest) for each in plan.contenders for kind in each.kinds(model) if kind != GROWTH]
        found.groups.append((plan.rounds * shape.repeat, jobs))
        if plan.quick or plan.steps:
            continue
        jobs = [Job(model, each, GROWTH, length) for length in shape.lengths if lengths(model, length) == length
                for each in plan.contenders if GROWTH in each.kinds(model)]
        found.groups.append((min(plan.rounds, GROWTH_ROUNDS) * shape.repeat, jobs))
    return found


def measure(plan: Plan, say: Say = lambda *_: None) -> Results:
    """Makes the models, runs everyone, and checks what they say."""
    reference.check(plan.program, plan.contenders)
    load = machine.busy()
    models = []
    for shape in plan.chosen:
        say(f"the model of {shape.name}", 0, 0)
        models.append(shapes.model(shape, plan.folder))
    todo = schedule(plan, models, lambda model, steps: reference.story_length(plan.program, model, steps) if model.trained else
                    min(steps, model.config.seq_len))
    facts = {name: fact for each in plan.contenders for name, fact in each.facts().items()}
    results = Results.empty(machine.describe(plan.program) | facts | {"load before": round(load, 2)}, plan.rounds, plan.quick,
                            pinned.one_core(), models, plan.contenders)
    results.notes += [why for model in models for each in plan.contenders if (why := each.why_not(model))]
    texts: dict[Job, bytes] = {}
    done = 0
    warm: set[tuple[Contender, BenchModel]] = set()
    try:
        for turn, job in todo:
            say(f"{job.model.shape.name} {job.contender.name}", done, todo.runs)
            if (job.contender, job.model) not in warm:
                warm.add((job.contender, job.model))
                job.contender.warm_up(job.model, min(WARM, job.steps), job.kind)
            run = job.contender.run(job.model, job.kind, job.steps)
            results.samples.append(Sample(job.model.shape.name, job.contender.name, job.kind, job.steps, turn, **rounded(run.fields)))
            if run.text is not None:
                texts.setdefault(job, run.text)
            done += 1
    except KeyboardInterrupt:
        results.interrupted = True
    results.notes += differences(texts) + waiting(results.samples, plan.contenders)
    return results


def rounded(fields: dict[str, Any]) -> dict[str, Any]:
    """With six digits: more would only make files longer."""
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in fields.items()}


def differences(texts: dict[Job, bytes]) -> list[str]:
    """Who tells another story than the first one with the same weights. Where weights are rounded, or sums are in another order, that
    may be; where not, it is an error."""
    notes = []
    first: dict[tuple[str, int, str], bytes] = {}
    found: dict[str, None] = {}  # in order, each one once
    for job, text in texts.items():
        if job.contender.exact:
            first.setdefault(job.story, text)
    for job, text in texts.items():
        known = first.get(job.story, text)
        if text == known:
            continue
        byte = next((place for place, (one, other) in enumerate(zip(text, known)) if one != other), min(len(text), len(known)))
        where = f"byte {byte}" + ("" if job.model.trained else f" ({PIECE} bytes a token)")
        if job.contender.exact:
            notes.append(f"{job.model.shape.name}: {job.contender.label}: another text than the kernels before, from {where} on: an error")
        elif job.kind == STORY:
            found[f"{job.contender.name} with {job.model.shape.name} from {where} on"] = None
    return notes + ([f"another text than that of the weights as they are: {', '.join(found)}"] if found else [])


def waiting(samples: Sequence[Sample], contenders: Sequence[Contender]) -> list[str]:
    """Whether other programs disturbed."""
    alone = {each.name for each in contenders if each.threads == 1}
    runs = [sample for sample in samples if sample.contender in alone]
    late = [sample for sample in runs if sample.wall > WAITED * sample.processor + 0.02]
    if len(late) * 10 <= len(runs):
        return []
    return [f"the machine was busy: {len(late)} of {len(runs)} runs with one thread waited for their core; measure again when it is idle"]
