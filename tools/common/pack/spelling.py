"""Proves that an engine which makes tokens of a text by the order of their numbers makes those of the reference.

    from common.pack import spelling
    known = spelling.proven(vocabulary)             # UserError: which token, and why
    known.first_character, known.character_bytes

The reference merges the pair with the best score (reference/tokenizer.hpp). An engine that has no scores in its vocabulary's
records goes through the records instead, and merges where it finds one first:

1. Every byte is a token. From `first_character` on, a record that is the text of neighbours makes one of them: first of as many as
   the longest character has bytes, then of fewer, down to two. That is each character that the vocabulary has.
2. Again and again the first record from token 2 on that is the text of two neighbours makes one of them, the leftmost of equals.
3. Each of them is the last token with its text: a character rather than its byte. Where there is none, which the reference would
   refuse, the text ends.

These are the reference's tokens for every text that it takes (UTF-8 that the vocabulary can spell), if

- tokens that can be made of two others have better scores the lower their number is, and different texts,
- what two of them make is the same in pieces, as the reference has them (`<0x41>`), and in text, as a record has it (`A`),
- behind the first character of several bytes there are only characters, and pieces of more characters than step 1 joins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping

from common.errors import UserError
from common.model.vocabulary import BOS, FIRST_BYTE, Vocabulary, printed

FIRST = 2  # the first token that is looked up: BOS has no text, and ends the records


@dataclass(frozen=True)
class Spelling:
    """What an engine needs to know of a vocabulary."""

    first_character: int  # the first one of several bytes; vocab_size where there is none
    character_bytes: int  # of the longest character


def proven(vocabulary: Vocabulary) -> Spelling:
    """Refuses a vocabulary that such an engine cannot spell with."""
    pieces, texts = vocabulary.pieces, [printed(piece) for piece in vocabulary.pieces]
    if b"" in texts[FIRST:]:
        raise UserError(f"token {texts.index(b'', FIRST)}: it is empty, and would be the end of the records; an engine that makes "
                        "tokens of a text needs texts that are not")
    _check_merges(vocabulary, texts)
    _check_bytes(pieces, texts)
    return _characters(texts)


def _check_merges(vocabulary: Vocabulary, texts: list[bytes]) -> None:
    """What can be made of two others is the same for both, and in the order of the scores."""
    pieces, scores = vocabulary.pieces, vocabulary.scores
    by_piece, by_text = _first(pieces), _first(texts)
    before = None
    for token, piece in enumerate(pieces):
        if token == BOS:
            continue
        ways, ours = _splits(piece, by_piece), _splits(texts[token], by_text)
        if by_piece.get(piece) != token:
            ways = []  # the reference takes the first one of equal pieces
        if not ways and not ours:
            continue
        said = f"token {token}, {piece!r}: "
        if token < FIRST or by_text[texts[token]] != token:
            raise UserError(f"{said}another token has its text, or it is token 0; an engine that makes tokens of a text needs "
                            "different texts for what can be made of others")
        if ways != ours or piece != texts[token]:
            raise UserError(f"{said}it can be made of others as a text, but not as a piece, or the other way round; an engine that "
                            "makes tokens of a text needs a vocabulary in which every character of a piece is a piece")
        if before is not None and not scores[token] < scores[before]:
            raise UserError(f"{said}its score is {scores[token]:g}, and that of token {before} is {scores[before]:g}: an engine "
                            "that makes tokens of a text needs scores that fall from token to token")
        before = token


def _splits(text: bytes, known: Mapping[bytes, int]) -> list[int]:
    """Where a text can be cut such that both parts are known. Characters are made first, so they are not cut."""
    return [place for place in range(1, len(text)) if text[:place] in known and text[place:] in known
            and not (_is_utf8(text) and text[place] & 0xC0 == 0x80)]


def _first(texts: list[bytes]) -> dict[bytes, int]:
    """The first token with each text; BOS is none."""
    return {text: token for token, text in reversed(list(enumerate(texts))) if token != BOS and text}


def _check_bytes(pieces: list[bytes], texts: list[bytes]) -> None:
    """For each byte, and each character of several, the last token with this text is the reference's."""
    last, first = {text: token for token, text in enumerate(texts) if token >= FIRST}, _first(pieces)
    for text, token in first.items():
        if _is_character(text) and last.get(text, 0) != token:
            raise UserError(f"token {token}, {text!r}: token {last[text]} has the same text; an engine that makes tokens of a text "
                            "needs one token for each character, behind those of the bytes")
    for byte in range(256):
        token = FIRST_BYTE + byte
        known = pieces[token:token + 1] and texts[token] == bytes([byte])
        if known and (byte >= 0x80 or bytes([byte]) not in first) and last[bytes([byte])] != token:
            raise UserError(f"token {last[bytes([byte])]}, {pieces[last[bytes([byte])]]!r}: it has the text of the byte 0x{byte:02X}; "
                            "an engine that makes tokens of a text needs one token for each byte")


def _characters(texts: list[bytes]) -> Spelling:
    """Where the characters of several bytes are; nothing from there on may be met in step 1 that is none."""
    several = [token for token, text in enumerate(texts) if len(text) > 1 and _is_character(text) and token != BOS]
    if not several:
        return Spelling(len(texts), 1)
    longest = max(len(texts[token]) for token in several)
    for token in range(several[0], len(texts)):
        # Step 1 joins at most as many bytes, or characters, as the longest character has bytes: what has more is not met there.
        if 1 < _characters_at_least(texts[token]) <= longest:
            raise UserError(f"token {token}, {texts[token]!r}: it is behind token {several[0]}, a character of several bytes; an "
                            "engine that makes tokens of a text needs a vocabulary that has only characters and long pieces from "
                            "there on")
    return Spelling(several[0], longest)


def _characters_at_least(text: bytes) -> int:
    """Of how many characters it is; where it is no UTF-8, of two bytes and more."""
    return len(text.decode("utf-8")) if _is_utf8(text) else min(len(text), 2)


def _is_character(text: bytes) -> bool:
    """Whether it is one character of UTF-8."""
    return _is_utf8(text) and len(text.decode("utf-8")) == 1


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
