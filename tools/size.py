"""Counts the bytes of the golfed engines, and compares them with their budgets, or with what they were.

Counted is every byte of the program that is neither tensor nor vocabulary: headers, code, constants, alignment and
padding. Budgets are for the shapes and the compilers of golf/engines.json. The weights do not matter, so random
checkpoints of those shapes are built, once for all tools that count, in build/shapes; --model counts for a model of yours
instead.

Exit status 1: an engine is over its budget, or, with --fail-on-growth, larger than before. A compiler that has no
budget is shown the nearest one's, which does not bind.

examples:
  tools/llama512 size
  tools/llama512 size --features                          what line breaks, COM1, bf16 … cost
  tools/llama512 size -o sizes.csv                        raw numbers, to compare with later
  tools/llama512 size -d sizes.csv                        before, after, difference
  tools/llama512 size --diff HEAD~1 --fail-on-growth      against a commit, which is built in a temporary worktree
  tools/llama512 size --diff main                         against the commit where this line of history left main
  tools/llama512 size --json                              or --markdown, --csv
  tools/llama512 size --badge --engine asm-boot -o badge.json      for a shields.io endpoint
  tools/llama512 size --benchmark -o sizes.json           for github-action-benchmark, customSmallerIsBetter
  tools/llama512 size --bloaty                            header, code, data, model: as bloaty --csv prints sections
  tools/llama512 size --model my.bin --engine cpp-linux-i386
"""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Sequence

from common.errors import UserError, atomic_write, run_tool
from common.files import protect
from common.model.models import Model, find_model
from common.size import compare, exchange, git, measure, prices, states
from common.size.compare import Difference
from common.size.measure import Size
from common.terminal import add_engines_option, add_model_options, argument_parser, markdown_table, paint, table


def parser() -> ArgumentParser:
    parser = argument_parser(__doc__)
    add_engines_option(parser)
    add_model_options(parser, "count for this model (default: the budgets' shapes)")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE",
                        help="write to a file instead: the form chosen below, or else the raw numbers as CSV")
    against = parser.add_mutually_exclusive_group()
    against.add_argument("-d", "--diff-file", type=Path, metavar="OLD.csv", help="compare with a file that -o wrote")
    against.add_argument("--diff", metavar="REV", help="compare with a commit; of a branch, with the merge base")
    against.add_argument("--features", action="store_true", help="the price of each feature: built with and without it")
    parser.add_argument("--fail-on-growth", action="store_true", help="with -d or --diff: exit 1 when an engine grew")
    form = parser.add_mutually_exclusive_group()
    for name, text in (("json", "a list of objects: engine, model, bytes, budget, …"),
                       ("markdown", "a Markdown table"),
                       ("csv", "raw numbers, one line per engine"),
                       ("benchmark", "JSON for github-action-benchmark (customSmallerIsBetter)"),
                       ("badge", "JSON for a shields.io endpoint; of one engine"),
                       ("bloaty", "sections as `bloaty --csv -d inputfiles,sections` prints them")):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, help=text)
    return parser


def main() -> int:
    options = command_line(parser())
    model = find_model(options.model, options.tokenizer) if options.model else None
    protect([options.output], [options.diff_file, *([model.checkpoint, model.tokenizer] if model else [])])
    if options.features:
        write(options, [asdict(price) | {"price": price.price} for price in prices.price_list(options.engine, model)],
              ["engine", "feature", "with it", "without it", "price"])
        return 0
    before = old_sizes(options, model) if is_comparison(options) else None
    rows = measure.sizes(options.engine, model)
    over = any(row.over_budget for row in rows)
    if before is None:
        report(options, rows)
        return 1 if over else 0
    differences = compare.compare(before, [(row.engine, row.model, row.bytes) for row in rows])
    if options.fail_on_growth and all(each.delta is None for each in differences):
        raise UserError(f"{options.diff_file or options.diff}: it has none of these engines for the model "
                        f"{rows[0].model}, so growth cannot be told; compare with something that has")
    show_differences(options, differences)
    return 1 if over or options.fail_on_growth and any(each.grew for each in differences) else 0


def is_comparison(options: Namespace) -> bool:
    return options.diff_file is not None or options.diff is not None


def command_line(parser: ArgumentParser) -> Namespace:
    """Its options; combinations that mean nothing are refused."""
    options = parser.parse_args()
    comparing = is_comparison(options)
    if options.fail_on_growth and not comparing:
        parser.error("--fail-on-growth: growth since when? Give -d OLD.csv or --diff REV")
    if (comparing or options.features) and options.form in ("benchmark", "badge", "bloaty", "csv"):
        parser.error(f"--{options.form} is a form of the sizes themselves; use --json or --markdown here")
    if (comparing or options.features) and options.output and not options.form:
        parser.error("-o: with a comparison or --features, say which form: --json or --markdown")
    if options.form == "badge" and len(options.engine or []) != 1:
        parser.error("--badge is for one engine: give --engine NAME once")
    if options.tokenizer and not options.model:
        parser.error("--tokenizer belongs to a --model")
    return options


# --- What there was ----------------------------------------------------------------------------------------------

def old_sizes(options: Namespace, model: Model | None) -> list[tuple[str, str, int]]:
    """(engine, model, bytes) of the file or the commit to compare with."""
    if options.diff_file is not None:
        before = exchange.from_csv(options.diff_file)
    else:
        branch = git.is_branch(options.diff)
        commit = git.merge_base(options.diff) if branch else git.resolve(options.diff)
        arguments = []
        if model:
            arguments = ["--model", str(model.checkpoint.resolve()), "--tokenizer", str(model.tokenizer.resolve())]
        before = [(row["engine"], row["model"], row["bytes"]) for row in states.measure(commit, *arguments)]
    return [row for row in before if row[0] in options.engine] if options.engine else before


# --- What is printed ---------------------------------------------------------------------------------------------

def report(options: Namespace, rows: Sequence[Size]) -> None:
    form = options.form or ("csv" if options.output else None)
    text = {"csv": exchange.to_csv, "benchmark": exchange.to_benchmark, "bloaty": exchange.to_bloaty,
            "badge": lambda rows: exchange.to_badge(rows[0]),
            "json": lambda rows: json.dumps([as_object(row) for row in rows], indent=1)}.get(form)
    if text:
        put(options, text(rows))
        return
    # "binding" is said in words by the last column.
    columns = ["engine", "model", "bytes", "budget", "headroom", "header", "code", "data", "packed", "compiler"]
    show = markdown_table if form == "markdown" else table
    put(options, show([[*(getattr(row, name) for name in columns), remark(row)] for row in rows],
                      [*("model bytes" if name == "packed" else name for name in columns), ""]))


def as_object(row: Size) -> dict[str, object]:
    """What --json prints of an engine."""
    return asdict(row) | {"ok": not row.over_budget}


def remark(row: Size) -> str:
    if not row.binding:
        return "budget does not bind: another shape or compiler"
    return paint("over budget", "red") if row.over_budget else "ok"


def show_differences(options: Namespace, differences: Sequence[Difference]) -> None:
    colours = {"▲": "red", "▼": "green"}
    rows = [{"engine": each.engine, "model": each.model, "before": each.before, "after": each.after,
             "delta": each.delta, "mark": each.mark} for each in differences]
    if options.form is None:
        for row in rows:
            mark = str(row["mark"])
            row["delta"] = compare.signed(row["delta"])  # type: ignore[arg-type]
            row["mark"] = paint(mark, colours[mark[0]]) if mark[0] in colours else mark
    write(options, rows, ["engine", "model", "before", "after", "Δ", ""])


def write(options: Namespace, rows: Sequence[dict[str, object]], headers: Sequence[str]) -> None:
    """Objects in the chosen form: a table, Markdown or JSON."""
    if options.form == "json":
        put(options, json.dumps(rows, indent=1))
    else:
        show = markdown_table if options.form == "markdown" else table
        put(options, show([list(row.values()) for row in rows], headers))


def put(options: Namespace, text: str) -> None:
    text = text.rstrip("\n") + "\n"
    if options.output is None:
        print(text, end="")
        return
    with atomic_write(options.output, "w") as file:
        file.write(text)


if __name__ == "__main__":
    run_tool(main)
