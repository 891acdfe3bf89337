"""What the engines weigh: counted bytes by kind, and budgets.

    from common.size import measure
    rows = measure.sizes()                      # all engines, for each shape that budgets are for
    rows[0].bytes, rows[0].header + rows[0].code + rows[0].data

Sizes do not depend on the weights, so random checkpoints of the budgets' shapes are measured when no model is given.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Iterator, Sequence

from common import processes
from common.anatomy.explain import bytes_by, explain
from common.anatomy.units import KINDS, Unit
from common.engine import builds, engines, toolchains
from common.engine.builds import Built
from common.engine.engines import Engine, Shape
from common.errors import UserError
from common.machine import here, run
from common.model import random_model
from common.model.models import Model
from common.project import ROOT


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
    memory: int  # that it uses: the model, and what the engine works in
    compiler: str  # or assembler
    searched_flags: bool  # whether flagsearch found the flags for this very compiler
    binding: bool  # whether the budget is for this model's shape and this compiler

    @property
    def label(self) -> str:
        return engines.label(self.engine, self.model)

    @property
    def over_budget(self) -> bool:
        return self.binding and self.headroom < 0


def budget_model(folder: Path, shape: Shape | None = None) -> Model:
    """A random checkpoint of a shape that budgets are for (None: of the first one). Few of its numbers are different ones: it is
    made in no time."""
    shape = shape or engines.budget_shape()
    weights = random_model.weights(shape.config, seed=512, block=1009)
    return random_model.write(folder, shape.name, weights, vocabulary=vocabulary(shape))


def vocabulary(shape: Shape) -> list[bytes]:
    """Pieces such as a vocabulary of the shape has: of one length, and where the shape says so, characters."""
    pieces = random_model.pieces(shape.config.vocab_size, shape.longest_piece)
    if shape.character_bytes > 1:
        first = 1 << 5 * shape.character_bytes  # a character of so many bytes, as those after it are
        for place in range(shape.first_character, len(pieces)):
            pieces[place] = chr(first + place).encode()
    return pieces


@contextlib.contextmanager
def workshop(model: Model | None = None, shape: Shape | None = None) -> Iterator[Callable[..., Built]]:
    """What builds engines for a model: build(engine, encoding=None, flags=None), each variant in a folder of its own. Without a
    model it is for a shape of the budgets (None: the first one), and what was built stays in build/shapes/ for the next time,
    if that can be written; otherwise it is gone afterwards."""
    with processes.temporary_folder() as temporary:
        shape = shape or engines.budget_shape()
        keep = not model and os.access(ROOT, os.W_OK)
        folder = ROOT / "build" / "shapes" / shape.name if keep else temporary
        made = model or budget_model(folder, shape)

        def build(engine: Engine, encoding: str | None = None, flags: Sequence[str] | None = None) -> Built:
            variant = " ".join([toolchains.name(engine), encoding or engine.encodings[0], *engine.features, *(flags or [])])
            return builds.build(engine, made, folder / re.sub(r"[^\w.+=-]+", "_", variant), encoding, flags)

        yield build


@contextlib.contextmanager
def built_engines(names: Sequence[str] | None = None, model: Model | None = None,
                  shape: Shape | None = None) -> Iterator[list[Built]]:
    """The engines of these names (None: all) for a model, or for a shape of the budgets (None: the first one). Their files are
    there until the end of the `with` block."""
    with workshop(model, shape) as build:
        yield [build(engine) for engine in here.choose(names, to_run=False)]


def each_built(names: Sequence[str] | None = None, model: Model | None = None) -> Iterator[Built]:
    """Every engine for a model; without one for all shapes of the budgets, the first one first. Its files are there
    until the next shape's turn."""
    for shape in [None] if model else engines.shapes():
        with built_engines(names, model, shape) as results:
            yield from results


def sizes(names: Sequence[str] | None = None, model: Model | None = None) -> list[Size]:
    """The sizes of these engines."""
    return [size_of(built) for built in each_built(names, model)]


def shape_of(built: Built) -> Shape | None:
    """The shape of the budgets that a program is for."""
    facts = json.loads((built.files / "manifest.json").read_text("utf-8"))
    return next((shape for shape in engines.shapes() if shape.longest_piece == facts["longest_piece"]
                 and asdict(shape.config) == facts["config"] | {"tied": True}), None)


def budget_of(built: Built) -> tuple[int, bool]:
    """The counted bytes that a program may have, by the shape that it is for or else by the first one's; and whether that
    binds."""
    shape = shape_of(built)
    budget, exact = built.engine.budget_for((shape or engines.budget_shape()).name, built.compiler)
    return budget, exact and shape is not None


def size_of(built: Built, units: Sequence[Unit] | None = None) -> Size:
    """The size of what was built; `units` is its anatomy, where that is known already.

    What is counted does not depend on comments: without their marks only the kinds are not known."""
    budget, binding = budget_of(built)
    engine = built.engine
    try:
        kinds: dict[str, int | None] = {**bytes_by(units or explain(built), "kind")}
    except UserError as error:
        print(f"{engine.name}: header, code and data are not known: {error}", file=sys.stderr)
        kinds = dict.fromkeys(KINDS)
    return Size(engine.name, built.model, built.counted, budget, budget - built.counted, **kinds, packed=built.packed,
                memory=run.memory(built), compiler=built.compiler, searched_flags=built.searched, binding=binding)
