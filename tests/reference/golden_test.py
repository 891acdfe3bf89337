#!/usr/bin/env python3
"""The program `reference` against what llama2.c printed for the checkpoint stories260K.

    golden_test.py build/default/reference/reference [unittest arguments]

llama2.c's output is in golden/, beside the folder of models: it was made by run.c of commit 350e04f, `gcc -O2`.
Exits with status 77, which CTest reports as skipped, when the model or the golden files are absent.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Iterator

from support import kernels
from support.skip import SKIP

from common.libraries import numpy as np
from common.match import matching
from common.model import models

PROGRAM = ""

FOLDERS = models.data_folders()
MODELS = next((folder for folder in FOLDERS if (folder / "stories260K.bin").is_file()), FOLDERS[0])
GOLDEN = MODELS.parent / "golden"
NEEDED = [MODELS / "stories260K.bin", MODELS / "stories260K.v1.bin", MODELS / "tok512.bin",
          GOLDEN / "greedy.txt", GOLDEN / "greedy.tokens", GOLDEN / "greedy.logits.64x512.f32",
          GOLDEN / "llama2c.json"]

# llama2.c's flags and ours. Its -n counts positions.
FLAGS = {"-t": "--temp", "-p": "--top-p", "-s": "--seed", "-n": "--steps", "-i": "--prompt"}


def run(*arguments: str, model: str = "stories260K.bin") -> bytes:
    result = subprocess.run([PROGRAM, "-m", str(MODELS / model), "--quiet", *arguments],
                            capture_output=True, timeout=120, check=True)
    return result.stdout


class Golden(unittest.TestCase):
    """By all kernels that this processor runs."""

    maxDiff = None

    def each(self) -> Iterator[tuple[str, str]]:
        for name in kernels.names([PROGRAM]):
            with self.subTest(name):
                yield "--kernels", name

    def test_greedy_tokens(self) -> None:
        expected = (GOLDEN / "greedy.tokens").read_bytes()
        self.assertEqual(len(expected.splitlines()), 346)
        for chosen in self.each():
            self.assertEqual(run(*chosen, "--tokens"), expected)

    def test_greedy_text(self) -> None:
        for chosen in self.each():
            self.assertEqual(run(*chosen), (GOLDEN / "greedy.txt").read_bytes())

    def test_logits(self) -> None:
        expected = matching.read_logits(GOLDEN / "greedy.logits.64x512.f32", 512)
        for chosen in self.each():
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "logits.f32"
                run(*chosen, "--logits", str(file), "--steps", "64")
                logits = matching.read_logits(file, 512)
            self.assertEqual((logits.shape, expected.shape), ((64, 512), (64, 512)))
            self.assertLessEqual(np.abs(logits - expected).max(), 1e-4)

    def test_prompts_and_seeds(self) -> None:
        for case in json.loads((GOLDEN / "llama2c.json").read_text(encoding="utf-8")):
            for chosen in self.each():
                with self.subTest(case["args"]):
                    arguments = [FLAGS.get(argument, argument) for argument in shlex.split(case["args"])]
                    self.assertEqual(run(*chosen, *arguments), case["stdout"].encode() + b"\n")

    def test_v1_equals_v0(self) -> None:
        for arguments in ([], ["--tokens"], ["--temp", "0.8", "--seed", "1"]):
            self.assertEqual(run(*arguments, model="stories260K.v1.bin"), run(*arguments))


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    missing = [str(path) for path in NEEDED if not path.is_file()]
    if missing:
        print(f"SKIP: {missing[0]} is absent (set LLAMA512_MODELS)")
        sys.exit(SKIP)
    unittest.main()
