"""Checkpoints of any shape with random weights, and vocabularies whose output decodes back to token ids.

    from common.model import random_model
    model = random_model.write(folder, "name", random_model.weights(config, seed=1))   # two files
    random_model.token_ids(output, pieces)                                   # of pieces with one common length

The same seed gives the same files everywhere.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
import string
from pathlib import Path

from common.libraries import numpy as np
from common.model import checkpoint, tokenizer
from common.model.checkpoint import Checkpoint, Config
from common.model.models import Model

LETTERS = string.ascii_letters + string.digits
BLOCK = 131071


@functools.lru_cache(maxsize=2)
def _numbers(config: Config, seed: int, spread: float, block: int) -> dict[str, np.ndarray]:
    """The tensors of the last weights: tests try one model with many engines."""
    generator = random.Random(seed)
    tensors: dict[str, np.ndarray] = {}
    for name, shape in config.shapes().items():
        count = math.prod(shape)
        some = range(min(count, block))
        if name.startswith("rms"):
            values = [generator.uniform(0.5, 1.5) for _ in some]
        else:
            sigma = 1.0 if name == "token_embedding" else spread / math.sqrt(shape[-1])
            values = [generator.gauss(0, sigma) for _ in some]
        tensors[name] = np.resize(np.array(values, np.float32), shape)
    return tensors


def weights(config: Config, seed: int, spread: float = 1.0, block: int = BLOCK) -> Checkpoint:
    """Normally distributed weights. A matrix's standard deviation is `spread` / sqrt(its columns), so that vectors keep
    their size on the way through; embeddings have 1, gains are from 0.5 to 1.5.

    A large tensor repeats `block` random numbers, so that a model of 100 million weights takes seconds. It is to be a prime, so
    that no two rows, and no two layers, of a tensor are equal."""
    return Checkpoint(config, _numbers(config, seed, spread, block)).copy()


def pieces(vocab_size: int, length: int) -> list[bytes]:
    """Unique printable pieces of one length; `length` letters must be enough to tell vocab_size pieces apart."""
    if len(LETTERS) ** length < vocab_size:
        raise ValueError(f"{length} letters cannot name {vocab_size} pieces")
    places = min(length, math.ceil(math.log(vocab_size, len(LETTERS))) + 1)
    names = itertools.product(LETTERS, repeat=places)
    # The rest of a piece repeats its last letter.
    return [("".join(name) + name[-1] * (length - places)).encode() for name in itertools.islice(names, vocab_size)]


def token_ids(output: bytes, vocabulary: list[bytes]) -> list[int]:
    """The tokens that print this output; all pieces must have one length."""
    length = len(vocabulary[0])
    ids = {piece: token for token, piece in enumerate(vocabulary)}
    return [ids[output[i:i + length]] for i in range(0, len(output), length)]


def write(folder: Path, name: str, model: Checkpoint, piece_length: int = 7,
          vocabulary: list[bytes] | None = None) -> Model:
    """Writes NAME.bin and NAME.tokenizer.bin; the vocabulary is pieces of one length, or the one given."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = Model(name, folder / f"{name}.bin", folder / f"{name}.tokenizer.bin")
    checkpoint.write(paths.checkpoint, model)
    vocabulary = vocabulary or pieces(model.config.vocab_size, piece_length)
    tokenizer.write(paths.tokenizer, vocabulary, [0.0] * len(vocabulary))
    return paths
