"""The page that shows the engines byte by byte: one HTML file that needs nothing else, and no network.

    from common.picture.page import page
    html = page("stories260K", {"asm-boot": explain(built)})        # engine -> units

The page is made from tools/page/page.html, page.css and page.js, and gets the units, the operations and the
reference's functions as JSON. Its policy (CSP) allows the style and the script of the page by their hashes, and
nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import asdict, fields
from typing import Mapping, Sequence
from urllib.parse import quote

from common.anatomy.marks import Place
from common.anatomy.operations import OPERATIONS
from common.anatomy.reference_source import find_function
from common.anatomy.units import Unit
from common.picture.style import DARK, LIGHT, TILE, Style, styles
from common.project import ROOT

FILES = ROOT / "tools" / "page"


def page(model: str, anatomies: Mapping[str, Sequence[Unit]]) -> str:
    """The page's text, for engines that were built for `model`."""
    style = colours() + (FILES / "page.css").read_text("utf-8")
    script = (FILES / "page.js").read_text("utf-8")
    policy = (f"default-src 'none'; style-src '{digest(style)}'; script-src '{digest(script)}'; img-src data:; "
              "base-uri 'none'; form-action 'none'")
    parts = {"policy": policy, "style": style, "script": script, "model": html.escape(model),
             "data": embedded_json(data(anatomies)), "table": summary(anatomies)}
    template = (FILES / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def digest(text: str) -> str:
    """What the policy calls an inline style or script by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def embedded_json(value: object) -> str:
    """JSON that cannot end the script element that it stands in."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def data(anatomies: Mapping[str, Sequence[Unit]]) -> dict[str, object]:
    """What the script knows. A place is listed once, and units name it by its number."""
    places: dict[Place, int] = {}
    listed = [{"name": engine, "units": [
        {"offset": unit.offset, "bytes": unit.data.hex(), "operation": unit.operation, "kind": unit.kind,
         "instruction": unit.instruction,
         "places": [places.setdefault(place, len(places)) for place in unit.places]} for unit in units]}
        for engine, units in anatomies.items()]
    described = {name: {"title": operation.title, "code": styles()[name].code,
                        "reference": [asdict(find_function(entry)) for entry in operation.reference]}
                 for name, operation in OPERATIONS.items()}
    return {"operations": described, "places": [vars(place) for place in places], "engines": listed}


def colours() -> str:
    """The themes and the operations' looks, as CSS."""
    def variables(dark: bool) -> str:
        theme = DARK if dark else LIGHT
        return "".join([f"--{field.name}:{getattr(theme, field.name)};" for field in fields(theme)]
                       + [f"--{name}:{look.dark if dark else look.light};"
                          f"--{name}-mark:{look.dark_mark if dark else look.light_mark};"
                          for name, look in styles().items()])
    looks = "".join(f".op-{name}{{--look:var(--{name});--mark:var(--{name}-mark);--pattern:{tile(look)}}}\n"
                    for name, look in styles().items())
    return (f":root{{{variables(False)}}}\n"
            f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(True)}}}}}\n{looks}")


def tile(look: Style) -> str:
    """A pattern's tile, for a CSS mask."""
    image = f'<svg xmlns="http://www.w3.org/2000/svg" width="{TILE}" height="{TILE}"><path d="{look.pattern}"/></svg>'
    return f'url("data:image/svg+xml,{quote(image)}")'


def summary(anatomies: Mapping[str, Sequence[Unit]]) -> str:
    """The table engine x operation: what is there without the script, too."""
    head = "".join(f'<th scope="col" data-operation="{name}"><abbr class="swatch op-{name}" '
                   f'title="{html.escape(operation.title)}">{styles()[name].code}</abbr></th>'
                   for name, operation in OPERATIONS.items())

    def row(engine: str, units: Sequence[Unit]) -> str:
        sizes = (sum(len(unit.data) for unit in units if unit.operation == name) for name in OPERATIONS)
        cells = "".join(f"<td>{size}</td>" for size in (sum(len(unit.data) for unit in units), *sizes))
        return f'<tr><th scope="row">{html.escape(engine)}</th>{cells}</tr>\n'
    rows = "".join(row(engine, units) for engine, units in anatomies.items())
    return (f'<table><thead><tr><th scope="col">engine</th><th scope="col">bytes</th>{head}</tr></thead>\n'
            f"<tbody>\n{rows}</tbody></table>")
