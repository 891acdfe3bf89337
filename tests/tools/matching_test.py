"""common/match/matching.py: the first token that differs, the smallest gap, and programs that do not end well."""

from __future__ import annotations

import os
import struct
import time
import unittest
from unittest import mock

from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main

from common.match import domain, matching
from common.match.matching import Difference, Expected
from common.model import checkpoint, tokenizer
from common.model.models import Model

PIECES = [b"<unk>", b"<s>", b" Once", b" upon", b" up", b"\n", b"\xff", b""]


def expected(*tokens: int) -> Expected:
    return Expected(list(tokens), PIECES, [1.0] * (len(tokens) + 1), 1.0)


class Compare(unittest.TestCase):
    def test_equal(self) -> None:
        for tokens in ([], [2], [2, 3, 5, 6], [2, 7, 3], [7]):
            what = expected(*tokens)
            self.assertIsNone(matching.compare(what.text, what))
        self.assertEqual(expected(2, 7, 5, 6).text, b" Once\n\xff")

    def test_first_token_that_differs(self) -> None:
        what = expected(2, 3, 2, 3)
        for output, difference in [
            (b" Once upon Once up", Difference(3, b" upon", b" up", b" Once upon Once")),
            (b" Once up Once upon", Difference(1, b" upon", b" up", b" Once")),
            (b"Once upon Once upon", Difference(0, b" Once", b"O", b"")),
            (b" Once upon\n Once upon", Difference(2, b" Once", b"\n", b" Once upon")),
            (b"", Difference(0, b" Once", None, b"")),
            (b" Once upon Once", Difference(3, b" upon", None, b" Once upon Once")),
            (b" Once upon Once upon up", Difference(4, None, b" up", b" Once upon Once upon")),
            (b" Once upon Once upon\0", Difference(4, None, b"\0", b" Once upon Once upon")),
        ]:
            self.assertEqual(matching.compare(output, what), difference)

    def test_what_is_not_seen(self) -> None:
        """An output that ends after some bytes because no more can be seen; up to there it counts."""
        what = expected(2, 3, 2, 3)
        for seen in (0, 4, 5, 9, 21, 22, 23):
            self.assertIsNone(matching.compare(what.text[:seen], what, seen))
        self.assertEqual(matching.compare(b" Once up", what, 9), Difference(1, b" upo", b" up", b" Once"))
        self.assertEqual(matching.compare(b" Once upon Oncx", what, 15).index, 2)
        self.assertEqual(matching.compare(what.text + b"\n", what, 30).index, 4)

    def test_lookalikes(self) -> None:
        pieces = [b"a", b"<s>", b"b", b"a", b"", b"c", b"", b"a"]
        for tokens, groups in [([2, 5], []), ([3, 2], [[0, 3, 7]]), ([6, 0, 3], [[0, 3, 7], [4, 6]])]:
            self.assertEqual(Expected(tokens, pieces, [1.0], 1.0).lookalikes, groups)

    def test_message(self) -> None:
        self.assertEqual(str(Difference(3, b" upon", b" up", b" Once")),
                         "token 3: expected ' upon', found ' up', after …' Once'")
        self.assertEqual(str(Difference(3, None, b"\xff", b"\xff")),
                         "token 3: expected the end, found '\\\\xff', after …'\\\\xff'")
        self.assertIn("found the end", str(Difference(0, b"a", None, b"")))

    def test_context_is_one_line(self) -> None:
        difference = matching.compare(b" Once" * 50, expected(*[2] * 49, 3))
        self.assertEqual((difference.index, len(difference.context)), (49, 60))


class Gap(FolderTest):
    def test_smallest_gap(self) -> None:
        path = self.folder / "logits"
        for rows, answer in [([[0, 3, 1], [5, 2, 4.5], [9, 8, 7]], (0.5, 1)), ([[-3, -1, -2]], (1.0, 0)),
                             ([[4, 1], [2, 2], [0, 0]], (0.0, 1))]:
            path.write_bytes(b"".join(struct.pack(f"<{len(row)}f", *row) for row in rows))
            self.assertEqual(matching.smallest_gap(path, len(rows[0])), answer)
            self.assertEqual(matching.gaps(path, len(rows[0]))[answer[1]], answer[0])
            self.assertEqual([list(row) for row in matching.read_logits(path, len(rows[0]))], rows)


class Reference(FolderTest):
    """What is made of the reference's output; the program here is a stand-in."""

    def setUp(self) -> None:
        super().setUp()
        checkpoint.write(self.folder / "m.bin", small_checkpoint())
        tokenizer.write(self.folder / "t.bin", [b"<0x41>", b"<s>", *[bytes([97 + i]) for i in range(8)]], [0.0] * 10)
        self.model = Model("m", self.folder / "m.bin", self.folder / "t.bin")

    def stand_in(self, script: str) -> mock._patch_dict:
        path = self.folder / "reference"
        path.write_text(f'#!/bin/sh\nfor last; do [ "$before" = --extremes ] && echo score 2.5 1 3 > "$last"; before=$last; done\n'
                        f"{script}\n", "utf-8")
        path.chmod(0o755)
        return mock.patch.dict(os.environ, LLAMA512_REFERENCE=str(path))

    def test_tokens(self) -> None:
        (self.folder / "rows").write_bytes(struct.pack("<20f", *range(10), *(2 * i for i in range(10))))
        with self.stand_in(f'cp "{self.folder}/rows" "$last"; echo 1; echo 5; echo 0'):
            what = matching.expect(self.model)
            self.assertEqual((what.tokens, what.gaps, what.text), ([5, 0], [1.0, 2.0], b"dA"))
            self.assertEqual((what.gap, what.gap_position), (1.0, 0))
            self.assertEqual(what.extremes, [domain.Extreme("score", 2.5, 1, 3)])
            matching.expect(self.model, self.folder / "kept")
        self.assertEqual((self.folder / "kept").read_bytes(), (self.folder / "rows").read_bytes())

    def test_failure(self) -> None:
        with self.stand_in("echo 'reference: error: bad' >&2; exit 1"):
            self.assertUserError("the reference failed: reference: error: bad", matching.expect, self.model)

    def test_stuck(self) -> None:
        """No time limit for a reference that goes on; one that does not is ended, and it is clear what happened."""
        rows = 'head -c 400 /dev/zero > "$last"'
        with mock.patch.object(matching, "TIMEOUT", 0.5):
            with self.stand_in(f"{rows}; for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done"):
                self.assertEqual(len(matching.expect(self.model).tokens), 5)
            with self.stand_in(f"{rows}; echo 1; exec sleep 50"):
                start = time.monotonic()
                self.assertUserError("m.bin: the reference has no new token after 0 s, stopped", matching.expect,
                                     self.model)
                self.assertLess(time.monotonic() - start, 10)

    def test_not_built(self) -> None:
        with mock.patch.dict(os.environ, LLAMA512_REFERENCE=str(self.folder / "none")):
            self.assertUserError("none: the reference engine is not built; .*cmake --preset", matching.reference_program)

    def test_real_one(self) -> None:
        """The reference program itself, as CTest names it."""
        if "LLAMA512_REFERENCE" not in os.environ:
            self.skipTest("LLAMA512_REFERENCE is not set, ctest does")
        what = matching.expect(self.model, self.folder / "kept")
        rows = matching.read_logits(self.folder / "kept", 10)
        self.assertTrue(1 <= len(rows) <= 6)
        tokens = [max(range(10), key=row.__getitem__) for row in rows]
        self.assertEqual(what.tokens, tokens[:-1] if tokens[-1] == 1 else tokens)
        self.assertAlmostEqual(what.gap, min(sorted(row)[-1] - sorted(row)[-2] for row in rows))


if __name__ == "__main__":
    main()
