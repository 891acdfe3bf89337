"""common/model/random_model.py: the same seed gives the same model, and output decodes back to token ids."""

from __future__ import annotations

import math

from support.folders import FolderTest
from support.skip import main

from common.libraries import numpy as np
from common.model import checkpoint, random_model, tokenizer
from common.model.checkpoint import Config

CONFIG = Config(16, 24, 2, 4, 2, 70, 8, False)


class Weights(FolderTest):
    def test_seed(self) -> None:
        self.assertEqual(random_model.weights(CONFIG, 5), random_model.weights(CONFIG, 5))
        self.assertNotEqual(random_model.weights(CONFIG, 5), random_model.weights(CONFIG, 6))

    def test_shapes_and_size(self) -> None:
        model = random_model.weights(CONFIG, 1, spread=3.0)
        self.assertEqual({name: values.shape for name, values in model.tensors.items()}, CONFIG.shapes())
        for name, sigma in [("token_embedding", 1.0), ("w1", 3 / 4), ("w2", 3 / math.sqrt(24)), ("wcls", 3 / 4)]:
            self.assertAlmostEqual(model.tensors[name].std(), sigma, delta=0.1 * sigma)
        self.assertTrue((np.abs(model.tensors["rms_ffn"] - 1) <= 0.5).all())

    def test_large_tensors(self) -> None:
        """Quick, and without equal rows, which would tie."""
        config = Config(128, 8, 1, 1, 1, 4 * random_model.BLOCK // 128, 4, False)
        model = random_model.weights(config, 1, spread=3.0)
        for name, sigma in [("token_embedding", 1.0), ("wcls", 3 / math.sqrt(128))]:
            values = model.tensors[name]
            self.assertAlmostEqual(values.std(), sigma, delta=0.02 * sigma)
            self.assertEqual(len({row.tobytes() for row in values}), config.vocab_size)
        self.assertEqual(pow(2, random_model.BLOCK - 1, random_model.BLOCK), 1)  # a prime (Fermat)

    def test_write(self) -> None:
        weights = random_model.weights(CONFIG, 1)
        model = random_model.write(self.folder / "new", "name", weights, 9)
        self.assertEqual((model.name, model.checkpoint.name, model.tokenizer.name),
                         ("name", "name.bin", "name.tokenizer.bin"))
        self.assertEqual(checkpoint.load(model.checkpoint), weights)
        vocabulary = tokenizer.load(model.tokenizer, 70)
        self.assertEqual(vocabulary.pieces, random_model.pieces(70, 9))
        own = [b"x" * (i % 5) for i in range(70)]
        model = random_model.write(self.folder, "name", weights, vocabulary=own)
        self.assertEqual(tokenizer.load(model.tokenizer, 70).pieces, own)


class Pieces(FolderTest):
    def test_unique_and_of_one_length(self) -> None:
        for vocab_size, length in [(2, 1), (62, 1), (63, 2), (512, 7), (1024, 12), (40, 255)]:
            pieces = random_model.pieces(vocab_size, length)
            self.assertEqual(len(set(pieces)), vocab_size)
            self.assertEqual({len(piece) for piece in pieces}, {length})
            self.assertTrue(all(piece.isalnum() and piece.isascii() for piece in pieces))

    def test_too_short(self) -> None:
        with self.assertRaisesRegex(ValueError, "1 letters cannot name 63"):
            random_model.pieces(63, 1)

    def test_token_ids(self) -> None:
        for vocab_size, length in [(50, 1), (300, 7)]:
            pieces = random_model.pieces(vocab_size, length)
            ids = [0, vocab_size - 1, 7, 7, 1]
            output = b"".join(pieces[token] for token in ids)
            self.assertEqual(random_model.token_ids(output, pieces), ids)
            for wrong in (output + b"!", output[:-1] + b"!", b"?" + output):
                with self.assertRaises(KeyError):
                    random_model.token_ids(wrong, pieces)
        self.assertEqual(random_model.token_ids(b"", pieces), [])


if __name__ == "__main__":
    main()
