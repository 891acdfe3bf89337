"""Packed layouts: which weight of the checkpoint stands where in the byte stream that a golfed engine reads.

    from common.pack import layout
    plan = layout.plan("stream", "f32", config, pieces)     # a list of Spans: every byte of the packed file
    packed = layout.encode(plan, model, pieces)
    effective, texts = layout.decode(plan, config, packed)  # what the engine's weights and pieces really are

A layout is declared once, here, as a function that lists blocks in the order in which its engines read them (LAYOUTS
below). Packing, decoding, the manifest and the tests all follow that list. Only what the rules call algebra can be
said: rows and columns in another order, transposed, and multiplied by a norm's gains and by the FACTORS.

Encodings:

    f32   little-endian float32
    bf16  16 bits a weight, dense; the engine loads 32 bits that begin two bytes early, so a weight's low half is the
          16 bits before it (the previous weight, or whatever stands there). The packer knows them, and chooses the
          upper half that comes nearest. The first weight has two bytes of padding before it, which count.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from dataclasses import dataclass, field, replace
from typing import Callable, Iterator, Sequence

from common.errors import UserError
from common.model.checkpoint import Checkpoint, Config, all_finite
from common.model.tokenizer import BOS, printed

ENCODINGS = {"f32": 4, "bf16": 2}  # bytes of a weight in the file
LONGEST_PIECE = 255  # a vocabulary record has one byte for the length of its text
RMSNORM_EPSILON = 1e-5

# exp(x) = (1 + x / 2^n)^(2^n): the engines square n times. The division is folded into the matrix that makes x.
EXP_SQUARINGS = 24

# All constants that may be multiplied into a matrix, besides a norm's gains (the rules, "folding is algebra").
FACTORS: dict[str, Callable[[Config], float]] = {
    "sqrt(dim)": lambda config: math.sqrt(config.dim),
    "1/sqrt(head_size)": lambda config: 1 / math.sqrt(config.head_size),
    "-1": lambda config: -1.0,
    "2^-exp_squarings": lambda config: 2.0**-EXP_SQUARINGS,
    "2^exp_squarings": lambda config: 2.0**EXP_SQUARINGS,
}


# --- The vocabulary of declarations ------------------------------------------------------------------------------

@dataclass(frozen=True)
class Matrix:
    """A matrix of the checkpoint, one packed row after the other."""

    tensor: str
    layer: int | None = None
    order: Sequence[int] | None = None  # which row (or column) comes when; None: 0, 1, 2, …
    transposed: bool = False  # the packed rows are the tensor's columns
    backwards: bool = False  # the elements within a packed row go from the last to the first
    gain: str | None = None  # the norm before the matrix, whose gains are folded into it
    factors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Text:
    """A token's vocabulary record: one byte for the length, zeros up to the text, the text, zeros to its end.

    The length of BOS is 0: an engine stops at BOS, and never shows it."""

    text_offset: int = 1  # where the text starts in the record
    multiple: int = 1  # of which the record's size is one
    length_bias: int = 0  # what is added to the length in its byte, when that fits for every piece


@dataclass(frozen=True)
class Records:
    """One record per token; a record holds row `token` of every matrix, and texts."""

    fields: tuple[Matrix | Text, ...]


Block = Matrix | Records


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


def stream(config: Config) -> Iterator[Block]:
    """Everything in the order of use, so that one pointer walks through the model: the layout of the C++ engines.

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
    yield Records((Matrix("token_embedding"), Text(text_offset=4, multiple=4)))


def asm_layers(config: Config) -> Iterator[Block]:
    """The layers and the classifier of the NASM engines: as in `stream`, but q, v, k, and heads in natural order."""
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
    yield Records((Text(text_offset=4, multiple=4, length_bias=1), Matrix("token_embedding")))


def boot(config: Config) -> Iterator[Block]:
    """The layout of the boot sectors."""
    yield from asm_layers(config)
    yield Records((Text(text_offset=4, multiple=4), Matrix("token_embedding")))


def feed_forward(config: Config, l: int) -> Iterator[Block]:
    """w1, w3 and w2 of layer l. The signs make silu's exp(-w1 x), and take themselves away again in the product."""
    ffn = {"gain": "rms_ffn", "backwards": True}
    yield Matrix("w1", l, factors=("sqrt(dim)", "-1", "2^-exp_squarings"), **ffn)
    yield Matrix("w3", l, factors=("sqrt(dim)", "-1", "2^exp_squarings"), **ffn)
    yield Matrix("w2", l, transposed=True, backwards=True)


def classifier(config: Config) -> Block:
    """The classifier, from the last token to the first."""
    return Matrix("wcls", order=range(config.vocab_size - 1, -1, -1), gain="rms_final", backwards=True)


LAYOUTS: dict[str, Callable[[Config], Iterator[Block]]] = {"stream": stream, "asm-linux": asm_linux, "boot": boot}

# Two bytes that always stand before the packed model, where a bf16 layout needs no padding for its first weight.
BEFORE: dict[str, bytes] = {"boot": b"\x55\xaa"}  # the boot sector's signature


# Layouts whose engines know BOS by its length of 0: no other piece may be empty.
NO_EMPTY_PIECES = {"asm-linux", "boot"}


def stream_workspace(config: Config) -> int:
    """What golf/cpp/engine.cpp works in; it asserts that it counts the same. Every number has a place of its own."""
    c = config
    layer = (c.dim + 2 * c.kv_dim) + c.head_size + 2 * c.hidden_dim
    return 4 * (c.dim + c.n_layers * layer + c.vocab_size) * (c.seq_len + 2)


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


# Bytes of memory that an engine with this layout needs besides the model.
WORKSPACES: dict[str, Callable[[Config], int]] = {
    "stream": stream_workspace, "asm-linux": asm_linux_workspace, "boot": boot_workspace}


# --- From a layout to the bytes ----------------------------------------------------------------------------------

@dataclass
class Span:
    """A run of equal rows in the packed file: row i has `row_bytes` bytes at `offset + i * row_stride`."""

    tensor: str  # a tensor's name, "vocabulary" or "padding"
    layer: int | None
    encoding: str  # "f32", "bf16", "text" or "zero"
    offset: int
    rows: int
    row_bytes: int
    row_stride: int
    gain: str | None = None
    factors: tuple[str, ...] = ()
    scale: float = 1.0  # the product of the factors
    cells: list[slice] = field(default_factory=list)  # row i's place in the flat tensor
    gain_cells: slice | None = None  # the gains of a row, in the norm's flat tensor; the same for all rows
    text: Text | None = None  # how a vocabulary record is laid out
    longest_piece: int = 0  # bytes of text that it has space for
    before: bytes = b""  # what stands before the packed file, for a bf16 weight that begins it

    @property
    def bytes(self) -> int:
        return self.rows * self.row_bytes

    @property
    def counted(self) -> bool:
        """Whether the rules count these bytes as the engine's: all that is neither tensor nor vocabulary."""
        return self.tensor == "padding"


def plan(layout: str, encoding: str, config: Config, pieces: Sequence[bytes]) -> list[Span]:
    """Every byte of the packed file, in spans that follow the layout's declaration."""
    longest = longest_piece(pieces)
    if layout in NO_EMPTY_PIECES:
        empty = next((token for token, piece in enumerate(pieces) if not piece and token != BOS), None)
        if empty is not None:
            raise UserError(f"token {empty}: an empty piece, which engines with layout {layout} would take for the end; "
                            "use another engine, or give it a text")
    before = BEFORE.get(layout, b"")
    spans: list[Span] = []
    offset = 0
    if encoding == "bf16" and not before:
        spans.append(Span("padding", None, "zero", 0, 1, 2, 2))
        offset = 2
    for block in LAYOUTS[layout](config):
        fields = (block,) if isinstance(block, Matrix) else block.fields
        group = [_span(part, encoding, config, longest) for part in fields]
        stride = sum(span.row_bytes for span in group)
        for span in group:
            span.offset, span.row_stride = offset, stride
            offset += span.row_bytes
        offset += stride * (group[0].rows - 1)
        spans += group
    if encoding == "bf16":
        spans[0].before = before
    return spans


def packed_bytes(spans: Sequence[Span]) -> int:
    """The packed file's size."""
    return sum(span.bytes for span in spans)


def longest_piece(pieces: Sequence[bytes]) -> int:
    """Bytes of the longest text that an engine prints: the space for text in a vocabulary record."""
    longest = max(range(len(pieces)), key=lambda token: len(printed(pieces[token])))
    size = len(printed(pieces[longest]))
    if size > LONGEST_PIECE:
        raise UserError(f"token {longest}: length {size}, a vocabulary record holds at most "
                        f"{LONGEST_PIECE} bytes; use a vocabulary with shorter pieces")
    return max(size, 1)


def _span(part: Matrix | Text, encoding: str, config: Config, longest: int) -> Span:
    """A span whose place in the file is not known yet."""
    if isinstance(part, Text):
        if longest + part.length_bias > LONGEST_PIECE:
            part = replace(part, length_bias=0)
        record_bytes = -(-(part.text_offset + longest) // part.multiple) * part.multiple
        return Span("vocabulary", None, "text", 0, config.vocab_size, record_bytes, 0, text=part,
                    longest_piece=longest)
    n_rows, n_columns = (config.vocab_size, config.dim) if part.tensor == "wcls" else config.shapes()[part.tensor][-2:]
    start = (part.layer or 0) * n_rows * n_columns
    rows, columns = (n_columns, n_rows) if part.transposed else (n_rows, n_columns)
    row_step, step = (1, n_columns) if part.transposed else (n_columns, 1)
    cells = [_cells(start + row * row_step, columns, step, part.backwards) for row in part.order or range(rows)]
    gain_start = 0 if part.layer is None else part.layer * config.dim
    return Span(part.tensor, part.layer, encoding, 0, rows, columns * ENCODINGS[encoding], 0, part.gain, part.factors,
                math.prod(FACTORS[name](config) for name in part.factors), cells,
                _cells(gain_start, config.dim, 1, part.backwards) if part.gain else None)


def _cells(start: int, count: int, step: int, backwards: bool) -> slice:
    """The slice start, start + step, … of `count` elements, or the same from its last element to its first."""
    if not backwards:
        return slice(start, start + (count - 1) * step + 1, step)
    before = start - step
    return slice(start + (count - 1) * step, before if before >= 0 else None, -step)


def encode(spans: Sequence[Span], model: Checkpoint, pieces: Sequence[bytes]) -> bytes:
    """The packed file."""
    packed = bytearray(packed_bytes(spans))
    # In the order of the file, for the low half of a bf16 weight is what stands before it.
    for span, row, offset in _rows_in_file_order(spans):
        if span.text:
            text = printed(pieces[row])
            length = bytes([(0 if row == BOS else len(text)) + span.text.length_bias])
            record = length.ljust(span.text.text_offset, b"\0") + text
            packed[offset:offset + span.row_bytes] = record.ljust(span.row_bytes, b"\0")
        elif span.encoding != "zero":
            values = _folded_row(span, row, model)
            if span.encoding == "f32":
                packed[offset:offset + span.row_bytes] = _to_bytes(values)
            else:
                packed[offset:offset + span.row_bytes] = _encode_bf16(values, _before(span, packed, offset))
    return bytes(packed)


def decode(spans: Sequence[Span], config: Config, packed: bytes) -> tuple[Checkpoint, list[bytes]]:
    """The effective checkpoint (untied, gains of 1, factors divided out again) and the pieces' texts.

    A weight that no span holds is left NaN, so that a layout with a hole cannot go unnoticed."""
    untied = Config(**{name: getattr(config, name) for name in (
        "dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")}, tied=False)
    shapes = untied.shapes()
    tensors = {name: array("f", [1.0 if name.startswith("rms") else math.nan]) * math.prod(shape)
               for name, shape in shapes.items()}
    texts = [b""] * config.vocab_size
    for span in spans:
        for row in range(span.rows):
            offset = span.offset + row * span.row_stride
            data = packed[offset:offset + span.row_bytes]
            if span.text:
                # The length of BOS is 0; its text is there all the same, and ends at the padding.
                text, length = data[span.text.text_offset:], data[0] - span.text.length_bias
                texts[row] = text[:length] if row != BOS else text.rstrip(b"\0")
            elif span.encoding == "f32":
                tensors[span.tensor][span.cells[row]] = _divided(_from_bytes(data), span.scale)
            elif span.encoding == "bf16":
                values = _decode_bf16(_before(span, packed, offset) + data)
                tensors[span.tensor][span.cells[row]] = _divided(values, span.scale)
    return Checkpoint(untied, tensors), texts


def _before(span: Span, packed: bytes | bytearray, offset: int) -> bytes:
    """The two bytes before an offset of the packed file."""
    return bytes(packed[offset - 2:offset]) if offset else span.before


def _rows_in_file_order(spans: Sequence[Span]) -> Iterator[tuple[Span, int, int]]:
    """(span, row, offset of the row) by rising offset. Spans that share a stride are the fields of one record."""
    i = 0
    while i < len(spans):
        group = [span for span in spans[i:] if span.offset < spans[i].offset + spans[i].row_stride]
        for row in range(spans[i].rows):
            for span in group:
                yield span, row, span.offset + row * span.row_stride
        i += len(group)


def _folded_row(span: Span, row: int, model: Checkpoint) -> array[float]:
    """A packed row's values: the checkpoint's, times the gains of the norm before it, times the factors."""
    tensor = model.classifier if span.tensor == "wcls" else model.tensors[span.tensor]
    values = tensor[span.cells[row]]
    if span.gain is not None:
        gains = model.tensors[span.gain][span.gain_cells]
        folded = [value * gain * span.scale for value, gain in zip(values, gains)]
    elif span.scale != 1:
        folded = [value * span.scale for value in values]
    else:
        return values
    try:
        result = array("f", folded)
    except OverflowError:
        result = array("f", [math.inf])
    if not all_finite(result):
        raise UserError(f"{span.tensor}: layer {span.layer}, row {row}: a weight does not fit into float32 once its gain "
                        f"and {', '.join(span.factors)} are multiplied in; the largest is {max(map(abs, folded)):g}")
    return result


def _divided(values: array[float], scale: float) -> array[float]:
    return values if scale == 1 else array("f", [value / scale for value in values])


def _encode_bf16(values: array[float], before: bytes) -> bytes:
    """Upper halves such that, with the 16 bits before it as the lower half, each float comes nearest to its value."""
    bits = array("I")
    bits.frombytes(values.tobytes())
    halves = array("H")
    append = halves.append
    low = before[0] | before[1] << 8
    for word in bits:  # plain steps, for there are millions of them
        magnitude = word & 0x7FFFFFFF
        # Floats of one sign and exponent are as far apart as their bits: the nearest upper half is a rounded division.
        half = (magnitude - low + 0x8000) >> 16
        if half < 0:
            half = 0
        found = half << 16 | low
        if (found ^ magnitude) >> 23:  # another exponent: the half on the other side may be nearer after all
            other = half - 1 if found > magnitude else half + 1
            if other >= 0 and abs(_float(other << 16 | low) - _float(magnitude)) < abs(_float(found) - _float(magnitude)):
                half = other
        if half > 0x7F7F:
            half = 0x7F7F
        low = half | (word >> 16 & 0x8000)
        append(low)
    return _to_bytes(halves)


def _float(bits: int) -> float:
    """The float32 with these bits."""
    return struct.unpack("<f", bits.to_bytes(4, "little"))[0]


def _decode_bf16(data: bytes) -> array[float]:
    """The floats that 32-bit loads find at offsets 0, 2, 4, … of the data."""
    halves = _from_bytes(data, "H")
    return _from_bytes(_to_bytes(array("I", [low | high << 16 for low, high in zip(halves, halves[1:])])))


def _to_bytes(values: array) -> bytes:
    if sys.byteorder == "big":
        values = values[:]
        values.byteswap()
    return values.tobytes()


def _from_bytes(data: bytes, typecode: str = "f") -> array:
    values = array(typecode)
    values.frombytes(data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def manifest(spans: Sequence[Span]) -> list[dict[str, object]]:
    """The spans as plain data for the manifest."""
    entries: list[dict[str, object]] = []
    for span in spans:
        entry: dict[str, object] = {"tensor": span.tensor, "layer": span.layer, "encoding": span.encoding,
                                    "offset": span.offset, "rows": span.rows, "row_bytes": span.row_bytes,
                                    "row_stride": span.row_stride, "counted": span.counted}
        if span.encoding in ENCODINGS:
            entry["shape"] = [span.rows, span.row_bytes // ENCODINGS[span.encoding]]
            entry["gain"], entry["factors"], entry["scale"] = span.gain, list(span.factors), span.scale
        if span.text:
            entry["text_offset"], entry["length_bias"] = span.text.text_offset, span.text.length_bias
        entries.append(entry)
    return entries
