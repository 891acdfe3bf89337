#!/usr/bin/env python3
"""A boot engine with a prompt in its sector: the text is what the reference makes of the same prompt.

    tests/run boot/prompt_test.py asm-boot-full
"""

from __future__ import annotations

import subprocess
import sys
import unittest
from dataclasses import replace

from support.folders import FolderTest

from common.engine import engines, prompt as prompts
from common.errors import UserError
from common.machine import run
from common.machine.qemu import Machine
from common.match import matching
from common.model import checkpoint, models, tokenizer
from common.model.checkpoint import Checkpoint
from common.model.models import Model
from common.model.tokenizer import printed

ENGINE = engines.find(sys.argv.pop(1))
STEPS = 24


class Prompt(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        full = models.find_model()
        weights = checkpoint.load(full.checkpoint)
        self.model = Model("short", self.folder / "short.bin", full.tokenizer)
        checkpoint.write(self.model.checkpoint, Checkpoint(replace(weights.config, seq_len=STEPS), weights.tensors))
        self.vocabulary = tokenizer.load(full.tokenizer, weights.config.vocab_size)

    def reference(self, effective: Model, *prompt: str) -> bytes:
        result = subprocess.run([matching.reference_program(), "-m", effective.checkpoint, "--tokens", "--quiet",
                                 *prompt], capture_output=True, encoding="utf-8", check=True)
        return b"".join(printed(self.vocabulary.pieces[int(line)]) for line in result.stdout.split()[1:])

    def test_story_begins_with_the_prompt(self) -> None:
        for prompt, encoding in (("The", ENGINE.encodings[0]), ("a", ENGINE.encodings[0]), ("The", ENGINE.encodings[-1])):
            built = prompts.build(ENGINE, self.model, self.folder / "images", prompt, encoding)
            self.assertLessEqual(built.counted, 512)
            text = run.run(built).text
            print(f"{ENGINE.name}: {built.counted} counted bytes, {', '.join(built.engine.features)}: {text!r}")
            self.assertEqual(text, self.reference(built.effective, "-p", prompt))
            self.assertNotEqual(text, self.reference(built.effective))

    def test_bad_sector(self) -> None:
        """The message is read as a record; the prompt's token must not lead to another one."""
        for encoding in ENGINE.encodings:
            built = prompts.build(ENGINE, self.model, self.folder / "images", "The", encoding)
            self.assertIn("READ_ERROR", built.engine.features)
            with Machine(built.program, bad_sector=1) as pc:
                pc.wait_until_stopped(60)
                self.assertIn(b"Disk error", pc.text_memory())

    def test_refused(self) -> None:
        for model, prompt, why in ((models.find_model(), "x" * 200, "bytes too full"), (self.model, "", "empty"),
                                   (self.model, "x" * 200, f"at most the model's seq_len of {STEPS}")):
            with self.assertRaisesRegex(UserError, why):
                prompts.build(ENGINE, model, self.folder / "images", prompt)
        with self.assertRaisesRegex(UserError, "takes none; .*asm-boot-full can"):
            prompts.build(engines.find("asm-boot"), self.model, self.folder / "images", "The")


if __name__ == "__main__":
    unittest.main()
