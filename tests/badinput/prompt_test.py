#!/usr/bin/env python3
"""Prompts and vocabularies of any kind: the tools make the tokens that the reference makes, or both refuse.

    tests/run badinput/prompt_test.py
"""

from __future__ import annotations

import dataclasses
import random
import subprocess
import unittest

from support.folders import FolderTest
from support.tools import run_tool

from common.errors import UserError
from common.match import matching
from common.model import checkpoint, random_model, tokenizer
from common.model.checkpoint import Config

BYTES = [b"<0x%02X>" % byte for byte in range(256)]
VOCABULARY = [b"<unk>", b"<s>", b"</s>", *BYTES, b" "]
LETTERS = ["a", "b", " ", "é", "☃", "🦙", "<", "\n", "<s>", "\n<s>\n", "<0x41>", "A"]
ODD_BYTES = [b"\xff", b"\xc3", b"\x80", b"\xe2\x98", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"]
SCORES = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-40, -1e30, 3e38]


def some_text(generator: random.Random, longest: int) -> bytes:
    return "".join(generator.choices(LETTERS, k=generator.randint(0, longest))).encode()


def vocabulary(generator: random.Random) -> tokenizer.Vocabulary:
    """BOS may be any text, also one that others have; byte tokens may be missing, moved, or bytes themselves."""
    pieces = [some_text(generator, 2) for _ in range(3)]
    kind = generator.choice(("good", "good", "none", "moved", "some", "bare"))
    if kind == "bare":
        pieces += [bytes([byte]) for byte in range(256)]
    elif kind != "none":
        pieces += [b""] * (kind == "moved") + [b"x" if kind == "some" and generator.random() < 0.3 else piece
                                               for piece in BYTES]
    for _ in range(generator.randint(0, 40)):
        pieces.append(generator.choice((some_text(generator, 1), some_text(generator, 4), generator.choice(ODD_BYTES),
                                        generator.choice(BYTES) + generator.choice(BYTES),
                                        b"".join(generator.choices(pieces, k=2)))))
    scores = [generator.choice(SCORES) for _ in pieces]
    # What an attacker would try: BOS and the space that follows it are a piece, the best of all.
    pieces.append(pieces[1] + b" ")
    scores.append(3.4e38)
    return tokenizer.Vocabulary(pieces, scores, max(1, *map(len, pieces)))


class Same(FolderTest):
    def reference(self, prompt: bytes) -> tuple[list[int] | None, bytes]:
        """The tokens without BOS, None when it refuses; and what it says."""
        result = subprocess.run([matching.reference_program(), "-m", self.folder / "m.bin", "--tokens", "--quiet", "-n", "0",
                                 "-p", prompt], capture_output=True, timeout=60)
        if result.returncode:
            self.assertEqual((result.returncode, result.stdout), (1, b""))
            return None, result.stderr
        bos, *tokens = map(int, result.stdout.split())
        self.assertEqual(bos, tokenizer.BOS)
        return tokens, b""

    def test_tokens_are_the_reference_s(self) -> None:
        generator = random.Random(8)
        refused = same = 0
        for _ in range(60):
            words = vocabulary(generator)
            random_model.write(self.folder, "m", random_model.weights(
                Config(dim=2, hidden_dim=1, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=len(words.pieces), seq_len=256), 1))
            tokenizer.write(self.folder / "m.tokenizer.bin", words.pieces, words.scores)
            words = tokenizer.load(self.folder / "m.tokenizer.bin", len(words.pieces))
            for _ in range(20):
                prompt = some_text(generator, 8)
                if generator.random() < 0.2:
                    place = generator.randint(0, len(prompt))
                    prompt = prompt[:place] + generator.choice(ODD_BYTES) + prompt[place:]
                expected, said = self.reference(prompt)
                with self.subTest((prompt, words.pieces[:3], words.pieces[259:])):
                    if expected is None:
                        refused += 1
                        with self.assertRaises(UserError) as caught:
                            tokenizer.encode(words, prompt)
                        reasons = ("does not start a valid UTF-8 character", "has no token in")
                        self.assertTrue(any(reason.encode() in said for reason in reasons), said)
                        valid = prompt.decode("utf-8", "replace").encode() == prompt
                        self.assertIn(reasons[valid], str(caught.exception))
                    else:
                        same += 1
                        self.assertEqual(tokenizer.encode(words, prompt), expected)
                        self.assertNotIn(tokenizer.BOS, expected)
        self.assertGreater(refused, 100)
        self.assertGreater(same, 300)


class Tools(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        model = random_model.weights(Config(dim=8, hidden_dim=8, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=260,
                                            seq_len=8), 1)
        self.model = random_model.write(self.folder, "m", model, vocabulary=VOCABULARY)

    def refused(self, prompt: str, says: str) -> None:
        for tool in ("build", "boot"):
            with self.subTest((tool, prompt)):
                result = run_tool(tool, "--engine", "asm-boot-full", "--model", self.model.checkpoint, "--prompt", prompt,
                                  "-o", self.folder / "out")
                self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (1, "", 1), result.stderr)
                self.assertIn(says, result.stderr)
        self.assertFalse((self.folder / "out" / "asm-boot-full").exists())

    def test_bytes_that_are_no_text(self) -> None:
        self.refused("\udcff", "--prompt: byte 0: 0xFF does not start a valid UTF-8 character")
        self.refused("a\udcc3", "--prompt: byte 1: 0xC3 does not start")

    def test_vocabulary_without_bytes(self) -> None:
        random_model.write(self.folder, "m", checkpoint.load(self.model.checkpoint))
        self.refused("a", "--prompt: 'a': 0x20 has no token in the vocabulary")

    def test_too_long(self) -> None:
        """More than the model's context, than the sector, and so much that its tokens would take minutes to find."""
        self.refused("abcdefg", "asm-boot-full: prompt: 9 tokens (BOS included), at most the model's seq_len of 8 are")
        self.refused("a" * 49, "asm-boot-full: prompt: 49 bytes, which 8 tokens of at most 6 bytes cannot hold")
        random_model.write(self.folder, "m", random_model.weights(dataclasses.replace(
            checkpoint.read_config(self.model.checkpoint), seq_len=2048), 1), vocabulary=VOCABULARY)
        self.refused("a" * 600, "with this model's shape and LINE_BREAKS, SERIAL, CLEAR, PROMPT; take an engine with fewer features, or use")
        self.refused("a" * 100_000, "asm-boot-full: prompt: 100,000 bytes, which 512 tokens of at most 6 bytes cannot hold")

    def test_any_text_can_be_built_in(self) -> None:
        for prompt in ("é", "\"", "\\", ";", "%s"):
            result = run_tool("build", "--engine", "asm-boot-full", "--model", self.model.checkpoint, "--prompt", prompt,
                              "-o", self.folder / "out")
            self.assertEqual(result.returncode, 0, result.stderr)
            tokens = ",".join(map(str, [259, *(3 + byte for byte in prompt.encode())]))
            self.assertIn(f"PROMPT={tokens}", result.stdout)


if __name__ == "__main__":
    unittest.main()
