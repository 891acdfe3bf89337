"""A Llama 2 model from a folder as Hugging Face's `transformers` writes it.

    from common.model import huggingface
    model = huggingface.load("TinyLlama")              # a Checkpoint
    vocabulary = huggingface.vocabulary("TinyLlama")   # as tokenizer.bin would have it

    config.json                                  dimensions and constants
    model.safetensors, or the parts of
    model.safetensors.index.json                 tensors: F32, F16, BF16
    tokenizer.model, or tokenizer.json           SentencePiece's model, or the same as a list of merges

What differs from Llama 2 is a UserError with its name and value; RMSNorm's epsilon and RoPE's base may be any.

Within a head, rows of q_proj and k_proj are in another order here than in llama2.c: RoPE turns element i with element
i + head_size / 2, not with its neighbour.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from common import files
from common.errors import UserError
from common.libraries import numpy as np
from common.model import llama, safetensors, sentencepiece
from common.model.llama import Checkpoint, Config, problem_of, shortest
from common.model.vocabulary import BOS, EOS, Vocabulary, exported

ONE_FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
PIECES, MERGES = "tokenizer.model", "tokenizer.json"

# Our tensors by the files' names; those with {} are there for each layer.
NAMES = {
    "model.embed_tokens.weight": "token_embedding",
    "model.layers.{}.input_layernorm.weight": "rms_att",
    "model.layers.{}.self_attn.q_proj.weight": "wq",
    "model.layers.{}.self_attn.k_proj.weight": "wk",
    "model.layers.{}.self_attn.v_proj.weight": "wv",
    "model.layers.{}.self_attn.o_proj.weight": "wo",
    "model.layers.{}.post_attention_layernorm.weight": "rms_ffn",
    "model.layers.{}.mlp.gate_proj.weight": "w1",
    "model.layers.{}.mlp.down_proj.weight": "w2",
    "model.layers.{}.mlp.up_proj.weight": "w3",
    "model.norm.weight": "rms_final",
    "lm_head.weight": "wcls",
}
ANGLES = ".rotary_emb.inv_freq"  # how tensors end that older versions wrote: they follow from rope_theta

# What config.json says of a model that is Llama 2; what it does not say is that, too.
NEUTRAL: dict[str, Any] = {
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "sliding_window": None,
    "partial_rotary_factor": 1.0,
    "quantization_config": None,
    "bos_token_id": BOS,
}
ROPE_KINDS = (None, "default")
DEFAULT_EPSILON = 1e-6  # of transformers' LlamaConfig


def load(folder: str | os.PathLike[str]) -> Checkpoint:
    """The model, as float32."""
    config, parts = read_config(folder), _parts(Path(folder))
    tensors = {name: np.empty(shape, np.float32) for name, shape in config.shapes().items()}
    found = {name: part for part in parts for name in part.tensors}
    places = list(llama.places(NAMES, config))
    known = {place for place, _, _ in places}
    for name, part in found.items():
        if name not in known and not name.endswith(ANGLES) and not (config.tied and name == "lm_head.weight"):
            raise UserError(f"{part.path}: {name}: a tensor that Llama 2 has not; use another model")
    for place, name, layer in places:
        target = tensors[name] if layer is None else tensors[name][layer]
        if place not in found:
            raise UserError(f"{folder}: {place}: it is in none of the *.safetensors; the model is incomplete, get it again")
        part = found[place]
        if part.tensors[place].shape != target.shape:
            raise UserError(f"{part.path}: {place}: shape {part.tensors[place].shape}, {target.shape} is needed, as config.json says; get "
                            "the model again")
        values = part.values(place)
        target[:] = neighbours(values, config.head_size) if name in ("wq", "wk") else values
    return Checkpoint(config, tensors)


def neighbours(values: np.ndarray, head_size: int) -> np.ndarray:
    """Rows of q or k, (heads * head_size, dim), such that the two of a pair for RoPE are neighbours."""
    return values.reshape(-1, 2, head_size // 2, values.shape[1]).swapaxes(1, 2).reshape(values.shape)


def read_config(folder: str | os.PathLike[str]) -> Config:
    """The dimensions and constants of config.json."""
    path = Path(folder) / "config.json"
    data = _json(path, "configuration")
    for key, neutral in NEUTRAL.items():
        if data.get(key, neutral) != neutral:
            raise UserError(f"{path}: {key}: {_shown(data[key])}, {_shown(neutral)} is needed; this engine runs no other models")
    rope = data.get("rope_parameters") or {}
    scaling = data.get("rope_scaling") or rope
    if not isinstance(rope, dict) or not isinstance(scaling, dict) or scaling.get("rope_type", scaling.get("type")) not in ROPE_KINDS:
        raise UserError(f"{path}: rope_scaling: {_shown(scaling)}, RoPE that is not scaled is needed; use another model")

    def number(key: str, kind: type | tuple[type, ...] = int, default: Any = None) -> Any:
        value = rope.get(key, data.get(key)) if kind != int else data.get(key)
        value = default if value is None else value
        if value is None:
            raise UserError(f"{path}: {key}: it is missing; the folder is no model of Llama 2, or incomplete")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise UserError(f"{path}: {key}: {_shown(value)}, a number is needed; get the file again")
        return value

    n_heads = number("num_attention_heads")
    config = Config(
        dim=number("hidden_size"), hidden_dim=number("intermediate_size"), n_layers=number("num_hidden_layers"), n_heads=n_heads,
        n_kv_heads=number("num_key_value_heads", default=n_heads), vocab_size=number("vocab_size"),
        seq_len=number("max_position_embeddings"), tied=data.get("tie_word_embeddings", False) is True,
        rms_epsilon=shortest(number("rms_norm_eps", (int, float), DEFAULT_EPSILON)),
        rope_theta=shortest(number("rope_theta", (int, float), Config.rope_theta)))
    problem = problem_of(config)
    if problem:
        raise UserError(f"{path}: {problem}; use another model, or get the file again")
    if number("head_dim", default=config.head_size) != config.head_size:
        raise UserError(f"{path}: head_dim: {data['head_dim']}, {config.head_size} is needed: hidden_size {config.dim} / "
                        f"num_attention_heads {n_heads}; use another model")
    return config


def vocabulary(folder: str | os.PathLike[str]) -> Vocabulary:
    """The tokenizer: pieces with spaces, as llama2.c's export writes them."""
    folder = Path(folder)
    vocab_size = read_config(folder).vocab_size
    path = folder / (PIECES if (folder / PIECES).is_file() else MERGES)
    found = sentencepiece.load(path) if path.name == PIECES else _from_merges(path)
    if len(found.pieces) != vocab_size:
        raise UserError(f"{path}: {len(found.pieces)} tokens, config.json has vocab_size {vocab_size}; get the model again")
    return found


def _parts(folder: Path) -> list[safetensors.File]:
    """The files that have the tensors."""
    if not (folder / INDEX).is_file():
        if not (folder / ONE_FILE).is_file():
            raise UserError(f"{folder}: no {ONE_FILE} and no {INDEX}; save the model as safetensors")
        return [safetensors.read(folder / ONE_FILE)]
    places = _json(folder / INDEX, "index").get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) and name == os.path.basename(name) for name in places.values()):
        raise UserError(f"{folder / INDEX}: weight_map: names of files in the same folder are needed; get the file again")
    return [safetensors.read(folder / name) for name in sorted(set(places.values()))]


def _from_merges(path: Path) -> Vocabulary:
    """tokenizer.json: a piece's score is the rank of the first merge that makes it, and pieces are merged from the best one on."""
    data = _json(path, "tokenizer")
    model = data.get("model")
    if not isinstance(model, dict) or model.get("type") != "BPE" or not model.get("byte_fallback"):
        shown = {key: model.get(key) for key in ("type", "byte_fallback")} if isinstance(model, dict) else model
        raise UserError(f"{path}: model: {shown}, BPE with byte_fallback is needed, as SentencePiece makes it; use another model")
    ids, merges = model.get("vocab"), model.get("merges")
    added = data.get("added_tokens") or []
    try:
        ids = dict(ids) | {token["content"]: token["id"] for token in added}
        tokens = {number: name.encode() for name, number in ids.items()}
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
        results = [(one + other).encode() for one, other in pairs]
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise UserError(f"{path}: vocab, merges or added_tokens: {error}; the file is damaged, get it again") from error
    if set(tokens) != set(range(len(tokens))):
        missing = next((number for number in range(len(tokens)) if number not in tokens), None)
        raise UserError(f"{path}: vocab: token {missing} is missing of {len(tokens)}; get the file again")
    ranks: dict[bytes, int] = {}
    for rank, result in enumerate(results):
        ranks.setdefault(result, rank)
    pieces = [tokens[number] for number in range(len(tokens))]
    return exported(pieces, [-float(ranks.get(piece, len(results) + number)) for number, piece in enumerate(pieces)], ids.get("</s>", EOS))


def _json(path: Path, what: str) -> dict[str, Any]:
    with files.open_file(path, what) as file:
        try:
            data = json.loads(file.read())
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: {error}; the file is damaged, get it again") from error
    if not isinstance(data, dict):
        raise UserError(f"{path}: a JSON object is needed; get the file again")
    return data


def _shown(value: Any) -> str:
    return json.dumps(value)
