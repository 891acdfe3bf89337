"""llama2.c's checkpoints of version 2: every matrix in int8, in groups of columns with a scale each, for its program runq.

    from common.bench import int8
    int8.write("15M.int8.bin", checkpoint, int8.group_size(checkpoint.config))

As its export.py (version2_export) makes them: a group's scale is its largest magnitude / 127, and values are rounded to the nearest.
"""

from __future__ import annotations

import os
import struct

from common.errors import atomic_write
from common.libraries import numpy as np
from common.model.llama import GAINS, Checkpoint, Config
from common.model.llama2c import HEADER_V1, MAGIC, ORDER_V1

GROUP = 64  # columns that share a scale, where the model's shape allows it


def group_size(config: Config) -> int:
    """64, or the next half of it that divides all rows. (export.py looks at dim alone; runq then leaves out the end of a row of w2.)"""
    size = GROUP
    while config.dim % size or config.hidden_dim % size:
        size //= 2
    return size


def quantize(values: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """int8 values, and a float32 scale for each group."""
    groups = values.reshape(-1, group)
    scales = np.abs(groups).max(1) / np.float32(127)
    return np.round(groups / np.where(scales, scales, 1)[:, None]).astype(np.int8), scales.astype(np.float32)


def write(path: str | os.PathLike[str], checkpoint: Checkpoint, group: int) -> None:
    """Writes a file of version 2."""
    config = checkpoint.config
    head = struct.pack("<Ii7iBi", MAGIC, 2, config.dim, config.hidden_dim, config.n_layers, config.n_heads, config.n_kv_heads,
                       config.vocab_size, config.seq_len, config.tied, group)
    with atomic_write(path) as file:
        file.write(head.ljust(HEADER_V1, b"\0"))
        for name in ORDER_V1:
            if name not in checkpoint.shapes:
                continue
            tensor = checkpoint.tensors[name]
            if name in GAINS:
                file.write(np.ascontiguousarray(tensor, "<f4").data)
                continue
            for matrix in tensor if tensor.ndim == 3 else [tensor]:
                for part in quantize(matrix, group):
                    file.write(part.data)
