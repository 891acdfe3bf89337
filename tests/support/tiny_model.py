"""A tiny checkpoint and its tokenizer, as bytes, for tests that run the program `reference`."""

from __future__ import annotations

import random
import struct

DIM, HIDDEN_DIM, N_LAYERS, N_HEADS, N_KV_HEADS, VOCAB_SIZE, SEQ_LEN = 8, 12, 2, 2, 1, 272, 16
HEADER = (DIM, HIDDEN_DIM, N_LAYERS, N_HEADS, N_KV_HEADS, VOCAB_SIZE, SEQ_LEN)
BOS = 1


def tensor_sizes(header: tuple[int, ...]) -> dict[str, int]:
    """Float32 values of each tensor of a v0 file, in the file's order. A negative vocab_size means untied."""
    dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len = header
    head_size = dim // n_heads
    kv_dim = n_kv_heads * head_size
    return {
        "token_embedding": abs(vocab_size) * dim,
        "rms_att": n_layers * dim,
        "wq": n_layers * dim * dim,
        "wk": n_layers * kv_dim * dim,
        "wv": n_layers * kv_dim * dim,
        "wo": n_layers * dim * dim,
        "rms_ffn": n_layers * dim,
        "w1": n_layers * hidden_dim * dim,
        "w2": n_layers * dim * hidden_dim,
        "w3": n_layers * hidden_dim * dim,
        "rms_final": dim,
        "freq_cis": seq_len * head_size,
        "wcls": abs(vocab_size) * dim if vocab_size < 0 else 0,
    }


MATRICES = ("wq", "wk", "wv", "wo", "w1", "w2", "w3", "wcls")
MATRIX_BYTES = 4 * sum(tensor_sizes(HEADER[:5] + (-VOCAB_SIZE, SEQ_LEN))[name] for name in MATRICES)  # of random_weights


def checkpoint_size(header: tuple[int, ...]) -> int:
    """Bytes of a v0 file."""
    return 28 + 4 * sum(tensor_sizes(header).values())


def random_weights(seed: int = 1) -> dict[str, list[float]]:
    """Weights of an untied model of shape HEADER that never generates BOS: its logit is 0, and never the largest."""
    rng = random.Random(seed)
    header = HEADER[:5] + (-VOCAB_SIZE, SEQ_LEN)
    weights = {name: [rng.uniform(-1, 1) for _ in range(size)] for name, size in tensor_sizes(header).items()}
    weights["wcls"][BOS * DIM:(BOS + 1) * DIM] = [0.0] * DIM
    return weights


def floats(values: list[float]) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def v0(weights: dict[str, list[float]]) -> bytes:
    """An untied version 0 checkpoint."""
    header = struct.pack("<7i", *HEADER[:5], -VOCAB_SIZE, SEQ_LEN)
    return header + b"".join(floats(values) for values in weights.values())


def v1_header(version: int = 1, header: tuple[int, ...] = HEADER, tied: int = 0, group_size: int = 0) -> bytes:
    return struct.pack("<Ii7iBi", 0x616B3432, version, *header, tied, group_size).ljust(256, b"\0")


V1_ORDER = ("rms_att", "rms_ffn", "rms_final", "token_embedding", "wq", "wk", "wv", "wo", "w1", "w2", "w3", "wcls")


def v1(weights: dict[str, list[float]]) -> bytes:
    """An untied version 1 checkpoint."""
    return v1_header() + b"".join(floats(weights[name]) for name in V1_ORDER)


def pieces() -> list[bytes]:
    """The text of each token: the specials, the 256 bytes, and a few letters."""
    letters = [b" ", b"a", b"b", b"c", b"ab", b" ab", b" c", b"abc", b"d", b"e", b"de", b" de", b"f"]
    return [b"<unk>", b"\n<s>\n", b"\n</s>\n"] + [b"<0x%02X>" % byte for byte in range(256)] + letters


def tokenizer(records: list[bytes] | None = None, max_token_length: int = 6) -> bytes:
    """A tokenizer file. Later pieces have better scores."""
    data = struct.pack("<i", max_token_length)
    for index, piece in enumerate(pieces() if records is None else records):
        data += struct.pack("<fi", index - 1000.0, len(piece)) + piece
    return data


def gguf(weights: dict[str, list[float]]) -> bytes:
    """The same model and tokenizer as v0 and tokenizer, in one GGUF file of version 3."""
    def text(value: bytes) -> bytes:
        return struct.pack("<Q", len(value)) + value

    def array(element_type: int, elements: list[bytes]) -> bytes:
        return struct.pack("<IIQ", 9, element_type, len(elements)) + b"".join(elements)

    number = "<II"  # a uint32
    values = {"general.architecture": struct.pack("<I", 8) + text(b"llama")}
    for name, value in (("embedding_length", DIM), ("feed_forward_length", HIDDEN_DIM), ("block_count", N_LAYERS),
                        ("attention.head_count", N_HEADS), ("attention.head_count_kv", N_KV_HEADS),
                        ("context_length", SEQ_LEN), ("rope.dimension_count", DIM // N_HEADS)):
        values[f"llama.{name}"] = struct.pack(number, 4, value)
    values["llama.attention.layer_norm_rms_epsilon"] = struct.pack("<If", 6, 1e-5)
    texts = [piece.strip() if piece.startswith(b"\n") else piece.replace(b" ", "\u2581".encode()) for piece in pieces()]
    values["tokenizer.ggml.model"] = struct.pack("<I", 8) + text(b"llama")
    values["tokenizer.ggml.tokens"] = array(8, [text(piece) for piece in texts])
    values["tokenizer.ggml.scores"] = array(6, [struct.pack("<f", index - 1000.0) for index in range(VOCAB_SIZE)])
    values["tokenizer.ggml.bos_token_id"] = struct.pack(number, 4, BOS)

    kv_dim = N_KV_HEADS * DIM // N_HEADS
    blocks = {"attn_norm": ("rms_att", 1, DIM), "attn_q": ("wq", DIM, DIM), "attn_k": ("wk", kv_dim, DIM),
              "attn_v": ("wv", kv_dim, DIM), "attn_output": ("wo", DIM, DIM), "ffn_norm": ("rms_ffn", 1, DIM),
              "ffn_gate": ("w1", HIDDEN_DIM, DIM), "ffn_down": ("w2", DIM, HIDDEN_DIM), "ffn_up": ("w3", HIDDEN_DIM, DIM)}
    parts = {"token_embd": ("token_embedding", VOCAB_SIZE, DIM, 0), "output_norm": ("rms_final", 1, DIM, 0),
             "output": ("wcls", VOCAB_SIZE, DIM, 0)}
    for layer in range(N_LAYERS):
        parts |= {f"blk.{layer}.{name}": (*part, layer) for name, part in blocks.items()}

    table, data = b"", b""
    for name, (tensor, rows, columns, layer) in parts.items():
        data += bytes(-len(data) % 32)
        table += text(f"{name}.weight".encode()) + struct.pack("<IQQIQ", 2, columns, rows, 0, len(data))
        data += floats(weights[tensor][layer * rows * columns:(layer + 1) * rows * columns])
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(parts), len(values))
    head += b"".join(text(key.encode()) + value for key, value in values.items()) + table
    return head + bytes(-len(head) % 32) + data


assert len(pieces()) == VOCAB_SIZE
