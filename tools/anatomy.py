"""Explains every counted byte of the golfed engines: which operation of the transformer it serves.

For NASM the bytes are read from the listing, for C++ from the debug information of the same link (which needs the
packages python3-pyelftools and python3-capstone); so the sum of the operations is the number of counted bytes, exactly.
Without --model the engines are built for the budgets' shape, as by `llama512 size`.

--html writes one page that needs no network: each byte is a cell, and shows its instruction, its source line with
the comment, and the function of the reference that it corresponds to.

Exit status 1: an engine cannot be built, or a byte cannot be explained.

examples:
  tools/llama512 anatomy
  tools/llama512 anatomy --html anatomy.html --svg anatomy.svg
  tools/llama512 anatomy --units --engine asm-boot        one engine, instruction by instruction
  tools/llama512 anatomy --markdown --engine asm-linux-i386 --engine cpp-linux-i386
  tools/llama512 anatomy --json --model my.bin
"""

from __future__ import annotations

import json
from pathlib import Path

from common.anatomy.explain import bytes_by, explain
from common.anatomy.operations import OPERATIONS
from common.anatomy.units import Unit
from common.errors import atomic_write, run_tool
from common.files import protect
from common.model.models import find_model
from common.picture import groups, operations_table
from common.picture.bars import bars_svg
from common.picture.page import page
from common.size import measure
from common.terminal import add_engines_option, add_model_options, argument_parser, markdown_table, table


def main() -> int:
    parser = argument_parser(__doc__)
    add_engines_option(parser)
    add_model_options(parser, "build for this model (default: the budgets' shape)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of objects: engine, counted, operations, units")
    form.add_argument("--markdown", action="store_true", help="a Markdown table")
    form.add_argument("--units", action="store_true", help="one engine, unit by unit: bytes, instruction, source line")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write a picture: one bar per engine")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page: one cell per byte")
    options = parser.parse_args()
    if options.units and len(options.engine or []) != 1:
        parser.error("--units is for one engine: add --engine NAME")
    if options.tokenizer and not options.model:
        parser.error("--tokenizer is for --model")

    model = find_model(options.model, options.tokenizer) if options.model else None
    if model:
        protect([options.svg, options.html], [model.checkpoint, model.tokenizer])
    with measure.built_engines(options.engine, model) as results:
        anatomies = {built.engine.name: explain(built) for built in results}
        name = results[0].model
    columns = {engine: bytes_by(units, "operation") for engine, units in anatomies.items()}
    if options.svg:
        with atomic_write(options.svg, "w") as file:
            file.write(bars_svg(columns, groups.targets()))
    if options.html:
        with atomic_write(options.html, "w") as file:
            file.write(page(name, anatomies))
    if options.json:
        print(json.dumps([to_json(engine, units) for engine, units in anatomies.items()], indent=1))
    elif options.units:
        print(listing(anatomies[options.engine[0]]))
    elif options.markdown or not (options.svg or options.html):
        print(summary(columns, options.markdown))
    return 0


def summary(columns: dict[str, dict[str, int]], markdown: bool) -> str:
    """Bytes by engine and operation, with the sums; of a single engine the shares as well."""
    if len(columns) > 1:
        return operations_table.text(columns, markdown)
    (engine, parts), = columns.items()
    total = sum(parts.values())
    rows = [[operation.title, parts[name]] for name, operation in OPERATIONS.items()] + [["counted bytes", total]]
    return (markdown_table if markdown else table)([[title, size, f"{100 * size / total:.1f}%"] for title, size in rows],
                                                   ["operation", engine, "share"])


def listing(units: list[Unit]) -> str:
    """One line per unit."""
    return table([[f"{unit.offset:#05x}", unit.data.hex(" "), unit.operation, unit.instruction, where(unit)]
                  for unit in units], ["offset", "bytes", "operation", "instruction", "source"], "lllll")


def where(unit: Unit) -> str:
    """The source line that the unit comes from, and the line in the main source that brought it there."""
    ends = unit.places[:1] + unit.places[1:][-1:]
    return " < ".join(f"{place.file}:{place.line}" for place in ends)


def to_json(engine: str, units: list[Unit]) -> dict[str, object]:
    """What --json prints of an engine."""
    return {"engine": engine, "counted": sum(len(unit.data) for unit in units),
            "operations": bytes_by(units, "operation"),
            "units": [{"offset": unit.offset, "bytes": unit.data.hex(), "operation": unit.operation,
                       "kind": unit.kind, "instruction": unit.instruction,
                       "places": [vars(place) for place in unit.places]} for unit in units]}


if __name__ == "__main__":
    run_tool(main)
