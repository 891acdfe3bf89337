"""A line chart as SVG: the counted bytes of every engine over the changes of the story.

    from common.picture.chart import line_chart
    svg = line_chart([{"asm-boot": 430}, {"asm-boot": 424, "cpp-linux-i386": 388}])    # a mapping for each change

Engines differ by colour, by marker and by dashes, and are named at their line's end. A change without an engine is a
gap in its line. Colours follow the reader's light or dark mode, by classes (CSS variables are unknown to some
programs that show SVG). The same input gives the same text.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Mapping, Sequence
from xml.sax.saxutils import escape

from common.picture.style import DARK, LIGHT, PICTURE_STYLE, SECTOR, Theme, picture_theme

WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 200, 64, 52  # around the plot: scale, names of the lines, title, numbers of the changes
LABEL_STEP = 18                             # from name to name, at the least
NUMBERS = 24                                # so many changes are numbered, at the most

# Each name gives a line its look. Light colours have 3:1 contrast or more on white, dark ones on the dark ground.
COLOURS = (("#0072b2", "#56b4e9"), ("#b34700", "#ff9d5c"), ("#00795c", "#3ecfa5"), ("#a33d7f", "#e79ac6"),
           ("#6b5b00", "#d9c64a"), ("#5a4fcf", "#b0a8ff"), ("#a11d1d", "#ff8f8f"))
DASHES = ("", "7 3", "2 3", "10 3 2 3", "14 4", "6 2 2 2 2 2")
MARKERS = (
    "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",                       # a disc
    "M-4 -4h8v8h-8z",                                                     # a square
    "M0 -5.5L5 4H-5z",                                                    # a triangle
    "M0 -6L5 0L0 6L-5 0z",                                                # a diamond
    "M0 5.5L5 -4H-5z",                                                    # a triangle upside down
    "M-1.7 -5.5h3.4v3.8h3.8v3.4h-3.8v3.8h-3.4v-3.8h-3.8v-3.4h3.8z",       # a plus
    "M-2.6 -5h5.2L5.6 0L2.6 5h-5.2L-5.6 0z",                              # a hexagon
    "M0 -6L1.6 -1.6L6 0L1.6 1.6L0 6L-1.6 1.6L-6 0L-1.6 -1.6z",            # a star
)


@dataclass(frozen=True)
class Scale:
    """Bytes to places in the picture."""

    low: int
    high: int
    step: int

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.low) * (HEIGHT - TOP - BOTTOM) / (self.high - self.low)


def line_chart(changes: Sequence[Mapping[str, int]]) -> str:
    """The picture, as the text of an SVG file."""
    engines = list(dict.fromkeys(engine for change in changes for engine in change))
    scale = choose_scale([size for change in changes for size in change.values()] + [SECTOR])
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'role="img" aria-labelledby="chart-title chart-description">',
        '<title id="chart-title">Counted bytes of each engine, change by change</title>',
        f'<desc id="chart-description">{escape(description(changes, engines))}</desc>',
        f"<style>{style(len(engines))}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{HEIGHT}"/>',
        '<text class="heading" x="16" y="27">Counted bytes of each engine, change by change</text>',
        *axes(scale, len(changes)),
    ]
    for place, engine in enumerate(engines):
        lines += line(place, engine, [change.get(engine) for change in changes], scale)
    lines += names(engines, changes, scale)
    return "\n".join([*lines, "</svg>", ""])


def choose_scale(values: Sequence[int]) -> Scale:
    """From a round number below all values to one above, with four to nine lines; not from 0, to show single bytes."""
    least, most = min(values), max(values)
    for step in (digit * 10**zeros for zeros in itertools.count(1) for digit in (1, 2, 5)):
        low, high = max((least - 1) // step * step, 0), (most // step + 1) * step
        if high - low <= 9 * step:
            return Scale(low, high, step)
    raise AssertionError  # some step is wide enough


def x_of(change: int, count: int) -> float:
    """The middle of a change's column; the numbers of changes start at 0 here."""
    return LEFT + (change + 0.5) * (WIDTH - LEFT - RIGHT) / count


def axes(scale: Scale, count: int) -> list[str]:
    """Bytes at the left, changes below, and the line at one sector."""
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    lines = [f'<text class="quiet" x="16" y="{TOP - 14}">bytes</text>',
             f'<text class="quiet end" x="{right}" y="{bottom + 38}">change, as numbered in the story</text>']
    for value in range(scale.low, scale.high + 1, scale.step):
        y = scale.y(value)
        lines += [f'<path class="tick" d="M{LEFT} {y:.2f}H{right}"/>',
                  f'<text class="quiet end" x="{LEFT - 10}" y="{y + 4:.2f}">{value}</text>']
    every = -(-count // NUMBERS) or 1
    for change in range(count):
        if change % every == 0:
            lines.append(f'<text class="quiet middle" x="{x_of(change, count):.2f}" y="{bottom + 19}">'
                         f"{change + 1}</text>")
    y = scale.y(SECTOR)
    return [*lines, f'<path class="limit" d="M{LEFT} {y:.2f}H{right}"/>',
            f'<text class="small halo" x="{LEFT + 6}" y="{y - 5:.2f}">one sector, {SECTOR}</text>']


def line(place: int, engine: str, sizes: Sequence[int | None], scale: Scale) -> list[str]:
    """An engine's steps, with a marker where its bytes change, and after a gap."""
    count = len(sizes)
    path: list[str] = []
    markers: list[str] = []
    for change, size in enumerate(sizes):
        if size is None:
            continue
        x, y = x_of(change, count), scale.y(size)
        end = x_of(change + 1, count) if change + 1 < count else WIDTH - RIGHT
        before = sizes[change - 1] if change else None
        path.append(f"{'M' if before is None else 'L'}{x:.2f} {y:.2f}H{end:.2f}")
        if size != before:
            markers.append(f'<path class="m{place}" transform="translate({x:.2f} {y:.2f})" '
                           f'd="{MARKERS[place % len(MARKERS)]}"><title>change {change + 1}: {escape(engine)}, '
                           f"{size} bytes</title></path>")
    return [f'<path class="l{place}" d="{"".join(path)}"/>', *markers]


def names(engines: Sequence[str], changes: Sequence[Mapping[str, int]], scale: Scale) -> list[str]:
    """The names at the right, each with its marker, beside the line's end or as near as there is room."""
    if not changes:
        return []
    last = changes[-1]
    shown = sorted((engine for engine in engines if engine in last), key=lambda engine: (-last[engine], engine))
    places = push_apart([scale.y(last[engine]) for engine in shown], LABEL_STEP, TOP, HEIGHT - BOTTOM)
    lines = []
    right = WIDTH - RIGHT
    for engine, y in zip(shown, places):
        place = engines.index(engine)
        lines += [f'<path class="lead" d="M{right} {scale.y(last[engine]):.2f}L{right + 12} {y:.2f}"/>',
                  f'<path class="m{place}" transform="translate({right + 20} {y:.2f})" '
                  f'd="{MARKERS[place % len(MARKERS)]}"/>',
                  f'<text x="{right + 31}" y="{y + 4.5:.2f}">{escape(engine)} '
                  f'<tspan class="strong">{last[engine]}</tspan></text>']
    for engine in engines:
        if engine not in last:  # it is gone: named where its line ends
            end = max(number for number, change in enumerate(changes) if engine in change)
            x, y = x_of(end + 1, len(changes)), scale.y(changes[end][engine])
            # Behind the end; where there is no room, above it.
            place_of_name = (f'class="small halo" x="{x + 7:.2f}" y="{y + 4:.2f}"' if x + 160 < right else
                             f'class="small end halo" x="{x:.2f}" y="{y - 9:.2f}"')
            lines.append(f"<text {place_of_name}>"
                         f"{escape(engine)} {changes[end][engine]}, gone</text>")
    return lines


def push_apart(places: Sequence[float], step: float, low: float, high: float) -> list[float]:
    """The places, which ascend, moved as little as needed to be `step` apart and from `low` to `high`.

    Neighbours that are too close become a group, which stands around the middle of where its members want to be."""
    groups: list[list[float]] = []  # of wanted places
    tops: list[float] = []

    def top(group: list[float]) -> float:
        length = step * (len(group) - 1)
        return max(low, min(sum(group) / len(group) - length / 2, high - length))

    for wanted in places:
        groups.append([wanted])
        tops.append(top(groups[-1]))
        while len(groups) > 1 and tops[-1] < tops[-2] + step * len(groups[-2]):
            last = groups.pop()
            tops.pop()
            groups[-1] += last
            tops[-1] = top(groups[-1])
    return [start + step * number for start, group in zip(tops, groups) for number in range(len(group))]


def description(changes: Sequence[Mapping[str, int]], engines: Sequence[str]) -> str:
    """The picture in words, for those who do not see it."""
    said = []
    for engine in engines:
        sizes = [change[engine] for change in changes if engine in change]
        way = f"{sizes[0]} bytes" if len(set(sizes)) == 1 else f"from {sizes[0]} to {sizes[-1]} bytes"
        said.append(f"{engine}: {way}.")
    return f"{len(changes)} changes. " + " ".join(said)


def style(count: int) -> str:
    """Colours for light mode, and again for dark mode."""
    def colours(theme: Theme, dark: bool) -> str:
        return "".join([
            f"{picture_theme(theme)}.lead{{stroke:{theme.quiet}}}.halo{{stroke:{theme.ground}}}",
            *(f".l{place}{{stroke:{COLOURS[place % len(COLOURS)][dark]}}}"
              f".m{place}{{fill:{COLOURS[place % len(COLOURS)][dark]};stroke:{theme.ground}}}"
              for place in range(count))])
    dashes = "".join(f".l{place}{{fill:none;stroke-width:2;stroke-linejoin:round"
                     + (f";stroke-dasharray:{dash}" if (dash := DASHES[place % len(DASHES)]) else "")
                     + f"}}.m{place}{{stroke-width:1}}" for place in range(count))
    return (f"{PICTURE_STYLE}.strong{{font-weight:600}}.tick,.lead{{fill:none}}"
            f".halo{{paint-order:stroke;stroke-width:4;stroke-linejoin:round}}{dashes}{colours(LIGHT, False)}"
            f"@media (prefers-color-scheme:dark){{{colours(DARK, True)}}}")
