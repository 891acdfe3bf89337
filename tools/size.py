"""Counts the bytes of the golfed engines, and compares them with their budgets.

Counted is every byte of the program that is neither tensor nor vocabulary: ELF header, code, constants, alignment and
padding. Budgets are for the shape of golf/engines.json and the compiler named there. The weights do not matter, so a
random checkpoint of that shape is built; --model counts for a model of yours instead.

Exit status 1: an engine is over its budget (with the budget's compiler; with another one that is only reported).

examples:
  tools/llama512 size
  tools/llama512 size --json
  tools/llama512 size --features                          what line breaks, COM1 … cost in asm-boot-full
  tools/llama512 size --report size_report.md             what is committed; a test fails when it is stale
  tools/llama512 size --model my.bin --engine cpp-linux-i386
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

from common import builds, engines, random_model
from common.builds import CONSTANTS, Built
from common.errors import atomic_write, run_tool
from common.models import Model, find_model
from common.terminal import argument_parser, markdown_table, paint, table


def budget_model(folder: Path) -> Model:
    """A random checkpoint of the shape that budgets are for."""
    shape = engines.budget_shape()
    return random_model.write(folder, shape.name, random_model.weights(shape.config, seed=512), shape.longest_piece)


PEERS = {"sectorllm": 1189, "its smallest fork": 1076}  # counted bytes of the programs that the idea came from


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("--engine", action="append", metavar="NAME", help="an engine; may be repeated (default: all)")
    parser.add_argument("-m", "--model", metavar="NAME|PATH", help="count for this model (default: the budgets' shape)")
    parser.add_argument("--tokenizer", metavar="PATH", help="its tokenizer (default: beside the model)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a list of objects: engine, model, bytes, budget, …")
    form.add_argument("--markdown", action="store_true", help="a Markdown table")
    form.add_argument("--features", action="store_true", help="the price of each feature: built with and without it")
    form.add_argument("--report", type=Path, metavar="FILE", help="write the size report for the budgets' shape")
    options = parser.parse_args()
    if options.report and (options.model or options.engine):
        parser.error("--report is for all engines and the budgets' shape, without --model and --engine")

    if options.features:
        return print_features(options.engine, options.model, options.tokenizer)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = find_model(options.model, options.tokenizer) if options.model else budget_model(folder)
        results = [builds.build(engine, model, folder / "engines") for engine in engines.select(options.engine)]
    if options.report:
        with atomic_write(options.report, "w") as file:
            file.write(report(results))
    elif options.json:
        print(json.dumps([row(built, options.model is None) for built in results], indent=1))
    else:
        show = markdown_table if options.markdown else table
        print(show([[built.engine.name, built.model, built.counted, built.engine.budget,
                     built.engine.budget - built.counted, built.packed, built.compiler, remark(built)]
                    for built in results],
                   ["engine", "model", "bytes", "budget", "headroom", "model bytes", "compiler", ""]))
    return 1 if options.model is None and any(over_budget(built) for built in results) else 0


def print_features(names: list[str] | None, name: str | None, tokenizer: str | None) -> int:
    """For each feature of each engine: its bytes, measured by leaving it out."""
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        model = find_model(name, tokenizer) if name else budget_model(folder)
        for engine in (engine for engine in engines.select(names) if engine.features):
            full = builds.build(engine, model, folder / "full").counted
            for feature in engine.features:
                rest = tuple(other for other in engine.features if other != feature)
                without = builds.build(replace(engine, features=rest), model, folder / feature).counted
                rows.append([engine.name, feature, full, without, full - without])
    print(table(rows, ["engine", "feature", "with all", "without it", "price"], "llrrr"))
    return 0


def report(results: list[Built]) -> str:
    """size_report.md."""
    shape = engines.budget_shape()
    rows = [[f"`{built.engine.name}`", built.counted, built.engine.budget, built.packed,
             *(f"{100 * built.counted / size:.0f} %" for size in PEERS.values()), built.compiler] for built in results]
    headers = ["engine", "counted bytes", "budget", "model bytes",
               *(f"of {name} ({size})" for name, size in PEERS.items()), "compiler"]
    return ("<!-- Generated by `tools/llama512 size --report size_report.md`: do not edit. -->\n\n# Size report\n\n"
            f"For the shape of {shape.name}: {', '.join(f'{name} {getattr(shape.config, name)}' for name in CONSTANTS)}."
            "\nCounted is every byte of the program that is neither tensor nor vocabulary.\n\n"
            f"{markdown_table(rows, headers)}\n")


def row(built: Built, shape_only: bool) -> dict[str, object]:
    """What --json prints of an engine. Only the budgets' shape is held to the budget."""
    return {"engine": built.engine.name, "model": built.model, "bytes": built.counted, "budget": built.engine.budget,
            "packed": built.packed, "compiler": built.compiler, "searched_flags": built.searched,
            "binding": shape_only and binding(built), "ok": not (shape_only and over_budget(built))}


def binding(built: Built) -> bool:
    """A budget binds only with the compiler that it was measured with."""
    return built.compiler == built.engine.budget_compiler


def over_budget(built: Built) -> bool:
    return binding(built) and built.counted > built.engine.budget


def remark(built: Built) -> str:
    if not binding(built):
        return f"budget is for {built.engine.budget_compiler}: not binding"
    return paint("over budget", "red") if over_budget(built) else "ok"


if __name__ == "__main__":
    run_tool(main)
