"""A chart of lines as SVG: the counted bytes of every engine over the changes, a panel for each target.

    from common.picture.chart import line_chart
    svg = line_chart([{"asm-boot": 430}, {"asm-boot": 424}], {"asm-boot": "boot"})     # each change; each engine's target

All panels have the same changes, and each its own bytes. Engines of a panel differ by colour, by marker and by dashes,
and are named at their line's end. A change without an engine is a gap in its line. Colours follow the reader's light or
dark mode, by classes (CSS variables are unknown to some programs that show SVG). The same input gives the same text.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Mapping, Sequence
from xml.sax.saxutils import escape

from common.picture.groups import by_target
from common.picture.style import DARK, LIGHT, PICTURE_STYLE, SECTOR, Theme, picture_theme

WIDTH, TOP = 960, 62             # of the picture; its title
LEFT, HEAD, FOOT = 44, 34, 36    # around a panel's plot: the scale; the target; the numbers of the changes
BETWEEN, MARGIN = 16, 16         # two columns of panels; around all
PLOT_HEIGHTS = (304, 150, 130)   # of a single panel, of a few below one another, of more in two columns
FEW = 3                          # panels
NAME = 36                        # from a plot to what is right of a name, without its letters
LETTER, SMALL_LETTER = 7.3, 6.3  # their width, about
LABEL_STEP = 18                  # from name to name, at the least
TICK_STEP, NUMBER_STEP = 28, 28  # from line to line of the scale, from one change's number to the next
SPAN = 40                        # a scale shows so many bytes, at the least: one byte is no cliff
NEAR = 40                        # the line at one sector is shown where a panel comes so near

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


Changes = Sequence[Mapping[str, int]]  # counted bytes by engine


@dataclass(frozen=True)
class Scale:
    """Bytes, between round numbers."""

    low: int
    high: int
    step: int


@dataclass(frozen=True)
class Panel:
    """A target's lines. Places are counted from the plot's upper left corner."""

    target: str
    engines: Sequence[str]
    changes: Changes
    width: float  # of the plot
    height: float
    scale: Scale

    def x(self, change: int) -> float:
        """The middle of a change's column; the numbers of changes start at 0 here."""
        return (change + 0.5) * self.width / len(self.changes)

    @property
    def marker(self) -> float:
        """The size of its markers."""
        return 1 if self.width > 400 else 0.75

    def y(self, value: float) -> float:
        return self.height - (value - self.scale.low) * self.height / (self.scale.high - self.scale.low)


def line_chart(changes: Changes, targets: Mapping[str, str]) -> str:
    """The picture, as the text of an SVG file. `targets` has every engine that there is, in order."""
    engines = list(dict.fromkeys(engine for change in changes for engine in change))
    groups = by_target(engines, targets)
    columns = 1 if len(groups) <= FEW else 2
    panel_width = (WIDTH - 2 * MARGIN - BETWEEN * (columns - 1)) / columns
    plot_width = panel_width - LEFT - (NAME + LETTER * max((len(f"{engine} 000") for engine in engines), default=0))
    plot_height = PLOT_HEIGHTS[0 if len(groups) <= 1 else columns]
    panel_height = HEAD + plot_height + FOOT
    height = TOP + panel_height * -(-len(groups) // columns)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="chart-title chart-description">',
        '<title id="chart-title">Counted bytes of each engine, change by change</title>',
        f'<desc id="chart-description">{escape(description(changes, groups))}</desc>',
        f"<style>{style(max(map(len, groups.values()), default=0))}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        f'<text class="heading" x="{MARGIN}" y="27">Counted bytes of each engine, change by change</text>',
        f'<text class="quiet" x="{MARGIN}" y="47">up: bytes, to a scale of its own for each target; to the right: '
        "changes, as numbered in the report</text>",
    ]
    for number, (target, members) in enumerate(groups.items()):
        row, column = divmod(number, columns)
        panel = Panel(target, members, changes, plot_width, plot_height, scale_of(members, changes, plot_height))
        corner = MARGIN + (panel_width + BETWEEN) * column + LEFT, TOP + panel_height * row + HEAD
        lines += [f'<g transform="translate({corner[0]:.2f} {corner[1]:.2f})">', *panel_lines(panel), "</g>"]
    return "\n".join([*lines, "</svg>", ""])


def scale_of(engines: Sequence[str], changes: Changes, height: float) -> Scale:
    """A scale for these engines' bytes, with the line at one sector where that is near."""
    values = [change[engine] for change in changes for engine in engines if engine in change]
    if min(values) - NEAR <= SECTOR <= max(values) + NEAR:
        values.append(SECTOR)
    return choose_scale(values, int(height // TICK_STEP))


def choose_scale(values: Sequence[int], most_steps: int) -> Scale:
    """From a round number below all values to one above; not from 0, to show single bytes."""
    least, most = min(values), max(values)
    for step in (digit * 10**zeros for zeros in itertools.count(1) for digit in (1, 2, 5)):
        low, high = max((least - 1) // step * step, 0), (most // step + 1) * step
        if high - low <= most_steps * step:
            while high - low < SPAN:  # grows where there is less room
                low, high = (low, high + step) if low == 0 or least - low > high - most else (low - step, high)
            return Scale(low, high, step)
    raise AssertionError  # some step is wide enough


def panel_lines(panel: Panel) -> list[str]:
    """A target: its name, its scales, its lines and their names."""
    lines = [f'<text class="strong" x="{-LEFT}" y="{14 - HEAD}">{escape(panel.target)}</text>', *axes(panel)]
    for place in range(len(panel.engines)):
        lines += line(panel, place)
    return lines + names(panel)


def axes(panel: Panel) -> list[str]:
    """Bytes at the left, changes below, and the line at one sector."""
    lines = []
    scale, width = panel.scale, panel.width
    for value in range(scale.low, scale.high + 1, scale.step):
        y = panel.y(value)
        lines += [f'<path class="tick" d="M0 {y:.2f}H{width:.2f}"/>',
                  f'<text class="quiet end" x="-10" y="{y + 4:.2f}">{value}</text>']
    count = len(panel.changes)
    every = next(step for step in (1, 2, 5, 10, 20, 50, 100, count) if width * step / count >= NUMBER_STEP or step >= count)
    lines += [f'<text class="quiet middle" x="{panel.x(change):.2f}" y="{panel.height + 19:.2f}">{change + 1}</text>'
              for change in range(count) if change == 0 or (change + 1) % every == 0]
    if scale.low <= SECTOR <= scale.high:
        y = panel.y(SECTOR)
        lines += [f'<path class="limit" d="M0 {y:.2f}H{width:.2f}"/>',
                  f'<text class="small halo" x="6" y="{y - 5:.2f}">one sector, {SECTOR}</text>']
    return lines


def line(panel: Panel, place: int) -> list[str]:
    """An engine's steps, with a marker where its bytes change, and after a gap."""
    engine = panel.engines[place]
    sizes = [change.get(engine) for change in panel.changes]
    path: list[str] = []
    markers: list[str] = []
    for change, size in enumerate(sizes):
        if size is None:
            continue
        x, y = panel.x(change), panel.y(size)
        end = panel.x(change + 1) if change + 1 < len(sizes) else panel.width
        before = sizes[change - 1] if change else None
        path.append(f"{'M' if before is None else 'L'}{x:.2f} {y:.2f}H{end:.2f}")
        if size != before:
            markers.append(f'<path class="m{place}" transform="translate({x:.2f} {y:.2f}) scale({panel.marker})" '
                           f'd="{MARKERS[place % len(MARKERS)]}"><title>change {change + 1}: {escape(engine)}, '
                           f"{size} bytes</title></path>")
    return [f'<path class="l{place}" d="{"".join(path)}"/>', *markers]


def names(panel: Panel) -> list[str]:
    """The names at the right, each with its marker, beside the line's end or as near as there is room."""
    last = next(change for change in reversed(panel.changes) if change)  # the last one may be one that does not build
    right = panel.width
    shown = sorted((engine for engine in panel.engines if engine in last), key=lambda engine: (-last[engine], engine))
    places = push_apart([panel.y(last[engine]) for engine in shown], LABEL_STEP, 0, panel.height)
    lines = []
    for engine, y in zip(shown, places):
        place = panel.engines.index(engine)
        lines += [f'<path class="lead" d="M{right:.2f} {panel.y(last[engine]):.2f}L{right + 12:.2f} {y:.2f}"/>',
                  f'<path class="m{place}" transform="translate({right + 20:.2f} {y:.2f}) scale({panel.marker})" '
                  f'd="{MARKERS[place % len(MARKERS)]}"/>',
                  f'<text x="{right + 31:.2f}" y="{y + 4.5:.2f}">{escape(engine)} '
                  f'<tspan class="strong">{last[engine]}</tspan></text>']
    for engine in panel.engines:
        if engine not in last:  # it is gone: named where its line ends
            end = max(number for number, change in enumerate(panel.changes) if engine in change)
            size = panel.changes[end][engine]
            x, y = panel.x(end + 1), panel.y(size)
            text = f"{engine} {size}, gone"
            width = SMALL_LETTER * len(text)
            # Behind the end; where there is no room, above it.
            x, y = (x + 7, y + 4) if x + 7 + width < right else (max(x - width, 0), y - 9)
            lines.append(f'<text class="small halo" x="{x:.2f}" y="{y:.2f}">{escape(text)}</text>')
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


def description(changes: Changes, groups: Mapping[str, Sequence[str]]) -> str:
    """The picture in words, for those who do not see it."""
    said = []
    for target, engines in groups.items():
        ways = []
        for engine in engines:
            sizes = [change[engine] for change in changes if engine in change]
            ways.append(f"{engine} {sizes[0]} bytes" if len(set(sizes)) == 1 else
                        f"{engine} from {sizes[0]} to {sizes[-1]} bytes")
        said.append(f"{target}: {', '.join(ways)}.")
    return " ".join([f"{len(changes)} changes.", *said])


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
