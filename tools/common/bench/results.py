"""What a benchmark found, as it is kept in a file: the machine, who ran on what, and every single run.

    from common.bench.results import Results
    results = Results.read(path)
    text = results.text()                        # JSON

Everything that a report says comes from here: the committed table and picture can be made again without a run.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Sequence

from common import files
from common.bench import samples, shapes
from common.bench.contenders import Contender
from common.bench.samples import STORY, Sample, Spread
from common.bench.shapes import BenchModel
from common.errors import UserError

FORM = 1  # of the file
COLUMNS = [column.name for column in fields(Sample)]


@dataclass(frozen=True)
class Who:
    """A contender, as a report shows it."""

    name: str
    label: str
    group: str
    weights: str
    threads: int


@dataclass(frozen=True)
class What:
    """A model that was measured with."""

    name: str
    trained: bool
    parameters: int
    weight_bytes: int  # of float32, that a pass reads


@dataclass(frozen=True)
class Other:
    """A figure that another program's report has: it is not from this run, perhaps of another machine."""

    label: str
    model: str
    weights: str
    threads: int
    rate: float  # tokens per second
    deviation: float | None
    file: str


@dataclass
class Results:
    """All of it."""

    machine: dict[str, str | int | float]
    rounds: int
    quick: bool
    core: int | None  # where programs with one thread stayed; None: they were not held
    models: list[What]
    contenders: list[Who]
    samples: list[Sample] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False

    @classmethod
    def empty(cls, machine: dict[str, str | int | float], rounds: int, quick: bool, core: int | None, models: Sequence[BenchModel],
              contenders: Sequence[Contender]) -> Results:
        """Before the first run."""
        return cls(machine, rounds, quick, core,
                   [What(model.shape.name, model.trained, shapes.parameters(model.config), shapes.weight_bytes(model.config, "f32"))
                    for model in models],
                   [Who(each.name, each.label, each.group, each.weights, each.threads) for each in contenders])

    def text(self) -> str:
        """As JSON, a line for each run: the values of COLUMNS."""
        found: dict[str, Any] = {"form": FORM} | asdict(self)
        lines = [json.dumps([sample[name] for name in COLUMNS], separators=(",", ":")) for sample in found.pop("samples")]
        found["columns"] = COLUMNS
        return json.dumps(found, indent=1)[:-2] + ',\n "samples": [\n  ' + ",\n  ".join(lines) + "\n ]\n}\n"

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Results:
        with files.open_file(path, "results of a benchmark") as file:
            data = file.read()
        return cls.parse(data, str(path))

    @classmethod
    def parse(cls, data: bytes | str, path: str) -> Results:
        """What text() gave."""
        try:
            found = json.loads(data)
            form = found.pop("form")
            if form != FORM:
                raise UserError(f"{path}: form: {form}, {FORM} is needed; measure again with this commit")
            columns = found.pop("columns")
            runs = [Sample(**dict(zip(columns, row, strict=True))) for row in found.pop("samples")]
            lists = {name: [kind(**each) for each in found.pop(name)] for name, kind in
                     (("models", What), ("contenders", Who), ("others", Other))}
            return cls(**found, **lists, samples=runs)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(f"{path}: {type(error).__name__}: {error}: no results of `llama512 bench --json`; give a file that it "
                            "wrote") from error

    def of(self, shape: str, contender: str, kind: str) -> list[Sample]:
        return samples.choose(self.samples, shape, contender, kind)

    def who(self, name: str) -> Who | None:
        return next((who for who in self.contenders if who.name == name), None)

    def bandwidth(self, shape: str, weights: str, threads: int) -> float | None:
        """Bytes per second that so many threads read of a model's weights of this kind: the most that a run measured, for whatever
        disturbs makes it less."""
        names = {who.name for who in self.contenders if (who.weights, who.threads) == (weights, threads)}
        return max((sample.bandwidth for sample in self.samples
                    if sample.shape == shape and sample.contender in names and sample.bandwidth), default=None)

    def share(self, shape: str, who: Who) -> Spread | None:
        """What a contender reads within its stories, as a part of that."""
        read = samples.of(self.of(shape, who.name, STORY), samples.read_rate)
        return samples.scaled(read, self.bandwidth(shape, who.weights, who.threads))
