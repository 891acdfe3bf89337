"""Checkpoints: files with a Llama 2 model, in any format that we read. What a file is, its first bytes tell.

    from common.model import checkpoint
    model = checkpoint.load("stories260K.bin")       # or a GGUF file
    model.config.dim                                 # 64
    model.tensors["wq"]                              # float32, (n_layers, dim, dim)
    checkpoint.write("copy.bin", model)              # llama2.c's format

Every weight must be finite; anything that is wrong is a UserError that names the file, the field and the value.
"""

from __future__ import annotations

import os

from common import files
from common.errors import UserError
from common.model import gguf, gguf_llama, llama2c
from common.model.llama import GAINS, RANGES, Checkpoint, Config, first_bad

__all__ = ["GAINS", "RANGES", "Checkpoint", "Config", "first_bad", "load", "read_config", "write"]

write = llama2c.write


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads and checks a checkpoint."""
    model = (gguf_llama if is_gguf(path) else llama2c).load(path)
    for name, values in model.tensors.items():
        bad = first_bad(values)
        if bad is not None:
            raise UserError(f"{path}: {name}: element {bad} is {values.flat[bad]}, finite weights are needed; "
                            "the file is damaged, get it again")
    return model


def read_config(path: str | os.PathLike[str]) -> Config:
    """Reads and checks all but the weights: quick even for a large file."""
    return (gguf_llama if is_gguf(path) else llama2c).read_config(path)


def is_gguf(path: str | os.PathLike[str]) -> bool:
    """Whether the file begins as a GGUF file does, which has a tokenizer as well."""
    with files.open_file(path, "checkpoint") as file:
        return file.read(len(gguf.MAGIC)) == gguf.MAGIC
