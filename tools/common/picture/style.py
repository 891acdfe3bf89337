"""How the operations look (short code, pattern, colours: the same in the page and in the bars), and the pictures' text.

    from common.picture.style import DARK, LIGHT, contrast, styles
    styles()["matmul"].code                                 # "MM"
    contrast(styles()["matmul"].light, LIGHT.ink)           # 12.2: 4.5 is needed for text

An operation never differs from another one by its colour alone: it has its code and its pattern, too. One that has no look
of its own in STYLES yet gets one that no other has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Collection

from common.anatomy.operations import OPERATIONS

TILE = 6  # side of a pattern's tile
SECTOR = 512  # bytes: the line in every picture


@dataclass(frozen=True)
class Style:
    """The look of an operation."""

    code: str        # two letters
    pattern: str     # an SVG path, filled, in a tile of TILE x TILE
    light: str       # background of text in light mode
    dark: str
    light_mark: str  # the pattern on it
    dark_mark: str


@dataclass(frozen=True)
class Theme:
    """What all of a page shares."""

    ground: str  # the page
    raised: str  # panels
    ink: str     # text
    quiet: str   # text that matters less
    line: str    # rules, frames
    accent: str  # what is selected


LIGHT = Theme("#fbfaf8", "#ffffff", "#1c1e22", "#595d66", "#dcdad5", "#1b4fc4")
DARK = Theme("#15171a", "#1d2024", "#f1f0ed", "#a9adb5", "#383c42", "#9dc1ff")

# One lightness and strength for all hues (OKLCH), greys for what is no transformer.
STYLES = {
    "header": Style("HD", "M0 0h6v6H0z", "#cdd1d9", "#4a4d53", "#6e7581", "#aab2bd"),
    "loading": Style("LD", "M0 6L6 0H3L0 3zM6 6V3L3 6z", "#cde7b0", "#334519", "#5d821a", "#9ac066"),
    "embedding": Style("EM", "M3 1a2 2 0 1 0 .01 0z", "#a4e8ff", "#00465b", "#0083af", "#41c1ed"),
    "rmsnorm": Style("RN", "M0 0h1.5v6H0zM3 0h1.5v6H3z", "#ffd1a9", "#5a3411", "#ac5d00", "#eb9d5a"),
    "matmul": Style("MM", "M0 0h6v1.5H1.5V6H0z", "#c0ddff", "#293e64", "#4772c3", "#85b1ff"),
    "rope": Style("RO", "M0 0L6 6V3L3 0zM0 3v3h3z", "#ffc8e8", "#592e47", "#aa5086", "#e990c3"),
    "attention": Style("AT", "M0 0h6v1.5H0zM0 3h6v1.5H0z", "#b4ecc6", "#18492d", "#0d8b50", "#69c88e"),
    "softmax": Style("SM", "M0 4L3 1L6 4V6L3 3L0 6z", "#9dedec", "#004a4a", "#008b8d", "#21c9ca"),
    "swiglu": Style("SW", "M0 0h1.5L6 4.5V6H4.5L0 1.5zM4.5 0H6v1.5L1.5 6H0V4.5z",
                    "#ffc9c5", "#5f2e2d", "#b64f4f", "#f6908d"),
    "argmax": Style("AM", "M0 6L3 0L6 6z", "#eadea2", "#493e05", "#8a7300", "#c6b24a"),
    "output": Style("OU", "M0 0h3v3H0zM3 3h3v3H3z", "#e6d1ff", "#46345d", "#855eb5", "#c19df2"),
    "loop": Style("LO", "M0 4.5h6V6H0z", "#f0e6dc", "#332d25", "#807262", "#bdae9f"),
}


def styles() -> dict[str, Style]:
    """The look of every operation, in their order."""
    looks = {name: look for name, look in STYLES.items() if name in OPERATIONS}
    for name in OPERATIONS:
        if name not in looks:
            looks[name] = _made(name, len(looks), {look.code for look in looks.values()})
    return {name: looks[name] for name in OPERATIONS}


def _made(name: str, number: int, codes: Collection[str]) -> Style:
    """A look for the operation that is the number-th one."""
    letters = name.upper()
    code = next((code for second in [*letters[1:], *"0123456789"] if (code := letters[0] + second) not in codes), "??")
    # The number's bits as squares in a grid of 3 x 3; with the one in the corner, which is always there, it is no blank.
    squares = [place for place in range(9) if (number << 1 | 1) >> place & 1]
    pattern = "".join(f"M{place % 3 * 2} {place // 3 * 2}h2v2h-2z" for place in squares)
    hue = number * (math.sqrt(5) - 1) / 2 % 1  # by the golden section: far from the last ones
    return Style(code, pattern, *(_colour(*shade, hue) for shade in ((.91, .06), (.37, .06), (.57, .12), (.78, .12))))


def _colour(lightness: float, strength: float, hue: float) -> str:
    """#rrggbb of a colour in OKLCH (Ottosson 2020); what the screen cannot show is cut off."""
    a, b = strength * math.cos(math.tau * hue), strength * math.sin(math.tau * hue)
    long = (lightness + .3963377774 * a + .2158037573 * b) ** 3
    middle = (lightness - .1055613458 * a - .0638541728 * b) ** 3
    short = (lightness - .0894841775 * a - 1.2914855480 * b) ** 3
    linear = (4.0767416621 * long - 3.3077115913 * middle + .2309699292 * short,
              -1.2684380046 * long + 2.6097574011 * middle - .3413193965 * short,
              -.0041960863 * long - .7034186147 * middle + 1.7076147010 * short)
    channels = [12.92 * value if value <= .0031308 else 1.055 * value ** (1 / 2.4) - .055 for value in linear]
    return "#" + "".join(f"{round(255 * min(max(channel, 0), 1)):02x}" for channel in channels)


# The text of the SVG pictures, and their line at one sector.
PICTURE_STYLE = ("text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'Liberation Sans',sans-serif}"
                 ".heading{font-size:17px;font-weight:600}.small,.quiet{font-size:11px}"
                 ".middle{text-anchor:middle}.end{text-anchor:end}.limit{stroke-width:1.5;stroke-dasharray:5 4}")


def picture_theme(theme: Theme) -> str:
    """The colours that go with it."""
    return (f".ground{{fill:{theme.ground}}}text{{fill:{theme.ink}}}.quiet{{fill:{theme.quiet}}}"
            f".tick{{stroke:{theme.line}}}.limit{{stroke:{theme.ink}}}")


def contrast(first: str, second: str) -> float:
    """The contrast of two colours (#rrggbb), 1 to 21, by WCAG 2."""
    light, dark = sorted(map(luminance, (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
