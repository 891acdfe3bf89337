"""Lines of an SVG picture: what a token costs by its position, a plot for each model, a line for each contender.

    from common.picture.growth import Line, growth_lines
    lines, height = growth_lines([("42M", [Line("reference, fast", "fast", [(1, 64, 2.0), (64, 128, 2.1)]), …])], top, style_of)

A line is level where a cost is the average of: from a position to another. Scales begin at 0. Contenders differ by colour, by dashes and
by their name at the line's end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence
from xml.sax.saxutils import escape

from common.picture.chart import COLOURS, DASHES, push_apart

WIDTH, MARGIN = 960, 16
COLUMNS, BETWEEN = 2, 24
HEAD, PLOT, FOOT = 30, 120, 34  # a plot's name, the plot, its positions
LEFT, NAMES = 44, 150  # the scale; the names at the right
LETTERS = 21  # that they have room for
LABEL_STEP = 16
STEPS = 4  # of the scale, at the most

Span = tuple[int, int, float]  # from a position, to a position, milliseconds


@dataclass(frozen=True)
class Line:
    """A contender's costs."""

    label: str
    group: str
    spans: Sequence[Span]


def growth_lines(plots: Sequence[tuple[str, Sequence[Line]]], top: int, places: Mapping[str, int]) -> tuple[list[str], int]:
    """The plots below `top`, and how high they are. `places`: of each group, the number of its look (see looks)."""
    width = (WIDTH - 2 * MARGIN - BETWEEN * (COLUMNS - 1)) / COLUMNS
    found = []
    for number, (name, members) in enumerate(plots):
        row, column = divmod(number, COLUMNS)
        x, y = MARGIN + column * (width + BETWEEN) + LEFT, top + row * (HEAD + PLOT + FOOT) + HEAD
        found += [f'<g transform="translate({x:.2f} {y})">', *_plot(name, members, width - LEFT - NAMES, places), "</g>"]
    return found, (HEAD + PLOT + FOOT) * -(-len(plots) // COLUMNS)


def looks(count: int, dark: bool) -> str:
    """CSS for so many groups."""
    return "".join(f".c-{number}{{stroke:{COLOURS[number % len(COLOURS)][dark]}}}" for number in range(count))


def dashes(count: int) -> str:
    return "".join(f".c-{number}{{fill:none;stroke-width:2;stroke-linejoin:round"
                   + (f";stroke-dasharray:{dash}" if (dash := DASHES[number % len(DASHES)]) else "") + "}" for number in range(count))


def _plot(name: str, members: Sequence[Line], width: float, places: Mapping[str, int]) -> list[str]:
    most = max(cost for line in members for _, _, cost in line.spans)
    last = max(end for line in members for _, end, _ in line.spans)
    step = next(digit * 10.0**zeros for zeros in range(-6, 7) for digit in (1, 2, 5) if most <= STEPS * digit * 10.0**zeros)
    ticks = int(-(-most // step))

    def at(position: int) -> float:
        return position / last * width

    def up(cost: float) -> float:
        return PLOT - cost / (ticks * step) * PLOT

    lines = [f'<text class="strong" x="{-LEFT}" y="{12 - HEAD}">{escape(name)}</text>']
    for tick in range(ticks + 1):
        y = up(tick * step)
        lines += [f'<path class="tick" d="M0 {y:.2f}H{width:.2f}"/>',
                  f'<text class="quiet end" x="-8" y="{y + 4:.2f}">{tick * step:.6g}</text>']
    for position in sorted({end for line in members for _, end, _ in line.spans}):
        lines.append(f'<text class="quiet middle" x="{at(position):.2f}" y="{PLOT + 17}">{position}</text>')
    for line in members:
        path = "".join(f"{'L' if number else 'M'}{at(begin if number else 0):.2f} {up(cost):.2f}H{at(end):.2f}"
                       for number, (begin, end, cost) in enumerate(line.spans))
        lines.append(f'<path class="c-{places[line.group]}" d="{path}"><title>{escape(line.label)}: {escape(words(line.spans))}</title>'
                     "</path>")
    shown = sorted(members, key=lambda line: -line.spans[-1][2])
    heights = push_apart([up(line.spans[-1][2]) for line in shown], LABEL_STEP, 0, PLOT)
    for line, y in zip(shown, heights):
        text = line.label if len(line.label) <= LETTERS else line.label[:LETTERS - 1].rstrip() + "…"
        lines.append(f'<text class="small" x="{width + 8:.2f}" y="{y + 4:.2f}">{escape(text)}</text>')
    return lines


def words(spans: Sequence[Span]) -> str:
    """`1 to 64 2 ms, 64 to 128 2.1 ms`."""
    return ", ".join(f"{begin} to {end} {cost:.3g} ms" for begin, end, cost in spans)
