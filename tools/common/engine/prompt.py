"""A prompt that is built into an engine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from common.engine import builds
from common.engine.builds import Built
from common.engine.engines import Engine, table
from common.engine.nasm import SectorFull
from common.errors import UserError
from common.model import checkpoint, tokenizer
from common.model.models import Model

SECTOR = 512  # bytes
FOLDER = "prompt"  # where such engines are built, in the folder of the others
MESSAGES = ((), ("MEMORY_ERROR",), ("MEMORY_ERROR", "READ_ERROR"))  # what makes room, step by step


def build(engine: Engine, model: Model, folder: Path | None, prompt: str, encoding: str | None = None) -> Built:
    """Builds an engine that has the prompt's tokens among its bytes. In a sector the messages of MEMORY_ERROR, then also of
    READ_ERROR make room for them.

    Only engines whose source knows PROMPT take one."""
    if not engine.prompts:
        able = [other.name for other in table() if other.prompts]
        raise UserError(f"{engine.name}: prompt: {prompt!r}: this engine takes none; {' and '.join(able)} can")
    config = checkpoint.read_config(model.checkpoint)
    vocabulary = tokenizer.load(model.tokenizer, config.vocab_size)
    text = os.fsencode(prompt)  # the bytes that were typed
    most = min(config.seq_len, SECTOR)  # tokens
    longest = max(map(len, vocabulary.pieces))
    if len(text) > most * longest:  # to find its tokens would take minutes
        raise UserError(f"{engine.name}: prompt: {len(text):,} bytes, which {most} tokens of at most {longest} bytes cannot "
                        "hold; use a shorter prompt")
    tokens = tokenizer.encode(vocabulary, text)
    if not tokens:
        raise UserError(f"{engine.name}: prompt: it is empty; leave it out instead")
    if len(tokens) >= config.seq_len:  # as the reference does
        raise UserError(f"{engine.name}: prompt: {len(tokens) + 1} tokens (BOS included), at most the model's seq_len of "
                        f"{config.seq_len} are supported; use a shorter prompt")
    optional = engine.optional_features
    for messages in MESSAGES:
        fewer = engine.without(message for message in messages if message in optional)
        prompted = replace(fewer, features=(*fewer.features, f"PROMPT={','.join(map(str, tokens))}"))
        try:
            return builds.build(prompted, model, folder, encoding)
        except SectorFull:
            if messages == MESSAGES[-1]:
                raise
    raise AssertionError
