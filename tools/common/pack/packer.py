"""From a layout to the bytes of the packed file, and back.

    from common.pack import packer
    spans = packer.plan("stream", "f32", config, pieces)      # every byte of the packed file
    packed = packer.encode(spans, model, pieces)
    effective, texts = packer.decode(spans, config, packed)   # what the engine's weights and pieces really are

A plan says in which order a number's bytes stand, that of the machine that will read it.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, replace
from typing import Iterator, Mapping, Sequence

from common.errors import UserError
from common.model.checkpoint import Checkpoint, Config, all_finite
from common.model.tokenizer import BOS, printed
from common.pack import utf16
from common.pack.encodings import ENCODINGS, Encoding
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
    start: int  # where the first of them begins in the flat tensor,
    row_step: int  # how far they are apart there,
    step: int  # and the elements of each
    backwards: bool
    gain_cells: slice | None  # the gains of a row, in the norm's flat tensor; the same for all rows
    columns: int
    transposed: bool  # whether the rows are the tensor's columns
    step_value: int  # what the engine takes a step of a scaled row for
    order: str  # of a number's bytes: little or big
    before: bytes = b""  # what stands before the packed file, for a weight that begins it

    def cells(self, row: int) -> slice:
        """A packed row's place in the flat tensor."""
        return _cells(self.start + self.order_of_rows[row] * self.row_step, self.columns, self.step, self.backwards)

    def facts(self) -> dict[str, object]:
        return {"encoding": self.encoding.name, "byte_order": self.order, "layer": self.layer,
                "shape": [self.rows, self.columns], "gain": self.gain, "factors": list(self.factors), "scale": self.scale}


def plan(layout: str, encoding: str, config: Config, pieces: Sequence[bytes], order: str = "little") -> list[Span]:
    """Every byte of the packed file, in spans that follow the layout's declaration. `order`: of the machine's bytes."""
    if order not in ENCODINGS[encoding].byte_orders:
        raise UserError(f"encoding {encoding}: {order}-endian machines cannot read it, use one of "
                        f"{', '.join(name for name, known in ENCODINGS.items() if order in known.byte_orders)}")
    longest, declared = longest_piece(pieces), LAYOUTS[layout]
    if not declared.empty_pieces:
        empty = next((token for token, piece in enumerate(pieces) if not piece and token != BOS), None)
        if empty is not None:
            raise UserError(f"token {empty}: an empty piece, which engines with layout {layout} would take for the end; "
                            "use another engine, or give it a text")
    groups = [[_span(part, declared, ENCODINGS[encoding], config, pieces, longest, order) for part in
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
            span.offset, span.row_stride = offset, stride
            offset += span.row_bytes
        offset += stride * (group[0].rows - 1)
        spans += group
    if isinstance(spans[0], Weights) and early:
        spans[0].before = declared.before[-early:]
    return spans


def check_rows(spans: Sequence[Span]) -> None:
    """Refuses rows so short that they would be smaller in bf16 than with a scale."""
    for span in spans:
        if isinstance(span, Weights) and span.encoding.most and span.row_bytes > ENCODINGS["bf16"].row_bytes(span.columns):
            raise UserError(f"encoding {span.encoding.name}: {span.tensor}: with its scale a row of {span.columns} weights has "
                            f"{span.row_bytes} bytes, more than in bf16; use bf16")


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
        return Texts("vocabulary", config.vocab_size, record_bytes + -record_bytes % part.multiple, text=part, longest_piece=longest)
    if isinstance(part, Text):
        if longest + part.length_bias > LONGEST_PIECE:
            part = replace(part, length_bias=0)
        record_bytes = part.text_offset + longest + part.length_last + encoding.zeros * part.before_embedding
        record_bytes += -record_bytes % part.multiple
        return Texts("vocabulary", config.vocab_size, record_bytes, text=part, longest_piece=longest)
    if part.tensor == "token_embedding" and encoding.embedding:
        encoding = ENCODINGS[encoding.embedding]
    n_rows, n_columns = (config.vocab_size, config.dim) if part.tensor == "wcls" else (1, *config.shapes()[part.tensor])[-2:]
    start = (part.layer or 0) * n_rows * n_columns
    rows, columns = (n_columns, n_rows) if part.transposed else (n_rows, n_columns)
    row_step, step = (1, n_columns) if part.transposed else (n_columns, 1)
    order_of_rows = range(rows) if part.order is None else part.order
    gain_start = 0 if part.layer is None else part.layer * config.dim
    return Weights(part.tensor, len(order_of_rows), encoding.row_bytes(columns), encoding=encoding, layer=part.layer, gain=part.gain,
                   factors=part.factors, scale=math.prod(FACTORS[name](config) for name in part.factors), order_of_rows=order_of_rows,
                   start=start, row_step=row_step, step=step, backwards=part.backwards,
                   gain_cells=_cells(gain_start, config.dim, 1, part.backwards) if part.gain else None, columns=columns,
                   transposed=part.transposed, step_value=layout.step_value, order=order)


def _cells(start: int, count: int, step: int, backwards: bool) -> slice:
    """The slice start, start + step, … of `count` elements, or the same from its last element to its first."""
    if not backwards:
        return slice(start, start + (count - 1) * step + 1, step)
    before = start - step
    return slice(start + (count - 1) * step, before if before >= 0 else None, -step)


def encode(spans: Sequence[Span], model: Checkpoint, pieces: Sequence[bytes]) -> bytes:
    """The packed file."""
    packed = bytearray(packed_bytes(spans))
    steps = _column_steps(spans, model)
    # In the order of the file, for the low half of a bf16 weight is what stands before it.
    for span, row, offset in _rows_in_file_order(spans):
        if isinstance(span, Texts):
            text = printed(pieces[row])
            packed[offset:offset + span.row_bytes] = span.record(text, 0 if row == BOS else len(text))
        elif isinstance(span, Weights):
            if span.encoding.most:
                data = _scaled_row(span, row, model, steps)
            else:
                data = span.encoding.encode(_folded_row(span, row, model, span.scale), _before(span, packed, offset), span.order)
            packed[offset:offset + span.row_bytes] = data
    return bytes(packed)


def decode(spans: Sequence[Span], config: Config, packed: bytes) -> tuple[Checkpoint, list[bytes]]:
    """The effective checkpoint (untied, gains of 1 where they were folded, factors divided out again) and the pieces' texts.

    A weight that no span holds is left NaN, so that a layout with a hole cannot go unnoticed."""
    untied = replace(config, tied=False)
    tensors = {name: array("f", [1.0 if name.startswith("rms") else math.nan]) * math.prod(shape)
               for name, shape in untied.shapes().items()}
    texts = [b""] * config.vocab_size
    steps = _packed_column_steps(spans, config, packed)
    for span in spans:
        for row in range(span.rows):
            offset = span.offset + row * span.row_stride
            data = packed[offset:offset + span.row_bytes]
            if isinstance(span, Texts):
                # The length of BOS is 0; its text is there all the same, and ends at the padding.
                texts[row] = span.text_of(data, whole=row == BOS)
            elif isinstance(span, Weights) and span.encoding.most:
                scale, step_value = span.encoding.scale(data), span.step_value
                if not span.transposed:
                    scale /= span.scale * steps.get((_added(span), span.layer, span.order_of_rows[row]), 1)
                tensors[span.tensor][span.cells(row)] = array("f", [
                    number * step_value * scale for number in span.encoding.steps(data)])
            elif isinstance(span, Weights):
                tensors[span.tensor][span.cells(row)] = _divided(
                    span.encoding.decode(_before(span, packed, offset) + data, span.order), span.scale)
    return Checkpoint(untied, tensors), texts


# A column of the first is added as often as a row of the second says: the size of its step goes into that row.
MEETS = {"wo": "wv", "w2": "w3"}


def _meets(span: Weights, row: int, config: Config) -> int:
    """The row of wv (or w3) whose product a packed column of wo (or w2) is multiplied with."""
    column = span.order_of_rows[row]
    if span.tensor == "w2":
        return column
    head, element = divmod(column, config.head_size)
    return head // config.kv_mul * config.head_size + element


def _added(span: Weights) -> str:
    """The tensor whose columns meet a tensor's rows."""
    return next((added for added, other in MEETS.items() if other == span.tensor), "")


def _column_steps(spans: Sequence[Span], model: Checkpoint) -> dict[tuple[str, int | None, int], float]:
    """By tensor, layer, and what they meet: the step of columns that are added, which have none to themselves."""
    columns: dict[tuple[str, int | None, int], tuple[Encoding, list[float]]] = {}
    for span in spans:
        if isinstance(span, Weights) and span.encoding.most and span.transposed:
            for row in range(span.rows):
                _, values = columns.setdefault((span.tensor, span.layer, _meets(span, row, model.config)), (span.encoding, []))
                values += model.tensors[span.tensor][span.cells(row)]
    return {place: encoding.step(values) for place, (encoding, values) in columns.items()}


def _packed_column_steps(spans: Sequence[Span], config: Config, packed: bytes) -> dict[tuple[str, int | None, int], float]:
    """The same, as the packed file has them: of what the engine takes for one."""
    steps = {}
    for span in spans:
        if isinstance(span, Weights) and span.encoding.most and span.transposed:
            for row in range(span.rows):
                offset = span.offset + row * span.row_stride
                steps[span.tensor, span.layer, _meets(span, row, config)] = span.encoding.scale(
                    packed[offset:offset + span.row_bytes])
    return steps


def _scaled_row(span: Weights, row: int, model: Checkpoint, steps: Mapping[tuple[str, int | None, int], float]) -> bytes:
    """A packed row in steps, with its scale: the step times the factors; and, where columns are added as often as it says, times
    theirs."""
    values = _folded_row(span, row, model, 1)
    if span.transposed:
        step = steps[span.tensor, span.layer, _meets(span, row, model.config)]
        scale = step / span.step_value
    else:
        step = span.encoding.step(values)
        scale = step / span.step_value * span.scale
        added = steps.get((_added(span), span.layer, span.order_of_rows[row]))
        if added is not None:
            scale *= added / span.step_value
    try:
        return span.encoding.encode_steps(values, step, scale)
    except OverflowError:
        raise UserError(f"{span.tensor}: layer {span.layer}, row {row}: its scale of {scale:g} does not fit into float32")


def _before(span: Weights, packed: bytes | bytearray, offset: int) -> bytes:
    """What an encoding reads before an offset of the packed file."""
    return bytes(packed[offset - span.encoding.early:offset]) if offset else span.before


def _rows_in_file_order(spans: Sequence[Span]) -> Iterator[tuple[Span, int, int]]:
    """(span, row, offset of the row) by rising offset. Spans that share a stride are the fields of one record."""
    first = 0
    while first < len(spans):
        record = spans[first]
        last = first + 1
        while last < len(spans) and spans[last].offset < record.offset + record.row_stride:
            last += 1
        for row in range(record.rows):
            for span in spans[first:last]:
                yield span, row, span.offset + row * span.row_stride
        first = last


def _folded_row(span: Weights, row: int, model: Checkpoint, scale: float) -> array[float]:
    """A packed row's values: the checkpoint's, times the gains of the norm before it, times a scale."""
    tensor = model.classifier if span.tensor == "wcls" else model.tensors[span.tensor]
    values = tensor[span.cells(row)]
    if span.gain is not None:
        gains = model.tensors[span.gain][span.gain_cells]
        folded = [value * gain * scale for value, gain in zip(values, gains)]
    elif scale != 1:
        folded = [value * scale for value in values]
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


def manifest(spans: Sequence[Span]) -> list[dict[str, object]]:
    """The spans as plain data for the manifest."""
    return [{"tensor": span.tensor, "layer": None, "offset": span.offset, "rows": span.rows, "row_bytes": span.row_bytes,
             "row_stride": span.row_stride, "counted": span.counted} | span.facts() for span in spans]
