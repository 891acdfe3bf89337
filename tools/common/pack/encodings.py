"""How weights are encoded in a packed model.

    from common.pack.encodings import ENCODINGS
    data = ENCODINGS["bf16"].encode(values, before)       # `before` are the two bytes in front of the row
    ENCODINGS["bf16"].decode(before + data)               # what an engine loads
    ENCODINGS["f32"].encode(values, b"", "big")           # for a machine whose first byte is the highest one
    ENCODINGS["int8"].encode_steps(values, step, scale)   # whole steps, and a scale for the row

An encoding is one class here, and one include for each language of the engines: golf/cpp/weights/NAME.hpp,
golf/asm/weights/NAME.inc.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from typing import Iterable


class Encoding:
    """One way to write a row of weights."""

    name: str
    weight_bytes: int
    early: int = 0  # so many bytes before a weight its load begins
    embedding: str = ""  # the encoding of the embedding, where that is another one
    zeros: int = 0  # so many zeros stand before a row of the embedding, where text does
    most: int = 0  # with a scale for each row: the largest number of steps
    byte_orders: tuple[str, ...] = ("little",)  # those of the machines that can read it

    def row_bytes(self, columns: int) -> int:
        return columns * self.weight_bytes

    def encode(self, values: array[float], before: bytes, order: str = "little") -> bytes:
        """A row, whose weights come as near to the values as they can. `before`: the `early` bytes in front of it; `order`:
        that of the machine's bytes."""
        raise NotImplementedError

    def decode(self, data: bytes, order: str = "little") -> array[float]:
        """The weights of a row, which `data` has with the `early` bytes in front of it."""
        raise NotImplementedError


class Float32(Encoding):
    """float32."""

    name, weight_bytes, byte_orders = "f32", 4, ("little", "big")

    def encode(self, values: array[float], before: bytes, order: str = "little") -> bytes:
        return to_bytes(values, order)

    def decode(self, data: bytes, order: str = "little") -> array[float]:
        return from_bytes(data, order=order)


class BFloat16(Encoding):
    """16 bits a weight, dense: the engine loads 32 bits that begin two bytes early, so a weight's low half is the 16 bits
    before it (the previous weight, or whatever stands there). The packer knows them, and chooses the upper half that comes
    nearest. (On a big-endian machine the 16 bits before a weight would be its upper half.)"""

    name, weight_bytes, early = "bf16", 2, 2

    def encode(self, values: array[float], before: bytes, order: str = "little") -> bytes:
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
        return to_bytes(halves)

    def decode(self, data: bytes, order: str = "little") -> array[float]:
        halves = from_bytes(data, "H")
        return from_bytes(to_bytes(array("I", [low | high << 16 for low, high in zip(halves, halves[1:])])))


class Int8(Encoding):
    """A byte a weight, and behind each row the size of a step as float32: -127 to 127 steps. Weights that lie on such a grid
    are exact. The embedding is bf16, as it is copied and not multiplied: conversion and a scale would cost more than the
    bytes that it has less.

    A row that is added (a column of wo or w2, stored transposed) is not scaled when it is used; its scale is in that of the row
    that makes what it is multiplied with (of wv, w3) as well."""

    name, weight_bytes, embedding, zeros, most = "int8", 1, "bf16", 4, 127

    def row_bytes(self, columns: int) -> int:
        return columns * self.weight_bytes + SCALE_BYTES

    def step(self, values: Iterable[float]) -> float:
        """The step for these weights: a power of two when all are whole numbers of steps then, otherwise the smallest one."""
        values = [abs(value) for value in values]
        largest = max(values)
        if largest == 0:
            return 1.0
        if largest < self.most * SMALLEST_STEP:
            return SMALLEST_STEP
        power = 2.0 ** math.ceil(math.log2(largest / self.most))
        return power if all((value / power).is_integer() for value in values) else largest / self.most

    def encode_steps(self, values: Iterable[float], step: float, scale: float) -> bytes:
        """A row in steps, and the scale that the engine multiplies its product with."""
        most = self.most
        steps = array("b", [max(-most, min(most, round(value / step))) for value in values])
        return steps.tobytes() + struct.pack("<f", scale)

    def steps(self, data: bytes) -> array[int]:
        """The numbers of a row."""
        return array("b", data[:-SCALE_BYTES])

    def scale(self, data: bytes) -> float:
        """That of a row."""
        return struct.unpack("<f", data[-SCALE_BYTES:])[0]


SCALE_BYTES = 4
SMALLEST_STEP = 2.0**-100  # a float32, and not next to nothing

ENCODINGS = {encoding.name: encoding() for encoding in Encoding.__subclasses__()}


def _float(bits: int) -> float:
    """The float32 with these bits."""
    return struct.unpack("<f", bits.to_bytes(4, "little"))[0]


def to_bytes(values: array, order: str = "little") -> bytes:
    if sys.byteorder != order:
        values = values[:]
        values.byteswap()
    return values.tobytes()


def from_bytes(data: bytes, typecode: str = "f", order: str = "little") -> array:
    values = array(typecode)
    values.frombytes(data)
    if sys.byteorder != order:
        values.byteswap()
    return values
