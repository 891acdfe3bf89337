"""Text in characters of 16 bits, as UEFI's firmware prints it.

    from common.pack import utf16
    utf16.encode(b"caf\\xc3\\xa9\\n")           # "café\\r\\n" in UTF-16, little-endian, without an end
    utf16.decode(data)                      # the bytes again, whatever they were

A line feed is CR LF there, for LF alone only goes down. What is no UTF-8 has no character: each such byte, and NUL, which ends a
text, becomes DC00h + byte, a code that is no character either (Python's surrogateescape, with NUL). So nothing is lost: the
pieces of a character that come one after the other are its bytes again when they are decoded together.
"""

from __future__ import annotations

CHARACTER = 2  # bytes
NUL = "\udc00"


def encode(text: bytes) -> bytes:
    characters = text.decode("utf-8", "surrogateescape").replace("\0", NUL).replace("\n", "\r\n")
    return characters.encode("utf-16-le", "surrogatepass")


def decode(data: bytes) -> bytes:
    """The reverse, also of several texts in a row."""
    characters = data.decode("utf-16-le", "surrogatepass").replace("\r\n", "\n").replace(NUL, "\0")
    return characters.encode("utf-8", "surrogateescape")


def split(data: bytes) -> tuple[bytes, bytes, bytes]:
    """The text up to the first zero, the zero, and what is behind it."""
    end = next((i for i in range(0, len(data) - 1, CHARACTER) if not data[i] and not data[i + 1]), len(data))
    return data[:end], data[end:end + CHARACTER], data[end + CHARACTER:]
