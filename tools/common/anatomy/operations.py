"""What bytes can be for: the operations that a mark such as `@rope` in a source means.

    from common.anatomy.operations import OPERATIONS
    OPERATIONS["rope"].title, OPERATIONS["rope"].reference      # "rope", ("reference/ops.cpp:rope",)

One more operation is one line here. Tables, bars and the page show it then; its look comes by itself, until
picture/style.py gives it one of its own.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Operation:
    title: str
    reference: tuple[str, ...] = ()  # "FILE:FUNCTION": where the readable engine does the same


# In the order in which a token meets them, frame first.
OPERATIONS = {
    "header": Operation("headers and boot"),
    "loading": Operation("model loading", ("reference/files/checkpoint.cpp:Checkpoint::Checkpoint",)),
    "input": Operation("input"),
    "tokenizer": Operation("tokenizer", ("reference/tokenizer.cpp:Tokenizer::encode", "reference/tokenizer.cpp:Tokenizer::merge")),
    "embedding": Operation("embedding", ("reference/transformer.cpp:Transformer::forward",)),
    "rmsnorm": Operation("rmsnorm", ("reference/ops.cpp:rmsnorm",)),
    "matmul": Operation("matmul", ("reference/ops.cpp:matmul", "reference/ops.cpp:add")),
    "rope": Operation("rope", ("reference/ops.cpp:rope", "reference/ops.cpp:rope_factors")),
    "attention": Operation("attention", ("reference/ops.cpp:attention",)),
    "softmax": Operation("softmax", ("reference/ops.cpp:softmax",)),
    "swiglu": Operation("swiglu", ("reference/ops.cpp:swiglu",)),
    "argmax": Operation("argmax", ("reference/ops.cpp:argmax",)),
    "sampling": Operation("sampling", ("reference/race.cpp:sample_race", "reference/race.cpp:RaceRandom::next")),
    "output": Operation("output", ("reference/tokenizer.cpp:Tokenizer::decode",)),
    "loop": Operation("loop and glue", ("reference/generate.cpp:generate",)),
}
