"""Tokenizers: files with a vocabulary, in any format that we read; and llama2.c's tokenizer.bin, which we write as well.

    from common.model import tokenizer
    vocabulary = tokenizer.load("tok512.bin", vocab_size=512)     # or a GGUF file
    vocabulary.pieces[1]                          # b'\\n<s>\\n'
    tokenizer.write("copy.bin", vocabulary.pieces, vocabulary.scores)

Format of tokenizer.bin (little-endian): int32 max_token_length, then for each token f32 score, int32 length, the piece's bytes.
The file does not say how many tokens there are; the checkpoint does (vocab_size).
"""

from __future__ import annotations

import math
import os
import struct
from typing import Sequence

from common import files
from common.errors import UserError, atomic_write
from common.model import gguf, gguf_llama
from common.model.vocabulary import BOS, MAX_TOKEN_LENGTH, Vocabulary, encode, printed

__all__ = ["BOS", "MAX_TOKEN_LENGTH", "Vocabulary", "encode", "load", "printed", "write"]


def load(path: str | os.PathLike[str], vocab_size: int) -> Vocabulary:
    """Reads and checks a tokenizer of exactly `vocab_size` tokens."""
    with files.open_file(path, "tokenizer") as file:
        if file.read(len(gguf.MAGIC)) == gguf.MAGIC:
            return _from_gguf(path, vocab_size)
        file.seek(0)
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise UserError(f"{path}: the file is empty, not a llama2.c tokenizer")
        if size < 4:
            raise UserError(f"{path}: max_token_length: the file ends early, after {size} bytes")
        (max_token_length,) = struct.unpack("<i", file.read(4))
        if not 1 <= max_token_length <= MAX_TOKEN_LENGTH:
            raise UserError(f"{path}: max_token_length: {max_token_length}, "
                            f"a value from 1 to {MAX_TOKEN_LENGTH} is needed")
        data = file.read(vocab_size * (8 + max_token_length))  # no more than there can be, however large the file is

    pieces: list[bytes] = []
    scores: list[float] = []
    offset = 0
    for token in range(vocab_size):
        if offset == len(data):
            raise UserError(f"{path}: vocab_size: the file has {token} tokens, the checkpoint {vocab_size}; "
                            "take the tokenizer that belongs to the checkpoint")
        if offset + 8 > len(data):
            raise UserError(f"{path}: token {token}: the file ends early, after {size} bytes")
        score, length = struct.unpack_from("<fi", data, offset)
        offset += 8
        if not math.isfinite(score):
            raise UserError(f"{path}: token {token}: score {score}, a finite number is needed")
        if not 0 <= length <= max_token_length:
            raise UserError(f"{path}: token {token}: length {length}, "
                            f"a value from 0 to max_token_length {max_token_length} is needed")
        if offset + length > len(data):
            raise UserError(f"{path}: token {token}: the file ends early, after {size} bytes")
        pieces.append(data[offset:offset + length])
        scores.append(score)
        offset += length
    if 4 + offset != size:
        raise UserError(f"{path}: vocab_size: {size - 4 - offset} bytes are left after the checkpoint's {vocab_size} "
                        "tokens; take the tokenizer that belongs to the checkpoint")
    return Vocabulary(pieces, scores, max_token_length)


def _from_gguf(path: str | os.PathLike[str], vocab_size: int) -> Vocabulary:
    vocabulary = gguf_llama.vocabulary(path)
    if len(vocabulary.pieces) != vocab_size:
        raise UserError(f"{path}: tokenizer.ggml.tokens: {len(vocabulary.pieces)} tokens, the checkpoint has {vocab_size}; take the "
                        "tokenizer that belongs to the checkpoint")
    return vocabulary


def write(path: str | os.PathLike[str], pieces: Sequence[bytes], scores: Sequence[float]) -> None:
    """Writes a tokenizer.bin; max_token_length is that of the longest piece."""
    if len(pieces) != len(scores):
        raise UserError(f"{path}: scores: {len(scores)}, must be as many as the pieces ({len(pieces)})")
    with atomic_write(path) as file:
        file.write(struct.pack("<i", max([1, *map(len, pieces)])))
        for piece, score in zip(pieces, scores):
            file.write(struct.pack("<fi", score, len(piece)) + piece)
