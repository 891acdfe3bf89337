"""An SVG picture of where the bytes of the engines go: one stacked bar per engine.

    from common.picture.bars import bars_svg
    svg = bars_svg({"asm-boot": {"header": 12, "matmul": 90, "attention": 120}})    # engine -> operation -> bytes

All bars have the same scale, with a line at 512 bytes. Parts bear the operation's code and bytes where they fit, the
legend says what the codes mean. The same input gives the same text.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

from common.anatomy.operations import OPERATIONS
from common.picture.style import DARK, LIGHT, PICTURE_STYLE, SECTOR, TILE, Theme, picture_theme, styles

WIDTH = 960
LEFT, RIGHT, TOP = 156, 44, 48         # for the names, for the sums, for the title and the scale
BAR, STRIP, ROW = 42, TILE, 60         # a bar, the pattern at its foot, from bar to bar; multiples of TILE
LEGEND_ROW, LEGEND_COLUMNS = 24, 4


def bars_svg(columns: dict[str, dict[str, int]]) -> str:
    """The picture, as the text of an SVG file."""
    sums = {engine: sum(parts.values()) for engine, parts in columns.items()}
    scale = (WIDTH - LEFT - RIGHT) / max([SECTOR, *sums.values()])
    shown = [name for name in OPERATIONS if any(parts.get(name) for parts in columns.values())]
    bottom = TOP + ROW * len(columns)
    legend = bottom + 7 * TILE + 1  # one more, so that whole tiles fit into the strips
    height = legend + LEGEND_ROW * -(-len(shown) // LEGEND_COLUMNS) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        'role="img" aria-labelledby="bars-title bars-description">',
        '<title id="bars-title">Where the bytes go: counted bytes of each engine by operation</title>',
        f'<desc id="bars-description">{escape(description(columns, sums))}</desc>',
        f"<style>{style()}</style>",
        "<defs>",
        *(f'<pattern id="bars-{name}" width="{TILE}" height="{TILE}" patternUnits="userSpaceOnUse">'
          f'<path class="m-{name}" d="{styles()[name].pattern}"/></pattern>' for name in shown),
        "</defs>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        '<text class="heading" x="16" y="27">Where the bytes go</text>',
    ]
    for place, (engine, parts) in enumerate(columns.items()):
        lines += bar(engine, parts, sums[engine], TOP + ROW * place, scale)
    lines += scale_lines(scale, max([SECTOR, *sums.values()]), bottom)
    lines += legend_lines(shown, legend)
    return "\n".join([*lines, "</svg>", ""])


def description(columns: dict[str, dict[str, int]], sums: dict[str, int]) -> str:
    """The picture in words, for those who do not see it."""
    return " ".join(f"{engine}: {sums[engine]} bytes, of these " + ", ".join(
        f"{OPERATIONS[name].title} {parts[name]}" for name in OPERATIONS if parts.get(name)) + "."
        for engine, parts in columns.items())


def style() -> str:
    """Colours for light mode, and again for dark mode."""
    def colours(theme: Theme, dark: bool) -> str:
        return "".join([
            f"{picture_theme(theme)}.gap{{stroke:{theme.ground}}}",
            *(f".o-{name}{{fill:{look.dark if dark else look.light}}}"
              f".m-{name}{{fill:{look.dark_mark if dark else look.light_mark}}}" for name, look in styles().items())])
    return (f"{PICTURE_STYLE}.name,.sum{{font-weight:600}}.code{{font-size:11px;font-weight:600}}"
            f".gap{{fill:none;stroke-width:1.5}}{colours(LIGHT, False)}"
            f"@media (prefers-color-scheme:dark){{{colours(DARK, True)}}}")


def bar(engine: str, parts: dict[str, int], total: int, y: int, scale: float) -> list[str]:
    """One engine: its name, its parts, its sum."""
    lines = [f"<g><title>{escape(engine)}: {total} bytes</title>",
             f'<text class="name end" x="{LEFT - 14}" y="{y + 21}">{escape(engine)}</text>']
    done = 0
    for name in OPERATIONS:
        size = parts.get(name, 0)
        if not size:
            continue
        x, width, code = LEFT + done * scale, size * scale, styles()[name].code
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
    lines += [f'<text class="sum" x="{LEFT + done * scale + 8:.2f}" y="{y + 21}">{total}</text>', "</g>"]
    return lines


def rectangle(x: float, y: float, width: float, height: float, look: str) -> str:
    return f'<rect {look} x="{x:.2f}" y="{y}" width="{width:.2f}" height="{height}"/>'


def scale_lines(scale: float, longest: int, bottom: int) -> list[str]:
    """The scale in bytes below the bars, and the line at one sector."""
    lines = []
    for value in [*range(0, longest + 1, 100), SECTOR]:
        x = LEFT + value * scale
        if value == SECTOR:
            lines += [f'<path class="limit" d="M{x:.2f} {TOP - 8}V{bottom}"/>',
                      f'<text class="small end" x="{x + 30:.2f}" y="{TOP - 16}">one sector, 512</text>']
        elif abs(value - SECTOR) * scale > 40 or value == 0:
            lines += [f'<path class="tick" d="M{x:.2f} {bottom - 10}v8"/>',
                      f'<text class="quiet middle" x="{x:.2f}" y="{bottom + 12}">{value}</text>']
    return [*lines, f'<text class="quiet end" x="{WIDTH - 12}" y="{bottom + 12}">bytes</text>']


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
