"""Compiles one program for every instruction set, and says how dense they are.

The program is cpp-plain, the readable engine (golf/cpp/plain.cpp), made small by nothing but -Os or -Oz, by g++ and by clang.
For each: the counted bytes (header, constants, code), the number of instructions and their average size, matmul's inner
loop (instructions / bytes), what comes from libgcc, and whether the program really said what the reference says, token for
token, under qemu-user. golf/DENSITY.md explains the result.

A target whose compiler or emulator is not on this machine is named as missing. Exit status 1: a program could not be made, or
said something else.

examples:
  tools/llama512 density                                     all that this machine has compilers for
  tools/llama512 density --list-missing                      what apt-get would have to install for the rest
  tools/llama512 density --target NAME --compiler gcc        a folder of golf/targets
  tools/llama512 density --csv -o density.csv                or --json, --markdown
  tools/llama512 density --svg density.svg                   the picture as well
  tools/llama512 density --write                             the committed result: golf/sizes/density.*, golf/DENSITY.md
"""

from __future__ import annotations

import json
import shutil
import sys
from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path
from typing import Sequence

from common import blocks
from common.density import report, study
from common.density.study import Row
from common.engine.targets import Target
from common.errors import UserError, atomic_write, run_tool
from common.files import protect
from common.model.models import find_model
from common.project import ROOT
from common.terminal import Progress, add_model_options, argument_parser

CSV, PICTURE, PAGE = ROOT / "golf/sizes/density.csv", ROOT / "golf/sizes/density.svg", ROOT / "golf/DENSITY.md"
BLOCK = "density"


def parser() -> ArgumentParser:
    parser = argument_parser(__doc__)
    parser.add_argument("--target", action="append", metavar="NAME", help="a folder of golf/targets; may be repeated (default: all)")
    parser.add_argument("--compiler", choices=["gcc", "clang"], help="only this one (default: both)")
    add_model_options(parser)
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to a file instead")
    form = parser.add_mutually_exclusive_group()
    for name, text in (("json", "a list of objects"), ("csv", "raw numbers, a line for each program"),
                       ("markdown", "a Markdown table, a line for each instruction set"),
                       ("list-missing", "run nothing; print the command that installs what is missing")):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, help=text)
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the picture to a file, too")
    parser.add_argument("--write", action="store_true", help="write the committed result; of all targets, for the project's own model")
    return parser


def main() -> int:
    options = parser().parse_args()
    if options.write and (options.target or options.compiler or options.model):
        raise UserError("--write: the committed result is of all targets, both compilers and the project's own model; leave "
                        "--target, --compiler and --model away")
    model = find_model(options.model, options.tokenizer)
    protect([options.output, options.svg], [model.checkpoint, model.tokenizer])
    programs = study.programs(options.target, options.compiler)
    if options.form == "list-missing":
        print(installation([program for program in programs if program.compiler.missing(program.target)]) or "nothing is missing")
        return 0
    with Progress("density", total=len(programs)) as progress:
        rows = study.study(model, programs, lambda row: progress.add(1, f"{row.code_name} {row.compiler} {row.level}"))
    show(options, rows)
    if options.svg:
        write(options.svg, report.picture_of(rows))
    wrong = [row for row in rows if not row.right and not row.missing]
    for row in wrong:
        print(f"{row.code_name}, {row.compiler} {row.level}: {row.text}", file=sys.stderr)
    install = installation([program for program, row in zip(programs, rows) if row.missing])
    if install:
        print(f"missing compilers or emulators: {install}", file=sys.stderr)
    if options.write and not wrong:
        write_result(rows)
    return 1 if wrong else 0


def show(options: Namespace, rows: Sequence[Row]) -> None:
    text = {"csv": report.csv_of, "markdown": report.markdown_of,
            "json": lambda rows: json.dumps([asdict(row) | {"right": row.right} for row in rows], indent=1)}.get(
                options.form, report.table_of)(rows).rstrip("\n") + "\n"
    if options.output is None:
        print(text, end="")
    else:
        write(options.output, text)


def write_result(rows: Sequence[Row]) -> None:
    """What is committed: the raw numbers, the picture, and the page's table."""
    write(CSV, report.csv_of(rows))
    write(PICTURE, report.picture_of(rows))
    write(PAGE, blocks.replaced(PAGE.read_text("utf-8"), BLOCK, report.page_block(rows), PAGE.name))


def write(path: Path, text: str) -> None:
    with atomic_write(path, "w") as file:
        file.write(text)


def installation(lacking: Sequence[study.Program]) -> str:
    """The command that installs what these programs need, as the targets' lists of packages have it."""
    packages = {package: None for program in lacking for package, command in packages_of(program.target)
                if shutil.which(command) is None}
    return f"apt-get install {' '.join(packages)}" if packages else ""


def packages_of(target: Target) -> list[list[str]]:
    """[package, command] of each line of its list."""
    lines = (target.folder / "packages.txt").read_text("utf-8").splitlines()
    return [line.split()[:2] for line in lines if line and not line.startswith("#")]


if __name__ == "__main__":
    run_tool(main)
