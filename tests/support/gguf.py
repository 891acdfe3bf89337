"""Writes GGUF files for tests: any version and type, and as wrong as a test wants them.

    from support import gguf
    gguf.write(path, gguf.metadata(config, pieces), gguf.tensors(model, "Q8_0"))
    gguf.write(path, …, version=1, alignment=64)

An entry of metadata is (key, type, value); a tensor (name, shape, type, bytes). A list's type is (ARRAY, type).
Written by the format's document, and not with what reads it.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, Mapping, Sequence

from common.libraries import numpy as np
from common.model.checkpoint import Checkpoint, Config

UINT8, INT8, UINT16, INT16, UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT64, FLOAT64 = range(13)
FORMATS = {UINT8: "<B", INT8: "<b", UINT16: "<H", INT16: "<h", UINT32: "<I", INT32: "<i", FLOAT32: "<f", BOOL: "<?", UINT64: "<Q",
           INT64: "<q", FLOAT64: "<d"}
TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 8, "BF16": 30}

Entry = tuple[str, Any, Any]
TensorEntry = tuple[str, Sequence[int], int, bytes]


def write(path: Path, entries: Sequence[Entry], tensors: Sequence[TensorEntry], version: int = 3, alignment: int = 32) -> None:
    path.write_bytes(contents(entries, tensors, version, alignment))


def contents(entries: Sequence[Entry], tensors: Sequence[TensorEntry], version: int = 3, alignment: int = 32) -> bytes:
    count = "<I" if version == 1 else "<Q"

    def text(value: str | bytes) -> bytes:
        data = value.encode() if isinstance(value, str) else value
        return struct.pack(count, len(data)) + data

    def number(kind: int, value: Any) -> bytes:
        return text(value) if kind == STRING else struct.pack(FORMATS[kind], value)

    head = [b"GGUF", struct.pack("<I", version), struct.pack(count, len(tensors)), struct.pack(count, len(entries))]
    for key, kind, value in entries:
        if isinstance(kind, tuple):
            head += [text(key), struct.pack("<II", *kind), struct.pack(count, len(value)), *(number(kind[1], one) for one in value)]
        else:
            head += [text(key), struct.pack("<I", kind), number(kind, value)]
    data = b""
    for name, shape, kind, values in tensors:
        data += bytes(-len(data) % alignment)
        head += [text(name), struct.pack("<I", len(shape)), *(struct.pack(count, size) for size in reversed(shape)),
                 struct.pack("<IQ", kind, len(data))]
        data += values
    start = b"".join(head)
    return start + bytes(-len(start) % alignment) + data


# --- A model -----------------------------------------------------------------------------------------------------

def metadata(config: Config, pieces: Sequence[bytes], scores: Sequence[float] | None = None,
             changes: Mapping[str, Any] = {}) -> list[Entry]:
    """All that a model needs. `changes`: by the last part of a key, another value, or None to leave it out."""
    pieces = [piece.replace(b" ", "\u2581".encode()) for piece in pieces]
    pieces[1:3] = [b"<s>", b"</s>"]
    kinds = [6 if piece.startswith(b"<0x") else 1 for piece in pieces]
    kinds[:3] = [2, 3, 3]
    entries: list[Entry] = [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, "a test"),
        ("llama.context_length", UINT32, config.seq_len),
        ("llama.embedding_length", UINT32, config.dim),
        ("llama.block_count", UINT32, config.n_layers),
        ("llama.feed_forward_length", UINT32, config.hidden_dim),
        ("llama.rope.dimension_count", UINT32, config.head_size),
        ("llama.attention.head_count", UINT32, config.n_heads),
        ("llama.attention.head_count_kv", UINT32, config.n_kv_heads),
        ("llama.attention.layer_norm_rms_epsilon", FLOAT32, config.rms_epsilon),
        ("llama.rope.freq_base", FLOAT32, config.rope_theta),
        ("tokenizer.ggml.model", STRING, "llama"),
        ("tokenizer.ggml.tokens", (ARRAY, STRING), pieces),
        ("tokenizer.ggml.scores", (ARRAY, FLOAT32), list(scores or [0.0] * len(pieces))),
        ("tokenizer.ggml.token_type", (ARRAY, INT32), kinds),
        ("tokenizer.ggml.bos_token_id", UINT32, 1),
        ("tokenizer.ggml.eos_token_id", UINT32, 2),
    ]
    assert changes.keys() <= {key.rpartition(".")[2] for key, _, _ in entries}, changes
    found = [(key, kind, changes.get(key.rpartition(".")[2], value)) for key, kind, value in entries]
    return [entry for entry in found if entry[2] is not None]


NAMES = {"rms_att": "attn_norm", "wq": "attn_q", "wk": "attn_k", "wv": "attn_v", "wo": "attn_output", "rms_ffn": "ffn_norm",
         "w1": "ffn_gate", "w2": "ffn_down", "w3": "ffn_up"}


def tensors(model: Checkpoint, kind: str = "F32") -> list[TensorEntry]:
    """A model's tensors; the norms' gains are float32 whatever the others are."""
    found = [tensor("token_embd.weight", model.tensors["token_embedding"], kind)]
    for layer in range(model.config.n_layers):
        found += [tensor(f"blk.{layer}.{name}.weight", model.tensors[ours][layer], "F32" if "norm" in name else kind)
                  for ours, name in NAMES.items()]
    found.append(tensor("output_norm.weight", model.tensors["rms_final"], "F32"))
    if not model.config.tied:
        found.append(tensor("output.weight", model.tensors["wcls"], kind))
    return found


def tensor(name: str, values: np.ndarray, kind: str) -> TensorEntry:
    return name, values.shape, TYPES[kind], encode(values, kind)


def encode(values: np.ndarray, kind: str) -> bytes:
    """Numbers in a type; in blocks of 32, with a scale that fits the largest one."""
    if kind == "BF16":
        return (values.astype("<f4").view("<u4") + 0x8000 >> 16).astype("<u2").tobytes()
    if kind in ("F32", "F16"):
        return values.astype({"F32": "<f4", "F16": "<f2"}[kind]).tobytes()
    blocks = values.astype(np.float64).reshape(-1, 32)
    steps = {"Q8_0": 127, "Q4_0": 7}[kind]
    scales = (np.abs(blocks).max(1, keepdims=True) / steps).astype("<f2")
    numbers = np.rint(np.divide(blocks, scales.astype(np.float64), out=np.zeros_like(blocks), where=scales != 0)).clip(-steps, steps)
    if kind == "Q8_0":
        coded = numbers.astype("i1").view(np.uint8)
    else:
        halves = (numbers + 8).astype(np.uint8)
        coded = halves[:, :16] | halves[:, 16:] << 4
    return np.concatenate([scales.view(np.uint8), coded], 1).tobytes()
