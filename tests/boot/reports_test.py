#!/usr/bin/env python3
"""Stories that are easily read wrong from a screen, and machines that are too small: no false report about any of them.

    tests/run boot/reports_test.py asm-boot

`llama512 boot`, `verify` and what the boot tests share must all see the same: the whole text, to its last space.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest
import unittest.mock
from dataclasses import replace

import images
from images import BootTest, Sample
from support import cases
from support.tools import TOOLS

from common.errors import UserError
from common.machine import pc, qemu as machine, screen
from common.machine.qemu import Machine
from common.model import random_model
from common.model.checkpoint import Config
from common.model.tokenizer import BOS
from common.pack.layouts import LAYOUTS

ENGINE = images.engine_argument()
SHORT = Config(32, 48, 2, 4, 2, 40, 12, False)


class Reports(BootTest):
    def write(self, config: Config, vocabulary: list[bytes], seed: int = 1) -> images.Model:
        weights = random_model.weights(config, seed, spread=4)
        cases.scale_row(weights, "wcls", BOS, 0.25)  # it would end most stories early
        return random_model.write(self.folder, "m", weights, 7, vocabulary)

    def tool(self, name: str, *arguments: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([sys.executable, "-B", TOOLS / f"{name}.py", "--engine", ENGINE.name, "--model",
                               self.folder / "m.bin", "-o", self.folder / "build", *map(str, arguments)],
                              capture_output=True, env={**os.environ, "TMPDIR": str(self.folder)})

    def check(self, model: images.Model, text: bytes | None = None) -> Sample:
        """Boots the model in every way that there is. `text`: what it must be, when that is known before."""
        sample = images.sample(ENGINE, model, self.folder / "build")
        seen = sample.expected.text[:screen.seen(ENGINE)]
        if text is not None:
            self.assertEqual(sample.expected.text, text)
        booted = images.boot(sample)
        self.assertEqual(booted.problem, "")
        talks = screen.style(ENGINE) == screen.CHAT  # an empty line, between two prompts
        told = self.tool("boot", *["--prompt", ""] * talks)
        shown = b"\n>\n%b\n>\n" % seen if talks else seen + b"\n"
        self.assertEqual((told.returncode, told.stdout), (0, shown), told.stderr)
        result = self.tool("verify", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        (row,) = json.loads(result.stdout)
        self.assertEqual((row["equal"], row["unseen_bytes"]), (True, len(sample.expected.text) - len(seen)))
        # A story without the last character that can be seen is another one.
        short = booted.shown[:-1], booted.serial[:-1]
        self.assertNotEqual(images.problem(sample, booted.cells, *short, booted.before), "")
        return sample

    def test_ends_in_a_space(self) -> None:
        sample = self.check(self.write(SHORT, [piece + b"  " for piece in random_model.pieces(SHORT.vocab_size, 3)]))
        self.assertEqual(sample.expected.text[-2:], b"  ")

    @unittest.skipIf(ENGINE.spells, "no text can be spelled in this vocabulary")
    def test_spaces_only(self) -> None:
        sample = self.check(self.write(SHORT, [b" " * (1 + token % 3) for token in range(SHORT.vocab_size)]))
        self.assertEqual(sample.expected.text.strip(b" "), b"")

    @unittest.skipIf(ENGINE.spells, "no text can be spelled in this vocabulary")
    def test_what_the_firmware_left(self) -> None:
        """A story that says what the screen says already."""
        halt = self.folder / "halt.img"
        halt.write_bytes(machine.HALT)
        with Machine(halt) as machine_:
            before = machine_.before
        self.assertIn(b"SeaBIOS", before)
        for seed in range(100):
            pieces = [b"x"] * SHORT.vocab_size
            tokens = images.sample(ENGINE, self.write(SHORT, pieces, seed), self.folder / "build").expected.tokens
            if len(set(tokens)) == len(tokens) == SHORT.seq_len:
                break
        for i, token in enumerate(tokens):
            pieces[token] = before[4 * i:4 * i + 4]
        self.check(self.write(SHORT, pieces, seed), before[:4 * len(tokens)])

    def test_longer_than_text_memory(self) -> None:
        """Behind text memory a byte leaves no trace: what comes before it is compared, and the rest is told."""
        config = replace(cases.find("pieces-of-255").config, seq_len=80)
        sample = self.check(self.write(config, random_model.pieces(config.vocab_size, 255), seed=2))
        self.assertGreater(len(sample.expected.text), screen.CELL_COUNT)
        said = self.tool("verify").stdout
        unseen = len(sample.expected.text) - screen.CELL_COUNT
        self.assertEqual(b"text memory ends after 16,384 characters: the last %s are not compared" %
                         f"{unseen:,}".encode() in said, screen.style(ENGINE) == screen.CELLS)

    def test_large_workspace(self) -> None:
        """200 MB: the machine gets more memory than usual, unless it was told otherwise."""
        case = cases.find("ends-by-bos")
        config = replace(case.config, hidden_dim=1200, seq_len=12_000)
        model = random_model.write(self.folder, "m", random_model.weights(config, case.seed, case.spread))
        sample = self.check(model)
        needed = pc.memory_for(sample.built)
        self.assertGreater(needed, 200)
        result = self.tool("boot", "--memory", "128")
        self.assertEqual((result.returncode, result.stdout), (1, b""))
        self.assertRegex(result.stderr, rb"asm-boot.* needs \d+ MB for this model, and --memory gives it 128; leave that out")

    def test_memory(self) -> None:
        built = self.small_sample(ENGINE).built
        more = pc.model_is_above(ENGINE)  # the model is there, too: another MB, as it is small
        for megabytes, memory in [(1, 128), (126 - more, 128), (127 - more, 129), (1023 - more, 1025), (3582 - more, 3584)]:
            with self.workspace(megabytes):
                self.assertEqual(pc.memory_for(built), memory)
        with self.workspace(3584), self.assertRaisesRegex(UserError, "needs 358[67] MB .*QEMU's PC has at most 3584"):
            pc.memory_for(built)
        with self.workspace(8 - more):
            self.assertEqual(pc.memory_for(built, 10), 10)
            self.assertRaisesRegex(UserError, "needs 10 MB .*--memory gives it 9", pc.memory_for, built, 9)

    def workspace(self, megabytes: int) -> unittest.mock._patch_dict:
        layout = replace(LAYOUTS[ENGINE.layout], workspace=lambda config: megabytes << 20)
        return unittest.mock.patch.dict(LAYOUTS, {ENGINE.layout: layout})


if __name__ == "__main__":
    unittest.main()
