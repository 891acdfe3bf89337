#!/usr/bin/env python3
"""What is no file, or no file of that size, given to the tools and the trainer: refused at once, in one line.

    tests/run badinput/files_test.py build/default/tools/train
"""

from __future__ import annotations

import os
import resource
import struct
import subprocess
import sys
import unittest
from pathlib import Path

from support.folders import FolderTest
from support.models import small_checkpoint
from support.tools import TOOLS

from common.engine import engines
from common.model import checkpoint, random_model, tokenizer

TRAINER = Path(sys.argv.pop(1))
ENGINE = engines.names()[0]
GIGABYTE = 2**30


class Files(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.model = random_model.write(self.folder, "m", small_checkpoint())
        os.mkfifo(self.folder / "pipe.bin")
        (self.folder / "loop.bin").symlink_to("loop.bin")
        (self.folder / "folder.bin").mkdir()
        self.odd = [*(self.folder / name for name in ("pipe.bin", "loop.bin", "folder.bin")), Path("/dev/zero"),
                    Path("/dev/null"), Path("/proc/self/fd")]

    def refused(self, *command: object, says: str) -> None:
        """One line, and no more memory than a gigabyte."""
        words = list(map(str, command))
        with self.subTest(words):
            result = subprocess.run(
                words, capture_output=True, encoding="utf-8", timeout=20, stdin=subprocess.DEVNULL, cwd=self.folder,
                env={**os.environ, "LLAMA512_TRAIN_PROGRAMS": str(TRAINER)},
                preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (GIGABYTE, GIGABYTE)))
            self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (1, "", 1), result.stderr)
            self.assertIn(says, result.stderr)

    def tool(self, *arguments: object, says: str) -> None:
        self.refused(sys.executable, "-B", TOOLS / "llama512", *arguments, says=says)

    def test_tools(self) -> None:
        for path in self.odd:
            for tool in (("pack", "--check"), ("build", "--engine", ENGINE, "-o", self.folder / "out"), ("run",),
                         ("size", "--engine", ENGINE), ("judge",)):
                if path != self.odd[0] and tool != ("pack", "--check"):
                    continue  # they all read in the same way
                model = () if tool == ("judge",) else ("--model",)
                self.tool(*tool, *model, path, says=f"{path}: ")
                if model:
                    self.tool(*tool, "--model", self.model.checkpoint, "--tokenizer", path, says=f"{path}: ")
        self.assertFalse((self.folder / "out").exists())
        for path in self.odd:
            self.tool("size", "--engine", ENGINE, "-d", path, says=f"{path}: cannot read the sizes: ")
            self.tool("judge", self.model.checkpoint, "--grammar", path, says=f"{path}: cannot read the grammar: ")

    def test_readers(self) -> None:
        """They refuse for themselves, whoever calls them."""
        for path in self.odd:
            for read in (checkpoint.load, checkpoint.read_config, lambda path: tokenizer.load(path, 10)):
                with self.subTest(path):
                    self.assertUserError(f"{path}: cannot read the ", read, path)

    def test_trainer(self) -> None:
        for path in self.odd:
            self.tool("train", "--smoke", "-o", self.folder / "out", "--corpus", path, says=f"{path}: ")
            self.tool("train", "--smoke", "-o", self.folder / "out", "--grammar", path, says=f"{path}: ")
            self.refused(TRAINER / "corpus", "--grammar", path, "--out", "x", says=f"{path}: ")
            self.refused(TRAINER / "tokenize", "--corpus", path, "--tokenizer", "x", "--tokens", "y", "--vocab-size", 300,
                         "--seq-len", 8, says=f"{path}: ")
            self.refused(TRAINER / "train", "--tokens", path, "--out", "x", "--state", "y", says=f"{path}: ")
        self.assertFalse((self.folder / "out").exists())

    def sparse(self, name: str, data: bytes, size: int) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        os.truncate(path, size)
        return path

    def test_sizes(self) -> None:
        """Of files that are mostly holes: a header that does not fit them, and one that does."""
        wrong = self.sparse("wrong.bin", self.model.checkpoint.read_bytes(), 2**40)
        zeros = self.sparse("zeros.bin", b"", 2**40)
        shape = (2**14, 2**14, 4, 1, 1, 2**10, 1)
        dim, hidden, layers, _, _, vocab_size, seq_len = shape
        values = (vocab_size + 1) * dim + layers * (2 * dim + 4 * dim * dim + 3 * dim * hidden) + seq_len * dim
        right = self.sparse("right.bin", struct.pack("<7i", *shape), 28 + 4 * values)
        words = self.folder / "words.bin"
        tokenizer.write(words, [b"x%d" % token for token in range(vocab_size)], [0.0] * vocab_size)
        for tool in (("pack", "--check"), ("pack", "--engine", ENGINE, "-o", self.folder / "out"),
                     ("size", "--engine", ENGINE), ("build", "--engine", ENGINE, "-o", self.folder / "out")):
            for path, says in ((wrong, "file size: 1099511627776 bytes"), (zeros, "dim: 0"), (right, ": ")):
                self.tool(*tool, "--model", path, "--tokenizer", words, says=f"{path}: {says}" if path != right else says)
            self.tool(*tool, "--model", self.model.checkpoint, "--tokenizer", zeros, says=f"{zeros}: max_token_length: 0")
        self.refused(TRAINER / "train", "--tokens", zeros, "--out", "x", "--state", "y", says=f"{zeros}: ")


if __name__ == "__main__":
    unittest.main()
