"""An SVG picture of a benchmark: tokens per second, a panel for each model, a bar for each contender, the fastest first; then what a
token costs by its position.

    from common.picture.bench import bench_svg
    svg = bench_svg([("15M", [Bar("reference, fast", "fast", 250.0, 240.0, 260.0), …]), …], plots)     # see growth

Every panel has a scale of its own. A bar is the middle of all rounds, the line over it goes from the lowest to the highest one. Groups
of contenders differ by colour and by pattern; colours follow the reader's light or dark mode. The same input gives the same text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Sequence
from xml.sax.saxutils import escape

from common.picture.bars import rectangle
from common.picture.growth import Line, dashes, growth_lines, looks, words
from common.picture.style import DARK, LIGHT, PICTURE_STYLE, STYLES, TILE, Theme, picture_theme

# What a group is called, and the operation whose look it has.
GROUPS = {"fast": ("reference, fast", "matmul"), "plain": ("reference, plain", "header"),
          "quantized": ("reference, rounded weights", "attention"), "llama2.c": ("llama2.c", "output"),
          "golfed": ("golfed engines", "embedding"), "other": ("not from this run", "loop")}
WIDTH, MARGIN, TOP, RIGHT = 960, 16, 54, 88
LETTER = 7.2  # width of one in a name, about
BAR, STRIP, ROW = 3 * TILE, TILE, 4 * TILE  # a bar, the pattern at its foot, from bar to bar; multiples of TILE
HEAD, BELOW = 30, 18  # a panel's name, and the space under it
LEGEND_COLUMN, LEGEND_ROW = 230, 28
TITLE, GROWTH = "Tokens per second", "Milliseconds for a token, by its position in the story"
Panels = Sequence[tuple[str, Sequence["Bar"]]]
Plots = Sequence[tuple[str, Sequence[Line]]]


@dataclass(frozen=True)
class Bar:
    """A contender's speed."""

    label: str
    group: str
    middle: float
    low: float
    high: float


def bench_svg(panels: Panels, plots: Plots = ()) -> str:
    """The picture, as the text of an SVG file."""
    bars = [bar for _, members in panels for bar in members]
    left = int(2 * MARGIN + LETTER * max((len(bar.label) for bar in bars), default=0))
    used = [group for group in GROUPS if any(bar.group == group for bar in bars)]
    columns = max(1, (WIDTH - 2 * MARGIN) // LEGEND_COLUMN)
    bottom = TOP + sum(HEAD + ROW * len(members) + BELOW for _, members in panels) + LEGEND_ROW * -(-len(used) // columns) + MARGIN
    grown, more = growth_lines(plots, bottom + HEAD, {group: number for number, group in enumerate(GROUPS)})
    height = bottom + (HEAD + more if plots else 0)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="bench-title bench-description">',
        f'<title id="bench-title">{TITLE}</title>',
        f'<desc id="bench-description">{escape(description(panels, plots))}</desc>',
        f"<style>{style()}</style>",
        "<defs>",
        *(f'<pattern id="bench-{number}" width="{TILE}" height="{TILE}" patternUnits="userSpaceOnUse">'
          f'<path class="m-{number}" d="{STYLES[look].pattern}"/></pattern>' for number, (_, look) in enumerate(GROUPS.values())),
        "</defs>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        f'<text class="heading" x="{MARGIN}" y="27">{TITLE}</text>',
        f'<text class="quiet" x="{MARGIN}" y="47">the middle of all rounds; the line goes from the lowest to the highest; a scale for '
        "each model</text>",
    ]
    y = TOP
    for name, members in panels:
        lines.append(f'<text class="strong" x="{MARGIN}" y="{y + 20}">{escape(name)}</text>')
        y += HEAD
        unit = (WIDTH - left - RIGHT) / max((bar.high for bar in members), default=1)
        for bar in sorted(members, key=lambda bar: -bar.middle):
            lines += _bar(bar, y, left, unit)
            y += ROW
        y += BELOW
    for place, group in enumerate(used):
        x, row = MARGIN + LEGEND_COLUMN * (place % columns), y + LEGEND_ROW * (place // columns)
        number = list(GROUPS).index(group)
        lines += [rectangle(x, row, 30, 18, f'class="g-{number}"'), rectangle(x, row + 12, 30, 6, f'fill="url(#bench-{number})"'),
                  f'<text x="{x + 40}" y="{row + 13}">{escape(GROUPS[group][0])}</text>']
    if plots:
        lines += [f'<text class="heading" x="{MARGIN}" y="{bottom + 17}">{GROWTH}</text>', *grown]
    return "\n".join([*lines, "</svg>", ""])


def description(panels: Panels, plots: Plots) -> str:
    """The picture in words, for those who do not see it."""
    said = [f"{name}: " + ", ".join(f"{bar.label} {speed(bar.middle)}" for bar in sorted(members, key=lambda bar: -bar.middle)) + "."
            for name, members in panels]
    if plots:
        said.append(f"{GROWTH}.")
    return " ".join([*said, *(f"{name}, {line.label}: {words(line.spans)}." for name, members in plots for line in members)])


def speed(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def style() -> str:
    """Colours for light mode, and again for dark mode."""
    def colours(theme: Theme, dark: bool) -> str:
        return "".join([
            f"{picture_theme(theme)}.range{{stroke:{theme.ink}}}{looks(len(GROUPS), dark)}",
            *(f".g-{number}{{fill:{STYLES[look].dark if dark else STYLES[look].light}}}"
              f".m-{number}{{fill:{STYLES[look].dark_mark if dark else STYLES[look].light_mark}}}"
              for number, (_, look) in enumerate(GROUPS.values()))])
    return (f"{PICTURE_STYLE}.strong{{font-weight:600}}.tick{{fill:none}}{dashes(len(GROUPS))}.range{{fill:none;stroke-width:1.5}}"
            f"{colours(LIGHT, False)}"
            f"@media (prefers-color-scheme:dark){{{colours(DARK, True)}}}")


def _bar(bar: Bar, y: int, left: int, unit: float) -> list[str]:
    """One contender: its name, its bar with the range over it, its speed."""
    number = list(GROUPS).index(bar.group)
    width, middle = bar.middle * unit, y + (BAR - STRIP) / 2
    low, high = left + bar.low * unit, left + bar.high * unit
    return [f"<g><title>{escape(bar.label)}: {speed(bar.middle)} tokens/s, {speed(bar.low)} to {speed(bar.high)}</title>",
            f'<text class="end" x="{left - 12}" y="{y + 13}">{escape(bar.label)}</text>',
            rectangle(left, y, width, BAR, f'class="g-{number}"'),
            rectangle(left, y + BAR - STRIP, width, STRIP, f'fill="url(#bench-{number})"'),
            f'<path class="range" d="M{low:.2f} {middle - 3:.2f}v6M{low:.2f} {middle:.2f}H{high:.2f}M{high:.2f} {middle - 3:.2f}v6"/>',
            f'<text class="strong" x="{max(high, left + width) + 8:.2f}" y="{y + 13}">{speed(bar.middle)}</text>', "</g>"]
