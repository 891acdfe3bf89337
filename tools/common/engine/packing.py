"""Packs a model for an engine: checks that it fits, and writes all that an engine is made from.

    from common.engine import packing
    packing.fitting(engine, model, "bf16")          # the engine, or its variant for large models
    packing.check_shape(engine, model, "f32")       # UserError when the engine cannot take it
    packing.configure(engine, model, "f32", folder) # only the configuration, and a hole
    packing.pack(engine, model, "f32", folder)
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path

from common.engine import configuration, limits
from common.engine.engines import Engine
from common.errors import UserError, atomic_write
from common.model import checkpoint, tokenizer
from common.model.checkpoint import Checkpoint, Config, first_bad
from common.model.models import Model
from common.model.tokenizer import Vocabulary
from common.pack import packer, spelling
from common.pack.packer import Span
from common.pack.spelling import Spelling


def fitting(engine: Engine, model: Model, encoding: str) -> Engine:
    """The engine, or its variant for large models where this one needs it. Refuses a model that neither can take."""
    config, _, spans = check_shape(engine, model, encoding)
    return limits.fitting(engine, configuration.constants(engine, config, encoding, spans))


def check_shape(engine: Engine, model: Model, encoding: str) -> tuple[Config, Vocabulary, list[Span]]:
    """Refuses a model whose shape the engine cannot take, with the figures. Does not read its weights."""
    if encoding not in engine.encodings:
        raise UserError(f"{engine.name}: encoding {encoding!r}: this engine reads {' or '.join(engine.encodings)}")
    config = checkpoint.read_config(model.checkpoint)
    vocabulary = tokenizer.load(model.tokenizer, config.vocab_size)
    try:
        spans = packer.plan(engine.layout, encoding, config, vocabulary.pieces, engine.target.byte_order,
                            engine.sampling and engine.sampling.temperature)
        spelling_of(engine, vocabulary)
    except UserError as error:
        raise UserError(f"{model.tokenizer}: {error}") from error
    try:
        packer.check_rows(spans)
    except UserError as error:
        raise UserError(f"{model.checkpoint}: {error}") from error
    limits.check(engine, configuration.constants(engine, config, encoding, spans), model.checkpoint)
    return config, vocabulary, spans


def spelling_of(engine: Engine, vocabulary: Vocabulary) -> Spelling | None:
    """What an engine that makes tokens of a text knows of the vocabulary; refuses one that it cannot spell with."""
    return spelling.proven(vocabulary) if engine.spells else None


def configure(engine: Engine, model: Model, encoding: str, folder: Path) -> None:
    """Writes model.hpp and model.inc into the folder, and for model.packed a hole of its size. Does not read the weights."""
    config, vocabulary, spans = check_shape(engine, model, encoding)
    configuration.write(engine, config, encoding, spans, folder, spelling=spelling_of(engine, vocabulary))
    with atomic_write(folder / "model.packed") as file:
        file.truncate(packer.packed_bytes(spans))


def check(engine: Engine, model: Model, encoding: str) -> tuple[Checkpoint, Vocabulary, list[Span]]:
    """Reads the model, and refuses one that the engine cannot run."""
    _, vocabulary, spans = check_shape(engine, model, encoding)
    return checkpoint.load(model.checkpoint), vocabulary, spans


def pack(engine: Engine, model: Model, encoding: str, folder: Path) -> list[Span]:
    """Writes model.packed, model.hpp, model.inc, effective.bin, tokenizer.bin and manifest.json into the folder."""
    weights, vocabulary, spans = check(engine, model, encoding)
    try:
        packed = packer.encode(spans, weights, vocabulary.pieces)
        effective, _ = packer.decode(spans, weights.config, packed)
        check_effective(effective, engine.layout)
    except UserError as error:
        raise UserError(f"{model.checkpoint}: {error}") from error

    with atomic_write(folder / "model.packed") as file:
        file.write(packed)
    known = configuration.constants(engine, weights.config, encoding, spans)
    configuration.write(limits.fitting(engine, known), weights.config, encoding, spans, folder, packer.x_unit(spans, packed),
                        spelling_of(engine, vocabulary))
    checkpoint.write(folder / "effective.bin", effective)
    tokenizer.write(folder / "tokenizer.bin", vocabulary.pieces, vocabulary.scores)
    with atomic_write(folder / "manifest.json", "w") as file:
        json.dump({
            "engine": engine.name, "layout": engine.layout, "encoding": encoding, "model": model.name,
            "config": asdict(weights.config),
            "longest_piece": packer.texts_of(spans).longest_piece,
            "sha256": {name: _sha256(path) for name, path in (
                ("checkpoint", model.checkpoint), ("tokenizer", model.tokenizer),
                ("model.packed", folder / "model.packed"), ("effective.bin", folder / "effective.bin"),
                ("model.hpp", folder / "model.hpp"), ("model.inc", folder / "model.inc"))},
            "bytes": len(packed), "spans": packer.manifest(spans),
        }, file, indent=1)
        file.write("\n")
    return spans


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_effective(effective: Checkpoint, name: str) -> None:
    """Refuses weights that the layout has no place for, or that are too large once their norm's gain is folded in."""
    for tensor, values in effective.tensors.items():
        index = first_bad(values)
        if index is not None:
            value = values.flat[index]
            why = (f"layout {name} does not hold it" if math.isnan(value) else
                   "with its norm's gain it does not fit into float32; scale the gains down")
            raise UserError(f"{tensor}: element {index} is {value} as packed: {why}")
