"""Small models that tests write themselves, and known ones that are here."""

from __future__ import annotations

import math
import random
from typing import Sequence

from common.errors import UserError
from common.libraries import numpy as np
from common.model import models
from common.model.checkpoint import Checkpoint, Config
from common.model.models import Model


def present(names: Sequence[str]) -> list[Model]:
    """The models of these names that are here; why not, of the others, is printed."""
    found = []
    for name in names:
        try:
            found.append(models.find_model(name))
        except UserError as error:
            print(f"SKIP: {error}")
    return found


def small_checkpoint(tied: bool = True, seed: int = 1) -> Checkpoint:
    """A random model of a few kilobytes: grouped attention, two layers."""
    config = Config(dim=8, hidden_dim=12, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=10, seq_len=6, tied=tied)
    generator = random.Random(seed)
    return Checkpoint(config, {
        name: np.array([generator.uniform(-1, 1) for _ in range(math.prod(shape))], np.float32).reshape(shape)
        for name, shape in config.shapes().items()})
