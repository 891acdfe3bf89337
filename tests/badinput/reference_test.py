#!/usr/bin/env python3
"""Bad files and bad flags, given to the program `reference`.

    reference_test.py build/default/reference/reference [Model|Gguf|Tokenizer|Prompt|Batch|Flags|Output|Speed|Damage]

Whatever is wrong, the program must exit with status 1 (2 when the command line is wrong), print nothing on stdout,
and print one line on stderr that names the file or flag, the field and the value. It must never crash.
"""

from __future__ import annotations

import json
import math
import os
import random
import re
import resource
import struct
import subprocess
import sys
import unittest
from pathlib import Path

from support import tiny_model
from support.folders import FolderTest

from common.model import random_model
from common.model.checkpoint import Config

PROGRAM = ""
FIELDS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
INT_MIN, INT_MAX = -(2**31), 2**31 - 1

GOOD_V0 = tiny_model.v0(tiny_model.random_weights())
GOOD_V1 = tiny_model.v1(tiny_model.random_weights())
GOOD_GGUF = tiny_model.gguf(tiny_model.random_weights())
GOOD_TOKENIZER = tiny_model.tokenizer()


def with_value(data: bytes, offset: int, layout: str, *values: float) -> bytes:
    """`data` with other values at byte `offset`."""
    new = struct.pack("<" + layout, *values)
    return data[:offset] + new + data[offset + len(new):]


class Case(FolderTest):
    """A folder with a good model and tokenizer, which tests then spoil."""

    def setUp(self) -> None:
        super().setUp()
        self.model = self.folder / "tiny.bin"
        self.model.write_bytes(GOOD_V0)
        self.tokenizer = self.folder / "tokenizer.bin"
        self.tokenizer.write_bytes(GOOD_TOKENIZER)

    def run_program(self, *arguments: str | bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([PROGRAM, *arguments], capture_output=True, timeout=60)

    def check_refusal(self, result: subprocess.CompletedProcess[bytes], status: int, *fragments: str) -> None:
        message = result.stderr.decode(errors="replace")
        self.assertEqual(result.returncode, status, message)
        self.assertEqual(result.stdout, b"")
        self.assertEqual(message.count("\n"), 1, message)
        self.assertTrue(message.startswith("reference: error: ") and message.endswith("\n"), message)
        for fragment in fragments:
            self.assertIn(fragment, message)

    def refused(self, *fragments: str, arguments: tuple[str | bytes, ...] = ()) -> None:
        """Exit status 1, with a line that holds every fragment."""
        self.check_refusal(self.run_program("-m", str(self.model), "--quiet", *arguments), 1, *fragments)

    def misused(self, *arguments: str, names: tuple[str, ...]) -> None:
        """Exit status 2, with a line that holds every name and points to the help."""
        self.check_refusal(self.run_program(*arguments), 2, *names, "--help")

    def works(self, *arguments: str) -> None:
        result = self.run_program("-m", str(self.model), "--quiet", *arguments)
        self.assertEqual((result.returncode, result.stderr), (0, b""))


class Model(Case):
    def refuse_model(self, data: bytes, *fragments: str) -> None:
        self.model.write_bytes(data)
        with self.subTest(fragments):
            self.refused(str(self.model), *fragments)

    def test_the_good_model_works(self) -> None:
        self.works()
        self.model.write_bytes(GOOD_V1)
        self.works()

    def test_missing_unreadable_or_no_file(self) -> None:
        missing = str(self.folder / "missing.bin")
        self.check_refusal(self.run_program("-m", missing), 1, f"{missing}: open: No such file or directory")
        self.check_refusal(self.run_program("-m", str(self.folder)), 1, f"{self.folder}: file type: ")
        pipe = str(self.folder / "pipe")
        os.mkfifo(pipe)
        self.check_refusal(self.run_program("-m", pipe), 1, f"{pipe}: file type: ")
        self.check_refusal(self.run_program("-m", "/dev/zero"), 1, "/dev/zero: file type: ")
        if os.geteuid() != 0:  # root may read everything
            self.model.chmod(0)
            self.refused(f"{self.model}: open: Permission denied")

    def test_a_name_with_a_line_break_stays_on_one_line(self) -> None:
        self.check_refusal(self.run_program("-m", "no\nsuch\x1b[31mfile"), 1, "no?such?[31mfile: open: ")

    def test_empty(self) -> None:
        self.refuse_model(b"", "file size: 0 bytes")

    def test_text(self) -> None:
        self.refuse_model(b"Once upon a time, there was a text file.\n", "dim: 1701015119", "v0")

    def test_truncated_and_oversized(self) -> None:
        for good in (GOOD_V0, GOOD_V1):
            needed = f"exactly {len(good)}"
            for size in (len(good) - 1, len(good) - 4, len(good) // 2, 300):
                self.refuse_model(good[:size], f"file size: {size} bytes", needed)
            self.refuse_model(good + b"\0", f"file size: {len(good) + 1} bytes", needed)
            self.refuse_model(good + good, f"file size: {2 * len(good)} bytes", needed)
        self.refuse_model(GOOD_V0[:27], "file size: 27 bytes", "28")
        self.refuse_model(GOOD_V1[:255], "file size: 255 bytes", "256")
        self.refuse_model(GOOD_V1[:30], "file size: 30 bytes", "256")

    def test_zero_negative_and_huge_header_values(self) -> None:
        for index, field in enumerate(FIELDS):
            for value in (0, -1, INT_MIN, 2**30, INT_MAX):
                shown = value
                if field == "vocab_size" and value < 0:
                    shown = -value  # v0: negative means untied
                self.refuse_model(with_value(GOOD_V0, 4 * index, "i", value), f": {field}: {shown},")
                self.refuse_model(with_value(GOOD_V1, 8 + 4 * index, "i", value), f": {field}: {value},")

    def test_values_that_do_not_divide(self) -> None:
        self.refuse_model(with_value(GOOD_V0, 12, "i", 3), "n_heads: 3", "dim 8")
        self.refuse_model(with_value(GOOD_V0, 12, "i", 16), "n_heads: 16", "dim 8")
        self.refuse_model(with_value(GOOD_V0, 12, "ii", 4, 3), "n_kv_heads: 3", "n_heads 4")
        self.refuse_model(with_value(GOOD_V0, 16, "i", 4), "n_kv_heads: 4", "n_heads 2")
        self.refuse_model(with_value(GOOD_V0, 12, "i", 8), "head_size: 1", "even")

    def test_sizes_that_overflow(self) -> None:
        # 2^10 * 2^16 * 2^16 values: more than 2^32 bytes, and than any file.
        largest = (2**16, 2**16, 2**10, 1, 1, 2**22, 2**20)
        self.refuse_model(struct.pack("<7i", *largest) + bytes(1000), "file size: 1028 bytes", "exactly")
        self.refuse_model(tiny_model.v1_header(header=largest), "file size: 256 bytes", "exactly")
        # The bytes would be 2^32 plus this file's size, if they were counted in 32 bits.
        self.refuse_model(struct.pack("<7i", 2**15, 2**15, 1, 1, 1, 2, 1) + bytes(1000), "file size: 1028 bytes")

    def test_versions(self) -> None:
        for version in (0, 3, -1, INT_MAX):
            self.refuse_model(with_value(GOOD_V1, 4, "i", version), f"version: {version},")
        self.refuse_model(with_value(GOOD_V1, 36, "B", 7), "shared_classifier: 7,")

    def test_group_sizes(self) -> None:
        for group_size in (0, -4, 3, 16, INT_MAX):
            self.refuse_model(tiny_model.v1_header(version=2, group_size=group_size) + bytes(10000),
                              f"group_size: {group_size},", "dim 8")
        self.refuse_model(tiny_model.v1_header(version=2, group_size=4) + bytes(100), "file size: 356 bytes")

    def test_weights_that_are_not_finite(self) -> None:
        for tensor in tiny_model.V1_ORDER:
            for value, shown in ((math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan")):
                weights = tiny_model.random_weights()
                element = len(weights[tensor]) - 1
                weights[tensor][element] = value
                self.refuse_model(tiny_model.v0(weights), f"{tensor}: element {element} is {shown}")
                self.refuse_model(tiny_model.v1(weights), f"{tensor}: element {element} is {shown}")

    def test_weights_that_are_too_large(self) -> None:
        for tensor, field in (("wq", "rms_ffn: nan as the mean square of x in layer 0"), ("wcls", "logits: inf")):
            weights = tiny_model.random_weights()
            weights[tensor] = [3e38] * len(weights[tensor])
            self.model.write_bytes(tiny_model.v0(weights))
            for flags in ((), ("--tokens",), ("--temp", "1")):
                self.refused(f"{self.model}: {field}", "at position 0", arguments=flags)

    def test_activations_that_are_too_large(self) -> None:
        """Their squares overflow: every logit would be 0, and look well."""
        weights = tiny_model.random_weights()
        weights["token_embedding"] = [value * 1e20 for value in weights["token_embedding"]]
        for flags in ((), ("--tokens",), ("--temp", "1")):
            self.model.write_bytes(tiny_model.v0(weights))
            self.refused(f"{self.model}: rms_att: inf as the mean square of x in layer 0 at position 0, a finite one",
                         arguments=flags)

    def test_a_cache_that_is_too_large(self) -> None:
        # seq_len costs a v1 file nothing: a small file asks for 1024 layers of 2^20 positions, 32 GiB in all.
        header = (4, 1, 2**10, 1, 1, tiny_model.VOCAB_SIZE, 2**20)
        sizes = tiny_model.tensor_sizes(header)
        n_values = sum(sizes.values()) - sizes["freq_cis"]
        self.refuse_model(tiny_model.v1_header(header=header, tied=1) + bytes(4 * n_values),
                          "seq_len: 1048576", "17179869184")


class Gguf(Case):
    """What one line says of a GGUF file. Each of its fields is in tests/reference/gguf_*_test.cpp."""

    def setUp(self) -> None:
        super().setUp()
        self.tokenizer.unlink()

    def refuse_gguf(self, data: bytes, *fragments: str) -> None:
        self.model.write_bytes(data)
        with self.subTest(fragments):
            self.refused(str(self.model), *fragments)

    def test_the_good_file_works(self) -> None:
        self.model.write_bytes(GOOD_GGUF)
        self.works("-p", "ab")

    def test_headers_keys_and_tensors(self) -> None:
        self.refuse_gguf(b"GGUF", "version: the file ends at byte 4", "truncated")
        self.refuse_gguf(with_value(GOOD_GGUF, 4, "I", 4), "version: 4, 1, 2 or 3 is needed")
        self.refuse_gguf(with_value(GOOD_GGUF, 4, "I", 0x03000000), "version: 50331648", "big-endian", "convert")
        self.refuse_gguf(with_value(GOOD_GGUF, 8, "Q", 2**62), f"tensor_count: {2**62}")
        self.refuse_gguf(GOOD_GGUF.replace(b"\5\0\0\0\0\0\0\0llama", b"\5\0\0\0\0\0\0\0gpt2\n", 1),
                         "general.architecture: 'gpt2?', 'llama' is needed")
        self.refuse_gguf(GOOD_GGUF.replace(b"bos_token_id\4\0\0\0\1", b"bos_token_id\4\0\0\0\2"),
                         "tokenizer.ggml.bos_token_id: 2, 1 is needed")
        self.refuse_gguf(GOOD_GGUF.replace(b"blk.1.attn_q", b"blk.1.attn_x"), "blk.1.attn_x.weight: unknown")
        self.refuse_gguf(GOOD_GGUF[:-1], "(truncated?)")
        self.refuse_gguf(GOOD_GGUF + bytes(40), f"file size: {len(GOOD_GGUF) + 40} bytes")
        self.refuse_gguf(GOOD_GGUF.replace(b"tokenizer.ggml.model", b"tokenizer.ggml.modes"),
                         "tokenizer.ggml.model: none", "--tokenizer")

    def test_logits_over_the_model(self) -> None:
        self.model.write_bytes(GOOD_GGUF)
        self.refused(f"{self.model}: --logits: this would overwrite {self.model}", arguments=("--logits", str(self.model)))
        self.assertEqual(self.model.read_bytes(), GOOD_GGUF)

    def test_random_bytes(self) -> None:
        """Other bytes before the weights: a story or a refusal, but no crash."""
        rng = random.Random(5)
        head = GOOD_GGUF.index(b"token_embd.weight") + 2000
        for _ in range(30):
            data = bytearray(GOOD_GGUF)
            for _ in range(rng.choice((1, 2, 10))):
                data[rng.randrange(4, head)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            self.model.write_bytes(data)
            # A few tokens: the context may have become long.
            result = self.run_program("-m", str(self.model), "--quiet", "-p", "ab c de", "-n", "5")
            with self.subTest(result.stderr):
                if result.returncode == 0:
                    self.assertEqual(result.stderr, b"")
                else:
                    self.check_refusal(result, 1)


class Tokenizer(Case):
    def refuse_tokenizer(self, data: bytes, *fragments: str) -> None:
        self.tokenizer.write_bytes(data)
        with self.subTest(fragments):
            self.refused(str(self.tokenizer), *fragments)

    def test_missing(self) -> None:
        self.tokenizer.unlink()
        self.refused(f"{self.model}: tokenizer: ", "tiny.tokenizer.bin", "tokenizer.bin", "tok272.bin", "--tokenizer")
        missing = str(self.folder / "missing.bin")
        self.refused(f"{missing}: open: No such file or directory", arguments=("--tokenizer", missing))
        self.refused(f"{self.folder}: file type: ", arguments=("--tokenizer", str(self.folder)))

    def test_empty(self) -> None:
        self.refuse_tokenizer(b"", "file size: 0 bytes")

    def test_ends_early(self) -> None:
        for size in (1, 3, 4, 7, 11, 12, 1000, len(GOOD_TOKENIZER) - 1):
            self.refuse_tokenizer(GOOD_TOKENIZER[:size], f"the file ends at byte {size},", "vocab_size is 272")

    def test_wrong_count(self) -> None:
        pieces = tiny_model.pieces()
        data = tiny_model.tokenizer(pieces[:-1])
        self.refuse_tokenizer(data, "record 271: ", f"ends at byte {len(data)}")
        data = tiny_model.tokenizer(pieces + [b"more"])
        self.refuse_tokenizer(data, f"file size: {len(data)} bytes", "vocab_size of 272")

    def test_bad_lengths(self) -> None:
        for length in (-1, 7, INT_MIN, INT_MAX):
            self.refuse_tokenizer(with_value(GOOD_TOKENIZER, 8, "i", length), f"record 0: length {length},")
        for length in (0, -1, INT_MIN, INT_MAX):
            self.refuse_tokenizer(with_value(GOOD_TOKENIZER, 0, "i", length), f"max_token_length: {length},")
        self.refuse_tokenizer(tiny_model.tokenizer(max_token_length=5), "record 2: length 6,", "max_token_length 5")

    def test_bad_scores(self) -> None:
        self.refuse_tokenizer(with_value(GOOD_TOKENIZER, 4, "f", math.nan), "record 0: score nan")

    def test_the_model_as_tokenizer(self) -> None:
        self.refuse_tokenizer(GOOD_V0, ": record ", "max_token_length 8")


class Prompt(Case):
    def test_invalid_utf8(self) -> None:
        file = self.folder / "prompt.txt"
        for text, offset, byte in ((b"\xff", 0, "0xFF"), (b"ab\xc3", 2, "0xC3"), (b"a\xc0\x80", 1, "0xC0"),
                                   (b"a\xed\xa0\x80b", 1, "0xED"), (b"a\x80", 1, "0x80"),
                                   (b"\xf4\x90\x80\x80", 0, "0xF4")):
            with self.subTest(text):
                self.refused(f"--prompt: byte {offset}: {byte} ", "UTF-8", arguments=("-p", text))
                file.write_bytes(text)
                self.refused(f"{file}: byte {offset}: {byte} ", "UTF-8", arguments=("-f", str(file)))

    def test_longer_than_the_context(self) -> None:
        for n in (15, 30):  # and BOS, and a space
            self.refused(f"{self.model}: prompt: {n + 2} tokens", "seq_len of 16", arguments=("-p", "f" * n))
        self.refused("--prompt: size: more than 96 bytes", "seq_len of 16", arguments=("-p", "f" * 97))
        file = self.folder / "prompt.txt"
        file.write_bytes(b"f" * 10_000_000)
        self.refused(f"{file}: size: more than 96 bytes", "seq_len of 16", arguments=("-f", str(file)))
        self.refused("/dev/zero: size: more than 96 bytes", arguments=("-f", "/dev/zero"))

    def test_bad_prompt_files(self) -> None:
        missing = str(self.folder / "missing.txt")
        self.refused(f"{missing}: open: No such file or directory", arguments=("-f", missing))
        self.refused(f"{self.folder}: read: Is a directory", arguments=("-f", str(self.folder)))

    def test_text_that_the_vocabulary_cannot_spell(self) -> None:
        pieces = [b"token%d" % index for index in range(tiny_model.VOCAB_SIZE)]
        self.tokenizer.write_bytes(tiny_model.tokenizer(pieces, max_token_length=8))
        self.works()  # without a prompt, nothing is encoded
        self.refused("--prompt: byte 0: 0x20 has no token", str(self.tokenizer), arguments=("-p", "a"))


class Batch(Case):
    """--batch: a prompt a line. What is wrong is told before the first story, and leaves nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.prompts = self.folder / "prompts.txt"
        self.stories = self.folder / "stories"

    def refuse_batch(self, data: bytes, *fragments: str, arguments: tuple[str, ...] = ()) -> None:
        self.prompts.write_bytes(data)
        with self.subTest(fragments):
            self.refused(*fragments, arguments=("--batch", str(self.prompts), "--batch-folder", str(self.stories), *arguments))
            self.assertFalse(self.stories.exists())

    def told(self, path: str | Path, *arguments: str, data: bytes = b"") -> list[dict[str, object]]:
        result = subprocess.run([PROGRAM, "-m", self.model, "--quiet", "--batch", path, *arguments], input=data, capture_output=True,
                                timeout=60)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return [json.loads(line) for line in result.stdout.splitlines()]

    def test_no_file(self) -> None:
        missing = str(self.folder / "missing.txt")
        self.refused(f"{missing}: open: No such file or directory", arguments=("--batch", missing))
        self.refused(f"{self.folder}: open: Is a directory", arguments=("--batch", str(self.folder)))
        self.refused("/proc/self/mem: read: ", arguments=("--batch", "/proc/self/mem"))
        self.assertEqual(self.told("/dev/null"), [])
        if os.geteuid() != 0:  # root may read everything
            self.prompts.write_bytes(b"ab")
            self.prompts.chmod(0)
            self.refused(f"{self.prompts}: open: Permission denied", arguments=("--batch", str(self.prompts)))

    def test_bad_lines(self) -> None:
        name = str(self.prompts)
        self.refuse_batch(b"ab\n\xff\n", f"{name}:2: byte 0: 0xFF ", "UTF-8")
        self.refuse_batch(b"\nab\na\xc3", f"{name}:3: byte 1: 0xC3 ", "UTF-8")
        self.refuse_batch(b"ab\n" + b"f" * 15, f"{name}:2: prompt: 17 tokens", "seq_len of 16")
        self.refuse_batch(b"f" * 97 + b"\nab", f"{name}:1: size: more than 96 bytes", "seq_len of 16")
        self.refuse_batch(b"ab\n" + b"f" * 10_000_000, f"{name}:2: size: more than 96 bytes", "seq_len of 16")

    def test_files_without_end(self) -> None:
        """Nothing is read that cannot be told: this would fill the memory."""
        limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
        for command, says in (("exec cat /dev/zero", b"/dev/stdin:1: size: more than 96 bytes"),
                              ("exec yes ''", b"/dev/stdin: lines: more than 1000000, so many stories are told at most")):
            endless = subprocess.Popen(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            self.addCleanup(endless.communicate)
            self.addCleanup(endless.kill)
            # Without sanitizers: they take much address space.
            small = None if b"__asan_init" in Path(PROGRAM).read_bytes() else limit
            result = subprocess.run([PROGRAM, "-m", self.model, "--quiet", "--batch", "/dev/stdin"], stdin=endless.stdout,
                                    capture_output=True, timeout=60, preexec_fn=small)
            with self.subTest(command):
                self.check_refusal(result, 1, says.decode())

    def test_ends_of_lines(self) -> None:
        for data, prompts in ((b"", []), (b"\n", [""]), (b"\r\n", [""]), (b"ab", ["ab"]), (b"ab\r\nde\r\n", ["ab", "de"]),
                              (b"ab\n\nde", ["ab", "", "de"]), (b"a\rb\n", ["a\rb"]), (b"a\0b\n", ["a\0b"]), (b"ab\r", ["ab"]),
                              (b"f" * 14 + b"\r\nab", ["f" * 14, "ab"])):
            with self.subTest(data):
                self.prompts.write_bytes(data)
                for path in (self.prompts, "/dev/stdin"):
                    self.assertEqual([line["prompt"] for line in self.told(path, data=data)], prompts)

    def test_the_longest_line(self) -> None:
        """As many bytes as the context's tokens could have are read, so that their tokens are counted."""
        pieces = tiny_model.pieces()
        pieces[-1] = b"ffffff"
        self.tokenizer.write_bytes(tiny_model.tokenizer(pieces))
        for length in (96, 97):
            self.refuse_batch(b"f" * length + b"\r\n", "prompts.txt:1: ", "prompt: " if length == 96 else "size: more than 96")

    def test_pipes(self) -> None:
        self.assertEqual([line["prompt"] for line in self.told("/dev/stdin", data=b"ab\nde")], ["ab", "de"])

    def test_too_many_at_once(self) -> None:
        # A small file whose contexts would take 2 layers * 2^20 positions * 4 values, twice, in 4096 sequences.
        header = (8, 12, 2, 2, 1, tiny_model.VOCAB_SIZE, 2**20)
        sizes = tiny_model.tensor_sizes(header)
        self.model.write_bytes(tiny_model.v1_header(header=header, tied=1) + bytes(4 * (sum(sizes.values()) - sizes["freq_cis"])))
        self.refuse_batch(b"ab", f"{self.model}: seq_len: 1048576 makes a KV cache of 67108864 bytes for each of 4096",
                          "at most 17179869184", arguments=("-np", "4096"))
        self.misused("-m", str(self.model), "-np", "4097", names=("-np: '4097'",))
        self.misused("-m", str(self.model), "-np", "0", names=("-np: '0'",))

    def test_too_little_memory(self) -> None:
        """It may work or not, but it does not crash, and says so in a line."""
        self.prompts.write_bytes(b"ab\n" * 3)
        if b"__asan_init" in Path(PROGRAM).read_bytes():
            self.skipTest("sanitizers take much address space")
        refused = 0
        for megabytes in range(8, 60, 4):
            limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
            result = subprocess.run([PROGRAM, "-m", self.model, "--quiet", "-t", "1", "-np", "4096", "--batch", self.prompts],
                                    capture_output=True, timeout=60, preexec_fn=limit)
            if result.returncode == 1:
                self.check_refusal(result, 1)
                refused += b"memory: not enough for this model and context" in result.stderr  # or the file cannot be mapped
            elif result.returncode != 127:  # the loader has no room for the libraries
                self.assertEqual((result.returncode, result.stderr, result.stdout.count(b"\n")), (0, b"", 3))
        self.assertGreater(refused, 0)

    def test_seeds_that_cannot_be_counted_on(self) -> None:
        self.prompts.write_bytes(b"ab\nde\n")
        largest = 2**64 - 1
        warm = ("--temp", "1", "--seed")
        self.assertEqual([line["seed"] for line in self.told(self.prompts, *warm, str(largest - 1))], [largest - 1, largest])
        self.check_refusal(self.run_program("-m", str(self.model), "--quiet", "--batch", str(self.prompts), *warm, str(largest)), 2,
                           f"--seed: {largest} is too large to be counted on for each of 2 lines")

    def test_folders_that_cannot_be(self) -> None:
        self.prompts.write_bytes(b"ab\nde")
        file = self.folder / "file"
        file.write_bytes(b"mine")
        batch = ("--batch", str(self.prompts), "--batch-folder")
        self.refused(f"{file}: create: Not a directory", arguments=(*batch, str(file)))
        self.refused(f"{file / 'x'}: create: Not a directory", arguments=(*batch, str(file / "x")))
        self.stories.mkdir()
        (self.stories / "1.txt").mkdir()
        self.refused(f"{self.stories / '1.txt'}: file type: ", arguments=(*batch, str(self.stories)))
        self.assertEqual([path.name for path in self.stories.iterdir()], ["1.txt"])
        if os.geteuid() != 0:  # root may write everywhere
            (self.stories / "1.txt").rmdir()
            self.stories.chmod(0o555)
            self.refused(f"{self.stories / '1.txt'}: write: Permission denied", arguments=(*batch, str(self.stories)))

    def test_stories_over_an_input(self) -> None:
        self.stories.mkdir()
        for path, name in ((self.prompts, "2.txt"), (self.model, "1.txt"), (self.tokenizer, "2.txt")):
            self.prompts.write_bytes(b"ab\nde")
            os.link(path, self.stories / name)
            before = path.read_bytes()
            self.refused(f"{self.stories / name}: --batch-folder: this would overwrite {path}",
                         arguments=("--batch", str(self.prompts), "--batch-folder", str(self.stories)))
            self.assertEqual(path.read_bytes(), before)
            self.assertEqual([file.name for file in self.stories.iterdir()], [name])
            (self.stories / name).unlink()

    def test_files_of_before_are_replaced(self) -> None:
        self.stories.mkdir()
        (self.stories / "1.txt").write_bytes(b"old")
        self.prompts.write_bytes(b"ab\nde")
        self.assertEqual(self.told(self.prompts, "--batch-folder", str(self.stories)), [])
        self.assertEqual(sorted(path.name for path in self.stories.iterdir()), ["1.txt", "2.txt"])
        self.assertNotEqual((self.stories / "1.txt").read_bytes(), b"old")

    def test_what_goes_with_it(self) -> None:
        batch = ("-m", str(self.model), "--batch", "x")
        for flags in (("-p", "a"), ("-f", "a"), ("--tokens",), ("--logits", "a")):
            with self.subTest(flags):
                self.misused(*batch, *flags, names=("it is for one story, --batch is given as well",))
        self.misused("-m", str(self.model), "--batch-folder", "x", names=("--batch-folder: 'x' is for the stories of --batch FILE",))


class Flags(Case):
    def test_no_arguments(self) -> None:
        self.misused(names=("--model",))
        self.misused("-p", "a", names=("--model",))

    def test_unknown(self) -> None:
        for flag in ("--nonsense", "-x", "--temperature", "--tok", "-", "--", "--nonsense=3", "-n5"):
            with self.subTest(flag):
                self.misused("-m", str(self.model), flag, names=(f"{flag.split('=')[0]}: no such flag",))
        self.misused(str(self.model), names=(f"{self.model}: unexpected argument",))
        self.misused("-m", str(self.model), "", names=("unexpected argument",))

    def test_missing_values(self) -> None:
        for flag in ("-m", "--model", "--tokenizer", "-p", "--prompt", "-f", "--file", "-n", "--predict", "--steps",
                     "--temp", "--top-p", "-s", "--seed", "--logits", "--extremes", "--kernels", "-t", "--threads", "-b", "--batch",
                     "--batch-folder", "-np", "--timings"):
            with self.subTest(flag):
                self.misused("-m", str(self.model), flag, names=(f"{flag}: ", "value"))
        for flag in ("-m", "--tokenizer", "-f", "--logits", "--extremes", "--batch", "--batch-folder", "--timings"):
            self.misused("-m", str(self.model), flag, "", names=(f"{flag}: ''",))

    def test_values_that_are_not_wanted(self) -> None:
        for flag in ("--tokens", "--quiet", "--help", "--version"):
            self.misused("-m", str(self.model), f"{flag}=yes", names=(flag, "'yes'"))

    def test_bad_numbers(self) -> None:
        garbage = ("", "x", "1x", "1 ", " 1", "+1", "-1", "0x10", "nan", "inf", "-inf", "--tokens", "1,5")
        for flag in ("-n", "--predict", "--steps", "-s", "--seed", "--temp", "--top-p", "-t", "--threads", "-b", "--batch-size", "-np",
                     "--parallel"):
            for value in garbage:
                with self.subTest((flag, value)):
                    self.misused("-m", str(self.model), flag, value, names=(f"{flag}: '{value}'",))
        for flag, value in (("-n", "1.5"), ("-n", "1e3"), ("-n", "1000000001"), ("--steps", "1" + "0" * 30),
                            ("-s", "18446744073709551616"), ("-s", "1.0"), ("--temp", "-0.1"), ("--temp", "1e-9"),
                            ("--temp", "1001"), ("--temp", "1e99"), ("-t", "0"), ("-t", "1025"), ("-b", "0"), ("-b", "4097"),
                            ("--top-p", "1.01"), ("--top-p", "-0.01")):
            with self.subTest((flag, value)):
                self.misused("-m", str(self.model), flag, value, names=(f"{flag}: '{value}'",))
                if flag.startswith("--"):
                    self.misused("-m", str(self.model), f"{flag}={value}", names=(f"{flag}: '{value}'",))

    def test_the_limits_themselves_work(self) -> None:
        for flag, value in (("-n", "1000000000"), ("-s", "18446744073709551615"), ("--temp", "0.001"),
                            ("--temp", "1000"), ("--top-p", "0"), ("--top-p", "1"), ("-t", "1024"), ("-b", "4096")):
            self.works("--temp", "1", flag, value)

    def test_two_prompts(self) -> None:
        self.misused("-m", str(self.model), "-p", "a", "-f", "b.txt", names=("--file", "'b.txt'", "--prompt"))
        self.misused("-m", str(self.model), "-f", "b.txt", "-p", "", names=("--file", "'b.txt'", "--prompt"))


class Output(Case):
    def test_full_disk(self) -> None:
        if not Path("/dev/full").exists():
            self.skipTest("no /dev/full on this system")
        for flags in ((), ("--tokens",)):
            with open("/dev/full", "wb") as full:
                result = subprocess.run([PROGRAM, "-m", str(self.model), "--quiet", *flags], stdout=full,
                                        stderr=subprocess.PIPE, timeout=60)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(result.stderr, b"reference: error: stdout: write: No space left on device\n")

    def test_closed_pipe(self) -> None:
        for arguments in (("-m", str(self.model), "--quiet"), ("--help",)):
            read_end, write_end = os.pipe()
            os.close(read_end)
            result = subprocess.run([PROGRAM, *arguments], stdout=write_end, stderr=subprocess.PIPE, timeout=60)
            os.close(write_end)
            self.assertEqual(result.returncode, 1)
            self.assertEqual(result.stderr, b"reference: error: stdout: write: Broken pipe\n")

    def test_closed_streams(self) -> None:
        """What is printed must not go into a file that was opened under a closed stream's number."""
        outputs = {flag: self.folder / flag for flag in ("--logits", "--timings", "--extremes")}
        arguments = ["-m", self.model, *(word for pair in outputs.items() for word in pair)]
        expected = sorted(self.folder.iterdir())
        result = subprocess.run(["sh", "-c", 'exec "$@" >&-', "sh", PROGRAM, *arguments], stderr=subprocess.PIPE, timeout=60)
        self.assertEqual((result.returncode, result.stderr), (1, b"reference: error: stdout: write: it is closed\n"))
        self.assertEqual(sorted(self.folder.iterdir()), expected)
        self.works(*map(str, arguments[2:]))
        logits, extremes = outputs["--logits"].read_bytes(), outputs["--extremes"].read_bytes()
        for redirection in ("2>&-", "<&- 2>&-"):
            result = subprocess.run(["sh", "-c", f'exec "$@" {redirection}', "sh", PROGRAM, *arguments], stdout=subprocess.PIPE,
                                    timeout=60)
            self.assertEqual(result.returncode, 0)
            self.assertEqual((outputs["--logits"].read_bytes(), outputs["--extremes"].read_bytes()), (logits, extremes))
            json.loads(outputs["--timings"].read_bytes())

    def test_a_batch_that_nobody_reads(self) -> None:
        prompts = self.folder / "prompts.txt"
        prompts.write_bytes(b"ab\n" * 1000)
        read_end, closed_pipe = os.pipe()
        os.close(read_end)
        for output, reason in ((os.open("/dev/full", os.O_WRONLY), b"No space left on device"), (closed_pipe, b"Broken pipe")):
            result = subprocess.run([PROGRAM, "-m", self.model, "--quiet", "--batch", prompts], stdout=output, stderr=subprocess.PIPE,
                                    timeout=60)
            os.close(output)
            self.assertEqual((result.returncode, result.stderr), (1, b"reference: error: stdout: write: " + reason + b"\n"))

    def test_logits_that_cannot_be_written(self) -> None:
        os.mkfifo(self.folder / "pipe")
        before = sorted(self.folder.iterdir())
        nowhere = str(self.folder / "missing" / "logits.f32")
        for flag in ("--logits", "--timings", "--extremes"):
            self.refused(f"{nowhere}: write: No such file or directory", arguments=(flag, nowhere))
            self.refused(f"{self.folder}: file type: ", arguments=(flag, str(self.folder)))
            self.refused(f"{self.folder / 'pipe'}: file type: ", arguments=(flag, str(self.folder / "pipe")))
            self.works(flag, "/dev/null")  # written, not replaced
        self.assertTrue(Path("/dev/null").is_char_device())
        self.assertEqual(sorted(self.folder.iterdir()), before)

    def test_logits_over_an_input(self) -> None:
        prompt, link = self.folder / "prompt.txt", self.folder / "link"
        prompt.write_text("a", encoding="utf-8")
        for path in (self.model, self.tokenizer, prompt):
            link.unlink(missing_ok=True)
            os.link(path, link)
            for name in (path, link):
                before = path.read_bytes()
                for flag in ("--logits", "--timings", "--extremes"):
                    self.refused(f"{name}: {flag}: this would overwrite {path}", arguments=("-f", str(prompt), flag, str(name)))
                for flag in ("--timings", "--extremes"):
                    self.refused(f"{name}: {flag}: this would overwrite {path}", arguments=("--batch", str(prompt), flag, str(name)))
                self.assertEqual(path.read_bytes(), before)

    def test_a_failed_run_leaves_the_old_logits_alone(self) -> None:
        logits = self.folder / "logits.f32"
        logits.write_bytes(b"old")
        before = sorted(self.folder.iterdir())
        weights = tiny_model.random_weights()
        weights["wq"] = [3e38] * len(weights["wq"])
        self.model.write_bytes(tiny_model.v0(weights))
        for flag in ("--logits", "--extremes", "--timings"):
            self.refused("rms_ffn: ", arguments=(flag, str(logits)))
            self.assertEqual(logits.read_bytes(), b"old")
        self.assertEqual(sorted(self.folder.iterdir()), before)


class Speed(Case):
    """Threads: the same story, whatever the process may use; or a refusal."""

    def setUp(self) -> None:
        super().setUp()
        # Large enough for ten threads: what is small is computed by one.
        config = Config(dim=256, hidden_dim=4096, n_layers=1, n_heads=4, n_kv_heads=2, vocab_size=64, seq_len=16, tied=False)
        weights = random_model.weights(config, 1)
        weights.tensors["wcls"][tiny_model.BOS] = 0.0  # its logit is never the largest
        self.model = random_model.write(self.folder, "wide", weights).checkpoint
        self.arguments = [PROGRAM, "-m", self.model, "--tokens", "--quiet"]

    def test_threads_and_processors(self) -> None:
        expected = subprocess.run([*self.arguments, "-t", "1"], capture_output=True, timeout=60)
        self.assertEqual((expected.returncode, expected.stderr, expected.stdout.count(b"\n")), (0, b"", 17))
        timings = self.folder / "timings"
        here = os.sched_getaffinity(0)
        for processors in (here, {min(here)}):
            for threads in (0, 2, 7, 1024):
                with self.subTest(threads=threads, processors=len(processors)):
                    flags = ("-t", str(threads)) if threads else ()
                    result = subprocess.run([*self.arguments, "--timings", timings, *flags], capture_output=True, timeout=60,
                                            preexec_fn=lambda: os.sched_setaffinity(0, processors))
                    self.assertEqual((result.returncode, result.stderr, result.stdout), (0, b"", expected.stdout))
                    told = json.loads(timings.read_bytes())["threads"]
                    if threads:
                        self.assertEqual(told, threads)
                    else:
                        self.assertTrue(1 <= told <= len(processors))

    def test_threads_that_the_system_does_not_start(self) -> None:
        if b"__asan_init" in Path(PROGRAM).read_bytes():
            self.skipTest("sanitizers take much address space")
        refused = 0
        for megabytes in range(40, 120, 8):
            limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))
            result = subprocess.run([*self.arguments, "-t", "1024"], capture_output=True, timeout=60, preexec_fn=limit)
            if result.returncode:
                self.check_refusal(result, 1)
                refused += b"threads: " in result.stderr and b"temporarily unavailable, fewer are needed" in result.stderr
        self.assertGreater(refused, 0)


class Damage(Case):
    """Files with damage at many places. The seed is fixed, so that every run tests the same files."""

    def test_checkpoints_of_every_length(self) -> None:
        rng = random.Random(1)
        for good in (GOOD_V0, GOOD_V1):
            sizes = set(range(1, 44)) | {rng.randrange(44, len(good)) for _ in range(40)} | {len(good) - 1}
            for size in sizes:
                self.model.write_bytes(good[:size])
                with self.subTest(size):
                    self.refused(str(self.model), f"file size: {size} bytes")

    def test_tokenizers_of_every_length(self) -> None:
        rng = random.Random(2)
        for size in set(range(1, 40)) | {rng.randrange(40, len(GOOD_TOKENIZER)) for _ in range(40)}:
            self.tokenizer.write_bytes(GOOD_TOKENIZER[:size])
            with self.subTest(size):
                self.refused(str(self.tokenizer), f"ends at byte {size}")

    def test_headers(self) -> None:
        """Every damaged header is refused, unless it describes a file of just this size."""
        rng = random.Random(3)
        nasty = [INT_MIN, -65536, -272, -1, 0, 1, 2, 3, 4, 8, 16, 255, 65535, 65536, 2**30, INT_MAX]
        for _ in range(300):
            header = list(struct.unpack("<7i", GOOD_V0[:28]))
            for index in rng.sample(range(7), rng.choice((1, 1, 2))):
                header[index] = rng.choice(nasty)
            self.model.write_bytes(with_value(GOOD_V0, 0, "7i", *header))
            with self.subTest(header):
                if self.is_plausible(header) and tiny_model.checkpoint_size(tuple(header)) == len(GOOD_V0):
                    self.works()
                else:
                    self.refused(f"{self.model}: ")

    @staticmethod
    def is_plausible(header: list[int]) -> bool:
        dim, _, _, n_heads, n_kv_heads, _, _ = header
        if min(header[:5] + header[6:]) < 1 or abs(header[5]) < 2:
            return False
        return dim % n_heads == 0 and n_heads % n_kv_heads == 0 and dim // n_heads % 2 == 0

    def test_random_bytes(self) -> None:
        """Other bytes anywhere: a story or a refusal, but no crash."""
        rng = random.Random(4)
        for _ in range(150):
            for path, good in ((self.model, rng.choice((GOOD_V0, GOOD_V1))), (self.tokenizer, GOOD_TOKENIZER)):
                data = bytearray(good)
                for _ in range(rng.choice((0, 1, 2, 10))):
                    data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
                path.write_bytes(data)
            result = self.run_program("-m", str(self.model), "--quiet", "-p", "ab c de")
            with self.subTest(result.stderr):
                if result.returncode == 0:
                    self.assertEqual(result.stderr, b"")
                elif re.search(rb": (logits|rms_\w+): ", result.stderr) and b"at position 0" not in result.stderr:
                    # A weight that is finite but huge, and of a token that comes late: text is already out.
                    self.assertEqual((result.returncode, result.stderr.count(b"\n")), (1, 1))
                else:
                    self.check_refusal(result, 1, str(self.folder))


if __name__ == "__main__":
    PROGRAM = sys.argv.pop(1)
    unittest.main()
