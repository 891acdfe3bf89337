"""The real stories260K files are read right. SKIP when they are on none of the usual places."""

from __future__ import annotations

import hashlib
import time
import unittest

import fetch
from support.skip import main

from common.errors import UserError
from common.model import checkpoint, models, tokenizer

try:
    MODEL = models.find_model("stories260K")
except UserError as error:
    MODEL, REASON = None, str(error)
else:
    REASON = ""


@unittest.skipIf(MODEL is None, REASON)
class Stories260K(unittest.TestCase):
    def test_fetch_knows_these_files(self) -> None:
        sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (MODEL.checkpoint, MODEL.tokenizer)]
        self.assertEqual([file.sha256 for file in fetch.MODELS["stories260K"]], sums)
        sizes = [path.stat().st_size for path in (MODEL.checkpoint, MODEL.tokenizer)]
        self.assertEqual([file.size for file in fetch.MODELS["stories260K"]], sizes)

    def test_configuration(self) -> None:
        self.assertEqual(checkpoint.read_config(MODEL.checkpoint), checkpoint.Config(64, 172, 5, 8, 4, 512, 512, True))

    def test_load_is_quick(self) -> None:
        start = time.monotonic()
        checkpoint.load(MODEL.checkpoint)
        self.assertLess(time.monotonic() - start, 1)

    def test_v1_has_the_same_weights(self) -> None:
        v1 = MODEL.checkpoint.with_name("stories260K.v1.bin")
        if not v1.is_file():
            self.skipTest(f"{v1} is absent")
        self.assertEqual(checkpoint.load(v1), checkpoint.load(MODEL.checkpoint))

    def test_tokenizer(self) -> None:
        vocabulary = tokenizer.load(MODEL.tokenizer, 512)
        self.assertEqual(vocabulary.pieces[:4], [b"<unk>", b"\n<s>\n", b"\n</s>\n", b"<0x00>"])
        self.assertEqual(vocabulary.max_token_length, 7)


if __name__ == "__main__":
    main()
