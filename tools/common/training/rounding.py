"""What an engine's rounding makes of a model: the effective checkpoints of every encoding that engines read, and of int8.

    from common.training.rounding import effective_checkpoints
    for name, model in effective_checkpoints(checkpoint.load("fables.bin"), pieces): …     # "stream bf16", …, "int8"
"""

from __future__ import annotations

from typing import Iterator, Sequence

from common.engine import engines
from common.libraries import numpy as np
from common.model.checkpoint import GAINS, Checkpoint
from common.pack import packer
from common.pack.encodings import ENCODINGS


def effective_checkpoints(model: Checkpoint, pieces: Sequence[bytes]) -> Iterator[tuple[str, Checkpoint]]:
    """Name and weights, for each layout with each encoding that rounds and that an engine reads; and for int8."""
    pairs = {(engine.layout, encoding) for engine in engines.table() for encoding in engine.encodings if encoding != "f32"}
    for layout, encoding in sorted(pairs):
        plan = packer.plan(layout, encoding, model.config, pieces)
        yield f"{layout} {encoding}", packer.decode(plan, model.config, packer.encode(plan, model, pieces))[0]
    yield "int8", in_steps(model, "int8")


def in_steps(model: Checkpoint, encoding: str) -> Checkpoint:
    """Each matrix rounded to the whole steps of an encoding, one step for all of it. Weights that lie on such a grid already are
    kept; gains are kept, too."""
    config, encoded = model.config, ENCODINGS[encoding]
    tensors = dict(model.tensors)
    for name, shape in config.shapes().items():
        if name in GAINS:
            continue
        matrices = tensors[name].reshape(config.n_layers if len(shape) == 3 else 1, -1)
        steps = encoded.step(matrices)[:, None]
        tensors[name] = (encoded.numbers(matrices, steps) * steps).astype(np.float32).reshape(shape)
    return Checkpoint(config, tensors)


def on_a_grid(model: Checkpoint, encoding: str) -> bool:
    """Whether all weights are whole steps of what has a step, a power of two, in every layout whose engines read the encoding; and
    there is no gain to be folded into them."""
    if not all((model.tensors[name] == 1).all() for name in GAINS):
        return False
    pieces = [b"?"] * model.config.vocab_size
    layouts = sorted({engine.layout for engine in engines.table() if encoding in engine.encodings})
    return all(packer.keeps(span, model) for layout in layouts for span in packer.plan(layout, encoding, model.config, pieces))
