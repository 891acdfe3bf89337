"""GGUF files, versions 1 to 3, little-endian: their metadata, and their tensors as float32.

    from common.model import gguf
    file = gguf.read("model.gguf")
    file.metadata["llama.block_count"]             # 5
    file.tensors["blk.0.attn_q.weight"].shape      # (rows, columns)
    file.values("blk.0.attn_q.weight")             # float32, of this shape

Format (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md): magic 'GGUF', uint32 version, how many tensors, how many
entries of metadata; the entries, each a key, a type and a value; for each tensor its name, its shape (columns first), its
type and where its data is; then, at a multiple of `general.alignment`, the data. Counts and lengths are uint64, in version 1
uint32.

A file is never trusted: what it counts is compared with its size before anything is read, and no tensor lies outside of it.
Anything wrong is a UserError that names the file, the field and the value.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from dataclasses import dataclass
from typing import Any, Callable

from common import files
from common.errors import UserError
from common.libraries import numpy as np

MAGIC = b"GGUF"
VERSIONS = (1, 2, 3)
ALIGNMENT = 32  # where general.alignment does not say another one
MOST_DIMENSIONS = 4


# --- What tensors are made of ------------------------------------------------------------------------------------

@dataclass(frozen=True)
class TensorType:
    """How numbers are stored: in blocks, from the first to the last column of a row."""

    name: str
    block: int  # numbers
    bytes: int  # of a block
    decode: Callable[[np.ndarray], np.ndarray]  # uint8 (blocks, bytes) -> float32 (blocks, block)


def _plain(kind: str) -> Callable[[np.ndarray], np.ndarray]:
    return lambda data: data.view(kind).astype(np.float32)


def _bf16(data: np.ndarray) -> np.ndarray:
    """The upper half of a float32."""
    return (data.view("<u2").astype("<u4") << 16).view("<f4")


def _q8_0(data: np.ndarray) -> np.ndarray:
    """A scale as float16, and 32 numbers of 8 bits."""
    return data[:, :2].copy().view("<f2").astype(np.float32) * data[:, 2:].view("i1")


def _q4_0(data: np.ndarray) -> np.ndarray:
    """A scale as float16, and 32 numbers of 4 bits, 8 too large: the first 16 are the lower halves of bytes, then the upper ones."""
    halves = np.concatenate([data[:, 2:] & 15, data[:, 2:] >> 4], 1).astype(np.float32) - np.float32(8)
    return data[:, :2].copy().view("<f2").astype(np.float32) * halves


TYPES = {0: TensorType("F32", 1, 4, _plain("<f4")), 1: TensorType("F16", 1, 2, _plain("<f2")), 30: TensorType("BF16", 1, 2, _bf16),
         8: TensorType("Q8_0", 32, 34, _q8_0), 2: TensorType("Q4_0", 32, 18, _q4_0)}
OTHER_TYPES = {3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
               16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS",
               24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0"}

# Types of metadata: a format of `struct`, or what stands for a text and a list.
STRING, ARRAY = "string", "array"
VALUES = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 8: STRING, 9: ARRAY, 10: "<Q", 11: "<q", 12: "<d"}


# --- The file ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Tensor:
    """Where a tensor is in the file."""

    name: str
    shape: tuple[int, ...]  # the last one is the number of columns
    type: TensorType
    offset: int  # in the file
    bytes: int


@dataclass(frozen=True)
class File:
    """A file's contents, checked but for the tensors' numbers."""

    path: str
    metadata: dict[str, Any]  # numbers, bytes for a text, lists of both
    tensors: dict[str, Tensor]
    data: memoryview

    def values(self, name: str) -> np.ndarray:
        """A tensor's numbers."""
        tensor = self.tensors[name]
        blocks = np.frombuffer(self.data, np.uint8, tensor.bytes, tensor.offset).reshape(-1, tensor.type.bytes)
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused where all weights are looked at
            return tensor.type.decode(blocks).reshape(tensor.shape)


class _Reader:
    """Reads one thing after the other, none of them outside of the file."""

    def __init__(self, path: str, data: memoryview) -> None:
        self.path, self.data, self.offset = path, data, 0
        self.count = "<Q"  # the format of counts and lengths

    def refuse(self, problem: str) -> UserError:
        return UserError(f"{self.path}: {problem}")

    def take(self, size: int, what: str) -> memoryview:
        left = len(self.data) - self.offset
        if size > left:
            raise self.refuse(f"{what}: {size} bytes at {self.offset}, of which the file has {left}; it is damaged or truncated, "
                              "get it again")
        self.offset += size
        return self.data[self.offset - size:self.offset]

    def number(self, kind: str, what: str) -> Any:
        return struct.unpack(kind, self.take(struct.calcsize(kind), what))[0]

    def counted(self, smallest: int, what: str) -> int:
        """A number of things that have so many bytes at least."""
        count = self.number(self.count, what)
        left = len(self.data) - self.offset
        if count * smallest > left:
            raise self.refuse(f"{what}: {count}, more than the {left} bytes that are left can hold; the file is damaged or truncated, "
                              "get it again")
        return count

    def text(self, what: str) -> bytes:
        return bytes(self.take(self.number(self.count, f"length of {what}"), what))

    def name(self, what: str) -> str:
        text = self.text(what)
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError:
            raise self.refuse(f"{what}: {text!r} is no UTF-8; the file is damaged, get it again") from None

    def value(self, kind: int, what: str, within: bool = False) -> Any:
        if kind not in VALUES or within and VALUES[kind] == ARRAY:
            raise self.refuse(f"{what}: type {kind}{' in a list' * within}, one of GGUF's 0 to 12 is needed"
                              f"{', and no list in a list' * within}; the file is damaged, or of a later version")
        if VALUES[kind] == STRING:
            return self.text(what)
        if VALUES[kind] != ARRAY:
            return self.number(VALUES[kind], what)
        inner = self.number("<I", f"type of {what}")
        form = VALUES.get(inner, ARRAY)
        if form in (STRING, ARRAY):
            count = self.counted(struct.calcsize(self.count), f"length of {what}")
            return [self.value(inner, what, within=True) for _ in range(count)]
        count = self.counted(struct.calcsize(form), f"length of {what}")
        return list(struct.unpack(f"<{count}{form[1]}", self.take(count * struct.calcsize(form), what)))


def read(path: str | os.PathLike[str]) -> File:
    """Reads and checks all but the tensors' numbers."""
    with files.open_file(path, "GGUF file") as file:
        if os.fstat(file.fileno()).st_size == 0:
            raise UserError(f"{path}: the file is empty, not a GGUF file")
        reader = _Reader(os.fspath(path), memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))
    if reader.take(len(MAGIC), "magic") != MAGIC:
        raise reader.refuse("magic: it does not begin with 'GGUF'; give a GGUF file")
    version = reader.number("<I", "version")
    if version not in VERSIONS:
        big = " (it is big-endian)" if int.from_bytes(version.to_bytes(4, "little"), "big") in VERSIONS else ""
        raise reader.refuse(f"version: {version}{big}, 1, 2 or 3 is needed, little-endian; convert the model to one of these")
    if version == 1:
        reader.count = "<I"
    length = struct.calcsize(reader.count)
    n_tensors = reader.counted(length + 4 + length + 4 + 8, "tensor_count")
    n_entries = reader.counted(length + 4 + 1, "metadata_kv_count")

    metadata: dict[str, Any] = {}
    for i in range(n_entries):
        key = reader.name(f"metadata {i}: key")
        kind = reader.number("<I", f"type of {key}")
        if key in metadata:
            raise reader.refuse(f"{key}: it is there twice; the file is damaged, get it again")
        metadata[key] = reader.value(kind, key)
    found = [_tensor(reader, i, length) for i in range(n_tensors)]

    alignment = metadata.get("general.alignment", ALIGNMENT)
    if not isinstance(alignment, int) or alignment < 8 or alignment % 8:
        raise reader.refuse(f"general.alignment: {alignment}, a multiple of 8 is needed; the file is damaged, get it again")
    start = reader.offset + -reader.offset % alignment
    tensors: dict[str, Tensor] = {}
    end, before = start, "the metadata"
    for tensor in sorted(found, key=lambda tensor: tensor.offset):
        name, offset = tensor.name, tensor.offset
        if name in tensors:
            raise reader.refuse(f"{name}: it is there twice; the file is damaged, get it again")
        if offset % alignment:
            raise reader.refuse(f"{name}: offset {offset}, a multiple of general.alignment {alignment} is needed; the file is damaged, "
                                "get it again")
        offset += start
        if offset + tensor.bytes > len(reader.data):
            raise reader.refuse(f"{name}: its {tensor.bytes} bytes at {offset} end behind the file's {len(reader.data)}; it is "
                                "truncated, get it again")
        if offset != end + -end % alignment:
            raise reader.refuse(f"{name}: offset {tensor.offset}: it {'overlaps' if offset < end else 'does not follow'} {before}; the file "
                                "is damaged, get it again")
        end, before = offset + tensor.bytes, name
        tensors[name] = Tensor(name, tensor.shape, tensor.type, offset, tensor.bytes)
    if len(reader.data) > end + -end % alignment:
        raise reader.refuse(f"file size: {len(reader.data)} bytes, the tensors end at {end}; the file is damaged, get it again")
    return File(reader.path, metadata, tensors, reader.data)


def _tensor(reader: _Reader, number: int, length: int) -> Tensor:
    """A tensor's entry; its offset is still that from the beginning of the data."""
    name = reader.name(f"tensor {number}: name")
    n_dimensions = reader.number("<I", f"{name}: n_dimensions")
    if not 1 <= n_dimensions <= MOST_DIMENSIONS:
        raise reader.refuse(f"{name}: n_dimensions: {n_dimensions}, a value from 1 to {MOST_DIMENSIONS} is needed; the file is damaged, "
                            "get it again")
    shape = tuple(reader.number(reader.count, f"{name}: dimension {i}") for i in range(n_dimensions))[::-1]
    kind = reader.number("<I", f"{name}: type")
    if kind not in TYPES:
        raise reader.refuse(f"{name}: type {kind}{f' ({OTHER_TYPES[kind]})' if kind in OTHER_TYPES else ''}, one of "
                            f"{', '.join(known.name for known in TYPES.values())} is needed; convert the model to F16 or Q8_0")
    tensor_type = TYPES[kind]
    if not all(shape) or shape[-1] % tensor_type.block:
        raise reader.refuse(f"{name}: shape {shape}: {tensor_type.name} needs rows of a multiple of {tensor_type.block}, and none may "
                            "be 0; the file is damaged, get it again")
    offset = reader.number("<Q", f"{name}: offset")
    return Tensor(name, shape, tensor_type, offset, math.prod(shape) // tensor_type.block * tensor_type.bytes)
