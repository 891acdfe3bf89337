"""llama2.c's tokenizer.bin: read it, write it, and say what a piece prints.

    from common.model import tokenizer
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

BOS = 1  # begins every text, and is none itself
FIRST_BYTE = 3  # the token of byte 0, after <unk>, BOS and EOS
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
    with files.open_file(path, "tokenizer") as file:
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


def printed(piece: bytes) -> bytes:
    """The bytes that a golfed engine prints for a piece: `<0xNN>` is that byte, anything else is itself."""
    byte = BYTE_PIECE.fullmatch(piece)
    return bytes([int(byte[1], 16)]) if byte else piece


def encode(vocabulary: Vocabulary, text: bytes) -> list[int]:
    """The tokens of a text, without BOS, as the reference's encode makes them: a space before the text, a token for each
    character (or one for each of its bytes), and then the best-scored pair merged until there is none."""
    ids = {piece: token for token, piece in reversed(list(enumerate(vocabulary.pieces))) if token != BOS}
    try:
        characters = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"--prompt: byte {error.start}: 0x{text[error.start]:02X} does not start a valid UTF-8 character, "
                        "UTF-8 text is needed") from error

    def byte_token(byte: int) -> int:
        token = FIRST_BYTE + byte
        if vocabulary.pieces[token:token + 1] and printed(vocabulary.pieces[token]) == bytes([byte]):
            return token
        raise UserError(f"--prompt: {characters!r}: 0x{byte:02X} has no token in the vocabulary, text that it can spell is "
                        "needed")

    tokens: list[int] = []
    for character in " " + characters if characters else "":
        data = character.encode("utf-8")
        tokens += [ids[data]] if data in ids else map(byte_token, data)
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
