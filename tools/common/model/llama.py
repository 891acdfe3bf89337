"""A Llama 2 model in memory: its dimensions and constants, and its tensors.

    from common.model.llama import Checkpoint, Config
    config = Config(dim=64, hidden_dim=172, n_layers=5, n_heads=8, n_kv_heads=4, vocab_size=512, seq_len=512)
    config.shapes()["wq"]                # (n_layers, dim, dim)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator, Mapping

from common.libraries import numpy as np

# What a file may say, as in reference/config.cpp: far above any model that fits these tools.
RANGES = {
    "dim": (1, 2**16),
    "hidden_dim": (1, 2**16),
    "n_layers": (1, 2**10),
    "n_heads": (1, 2**16),
    "n_kv_heads": (1, 2**16),
    "vocab_size": (2, 2**22),  # 2: token 1 is BOS
    "seq_len": (1, 2**20),
}
SMALLEST_EPSILON, LARGEST_EPSILON = 1e-12, 1.0
LARGEST_THETA = 1e12
GAINS = ("rms_att", "rms_ffn", "rms_final")


@dataclass(frozen=True)
class Config:
    """A model's dimensions and constants. `tied`: the classifier is the token embedding. `rms_epsilon`: what RMSNorm adds to the
    mean square; `rope_theta`: RoPE's base. Llama 2's are those given here."""

    dim: int
    hidden_dim: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    vocab_size: int
    seq_len: int
    tied: bool = True
    rms_epsilon: float = 1e-5
    rope_theta: float = 10000.0

    @property
    def is_standard(self) -> bool:
        """Whether a file need not say its constants."""
        return (self.rms_epsilon, self.rope_theta) == (Config.rms_epsilon, Config.rope_theta)

    @property
    def head_size(self) -> int:
        return self.dim // self.n_heads

    @property
    def kv_dim(self) -> int:
        return self.head_size * self.n_kv_heads

    @property
    def kv_mul(self) -> int:
        """Query heads that share one key/value head."""
        return self.n_heads // self.n_kv_heads

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape, by name, in the order of a version 0 file (without freq_cis)."""
        L, D, KD, H, V = self.n_layers, self.dim, self.kv_dim, self.hidden_dim, self.vocab_size
        shapes: dict[str, tuple[int, ...]] = {
            "token_embedding": (V, D),
            "rms_att": (L, D),
            "wq": (L, D, D),
            "wk": (L, KD, D),
            "wv": (L, KD, D),
            "wo": (L, D, D),
            "rms_ffn": (L, D),
            "w1": (L, H, D),
            "w2": (L, D, H),
            "w3": (L, H, D),
            "rms_final": (D,),
        }
        if not self.tied:
            shapes["wcls"] = (V, D)
        return shapes


@dataclass(eq=False)
class Checkpoint:
    """A model: its configuration, and its tensors, float32, by name ("wcls" only when untied)."""

    config: Config
    tensors: dict[str, np.ndarray]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return self.config.shapes()

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Checkpoint) and self.config == other.config
                and all(np.array_equal(values, other.tensors[name]) for name, values in self.tensors.items()))

    def copy(self) -> Checkpoint:
        """One with tensors of its own."""
        return Checkpoint(self.config, {name: values.copy() for name, values in self.tensors.items()})

    @property
    def classifier(self) -> np.ndarray:
        """The matrix (vocab_size, dim) that makes the logits, tied or not."""
        return self.tensors["token_embedding" if self.config.tied else "wcls"]


def places(names: Mapping[str, str], config: Config) -> Iterator[tuple[str, str, int | None]]:
    """All that a model has, by its name in a file: (that name, tensor, layer or None). `names`: our tensors by a format's names;
    those with {} are there for each layer."""
    for place, name in names.items():
        if "{}" in place:
            yield from ((place.format(layer), name, layer) for layer in range(config.n_layers))
        elif name != "wcls" or not config.tied:
            yield place, name, None


def first_bad(values: np.ndarray) -> int | None:
    """The place in the flat tensor of the first number that is infinite or NaN; None when there is none."""
    bad = ~np.isfinite(values)
    return int(bad.argmax()) if bad.any() else None


def problem_of(config: Config) -> str:
    """What is wrong with a configuration: `FIELD: VALUE, why`, or "" when all is well."""
    for name, (lowest, highest) in RANGES.items():
        value = getattr(config, name)
        if not lowest <= value <= highest:
            return f"{name}: {value}, a value from {lowest} to {highest} is needed"
    if config.dim % config.n_heads:
        return f"n_heads: {config.n_heads}, a divisor of dim {config.dim} is needed"
    if config.n_heads % config.n_kv_heads:
        return f"n_kv_heads: {config.n_kv_heads}, a divisor of n_heads {config.n_heads} is needed"
    if config.head_size % 2:
        return (f"head_size: {config.head_size} (dim {config.dim} / n_heads {config.n_heads}), "
                "an even number is needed")
    if not SMALLEST_EPSILON <= config.rms_epsilon <= LARGEST_EPSILON:
        return f"rms_epsilon: {config.rms_epsilon:g}, a value from {SMALLEST_EPSILON:g} to {LARGEST_EPSILON:g} is needed"
    if not 1 <= config.rope_theta <= LARGEST_THETA:
        return f"rope_theta: {config.rope_theta:g}, a value from 1 to {LARGEST_THETA:g} is needed"
    return ""


def shortest(value: float) -> float:
    """The number with the fewest digits that is this one as float32: 1e-05 for 9.99999974737875e-06."""
    return float(str(np.float32(value)))
