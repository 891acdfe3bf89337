"""Whether an engine must say what a model says as it was, and not only what its own rounded weights say.

    from common.match import originals
    originals.must_match(model, "int8")
"""

from __future__ import annotations

from common.model import checkpoint
from common.model.checkpoint import GAINS
from common.model.models import NAMED_MODELS, Model
from common.pack.encodings import ENCODINGS
from common.training import rounding


def must_match(model: Model, encoding: str) -> bool:
    """A model of ours must, in an encoding that keeps its weights well enough. int8 does where they lie on a grid."""
    return model.name in NAMED_MODELS and (not ENCODINGS[encoding].most or _on_a_grid(model))


def _on_a_grid(model: Model) -> bool:
    """Whether all weights are whole steps of their matrix, with no gain to be folded into them."""
    weights = checkpoint.load(model.checkpoint)
    return all((weights.tensors[name] == 1).all() for name in GAINS) and rounding.int8(weights) == weights
