"""common/model/tokenizer.py: round trip, every kind of damage, and what a piece prints."""

from __future__ import annotations

import math
import struct

from support.folders import FolderTest
from support.skip import main

from common.model import tokenizer

PIECES = [b"<unk>", b"\n<s>\n", b"", b"<0x0A>", b" the", "é".encode()]
SCORES = [0.0, 0.0, 0.0, -1.5, -2.0, -1e9]


class RoundTrip(FolderTest):
    def test_round_trip(self) -> None:
        tokenizer.write(self.folder / "t.bin", PIECES, SCORES)
        vocabulary = tokenizer.load(self.folder / "t.bin", 6)
        self.assertEqual(vocabulary, tokenizer.Vocabulary(PIECES, SCORES, 6))
        self.assertEqual((self.folder / "t.bin").read_bytes()[:17], struct.pack("<ifi", 6, 0.0, 5) + b"<unk>")

    def test_write_refuses_wrong_count(self) -> None:
        self.assertUserError("scores: 5", tokenizer.write, self.folder / "t.bin", PIECES, SCORES[1:])


class Printed(FolderTest):
    def test_printed(self) -> None:
        for piece, expected in [(b"<0x0A>", b"\n"), (b"<0xff>", b"\xff"), (b"<0x00>", b"\0"), (b" the", b" the"),
                                (b"<0x0A", b"<0x0A"), (b"<0x0A> ", b"<0x0A> "), (b"<0x0A>\n", b"<0x0A>\n"),
                                (b"<0xZZ>", b"<0xZZ>"), (b"\n<s>\n", b"\n<s>\n"), (b"", b"")]:
            self.assertEqual(tokenizer.printed(piece), expected)


class BadInput(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.folder / "t.bin"
        tokenizer.write(self.path, PIECES, SCORES)
        self.good = self.path.read_bytes()

    def assertRefused(self, pattern: str, data: bytes, vocab_size: int = 6) -> None:
        self.path.write_bytes(data)
        message = self.assertUserError(pattern, tokenizer.load, self.path, vocab_size)
        self.assertTrue(message.startswith(f"{self.path}: "), message)

    def test_missing(self) -> None:
        self.assertUserError("No such file", tokenizer.load, self.folder / "none.bin", 6)

    def test_empty(self) -> None:
        self.assertRefused("empty", b"")

    def test_every_truncation(self) -> None:
        for size in range(1, len(self.good)):
            self.assertRefused("ends early|the file has . tokens, the checkpoint 6", self.good[:size])

    def test_wrong_count(self) -> None:
        self.assertRefused("vocab_size: the file has 6 tokens, the checkpoint 7", self.good, 7)
        self.assertRefused("vocab_size: 10 bytes are left after the checkpoint's 5 tokens", self.good, 5)
        self.assertRefused("vocab_size: 1 bytes are left", self.good + b"\0")

    def test_max_token_length(self) -> None:
        for value in (0, -1, 2**31 - 1):
            self.assertRefused(f"max_token_length: {value}, a value from 1", struct.pack("<i", value) + self.good[4:])

    def test_length(self) -> None:
        for value in (-1, 7, 2**31 - 1):
            self.assertRefused(f"token 0: length {value}, a value from 0 to max_token_length 6",
                               self.good[:8] + struct.pack("<i", value) + self.good[12:])

    def test_score(self) -> None:
        for value in (math.nan, math.inf):
            self.assertRefused(f"token 0: score {value}", self.good[:4] + struct.pack("<f", value) + self.good[8:])


if __name__ == "__main__":
    main()
