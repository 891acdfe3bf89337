"""An SVG picture of how dense instruction sets are: a bar for each, with header, constants and code, smallest first.

    from common.picture.density import density_svg
    svg = density_svg([("Thumb-2", "g++ 12.2.0 -Os", {"header": 72, "constants": 0, "code": 1092}), …])

It looks like the anatomy's bars: the same colours for light and dark mode, patterns at the foot of a part, bytes in it where
they fit. A bar that is much longer than the others is cut, and says how long it is. The same input gives the same text.
"""

from __future__ import annotations

from typing import Mapping, Sequence
from xml.sax.saxutils import escape

from common.picture.bars import rectangle
from common.picture.style import DARK, LIGHT, PICTURE_STYLE, STYLES, TILE, Theme, picture_theme

PARTS = {"header": "header", "constants": "argmax", "code": "matmul"}  # and the operation whose look each one has
WIDTH, RIGHT, TOP = 960, 64, 54
LETTER = 7.2  # width of one in a name, about
BAR, STRIP, ROW = 4 * TILE, TILE, 5 * TILE  # a bar, the pattern at its foot, from bar to bar; multiples of TILE
TITLE = "The same program on every instruction set"
CUT = 1.6  # a bar longer than so many times the middle one is cut

Bar = tuple[str, str, Mapping[str, int]]


def density_svg(bars: Sequence[Bar]) -> str:
    """The picture, as the text of an SVG file."""
    sums = [sum(parts[name] for name in PARTS) for _, _, parts in bars]
    left = int(28 + LETTER * max((len(name) for name, *_ in bars), default=0))
    most = CUT * sorted(sums)[len(sums) // 2] if sums else 1
    longest = max((size for size in sums if size <= most), default=1)
    unit = (WIDTH - left - RIGHT) / longest
    bottom = TOP + ROW * len(bars)
    height = bottom + 64
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="density-title density-description">',
        f'<title id="density-title">{TITLE}: counted bytes</title>',
        f'<desc id="density-description">{escape(description(bars, sums))}</desc>',
        f"<style>{style()}</style>",
        "<defs>",
        *(f'<pattern id="density-{name}" width="{TILE}" height="{TILE}" patternUnits="userSpaceOnUse">'
          f'<path class="m-{name}" d="{STYLES[look].pattern}"/></pattern>' for name, look in PARTS.items()),
        "</defs>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        f'<text class="heading" x="16" y="27">{TITLE}</text>',
    ]
    for place, ((name, made, parts), size) in enumerate(zip(bars, sums)):
        lines += _bar(name, made, parts, size, TOP + ROW * place, left, unit, longest)
    for value in range(0, longest + 1, 250):
        x = left + value * unit
        lines += [f'<path class="tick" d="M{x:.2f} {bottom}v8"/>',
                  f'<text class="quiet middle" x="{x:.2f}" y="{bottom + 22}">{value}</text>']
    lines.append(f'<text class="quiet end" x="{left - 12}" y="{bottom + 22}">bytes</text>')
    for place, name in enumerate(PARTS):
        x, y = left + 130 * place, bottom + 48
        lines += [rectangle(x, y - 13, 30, 18, f'class="o-{name}"'), rectangle(x, y - 1, 30, 6, f'fill="url(#density-{name})"'),
                  f'<text x="{x + 40}" y="{y}">{name}</text>']
    return "\n".join([*lines, "</svg>", ""])


def description(bars: Sequence[Bar], sums: Sequence[int]) -> str:
    """The picture in words, for those who do not see it."""
    return " ".join(f"{name}, {made}: {size} bytes, of these header {parts['header']}, constants {parts['constants']}, "
                    f"code {parts['code']}." for (name, made, parts), size in zip(bars, sums))


def style() -> str:
    """Colours for light mode, and again for dark mode."""
    def colours(theme: Theme, dark: bool) -> str:
        return "".join([
            f"{picture_theme(theme)}.gap{{stroke:{theme.ground}}}",
            *(f".o-{name}{{fill:{STYLES[look].dark if dark else STYLES[look].light}}}"
              f".m-{name}{{fill:{STYLES[look].dark_mark if dark else STYLES[look].light_mark}}}"
              for name, look in PARTS.items())])
    return (f"{PICTURE_STYLE}.sum{{font-weight:600}}.gap{{fill:none;stroke-width:1.5}}{colours(LIGHT, False)}"
            f"@media (prefers-color-scheme:dark){{{colours(DARK, True)}}}")


def _bar(name: str, made: str, parts: Mapping[str, int], size: int, y: int, left: int, unit: float,
         longest: int) -> list[str]:
    """One instruction set: its name, its parts, its sum."""
    lines = [f"<g><title>{escape(name)}, {escape(made)}: {size} bytes</title>",
             f'<text class="end" x="{left - 12}" y="{y + 16}">{escape(name)}</text>']
    done = 0
    for part in PARTS:
        shown = min(parts[part], longest - done)
        if shown <= 0:
            continue
        x, width = left + done * unit, shown * unit
        lines += [rectangle(x, y, width, BAR - STRIP, f'class="o-{part}"'),
                  rectangle(x, y + BAR - STRIP, width, STRIP, f'class="o-{part}"'),
                  rectangle(x, y + BAR - STRIP, width, STRIP, f'fill="url(#density-{part})"'),
                  rectangle(x, y, width, BAR, 'class="gap"')]
        if width >= 24:
            cut = "" if shown == parts[part] else ", cut here"
            lines.append(f'<text class="small middle" x="{x + width / 2:.2f}" y="{y + 13}">{parts[part]}{cut}</text>')
        done += shown
    return [*lines, f'<text class="sum" x="{left + done * unit + 8:.2f}" y="{y + 16}">{size}</text>', "</g>"]
