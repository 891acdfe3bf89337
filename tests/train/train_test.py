"""Training from end to end, tiny: `llama512 train --smoke`, a corpus of one's own, interruption, seeds, bad input."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import unittest
from pathlib import Path
from unittest import mock

from support.folders import FolderTest
from support.skip import main
from support.tools import TOOLS, run_tool

from common.errors import UserError
from common.libraries import numpy as np
from common.model import checkpoint, tokenizer
from common.training import rounding
from common.training import programs

PROGRAMS = os.environ.get("LLAMA512_TRAIN_PROGRAMS")
GRAMMAR = TOOLS / "train" / "fables.grammar"
TINY = ["--dim", 16, "--hidden-dim", 16, "--layers", 1, "--heads", 2, "--kv-heads", 1]


class Build(FolderTest):
    def test_with_ninja(self) -> None:
        """CMake's own choice is make, which tools/quickstart does not install."""
        with mock.patch.dict(os.environ, LLAMA512_TRAIN_PROGRAMS=""), \
                mock.patch.object(programs, "BUILD", self.folder), \
                mock.patch.object(programs, "_cmake") as cmake, contextlib.redirect_stderr(io.StringIO()):
            programs.build()
        self.assertRegex(" ".join(cmake.call_args_list[0].args), "^-S .* -G Ninja ")

    def test_what_cmake_complains_about(self) -> None:
        """The line that has the reason: not the last ones, which are a compiler's `   | ^`."""
        cmake = self.folder / "cmake"
        cmake.write_text("#!/bin/sh\nprintf 'a\\nx.cpp: fatal error: no space\\n  | ^\\nterminated.\\nstopped.\\n'; exit 1\n", "utf-8")
        cmake.chmod(0o755)
        with mock.patch.dict(os.environ, PATH=str(self.folder)), \
                self.assertRaisesRegex(UserError, r"^cmake --build: failed: x\.cpp: fatal error: no space$"):
            programs._cmake("--build", "x")


@unittest.skipUnless(PROGRAMS, "run by ctest, which knows the programs")
class TrainTest(FolderTest):
    def program(self, name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([Path(str(PROGRAMS)) / name, *map(str, arguments)], capture_output=True, encoding="utf-8",
                              check=False, timeout=120)

    def tokens(self, stories: int = 300) -> Path:
        """A small corpus in tokens."""
        corpus, path = self.folder / "corpus.txt", self.folder / "corpus.tokens"
        self.assertEqual(self.program("corpus", "--grammar", GRAMMAR, "--out", corpus, "--stories", stories).returncode, 0)
        result = self.program("tokenize", "--corpus", corpus, "--tokenizer", self.folder / "tokenizer.bin", "--tokens", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        return path

    def train(self, tokens: Path, name: str, *arguments: object) -> bytes:
        path = self.folder / name
        result = self.program("train", "--tokens", tokens, "--out", path, "--batch", 4, "--steps", 20, *TINY, *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return path.read_bytes() if path.exists() else b""

    def test_smoke(self) -> None:
        output = self.folder / "smoke"
        result = run_tool("train", "-o", output, "--smoke")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("Once", result.stdout)
        model = checkpoint.load(output / "smoke.bin")
        self.assertEqual(model.config.vocab_size, 512)
        self.assertEqual(set(model.tensors["rms_att"].flat), {1.0})
        self.assertEqual(len(tokenizer.load(output / "smoke.tokenizer.bin", 512).pieces), 512)
        again = run_tool("train", "-o", output, "--smoke")  # nothing is left to do
        self.assertIn("goes on from step 150", again.stderr)
        changed = run_tool("train", "-o", output, "--smoke", "--steps", 9)
        self.assertEqual(changed.returncode, 1)
        self.assertIn("steps: other settings", changed.stderr)

    def test_int4(self) -> None:
        """The weights lie on the grid, so an engine has them as they are."""
        for encoding in ("int4", "int8"):
            output = self.folder / encoding
            result = run_tool("train", "-o", output, "--smoke", "--steps", 40, "--kv-heads", 1, "--encoding", encoding)
            self.assertEqual(result.returncode, 0, result.stderr)
            model = checkpoint.load(output / f"{encoding}.bin")
            self.assertTrue(rounding.on_a_grid(model, encoding))
            self.assertEqual(rounding.on_a_grid(model, "int4"), encoding == "int4")
        self.assertIn("invalid choice: 'f32'", run_tool("train", "-o", output, "--encoding", "f32").stderr)

    def test_a_corpus_of_ones_own(self) -> None:
        corpus = self.folder / "mine.txt"
        corpus.write_text("".join(f"The hen number {n} laid an egg.\nIt was bräun. \"Odd,\" she said; {n * n} times.\n\n"
                                  for n in range(3000)), "utf-8")
        result = run_tool("train", "-o", self.folder / "hens", "--corpus", corpus, "--smoke", "--steps", 100,
                          "--vocab-size", 340, "--seq-len", 64)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(checkpoint.read_config(self.folder / "hens" / "hens.bin").seq_len, 64)
        self.assertIn("The ", result.stdout)

    def test_the_seed_decides_and_threads_do_not(self) -> None:
        tokens = self.tokens()
        first = self.train(tokens, "a.bin")
        self.assertEqual(first, self.train(tokens, "b.bin", "--threads", 3))
        self.assertNotEqual(first, self.train(tokens, "c.bin", "--seed", 2))

    def test_an_interrupted_training_has_the_same_result(self) -> None:
        tokens = self.tokens()
        whole = self.train(tokens, "whole.bin")
        state = ["--state", self.folder / "state"]
        for stop in (3, 14, 20):  # the second stop is after the rounding began
            parts = self.train(tokens, "parts.bin", *state, "--stop-at", stop)
        self.assertEqual(whole, parts)

    def test_init_starts_from_a_checkpoint_and_keeps_its_grid(self) -> None:
        tokens = self.tokens()
        first = self.train(tokens, "first.bin")
        self.train(tokens, "same.bin", "--init", self.folder / "first.bin", "--rate", 0)
        # As numbers, for a zero may change its sign.
        self.assertEqual(checkpoint.load(self.folder / "first.bin"), checkpoint.load(self.folder / "same.bin"))
        self.assertNotEqual(first, self.train(tokens, "on.bin", "--init", self.folder / "first.bin"))
        wrong = self.program("train", "--tokens", tokens, "--out", self.folder / "x.bin", "--init", self.folder / "first.bin")
        self.assertEqual(wrong.returncode, 1)
        self.assertIn("first.bin: dim: 16, this run's shape has 48", wrong.stderr)

    def test_weights_are_whole_numbers_of_a_power_of_two(self) -> None:
        self.train(self.tokens(), "grid.bin")
        model = checkpoint.load(self.folder / "grid.bin")
        for name in ("token_embedding", "wq", "wk", "wv", "wo", "w1", "w2", "w3"):
            values = model.tensors[name]
            step = 2.0 ** -20
            while (values % (2 * step) == 0).all():
                step *= 2
            self.assertLessEqual(np.abs(values).max() / step, 127, name)

    def test_the_loss_falls(self) -> None:
        tokens = self.tokens(2000)
        losses = []
        for steps in (1, 80):
            result = self.program("train", "--tokens", tokens, "--out", self.folder / "m.bin", "--steps", steps, "--rate",
                                  0.01, "--batch", 4, *TINY)
            losses.append(float(result.stderr.rsplit("loss ", 1)[1].split()[0]))
        self.assertGreater(losses[0], 5.5)  # ln 512 = 6.2
        self.assertLess(losses[1], 4.6)

    def test_bad_input_is_one_line(self) -> None:
        tokens = self.tokens()
        broken = self.folder / "broken"
        broken.write_bytes(tokens.read_bytes()[:-1])
        empty = self.folder / "empty"
        empty.touch()
        state = self.folder / "state"
        self.train(tokens, "s.bin", "--state", state, "--stop-at", 2)
        out = ["--out", self.folder / "x.bin"]
        bad_grammar = self.folder / "bad.grammar"
        link, pipe = self.folder / "link", self.folder / "pipe"
        link.symlink_to(empty)
        os.mkfifo(pipe)
        cases = [
            ("train", ["--tokens", tokens], 2, "--out: a file is needed"),
            ("train", ["--tokens", tokens, *out, "--heads", 5], 1, "n_heads: 5"),
            ("train", ["--tokens", tokens, *out, "--steps", "many"], 2, "'many' is not a number"),
            ("train", ["--tokens", tokens, *out, "--what", 1], 2, "--what: no such option"),
            ("train", ["--tokens", tokens, *out, "--vocab-size", 300], 1, "vocab_size is 300"),
            ("train", ["--tokens", tokens, *out, "--seq-len", 30], 1, "seq_len is 30"),
            ("train", ["--tokens", broken, *out], 1, "not a file of tokens"),
            ("train", ["--tokens", empty, *out], 1, "the file is empty"),
            ("train", ["--tokens", self.folder, *out], 1, "not a regular file"),
            ("train", ["--tokens", self.folder / "nosuch", *out], 1, "No such file"),
            ("train", ["--tokens", tokens, "--out", self.folder / "no" / "x.bin", "--steps", 1], 1, "x.bin: write: No such file"),
            ("train", ["--tokens", tokens, *out, "--state", state, "--seed", 5], 1, "other options"),
            ("train", ["--tokens", tokens, *out, "--state", tokens], 1, "not a training state"),
            ("tokenize", ["--corpus", empty, "--tokenizer", broken, "--tokens", broken], 1, "the file is empty"),
            ("tokenize", ["--corpus", GRAMMAR, "--tokenizer", broken, "--tokens", broken, "--vocab-size", 9000], 1, "pieces"),
            ("corpus", ["--grammar", self.folder / "nosuch", "--out", broken], 1, "nosuch: open: No such file or directory"),
            ("corpus", ["--grammar", "no\nsuch", "--out", broken], 1, "no?such: open: "),
            ("corpus", ["--grammar", GRAMMAR, "--out", link], 1, "link: file type: not a regular file"),
            ("train", ["--tokens", tokens, *out, "--init", pipe], 1, "pipe: file type: not a regular file"),
            ("train", ["--tokens", tokens, *out, "--init", broken], 1, "broken: "),
            ("corpus", ["--grammar", GRAMMAR, "--out", broken, "--stories", 0], 2, "'0' is not a number"),
            ("corpus", ["--grammar", bad_grammar, "--out", broken], 1, "line 1: 'nonsense'"),
        ]
        bad_grammar.write_text("nonsense\n", "utf-8")
        for name, arguments, status, message in cases:
            with self.subTest(f"{name} {message}"):
                result = self.program(name, *arguments)
                self.assertEqual(result.returncode, status, result.stderr)
                self.assertIn(message, result.stderr)
                self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertEqual([path.name for path in self.folder.glob("*.tmp")], [])

    def test_bad_grammars(self) -> None:
        names = "hero girl = A\nhero boy = B\nfriend he = C\nfriend she = D\n"
        for text, message in [("", "the file is empty"), ("\n", "names:"), (names, "plots: none"), (names + "plot x\n- {what}.", "no list for the slot {what}"),
                              (names + "plot x\n- {what", "'{' without '}'"), (names + "plot x\n- {}", "an empty slot"),
                              ("| x", "'|' without a '-'"), ("list a = b | | c", "an empty value"),
                              ("hero cat = b", "'hero cat' is unknown")]:
            with self.subTest(message):
                path = self.folder / "g"
                path.write_text(text, "utf-8")
                result = self.program("corpus", "--grammar", path, "--out", "/dev/null")
                self.assertEqual(result.returncode, 1)
                self.assertIn(message, result.stderr)


if __name__ == "__main__":
    main()
