"""common/pack/race.py: the exponential race once more is that of the reference, and knows how close each race is."""

from __future__ import annotations

import itertools
import math
import struct
import unittest

from support.folders import FolderTest
from support.skip import main

from common.engine import engines
from common.libraries import numpy as np
from common.match import matching
from common.model import checkpoint, models, random_model, tokenizer
from common.model.checkpoint import Config
from common.pack import race
from common.pack.race import Sampling


class Generator(unittest.TestCase):
    def test_first_numbers(self) -> None:
        """As in tests/reference/race_test.cpp; the last token's comes first."""
        found = [numbers.tolist() for numbers in itertools.islice(race.uniforms(0, 3), 2)]
        state, expected = 0xCF1BC3, []
        for _ in range(6):
            state = 8153 * state % 2**36
            expected.append(state / 2**36)
        self.assertEqual(round(expected[0] * 2**36), 0x9C3EB254B)
        self.assertEqual(found, [expected[2::-1], expected[:2:-1]])

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
        for sampling in (Sampling(0.8, 5), Sampling(0.1, None), Sampling(1.5, 7, 0.9), Sampling(1.0, None, 0.1)):
            self.assertEqual(race.of(("SERIAL", *sampling.features, "BIG")), sampling)
            self.assertTrue(all(map(race.is_of_race, sampling.features)))
        self.assertIsNone(race.of(("SERIAL", "BIG")))
        self.assertFalse(any(map(race.is_of_race, ("SERIAL", "CLOCKS", "PROMPT=1"))))

    def test_top_p(self) -> None:
        self.assertEqual(Sampling(1.0, 2, 0.25).features, ("TEMPERATURE=1.0", "TOP_P=0.25", "SEED=2"))
        self.assertEqual(race.top_p_bits(Sampling(1.0, top_p=0.25)), 0x3E800000)
        for top_p in (1, 1.0, 1 - 1e-12):  # the last one is 1 as well, as a float32
            self.assertFalse(Sampling(1.0, top_p=top_p).has_nucleus)
            self.assertEqual(Sampling(1.0, top_p=top_p).features, ("TEMPERATURE=1.0", "SEED=0"))


class Nucleus(unittest.TestCase):
    LOGITS = np.log([0.1, 0.4, 0.2, 0.2, 0.1])

    def test_inside(self) -> None:
        """Equals are in or out together; the most likely one is always in."""
        for top_p, inside in ((0.1, {1}), (0.39, {1}), (0.41, {1, 2, 3}), (0.79, {1, 2, 3}), (0.81, {0, 1, 2, 3, 4})):
            for temperature in (1.0, 0.5, 2.0):
                found = {token for token in range(5) if race.border(self.LOGITS * temperature, Sampling(temperature, 0, top_p), token)[0]}
                self.assertEqual(found, inside)

    def test_border_by_hand(self) -> None:
        """From the probability 0.4 above a token to P; and how far the most likely one is from having all others above it."""
        odds = math.log(0.4 / 0.6)
        for token, top_p, expected in ((2, 0.39, odds - math.log(0.39 / 0.61)), (2, 0.41, math.log(0.41 / 0.59) - odds)):
            self.assertAlmostEqual(race.border(self.LOGITS, Sampling(1.0, 0, top_p), token)[1], expected, 6)
        # At 0.39 two tokens of 0.2 would do, were they above it: they have to rise by ln 2 against it.
        self.assertAlmostEqual(race.border(self.LOGITS, Sampling(1.0, 0, 0.39), 1)[1], math.log(2), 6)

    def test_border_is_where_the_answer_changes(self) -> None:
        """Logits that are off by less than half of it change nothing, in whatever directions; by a little more than all of it some do."""
        random, tried = np.random.default_rng(1), 0
        directions = list(itertools.product((-1, 0, 1), repeat=5))
        for _ in range(100):
            logits = random.normal(0, random.choice([0.01, 1.0, 3.0]), 5)
            sampling = Sampling(float(random.choice([0.5, 1.0, 1.5])), 0, float(random.choice([0.1, 0.5, 0.9])))
            token = int(random.integers(5))
            inside, border = race.border(logits, sampling, token)
            if math.isfinite(border):
                tried += 1
                kept, changed = ({race.border(logits + size * np.array(each), sampling, token)[0] for each in directions}
                                 for size in (border / 2 * (1 - 1e-9), border * (1 + 1e-9)))
                self.assertEqual(kept, {inside}, (logits, sampling, token, border))
                self.assertIn(not inside, changed, (logits, sampling, token, border))
        self.assertGreater(tried, 90)


class Reference(FolderTest):
    def test_tokens_and_gaps(self) -> None:
        config = Config(16, 40, 1, 2, 2, 40, 30, True)
        model = random_model.write(self.folder, "m", random_model.weights(config, 3, spread=4), 7)
        repeated = 0
        for temperature, seed, top_p in itertools.product((0.05, 0.8, 1.5), (0, 1, 2**64 - 1), (1.0, 0.9, 0.5, 0.01)):
            sampling, logits = Sampling(temperature, seed, top_p), self.folder / "logits"
            expected = matching.expect(model, logits, sampling=sampling)
            passes = list(race.run(matching.read_logits(logits, config.vocab_size), sampling))
            self.assertEqual([races[-1].winner for races in passes if races[-1].winner != 1], expected.tokens)
            self.assertEqual(expected.gaps, [min(min(each.ahead, each.border) for each in races) for races in passes])
            self.assertGreater(expected.gap, 0)
            more = sum(map(len, passes)) - len(passes)
            self.assertTrue(top_p < 1 or not more)
            repeated += more
        self.assertGreater(repeated, 200)

    def test_a_prompt(self) -> None:
        """Its races are run as well, with their repetitions, but their winners are not taken."""
        model, prompt = models.find_model(), "The cat"
        config = checkpoint.read_config(model.checkpoint)
        tokens = tokenizer.encode(tokenizer.load(model.tokenizer, config.vocab_size), prompt.encode())
        for top_p in (1.0, 0.9, 0.3):
            sampling, logits = Sampling(1.5, 3, top_p), self.folder / "logits"
            expected = matching.expect(model, logits, sampling=sampling, prompt=prompt)
            winners = [races[-1].winner for races in race.run(matching.read_logits(logits, config.vocab_size), sampling)]
            self.assertEqual(len(expected.gaps), len(winners))
            self.assertEqual(expected.tokens, [*tokens, *(token for token in winners[len(tokens):] if token != 1)])
            self.assertNotEqual(winners[:len(tokens)], tokens)

    def test_top_p_changes_the_story(self) -> None:
        stories = {tuple(matching.expect(models.find_model(), sampling=Sampling(1.5, 3, top_p)).tokens) for top_p in (1.0, 0.5)}
        self.assertEqual(len(stories), 2)

    def test_factor(self) -> None:
        config = engines.budget_shape().config
        self.assertAlmostEqual(race.factor(config, 0.5), 8 * math.log2(math.e) * 2)


if __name__ == "__main__":
    main()
