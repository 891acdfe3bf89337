"""An SVG picture of where the bytes of the engines go: one stacked bar per engine, those of a target together.

    from common.picture.bars import bars_svg
    svg = bars_svg({"asm-boot": {"header": 12, "matmul": 90}}, {"asm-boot": "boot"})    # engine -> operation -> bytes

All bars have the same scale, with a line at 512 bytes. Parts bear the operation's code and bytes where they fit, the
legend says what the codes mean. The same input gives the same text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Sequence
from xml.sax.saxutils import escape

from common.anatomy.operations import OPERATIONS
from common.picture.groups import by_target
from common.picture.style import DARK, LIGHT, PICTURE_STYLE, SECTOR, TILE, Theme, picture_theme, styles

WIDTH = 960
LEFT, RIGHT, TOP = 30, 52, 48          # around names and bars: the sums at the right, the title and the scale above
LETTER = 7.8                           # width of one in a name, about
HEAD = 4 * TILE                        # for a target's name
BAR, STRIP, ROW = 42, TILE, 54         # a bar, the pattern at its foot, from bar to bar; multiples of TILE
LEGEND_ROW, LEGEND_COLUMNS = 24, 4


@dataclass(frozen=True)
class Scale:
    """Where bars begin, and bytes as widths."""

    left: float
    longest: int
    unit: float

    def x(self, value: int) -> float:
        return self.left + value * self.unit


def bars_svg(columns: Mapping[str, Mapping[str, int]], targets: Mapping[str, str]) -> str:
    """The picture, as the text of an SVG file. `targets` has the target of every engine that there is, in order."""
    sums = {engine: sum(parts.values()) for engine, parts in columns.items()}
    groups = by_target(columns, targets)
    left, longest = int(LEFT + LETTER * max(map(len, columns), default=0)), max([SECTOR, *sums.values()])
    scale = Scale(left, longest, (WIDTH - left - RIGHT) / longest)
    shown = [name for name in OPERATIONS if any(parts.get(name) for parts in columns.values())]
    bottom = TOP + HEAD * len(groups) + ROW * len(columns)
    legend = bottom + 7 * TILE + 1  # one more, so that whole tiles fit into the strips
    height = legend + LEGEND_ROW * -(-len(shown) // LEGEND_COLUMNS) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="bars-title bars-description">',
        '<title id="bars-title">Where the bytes go: counted bytes of each engine by operation</title>',
        f'<desc id="bars-description">{escape(description(columns, groups, sums))}</desc>',
        f"<style>{style()}</style>",
        "<defs>",
        *(f'<pattern id="bars-{name}" width="{TILE}" height="{TILE}" patternUnits="userSpaceOnUse">'
          f'<path class="m-{name}" d="{styles()[name].pattern}"/></pattern>' for name in shown),
        "</defs>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        '<text class="heading" x="16" y="27">Where the bytes go</text>',
    ]
    lines += scale_lines(scale, bottom)
    y = TOP
    for target, engines in groups.items():
        lines.append(f'<text class="name" x="16" y="{y + 15}">{escape(target)}</text>')
        y += HEAD
        for engine in engines:
            lines += bar(engine, columns[engine], sums[engine], y, scale)
            y += ROW
    lines += legend_lines(shown, legend)
    return "\n".join([*lines, "</svg>", ""])


def description(columns: Mapping[str, Mapping[str, int]], groups: Mapping[str, Sequence[str]],
                sums: Mapping[str, int]) -> str:
    """The picture in words, for those who do not see it."""
    def words(engine: str) -> str:
        parts = (f"{OPERATIONS[name].title} {size}" for name in OPERATIONS if (size := columns[engine].get(name)))
        return f"{engine}: {sums[engine]} bytes, of these {', '.join(parts)}."
    return " ".join(f"Target {target}. {' '.join(map(words, engines))}" for target, engines in groups.items())


def style() -> str:
    """Colours for light mode, and again for dark mode."""
    def colours(theme: Theme, dark: bool) -> str:
        return "".join([
            f"{picture_theme(theme)}.gap,.sum{{stroke:{theme.ground}}}",
            *(f".o-{name}{{fill:{look.dark if dark else look.light}}}"
              f".m-{name}{{fill:{look.dark_mark if dark else look.light_mark}}}" for name, look in styles().items())])
    return (f"{PICTURE_STYLE}.name,.sum{{font-weight:600}}.code{{font-size:11px;font-weight:600}}"
            f".gap{{fill:none;stroke-width:1.5}}.sum{{paint-order:stroke;stroke-width:4}}{colours(LIGHT, False)}"
            f"@media (prefers-color-scheme:dark){{{colours(DARK, True)}}}")


def bar(engine: str, parts: Mapping[str, int], total: int, y: int, scale: Scale) -> list[str]:
    """One engine: its name, its parts, its sum."""
    lines = [f"<g><title>{escape(engine)}: {total} bytes</title>",
             f'<text class="end" x="{scale.left - 12}" y="{y + 21}">{escape(engine)}</text>']
    done = 0
    for name in OPERATIONS:
        size = parts.get(name, 0)
        if not size:
            continue
        x, width, code = scale.x(done), size * scale.unit, styles()[name].code
        lines += [
            f"<g><title>{escape(engine)}, {escape(OPERATIONS[name].title)}: {size} bytes</title>",
            rectangle(x, y, width, BAR - STRIP, f'class="o-{name}"'),
            rectangle(x, y + BAR - STRIP, width, STRIP, f'class="o-{name}"'),
            rectangle(x, y + BAR - STRIP, width, STRIP, f'fill="url(#bars-{name})"'),
            rectangle(x, y, width, BAR, 'class="gap"')]
        if width >= 19:
            lines += [f'<text class="code middle" x="{x + width / 2:.2f}" y="{y + 13}">{code}</text>',
                      f'<text class="small middle" x="{x + width / 2:.2f}" y="{y + 27}">{size}</text>']
        lines.append("</g>")
        done += size
    lines += [f'<text class="sum" x="{scale.x(done) + 8:.2f}" y="{y + 21}">{total}</text>', "</g>"]
    return lines


def rectangle(x: float, y: float, width: float, height: float, look: str) -> str:
    return f'<rect {look} x="{x:.2f}" y="{y}" width="{width:.2f}" height="{height}"/>'


def scale_lines(scale: Scale, bottom: int) -> list[str]:
    """The scale in bytes below the bars, and behind them the line at one sector."""
    lines = []
    for value in [*range(0, scale.longest + 1, 100), SECTOR]:
        x = scale.x(value)
        if value == SECTOR:
            lines += [f'<path class="limit" d="M{x:.2f} {TOP - 8}V{bottom}"/>',
                      f'<text class="small end" x="{x + 30:.2f}" y="{TOP - 16}">one sector, 512</text>']
        elif abs(value - SECTOR) * scale.unit > 40 or value == 0:
            lines += [f'<path class="tick" d="M{x:.2f} {bottom - 10}v8"/>',
                      f'<text class="quiet middle" x="{x:.2f}" y="{bottom + 12}">{value}</text>']
    return [*lines, f'<text class="quiet end" x="{scale.left - 12}" y="{bottom + 12}">bytes</text>']


def legend_lines(shown: list[str], top: int) -> list[str]:
    """What the codes, colours and patterns mean."""
    lines = []
    for place, name in enumerate(shown):
        x = 16 + (WIDTH - 32) / LEGEND_COLUMNS * (place % LEGEND_COLUMNS)
        y = top + LEGEND_ROW * (place // LEGEND_COLUMNS)
        lines += [rectangle(x, y - 13, 30, 18, f'class="o-{name}"'),
                  rectangle(x, y - 1, 30, 6, f'fill="url(#bars-{name})"'),
                  f'<text class="code middle" x="{x + 15:.2f}" y="{y - 3}">{styles()[name].code}</text>',
                  f'<text class="label" x="{x + 40:.2f}" y="{y}">{escape(OPERATIONS[name].title)}</text>']
    return lines
