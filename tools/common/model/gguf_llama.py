"""A Llama 2 model and its tokenizer from a GGUF file of architecture `llama`.

    from common.model import gguf_llama
    model = gguf_llama.load("model.gguf")                # a Checkpoint
    vocabulary = gguf_llama.vocabulary("model.gguf")     # as tokenizer.bin would have it

What the file says of the model must be what we compute: anything else (RoPE that is scaled, an attention window, experts, biases,
another tokenizer, …) is a UserError that names it, with its value. RMSNorm's epsilon and RoPE's base may be any.

Rows of wq and wk are in llama2.c's order in such a file: pairs for RoPE are neighbours.
"""

from __future__ import annotations

import math
import os
from typing import Any, Callable

from common.errors import UserError
from common.libraries import numpy as np
from common.model import gguf, llama
from common.model.llama import Checkpoint, Config, problem_of, shortest
from common.model.vocabulary import BOS, EOS, MAX_TOKEN_LENGTH, Vocabulary, exported

ARCHITECTURE = b"llama"

# Our tensors by the file's names; those with {} are there for each layer.
NAMES = {
    "token_embd.weight": "token_embedding",
    "blk.{}.attn_norm.weight": "rms_att",
    "blk.{}.attn_q.weight": "wq",
    "blk.{}.attn_k.weight": "wk",
    "blk.{}.attn_v.weight": "wv",
    "blk.{}.attn_output.weight": "wo",
    "blk.{}.ffn_norm.weight": "rms_ffn",
    "blk.{}.ffn_gate.weight": "w1",
    "blk.{}.ffn_down.weight": "w2",
    "blk.{}.ffn_up.weight": "w3",
    "output_norm.weight": "rms_final",
    "output.weight": "wcls",
}
ROPE_FACTORS = "rope_freqs.weight"  # what RoPE's angles are divided by

# What the reference takes as well (reference/files/gguf_model.hpp): of these keys each of these values, for they change nothing;
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "general.type": (b"model",),
    "general.quantization_version": (2,),
    "split.count": (1, 0),
    "llama.expert_count": (0,),
    "llama.expert_used_count": (0,),
    "llama.attention.causal": (True,),
    "llama.attention.sliding_window": (0,),
    "llama.use_parallel_residual": (False,),
    "llama.rope.scaling.type": (b"none",),
    "llama.rope.scaling.factor": (1.0, 0.0),
    "llama.rope.scale_linear": (1.0,),
    "llama.tensor_data_layout": (b"Meta AI original pth", b"reference"),
    "tokenizer.ggml.add_bos_token": (True,),
    "tokenizer.ggml.add_eos_token": (False,),
    "tokenizer.ggml.add_space_prefix": (True,),
}
# and of the others that are the architecture's only those that are read, for we do not know what they change.
READ = {"llama." + name for name in (
    "embedding_length", "feed_forward_length", "block_count", "attention.head_count", "attention.head_count_kv", "context_length",
    "attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.dimension_count", "attention.key_length", "attention.value_length",
    "vocab_size")}


def load(path: str | os.PathLike[str]) -> Checkpoint:
    """The model, as float32."""
    file = gguf.read(path)
    config = _config(file)
    tensors = {name: np.empty(shape, np.float32) for name, shape in config.shapes().items()}
    for place, name, layer in llama.places(NAMES, config):
        (tensors[name] if layer is None else tensors[name][layer])[:] = file.values(place)
    return Checkpoint(config, tensors)


def read_config(path: str | os.PathLike[str]) -> Config:
    """Its dimensions; reads no weights."""
    return _config(gguf.read(path))


def vocabulary(path: str | os.PathLike[str]) -> Vocabulary:
    """Its tokenizer: pieces with spaces, as llama2.c's export writes them."""
    return _vocabulary(gguf.read(path))


# --- The model ---------------------------------------------------------------------------------------------------

def _config(file: gguf.File) -> Config:
    """Checks all but the numbers of the tensors."""
    architecture = _get(file, "general.architecture", "text")
    if architecture != ARCHITECTURE:
        raise _refuse(file, "general.architecture", architecture, "'llama' is needed; this engine runs no other")
    for key, value in file.metadata.items():
        if key in NEUTRAL and value not in NEUTRAL[key]:
            raise _refuse(file, key, value, f"{' or '.join(map(_shown, NEUTRAL[key]))} is needed, as of Llama 2; use another model")
        if key.startswith("llama.") and key not in NEUTRAL and key not in READ:
            raise _refuse(file, key, value, "an unknown key: what it changes is not supported; use another model")
    n_heads = _get(file, "llama.attention.head_count", "whole number")
    vocabulary = _vocabulary(file)
    config = Config(
        dim=_get(file, "llama.embedding_length", "whole number"),
        hidden_dim=_get(file, "llama.feed_forward_length", "whole number"),
        n_layers=_get(file, "llama.block_count", "whole number"),
        n_heads=n_heads,
        n_kv_heads=_get(file, "llama.attention.head_count_kv", "whole number", n_heads),
        vocab_size=len(vocabulary.pieces),
        seq_len=_get(file, "llama.context_length", "whole number"),
        tied="output.weight" not in file.tensors,
        rms_epsilon=shortest(_get(file, "llama.attention.layer_norm_rms_epsilon", "number")),
        rope_theta=shortest(_get(file, "llama.rope.freq_base", "number", Config.rope_theta)))
    problem = problem_of(config)
    if problem:
        raise UserError(f"{file.path}: {problem}; use another model, or get the file again")
    for key, value in (("llama.rope.dimension_count", config.head_size), ("llama.attention.key_length", config.head_size),
                       ("llama.attention.value_length", config.head_size), ("llama.vocab_size", config.vocab_size)):
        found = _get(file, key, "whole number", value)
        if found != value:
            raise _refuse(file, key, found, f"{value} is needed, as the other metadata say; use another model")

    shapes, places = config.shapes(), list(llama.places(NAMES, config))
    for place, name, layer in places:
        shape = shapes[name] if layer is None else shapes[name][1:]
        if place not in file.tensors:
            raise UserError(f"{file.path}: {place}: it is missing; the file is damaged, get it again")
        if file.tensors[place].shape != shape:
            raise UserError(f"{file.path}: {place}: shape {file.tensors[place].shape}, {shape} is needed; get the file again")
    known = {place for place, _, _ in places}
    for name in file.tensors:
        if name == ROPE_FACTORS:
            factors = file.values(name)
            if factors.size != config.head_size // 2 or (factors != 1).any():
                raise UserError(f"{file.path}: {name}: {factors.ravel()[:4].tolist()} …, RoPE that is scaled, which Llama 2 has not; "
                                "use another model")
        elif name not in known:
            raise UserError(f"{file.path}: {name}: a tensor that Llama 2 has not; use another model")
    return config


# --- The tokenizer -----------------------------------------------------------------------------------------------

def _vocabulary(file: gguf.File) -> Vocabulary:
    kind = _get(file, "tokenizer.ggml.model", "text")
    if kind != ARCHITECTURE:
        raise _refuse(file, "tokenizer.ggml.model", kind, "'llama' is needed, the tokenizer of SentencePiece; use another model")
    tokens = _get(file, "tokenizer.ggml.tokens", "list")
    scores = _get(file, "tokenizer.ggml.scores", "list", [0.0] * len(tokens))
    if len(scores) != len(tokens):
        raise _refuse(file, "tokenizer.ggml.scores", f"{len(scores)} numbers", f"as many as the {len(tokens)} tokens are needed; get "
                      "the file again")
    bos, eos = (_get(file, f"tokenizer.ggml.{name}_token_id", "whole number", default) for name, default in (("bos", BOS), ("eos", EOS)))
    if bos != BOS:
        raise _refuse(file, "tokenizer.ggml.bos_token_id", bos, f"{BOS} is needed, for it ends a story here; use another model")
    for token, (piece, score) in enumerate(zip(tokens, scores)):
        if not isinstance(piece, bytes) or len(piece) > MAX_TOKEN_LENGTH:
            raise _refuse(file, "tokenizer.ggml.tokens", piece, f"a text of at most {MAX_TOKEN_LENGTH} bytes is needed for token {token}; "
                          "use another model")
        if not isinstance(score, (int, float)) or not math.isfinite(score):
            raise _refuse(file, "tokenizer.ggml.scores", score, f"a finite number is needed for token {token}; get the file again")
    return exported(tokens, scores, eos)


# --- Metadata ----------------------------------------------------------------------------------------------------

KINDS: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, bytes),
    "list": lambda value: isinstance(value, list),
    "whole number": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, float) and math.isfinite(value),
}


def _get(file: gguf.File, key: str, kind: str, default: Any = None) -> Any:
    """A value of a certain kind; without a default it must be there."""
    if key not in file.metadata:
        if default is None:
            raise UserError(f"{file.path}: {key}: it is missing; the file is damaged, or is no model of Llama 2")
        return default
    value = file.metadata[key]
    if not KINDS[kind](value):
        raise _refuse(file, key, value, f"a {kind} is needed; get the file again")
    return value


def _refuse(file: gguf.File, key: str, value: Any, why: str) -> UserError:
    return UserError(f"{file.path}: {key}: {_shown(value)}, {why}")


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return repr(value.decode("utf-8", "backslashreplace"))
    return f"a list of {len(value)}" if isinstance(value, list) else str(value)
