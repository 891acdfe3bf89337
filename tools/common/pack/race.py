"""The exponential race by which an engine draws tokens: reference/race.hpp once more, for packer, engines and tests.

    from common.pack import race
    from common.pack.race import Sampling
    sampling = Sampling(temperature=0.8, seed=1)
    race.start_bits(sampling)                       # what an engine's generator begins with
    race.factor(config, sampling.temperature)       # what the classifier is multiplied with
    race.run(logits, sampling)                      # for each pass its races, with winner and how close they were
"""

from __future__ import annotations

import math
import re
import struct
from dataclasses import dataclass
from typing import Iterator, Sequence

from common.errors import UserError
from common.libraries import numpy as np
from common.model.checkpoint import Config

# As in reference/race.hpp.
MULTIPLIER = 8153
STATE_BITS = 36
SEED_BITS, BEFORE_SEED, BEHIND_SEED = 15, 1, 0xC3  # the bits of the first state: 1, some of the seed, a byte
SPREAD = 0x9E3779B97F4A7C15

LOWEST, HIGHEST = 0.05, 1000.0  # temperatures
# Features of the sources. Without TOP_P all tokens are kept; the clock is the seed where there is no other one.
FEATURE, TOP_P, SEED, CLOCK = "TEMPERATURE", "TOP_P", "SEED", "CLOCK"
KNOWN = (FEATURE, TOP_P, CLOCK)  # of which an engine's row says which ones its source has
FACTOR = "temperature"  # what a manifest calls what is folded into the classifier


@dataclass(frozen=True)
class Sampling:
    """How an engine chooses the next token: at which temperature, with which numbers, and from how much of the probability."""

    temperature: float
    seed: int | None = 0  # None: from the clock
    top_p: float = 1.0  # 1: from all tokens

    def __post_init__(self) -> None:
        if not LOWEST <= self.temperature <= HIGHEST:
            raise UserError(f"temperature: {self.temperature}, a number from {LOWEST} to {HIGHEST:g} is needed; without one an "
                            "engine is greedy")
        if self.seed is not None and not 0 <= self.seed < 2**64:
            raise UserError(f"seed: {self.seed}, a whole number from 0 to 2^64 - 1 is needed")
        if not (0 < self.top_p <= 1 and as_float32(self.top_p) > 0):
            raise UserError(f"top-p: {self.top_p}, a number above 0, to 1, is needed; 1 keeps all tokens")

    @property
    def has_nucleus(self) -> bool:
        """Whether only the most likely tokens are kept."""
        return as_float32(self.top_p) < 1

    @property
    def features(self) -> tuple[str, ...]:
        """What a source is assembled with."""
        nucleus = (f"{TOP_P}={self.top_p!r}",) if self.has_nucleus else ()
        return f"{FEATURE}={self.temperature!r}", *nucleus, CLOCK if self.seed is None else f"{SEED}={self.seed}"


def of(features: Sequence[str]) -> Sampling | None:
    """What features say; None: greedy."""
    known = dict(feature.partition("=")[::2] for feature in features)
    if FEATURE not in known:
        return None
    return Sampling(float(known[FEATURE]), int(known[SEED]) if SEED in known else None, float(known.get(TOP_P, 1)))


def is_of_race(feature: str) -> bool:
    """Whether a feature is one of Sampling.features."""
    return bool(re.fullmatch(f"({FEATURE}|{TOP_P}|{SEED}|{CLOCK})(=.*)?", feature))


def start(seed: int) -> int:
    """The generator's first state: an odd number of 24 bits."""
    return (BEFORE_SEED << SEED_BITS | (seed + 1) * SPREAD % 2**64 >> 64 - SEED_BITS) << 8 | BEHIND_SEED


def start_bits(sampling: Sampling) -> int:
    """The same times 2^-STATE_BITS as the bits of a float32; of seed 0 where the clock changes them."""
    first = start(sampling.seed or 0)
    return _bits(first / 2**STATE_BITS)


def top_p_bits(sampling: Sampling) -> int:
    """How much of the probability is kept, as the bits of a float32."""
    return _bits(sampling.top_p)


def _bits(value: float) -> int:
    return int.from_bytes(struct.pack("<f", value), "little")


def as_float32(value: float) -> float:
    """What the reference takes a number of its command line for."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def factor(config: Config, temperature: float) -> float:
    """What makes the engines' logits such that log2 can be added: they have no sqrt(dim) yet."""
    return math.sqrt(config.dim) * math.log2(math.e) / as_float32(temperature)


# --- The race itself ---------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Race:
    """One race over all tokens: who won, and how close it was, in logits: so much must two of them be off for another outcome."""

    winner: int
    ahead: float  # of the second
    inside: bool = True  # whether the winner is in the nucleus: otherwise the race is repeated
    border: float = math.inf  # how far the winner is from the nucleus' border, on either side

    @property
    def gap(self) -> float:
        return min(self.ahead, self.border)


def uniforms(seed: int, vocab_size: int) -> Iterator[np.ndarray]:
    """u of each token, race by race, without an end. The last token's comes first."""
    powers = np.multiply.accumulate(np.full(vocab_size, MULTIPLIER, np.uint64))  # mod 2^64
    state = np.uint64(start(seed))
    while True:
        states = powers * state & np.uint64(2**STATE_BITS - 1)
        yield (states.astype(np.float64) / 2**STATE_BITS)[::-1]
        state = states[-1]


def run(logits: np.ndarray, sampling: Sampling) -> Iterator[list[Race]]:
    """For each pass of (passes, vocab_size) logits its races: one, or with a nucleus as many as it takes. The last one counts."""
    assert sampling.seed is not None
    numbers, temperature = uniforms(sampling.seed, logits.shape[1]), as_float32(sampling.temperature)
    for row in logits.astype(np.float64):
        races: list[Race] = []
        while not races or not races[-1].inside:
            sums = row / temperature - np.log(-np.log(next(numbers)))  # the largest one wins
            second, best = np.partition(sums, -2)[-2:].tolist()
            winner = int(sums.argmax())
            nucleus = border(row, sampling, winner) if sampling.has_nucleus else ()
            races.append(Race(winner, (best - second) * temperature, *nucleus))
        yield races


def border(logits: np.ndarray, sampling: Sampling, token: int) -> tuple[bool, float]:
    """Whether a token is in the nucleus, and how far it is from the border, g: while every logit is off by less than g / 2, the answer
    stays; where they are off by g, it may be the other one.

    A token is inside when the odds of those above it, A against the rest B, are at most P / (1 - P). Logits that are off by g / 2
    change ln(A / B) by up to g / temperature, and tokens that are less than g away may change from below the token to above it,
    or back. Equal ones may not: an engine finds them equal as well. Of all places where "above" may begin, the nearest one counts."""
    temperature, top_p = as_float32(sampling.temperature), as_float32(sampling.top_p)
    own = logits[token]
    others = np.sort(logits[logits != own])
    weights = np.exp((others - own) / temperature)
    equals, below = float(np.count_nonzero(logits == own)), int(np.searchsorted(others, own))
    # For each place k: others[k:] are above.
    rest = equals + np.concatenate([[0.0], np.cumsum(weights)])
    above = np.concatenate([np.cumsum(weights[::-1])[::-1], [0.0]])
    moves = np.concatenate([own - others[:below], [0.0], others[below:] - own])
    inside = bool(above[below] <= top_p * (above[below] + rest[below]))
    with np.errstate(divide="ignore"):
        too_much = temperature * (np.log(above) - np.log(rest) - math.log(top_p / (1 - top_p)))
    able = slice(None, below + 1) if inside else slice(below, None)
    return inside, float(np.maximum(moves, -too_much if inside else too_much)[able].min())
