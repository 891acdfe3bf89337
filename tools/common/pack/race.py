"""The exponential race by which an engine draws tokens: reference/race.hpp once more, for packer, engines and tests.

    from common.pack import race
    from common.pack.race import Sampling
    sampling = Sampling(temperature=0.8, seed=1)
    race.start_bits(sampling)                       # what an engine's generator begins with
    race.factor(config, sampling.temperature)       # what the classifier is multiplied with
    race.sums(logits, sampling)                     # for each pass and token what the race compares
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import Sequence

from common.errors import UserError
from common.libraries import numpy as np
from common.model.checkpoint import Config

# As in reference/race.hpp.
MULTIPLIER = 8153
STATE_BITS = 36
SEED_BITS, BEFORE_SEED, BEHIND_SEED = 15, 1, 0xC3  # the bits of the first state: 1, some of the seed, a byte
SPREAD = 0x9E3779B97F4A7C15

LOWEST, HIGHEST = 0.05, 1000.0  # temperatures
FEATURE, SEED, CLOCK = "TEMPERATURE", "SEED", "CLOCK"  # of the sources; the clock is the seed where there is no other one
FACTOR = "temperature"  # what a manifest calls what is folded into the classifier


@dataclass(frozen=True)
class Sampling:
    """How an engine chooses the next token: at which temperature, and with which numbers."""

    temperature: float
    seed: int | None = 0  # None: from the clock

    def __post_init__(self) -> None:
        if not LOWEST <= self.temperature <= HIGHEST:
            raise UserError(f"temperature: {self.temperature}, a number from {LOWEST} to {HIGHEST:g} is needed; without one an "
                            "engine is greedy")
        if self.seed is not None and not 0 <= self.seed < 2**64:
            raise UserError(f"seed: {self.seed}, a whole number from 0 to 2^64 - 1 is needed")

    @property
    def features(self) -> tuple[str, ...]:
        """What a source is assembled with."""
        return f"{FEATURE}={self.temperature!r}", CLOCK if self.seed is None else f"{SEED}={self.seed}"


def of(features: Sequence[str]) -> Sampling | None:
    """What features say; None: greedy."""
    known = dict(feature.partition("=")[::2] for feature in features)
    if FEATURE not in known:
        return None
    return Sampling(float(known[FEATURE]), int(known[SEED]) if SEED in known else None)


def is_of_race(feature: str) -> bool:
    """Whether a feature is one of Sampling.features."""
    return bool(re.fullmatch(f"({FEATURE}|{SEED}|{CLOCK})(=.*)?", feature))


def start(seed: int) -> int:
    """The generator's first state: an odd number of 24 bits."""
    return (BEFORE_SEED << SEED_BITS | (seed + 1) * SPREAD % 2**64 >> 64 - SEED_BITS) << 8 | BEHIND_SEED


def start_bits(sampling: Sampling) -> int:
    """The same times 2^-STATE_BITS as the bits of a float32; of seed 0 where the clock changes them."""
    first = start(sampling.seed or 0)
    return int.from_bytes(struct.pack("<f", first / 2**STATE_BITS), "little")


def as_float32(value: float) -> float:
    """What the reference takes a number of its command line for."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def factor(config: Config, temperature: float) -> float:
    """What makes the engines' logits such that log2 can be added: they have no sqrt(dim) yet."""
    return math.sqrt(config.dim) * math.log2(math.e) / as_float32(temperature)


def uniforms(seed: int, passes: int, vocab_size: int) -> np.ndarray:
    """(passes, vocab_size): u of each token. The last token's comes first."""
    powers = np.ones(passes * vocab_size, np.uint64)
    powers[:] = MULTIPLIER
    states = np.multiply.accumulate(powers) * np.uint64(start(seed))  # mod 2^64
    states &= np.uint64(2**STATE_BITS - 1)
    return (states.astype(np.float64) / 2**STATE_BITS).reshape(passes, vocab_size)[:, ::-1]


def sums(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """(passes, vocab_size): logit / temperature - ln(-ln u). The largest one wins."""
    assert sampling.seed is not None
    noise = -np.log(-np.log(uniforms(sampling.seed, *logits.shape)))
    return logits.astype(np.float64) / as_float32(sampling.temperature) + noise
