"""The consistency checker: what the grammar tells passes; each planted fault is found. And the judge on a bad model."""

from __future__ import annotations

import json
import os
import subprocess
import unittest
from pathlib import Path

from support.folders import FolderTest
from support.skip import main
from support.tools import TOOLS, run_tool

from common.model import random_model
from common.model.checkpoint import Config
from common.training.checker import Checker, split_sentences

GRAMMAR = TOOLS / "train" / "fables.grammar"
STORY = (
    'Once upon a time, there was a brave girl named Mila. She lived by the sea and had a red kite. At night, the kite '
    'slept in her bed. One windy day, the wind put the kite in a tall tree. "Come down!" called Mila, but a kite has no '
    'ears. "I can help," said a cat named Pip, "but only after lunch." So Mila gave Pip all her pancakes. Then Pip '
    'licked his nose and went up. Down came the red kite, and down came Pip, faster than he liked. "You fly well for a '
    'cat," said Mila. From that day on, they ate pancakes by the sea on every windy day. Mila still took the red kite '
    'to bed, and the cat came, too.')

# What is replaced, by what, and the problem that must be named.
FAULTS = {
    "the hero's pronoun": ("all her pancakes", "all his pancakes", "gender: his"),
    "the hero's subject": ("She lived", "He lived", "gender: he"),
    "the friend's pronoun": ("licked his nose", "licked her nose", "gender: her"),
    "the friend's subject": ("than he liked", "than she liked", "gender: she"),
    "a girl that becomes a boy": ("came, too.", "came, too. The boy slept.", "gender: a girl becomes a boy"),
    "two heroes": ("So Mila gave", "So Tess gave", "hero: Tess beside Mila"),
    "another made hero": ("So Mila gave", "So Milo gave", "hero: Milo beside Mila"),
    "an unknown hero": ("So Mila gave", "So Zora gave", "non-word: Zora"),
    "two friends": ("Then Pip licked", "Then Gus licked", "friend: Pip, Gus, one is needed"),
    "a hero who is forgotten": ('"You fly well for a cat," said Mila. ', "", ""),
    "another colour": ("Down came the red kite", "Down came the blue kite", "colour: red, blue"),
    "another object": ("Down came the red kite", "Down came the red hat", "object: kite, hat"),
    "another animal": ("well for a cat", "well for a bear", "animal: cat, bear"),
    "another food": ("ate pancakes", "ate nuts", "food: pancakes, nuts"),
    "another weather": ("every windy day", "every sunny day", "weather: windy, sunny"),
    "another place": ("pancakes by the sea", "pancakes on a hill", "place: by the sea, on a hill"),
    "no place": (" by the sea", "", "place: none"),
    "two traits": ("But", "but", ""),
    "another plot's object": ("kite", "lamp", "plot:"),
    "another plot's weather": ("windy", "snowy", "plot:"),
    "a non-word": ("tall tree", "tall tere", "non-word: tere"),
    "half a word": ("licked", "lick", "non-word: lick"),
    "a wrong article": ("a kite has", "an kite has", "article: an kite"),
    "a missing n": ("cat", "owl", "article: a owl"),
    "no ending": (" Mila still took the red kite to bed, and the cat came, too.", "", "ending:"),
    "a cut ending": (", and the cat came, too.", "", "ending:"),
    "an ending that goes on": ("came, too.", "came, too. They ate pancakes.", "ending:"),
    "no opening": ("Once upon a time, there", "There", "opening:"),
    "an open quotation": ('after lunch."', "after lunch.", "quotes:"),
    "a repeated sentence": ("So Mila gave Pip all her pancakes. ", "So Mila gave Pip all her pancakes. " * 2, "repeated:"),
}
HARMLESS = {"two traits", "a hero who is forgotten"}  # no fault: the checks must not be too strict, either


class CheckerTest(unittest.TestCase):
    def setUp(self) -> None:
        self.checker = Checker(GRAMMAR)

    def test_a_good_story_passes(self) -> None:
        self.assertEqual(self.checker.problems(STORY), [])

    def test_each_planted_fault_is_found(self) -> None:
        for name, (old, new, problem) in FAULTS.items():
            with self.subTest(name):
                faulty = STORY.replace(old, new)
                found = self.checker.problems(faulty)
                if name in HARMLESS:
                    self.assertEqual(found, [])
                else:
                    self.assertNotEqual(faulty, STORY)
                    self.assertTrue(any(text.startswith(problem) for text in found), found)

    def test_a_boy_and_a_friend_who_is_she(self) -> None:
        story = STORY.replace("girl named Mila", "boy named Hugo").replace("Mila", "Hugo").replace("She lived", "He lived")
        story = story.replace("in her bed", "in his bed").replace("all her", "all his")
        self.assertEqual(self.checker.problems(story), [])
        story = story.replace("Pip", "Dot").replace("his nose", "her nose").replace("than he", "than she")
        self.assertEqual(self.checker.problems(story), [])
        self.assertNotEqual(self.checker.problems(story.replace("her nose", "his nose")), [])

    def test_empty_and_strange_texts_are_refused_not_fatal(self) -> None:
        for text in ("", " ", ".", '"', "Once", "Once upon a time, there was a brave girl named .", "\ufffd" * 9, STORY[:90]):
            self.assertNotEqual(self.checker.problems(text), [], text)

    def test_sentences(self) -> None:
        self.assertEqual(split_sentences('"Stop!" said Pip. He ran. "It is my house."'),
                         ['"Stop!', "said Pip.", "He ran.", '"It is my house.'])

    @unittest.skipUnless(os.environ.get("LLAMA512_TRAIN_PROGRAMS"), "run by ctest, which knows the programs")
    def test_every_story_of_the_grammar_passes(self) -> None:
        stories = subprocess.run([Path(os.environ["LLAMA512_TRAIN_PROGRAMS"]) / "corpus", "--grammar", GRAMMAR, "--out",
                                  "/dev/stdout", "--stories", "3000", "--seed", "11"], capture_output=True,
                                 encoding="utf-8", check=True).stdout.split("\n\n")[:-1]
        self.assertEqual(len(stories), 3000)
        for story in stories:
            self.assertEqual(self.checker.problems(story), [], story)
            self.assertNotRegex(story, r"\b(Zelda|Lily|Anna|Clara|Ruby|Emma|Ivy|Nora|Bob|Tom|Leo|Hugo|Felix|Oscar|Ben|Victor)\b")


class JudgeTest(FolderTest):
    MODEL = TOOLS.parent / "models" / "fables" / "fables.bin"

    def judge(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        if not os.environ.get("LLAMA512_TRAIN_PROGRAMS"):
            self.skipTest("run by ctest, which knows the programs")
        return run_tool("judge", *arguments)

    def test_the_shipped_model_meets_its_bars(self) -> None:
        result = self.judge("--json")
        figures = json.loads(result.stdout)
        missed = [bar for bar in figures["bars"] if not bar["passed"]]
        # The model card says why sampled stories cannot all be the same in dense bfloat16; greedy ones are.
        self.assertEqual([bar["name"] for bar in missed if not bar["name"].endswith("bf16")], [])
        self.assertEqual(figures["greedy"]["problems"], [])
        kept = [entry for entry in figures["rounding"] if entry["must_match"]]
        self.assertEqual({entry["encoding"].split()[-1] for entry in kept}, {"bf16", "int8"})  # it is on no grid of int4
        self.assertEqual({entry["first_difference"] for entry in kept}, {None})
        for entry in kept:
            # Its weights lie on a grid, so int8 has them as they are; float32 rounds factors that are multiplied in.
            most = 1e-6 if entry["encoding"].endswith("int8") else 1e-2
            self.assertTrue(all(-1e-12 < divergence < most for divergence in entry["divergence"]), entry)

    def test_the_model_of_int4_meets_its_bars(self) -> None:
        """All of them; and what is told in int4 and int8 is what float32 tells, for its weights are there as they are."""
        result = self.judge("nibbles", "--json")
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        figures = json.loads(result.stdout)
        self.assertGreaterEqual(figures["samples"]["pass_share"], 0.95)
        kept = [entry for entry in figures["rounding"] if entry["must_match"]]
        self.assertEqual({entry["encoding"].split()[-1] for entry in kept}, {"int4", "int8"})
        for entry in kept:
            self.assertTrue(all(-1e-12 < divergence < 1e-6 for divergence in entry["divergence"]), entry)

    def test_a_damaged_model_is_rejected(self) -> None:
        data = bytearray(self.MODEL.read_bytes())
        data[28 + 20000:28 + 30000] = bytes(10000)  # some of the embedding
        (self.folder / "bad.bin").write_bytes(data)
        (self.folder / "tokenizer.bin").write_bytes(self.MODEL.with_name("tokenizer.bin").read_bytes())
        result = self.judge(self.folder / "bad.bin", "--samples", 20)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("MISSED", result.stdout)

    def test_rounding_of_any_model(self) -> None:
        """Stories that no grammar knows; and a divergence that is worse the coarser the steps."""
        model = random_model.write(self.folder, "m", random_model.weights(Config(16, 24, 1, 2, 1, 40, 64, False), 1),
                                   vocabulary=[b"|", b"\n", b"~", *(bytes([letter]) for letter in range(32, 69))])
        result = self.judge(model.checkpoint, "--rounding", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        figures = {entry["encoding"]: entry for entry in json.loads(result.stdout)}
        self.assertEqual({entry["samples"] for entry in figures.values()}, {20})
        for text in (0, 1):
            divergences = [figures[name]["divergence"][text] for name in ("stream bf16", "stream int8", "asm-linux int4")]
            self.assertTrue(0 < divergences[0] < divergences[1] < divergences[2] < 1, divergences)
        self.assertIn("first difference", self.judge(model.checkpoint, "--rounding").stdout)

    def test_bars_of_its_own(self) -> None:
        """judge.json beside the model: what it names is wanted, the rest as for everybody."""
        for name in ("fables.bin", "tokenizer.bin"):
            (self.folder / name).write_bytes(self.MODEL.with_name(name).read_bytes())
        (self.folder / "small.grammar").write_bytes(GRAMMAR.read_bytes())
        (self.folder / "judge.json").write_text('{"grammar": "small.grammar", "max_words": 50, "pass_share": 0.5, "encodings": ["int8"]}',
                                                  "utf-8")
        figures = json.loads(self.judge(self.folder / "fables.bin", "--samples", 20, "--json").stdout)
        self.assertEqual([bar["name"] for bar in figures["bars"] if not bar["passed"]], ["greedy words"])
        self.assertEqual({bar["name"]: bar["wanted"] for bar in figures["bars"]}["samples that pass"], "50%")
        self.assertEqual({entry["encoding"].split()[-1] for entry in figures["rounding"] if entry["must_match"]}, {"int8"})
        for text, problem in (('{"names": 12', "judge.json: cannot read the bars: "), ("[]", "judge.json: an object is needed"),
                              ('{"words": 3}', "judge.json: words: no such bar, grammar, min_words"),
                              ('{"names": "3"}', 'judge.json: names: "3" is no value for it'),
                              ('{"grammar": "none"}', "none: cannot read the grammar: ")):
            (self.folder / "judge.json").write_text(text, "utf-8")
            result = self.judge(self.folder / "fables.bin", "--samples", 1)
            self.assertEqual((result.returncode, result.stderr.count("\n")), (1, 1), result.stderr)
            self.assertIn(problem, result.stderr)

    def test_errors_are_one_line(self) -> None:
        for arguments, pattern in [(["nosuch"], "model 'nosuch' not found"), ([self.folder / "x.bin"], "no such file"),
                                   (["--grammar", self.folder / "x"], "cannot read the grammar: No such file or directory")]:
            result = self.judge(*arguments)
            self.assertEqual(result.returncode, 1)
            self.assertIn(pattern, result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)


if __name__ == "__main__":
    main()
