"""common/pack/spelling.py: what is refused, and that what is accepted is spelled as the reference does, by random vocabularies."""

from __future__ import annotations

import random
from typing import Sequence

from support.folders import FolderTest
from support.skip import main

from common.errors import UserError
from common.model import models, tokenizer
from common.model.vocabulary import BOS, Vocabulary, encode, printed
from common.pack import spelling
from common.pack.spelling import FIRST, Spelling

BYTES = [b"<0x%02X>" % byte for byte in range(256)]
SPECIAL = [b"<unk>", b"\n<s>\n", b"\n</s>\n"]
VOCABULARIES, TEXTS = 1500, 12  # random ones, and texts of each
ENOUGH = 150  # of them must be accepted, and so many refused


def vocabulary(pieces: Sequence[str | bytes], scores: Sequence[float] | None = None, byte_tokens: bool = True) -> Vocabulary:
    """Of some pieces behind the special ones; scores fall, if none are given for them."""
    before = SPECIAL + BYTES * byte_tokens
    encoded = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    if scores is None:
        scores = [-float(number) for number in range(len(encoded))]
    return Vocabulary(before + encoded, [0.0] * len(before) + list(scores), 64)


def spelled(known: Spelling, vocabulary: Vocabulary, text: bytes) -> list[int]:
    """The tokens by an engine's algorithm, as the module's docstring tells it."""
    texts = [printed(piece) for piece in vocabulary.pieces]
    parts = [bytes([byte]) for byte in b" " + text] if text else []

    def merge(first: int, most: int, least: int = 2) -> bool:
        for record in texts[first:]:
            for count in range(most, least - 1, -1):
                for i in range(len(parts) - count + 1):
                    if b"".join(parts[i:i + count]) == record:
                        parts[i:i + count] = [record]
                        return True
        return False

    while merge(known.first_character, known.character_bytes):
        pass
    while merge(FIRST, 2):
        pass
    return [max((token for token in range(FIRST, len(texts)) if texts[token] == part), default=0) for part in parts]


class Accepted(FolderTest):
    def test_what_an_engine_needs_to_know(self) -> None:
        for pieces, expected in (([" ", "a"], Spelling(261, 1)), ([" a", " ", "a", "\u00e9"], Spelling(262, 2)),
                                 ([" ", "\u65e5", "a", "\u00e9"], Spelling(260, 3)), ([" ", "a", "\U0001f44d"], Spelling(261, 4))):
            self.assertEqual(spelling.proven(vocabulary(pieces)), expected, pieces)
        self.assertEqual(spelling.proven(vocabulary(["abcdefg", "hijklmn"], byte_tokens=False)), Spelling(5, 1))

    def test_shipped_models(self) -> None:
        generator = random.Random(5)
        for name in models.NAMED_MODELS:
            try:
                model = models.find_model(name)
            except UserError as error:
                print(f"SKIP: {error}")
                continue
            known = tokenizer.load(model.tokenizer, 512)
            self.check_texts(known, [piece.decode() for piece in known.pieces[259:]] + list("\u65e5\u00fc\U0001f44d~"), generator, 60)

    def check_texts(self, known: Vocabulary, parts: Sequence[str], generator: random.Random, count: int) -> int:
        """How many texts had merges."""
        proven, merged = spelling.proven(known), 0
        for _ in range(count):
            text = "".join(generator.choice(parts) for _ in range(generator.randint(0, 8))).encode()
            try:
                expected = encode(known, text)
            except UserError:
                continue  # what the reference refuses
            self.assertEqual(spelled(proven, known, text), expected, (text, known.pieces[259:], known.scores[259:]))
            merged += len(expected) < len(text)
        return merged

    def test_random_vocabularies(self) -> None:
        """Of a few characters, so that there are many ways to make a piece; with damage of all kinds, most of it refused."""
        generator = random.Random(7)
        accepted = refused = merged = 0
        for _ in range(VOCABULARIES):
            known, parts = self.random_vocabulary(generator)
            try:
                spelling.proven(known)
            except UserError:
                refused += 1
                continue
            accepted += 1
            merged += self.check_texts(known, parts, generator, TEXTS)
        print(f"{accepted} vocabularies accepted, {refused} refused; {merged} texts with merges")
        self.assertGreater(min(accepted, refused, merged), ENOUGH)

    def random_vocabulary(self, generator: random.Random) -> tuple[Vocabulary, list[str]]:
        characters = generator.sample([" ", "a", "b", "c", "\u00e9", "\u00fc", "\u65e5", "\U0001f44d", "A"], generator.randint(2, 6))
        merges: list[str] = []
        for _ in range(generator.randint(0, 8)):
            piece = generator.choice(characters + merges) + generator.choice(characters + merges)
            if piece not in merges and len(piece) < 9 or generator.random() < 0.03:
                merges.append(piece)
        characters.sort(key=lambda each: len(each.encode()) > 1)
        pieces: list[str | bytes] = [*merges, *characters]
        scores = [-float(number) for number in range(len(pieces))]
        damage = generator.random()
        if damage < 0.1:
            generator.shuffle(pieces)
        elif damage < 0.2 and len(scores) > 1:
            place = generator.randrange(len(scores) - 1)
            scores[place + 1] = scores[place] + generator.choice((0, 0.5))
        elif damage < 0.3:
            pieces.pop(generator.randrange(len(pieces)))
            scores.pop()
        elif damage < 0.4:
            pieces[generator.randrange(len(pieces))] = generator.choice(pieces + [b"<0x41>", b"<0x20>", b"", b"ab", b"<0x61"])
        elif damage < 0.5:
            generator.shuffle(scores)
        return vocabulary(pieces, scores, generator.random() < 0.85), characters + merges + ["A", "z", "\u00e9", "\u2026"]


class Refused(FolderTest):
    def assertRefused(self, pattern: str, known: Vocabulary) -> None:
        self.assertUserError(pattern, spelling.proven, known)

    def test_scores(self) -> None:
        pieces = ["ab", "bc", " ", "a", "b", "c"]
        spelling.proven(vocabulary(pieces))
        spelling.proven(vocabulary(pieces, [-1, -2, 0, 0, 5, 0]))  # those of characters do not matter
        self.assertRefused("token 260, b'bc': its score is -1, and that of token 259 is -2: .*scores that fall",
                           vocabulary(pieces, [-2, -1, 0, 0, 0, 0]))
        self.assertRefused("token 260, b'bc': its score is -1, and that of token 259 is -1: ", vocabulary(pieces, [-1, -1, 0, 0, 0, 0]))

    def test_between_them_others(self) -> None:
        """What can be made of nothing may have any score."""
        spelling.proven(vocabulary(["ab", "xyz", "bc", "a", "b", "c"], [-1, 9, -2, 0, 0, 0]))

    def test_missing_character(self) -> None:
        """The bytes make it as a text, the pieces do not make it in the reference."""
        self.assertRefused("token 259, b'ab': it can be made of others as a text, but not as a piece", vocabulary(["ab", "a"]))
        spelling.proven(vocabulary(["ab", "a"], byte_tokens=False))

    def test_a_byte_as_a_piece(self) -> None:
        """`<0x41>` has the text A, so the pieces of more can be made of its parts in one of the two only."""
        self.assertRefused("token 68, b'<0x41>': it can be made of others", vocabulary(["<0x4", "1>", "<", "0", "x", "4", "1", ">"]))

    def test_duplicates(self) -> None:
        self.assertRefused("token 260, b'ab': .*another token has its text", vocabulary(["ab", "ab", "a", "b"]))
        self.assertRefused("token 259, .'a.?: token 260 has the same text; .*one token for each character", vocabulary(["a", "a"]))
        self.assertRefused("token 259, b'<0x80>': it has the text of the byte 0x80; .*one token for each byte", vocabulary(["<0x80>"]))

    def test_unk(self) -> None:
        """Token 0 is where there is none, and is not looked up."""
        known = vocabulary(["a", "b"])
        known.pieces[0] = b"ab"
        self.assertRefused("token 0, b'ab': .*or it is token 0", known)

    def test_behind_characters(self) -> None:
        self.assertRefused("token 262, b'ab': it is behind token 261, a character of several bytes", vocabulary(["a", "b", "\u00e9", "ab"]))
        self.assertRefused(r"token 260, b'\\xc3\\xa9a': it is behind token 259", vocabulary(["\u00e9", "\u00e9a", "a"]))
        longer = spelling.proven(vocabulary(["a", "b", "\u00e9", "abb", "<|end|>"]))  # which no run of two bytes can be
        self.assertEqual((longer.first_character, longer.character_bytes), (261, 2))

    def test_empty(self) -> None:
        self.assertRefused("token 260: it is empty", vocabulary(["\u00e9", "", "a"]))

    def test_bos(self) -> None:
        """BOS is none of those: whatever its piece is, it is not looked up."""
        known = vocabulary(["a", "b", "ab"])
        known.pieces[BOS] = b"ab"
        spelling.proven(known)


if __name__ == "__main__":
    main()
