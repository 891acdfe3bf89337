"""Safetensors files: tensors by name, as float32.

    from common.model import safetensors
    file = safetensors.read("model.safetensors")
    file.tensors["model.norm.weight"].shape
    file.values("model.norm.weight")               # float32

Format (https://github.com/huggingface/safetensors): uint64 length of the header; the header, JSON, which has for each tensor
`dtype`, `shape` and `data_offsets` behind it; then the data, little-endian.
"""

from __future__ import annotations

import json
import math
import mmap
import os
from dataclasses import dataclass
from typing import Any

from common import files
from common.errors import UserError
from common.libraries import numpy as np

TYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
METADATA = "__metadata__"  # texts about the file


@dataclass(frozen=True)
class Tensor:
    """Where a tensor is in the file."""

    shape: tuple[int, ...]
    type: str
    offset: int


@dataclass(frozen=True)
class File:
    """A file's contents, checked but for the tensors' numbers."""

    path: str
    tensors: dict[str, Tensor]
    data: memoryview

    def values(self, name: str) -> np.ndarray:
        """A tensor's numbers."""
        tensor = self.tensors[name]
        data = np.ndarray(tensor.shape, TYPES[tensor.type], self.data, tensor.offset)
        return (data.astype("<u4") << 16).view("<f4") if tensor.type == "BF16" else data.astype(np.float32)


def read(path: str | os.PathLike[str]) -> File:
    """Reads and checks all but the tensors' numbers."""
    def refuse(problem: str) -> UserError:
        return UserError(f"{path}: {problem}; the file is damaged, get it again")

    with files.open_file(path, "safetensors file") as file:
        size = os.fstat(file.fileno()).st_size
        if size < 8:
            raise refuse(f"file size: {size} bytes, the length of the header alone needs 8")
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    start = 8 + int.from_bytes(data[:8], "little")
    if start > size:
        raise refuse(f"length of the header: {start - 8}, the file has {size - 8} bytes behind it")
    try:
        header = json.loads(bytes(data[8:start]), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise refuse(f"header: {error}") from error
    if not isinstance(header, dict):
        raise refuse("header: a JSON object is needed")
    header.pop(METADATA, None)

    tensors: dict[str, Tensor] = {}
    for name, entry in header.items():
        try:
            kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
            numbers = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
        except (TypeError, KeyError, ValueError):
            numbers = False
        if not numbers:
            raise refuse(f"{name}: {entry}, dtype, shape and data_offsets are needed")
        if kind not in TYPES:
            raise UserError(f"{path}: {name}: dtype: {kind}, one of {', '.join(TYPES)} is needed; convert the model to one of these")
        wanted = math.prod(shape) * int(TYPES[kind][-1])
        if end - begin != wanted or start + end > size:
            raise refuse(f"{name}: data_offsets: [{begin}, {end}], {wanted} of the {size - start} bytes of data are needed")
        tensors[name] = Tensor(shape, kind, start + begin)
    return File(os.fspath(path), tensors, data)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, in which no name is there twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is there twice")
        found[name] = value
    return found
