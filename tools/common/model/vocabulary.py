"""A model's vocabulary in memory: its pieces, what they print, and how a text is spelled with them.

    from common.model import vocabulary
    vocabulary.printed(b"<0x0A>")                 # b'\\n'
    vocabulary.encode(known, b"Once upon")        # numbers of tokens
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Sequence

from common.errors import UserError

BOS, EOS = 1, 2  # BOS begins every text, and is none itself
MAX_TOKEN_LENGTH = 2**16  # far above any vocabulary's
FIRST_BYTE = 3  # the token of byte 0, after <unk>, BOS and EOS
PIECE_OF_BOS, PIECE_OF_EOS = b"\n<s>\n", b"\n</s>\n"  # as llama2.c's export writes them
SPACE = "\u2581".encode()  # what SentencePiece writes for a space
BYTE_PIECE = re.compile(rb"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True)
class Vocabulary:
    """The pieces as the file has them (`<0x0A>` is six characters), their scores, the longest piece as declared."""

    pieces: list[bytes]
    scores: list[float]
    max_token_length: int


def exported(tokens: Sequence[bytes], scores: Sequence[float], eos: int = EOS) -> Vocabulary:
    """Tokens of SentencePiece as llama2.c's export writes them: with spaces, and BOS and EOS between line breaks."""
    special = {eos: PIECE_OF_EOS, BOS: PIECE_OF_BOS}
    pieces = [special.get(token, piece.replace(SPACE, b" ")) for token, piece in enumerate(tokens)]
    return Vocabulary(pieces, list(scores), max([1, *map(len, pieces)]))


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
