"""Whether an engine must say what a model says as it was, and not only what its own rounded weights say.

    from common.match import originals
    originals.must_match(model, "int8")
"""

from __future__ import annotations

from common.model import checkpoint
from common.model.models import NAMED_MODELS, Model
from common.pack.encodings import ENCODINGS
from common.training import rounding


def must_match(model: Model, encoding: str) -> bool:
    """A model of ours must, in an encoding that keeps its weights well enough. int8 and int4 do where they lie on its grid."""
    return model.name in NAMED_MODELS and (
        not ENCODINGS[encoding].most or rounding.on_a_grid(checkpoint.load(model.checkpoint), encoding))
