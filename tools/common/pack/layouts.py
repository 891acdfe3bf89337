"""Packed layouts: which weight of the checkpoint stands where in the byte stream that a golfed engine reads.

    from common.pack.layouts import LAYOUTS
    list(LAYOUTS["stream"].blocks(config))          # Matrix and Records, in the order in which an engine reads them
    LAYOUTS["stream"].workspace(config)             # bytes of memory that it needs besides

A layout is declared once, here: one record in LAYOUTS. Packing, decoding, the manifest and the tests all follow it. Only
what the rules call algebra can be said: rows and columns in another order, transposed, and multiplied by a norm's gains
and by the FACTORS.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Callable, Iterator, Mapping, Sequence

from common.model.checkpoint import Config
from common.pack.encodings import ENCODINGS, FOR_DOUBLES, FOR_STREAM, LOWER_HALF_FIRST, Encoding

# exp(x) = (1 + x / 2^n)^(2^n): the engines square n times. The division is folded into the matrix that makes x.
EXP_SQUARINGS = 24

# All constants that may be multiplied into a matrix, besides a norm's gains (the rules, "folding is algebra").
FACTORS: dict[str, Callable[[Config], float]] = {
    "sqrt(dim)": lambda config: math.sqrt(config.dim),
    "1/sqrt(head_size)": lambda config: 1 / math.sqrt(config.head_size),
    "-1": lambda config: -1.0,
    "1/2": lambda config: 0.5,
    "2^-exp_squarings": lambda config: 2.0**-EXP_SQUARINGS,
    "2^exp_squarings": lambda config: 2.0**EXP_SQUARINGS,
}


# --- The vocabulary of declarations ------------------------------------------------------------------------------

@dataclass(frozen=True)
class Matrix:
    """A matrix of the checkpoint, one packed row after the other."""

    tensor: str
    layer: int | None = None
    order: Sequence[int] | None = None  # which row (or column) comes when, maybe not all of them; None: 0, 1, 2, …
    transposed: bool = False  # the packed rows are the tensor's columns
    backwards: bool = False  # the elements within a packed row go from the last to the first
    gain: str | None = None  # the norm before the matrix, whose gains are folded into it
    factors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """A token's vocabulary record: one byte for the length, zeros up to the text, the text, zeros to its end. Or the length
    is its last byte.

    The length of BOS is 0: an engine stops at BOS, and never shows it.

    `wide`: UTF-16, and a zero ends it, so there is no length (see utf16.py). The text of BOS stands behind such a zero."""

    text_offset: int = 1  # where the text starts in the record
    length_last: bool = False
    wide: bool = False
    multiple: int = 1  # of which the whole record's size is one
    length_bias: int = 0  # what is added to the length in its byte, when that fits for every piece
    before_embedding: bool = False  # an encoding may want zeros behind the text then


@dataclass(frozen=True)
class Records:
    """One record per token, or row; a record holds this row of every matrix, and texts."""

    fields: tuple[Matrix | Text, ...]


Block = Matrix | Records


@dataclass(frozen=True)
class Layout:
    """All that an engine and the packer agree upon besides the encoding of the weights."""

    blocks: Callable[[Config], Iterator[Block]]
    workspace: Callable[[Config], int]  # bytes of memory that an engine needs besides the model
    before: bytes = b""  # what always stands before the packed model; bf16 then needs no padding for its first weight
    encodings: Mapping[str, Encoding] = field(default_factory=lambda: ENCODINGS)
    step_value: int = 1  # what engines take a step of int8 for
    apart: Mapping[str, Callable[[Config], int]] = field(default_factory=dict)  # by encoding: what it needs more of memory
    empty_pieces: bool = True  # False: engines know BOS by its length of 0, so no other piece may be empty

    def memory(self, config: Config, encoding: str) -> int:
        """Bytes that an engine needs besides the model."""
        return self.workspace(config) + (self.apart[encoding](config) if encoding in self.apart else 0)


# --- The layouts -------------------------------------------------------------------------------------------------

def head_order(config: Config, elements: Sequence[int]) -> list[int]:
    """Rows of wq (columns of wo) such that head h stands where head h % n_kv_heads of the keys serves it, and the
    elements within a head come in this order."""
    kv_mul, head_size = config.kv_mul, config.head_size
    return [(kv * kv_mul + group) * head_size + i
            for group in range(kv_mul) for kv in range(config.n_kv_heads) for i in elements]


def kv_order(config: Config, elements: Sequence[int]) -> list[int]:
    """Rows of wk or wv with the elements within a head in this order."""
    return [kv * config.head_size + i for kv in range(config.n_kv_heads) for i in elements]


def stream_layers(config: Config) -> Iterator[Block]:
    """The layers and the classifier in the order of use, so that one pointer walks through the model.

    A vector of the residual stream is read from its last element to its first. A head's pairs (for RoPE) go from the
    last to the first in the queries; the keys have that order backwards, as the values do, for an engine walks through
    a head of queries and keys in opposite directions. The classifier's rows go from the last token to the first."""
    upwards = range(config.head_size)
    pairs = [element for pair in range(config.head_size - 2, -1, -2) for element in (pair, pair + 1)]
    for l in range(config.n_layers):
        attention = {"gain": "rms_att", "backwards": True}
        yield Matrix("wv", l, order=kv_order(config, upwards[::-1]), factors=("sqrt(dim)",), **attention)
        yield Matrix("wk", l, order=kv_order(config, pairs[::-1]), factors=("sqrt(dim)",), **attention)
        yield Matrix("wq", l, order=head_order(config, pairs),
                     factors=("sqrt(dim)", "1/sqrt(head_size)", "2^-exp_squarings"), **attention)
        yield Matrix("wo", l, order=head_order(config, upwards), transposed=True, backwards=True)
        yield from feed_forward(config, l)
    yield classifier(config)


def stream(config: Config) -> Iterator[Block]:
    """The layout of golf/cpp/x87.cpp."""
    yield from stream_layers(config)
    yield Records((Matrix("token_embedding"), Text(text_offset=4, multiple=4)))


def stream_wide(config: Config) -> Iterator[Block]:
    """The same, for firmware that prints UTF-16."""
    yield from stream_layers(config)
    yield Records((Matrix("token_embedding"), Text(text_offset=0, multiple=4, wide=True)))


def asm_layers(config: Config) -> Iterator[Block]:
    """The layers and the classifier of the NASM engines: as in `stream_layers`, but q, v, k, and heads in natural order."""
    upwards = range(config.head_size)
    for l in range(config.n_layers):
        attention = {"gain": "rms_att", "backwards": True}
        yield Matrix("wq", l, order=head_order(config, upwards),
                     factors=("sqrt(dim)", "1/sqrt(head_size)", "2^-exp_squarings"), **attention)
        yield Matrix("wv", l, factors=("sqrt(dim)",), **attention)
        yield Matrix("wk", l, factors=("sqrt(dim)",), **attention)
        yield Matrix("wo", l, order=head_order(config, upwards), transposed=True, backwards=True)
        yield from feed_forward(config, l)
    yield classifier(config)


def asm_linux(config: Config) -> Iterator[Block]:
    """The layout of asm-linux-i386. Lengths are one too large, so that one `dec` sets the zero flag for BOS alone."""
    yield from asm_layers(config)
    yield Records((Text(text_offset=4, multiple=4, length_bias=1, before_embedding=True), Matrix("token_embedding")))


def boot(config: Config) -> Iterator[Block]:
    """The layout of the boot sectors."""
    yield from asm_layers(config)
    yield Records((Text(text_offset=4, multiple=4, before_embedding=True), Matrix("token_embedding")))


def plain(config: Config) -> Iterator[Block]:
    """The checkpoint as it is, layer by layer: the memory image of golf/cpp/plain.cpp's `struct Model`. Gains stand for
    themselves, nothing is folded; a tied classifier is there twice."""
    yield Matrix("token_embedding")
    for l in range(config.n_layers):
        yield Matrix("rms_att", order=[l])
        for tensor in ("wq", "wk", "wv", "wo"):
            yield Matrix(tensor, l)
        yield Matrix("rms_ffn", order=[l])
        for tensor in ("w1", "w3", "w2"):
            yield Matrix(tensor, l)
    yield Matrix("rms_final")
    yield Matrix("wcls")
    yield Records((Text(),))


def doubles(config: Config, pairs: bool = False) -> Iterator[Block]:
    """Everything in the order of use, for golf/cpp/doubles.cpp. Keys and values alternate by head. The classifier's rows go
    from the last token to the first. With pairs, the rows of w1 and w3 alternate; and the text is before the embedding, which
    is halved, for the engine adds it twice."""
    attention, ffn = {"gain": "rms_att"}, {"gain": "rms_ffn"}
    size = config.head_size
    for l in range(config.n_layers):
        for head in range(config.n_kv_heads):
            elements = range(head * size, (head + 1) * size)
            yield Matrix("wk", l, order=elements, factors=("sqrt(dim)",), **attention)
            yield Matrix("wv", l, order=elements, factors=("sqrt(dim)",), **attention)
        yield Matrix("wq", l, factors=("sqrt(dim)", "1/sqrt(head_size)", "2^-exp_squarings"), **attention)
        yield Matrix("wo", l, transposed=True)
        gate = Matrix("w1", l, factors=("sqrt(dim)", "2^-exp_squarings"), **ffn)
        up = Matrix("w3", l, factors=("sqrt(dim)", "2^exp_squarings"), **ffn)
        yield from (Records((gate, up)),) if pairs else (gate, up)
        yield Matrix("w2", l, transposed=True)
    yield Matrix("wcls", order=range(config.vocab_size - 1, -1, -1), gain="rms_final")
    text = Text(text_offset=0, length_last=True, multiple=8)
    yield Records((text, Matrix("token_embedding", factors=("1/2",))) if pairs else (Matrix("token_embedding"), text))


def doubles_pairs(config: Config) -> Iterator[Block]:
    """The same for machines that load pairs of numbers and step (golf/cpp/isa/arm.hpp)."""
    return doubles(config, pairs=True)


def feed_forward(config: Config, l: int) -> Iterator[Block]:
    """w1, w3 and w2 of layer l. The signs make silu's exp(-w1 x), and take themselves away again in the product."""
    ffn = {"gain": "rms_ffn", "backwards": True}
    yield Matrix("w1", l, factors=("sqrt(dim)", "-1", "2^-exp_squarings"), **ffn)
    yield Matrix("w3", l, factors=("sqrt(dim)", "-1", "2^exp_squarings"), **ffn)
    yield Matrix("w2", l, transposed=True, backwards=True)


def classifier(config: Config) -> Block:
    """The classifier, from the last token to the first."""
    return Matrix("wcls", order=range(config.vocab_size - 1, -1, -1), gain="rms_final", backwards=True)


# --- Memory ------------------------------------------------------------------------------------------------------

def stream_workspace(config: Config) -> int:
    """What golf/cpp/x87.cpp works in; it asserts that it counts the same. Every number has a place of its own."""
    c = config
    before = c.dim % 256 != 0
    return 4 * (before + c.dim + c.n_layers * _layer_cells(c) + c.vocab_size) * (c.seq_len + 2)


def asm_stride(config: Config) -> int:
    """Bytes of one position of what the NASM engines call the walk; see golf/asm/transformer.inc."""
    c = config
    layer = (c.dim + 2 * c.kv_dim) + c.dim + 2 * c.hidden_dim
    return 4 * (1 + c.dim + c.n_layers * layer + c.vocab_size)


def boot_workspace(config: Config) -> int:
    """The walk of the boot sectors, which assert that they count the same, and two slots behind it."""
    return asm_stride(config) * config.seq_len + 8


def asm_linux_workspace(config: Config) -> int:
    """The walk of asm-linux-i386, which asserts that it counts the same."""
    return max(asm_stride(config), 256) * config.seq_len


def asm_linux_apart(config: Config) -> int:
    """What it needs more where x has a place of its own: as much again below the walk, which has no x then."""
    return 2 * max(asm_stride(config) - 4 * config.dim, 256) * config.seq_len - asm_linux_workspace(config)


def plain_workspace(config: Config) -> int:
    """golf/cpp/plain.cpp's variables, doubles; it asserts that it counts the same. Every number has a place of its own."""
    c = config
    layer = (c.dim + 2 * c.kv_dim) + c.dim + 2 * c.hidden_dim
    return 8 * ((c.dim + c.n_layers * layer + c.vocab_size) * c.seq_len + c.dim + c.seq_len)


def doubles_workspace(config: Config) -> int:
    """What golf/cpp/doubles.cpp works in; it asserts that it counts the same."""
    c, page = config, 4096 // 8
    unit = 4 * c.kv_dim if _in_one_bit(c) else 2 * c.head_size if c.kv_mul == 2 and _is_power(c.head_size) else 1
    position = c.dim + 2 + c.n_layers * _whole(_layer_cells(c), unit) + c.vocab_size
    return 8 * _whole(position, max(page, unit)) * (c.seq_len + 1)


def doubles_pairs_workspace(config: Config) -> int:
    """What golf/cpp/doubles.cpp works in on targets that read `doubles-pairs`; they assert that they count the same."""
    c, unit = config, _doubles_pairs_unit(config)
    position = c.dim + 2 + c.n_layers * _whole(_layer_cells(c), unit) + c.vocab_size
    return 8 * _power_above(position) * c.seq_len


def doubles_rows_workspace(config: Config) -> int:
    """The same where rows begin at a multiple of their size (`doubles-rows`): before the first layer is a gap."""
    c, unit = config, _doubles_pairs_unit(config)
    position = _whole(c.dim + 1, unit) + 1 + c.n_layers * _whole(_layer_cells(c), unit) + c.vocab_size
    return 8 * _power_above(position) * c.seq_len


def _layer_cells(config: Config) -> int:
    """Cells of a layer where the attention's output overwrites the queries, one head further on."""
    c = config
    return (c.dim + 2 * c.kv_dim) + c.head_size + 2 * c.hidden_dim


def _in_one_bit(config: Config) -> bool:
    """Whether one bit of an address tells queries from keys and values (golf/cpp/doubles.cpp: in_one_bit)."""
    c = config
    return c.kv_mul == 2 and _is_power(c.head_size) and _is_power(2 * c.kv_dim) and 2 * c.kv_dim <= 128


def _doubles_pairs_unit(config: Config) -> int:
    """A multiple of so many cells is where layers begin."""
    c = config

    def price(unit: int) -> int:  # bytes of code for the gap
        gap = -_layer_cells(c) % unit
        return 0 if gap == 0 else 2 if gap < 32 else 4

    if not _is_power(c.head_size):
        return 1
    unit, whole = 2 * c.head_size, 4 * c.kv_dim
    return whole if _in_one_bit(c) and 4 + price(whole) <= 6 + price(unit) else unit


def doubles_by_rows_workspace(config: Config) -> int:
    """What golf/cpp/isa/wasm.hpp lays out, where an address with its low bits cleared is its position's row; it asserts that it
    counts the same."""
    c, head = config, 8 * config.head_size
    unit = 8 if not _is_power(head) else 8 * 4 * c.kv_dim if _in_one_bit(c) else 2 * head if c.kv_mul == 2 else head
    layer = _whole(8 * _layer_cells(c), unit)
    row = _whole(_power_above(8 * c.dim) + 8, unit) + c.n_layers * layer + 8 * c.vocab_size
    return _power_above(row) * (c.seq_len + 2)


def doubles_by_bits_workspace(config: Config) -> int:
    """What golf/cpp/isa/aarch64.hpp lays out, where one bit of an address tells a loop's end; it asserts that it counts the
    same."""
    c, head = config, 8 * config.head_size
    keys_and_values = 8 * 2 * c.kv_dim
    x_unit = _power_above(8 * c.dim)
    head_unit = max(x_unit, _power_above(2 * head))
    unit = 2 * head_unit
    lead = (head_unit - 2 * head - keys_and_values) % unit
    layer = _whole(8 * _layer_cells(c), unit)
    last = lead + (c.n_layers - 1) * layer
    end = max(_power_above(last + 1), 1 << ((last + layer).bit_length() - 1))
    wide = max(layer, _whole(end - lead, unit * c.n_layers) // c.n_layers)
    fits = lead + (c.n_layers - 1) * wide < end and lead + c.n_layers * wide < 2 * end

    def row_end(layer: int) -> int:
        return lead + c.n_layers * layer + 8 * c.vocab_size + 2 * x_unit
    row_unit = max(4096, 2 * unit, 4 * x_unit)
    row = max(_power_above(row_end(wide if fits else layer)), 2 * end, row_unit)
    if row * (c.seq_len + 1) > 1 << 30:
        row = _whole(row_end(layer), row_unit)
    return row * (c.seq_len + 1)


def _power_above(number: int) -> int:
    """The smallest power of two that is not below it."""
    return 1 << (number - 1).bit_length()


def _is_power(number: int) -> bool:
    """Whether it is a power of two."""
    return number & (number - 1) == 0


def _whole(number: int, unit: int) -> int:
    """The next multiple."""
    return number + -number % unit


X87_STEP = 256  # a byte is the upper half of a word, for the x87 loads no bytes

LAYOUTS = {
    "stream": Layout(stream, stream_workspace, encodings=FOR_STREAM),
    "stream-wide": Layout(stream_wide, stream_workspace, encodings=FOR_STREAM),
    "plain": Layout(plain, plain_workspace),
    "doubles": Layout(doubles, doubles_workspace, encodings=FOR_DOUBLES, empty_pieces=False),
    "doubles-pairs": Layout(doubles_pairs, doubles_pairs_workspace, encodings=LOWER_HALF_FIRST, empty_pieces=False),
    "doubles-rows": Layout(doubles_pairs, doubles_rows_workspace, encodings=LOWER_HALF_FIRST, empty_pieces=False),
    "doubles-by-bits": Layout(doubles, doubles_by_bits_workspace, encodings=FOR_DOUBLES, empty_pieces=False),
    "doubles-by-rows": Layout(doubles, doubles_by_rows_workspace, encodings=FOR_DOUBLES, empty_pieces=False),
    "asm-linux": Layout(asm_linux, asm_linux_workspace, step_value=X87_STEP, apart={"int4": asm_linux_apart}, empty_pieces=False),
    "boot": Layout(boot, boot_workspace, before=b"\x55\xaa", step_value=X87_STEP, empty_pieces=False),  # the boot sector's signature
    "boot-chat": Layout(boot, boot_workspace, before=b"\x16\xc3", step_value=X87_STEP, empty_pieces=False),  # the end of its code
}
