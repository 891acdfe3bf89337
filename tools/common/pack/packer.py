"""From a layout to the bytes of the packed file, and back.

    from common.pack import packer
    spans = packer.plan("stream", "f32", config, pieces)      # every byte of the packed file
    packed = packer.encode(spans, model, pieces)
    effective, texts = packer.decode(spans, config, packed)   # what the engine's weights and pieces really are

A plan says in which order a number's bytes stand, that of the machine that will read it.
"""

from __future__ import annotations

import itertools
import math
import struct
from dataclasses import dataclass, replace
from typing import Iterator, Sequence

from common.errors import UserError
from common.libraries import numpy as np
from common.model.checkpoint import GAINS, Checkpoint, Config
from common.model.tokenizer import BOS, printed
from common.pack import race, utf16
from common.pack.encodings import ENCODINGS, SCALE_BYTES, Encoding
from common.pack.layouts import FACTORS, LAYOUTS, Layout, Matrix, Text

LONGEST_PIECE = 255  # a vocabulary record has one byte for the length of its text


@dataclass
class Span:
    """A run of equal rows in the packed file: row i has `row_bytes` bytes at `offset + i * row_stride`."""

    tensor: str
    rows: int
    row_bytes: int
    offset: int = 0
    row_stride: int = 0

    counted = False  # whether the rules count these bytes as the engine's: all that is neither tensor nor vocabulary

    @property
    def bytes(self) -> int:
        return self.rows * self.row_bytes

    def facts(self) -> dict[str, object]:
        """What only a span of this kind says of itself in the manifest."""
        return {}


@dataclass
class Padding(Span):
    """Zeros."""

    counted = True

    def facts(self) -> dict[str, object]:
        return {"encoding": "zero"}


@dataclass
class Step(Span):
    """What an engine counts x in: the step of an embedding that has one (see encodings.Int4Table), a float32. It stands where the
    engine would look for the last row's scale, and makes the file complete: RMSNorm's epsilon is a constant in such units."""

    def facts(self) -> dict[str, object]:
        return {"encoding": "f32"}


@dataclass(kw_only=True)
class Texts(Span):
    """A vocabulary record for each token, or the part of it that is not weights."""

    text: Text
    longest_piece: int  # bytes of text that a record has space for

    def facts(self) -> dict[str, object]:
        facts = {"encoding": "text", "text_offset": self.text.text_offset}
        if self.text.wide:
            return facts | {"characters": "UTF-16"}
        return facts | {"length_offset": self.length_offset, "length_bias": self.text.length_bias}

    @property
    def length_offset(self) -> int:
        """Where in a record its length stands."""
        return self.row_bytes - 1 if self.text.length_last else 0

    def record(self, text: bytes, length: int) -> bytes:
        data = bytearray(self.row_bytes)
        if self.text.wide:
            start = self.text.text_offset + (0 if length else utf16.CHARACTER)
            data[start:] = utf16.encode(text).ljust(self.row_bytes - start, b"\0")
            return bytes(data)
        data[self.text.text_offset:self.text.text_offset + len(text)] = text
        data[self.length_offset] = length + self.text.length_bias
        return bytes(data)

    def text_of(self, record: bytes, whole: bool = False) -> bytes:
        """A record's text. `whole`: all of it whatever the length says, but for the zeros at its end."""
        if self.text.wide:
            shown, _, behind = utf16.split(record[self.text.text_offset:])
            return utf16.decode(shown or utf16.split(behind)[0] if whole else shown)
        length = record[self.length_offset] - self.text.length_bias
        space = record[self.text.text_offset:self.length_offset if self.text.length_last else None]
        return space.rstrip(b"\0") if whole else space[:length]


@dataclass(kw_only=True)
class Weights(Span):
    """Rows of a tensor."""

    encoding: Encoding
    layer: int | None
    gain: str | None  # the norm whose gains are folded in
    factors: tuple[str, ...]
    scale: float  # the product of the factors
    order_of_rows: Sequence[int]  # which row (or column) of the tensor comes when
    backwards: bool
    columns: int
    transposed: bool  # whether the rows are the tensor's columns
    step_value: int  # what the engine takes a step of a scaled row for
    order: str  # of a number's bytes: little or big
    before: bytes = b""  # what stands before the packed file, for a weight that begins it

    @property
    def shares_steps(self) -> bool:
        """Whether the rows are columns that an engine adds in whole steps, as often as another matrix says: see MEETS."""
        return bool(self.encoding.most) and self.transposed and not self.encoding.scales_weights

    def of(self, model: Checkpoint) -> np.ndarray:
        """The matrix in a model, (its rows or columns, columns): a view, in which `order_of_rows` finds the packed rows."""
        tensor = model.classifier if self.tensor == "wcls" else model.tensors[self.tensor]
        matrix = np.atleast_2d(tensor if self.layer is None else tensor[self.layer])
        if self.transposed:
            matrix = matrix.T
        return matrix[:, ::-1] if self.backwards else matrix

    def gains(self, model: Checkpoint) -> np.ndarray | None:
        """Those that are folded into each row, (columns,)."""
        if self.gain is None:
            return None
        gains = model.tensors[self.gain] if self.layer is None else model.tensors[self.gain][self.layer]
        return gains[::-1] if self.backwards else gains

    def facts(self) -> dict[str, object]:
        return {"encoding": self.encoding.name, "byte_order": self.order, "layer": self.layer,
                "shape": [self.rows, self.columns], "gain": self.gain, "factors": list(self.factors), "scale": self.scale}


def plan(layout: str, encoding: str, config: Config, pieces: Sequence[bytes], order: str = "little",
         temperature: float | None = None) -> list[Span]:
    """Every byte of the packed file, in spans that follow the layout's declaration. `order`: of the machine's bytes. `temperature`:
    the engine draws its tokens, and the classifier has that folded in."""
    if order not in ENCODINGS[encoding].byte_orders:
        raise UserError(f"encoding {encoding}: {order}-endian machines cannot read it, use one of "
                        f"{', '.join(name for name, known in ENCODINGS.items() if order in known.byte_orders)}")
    longest, declared = longest_piece(pieces), LAYOUTS[layout]
    if not declared.empty_pieces:
        empty = next((token for token, piece in enumerate(pieces) if not piece and token != BOS), None)
        if empty is not None:
            raise UserError(f"token {empty}: an empty piece, which engines with layout {layout} would take for the end; "
                            "use another engine, or give it a text")
    groups = [[_span(part, declared, declared.encodings[encoding], config, pieces, longest, order) for part in
               ((block,) if isinstance(block, Matrix) else block.fields)] for block in declared.blocks(config)]
    spans: list[Span] = []
    offset = 0
    early = groups[0][0].encoding.early if isinstance(groups[0][0], Weights) else 0
    if early > len(declared.before):
        spans.append(Padding("padding", 1, early, 0, early))
        offset = early
    for group in groups:
        stride = sum(span.row_bytes for span in group)
        for span in group:
            if isinstance(span, Texts):
                padding = -stride % span.text.multiple
                span.row_bytes, stride = span.row_bytes + padding, stride + padding
        for span in group:
            span.offset, span.row_stride = offset, stride
            offset += span.row_bytes
        offset += stride * (group[0].rows - 1)
        spans += group
    if any(isinstance(span, Weights) and span.encoding.one_step for span in spans):
        spans.append(Step("step", 1, SCALE_BYTES, offset, SCALE_BYTES))
    if isinstance(spans[0], Weights) and early:
        spans[0].before = declared.before[-early:]
    if temperature is not None:
        for span in spans:
            if isinstance(span, Weights) and span.tensor == "wcls":
                span.factors, span.scale = (*span.factors, race.FACTOR), span.scale * race.factor(config, temperature)
    return spans


def check_rows(spans: Sequence[Span]) -> None:
    """Refuses rows so short that they would be smaller in bf16 than with a scale."""
    for span in spans:
        if isinstance(span, Weights) and span.encoding.most and span.row_bytes > ENCODINGS["bf16"].row_bytes(span.columns):
            raise UserError(f"encoding {span.encoding.name}: {span.tensor}: with its scale a row of {span.columns} weights has "
                            f"{span.row_bytes} bytes, more than in bf16; use another encoding")


def packed_bytes(spans: Sequence[Span]) -> int:
    """The packed file's size."""
    return sum(span.bytes for span in spans)


def texts_of(spans: Sequence[Span]) -> Texts:
    """The span that has the vocabulary's texts."""
    return next(span for span in spans if isinstance(span, Texts))


def longest_piece(pieces: Sequence[bytes]) -> int:
    """Bytes of the longest text that an engine prints: the space for text in a vocabulary record."""
    longest = max(range(len(pieces)), key=lambda token: len(printed(pieces[token])))
    size = len(printed(pieces[longest]))
    if size > LONGEST_PIECE:
        raise UserError(f"token {longest}: length {size}, a vocabulary record holds at most "
                        f"{LONGEST_PIECE} bytes; use a vocabulary with shorter pieces")
    return max(size, 1)


def _span(part: Matrix | Text, layout: Layout, encoding: Encoding, config: Config, pieces: Sequence[bytes], longest: int,
          order: str) -> Texts | Weights:
    """A span whose place in the file is not known yet."""
    if isinstance(part, Text) and part.wide:
        record_bytes = max(len(utf16.encode(printed(piece))) for piece in pieces) + utf16.CHARACTER
        return Texts("vocabulary", config.vocab_size, record_bytes, text=part, longest_piece=longest)
    if isinstance(part, Text):
        if longest + part.length_bias > LONGEST_PIECE:
            part = replace(part, length_bias=0)
        record_bytes = part.text_offset + longest + part.length_last + encoding.zeros * part.before_embedding
        return Texts("vocabulary", config.vocab_size, record_bytes, text=part, longest_piece=longest)
    if part.tensor == "token_embedding" and encoding.embedding:
        encoding = encoding.embedding
    n_rows, n_columns = (config.vocab_size, config.dim) if part.tensor == "wcls" else (1, *config.shapes()[part.tensor])[-2:]
    rows, columns = (n_columns, n_rows) if part.transposed else (n_rows, n_columns)
    order_of_rows = range(rows) if part.order is None else part.order
    return Weights(part.tensor, len(order_of_rows), encoding.row_bytes(columns), encoding=encoding, layer=part.layer, gain=part.gain,
                   factors=part.factors, scale=math.prod(FACTORS[name](config) for name in part.factors), order_of_rows=order_of_rows,
                   backwards=part.backwards or encoding.one_step,  # which is added as a column of wo is
                   columns=columns, transposed=part.transposed, step_value=layout.step_value, order=order)


BLOCK = 2**20  # weights that are packed at once: a large model needs no more memory for it than a small one


def encode(spans: Sequence[Span], model: Checkpoint, pieces: Sequence[bytes]) -> bytes:
    """The packed file."""
    packed = _File(spans)
    for span in spans:
        if isinstance(span, Texts):
            packed.rows(span)[:] = np.stack([
                np.frombuffer(span.record(printed(piece), 0 if token == BOS else len(printed(piece))), np.uint8)
                for token, piece in enumerate(pieces)])
        elif isinstance(span, Step):
            packed.rows(span)[:] = np.frombuffer(struct.pack("<f", _embedding_step(spans, model)), np.uint8)
    columns = _column_scales(spans, model)
    unit = x_unit(spans, packed.buffer)
    for span, rows in _in_file_order(spans):
        if span.encoding.most:
            packed.rows(span)[rows] = _scaled_rows(span, rows, model, columns, unit)
            continue
        values, before = _folded_rows(span, rows, model, span.scale), packed.before(span)[rows]
        if span.row_stride == span.row_bytes:  # one row after the other is one long row
            values, before = values.reshape(1, -1), before[:1]
        packed.rows(span)[rows] = span.encoding.encode(values, before, span.order).reshape(-1, span.row_bytes)
    return packed.content


def decode(spans: Sequence[Span], config: Config, packed: bytes) -> tuple[Checkpoint, list[bytes]]:
    """The effective checkpoint (untied, gains of 1 where they were folded, factors divided out again) and the pieces' texts.

    A weight that no span holds is left NaN, so that a layout with a hole cannot go unnoticed."""
    untied = replace(config, tied=False)
    tensors = {name: np.full(shape, 1 if name in GAINS else np.nan, np.float32) for name, shape in untied.shapes().items()}
    effective = Checkpoint(untied, tensors)
    texts = [b""] * config.vocab_size
    file = _File(spans, packed)
    columns, unit = _packed_column_scales(spans, config, file), x_unit(spans, packed)
    for span in spans:
        if isinstance(span, Texts):
            # The length of BOS is 0; its text is there all the same, and ends at the padding.
            texts = [span.text_of(row.tobytes(), whole=token == BOS) for token, row in enumerate(file.rows(span))]
        elif isinstance(span, Weights):
            for rows in _blocks(span):
                data, order = file.rows(span)[rows], span.order_of_rows[rows]
                if span.encoding.most:
                    scales = np.full(len(data), unit) if span.encoding.one_step else span.encoding.scales(data)
                    if not span.shares_steps:
                        scales /= span.scale * _of_columns(columns, span, order, unit)
                    values = span.encoding.steps(data)[:, :span.columns] * (span.step_value * scales)[:, None]
                else:
                    values = span.encoding.decode(np.concatenate([file.before(span)[rows], data], 1), span.order)
                    if span.scale != 1:
                        values = values.astype(np.float64) / span.scale
                with np.errstate(over="ignore"):  # infinity is refused elsewhere
                    span.of(effective)[order] = values
    return effective, texts


class _File:
    """A packed file: the bytes of its spans as arrays, (rows, row_bytes)."""

    def __init__(self, spans: Sequence[Span], content: bytes | None = None) -> None:
        start = spans[0].before if isinstance(spans[0], Weights) else b""
        self._start = len(start)
        self._data = np.zeros(len(start) + packed_bytes(spans), np.uint8)
        self._data[:len(start)] = np.frombuffer(start, np.uint8)
        if content is not None:
            self._data[len(start):] = np.frombuffer(content, np.uint8)

    @property
    def content(self) -> bytes:
        return self.buffer.tobytes()

    @property
    def buffer(self) -> memoryview:
        """The same without a copy."""
        return memoryview(self._data)[self._start:]

    def rows(self, span: Span) -> np.ndarray:
        """The rows of a span: a view."""
        return self._view(span, span.offset, span.row_bytes)

    def before(self, span: Weights) -> np.ndarray:
        """The bytes in front of each row that its encoding reads: a view."""
        return self._view(span, span.offset - span.encoding.early, span.encoding.early)

    def _view(self, span: Span, offset: int, columns: int) -> np.ndarray:
        return np.ndarray((span.rows, columns), np.uint8, self._data, self._start + offset, (span.row_stride, 1))


def _blocks(span: Weights) -> Iterator[slice]:
    """A span's rows, BLOCK weights at a time."""
    rows = max(1, BLOCK // span.columns)
    for first in range(0, span.rows, rows):
        yield slice(first, min(first + rows, span.rows))


def _in_file_order(spans: Sequence[Span]) -> Iterator[tuple[Weights, slice]]:
    """All weights, such that what stands before them was there already: a weight of bf16 reads it. So matrices in one record take
    turns then, row by row."""
    spans = list(spans)
    while spans:
        end = spans[0].offset + spans[0].row_stride
        record = list(itertools.takewhile(lambda span: span.offset < end, spans))
        del spans[:len(record)]
        weights = [span for span in record if isinstance(span, Weights)]
        if len(weights) > 1 and any(span.encoding.early for span in weights):
            for row in range(record[0].rows):
                yield from ((span, slice(row, row + 1)) for span in weights)
        else:
            for span in weights:
                yield from ((span, rows) for rows in _blocks(span))


# A column of the first is added as often as a row of the second says: the size of its step goes into that row.
MEETS = {"wo": "wv", "w2": "w3"}


def _meets(span: Weights, config: Config) -> np.ndarray:
    """For each packed column of wo (or w2) the row of wv (or w3) with whose product it is multiplied."""
    columns = np.array(span.order_of_rows)
    if span.tensor == "w2":
        return columns
    head, element = np.divmod(columns, config.head_size)
    return head // config.kv_mul * config.head_size + element


Scales = dict[tuple[str, int | None], "np.ndarray"]  # by tensor, layer, and what its columns meet


def _column_scales(spans: Sequence[Span], model: Checkpoint) -> Scales:
    """Those of columns that are added, which have no step to themselves."""
    return {(span.tensor, span.layer):
            span.encoding.step(span.of(model)[span.order_of_rows], _meets(span, model.config)) / span.step_value
            for span in spans if isinstance(span, Weights) and span.shares_steps}


def _packed_column_scales(spans: Sequence[Span], config: Config, packed: _File) -> Scales:
    """The same, as the packed file has them."""
    scales: Scales = {}
    for span in spans:
        if isinstance(span, Weights) and span.shares_steps:
            meets = _meets(span, config)
            scales[span.tensor, span.layer] = np.zeros(meets.max() + 1)
            scales[span.tensor, span.layer][meets] = span.encoding.scales(packed.rows(span))
    return scales


def _of_columns(scales: Scales, span: Weights, rows: Sequence[int], unit: float) -> np.ndarray | float:
    """The scales, in x's unit, of the columns that are added as often as these rows say; 1 where there are none."""
    added = next((added for added, other in MEETS.items() if other == span.tensor), "")
    return scales[added, span.layer][rows] / unit if (added, span.layer) in scales else 1.0


def keeps(span: Span, model: Checkpoint) -> bool:
    """Whether a model's weights are whole steps already, where the span has steps; gains are not looked at."""
    if not isinstance(span, Weights) or not span.encoding.most:
        return True
    values = span.of(model)[span.order_of_rows].astype(np.float64)
    groups = _meets(span, model.config) if span.shares_steps else np.arange(span.rows)
    steps = span.encoding.step(values, groups)[0 if span.encoding.one_step else groups]
    steps = np.broadcast_to(steps, (span.rows,))[:, None]
    return bool((span.encoding.numbers(values, steps) * steps == values).all() and (np.frexp(np.abs(steps))[0] == 0.5).all())


def _embedding_step(spans: Sequence[Span], model: Checkpoint) -> float:
    """The one step of an embedding that has one."""
    span = next(span for span in spans if isinstance(span, Weights) and span.encoding.one_step)
    step, = span.encoding.step(span.of(model)[span.order_of_rows])
    epsilon = model.config.dim * model.config.rms_epsilon / (step / span.step_value) ** 2
    if not np.finfo(np.float32).tiny <= epsilon <= np.finfo(np.float32).max:
        raise UserError(f"{span.tensor}: the largest weight is {np.abs(span.of(model)).max():g}: with x counted in steps of {step:g}, "
                        f"dim * rms_epsilon is {epsilon:g}, which does not fit into float32; use another encoding")
    return float(step)


def x_unit(spans: Sequence[Span], packed: bytes | memoryview) -> float:
    """What an engine counts x in: a step of the embedding, where that has one step, over what the engine takes a step for;
    otherwise 1. RMSNorm's epsilon is divided by its square then."""
    step = next((span for span in spans if isinstance(span, Step)), None)
    if step is None:
        return 1.0
    value, = struct.unpack_from("<f", packed, step.offset)
    return value / next(span.step_value for span in spans if isinstance(span, Weights))


def _scaled_rows(span: Weights, rows: slice, model: Checkpoint, columns: Scales, unit: float) -> np.ndarray:
    """Packed rows in steps, with their scales: the step times the factors; and, where columns are added as often as a row says,
    times theirs. Those of the embedding may have one step."""
    values = _folded_rows(span, rows, model, 1)
    if span.encoding.one_step:
        step = scales = np.array([unit * span.step_value])
    elif span.shares_steps:
        scales = columns[span.tensor, span.layer][_meets(span, model.config)[rows]]
        step = scales * span.step_value
    else:
        step = span.encoding.step(values)
        scales = step / span.step_value * span.scale * _of_columns(columns, span, span.order_of_rows[rows], unit)
    most = max(span.encoding.most, -span.encoding.least)
    weights, times = (most, f" times {most}") if span.encoding.scales_weights else (1, "")
    bad = np.flatnonzero(np.abs(scales) * weights > np.finfo(np.float32).max)
    if len(bad):
        raise UserError(f"{span.tensor}: layer {span.layer}, row {rows.start + bad[0]}: its scale of {scales[bad[0]]:g}{times} does "
                        "not fit into float32")
    return span.encoding.encode_steps(values, step, scales)


def _folded_rows(span: Weights, rows: slice, model: Checkpoint, scale: float) -> np.ndarray:
    """The values of packed rows: the checkpoint's, times the gains of the norm before them, times a scale."""
    values = span.of(model)[span.order_of_rows[rows]]
    gains = span.gains(model)
    if gains is None and scale == 1:
        return values
    exact = values.astype(np.float64)
    if gains is not None:
        exact *= gains
    exact *= scale
    with np.errstate(over="ignore"):
        result = exact.astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(result).all(1))
    if len(bad):
        raise UserError(f"{span.tensor}: layer {span.layer}, row {rows.start + bad[0]}: a weight does not fit into float32 once its "
                        f"gain and {', '.join(span.factors)} are multiplied in; the largest is {np.abs(exact[bad[0]]).max():g}")
    return result


def manifest(spans: Sequence[Span]) -> list[dict[str, object]]:
    """The spans as plain data for the manifest."""
    return [{"tensor": span.tensor, "layer": None, "offset": span.offset, "rows": span.rows, "row_bytes": span.row_bytes,
             "row_stride": span.row_stride, "counted": span.counted} | span.facts() for span in spans]
