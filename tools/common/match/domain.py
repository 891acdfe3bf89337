"""The numeric domain of the golfed engines (golf/README.md, rule 6): is a model's greedy path within it?

    from common.match import domain
    domain.warnings(expected.extremes, engine.arithmetic)     # [] or ["score: 12345 in layer 2 at position 7, beyond 11,000: …"]

The engines make e^s by squaring, (1 + s / 2^24)^(2^24): e^11356 is the largest number that the x87's 80 bits hold, e^709
that of a double, and 1 - s / 2^24 is negative from 2^24 on. With doubles a gate is e^g / (1 + e^g), with an x87
1 / (1 + e^-g). w3 x is stored times 2^24, as float32 or wider. A stable softmax needs no large numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from common.errors import UserError


@dataclass(frozen=True)
class Extreme:
    """The largest magnitude of a kind on a path, and where it was."""

    kind: str  # of the reference's --extremes: score, gate, up, rms
    value: float
    layer: int
    position: int


# The largest magnitudes that are exact; what happens beyond them. The reference itself refuses an rms beyond its domain.
COMMON = {
    "gate": (2.0**24, "an activation of w1 whose silu is wrong in the engines"),
    "up": (2.0**104, "an activation of w3 that overflows in the engines"),
}
SCORE = "an attention score whose exponential overflows in the engines"
# By what an engine computes in.
LIMITS = {
    "x87": {"score": (11_000.0, SCORE), **COMMON},
    "double": {"score": (700.0, SCORE), **COMMON, "gate": (700.0, "an activation of w1 whose exponential overflows in the engines")},
    # The largest score is subtracted first, so no exponential is above 1; it is made by 28 squarings.
    "double, stable": {"score": (2.0**28, "an attention score whose exponential is wrong in the engines"),
                       "gate": (2.0**29, COMMON["gate"][1])},
}


def read(path: Path) -> list[Extreme]:
    """The file that the reference's --extremes wrote."""
    rows = [line.split() for line in path.read_text("ascii").splitlines()]
    return [Extreme(kind, float(value), int(layer), int(position)) for kind, value, layer, position in rows]


def warnings(extremes: Sequence[Extreme], arithmetic: str) -> list[str]:
    """A line for each kind that leaves the domain of an arithmetic."""
    if arithmetic not in LIMITS:
        raise UserError(f"golf/engines.json: arithmetic: {arithmetic!r}, known are {', '.join(LIMITS)}")
    limits = LIMITS[arithmetic]
    return [f"{extreme.kind}: {extreme.value:.4g} in layer {extreme.layer} at position {extreme.position}, beyond "
            f"{limits[extreme.kind][0]:.4g}: {limits[extreme.kind][1]}; its tokens may differ, scale the weights down"
            for extreme in extremes if extreme.kind in limits and not extreme.value <= limits[extreme.kind][0]]
