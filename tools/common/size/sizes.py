"""What the engines weigh: counted bytes by kind, budgets, the price of each feature; and the files that others read.

    from common.size import sizes
    rows = sizes.measure()                      # all engines, for each shape that budgets are for
    rows[0].bytes, rows[0].header + rows[0].code + rows[0].data

Sizes do not depend on the weights, so random checkpoints of the budgets' shapes are measured when no model is given.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Iterator, Sequence

from common import processes
from common.anatomy.explain import bytes_by, explain
from common.anatomy.units import KINDS
from common.engine import builds, engines
from common.engine.builds import Built
from common.engine.engines import Engine, Shape
from common.errors import UserError
from common.files import open_file
from common.model import random_model
from common.model.models import Model
from common.model.tokenizer import BOS


@dataclass(frozen=True)
class Size:
    """An engine built for a model. All numbers are bytes; bytes = header + code + data, where these are known."""

    engine: str
    model: str
    bytes: int  # counted
    budget: int
    headroom: int
    header: int | None
    code: int | None
    data: int | None
    packed: int  # the model as the engine reads it, not counted
    compiler: str  # or assembler
    searched_flags: bool  # whether flagsearch found the flags for this very compiler
    binding: bool  # whether the budget is for this model's shape and this compiler

    @property
    def label(self) -> str:
        return engines.label(self.engine, self.model)

    @property
    def over_budget(self) -> bool:
        return self.binding and self.headroom < 0


# --- Measuring ---------------------------------------------------------------------------------------------------

def budget_model(folder: Path, shape: Shape | None = None) -> Model:
    """A random checkpoint of a shape that budgets are for (None: of the first one)."""
    shape = shape or engines.budget_shape()
    return random_model.write(folder, shape.name, random_model.weights(shape.config, seed=512), shape.longest_piece)


@contextlib.contextmanager
def built_engines(names: Sequence[str] | None = None, model: Model | None = None) -> Iterator[list[Built]]:
    """The engines of these names (None: all) for a model (None: of the budgets' first shape), in a folder that is gone
    afterwards."""
    with processes.temporary_folder() as folder:
        chosen = engines.select(names)
        model = model or budget_model(folder)
        yield [builds.build(engine, model, folder / "engines") for engine in chosen]


def measure(names: Sequence[str] | None = None, model: Model | None = None) -> list[Size]:
    """The sizes for a model; without one for all shapes of the budgets, the first one first."""
    with processes.temporary_folder() as temporary:
        models = [model] if model else [budget_model(temporary, shape) for shape in engines.shapes()]
        sizes = []
        for model in models:
            with built_engines(names, model) as results:
                sizes += map(size_of, results)
        return sizes


def shape_of(built: Built) -> Shape | None:
    """The shape of the budgets that a program is for."""
    facts = json.loads((built.files / "manifest.json").read_text("utf-8"))
    return next((shape for shape in engines.shapes() if shape.longest_piece == facts["longest_piece"]
                 and asdict(shape.config) == facts["config"] | {"tied": True}), None)


def size_of(built: Built) -> Size:
    """What is counted does not depend on comments: without their marks only the kinds are not known."""
    shape = shape_of(built)
    budget, exact = built.engine.budget_for((shape or engines.budget_shape()).name, built.compiler)
    engine = built.engine
    try:
        kinds: dict[str, int | None] = {**bytes_by(explain(built), "kind")}
    except UserError as error:
        print(f"{engine.name}: header, code and data are not known: {error}", file=sys.stderr)
        kinds = dict.fromkeys(KINDS)
    return Size(engine.name, built.model, built.counted, budget, budget - built.counted, **kinds, packed=built.packed,
                compiler=built.compiler, searched_flags=built.searched, binding=exact and shape is not None)


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
    """Every feature and choice, a prompt, and every encoding of the weights besides the default one."""
    prices = []
    with processes.temporary_folder() as folder:
        model = model or budget_model(folder)

        def counted(engine: Engine, encoding: str | None = None) -> int:
            assert model
            name = "-".join([*engine.features, encoding or "default"])
            return builds.build(engine, model, folder / name, encoding).counted

        for engine in engines.select(names):
            full = counted(engine)
            for feature in engine.features:
                rest = tuple(other for other in engine.features if other != feature)
                prices.append(Price(engine.name, feature, full, counted(replace(engine, features=rest))))
            for choice in engine.choices:
                rest = (*engine.features, f"NO_{choice}")
                prices.append(Price(engine.name, choice, full, counted(replace(engine, features=rest))))
            if engine.takes_prompt:  # for which the message of READ_ERROR may have to make room
                rest = tuple(feature for feature in engine.features if feature != "READ_ERROR")
                prices.append(Price(engine.name, "PROMPT of one token", *(
                    counted(replace(engine, features=(*rest, *prompt))) for prompt in ((f"PROMPT={BOS}",), ()))))
            first, *others = engine.encodings
            prices += [Price(engine.name, f"{other} instead of {first}", counted(engine, other), full)
                       for other in others]
    return prices


# --- Comparing ---------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Change:
    """An engine before and after; None: it is not there."""

    engine: str
    model: str
    before: int | None
    after: int | None

    @property
    def delta(self) -> int | None:
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def grew(self) -> bool:
        return (self.delta or 0) > 0

    @property
    def mark(self) -> str:
        """In words and signs: better, worse."""
        if self.before is None:
            return "new"
        if self.after is None:
            return "gone"
        return "▲ larger" if self.grew else "▼ smaller" if self.delta else "= same"


def compare(before: Sequence[tuple[str, str, int]], after: Sequence[tuple[str, str, int]]) -> list[Change]:
    """Of (engine, model, bytes): what is now first, then what is gone."""
    old = {(engine, model): size for engine, model, size in before}
    new = {(engine, model): size for engine, model, size in after}
    return [Change(*key, old.get(key), new.get(key)) for key in [*new, *(key for key in old if key not in new)]]


def signed(delta: int | None) -> str:
    """`+12`, `-3`, `0`; empty where there is nothing to compare."""
    return "" if delta is None else f"{delta:+d}" if delta else "0"


# --- Files for others --------------------------------------------------------------------------------------------

COLUMNS = [field.name for field in fields(Size)]


def to_csv(rows: Sequence[Size]) -> str:
    """Raw integers under the names of Size's fields."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: int(value) if isinstance(value, bool) else value for name, value in asdict(row).items()}
                     for row in rows)
    return text.getvalue()


def from_csv(path: Path) -> list[tuple[str, str, int]]:
    """(engine, model, bytes) of each row. Other columns may be there or not."""
    rows = []
    try:
        with io.TextIOWrapper(open_file(path, "sizes"), encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = {"engine", "model", "bytes"} - set(reader.fieldnames or [])
            if missing:
                raise UserError(f"{path}: no column {', '.join(sorted(missing))}; compare with a file that "
                                "`llama512 size -o NEW.csv` wrote")
            for row in reader:
                size = row["bytes"] or ""
                if not (size.isascii() and size.isdigit()):
                    raise UserError(f"{path}: line {reader.line_num}: bytes: {row['bytes']!r} is no number")
                if any(row["engine"] == engine and row["model"] == model for engine, model, _ in rows):
                    raise UserError(f"{path}: line {reader.line_num}: a second row of {row['engine']} for "
                                    f"{row['model']}; keep one")
                rows.append((row["engine"], row["model"], int(size)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot read the sizes: {getattr(error, 'strerror', error)}") from error
    return rows


def to_benchmark(rows: Sequence[Size]) -> str:
    """github-action-benchmark's input for `tool: customSmallerIsBetter`."""
    return json.dumps([{"name": f"{row.engine} ({row.model})", "unit": "bytes", "value": row.bytes,
                        "extra": f"budget {row.budget}, {row.compiler}"} for row in rows], indent=1)


def to_badge(row: Size) -> str:
    """The answer of a shields.io endpoint (https://shields.io/badges/endpoint-badge)."""
    colour = "red" if row.over_budget else "brightgreen" if row.bytes <= 512 else "blue"
    badge = {"schemaVersion": 1, "label": row.engine, "message": f"{row.bytes} bytes", "color": colour}
    return json.dumps(badge, indent=1)


def to_bloaty(rows: Sequence[Size]) -> str:
    """As `bloaty --csv -d inputfiles,sections` prints it; the model, which is not counted, is a section of its own."""
    lines = ["inputfiles,sections,vmsize,filesize"]
    for row in rows:
        lines += [f"{row.label},{name},{size},{size}" for name, size in (
            ("header", row.header), ("code", row.code), ("data", row.data), ("model", row.packed)) if size]
    return "\n".join(lines)
