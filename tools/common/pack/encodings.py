"""How weights are encoded in a packed model.

    from common.pack.encodings import ENCODINGS
    data = ENCODINGS["bf16"].encode(values, before)       # `before` are the two bytes in front of each row
    ENCODINGS["bf16"].decode(before_and_data)             # what an engine loads
    ENCODINGS["f32"].encode(values, before, "big")        # for a machine whose first byte is the highest one
    ENCODINGS["int8"].encode_steps(values, steps, scales) # whole steps, and a scale for each row

An encoding is one class here, and one include for each language of the engines with an x87: golf/cpp/weights/NAME.hpp,
golf/asm/weights/NAME.inc. It may have another form for engines of another kind: FOR_STREAM, FOR_DOUBLES, LOWER_HALF_FIRST.

Values are float32 (rows, columns); data is bytes, uint8 (rows, row_bytes).
"""

from __future__ import annotations

import struct

from common.libraries import numpy as np


class Encoding:
    """One way to write rows of weights."""

    name: str
    weight_bytes: int  # that an engine loads for a weight
    early: int = 0  # so many bytes before a weight its load begins
    embedding: Encoding | None = None  # that of the embedding, where it is another one
    zeros: int = 0  # so many zeros stand before a row of the embedding, where text does
    most: int = 0  # with a scale for each row: the largest number of steps
    least: int = 0  # and the smallest one
    scales_weights: bool = False  # an engine multiplies each weight with its row's scale, not a row's product with it
    one_step: bool = False  # a power of two, for all rows: the engine counts x in it, so they have no scales
    byte_orders: tuple[str, ...] = ("little",)  # those of the machines that can read it

    @property
    def weight_bits(self) -> int:
        """Of a weight alone, in a row."""
        return 8 * self.weight_bytes

    def row_bytes(self, columns: int) -> int:
        return columns * self.weight_bytes

    def encode(self, values: np.ndarray, before: np.ndarray, order: str = "little") -> np.ndarray:
        """Rows, whose weights come as near to the values as they can. `before`, (rows, early): the bytes in front of each;
        `order`: that of the machine's bytes."""
        raise NotImplementedError

    def decode(self, data: np.ndarray, order: str = "little") -> np.ndarray:
        """The weights of rows; `data` has each with the `early` bytes in front of it."""
        raise NotImplementedError


class Float32(Encoding):
    """float32."""

    name, weight_bytes, byte_orders = "f32", 4, ("little", "big")

    def encode(self, values: np.ndarray, before: np.ndarray, order: str = "little") -> np.ndarray:
        return _bytes(values, FLOAT32[order])

    def decode(self, data: np.ndarray, order: str = "little") -> np.ndarray:
        return _numbers(data, FLOAT32[order])


class BFloat16(Encoding):
    """16 bits a weight, dense: the engine loads 32 bits that begin two bytes early, so a weight's low half is the 16 bits
    before it (the previous weight, or whatever stands there). The packer knows them, and chooses the upper half that comes
    nearest. (On a big-endian machine the 16 bits before a weight would be its upper half.)"""

    name, weight_bytes, early = "bf16", 2, 2

    def encode(self, values: np.ndarray, before: np.ndarray, order: str = "little") -> np.ndarray:
        bits = _numbers(_bytes(values, "<f4"), "<i4")
        magnitudes, signs = bits & 0x7FFFFFFF, bits >> 16 & 0x8000
        # The low half of a weight is what its predecessor's upper half becomes: that of its value, or one next to it.
        lows = np.concatenate([_numbers(before, "<u2"), bits[:, :-1] >> 16 & 0xFFFF], 1)
        # Floats of one exponent are as far apart as their bits: the nearest upper half is a rounded division.
        distances = magnitudes - lows + 0x8000
        halves = np.clip(distances >> 16, 0, LARGEST_HALF)
        # Where another low half may lead to another half, or there is another exponent, they are taken one after the other.
        edges = (distances + 2 & 0xFFFF) <= 4
        edges |= (halves << 16 ^ magnitudes) >> 23 != 0
        halves |= signs
        rows, columns = edges.nonzero()
        for row, column, magnitude, sign in zip(rows.tolist(), columns.tolist(), magnitudes[edges].tolist(), signs[edges].tolist()):
            low = int(halves[row, column - 1]) if column else int(lows[row, 0])
            halves[row, column] = sign | _nearest_half(magnitude, low)
        return _bytes(halves, "<u2")

    def decode(self, data: np.ndarray, order: str = "little") -> np.ndarray:
        halves = _numbers(data, "<u2").astype(np.uint32)
        return _numbers(_bytes(halves[:, :-1] | halves[:, 1:] << 16, "<u4"), "<f4")


class BFloat16Alone(Encoding):
    """16 bits a weight, to which 16 zeros are the lower half: for an engine that copies them to where zeros are."""

    name, weight_bytes = "bf16", 2

    def encode(self, values: np.ndarray, before: np.ndarray, order: str = "little") -> np.ndarray:
        bits = _numbers(_bytes(values, "<f4"), "<i4")
        halves = np.minimum((bits & 0x7FFFFFFF) + 0x8000 >> 16, LARGEST_HALF)
        return _bytes(halves | bits >> 16 & 0x8000, "<u2")

    def decode(self, data: np.ndarray, order: str = "little") -> np.ndarray:
        return _numbers(_bytes(_numbers(data, "<u2").astype(np.uint32) << 16, "<u4"), "<f4")


def _nearest_half(magnitude: int, low: int) -> int:
    """The upper half with which a float (its bits, without sign) comes nearest when this is its low half."""
    half = min(max(magnitude - low + 0x8000 >> 16, 0), LARGEST_HALF)
    found = half << 16 | low
    if (found ^ magnitude) >> 23:  # another exponent: the half on the other side may be nearer after all
        other = half - 1 if found > magnitude else half + 1
        if 0 <= other <= LARGEST_HALF and abs(_float(other << 16 | low) - _float(magnitude)) < abs(_float(found) - _float(magnitude)):
            return other
    return half


def _float(bits: int) -> float:
    """The float32 with these bits."""
    return struct.unpack("<f", bits.to_bytes(4, "little"))[0]


class Int8(Encoding):
    """A byte a weight, and behind each row the size of a step as float32: -127 to 127 steps. Weights that lie on such a grid
    are exact. The embedding is bf16, as it is copied and not multiplied: conversion and a scale would cost more than the
    bytes that it has less.

    A row that is added (a column of wo or w2, stored transposed) is not scaled when it is used; its scale is in that of the row
    that makes what it is multiplied with (of wv, w3) as well."""

    name, weight_bytes, embedding, zeros, most, least = "int8", 1, BFloat16(), 4, 127, -127

    def row_bytes(self, columns: int) -> int:
        return columns * self.weight_bytes + SCALE_BYTES

    def step(self, values: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
        """The step for each row of values: a power of two when all are whole numbers of steps then, otherwise the smallest one.
        `groups`: the number of each row's group, for which there is one step."""
        groups = np.arange(len(values)) if groups is None else groups
        values = np.asarray(values, np.float64)
        largest = np.zeros(groups.max() + 1)
        np.maximum.at(largest, groups, np.abs(values).max(1))
        smallest = np.maximum(largest / self.most, SMALLEST_STEP)
        fraction, exponent = np.frexp(smallest)
        powers = np.ldexp(1.0, np.where(fraction == 0.5, exponent - 1, exponent))
        whole = np.ones(len(largest), bool)
        np.logical_and.at(whole, groups, np.mod(values, powers[groups, None]).max(1) == 0)
        return np.where(largest == 0, 1.0, np.where(whole & (largest >= self.most * SMALLEST_STEP), powers,
                                                    self._not_whole(values, groups, largest, smallest)))

    def _not_whole(self, values: np.ndarray, groups: np.ndarray, largest: np.ndarray, smallest: np.ndarray) -> np.ndarray:
        """The step of each group whose values are no whole numbers of steps."""
        return smallest

    def encode_steps(self, values: np.ndarray, steps: np.ndarray, scales: np.ndarray) -> np.ndarray:
        """Rows, each in steps of its own, and with the scale that the engine multiplies its product with."""
        numbers = self.numbers(np.asarray(values, np.float64), steps[:, None])
        return np.concatenate([self._packed(numbers), _bytes(scales[:, None], "<f4")], 1)

    def numbers(self, values: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """The whole number of steps for each value."""
        return np.clip(np.rint(values / steps), self.least, self.most)

    def _packed(self, numbers: np.ndarray) -> np.ndarray:
        """The bytes of rows of numbers."""
        return _bytes(numbers, "i1")

    def steps(self, data: np.ndarray) -> np.ndarray:
        """The numbers of rows; maybe one more than a row has columns."""
        return _numbers(data[:, :-SCALE_BYTES], "i1")

    def scales(self, data: np.ndarray) -> np.ndarray:
        """Those of rows, as float64."""
        return _numbers(data[:, -SCALE_BYTES:], "<f4")[:, 0].astype(np.float64)


class Int8Doubles(Int8):
    """The same for engines that compute in doubles. There each weight is multiplied with its row's scale, which is in front of
    the row: so rows that are added have scales of their own, and so has the embedding, which goes through the same routine."""

    embedding, zeros, scales_weights = None, 0, True

    def encode_steps(self, values: np.ndarray, steps: np.ndarray, scales: np.ndarray) -> np.ndarray:
        return np.roll(super().encode_steps(values, steps, scales), SCALE_BYTES, 1)

    def steps(self, data: np.ndarray) -> np.ndarray:
        return super().steps(np.roll(data, -SCALE_BYTES, 1))

    def scales(self, data: np.ndarray) -> np.ndarray:
        return super().scales(np.roll(data, -SCALE_BYTES, 1))


class Int4Rows(Int8):
    """Half a byte a weight, the upper half first, as many as make whole bytes: -8 to 7 steps. Weights that are -7 to 7 times a
    power of two are exact.

    Steps are so coarse that the largest weight is not the best to choose them by: what would be 5 to 10 of them, of either sign,
    is -8 to 7; taken is the step that leaves the smallest squares of errors."""

    name, weight_bits, embedding, zeros, most, least = "int4", 4, None, 0, 7, -8

    def row_bytes(self, columns: int) -> int:
        return -(-columns // 2) + SCALE_BYTES

    def _not_whole(self, values: np.ndarray, groups: np.ndarray, largest: np.ndarray, smallest: np.ndarray) -> np.ndarray:
        best, least = smallest, np.full(len(largest), np.inf)
        for count in LARGEST_IN_STEPS:
            steps = np.copysign(np.maximum(largest / abs(count), SMALLEST_STEP), count)
            of_rows, squares = steps[groups, None], np.zeros(len(largest))
            np.add.at(squares, groups, ((self.numbers(values, of_rows) - values / of_rows) ** 2).sum(1) * of_rows[:, 0] ** 2)
            best, least = np.where(squares < least, steps, best), np.minimum(squares, least)
        return best

    def _packed(self, numbers: np.ndarray) -> np.ndarray:
        halves = np.pad(numbers.astype(np.int8), ((0, 0), (0, numbers.shape[1] % 2))).view(np.uint8)
        return halves[:, ::2] << 4 | halves[:, 1::2] & 0x0F

    def steps(self, data: np.ndarray) -> np.ndarray:
        return self._halves(data[:, :-SCALE_BYTES])

    @staticmethod
    def _halves(data: np.ndarray) -> np.ndarray:
        """The numbers that are two in a byte."""
        both = _numbers(data, "i1")
        return np.stack([both >> 4, both << 4 >> 4], 2).reshape(len(data), -1)


class Int4Table(Int4Rows):
    """The embedding in int4. All of it has one step, a power of two, in which the engine counts x: so a row is added to x as
    whole numbers, and has no scale. Behind the last row stands the step, as float32."""

    one_step = True

    def row_bytes(self, columns: int) -> int:
        return -(-columns // 2)

    def step(self, values: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
        """The largest power of two of which all values are whole numbers, when they are; or else that with the smallest errors."""
        values = np.asarray(values, np.float64)
        largest = np.abs(values).max()
        if largest == 0:
            return np.ones(1)
        _, exponent = np.frexp(largest / self.most)
        steps = np.ldexp(1.0, np.arange(exponent - 1, exponent + 2))
        squares = [((self.numbers(values, step) * step - values) ** 2).sum() for step in steps]
        return steps[[int(np.argmin(squares))]]

    def encode_steps(self, values: np.ndarray, steps: np.ndarray, scales: np.ndarray) -> np.ndarray:
        return self._packed(self.numbers(np.asarray(values, np.float64), steps))

    def steps(self, data: np.ndarray) -> np.ndarray:
        return self._halves(data)


class Int4(Int4Rows):
    """All else is as in int8, but for the embedding: it goes through the same routine as a row that is added."""

    embedding = Int4Table()


class Int4Doubles(Int8Doubles, Int4Rows):
    """The same for engines that compute in doubles: a row has its scale in front, as in int8, and the embedding is in int4, too."""


class Int4DoublesLowerFirst(Int4Doubles):
    """The same, with the lower half of a byte first."""

    def _packed(self, numbers: np.ndarray) -> np.ndarray:
        return _halves_exchanged(super()._packed(numbers))

    def steps(self, data: np.ndarray) -> np.ndarray:
        return super().steps(_halves_exchanged(data))


class BFloat16Stream(BFloat16):
    """As golf/cpp/x87.cpp reads it: the embedding is copied."""

    embedding = BFloat16Alone()


class Int8Stream(Int8):
    """The same in int8."""

    embedding = BFloat16Alone()


class Int4Stream(Int4Rows):
    """The same in int4."""

    embedding = BFloat16Alone()


LARGEST_HALF = 0x7F7F  # of a finite float
FLOAT32 = {"little": "<f4", "big": ">f4"}
SCALE_BYTES = 4
LARGEST_IN_STEPS = [sign * count / 8 for count in range(40, 81) for sign in (1, -1)]
SMALLEST_STEP = 2.0**-100  # a float32, and not next to nothing

ENCODINGS: dict[str, Encoding] = {encoding.name: encoding() for encoding in (Float32, BFloat16, Int8, Int4)}
# Of layouts whose engines are golf/cpp/x87.cpp.
FOR_STREAM: dict[str, Encoding] = {"f32": Float32(), "bf16": BFloat16Stream(), "int8": Int8Stream(), "int4": Int4Stream()}
# Of layouts whose engines compute in doubles.
FOR_DOUBLES: dict[str, Encoding] = {"f32": Float32(), "bf16": BFloat16(), "int8": Int8Doubles(), "int4": Int4Doubles()}
# Of those whose engines take the lower half of a byte first, which is shorter there.
LOWER_HALF_FIRST: dict[str, Encoding] = FOR_DOUBLES | {"int4": Int4DoublesLowerFirst()}


def _halves_exchanged(data: np.ndarray) -> np.ndarray:
    """The upper and the lower half of each byte."""
    return data << 4 | data >> 4


def _bytes(numbers: np.ndarray, kind: str) -> np.ndarray:
    """Rows of numbers as rows of bytes."""
    return np.ascontiguousarray(numbers, kind).view(np.uint8)


def _numbers(data: np.ndarray, kind: str) -> np.ndarray:
    """And back."""
    return np.ascontiguousarray(data).view(kind)
