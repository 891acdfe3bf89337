"""The table of golfed engines, golf/engines.json: the single source of truth for what engines there are.

    from common.engine import engines
    for engine in engines.table():
        engine.name, engine.layout, engine.budget_for("stories260K", "g++ 14.2.0")
"""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, field, replace
from pathlib import Path
from typing import Any, Iterable, Mapping, Sequence

from common.engine import inputs, targets
from common.engine.targets import Target
from common.errors import UserError
from common.model.checkpoint import Config
from common.pack import race
from common.pack.encodings import ENCODINGS
from common.pack.layouts import LAYOUTS
from common.pack.race import Sampling
from common.project import ROOT

TABLE = ROOT / inputs.TABLE


@dataclass(frozen=True)
class Engine:
    """A row of the table."""

    name: str
    about: str
    toolchain: str  # a module of common/engine
    source: str
    target: Target
    layout: str
    memory_map: str  # whose limits hold for it
    encodings: tuple[str, ...]
    budgets: Mapping[str, Mapping[str, int]] = field(hash=False)  # counted bytes by compiler and shape
    features: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    flags_alone: tuple[str, ...] = ()
    beyond: Mapping[str, Any] | None = field(default=None, hash=False)  # features and memory_map for large models
    arithmetic: str = "x87"  # what it computes in: a key of common.match.domain.LIMITS
    console: str = ""  # of a machine that has several: where its text goes
    samples: tuple[str, ...] = ()  # which features of common.pack.race its source knows
    spells: bool = False  # whether it makes tokens of a text itself, by the order of their numbers (common.pack.spelling)
    prompts: bool = False  # whether its source knows PROMPT
    on_request: tuple[str, ...] = ()  # features that a build has where it is asked for them

    @property
    def idea(self) -> str:
        """What the source is called: files of a target's folder that belong to it are named like it."""
        return Path(self.source).stem

    @property
    def limits(self) -> list[dict]:
        """The most that the engine can take: field, most, why."""
        return inputs.table()["memory_maps"][self.memory_map]

    @property
    def large(self) -> Engine | None:
        """The same engine for models that its memory map does not hold, or None: there is no such thing."""
        if self.beyond is None:
            return None
        features, memory_map = (*self.features, *self.beyond["features"]), self.beyond["memory_map"]
        return replace(self, features=features, memory_map=memory_map, beyond=None)

    @property
    def comforts(self) -> tuple[str, ...]:
        """Of the features of its variant for large models, those that it can do without."""
        return tuple(self.beyond["features"][1:]) if self.beyond else ()

    @property
    def optional_features(self) -> tuple[str, ...]:
        """What can be left out: its features, and those of its variant for large models that are comfort."""
        return (*(feature for feature in self.features if not race.is_of_race(feature)), *self.comforts)

    def without(self, features: Iterable[str]) -> Engine:
        """The same engine with some of its features left out."""
        left_out = set(features)
        for feature in left_out:
            if feature not in self.optional_features:
                known = ", ".join(self.optional_features) or "none"
                raise UserError(f"{self.name}: feature {feature!r}: this engine has {known}")
        beyond = self.beyond and {**self.beyond, "features": [each for each in self.beyond["features"] if each not in left_out]}
        return replace(self, features=tuple(each for each in self.features if each not in left_out), beyond=beyond)

    def with_requested(self, features: Iterable[str]) -> Engine:
        """The same engine with features that it has only where it is asked for them."""
        wanted = set(features)
        for feature in sorted(wanted):
            if feature not in self.on_request:
                able = ", ".join(engine.name for engine in table() if feature in engine.on_request)
                raise UserError(f"{self.name}: feature {feature!r}: it can be asked for {', '.join(self.on_request) or 'none'}"
                                + (f"; {able} can have it" if able else ""))
        return replace(self, features=(*self.features, *(each for each in self.on_request if each in wanted)))

    @property
    def sampling(self) -> Sampling | None:
        """How it draws its tokens, by its features; None: greedy."""
        return race.of(self.features)

    def draws(self, sampling: Sampling) -> bool:
        """Whether its source knows what this asks for."""
        return race.FEATURE in self.samples and (race.TOP_P in self.samples or not sampling.has_nucleus)

    def sampled(self, sampling: Sampling) -> Engine:
        """The same engine, but it draws its tokens."""
        if not self.samples:
            able = [engine.name for engine in table() if engine.samples]
            raise UserError(f"{self.name}: temperature: {sampling.temperature}: this engine is greedy; {', '.join(able)} can draw "
                            "tokens")
        if not self.draws(sampling):
            able = [engine.name for engine in table() if engine.draws(sampling)]
            raise UserError(f"{self.name}: top-p: {sampling.top_p}: this engine draws from all tokens; {', '.join(able)} can draw "
                            "from the most likely ones")
        return replace(self, features=(*self.features, *sampling.features))

    @property
    def headline_compiler(self) -> str:
        """The compiler whose sizes are recorded, reported and shown."""
        return inputs.table()["headline_compilers"][self.tools]

    @property
    def tools(self) -> str:
        """What the table calls the tools that make it: the toolchain, or this with the prefix of the target's own ones."""
        return tools_of(self.toolchain, self.target)

    @property
    def budget(self) -> int:
        """The headline: of the first shape with the headline compiler."""
        return self.budget_for(budget_shape().name, self.headline_compiler)[0]

    def budget_for(self, shape: str, compiler: str) -> tuple[int, bool]:
        """Counted bytes that a build for this shape may have, and whether that budget is for this very compiler; for
        one without a budget it is the nearest compiler's."""
        name = nearest(self.budgets, compiler)
        return self.budgets[name][shape], is_named(name, compiler)


def table() -> list[Engine]:
    """All engines, in the table's order."""
    lists = ("encodings", "features", "choices", "flags_alone", "samples", "on_request")
    rows = inputs.table()["engines"]
    for row in rows:
        _check(row)
    return [Engine(**{name: tuple(value) if name in lists else value for name, value in row.items()}
                   | {"target": targets.find(row["target"])}) for row in rows]


def _check(row: Mapping) -> None:
    """Refuses a row that no engine can be made of: which one, which field, what is known."""
    fields = Engine.__dataclass_fields__
    unknown = [name for name in row if name not in fields]
    missing = [name for name, field in fields.items() if field.default is MISSING and name not in row]
    where = f"{TABLE}: {row.get('name', 'a row without a name')}"
    if unknown or missing:
        raise UserError(f"{where}: {', '.join(unknown or missing)}: {'unknown' if unknown else 'missing'}; the file's head says "
                        "which fields there are")
    known = {"layout": LAYOUTS, "memory_map": inputs.table()["memory_maps"], "encodings": ENCODINGS}
    beyond = row.get("beyond")
    if beyond is not None and (set(beyond) != {"features", "memory_map"} or not beyond["features"]
                               or beyond["memory_map"] not in known["memory_map"]):
        raise UserError(f"{where}: beyond: {beyond}, features and a memory_map of the table are needed")
    for name, values in known.items():
        for value in row[name] if name == "encodings" else [row[name]]:
            if value not in values:
                raise UserError(f"{where}: {name}: {value!r}, known are {', '.join(values)}")
    if not set(row.get("samples", ())) <= set(race.KNOWN):
        raise UserError(f"{where}: samples: {row['samples']}, known are {', '.join(race.KNOWN)}")
    shapes = [shape["name"] for shape in inputs.table()["shapes"]]
    if not row["budgets"] or any(set(budgets) != set(shapes) for budgets in row["budgets"].values()):
        raise UserError(f"{where}: budgets: {row['budgets']}, a compiler with budgets for {', '.join(shapes)} is needed")


def names() -> list[str]:
    return [engine.name for engine in table()]


def find(name: str) -> Engine:
    """The engine of that name."""
    for engine in table():
        if engine.name == name:
            return engine
    raise UserError(f"engine {name!r}: not in golf/engines.json, known are {', '.join(names())}")


def select(wanted: Sequence[str] | None) -> list[Engine]:
    """The engines of these names, or all when there are none."""
    return [find(name) for name in dict.fromkeys(wanted)] if wanted else table()


# --- Compilers ---------------------------------------------------------------------------------------------------

def tools_of(toolchain: str, target: Target) -> str:
    """What "headline_compilers" calls a toolchain on a target: `gcc`, or `gcc PREFIX` where the target's own tools are of
    another version."""
    own = f"{toolchain} {target.facts.get(toolchain, {}).get('prefix', '')}"
    return own if own in inputs.table()["headline_compilers"] else toolchain


def is_named(name: str, compiler: str) -> bool:
    """Whether a name in the table means this compiler: `g++ 14.2.0` means that version, `nasm` means every one."""
    words = name.split()
    return compiler.split()[:len(words)] == words


def nearest(names: Iterable[str], compiler: str) -> str:
    """The name that means this compiler, or else the one whose version is nearest."""
    def version(text: str) -> float:
        numbers = re.findall(r"\d+", text.partition(" ")[2])
        return sum(int(number) / 100**place for place, number in enumerate(numbers))
    return min(names, key=lambda name: (not is_named(name, compiler), abs(version(name) - version(compiler))))


# --- Shapes ------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Shape:
    """A shape that budgets are for."""

    name: str
    config: Config
    longest_piece: int
    first_character: int = 0  # from this token on the vocabulary has characters of up to so many bytes
    character_bytes: int = 1


def shapes() -> list[Shape]:
    """The shapes that budgets are for; the first one is the headline's."""
    known = Config.__dataclass_fields__
    return [Shape(config=Config(**{name: value for name, value in row.items() if name in known}, tied=True),
                  **{name: value for name, value in row.items() if name not in known})
            for row in inputs.table()["shapes"]]


def budget_shape() -> Shape:
    return shapes()[0]


def label(engine: str, shape: str) -> str:
    """What sizes are filed under: `asm-boot` is its size for the first shape, `asm-boot fables` for another one."""
    return engine if shape == budget_shape().name else f"{engine} {shape}"


def labels(engine: str) -> list[str]:
    """An engine's labels, in the order of the shapes."""
    return [label(engine, shape.name) for shape in shapes()]
