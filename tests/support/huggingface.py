"""Writes folders with a model as `transformers` does, for tests, and as wrong as a test wants them.

    from support import huggingface
    huggingface.write(folder, model, pieces, scores)
    huggingface.write(folder, …, kind="BF16", parts=2, tokenizer="tokenizer.json", config={"hidden_act": "gelu"})

Written by the formats' documents, and not with what reads them.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, Mapping, Sequence

from support import gguf

from common.libraries import numpy as np
from common.model.checkpoint import Checkpoint, Config

NAMES = {"rms_att": "input_layernorm", "wq": "self_attn.q_proj", "wk": "self_attn.k_proj", "wv": "self_attn.v_proj",
         "wo": "self_attn.o_proj", "rms_ffn": "post_attention_layernorm", "w1": "mlp.gate_proj", "w2": "mlp.down_proj",
         "w3": "mlp.up_proj"}


def write(folder: Path, model: Checkpoint, pieces: Sequence[bytes], scores: Sequence[float], kind: str = "F32", parts: int = 1,
          tokenizer: str = "tokenizer.model", config: Mapping[str, Any] = {}) -> None:
    """`config`: changes to config.json; None leaves a key out."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({
        key: value for key, value in (configuration(model.config) | config).items() if value is not None}), "utf-8")
    named = list(tensors(model).items())
    if parts == 1:
        safetensors(folder / "model.safetensors", dict(named), kind)
    else:
        places = {}
        for part in range(parts):
            name, some = f"model-{part + 1:05}-of-{parts:05}.safetensors", dict(named[part::parts])
            safetensors(folder / name, some, kind)
            places |= dict.fromkeys(some, name)
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}), "utf-8")
    spelled = [piece.replace(b" ", "\u2581".encode()) for piece in pieces]
    spelled[1:3] = [b"<s>", b"</s>"]
    if tokenizer == "tokenizer.model":
        (folder / tokenizer).write_bytes(sentencepiece(spelled, scores))
    else:
        (folder / tokenizer).write_text(json.dumps(merges(spelled, scores)), "utf-8")


def configuration(config: Config) -> dict[str, Any]:
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": config.dim,
            "intermediate_size": config.hidden_dim, "num_hidden_layers": config.n_layers, "num_attention_heads": config.n_heads,
            "num_key_value_heads": config.n_kv_heads, "vocab_size": config.vocab_size, "max_position_embeddings": config.seq_len,
            "rms_norm_eps": config.rms_epsilon, "rope_theta": config.rope_theta, "rope_scaling": None, "bos_token_id": 1,
            "tie_word_embeddings": config.tied, "torch_dtype": "float32"}


def tensors(model: Checkpoint) -> dict[str, np.ndarray]:
    """The tensors by their names there; rows of q and k as they stand there."""
    found = {"model.embed_tokens.weight": model.tensors["token_embedding"], "model.norm.weight": model.tensors["rms_final"]}
    for layer in range(model.config.n_layers):
        for ours, name in NAMES.items():
            values = model.tensors[ours][layer]
            if ours in ("wq", "wk"):
                size = model.config.head_size
                order = [head * size + element for head in range(len(values) // size)
                         for element in [*range(0, size, 2), *range(1, size, 2)]]
                values = values[order]
            found[f"model.layers.{layer}.{name}.weight"] = values
    if not model.config.tied:
        found["lm_head.weight"] = model.tensors["wcls"]
    return found


def safetensors(path: Path, named: Mapping[str, np.ndarray], kind: str = "F32") -> None:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, values in named.items():
        coded = gguf.encode(np.ascontiguousarray(values), kind)
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(coded)]}
        data += coded
    raw_safetensors(path, json.dumps(header).encode(), data)


def raw_safetensors(path: Path, header: bytes, data: bytes = b"") -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def sentencepiece(pieces: Sequence[bytes], scores: Sequence[float], model_type: int = 2, bos: int = 1, dummy_prefix: int = 1) -> bytes:
    """A message of protocol buffers."""
    def varint(number: int) -> bytes:
        return bytes([number & 0x7F | 0x80]) + varint(number >> 7) if number > 0x7F else bytes([number])

    def field(number: int, value: int | float | bytes) -> bytes:
        if isinstance(value, bytes):
            return varint(number << 3 | 2) + varint(len(value)) + value
        if isinstance(value, float):
            return varint(number << 3 | 5) + struct.pack("<f", value)
        return varint(number << 3) + varint(value)
    return (b"".join(field(1, field(1, piece) + field(2, float(score)) + field(3, 1)) for piece, score in zip(pieces, scores))
            + field(2, field(3, model_type) + field(4, len(pieces)) + field(10, 0.9995) + field(41, bos) + field(42, 2))
            + field(3, field(1, b"identity") + field(3, dummy_prefix)))


def merges(pieces: Sequence[bytes], scores: Sequence[float]) -> dict[str, Any]:
    """tokenizer.json: all ways to make a piece of two others, the best-scored piece first."""
    texts = [piece.decode() for piece in pieces]
    known = {text: token for token, text in enumerate(texts)}
    pairs = [(-scores[token], [text[:i], text[i:]]) for token, text in enumerate(texts)
             for i in range(1, len(text)) if text[:i] in known and text[i:] in known]
    return {"version": "1.0", "added_tokens": [{"id": token, "content": texts[token], "special": True} for token in range(3)],
            "model": {"type": "BPE", "byte_fallback": True, "unk_token": texts[0], "vocab": known,
                      "merges": [pair for _, pair in sorted(pairs, key=lambda entry: entry[0])]}}
