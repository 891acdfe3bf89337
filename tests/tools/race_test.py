"""common/pack/race.py: the exponential race once more is that of the reference, and knows how close each race is."""

from __future__ import annotations

import math
import struct
import unittest

from support.folders import FolderTest
from support.skip import main

from common.engine import engines
from common.libraries import numpy as np
from common.match import matching
from common.model import random_model
from common.model.checkpoint import Config
from common.pack import race
from common.pack.race import Sampling


class Generator(unittest.TestCase):
    def test_first_numbers(self) -> None:
        """As in tests/reference/race_test.cpp; the last token's comes first."""
        found = race.uniforms(0, 2, 3)
        state, expected = 0xCF1BC3, []
        for _ in range(6):
            state = 8153 * state % 2**36
            expected.append(state / 2**36)
        self.assertEqual(round(expected[0] * 2**36), 0x9C3EB254B)
        self.assertEqual(found.tolist(), [expected[2::-1], expected[:2:-1]])

    def test_start(self) -> None:
        for seed in (0, 1, 2, 1000, 2**63, 2**64 - 2, 2**64 - 1):
            bits = race.start_bits(Sampling(1.0, seed))
            value, = struct.unpack("<f", bits.to_bytes(4, "little"))
            self.assertEqual(value * 2**36, race.start(seed))
            self.assertEqual(bits & 255, 0xC3)  # ret
            self.assertIn(race.start(seed), range(2**23, 2**24))
        self.assertEqual(race.start_bits(Sampling(1.0, None)), race.start_bits(Sampling(1.0, 0)))

    def test_multiplier_is_the_code(self) -> None:
        """Which golf/asm/transformer.inc reads from an instruction of its own."""
        self.assertEqual(int.from_bytes(bytes([0xD9, 0x1F]), "little", signed=True), race.MULTIPLIER)

    def test_features(self) -> None:
        for sampling in (Sampling(0.8, 5), Sampling(0.1, None)):
            self.assertEqual(race.of(("SERIAL", *sampling.features, "BIG")), sampling)
            self.assertTrue(all(map(race.is_of_race, sampling.features)))
        self.assertIsNone(race.of(("SERIAL", "BIG")))
        self.assertFalse(any(map(race.is_of_race, ("SERIAL", "CLOCKS", "PROMPT=1"))))


class Reference(FolderTest):
    def test_tokens_and_gaps(self) -> None:
        config = Config(16, 40, 1, 2, 2, 40, 30, True)
        model = random_model.write(self.folder, "m", random_model.weights(config, 3), 7)
        for sampling in (Sampling(0.05, 0), Sampling(0.8, 1), Sampling(1.5, 2**64 - 1)):
            logits = self.folder / "logits"
            expected = matching.expect(model, logits, sampling=sampling)
            sums = race.sums(matching.read_logits(logits, config.vocab_size), sampling)
            self.assertEqual([token for token in sums.argmax(1).tolist() if token != 1], expected.tokens)
            best = np.sort(sums, 1)
            self.assertEqual(expected.gaps, ((best[:, -1] - best[:, -2]) * sampling.temperature).tolist())

    def test_factor(self) -> None:
        config = engines.budget_shape().config
        self.assertAlmostEqual(race.factor(config, 0.5), 8 * math.log2(math.e) * 2)


if __name__ == "__main__":
    main()
