#!/usr/bin/env python3
"""A program with a prompt among its bytes (PROMPT): the story is what the reference makes of the same prompt.

    tests/run match/prompt_test.py asm-linux-i386

Prompts of one token and of many, of each way in which a source may keep their numbers; every encoding; drawn tokens; random shapes.
"""

from __future__ import annotations

import sys
import unittest
from dataclasses import replace

from support.folders import FolderTest
from support.models import present
from support.tools import run_tool

from common.engine import builds, engines, prompt as prompts
from common.engine.engines import Engine
from common.errors import UserError
from common.machine import run
from common.match import matching
from common.model import checkpoint, models, random_model, tokenizer
from common.model.checkpoint import Config
from common.model.models import NAMED_MODELS, Model
from common.pack.race import Sampling

ENGINE = engines.find(sys.argv.pop(1))
# Of the shipped vocabularies: one token; one that is a whole multiple of 256, or next to it; few, and many; all of the first 256.
PROMPTS = ("The", "a", "The cat", "Once upon a time, there was a little fox who", "\n" * 9, "Zx!", "0123456789" * 4)
SAMPLED = Sampling(0.8, 5)


class Prompt(FolderTest):
    def check(self, model: Model, prompt: str, encoding: str, engine: Engine = ENGINE) -> bytes:
        """Builds and runs; the text, which is as long as the story."""
        built = prompts.build(engine, model, self.folder / "built", prompt, encoding)
        expected = matching.expect(built.effective, sampling=engine.sampling, prompt=prompt)
        text = run.run(built, expected=expected).text
        self.assertIsNone(matching.compare(text, expected, run.seen(engine)), (model.name, prompt, encoding))
        given = next(feature for feature in built.engine.features if feature.startswith("PROMPT=")).count(",") + 1
        print(f"{ENGINE.name}: {model.name}, {encoding}: a prompt of {given} tokens, {len(expected.tokens)} tokens equal; "
              f"{built.counted} counted bytes", flush=True)
        return text

    def test_shipped_models(self) -> None:
        for model in present(NAMED_MODELS):
            texts = {self.check(model, prompt, ENGINE.encodings[0]) for prompt in PROMPTS}
            self.assertEqual(len(texts), len(PROMPTS))

    def test_encodings(self) -> None:
        for encoding in ENGINE.encodings:
            for prompt in PROMPTS[1:4]:
                self.check(models.find_model(), prompt, encoding)

    def test_drawn(self) -> None:
        if not ENGINE.samples:
            self.skipTest(f"{ENGINE.name} is greedy")
        for prompt in PROMPTS[:4]:
            self.check(models.find_model(), prompt, ENGINE.encodings[0], ENGINE.sampled(SAMPLED))

    def test_random_shapes(self) -> None:
        """Other strides, head sizes and counts, with the vocabulary of a model that spells text."""
        spelling = models.find_model().tokenizer
        for config in (Config(32, 48, 2, 4, 4, 512, 40, False), Config(24, 300, 1, 6, 2, 512, 30, True),
                       Config(300, 40, 3, 2, 1, 512, 20, False), Config(16, 16, 6, 1, 1, 512, 64, True)):
            name = f"dim-{config.dim}"
            model = random_model.write(self.folder / name, name, random_model.weights(config, 1, spread=4), 7)
            for prompt in PROMPTS[:3]:
                self.check(replace(model, tokenizer=spelling), prompt, ENGINE.encodings[-1])

    def test_many_tokens(self) -> None:
        """Above 256, above 8192, and on both sides of it: as numbers of other kinds."""
        config = Config(16, 16, 1, 2, 1, 20000, 24, False)
        model = random_model.write(self.folder / "many", "many", random_model.weights(config, 3, spread=4), 7)
        for tokens in ((300, 301, 400), (250, 260, 256, 300), (9000, 9001, 9215), (17000, 17001, 17002), (5, 9000), (9000,), (300, 1000, 8192), (19999, 3)):
            engine = replace(ENGINE, features=(f"PROMPT={','.join(map(str, tokens))}",))
            with self.subTest(tokens=tokens):
                self.check_tokens(engine, model, tokens)

    def check_tokens(self, engine: Engine, model: Model, tokens: tuple[int, ...]) -> None:
        """The text begins with these tokens' pieces, whether some text would be made into them or not."""
        built = builds.build(engine, model, self.folder / "built")
        vocabulary = tokenizer.load(model.tokenizer, checkpoint.read_config(model.checkpoint).vocab_size)
        text = run.run(built).text
        begin = b"".join(tokenizer.printed(vocabulary.pieces[token]) for token in tokens)
        self.assertEqual(text[:len(begin)], begin)

    def test_tools(self) -> None:
        model = models.find_model()
        result = run_tool("run", ENGINE.name, "--prompt", "The cat")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(result.stdout.lstrip().startswith("The cat"), result.stdout)
        other = next(engine for engine in engines.table() if not engine.prompts)
        with self.assertRaisesRegex(UserError, f"{other.name}: prompt: 'a': this engine takes none; .*{ENGINE.name}"):
            prompts.build(other, model, self.folder / "other", "a")
        result = run_tool("run", "reference", "--prompt", "The cat")
        self.assertIn("-- -p TEXT", result.stderr)


if __name__ == "__main__":
    unittest.main()
