"""Small models that tests write themselves."""

from __future__ import annotations

import math
import random

from common.libraries import numpy as np
from common.model.checkpoint import Checkpoint, Config


def small_checkpoint(tied: bool = True, seed: int = 1) -> Checkpoint:
    """A random model of a few kilobytes: grouped attention, two layers."""
    config = Config(dim=8, hidden_dim=12, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=10, seq_len=6, tied=tied)
    generator = random.Random(seed)
    return Checkpoint(config, {
        name: np.array([generator.uniform(-1, 1) for _ in range(math.prod(shape))], np.float32).reshape(shape)
        for name, shape in config.shapes().items()})
