"""What an engine can take: the limits of its memory map in golf/engines.json, for the checks, the sources and the tests.

    from common.engine import limits
    limits.of(engine)                               # [Limit(field="n_layers", most=127, why="…"), …]
    limits.check(engine, constants, "my.bin")       # UserError: field, value, limit, reason, way out
    limits.fitting(engine, constants)               # the engine, or its variant for large models where it needs that
    limits.cpp_assertions(engine)                   # the same for model.hpp: the source refuses as well

`constants` are those of the engine's configuration (configuration.constants). A limit's field is one of them, or one of DERIVED.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Callable, Mapping

from common.engine.engines import Engine
from common.errors import UserError


@dataclass(frozen=True)
class Limit:
    """The most that an engine can take of something."""

    field: str
    most: int
    why: str


# What a limit may speak of besides the constants themselves: for the sources, and for the check.
DERIVED: dict[str, tuple[str, Callable[[Mapping[str, int]], int]]] = {
    "head_size": ("dim / n_heads", lambda known: known["dim"] // known["n_heads"]),
    "story_bytes": ("seq_len * longest_piece", lambda known: known["seq_len"] * known["longest_piece"]),
    "memory_bytes": ("packed_bytes + workspace_bytes", lambda known: known["packed_bytes"] + known["workspace_bytes"]),
}

# Constants of the configuration that a limit may speak of.
FIELDS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len", "longest_piece",
          "workspace_bytes", "packed_bytes")

# How the bytes are said, whose names are in no checkpoint; and what makes them fewer.
BYTES = {
    "packed_bytes": ("dim, hidden_dim, n_layers, vocab_size: the packed model has {value:,} bytes",
                     "use a smaller model, or another engine"),
    "story_bytes": ("seq_len: {seq_len}: a story of the longest pieces has {value:,} bytes",
                    "use a model with a smaller seq_len or shorter pieces, or another engine"),
    "workspace_bytes": ("seq_len: {seq_len}: {engine} would work in {value:,} bytes of memory",
                        "use a model with a smaller seq_len or dim, or another engine"),
    "memory_bytes": ("seq_len: {seq_len}: {engine} would need {value:,} bytes of memory ({packed_bytes:,} for the model, "
                     "{workspace_bytes:,} to work in)",
                     "use a model with a smaller seq_len or dim, or another engine"),
}


def of(engine: Engine) -> list[Limit]:
    """The engine's limits, in the table's order."""
    found = []
    for row in engine.limits:
        if set(row) != {"field", "most", "why"} or row["field"] not in (*DERIVED, *FIELDS):
            raise UserError(f"golf/engines.json: memory_maps: {engine.memory_map}: {row}: field (one of {', '.join(FIELDS)}, "
                            f"{', '.join(DERIVED)}), most and why are needed")
        found.append(Limit(**row))
    return found


def value(field: str, constants: Mapping[str, int]) -> int:
    """What a configuration has of something."""
    return DERIVED[field][1](constants) if field in DERIVED else constants[field]


def fitting(engine: Engine, constants: Mapping[str, int]) -> Engine:
    """The engine where it can take the configuration, or else its variant for large models, where there is one."""
    beyond = any(value(limit.field, constants) > limit.most for limit in of(engine))
    return engine.large or engine if beyond else engine


def check(engine: Engine, constants: Mapping[str, int], source: object) -> None:
    """Refuses a configuration that is beyond a limit, of the variant for large models where it is beyond the engine's own;
    `source` is the model's name for the message."""
    engine = fitting(engine, constants)
    for limit in of(engine):
        found = value(limit.field, constants)
        if found > limit.most:
            shape = f"{limit.field}: {{value}}"
            said, way_out = BYTES.get(limit.field, (shape, f"use a model with a smaller {limit.field}, or another engine"))
            raise UserError(f"{source}: {said.format(**constants, engine=engine.name, value=found)}, {engine.name} takes at "
                            f"most {limit.most:,} ({limit.why}); {way_out}")


def cpp_assertions(engine: Engine) -> list[str]:
    """Lines for model.hpp."""
    return [f"static_assert(0LL + {_expression(limit.field)} <= {limit.most}, {_message(limit)});\n"
            for limit in of(engine)]


def nasm_assertions(engine: Engine) -> list[str]:
    """Lines for model.inc."""
    return [f"%if {_expression(limit.field).upper()} > {limit.most}\n  %error {_message(limit)}\n%endif\n"
            for limit in of(engine)]


def _expression(field: str) -> str:
    return DERIVED[field][0] if field in DERIVED else field


def _message(limit: Limit) -> str:
    return json.dumps(f"{limit.field}: at most {limit.most} ({limit.why})", ensure_ascii=False)
