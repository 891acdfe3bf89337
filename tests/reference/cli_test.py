#!/usr/bin/env python3
"""What the program `reference` prints, with a tiny model that this test makes.

    cli_test.py build/default/reference/reference [unittest arguments]
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import unittest

from support import kernels, tiny_model
from support.folders import FolderTest

PROGRAM = ""


class CommandLine(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.model = self.folder / "tiny.bin"
        self.model.write_bytes(tiny_model.v0(tiny_model.random_weights()))
        self.tokenizer = self.folder / "tokenizer.bin"
        self.tokenizer.write_bytes(tiny_model.tokenizer())

    def run_program(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([PROGRAM, *arguments], capture_output=True, timeout=60)

    def story(self, *arguments: str) -> bytes:
        """stdout of a run that must succeed and, with --quiet, say nothing else."""
        result = self.run_program("-m", str(self.model), "--quiet", *arguments)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return result.stdout

    def tokens(self, *arguments: str) -> list[int]:
        return [int(line) for line in self.story("--tokens", *arguments).splitlines()]

    def test_help_and_version(self) -> None:
        for flag in ("-h", "--help"):
            result = self.run_program(flag)
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            for name in (b"--model", b"--tokenizer", b"--prompt", b"--file", b"--predict", b"--steps", b"--temp",
                         b"--top-p", b"--sampler", b"--seed", b"--tokens", b"--logits", b"--extremes", b"--kernels", b"--quantize", b"--draft", b"--draft-max", b"--threads",
                         b"--batch-size", b"--batch", b"--batch-folder", b"--parallel", b"--timings", b"--quiet", b"--version", b"Examples:"):
                self.assertIn(name, result.stdout)
        result = self.run_program("--version")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertRegex(result.stdout, rb"\Areference \(llama512\) \d+\.\d+\.\d+\n\Z")

    def test_tokens_start_with_bos_and_fill_the_context(self) -> None:
        tokens = self.tokens()
        self.assertEqual(tokens[0], tiny_model.BOS)
        self.assertEqual(len(tokens), 1 + tiny_model.SEQ_LEN)

    def test_text_is_the_decoded_tokens(self) -> None:
        tokens = self.tokens("-p", "abc de")
        text = b""
        for index, token in enumerate(tokens[1:]):
            piece = tiny_model.pieces()[token]
            if index == 0:
                piece = piece.removeprefix(b" ")
            if match := re.fullmatch(rb"<0x(..)>", piece):
                piece = bytes([int(match[1], 16)])
                if piece not in b"\t\n\v\f\r" and not 0x20 <= piece[0] < 0x7F:
                    continue  # as llama2.c
            text += piece
        self.assertEqual(self.story("-p", "abc de"), text + b"\n")

    def test_lengths(self) -> None:
        prompt = ("-p", "ab de")  # BOS, " ab", " de"
        self.assertEqual(self.tokens(*prompt)[:3], [1, 264, 270])
        self.assertEqual(len(self.tokens("-n", "5")), 1 + 5)
        self.assertEqual(len(self.tokens(*prompt, "-n", "5")), 3 + 5)
        self.assertEqual(self.tokens(*prompt, "--predict", "0"), [1, 264, 270])
        self.assertEqual(self.tokens("-n", "0"), [1])
        self.assertEqual(len(self.tokens(*prompt, "--steps", "5")), 1 + 5)
        self.assertEqual(self.tokens(*prompt, "--steps", "1"), [1, 264])
        self.assertEqual(len(self.tokens(*prompt, "--steps", "5", "-n", "1")), 3 + 1)
        for everything in (("--steps", "0"), ("--steps", "1000"), ("-n", "1000")):
            self.assertEqual(len(self.tokens(*prompt, *everything)), 1 + tiny_model.SEQ_LEN)
        self.assertEqual(self.tokens("-p", ""), self.tokens())

    def test_a_prompt_that_fills_the_context(self) -> None:
        tokens = self.tokens("-p", "f" * (tiny_model.SEQ_LEN - 2))  # after BOS and the space
        self.assertEqual(tokens[2:-1], [271] * (tiny_model.SEQ_LEN - 2))
        self.assertEqual(len(tokens), 1 + tiny_model.SEQ_LEN)

    def test_prompt_from_a_file(self) -> None:
        file = self.folder / "prompt.txt"
        file.write_bytes(b"ab\nde\n")
        self.assertEqual(self.tokens("-f", str(file)), self.tokens("-p", "ab\nde"))
        file.write_bytes(b"")
        self.assertEqual(self.tokens("--file", str(file)), self.tokens())

    def test_logits(self) -> None:
        file = self.folder / "logits.f32"
        self.assertEqual(len(self.tokens("--logits", str(file), "-n", "7")), 1 + 7)
        first = file.read_bytes()
        self.assertEqual(len(first), 7 * tiny_model.VOCAB_SIZE * 4)
        self.tokens("--logits", str(file))  # replaces the file
        self.assertEqual(len(file.read_bytes()), tiny_model.SEQ_LEN * tiny_model.VOCAB_SIZE * 4)
        self.assertEqual(file.read_bytes()[:len(first)], first)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()),
                         ["logits.f32", "tiny.bin", "tokenizer.bin"])

    def test_extremes(self) -> None:
        file = self.folder / "extremes"
        self.assertEqual(self.tokens("--extremes", str(file)), self.tokens())
        lines = [line.split() for line in file.read_text("ascii").splitlines()]
        self.assertEqual([line[0] for line in lines], ["score", "gate", "up", "rms"])
        for _, value, layer, position in lines:
            self.assertTrue(0 < float(value) < 1000)
            self.assertIn(int(layer), range(tiny_model.N_LAYERS))
            self.assertIn(int(position), range(tiny_model.SEQ_LEN))

    def test_seeds(self) -> None:
        warm = ("--temp", "1.5", "--top-p", "0.95")
        self.assertEqual(self.tokens(*warm, "--seed", "7"), self.tokens(*warm, "-s", "7"))
        self.assertNotEqual(self.tokens(*warm, "-s", "7"), self.tokens(*warm, "-s", "8"))
        self.assertEqual(self.tokens("--temp", "0", "-s", "7"), self.tokens())

        # A run without a seed can be repeated with the seed of its timing line.
        run = self.run_program("-m", str(self.model), *warm, "--tokens")
        seed = re.fullmatch(rb"(?s:.*)reference: seed (\d+)\n", run.stderr)
        assert seed is not None, run.stderr
        self.assertEqual(self.story("--tokens", *warm, "-s", seed[1].decode()), run.stdout)

    def test_the_race(self) -> None:
        warm = ("--temp", "1.5", "--sampler", "race")
        self.assertEqual(self.tokens(*warm, "-s", "0"), self.tokens(*warm, "-s", "0", "--top-p", "1"))  # 0 is a seed, too
        self.assertEqual(self.tokens(*warm, "-s", "0"), self.tokens(*warm, "-s", "0", "--top-p", "0"))
        self.assertNotEqual(self.tokens(*warm, "-s", "0"), self.tokens(*warm, "-s", "0", "--top-p", "0.1"))
        self.assertEqual(self.tokens(*warm, "-s", "0", "--top-p", "1e-6"), self.tokens())  # the most likely token alone
        self.assertNotEqual(self.tokens(*warm, "-s", "0"), self.tokens(*warm, "-s", "1"))
        self.assertNotEqual(self.tokens(*warm, "-s", "7"), self.tokens("--temp", "1.5", "-s", "7"))
        self.assertEqual(self.tokens("--temp", "1.5", "-s", "7"), self.tokens("--temp", "1.5", "-s", "7", "--sampler", "top-p"))
        self.assertEqual(self.tokens("--sampler", "race", "--temp", "0", "-s", "7"), self.tokens())
        run = self.run_program("-m", str(self.model), *warm, "-s", "0", "--tokens")
        self.assertRegex(run.stderr, rb"reference: seed 0\n\Z")

    def test_kernels_threads_and_batches_say_the_same(self) -> None:
        names = kernels.names([PROGRAM])
        self.assertEqual(names[:3], ["plain", "fast", "fast-baseline"])
        warm = ("--temp", "1.2", "--seed", "3")
        for extra in ((), warm, (*warm, "--sampler", "race"), (*warm, "-p", "abc de ab")):
            expected = self.tokens("--kernels", "plain", *extra)
            for name in names:
                for more in ((), ("-t", "3"), ("-b", "1"), ("-b", "2"), ("-b", "4096")):
                    with self.subTest((name, *more, *extra)):
                        self.assertEqual(self.tokens("--kernels", name, *more, *extra), expected)

    def test_fast_kernels_compute_the_same_bits(self) -> None:
        file = self.folder / "logits.f32"
        logits = {}
        for name in kernels.names([PROGRAM]):
            self.tokens("--kernels", name, "--logits", str(file), "-p", "abc")
            logits[name] = file.read_bytes()
        for name in logits.keys() - {"plain"}:
            self.assertEqual(logits[name], logits["fast"], name)

    def batch(self, text: bytes, *arguments: str) -> list[dict[str, object]]:
        file = self.folder / "prompts.txt"
        file.write_bytes(text)
        return [json.loads(line) for line in self.story("--batch", str(file), *arguments).splitlines()]

    def test_a_batch_tells_what_each_line_tells_alone(self) -> None:
        prompts = ["ab", "", "de ab de", "f" * 14, "ab", 'a "b"\t\\']
        for extra in ((), ("--temp", "1.1"), ("--temp", "1.1", "--sampler", "race", "--top-p", "0.9"), ("-n", "3"), ("-n", "0")):
            for more in ((), ("-np", "1"), ("-np", "4", "-b", "1"), ("-np", "100"), ("-np", "2", "--kernels", "plain")):
                with self.subTest((*extra, *more)):
                    told = self.batch("\n".join(prompts).encode() + b"\n", "--seed", "5", *extra, *more)
                    self.assertEqual([line["prompt"] for line in told], prompts)
                    for number, line in enumerate(told):
                        alone = ("-p", prompts[number], "--seed", str(5 + number), *extra)
                        self.assertEqual(line["index"], number)
                        self.assertEqual(line["tokens"], self.tokens(*alone))
                        self.assertEqual(line["text"] + "\n", self.story(*alone).decode("utf-8", "replace"))
                        self.assertEqual(line.get("seed"), 5 + number if "--temp" in extra else None)
                        self.assertGreaterEqual(line["tokens_per_second"], 0)

    def test_a_batch_into_a_folder(self) -> None:
        folder = self.folder / "stories" / "all"
        self.assertEqual(self.batch(b"ab\nde", "--batch-folder", str(folder)), [])
        self.assertEqual({path.name: path.read_bytes() for path in folder.iterdir()},
                         {"1.txt": self.story("-p", "ab"), "2.txt": self.story("-p", "de")})

    def test_an_empty_batch(self) -> None:
        self.assertEqual(self.batch(b""), [])
        self.assertEqual(len(self.batch(b"\n")), 1)  # one line, without a prompt

    def test_quantize_says_where_it_leaves_float32(self) -> None:
        file = self.folder / "timings.json"
        exact = {extra: self.tokens(*extra) for extra in ((), ("--temp", "1.3", "--seed", "2"), ("-p", "ab de"))}
        found = set()
        for quantization in ("int8", "int4"):
            for extra, expected in exact.items():
                rounded = self.tokens("--quantize", quantization, *extra, "--timings", str(file))
                timings = json.loads(file.read_text("ascii"))
                parted = next((i for i, (a, b) in enumerate(zip(rounded, expected)) if a != b), None)
                self.assertEqual(timings["first_difference"], parted)
                self.assertIn(timings["kernels"], [f"{name}-{quantization}" for name in kernels.levels([PROGRAM])])
                found.add(parted)
                said = self.run_program("-m", str(self.model), "--quantize", quantization, *extra).stderr
                self.assertIn(b"float32 would have said " + (b"the same tokens\n" if parted is None else
                                                            b"another token %d\n" % parted), said)
                told = self.batch(b"" if not extra else b"ab de\n", "--quantize", quantization)
                self.assertEqual([line for line in told if "first_difference" in line], [])  # --quiet
        self.assertGreater(len(found), 1)
        file.write_bytes(b"ab de\n\n")
        lines = self.run_program("-m", str(self.model), "--quantize", "int4", "--batch", str(file)).stdout.splitlines()
        for prompt, line in zip(("ab de", ""), lines, strict=True):
            expected = self.tokens("-p", prompt)
            story = json.loads(line)
            self.assertEqual(story["first_difference"],
                             next((i for i, (a, b) in enumerate(zip(story["tokens"], expected)) if a != b), None))

    def test_a_draft_changes_nothing(self) -> None:
        for extra in ((), ("--temp", "1.3", "--seed", "2"), ("-p", "ab de"), ("--steps", "3"), ("-n", "0"),
                      ("--temp", "1", "--sampler", "race", "--seed", "0")):
            for draft in (("int8",), ("int4",), ("int4", "--draft-max", "1"), ("int8", "--draft-max", "64", "-b", "1")):
                with self.subTest((draft, extra)):
                    self.assertEqual(self.tokens("--draft", *draft, *extra), self.tokens(*extra))

    def test_a_draft_is_of_fast_kernels_only(self) -> None:
        file = self.folder / "timings.json"
        for extra, expected in (((), "none"), (("--draft", "none"), "none"), (("--draft", "int4"), "int4"),
                                (("--kernels", "plain"), "none")):
            self.story("--timings", str(file), *extra)
            found = json.loads(file.read_text("ascii"))
            self.assertEqual(found["draft"], expected)
            self.assertEqual(found["draft_passes"] > 0, expected != "none")
            self.assertEqual(found["draft_bytes"] > 0, expected != "none")
            self.assertEqual(found["bytes_read"], found["passes"] * found["weight_bytes"]
                             + found["draft_passes"] * found["draft_bytes"])

    def test_timing_lines(self) -> None:
        result = self.run_program("-m", str(self.model), "-p", "ab de", "-t", "1", "--kernels", "plain")
        number = rb" *[0-9.]+"
        self.assertRegex(result.stderr, rb"\Areference: +load time =%(n)s ms\n"
                                        rb"reference: +prompt eval time =%(n)s ms / +3 tokens "
                                        rb"\(%(n)s ms per token,%(n)s tokens per second\)\n"
                                        rb"reference: +eval time =%(n)s ms / +13 runs +"
                                        rb"\(%(n)s ms per token,%(n)s tokens per second\)\n"
                                        rb"reference: +total time =%(n)s ms / +16 tokens\n"
                                        rb"reference: +weights read =%(n)s GB/s, [0-9]+ %% of the%(n)s GB/s "
                                        rb"at which 1 thread reads them \(plain kernels\)\n\Z" % {b"n": number})

    def test_timings_as_json(self) -> None:
        file = self.folder / "timings.json"
        self.assertEqual(self.story("-p", "ab de", "--timings", str(file), "--kernels", "fast-baseline", "-t", "2"),
                         self.story("-p", "ab de"))
        found = json.loads(file.read_text("ascii"))
        expected = {"kernels": "fast-baseline", "threads": 2, "sequences": 1, "prompt_tokens": 3, "eval_tokens": 13,
                    "passes": 13, "weight_bytes": tiny_model.MATRIX_BYTES}
        self.assertEqual({name: found[name] for name in expected}, expected)
        for name in ("load_ms", "prompt_ms", "eval_ms", "read_bandwidth"):
            self.assertGreater(found[name], 0, name)
        self.assertAlmostEqual(found["first_token_ms"], found["load_ms"] + found["prompt_ms"], delta=0.002)

    def test_values_after_an_equals_sign(self) -> None:
        self.assertEqual(self.tokens("--prompt=ab=", "--predict=3"), self.tokens("-p", "ab=", "-n", "3"))

    def test_the_tokenizer_beside_the_model(self) -> None:
        expected = self.story()
        for name in ("tok272.bin", "tiny.tokenizer.bin"):
            self.tokenizer.rename(self.folder / name)
            self.tokenizer = self.folder / name
            self.assertEqual(self.story(), expected)
        # The model's own tokenizer is preferred to others.
        (self.folder / "tokenizer.bin").write_bytes(b"not a tokenizer")
        self.assertEqual(self.story(), expected)
        # --tokenizer is preferred to all.
        elsewhere = self.folder / "elsewhere"
        elsewhere.write_bytes(self.tokenizer.read_bytes())
        self.tokenizer.write_bytes(b"not a tokenizer")
        self.assertEqual(self.story("--tokenizer", str(elsewhere)), expected)

    def test_model_in_the_current_folder(self) -> None:
        result = subprocess.run([os.path.abspath(PROGRAM), "-m", "tiny.bin", "--quiet"], cwd=self.folder,
                                capture_output=True, timeout=60)
        self.assertEqual(result.stdout, self.story())

    def test_v1_prints_the_same(self) -> None:
        expected = self.story()
        self.model.write_bytes(tiny_model.v1(tiny_model.random_weights()))
        self.assertEqual(self.story(), expected)

    def test_gguf_prints_the_same_and_needs_no_tokenizer(self) -> None:
        prompts = ((), ("-p", "ab de"), ("-p", "abc  d\u20ac\n"), ("--tokens", "-p", "ab"), ("--temp", "1", "-s", "7"))
        expected = [self.story(*prompt) for prompt in prompts]
        self.model = self.folder / "tiny.gguf"
        self.model.write_bytes(tiny_model.gguf(tiny_model.random_weights()))
        tokenizer = self.tokenizer.read_bytes()
        for beside in (tokenizer, b"not a tokenizer", None):
            self.tokenizer.unlink()
            if beside is not None:
                self.tokenizer.write_bytes(beside)
            self.assertEqual([self.story(*prompt) for prompt in prompts], expected)
            self.tokenizer.touch()

    def test_a_tokenizer_is_preferred_to_that_of_a_gguf(self) -> None:
        self.model = self.folder / "tiny.gguf"
        self.model.write_bytes(tiny_model.gguf(tiny_model.random_weights()))
        expected = self.story()
        pieces = [piece.replace(b"a", b"A") for piece in tiny_model.pieces()]
        self.tokenizer.write_bytes(tiny_model.tokenizer(pieces))
        self.assertEqual(self.story(), expected)
        self.assertEqual(self.story("--tokenizer", str(self.tokenizer), "-p", "A"), self.story("-p", "a").replace(b"a", b"A"))


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
