"""Llama 2 checkpoints in llama2.c's file formats: read versions 0, 1 and 2, write version 0.

    from common.model import checkpoint
    model = checkpoint.load("stories260K.bin")
    model.config.dim                     # 64
    model.tensors["wq"]                  # float32, (n_layers, dim, dim)
    checkpoint.write_v0("copy.bin", model)

Formats (little-endian; https://github.com/karpathy/llama2.c, export.py and run.c):

    v0  7 int32 (dim hidden_dim n_layers n_heads n_kv_heads vocab_size seq_len; vocab_size < 0: untied), then f32
    v1  256-byte header: magic 'ak42', int32 version 1, the 7 int32, uint8 shared_classifier; then f32
    v2  the same header with version 2 and int32 group_size after shared_classifier;
        the norms' gains in f32, and every matrix as int8 values, then one f32 scale for each group of values

Whatever the file says, what comes out is f32. A file must have exactly the size that its header asks for, and every
weight must be finite; anything else is a UserError that names the file, the field and the value.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass
from typing import BinaryIO

from common import files
from common.errors import UserError, atomic_write
from common.libraries import numpy as np

MAGIC = 0x616B3432  # "ak42": opens versions 1 and 2
HEADER_V0 = 28
HEADER_V1 = 256  # of version 2, too
ROPE_THETA = 10000.0

# What a header may say, as in reference/config.cpp: far above any model that fits these tools.
RANGES = {
    "dim": (1, 2**16),
    "hidden_dim": (1, 2**16),
    "n_layers": (1, 2**10),
    "n_heads": (1, 2**16),
    "n_kv_heads": (1, 2**16),
    "vocab_size": (2, 2**22),  # 2: token 1 is BOS
    "seq_len": (1, 2**20),
}

# The order of the tensors in the files. "freq_cis" (cos, then sin, of every RoPE angle) is skipped when read.
ORDER_V0 = ("token_embedding", "rms_att", "wq", "wk", "wv", "wo", "rms_ffn", "w1", "w2", "w3", "rms_final",
            "freq_cis", "wcls")
ORDER_V1 = ("rms_att", "rms_ffn", "rms_final", "token_embedding", "wq", "wk", "wv", "wo", "w1", "w2", "w3", "wcls")
GAINS = ("rms_att", "rms_ffn", "rms_final")  # the tensors that version 2 leaves in f32


@dataclass(frozen=True)
class Config:
    """A model's dimensions. `tied`: the classifier is the token embedding."""

    dim: int
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    seq_len: int
    tied: bool = True

    @property
    def head_size(self) -> int:
        return self.dim // self.n_heads

    @property
    def kv_dim(self) -> int:
        return self.head_size * self.n_kv_heads

    @property
    def kv_mul(self) -> int:
        """Query heads that share one key/value head."""
        return self.n_heads // self.n_kv_heads

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape, by name, in the order of a version 0 file (without freq_cis)."""
        L, D, KD, H, V = self.n_layers, self.dim, self.kv_dim, self.hidden_dim, self.vocab_size
        shapes: dict[str, tuple[int, ...]] = {
            "token_embedding": (V, D),
            "rms_att": (L, D),
            "wq": (L, D, D),
            "wk": (L, KD, D),
            "wv": (L, KD, D),
            "wo": (L, D, D),
            "rms_ffn": (L, D),
            "w1": (L, H, D),
            "w2": (L, D, H),
            "w3": (L, H, D),
            "rms_final": (D,),
        }
        if not self.tied:
            shapes["wcls"] = (V, D)
        return shapes


@dataclass(eq=False)
class Checkpoint:
    """A model: its configuration, and its tensors, float32, by name ("wcls" only when untied)."""

    config: Config
    tensors: dict[str, np.ndarray]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.config.shapes()

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Checkpoint) and self.config == other.config
                and all(np.array_equal(values, other.tensors[name]) for name, values in self.tensors.items()))

    def copy(self) -> Checkpoint:
        """One with tensors of its own."""
        return Checkpoint(self.config, {name: values.copy() for name, values in self.tensors.items()})

    @property
    def classifier(self) -> np.ndarray:
        """The matrix (vocab_size, dim) that makes the logits, tied or not."""
        return self.tensors["token_embedding" if self.config.tied else "wcls"]


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads and checks a checkpoint of version 0, 1 or 2."""
    with files.open_file(path, "checkpoint") as file:
        header = _read_header(path, file)  # before a huge file is read
        data = bytearray(os.fstat(file.fileno()).st_size)
        del data[file.readinto(data):]
    config, shapes = header.config, header.config.shapes()

    tensors: dict[str, np.ndarray] = {}
    offset = header.size
    for name in ORDER_V0 if header.version == 0 else ORDER_V1:
        if name == "freq_cis":
            offset += _freq_cis_bytes(config)
        elif name in shapes:
            shape = shapes[name]
            if header.version == 2 and name not in GAINS:
                tensors[name], offset = _dequantize(data, offset, shape, header.group_size)
            else:
                tensors[name] = np.ndarray(shape, "<f4", data, offset)
                offset += tensors[name].nbytes
    assert offset == len(data)  # _parse_header compared the sizes

    for name, values in tensors.items():
        bad = first_bad(values)
        if bad is not None:
            raise UserError(f"{path}: {name}: element {bad} is {values.flat[bad]}, finite weights are needed; "
                            "the file is damaged, get it again")
    return Checkpoint(config, {name: tensors[name] for name in shapes})


def first_bad(values: np.ndarray) -> int | None:
    """The place in the flat tensor of the first number that is infinite or NaN; None when there is none."""
    bad = ~np.isfinite(values)
    return int(bad.argmax()) if bad.any() else None


def read_config(path: str | os.PathLike[str]) -> Config:
    """Reads and checks the header alone (and the file's size against it): quick even for a large file."""
    with files.open_file(path, "checkpoint") as file:
        return _read_header(path, file).config


def write_v0(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Writes a version 0 file, tied or untied, that llama2.c and every program like it can read."""
    config, shapes = checkpoint.config, checkpoint.shapes
    problem = _config_problem(config)
    if problem:
        raise UserError(f"{path}: {problem}")
    for name, shape in shapes.items():
        found = np.shape(checkpoint.tensors.get(name))
        if found != shape:
            raise UserError(f"{path}: {name}: shape {found}, {shape} is needed")

    with atomic_write(path) as file:
        file.write(struct.pack("<7i", config.dim, config.hidden_dim, config.n_layers, config.n_heads,
                               config.n_kv_heads, config.vocab_size if config.tied else -config.vocab_size,
                               config.seq_len))
        for name in ORDER_V0:
            if name == "freq_cis":
                for values in freq_cis(config):
                    file.write(values.astype("<f4").data)
            elif name in shapes:
                file.write(np.ascontiguousarray(checkpoint.tensors[name], "<f4").data)


def freq_cis(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of RoPE's angles, (seq_len, head_size / 2) each, as llama2.c's legacy export stores them."""
    frequencies = ROPE_THETA ** (-np.arange(0, config.head_size, 2) / config.head_size)
    angles = np.outer(np.arange(config.seq_len), frequencies)
    return np.cos(angles), np.sin(angles)


@dataclass(frozen=True)
class _Header:
    version: int
    config: Config
    size: int  # bytes
    group_size: int = 0  # version 2: values that share one scale


def _read_header(path: str | os.PathLike[str], file: BinaryIO) -> _Header:
    """The header of a file that was just opened, and will be read from its beginning again."""
    header = _parse_header(path, memoryview(file.read(HEADER_V1)), os.fstat(file.fileno()).st_size)
    file.seek(0)
    return header


def _parse_header(path: str | os.PathLike[str], head: memoryview, file_size: int) -> _Header:
    """Decodes and checks the header, and compares the file's size with what the header asks for."""
    if file_size == 0:
        raise UserError(f"{path}: the file is empty, not a llama2.c checkpoint")
    magic = len(head) >= 4 and struct.unpack_from("<I", head)[0] == MAGIC
    header_size = HEADER_V1 if magic else HEADER_V0
    if len(head) < header_size:
        raise UserError(f"{path}: file size: {file_size} bytes, the header alone needs {header_size}; "
                        "the file is truncated, or is no llama2.c checkpoint")
    if magic:
        version, *fields, shared = struct.unpack_from("<i7iB", head, 4)
        group_size = struct.unpack_from("<i", head, 37)[0] if version == 2 else 0
        if version not in (1, 2):
            raise UserError(f"{path}: version: {version}, 1 or 2 is needed; export the model as one of these")
        if shared not in (0, 1):
            raise UserError(f"{path}: shared_classifier: {shared}, 0 or 1 is needed; the file is damaged")
        tied = shared == 1
    else:
        version, group_size = 0, 0
        fields = list(struct.unpack_from("<7i", head))
        tied = fields[5] >= 0
        fields[5] = abs(fields[5])
    config = Config(*fields, tied=tied)
    problem = _config_problem(config)
    if problem:
        hint = "" if magic else " (no 'ak42' magic, so read as a llama2.c v0 checkpoint)"
        raise UserError(f"{path}: {problem}; the file is damaged, or is no llama2.c checkpoint{hint}")
    # Every matrix has a side of length dim, so when groups divide dim, they divide the matrix.
    if version == 2 and (group_size < 1 or config.dim % group_size):
        raise UserError(f"{path}: group_size: {group_size}, a divisor of dim {config.dim} is needed")

    expected = header_size
    for name, shape in config.shapes().items():
        count = math.prod(shape)
        if version == 2 and name not in GAINS:
            expected += count + 4 * (count // group_size)
        else:
            expected += 4 * count
    if version == 0:
        expected += _freq_cis_bytes(config)
    if file_size != expected:
        what = "truncated" if file_size < expected else "too long"
        raise UserError(f"{path}: file size: {file_size} bytes, its v{version} header needs exactly {expected}; "
                        f"the file is {what}, get it again")
    return _Header(version, config, header_size, group_size)


def _config_problem(config: Config) -> str:
    """What is wrong with a configuration: `FIELD: VALUE, why`, or "" when all is well."""
    for name, (lowest, highest) in RANGES.items():
        value = getattr(config, name)
        if not lowest <= value <= highest:
            return f"{name}: {value}, a value from {lowest} to {highest} is needed"
    if config.dim % config.n_heads:
        return f"n_heads: {config.n_heads}, a divisor of dim {config.dim} is needed"
    if config.n_heads % config.n_kv_heads:
        return f"n_kv_heads: {config.n_kv_heads}, a divisor of n_heads {config.n_heads} is needed"
    if config.head_size % 2:
        return (f"head_size: {config.head_size} (dim {config.dim} / n_heads {config.n_heads}), "
                "an even number is needed")
    return ""


def _freq_cis_bytes(config: Config) -> int:
    return 2 * config.seq_len * (config.head_size // 2) * 4


def _dequantize(data: bytearray, offset: int, shape: tuple[int, ...], group_size: int) -> tuple[np.ndarray, int]:
    """Version 2: a tensor's matrices, each int8 values and then the scales of their groups. Returns value * scale, and the next
    offset."""
    values = np.empty(shape, np.float32)
    for matrix in values if len(shape) == 3 else [values]:
        groups = matrix.reshape(-1, group_size)
        quantized = np.ndarray(groups.shape, "i1", data, offset)
        scales = np.ndarray((len(groups), 1), "<f4", data, offset + quantized.nbytes)
        with np.errstate(over="ignore"):  # infinity is refused where all is looked at
            groups[:] = quantized * scales
        offset += quantized.nbytes + scales.nbytes
    return values, offset
