#!/usr/bin/env python3
"""An engine that one types to: every answer is what the reference makes of the same prompt, on all machines, after whatever was
typed.

    tests/run boot/chat_test.py asm-boot-chat
    tests/run boot/chat_test.py everything asm-boot-chat     # larger models, more texts, more seeds

COM1 gets all that is typed and told, so all of it is known before, byte for byte; and so is what the screen shows of it.

A text hides its tokens. So random texts (TOKENS of them) are told by a model with random weights: other tokens of the same text,
and be it one less, make another story.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import time
import unittest
from dataclasses import replace
from pathlib import Path
from typing import Any, Iterable, Sequence

from support.everything import EVERYTHING
from support.models import present

import images
from images import BootTest

from common.engine import builds
from common.engine.builds import Built
from common.engine.engines import Engine
from common.machine import keyboard, pc, screen
from common.machine.console import KEYBOARD, NEWLINE, PROMPT, SERIAL, Conversation
from common.machine.qemu import SECTOR, Machine
from common.match import matching
from common.match.matching import Expected
from common.model import checkpoint, models, random_model, tokenizer
from common.model.checkpoint import Config
from common.model.models import Model
from common.model.tokenizer import BOS, Vocabulary, printed
from common.pack.race import Sampling

ENGINE = images.engine_argument()
MESSAGE = b"Disk/RAM error"
MOST = 400  # bytes of a line, whatever the model's seq_len is
TIMEOUT = 300.0  # seconds for an answer
STUCK = 20.0  # seconds without a byte
TOKENS = 2000 if EVERYTHING else 50
SEEDS = 100 if EVERYTHING else 5
BACK = b"\b \b"  # what Backspace makes of a character on the screen
RANDOM = Config(24, 40, 2, 6, 2, 512, 44, False)
OTHERS = "aeiostnr"  # a text with a near-tie gets one of them as its last letter
PROMPTS = (
    "", "Once upon a time", "The dragon was sad", "a", "A", " ", "  two  spaces   and three", "trailing ", "0123456789", "x1 = 3.14159;",
    "\"Hello!\" she said.", "Who? What?! Why... (yes) [no] {it}", "it's & that's", "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "ZzZzQqXx",
    "sssssssssssss", "\u201cOh\u201d\u2026 it\u2019s", "caf\u00e9 \u00e9t\u00e9", "\u65e5\u672c", "Tom \U0001f44d\U0001f44d ok", "\u00fcber \u00fc",
    "a\u00a0b\u2014c\u2013d", "\U0001f44d", "thethethe the", "<s>", "<0x41>", "abcdefghijklmnopqrstuvwxyz", "The The The")


class Chat(BootTest):
    def build(self, model: Model, encoding: str | None = None, engine: Engine = ENGINE) -> Built:
        return builds.build(engine, model, self.folder / "built" / "-".join((model.name, encoding or "", *engine.features)), encoding)

    def models(self) -> list[Model]:
        """The project's models that spell texts of all kinds: one without characters of several bytes, and one with them."""
        return present((models.PROJECT_MODEL, models.FALLBACK_MODEL))

    def random(self, vocabulary: Path | Vocabulary, config: Config = RANDOM, seed: int = 1, name: str = "random") -> Model:
        """Random weights, with a vocabulary that spells. BOS comes late."""
        weights = random_model.weights(config, seed, spread=4)
        weights.tensors["token_embedding" if config.tied else "wcls"][BOS] *= 0.25
        model = random_model.write(self.folder / "models", name, weights)
        if isinstance(vocabulary, Path):
            return replace(model, tokenizer=vocabulary)
        tokenizer.write(model.tokenizer, vocabulary.pieces, vocabulary.scores)
        return model

    def expect(self, built: Built, line: str) -> Expected:
        return matching.expect(built.effective, prompt=line, sampling=built.engine.sampling)

    def without_near_ties(self, built: Built, lines: Iterable[str]) -> list[tuple[str, Expected]]:
        """The lines with what is told; where rounding could decide about that, with another last letter."""
        sampling = built.engine.sampling
        smallest, most = matching.SMALLEST_RACE_GAP if sampling else matching.SMALLEST_GAP, longest(built)
        found = []
        for line in lines:
            short = line[:-1] if len(os.fsencode(line)) >= most else line
            for other in (line, *(short + letter for letter in OTHERS)):
                expected = self.expect(built, other)
                if (gap := smallest_gap(built, other, expected)) >= smallest:
                    break
                print(f"{other!r}: a near-tie, {gap:.2g}: another letter is taken")
            else:
                raise AssertionError(f"{line!r}: near-ties with all of {OTHERS}")
            found.append((other, expected))
        return found

    def check(self, built: Built, lines: Iterable[str], by: str = SERIAL, **options: Any) -> None:
        """One boot; all lines, one after the other, and what is told of them; the screen."""
        known = self.without_near_ties(built, lines)
        begin = time.monotonic()
        with pc.machine(built, **options) as machine:
            talk = started(machine)
            for line, expected in known:
                self.tell(talk, line, expected, by)
            self.check_screen(talk)
        print(f"{ENGINE.name}: {built.effective.name}, {built.encoding}, {built.counted} counted bytes, {by} {options or ''}: "
              f"{len(known)} answers equal, {sum(len(expected.tokens) for _, expected in known)} tokens, "
              f"{time.monotonic() - begin:.0f} s", flush=True)

    def tell(self, talk: Conversation, line: str, expected: Expected, by: str = SERIAL, echo: bytes | None = None) -> None:
        """Types a line, whose echo is the line itself if it is not given, and Enter: all that comes is known."""
        data = os.fsencode(line)
        wanted = (data if echo is None else echo) + NEWLINE + wire(expected.text) + PROMPT
        begin = len(talk.received)
        if by == KEYBOARD:
            talk.type(data, KEYBOARD)
            talk.enter(KEYBOARD)
        else:
            send(talk, data + b"\r")
        came(talk, begin, len(wanted))
        found = bytes(talk.received[begin:])
        if found != wanted:
            found += rest(talk)
            answer = found.partition(NEWLINE)[2].removesuffix(PROMPT).replace(NEWLINE, b"\n")
            self.fail(f"{line!r}: COM1 got {found!r}, expected {wanted!r}; {matching.compare(answer, expected)}")

    def check_screen(self, talk: Conversation) -> None:
        talk.look()
        self.assertEqual(screen.problem(talk.pc.text_memory(), talk.output, screen.CHAT, talk.pc.before), "")


def longest(built: Built) -> int:
    """Bytes of a line: with BOS and a space before it, it never has more tokens than there are positions."""
    return max(0, min(checkpoint.read_config(built.effective.checkpoint).seq_len - 2, MOST))


def smallest_gap(built: Built, line: str, expected: Expected) -> float:
    """Of the passes that decide something: not where the next token is the line's."""
    known = tokenizer.load(built.effective.tokenizer, checkpoint.read_config(built.effective.checkpoint).vocab_size)
    return min(expected.gaps[len(tokenizer.encode(known, os.fsencode(line))):], default=math.inf)


def started(machine: Machine) -> Conversation:
    talk = Conversation(machine)
    talk.wait_for_prompt(TIMEOUT)
    assert talk.received == PROMPT, bytes(talk.received)
    return talk


def wire(text: bytes) -> bytes:
    return text.replace(b"\n", NEWLINE)


def send(talk: Conversation, data: bytes) -> None:
    """To COM1, as fast as the engine takes it."""
    sent = 0
    while sent < len(data):
        sent += talk.pc.send(data[sent:])
        time.sleep(0.001)


def came(talk: Conversation, begin: int, size: int) -> None:
    """Waits until so much has come, or nothing for long."""
    now = moved = time.monotonic()
    last = len(talk.received)
    while len(talk.received) < begin + size and now - moved < STUCK:
        time.sleep(0.003)
        talk.look()
        now = time.monotonic()
        if len(talk.received) > last:
            last, moved = len(talk.received), now


def rest(talk: Conversation) -> bytes:
    """What still comes."""
    begin = len(talk.received)
    time.sleep(2)
    talk.look()
    return bytes(talk.received[begin:])


def press(talk: Conversation, key: str) -> None:
    """A key by QEMU's name."""
    talk.pc.call("send-key", **{"keys": [{"type": "qcode", "data": key}], "hold-time": 10})
    time.sleep(0.05)


def short(model: Model, seq_len: int, folder: Path) -> Model:
    return images.with_seq_len(model, seq_len, folder / "models")


# --- Vocabularies ------------------------------------------------------------------------------------------------

def vocabulary(merges: Sequence[str], characters: str, byte_tokens: bool = True) -> Vocabulary:
    """With merges before characters, and those of one byte before the others; scores fall from token to token."""
    pieces = [b"<unk>", b"\n<s>\n", b"\n</s>\n"] + [b"<0x%02X>" % byte for byte in range(256)] * byte_tokens
    pieces += [piece.encode() for piece in (*merges, *sorted(characters, key=lambda each: len(each.encode()) > 1))]
    return Vocabulary(pieces, [0.0 if token < 259 and byte_tokens else float(-token) for token in range(len(pieces))],
                      max(map(len, pieces)))


TWO_BYTES = vocabulary([" a", "\u00e9t", "\u00e9t\u00e9", "\u00fc\u00fc", " \u00e9"], " abet\u00e9\u00fc")
FOUR_BYTES = vocabulary(["\u65e5\u672c", "ab", " \U0001f44d", "\U0001f44d\U0001f44d", "\u00e9a", " a"],
                        " abc\u00e9\u65e5\u672c\U0001f44d")
LETTERS = vocabulary(["ab", " a"], " abc", byte_tokens=False)
ODD = "abc\u00e9\u00fc\u65e5\u672c\U0001f44d\U0001f600 \u2026\x7e"


def texts(generator: random.Random, known: Vocabulary, most: int) -> str:
    """A random text, of pieces and of single characters, in the vocabulary and not."""
    pieces = [piece.decode() for token, piece in enumerate(known.pieces) if token > 2 and printed(piece) == piece and is_text(piece)]
    while True:
        parts = [generator.choice(pieces if generator.random() < 0.5 else [piece for piece in pieces if len(piece) == 1]
                                  if generator.random() < 0.85 else ODD) for _ in range(generator.randint(1, 14))]
        text = "".join(parts)
        while len(text.encode()) > most:
            text = text[:-1]
        if text:
            return text


def is_text(piece: bytes) -> bool:
    """Whether it can be typed."""
    try:
        return bool(piece) and all(character >= " " and character != "\x7f" for character in piece.decode())
    except UnicodeDecodeError:
        return False


class Answers(Chat):
    def test_prompts(self) -> None:
        """Of every kind; and the longest line, with tokens left."""
        *others, last = self.models()  # the last one has characters of several bytes, where it is here
        for model in (*others, last):
            built = self.build(short(model, 48, self.folder))
            self.assertEqual(longest(built), 46)
            prompts = PROMPTS if EVERYTHING or model == last else PROMPTS[::3]
            self.check(built, [*prompts, ("The little fox was " * 3)[:46]])

    def test_keyboard(self) -> None:
        """All characters that it has, in two lines, and others."""
        built = self.build(short(self.models()[-1], 64, self.folder))
        typed = "".join(chr(code) for code in range(32, 127))
        self.assertTrue(keyboard.types(typed))
        self.check(built, [typed[:60], typed[60:], "", "Once  upon a time"], KEYBOARD)

    def test_full_story(self) -> None:
        """Of all tokens that the model has room for, of a line of 400 bytes, and from BOS; what does not fit is refused."""
        for model in self.models() if EVERYTHING else self.models()[:1]:
            built = self.build(model)
            most = longest(built)
            line = ("Once upon a time, there was a little fox who had a \"big\" red ball. " * 8)[:most]
            known = self.without_near_ties(built, [line, "The"])
            with pc.machine(built) as machine:
                talk = started(machine)
                for line, expected in known:
                    self.assertGreater(len(expected.tokens), 40)
                    over = "x \u00e9" if len(line) == most else ""
                    self.tell(talk, line + over, expected, echo=line.encode())
                self.check_screen(talk)
            print(f"{ENGINE.name}: {model.name}: lines of {most} bytes and more; {[len(expected.tokens) for _, expected in known]} "
                  "tokens", flush=True)

    def test_longest(self) -> None:
        """Every length around it, for contexts that leave room for little; each in a token for each byte."""
        known = models.find_model().tokenizer
        for seq_len in (1, 2, 3, 4, 5, 9) if EVERYTHING else (2, 3, 6):
            model = self.random(known, replace(RANDOM, seq_len=seq_len), name=f"seq-{seq_len}")
            built = self.build(model)
            most = longest(built)
            with pc.machine(built) as machine:
                talk = started(machine)
                for size in range(max(0, most - 2), most + 3):
                    line = "\x60\x5e{}|~<>"[:size] if size <= 9 else "~" * size
                    expected = self.expect(built, line[:most])
                    self.assertGreater(smallest_gap(built, line[:most], expected), matching.SMALLEST_GAP)
                    self.assertLessEqual(len(expected.tokens), seq_len)
                    self.tell(talk, line, expected, echo=line[:most].encode())
            print(f"{ENGINE.name}: seq_len {seq_len}: lines up to {most} bytes, and longer ones", flush=True)

    def test_tokens(self) -> None:
        generator = random.Random(12)
        for model in self.models():
            model = self.random(model.tokenizer, name=f"tokens-{model.name}")
            known = tokenizer.load(model.tokenizer, RANDOM.vocab_size)
            self.check_tokens(self.build(model), known, TOKENS // 2, generator)

    def check_tokens(self, built: Built, known: Vocabulary, count: int, generator: random.Random) -> None:
        lines = [texts(generator, known, longest(built)) for _ in range(count)]
        merged = [line for line in lines if len(tokenizer.encode(known, line.encode())) < len((" " + line).encode())]
        self.assertGreater(len(merged), count // 3)
        self.check(built, lines)

    def test_vocabularies(self) -> None:
        """With characters of 2 and of 4 bytes, in every encoding."""
        generator = random.Random(13)
        for name, known in (("two", TWO_BYTES), ("four", FOUR_BYTES)):
            model = self.random(known, replace(RANDOM, vocab_size=len(known.pieces)), name=name)
            for encoding in ENGINE.encodings:
                self.check_tokens(self.build(model, encoding), known, max(10, TOKENS // 20), generator)

    def test_encodings(self) -> None:
        for model, encoding in itertools.product(self.models(), ENGINE.encodings[1:]):
            self.check(self.build(short(model, 48, self.folder), encoding), PROMPTS if EVERYTHING else PROMPTS[1:24:4])

    def test_no_token(self) -> None:
        """What the vocabulary cannot spell ends the prompt: nothing crashes, and a story is told from there on."""
        words = random_model.write(self.folder / "models", "words", random_model.weights(RANDOM, 5, spread=4))
        letters = self.random(LETTERS, replace(RANDOM, vocab_size=len(LETTERS.pieces)), name="letters")
        for model, lines in ((words, {"": "", "abc": "", "aaaaaaa": "", "\u00e9": "", " ": ""}),
                             (letters, {"": "", "aba": "aba", "abxc": "ab", "c\u00e9a": "c", "a~": "a"})):
            built = self.build(model)
            with pc.machine(built) as machine:
                talk = started(machine)
                for line, known in lines.items():
                    expected = self.expect(built, known)
                    self.assertGreater(smallest_gap(built, known, expected), matching.SMALLEST_GAP)
                    self.tell(talk, line, expected)
                self.check_screen(talk)

    def test_bytes_that_are_no_text(self) -> None:
        """Told in some way, and the machine goes on."""
        built = self.build(short(self.models()[-1], 48, self.folder))
        expected = self.expect(built, "The")
        with pc.machine(built) as machine:
            talk = started(machine)
            for line in (b"\xff\xfe", b"\x80\x80\x80", b"a\xc3", b"\xe2\x80", bytes(range(0x80, 0xa8))):
                begin = len(talk.received)
                self.assertEqual(talk.type(line), line)
                talk.enter()
                self.assertEqual(talk.answer(TIMEOUT)[:len(line) + 1], b" " + line)
                self.assertTrue(talk.received[begin:].endswith(PROMPT))
            for line in (b"\x80\x80\x7f", b"\x80\x7f\x7f\x7fab\x7f\x7f\x7f"):
                talk.type(line)
                talk.enter()
                talk.answer(TIMEOUT)
            self.tell(talk, "The", expected)
            self.check_screen(talk)


class Editing(Chat):
    def setUp(self) -> None:
        super().setUp()
        self.built = self.build(short(self.models()[-1], 40, self.folder))

    def test_backspace(self) -> None:
        most = longest(self.built)
        full = ("The cat and the dog were sad. " * 2)[:most]
        for code in (b"\b", b"\x7f"):
            one = [("abx" + "D" + "c", "abc", b"abx" + BACK + b"c"),
                   ("D" + "The", "The", b"The"),
                   ("xDDDThe", "The", b"x" + BACK + b"The"),
                   ("caf\u00e9De", "cafe", "caf\u00e9".encode() + BACK + b"e"),
                   ("\U0001f44d\u2026\u00fcDDDa", "a", "\U0001f44d\u2026\u00fc".encode() + BACK * 3 + b"a"),
                   ("\u65e5D", "", "\u65e5".encode() + BACK),
                   (full + "yzDDab", full[:-2] + "ab", full.encode() + BACK * 2 + b"ab"),
                   (full + "D" * (most + 3), "", full.encode() + BACK * most)]
            with pc.machine(self.built) as machine:
                talk = started(machine)
                for typed, line, echo in one:
                    expected = self.expect(self.built, line)
                    self.tell(talk, os.fsdecode(os.fsencode(typed).replace(b"D", code)), expected, echo=echo)
                self.check_screen(talk)

    def test_backspace_key(self) -> None:
        with pc.machine(self.built) as machine:
            talk = started(machine)
            self.assertEqual(talk.type("\b\bThex\by\b\b\b\b\bOn", KEYBOARD), b"Thex" + BACK + b"y" + BACK * 4 + b"On")
            self.tell(talk, "ce", self.expect(self.built, "Once"))
            self.check_screen(talk)

    def test_what_is_no_text(self) -> None:
        """Over COM1 and by the keyboard."""
        expected = self.expect(self.built, "The cat")
        ignored = bytes(code for code in range(32) if code not in b"\r\b")
        with pc.machine(self.built) as machine:
            talk = started(machine)
            self.tell(talk, os.fsdecode(b"The" + ignored + b" cat" + ignored), expected, echo=b"The cat")
            for key in ("f1", "f12", "esc", "tab", "up", "down", "left", "right", "home", "end", "pgup", "pgdn", "insert", "delete",
                        "shift", "ctrl", "alt", "caps_lock", "caps_lock", "num_lock", "num_lock"):
                press(talk, key)
            self.tell(talk, "The cat", expected, KEYBOARD)
            self.check_screen(talk)


class Interrupted(Chat):
    def test_any_key(self) -> None:
        """Stops a story where it is; the next one is right, and one that nobody stops is told to its end."""
        built = self.build(models.find_model())
        expected, whole = self.expect(built, "The fox"), self.expect(built, "A")
        told = NEWLINE + wire(expected.text)
        with pc.machine(built) as machine:
            talk = started(machine)
            for by, key in ((SERIAL, b"\x1b"), (KEYBOARD, "esc"), (SERIAL, b"\r"), (KEYBOARD, "f1"), (KEYBOARD, "a"), (SERIAL, b"\x7f")):
                self.assertEqual(talk.type("The fox"), b"The fox")
                begin = len(talk.received)
                talk.enter()
                came(talk, begin, 30)
                if isinstance(key, bytes):
                    send(talk, key)
                else:
                    press(talk, key)
                talk.wait_for_prompt(TIMEOUT, begin + 2)
                found = bytes(talk.received[begin:])
                self.assertTrue(found.endswith(PROMPT))
                story = found.removesuffix(PROMPT)
                self.assertTrue(told.startswith(story), (found, told))
                self.assertLess(len(story), len(told), "it was not stopped")
            self.tell(talk, "The fox", expected)
            self.tell(talk, "A", whole)
            self.check_screen(talk)
        print(f"{ENGINE.name}: stopped six times, then two stories of {len(expected.tokens)} and {len(whole.tokens)} tokens", flush=True)


class Machines(Chat):
    def small(self, engine: Engine = ENGINE, encoding: str | None = None) -> Built:
        return self.build(short(models.find_model(), 24, self.folder), encoding, engine)

    def test_machines(self) -> None:
        """Processors, memories, disks, and garbage where the model and the walk go."""
        for cpu, memory, disk, filled, encoding in (("486", 8, "ide", True, None), ("pentium", 8, "ahci", True, "int8"),
                                                    ("max", 3072, "usb", False, "int4"), ("qemu32", 128, "virtio", True, None)):
            garbage = images.garbage(self.folder / "garbage", memory) if filled else None
            self.check(self.small(encoding=encoding), ["", "The fox", "a"], cpu=cpu, memory=memory, disk=disk, garbage=garbage)

    def test_page(self) -> None:
        """Nothing is written into 7C00h-7FFFh after the load, that would be slow."""
        built = self.small()
        with pc.machine(built) as machine:
            talk = started(machine)
            for line in ("", "The fox"):
                self.tell(talk, line, self.expect(built, line))
                self.assertEqual(machine.memory(0x7C00, 2 * SECTOR), built.program.read_bytes()[:2 * SECTOR])

    def check_shown(self, built: Built, lines: Sequence[str], **options: Any) -> None:
        """By keyboard and screen alone."""
        with pc.machine(built, **options) as machine:
            wanted = PROMPT
            for line in (None, *lines):
                if line is not None:
                    for character in line:
                        machine.press(character)
                        wanted += character.encode()
                        self.wait_for_screen(machine, wanted)
                    machine.press("\r")
                    wanted += NEWLINE + wire(self.expect(built, line).text) + PROMPT
                self.wait_for_screen(machine, wanted)
            self.assertEqual(machine.serial(), b"")

    def wait_for_screen(self, machine: Machine, wanted: bytes) -> None:
        end = time.monotonic() + STUCK
        while (problem := screen.problem(machine.text_memory(), wanted, screen.CHAT, machine.before)) and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(problem, "")

    def test_without_com1(self) -> None:
        """Where nothing is at its ports."""
        self.check_shown(self.small(), ["The fox", "", "a"], extra=["-global", "isa-serial.iobase=0x2e8"])

    def test_features(self) -> None:
        """Each one left out, and all of them."""
        for left_out in (*((feature,) for feature in ENGINE.features), ENGINE.features):
            engine = ENGINE.without(left_out)
            built = self.small(engine)
            lines = ["", "The fox"]
            if "SERIAL" in left_out and "CLEAR" not in left_out:
                self.check_shown(built, lines)
            elif "SERIAL" in left_out:
                self.check_below_others(built, "The fox")
            else:
                with pc.machine(built) as machine:
                    talk = started(machine)
                    for line in lines:
                        self.tell(talk, line, self.expect(built, line))
                    if "CLEAR" in left_out:
                        self.assertIn(b"SeaBIOS", machine.text_memory())
                    else:
                        self.check_screen(talk)
            print(f"{ENGINE.name} without {', '.join(left_out)}: {built.counted} counted bytes", flush=True)

    def check_below_others(self, built: Built, line: str) -> None:
        """On a screen that has the firmware's text, whose cursor is behind it."""
        with pc.machine(built) as machine:
            wanted = b"\n>"
            for character in (*line, "\r"):
                self.wait_for_rows(machine, wanted)
                machine.press(character)
                wanted += character.encode()
            rows = screen.rows(screen.Teletype().write(b"\r\n>" + line.encode() + NEWLINE + wire(self.expect(built, line).text) + PROMPT).cells)
            self.wait_for_rows(machine, rows)
            self.assertIn(b"SeaBIOS", machine.text_memory())

    def wait_for_rows(self, machine: Machine, wanted: bytes) -> None:
        end = time.monotonic() + STUCK
        while not (found := screen.rows(machine.text_memory())).endswith(wanted.rstrip()) and time.monotonic() < end:
            time.sleep(0.01)
        self.assertTrue(found.endswith(wanted.rstrip()), (found, wanted))

    def check_message(self, machine: Machine, before: bytes) -> None:
        machine.wait_until_stopped(60)
        self.assertEqual(machine.serial(), before + MESSAGE)
        self.assertTrue(screen.rows(machine.text_memory()).endswith(MESSAGE))

    def test_disk_errors(self) -> None:
        """A sector that cannot be read, of the first chunk and of the last one, and a disk that ends: said before anything else."""
        built = self.small()
        image = built.program.read_bytes()
        cut = self.folder / "cut.img"
        cut.write_bytes(image[:-SECTOR])
        for options in ({"bad_sector": 1}, {"bad_sector": 64}, {"bad_sector": len(image) // SECTOR - 1}):
            with self.subTest(**options), Machine(built.program, cells=False, **options) as machine:
                self.check_message(machine, b"")
        with Machine(cut, cells=False, exact=True) as machine:
            self.check_message(machine, b"")

    def test_too_little_memory(self) -> None:
        """Said when a story is asked for; with a little more memory it is told."""
        model = random_model.write(self.folder / "models", "m", random_model.weights(Config(32, 1280, 2, 4, 4, 64, 400, False), 2, spread=4))
        built = self.build(model)
        needed = pc.memory_for(built, 100) and pc.BELOW_WORKSPACE + -(-built.memory >> 20)
        self.assertGreater(needed, 9)
        with Machine(built.program, "486", needed - 2, cells=False) as machine:
            talk = started(machine)
            talk.enter()
            self.check_message(machine, NEWLINE)
        self.check(built, [""], cpu="486", memory=needed)

    def test_partition(self) -> None:
        """With an entry of the partition table it tells the same."""
        if "PARTITION" not in ENGINE.on_request:
            return
        for encoding in ENGINE.encodings:
            built = self.small(ENGINE.with_requested(["PARTITION"]), encoding)
            self.check_partition(built.program)
            for disk in ("ide", "usb") if encoding == ENGINE.encodings[0] else ("ide",):
                self.check(built, ["", "The fox", "a  b"], disk=disk)


class Sampled(Chat):
    def test_seeds(self) -> None:
        if not ENGINE.samples:
            self.skipTest(f"{ENGINE.name} is greedy")
        model = short(self.models()[0], 32, self.folder)
        for seed, top_p in zip(range(SEEDS), itertools.cycle((1.0, 0.9))):
            sampling = Sampling(0.8 if seed % 3 else 1.2, seed, top_p)
            if not ENGINE.draws(sampling):
                sampling = replace(sampling, top_p=1.0)
            self.check(self.build(model, engine=ENGINE.sampled(sampling)), ["", "The", "The", "Once upon"])


class Shapes(Chat):
    def shape(self, config: Config, encoding: str) -> None:
        name = f"dim-{config.dim}"
        words = [f" w{number}" for number in range(1, 900)]
        merges = sorted({word[:size] for word in words for size in range(2, len(word) + 1)}, key=lambda piece: (-len(piece), piece))
        known = vocabulary(merges, " w0123456789\u00e9\u2026")
        spare = [b"{%d}" % token for token in range(config.vocab_size - len(known.pieces))]
        place = 259  # other pieces come before, where they can be made of nothing
        pieces = known.pieces[:place] + spare + known.pieces[place:]
        scores = [0.0] * place + [float(-token) for token in range(place, len(pieces))]
        model = self.random(Vocabulary(pieces, scores, max(map(len, pieces))), config, name=name)
        self.check(self.build(model, encoding), ["", "w12 w345", "w\u00e9 w7\u2026", "w899w1"])

    def test_two_megabytes(self) -> None:
        self.shape(Config(64, 172, 5, 8, 4, 7680, 12, True), "bf16")

    @unittest.skipUnless(EVERYTHING, "large models take minutes")
    def test_large(self) -> None:
        for encoding in ENGINE.encodings:  # the shape of 15M
            self.shape(Config(288, 768, 6, 6, 6, 32000, 12, True), encoding)


if __name__ == "__main__":
    unittest.main()
