"""SentencePiece's tokenizer.model, as Llama 2 has it: its pieces and their scores.

    from common.model import sentencepiece
    sentencepiece.load("tokenizer.model")        # a Vocabulary

Format: a message of protocol buffers (https://protobuf.dev/programming-guides/encoding), `ModelProto` of
https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto. Of it we read the pieces (field 1: text 1,
score 2), what kind of model it is (field 2: 3) with its numbers of BOS and EOS (41, 42), and whether a text begins with a space
(field 3: 3).
"""

from __future__ import annotations

import math
import os
import struct
from typing import Iterator

from common import files
from common.errors import UserError
from common.model.vocabulary import BOS, EOS, Vocabulary, exported

PIECES, TRAINER, NORMALIZER = 1, 2, 3
TEXT, SCORE = 1, 2
MODEL_TYPE, BOS_ID, EOS_ID = 3, 41, 42
ADD_DUMMY_PREFIX = 3
BPE = 2  # a MODEL_TYPE
NAMES = {1: "unigram", 3: "word", 4: "char"}  # the others
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # how a field is written


def load(path: str | os.PathLike[str]) -> Vocabulary:
    """Reads and checks a tokenizer.model."""
    with files.open_file(path, "tokenizer") as file:
        data = file.read()
    pieces: list[bytes] = []
    scores: list[float] = []
    known = {MODEL_TYPE: 1, BOS_ID: BOS, EOS_ID: EOS}
    dummy_prefix = 1
    try:
        for field, value in _fields(data):
            if field == PIECES:
                piece = dict(_fields(_bytes(value)))
                pieces.append(_bytes(piece.get(TEXT, b"")))
                scores.append(struct.unpack("<f", _bytes(piece.get(SCORE, bytes(4))))[0])
            elif field == TRAINER:
                known |= {name: number for name, number in _fields(_bytes(value)) if name in known}
            elif field == NORMALIZER:
                dummy_prefix = dict(_fields(_bytes(value))).get(ADD_DUMMY_PREFIX, 1)
    except (ValueError, struct.error) as error:
        raise UserError(f"{path}: {error}: no SentencePiece model, or a damaged one; get it again") from error
    if known[MODEL_TYPE] != BPE:
        kind = known[MODEL_TYPE]
        raise UserError(f"{path}: model_type: {NAMES.get(kind, kind)}, BPE is needed; use another model")
    if known[BOS_ID] != BOS:
        raise UserError(f"{path}: bos_id: {known[BOS_ID]}, {BOS} is needed, for it ends a story here; use another model")
    if dummy_prefix != 1:
        raise UserError(f"{path}: add_dummy_prefix: {dummy_prefix}, 1 is needed: a text begins with a space here; use another model")
    bad = next((token for token, score in enumerate(scores) if not math.isfinite(score)), None)
    if bad is not None:
        raise UserError(f"{path}: token {bad}: score {scores[bad]}, a finite number is needed")
    return exported(pieces, scores, known[EOS_ID])


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message: number and value."""
    offset = 0

    def varint() -> int:
        nonlocal offset
        number = shift = 0
        while True:
            if offset == len(data) or shift > 63:
                raise ValueError(f"a number at byte {offset} does not end")
            byte = data[offset]
            number |= (byte & 0x7F) << shift
            offset, shift = offset + 1, shift + 7
            if byte < 0x80:
                return number

    while offset < len(data):
        field, kind = divmod(varint(), 8)
        if kind == VARINT:
            yield field, varint()
            continue
        if kind not in (FIXED64, BYTES, FIXED32):
            raise ValueError(f"a field of type {kind} before byte {offset}")
        size = varint() if kind == BYTES else 8 if kind == FIXED64 else 4
        if size > len(data) - offset:
            raise ValueError(f"a field of {size} bytes at byte {offset}, of {len(data)}")
        yield field, data[offset:offset + size]
        offset += size


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError(f"the number {value}, where bytes are needed")
    return value
