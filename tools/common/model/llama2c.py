"""Llama 2 checkpoints in llama2.c's file formats: read versions 0, 1 and 2, write versions 0 and 1.

    from common.model import llama2c
    model = llama2c.load("stories260K.bin")
    llama2c.write("copy.bin", model)

Formats (little-endian; https://github.com/karpathy/llama2.c, export.py and run.c):

    v0  7 int32 (dim hidden_dim n_layers n_heads n_kv_heads vocab_size seq_len; vocab_size < 0: untied), then f32
    v1  256-byte header: magic 'ak42', int32 version 1, the 7 int32, uint8 shared_classifier; then f32
    v2  the same header with version 2 and int32 group_size after shared_classifier;
        the norms' gains in f32, and every matrix as int8 values, then one f32 scale for each group of values

Of the rest of a header of 256 bytes, which is zero, we use two f32 at byte 64: rms_epsilon and rope_theta, where they are not
Llama 2's (0: they are). A model with others is written as version 1.

Whatever the file says, what comes out is f32. A file must have exactly the size that its header asks for; anything else is a
UserError that names the file, the field and the value.
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
from common.model.llama import GAINS, Checkpoint, Config, problem_of, shortest

MAGIC = 0x616B3432  # "ak42": opens versions 1 and 2
HEADER_V0 = 28
HEADER_V1 = 256  # of version 2, too
CONSTANTS = 64  # where rms_epsilon and rope_theta stand in it

# The order of the tensors in the files. "freq_cis" (cos, then sin, of every RoPE angle) is skipped when read.
ORDER_V0 = ("token_embedding", "rms_att", "wq", "wk", "wv", "wo", "rms_ffn", "w1", "w2", "w3", "rms_final",
            "freq_cis", "wcls")
ORDER_V1 = ("rms_att", "rms_ffn", "rms_final", "token_embedding", "wq", "wk", "wv", "wo", "w1", "w2", "w3", "wcls")


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
    return Checkpoint(config, {name: tensors[name] for name in shapes})


def read_config(path: str | os.PathLike[str]) -> Config:
    """Reads and checks the header alone (and the file's size against it): quick even for a large file."""
    with files.open_file(path, "checkpoint") as file:
        return _read_header(path, file).config


def write(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Writes a version 0 file, tied or untied, that llama2.c and every program like it can read; or, where its constants are not
    Llama 2's, version 1."""
    config, shapes = checkpoint.config, checkpoint.shapes
    problem = problem_of(config)
    if problem:
        raise UserError(f"{path}: {problem}")
    for name, shape in shapes.items():
        found = np.shape(checkpoint.tensors.get(name))
        if found != shape:
            raise UserError(f"{path}: {name}: shape {found}, {shape} is needed")

    with atomic_write(path) as file:
        file.write(_header(config))
        for name in ORDER_V0 if config.is_standard else ORDER_V1:
            if name == "freq_cis":
                for values in freq_cis(config):
                    file.write(values.astype("<f4").data)
            elif name in shapes:
                file.write(np.ascontiguousarray(checkpoint.tensors[name], "<f4").data)


def _header(config: Config) -> bytes:
    """That of version 0, or of version 1 with the constants."""
    fields = [config.dim, config.hidden_dim, config.n_layers, config.n_heads, config.n_kv_heads, config.vocab_size, config.seq_len]
    if config.is_standard:
        fields[5] *= 1 if config.tied else -1
        return struct.pack("<7i", *fields)
    head = struct.pack("<Ii7iB", MAGIC, 1, *fields, config.tied).ljust(CONSTANTS, b"\0")
    return (head + struct.pack("<2f", config.rms_epsilon, config.rope_theta)).ljust(HEADER_V1, b"\0")


def freq_cis(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of RoPE's angles, (seq_len, head_size / 2) each, as llama2.c's legacy export stores them."""
    frequencies = config.rope_theta ** (-np.arange(0, config.head_size, 2) / config.head_size)
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
        constants = [shortest(value) for value in struct.unpack_from("<2f", head, CONSTANTS)]
    else:
        version, group_size = 0, 0
        fields = list(struct.unpack_from("<7i", head))
        tied = fields[5] >= 0
        fields[5] = abs(fields[5])
        constants = [0.0, 0.0]
    config = Config(*fields, tied, constants[0] or Config.rms_epsilon, constants[1] or Config.rope_theta)
    problem = problem_of(config)
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
