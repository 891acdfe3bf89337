"""llama2.c's tokenizer.bin: read it, write it, and say what a piece prints.

    from common import tokenizer
    vocabulary = tokenizer.load("tok512.bin", vocab_size=512)
    vocabulary.pieces[1]                          # b'\\n<s>\\n'
    tokenizer.printed(b"<0x0A>")                  # b'\\n'

Format (little-endian): int32 max_token_length, then for each token f32 score, int32 length, the piece's bytes.
The file does not say how many tokens there are; the checkpoint does (vocab_size).
"""

from __future__ import annotations

import math
import os
import re
import struct
from dataclasses import dataclass
from typing import Sequence

from common import files
from common.errors import UserError, atomic_write

MAX_TOKEN_LENGTH = 2**16  # far above any vocabulary's
BYTE_PIECE = re.compile(rb"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True)
class Vocabulary:
    """The pieces as the file has them (`<0x0A>` is six characters), their scores, the longest piece as declared."""

    pieces: list[bytes]
    scores: list[float]
    max_token_length: int


def load(path: str | os.PathLike[str], vocab_size: int) -> Vocabulary:
    """Reads and checks a tokenizer of exactly `vocab_size` tokens."""
    data = files.read(path, "tokenizer")
    if not data:
        raise UserError(f"{path}: the file is empty, not a llama2.c tokenizer")
    if len(data) < 4:
        raise UserError(f"{path}: max_token_length: the file ends early, after {len(data)} bytes")
    (max_token_length,) = struct.unpack_from("<i", data)
    if not 1 <= max_token_length <= MAX_TOKEN_LENGTH:
        raise UserError(f"{path}: max_token_length: {max_token_length}, "
                        f"a value from 1 to {MAX_TOKEN_LENGTH} is needed")

    pieces: list[bytes] = []
    scores: list[float] = []
    offset = 4
    for token in range(vocab_size):
        if offset == len(data):
            raise UserError(f"{path}: vocab_size: the file has {token} tokens, the checkpoint {vocab_size}; "
                            "take the tokenizer that belongs to the checkpoint")
        if offset + 8 > len(data):
            raise UserError(f"{path}: token {token}: the file ends early, after {len(data)} bytes")
        score, length = struct.unpack_from("<fi", data, offset)
        offset += 8
        if not math.isfinite(score):
            raise UserError(f"{path}: token {token}: score {score}, a finite number is needed")
        if not 0 <= length <= max_token_length:
            raise UserError(f"{path}: token {token}: length {length}, "
                            f"a value from 0 to max_token_length {max_token_length} is needed")
        if offset + length > len(data):
            raise UserError(f"{path}: token {token}: the file ends early, after {len(data)} bytes")
        pieces.append(data[offset:offset + length])
        scores.append(score)
        offset += length
    if offset != len(data):
        raise UserError(f"{path}: vocab_size: {len(data) - offset} bytes are left after the checkpoint's {vocab_size} "
                        "tokens; take the tokenizer that belongs to the checkpoint")
    return Vocabulary(pieces, scores, max_token_length)


def printed(piece: bytes) -> bytes:
    """The bytes that a golfed engine prints for a piece: `<0xNN>` is that byte, anything else is itself."""
    byte = BYTE_PIECE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece


def encode(vocabulary: Vocabulary, text: str) -> list[int]:
    """The tokens of a text, without BOS, as llama2.c's encode makes them: a space before the text, a token for each
    character (or one for each of its bytes), and then the best-scored pair merged until there is none."""
    ids = {piece: token for token, piece in reversed(list(enumerate(vocabulary.pieces)))}
    tokens: list[int] = []
    for character in " " + text if text else "":
        data = character.encode()
        tokens += [ids[data]] if data in ids else [byte + 3 for byte in data]  # after <unk>, <s> and </s>
    if any(token >= len(vocabulary.pieces) for token in tokens):
        raise UserError(f"prompt: {text!r}: the vocabulary has no tokens for its bytes")
    while True:
        pairs = [(vocabulary.pieces[a] + vocabulary.pieces[b], i) for i, (a, b) in enumerate(zip(tokens, tokens[1:]))]
        merges = [(-vocabulary.scores[ids[piece]], i, ids[piece]) for piece, i in pairs if piece in ids]
        if not merges:
            return tokens
        _, i, token = min(merges)
        tokens[i:i + 2] = [token]


def write(path: str | os.PathLike[str], pieces: Sequence[bytes], scores: Sequence[float]) -> None:
    """Writes a tokenizer.bin; max_token_length is that of the longest piece."""
    if len(pieces) != len(scores):
        raise UserError(f"{path}: scores: {len(scores)}, must be as many as the pieces ({len(pieces)})")
    with atomic_write(path) as file:
        file.write(struct.pack("<i", max([1, *map(len, pieces)])))
        for piece, score in zip(pieces, scores):
            file.write(struct.pack("<fi", score, len(piece)) + piece)
