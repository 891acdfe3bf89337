"""Measures how fast the reference is: plain, fast, rounded, with threads, in batches, beside llama2.c and the golfed engines.

The programs take turns, round by round, on models of standard shapes, which are made once (random weights, in build/bench) and kept.
Each program with one thread stays on one core, where the kernel allows it. What is printed: the middle of all rounds and the spread,
ratios of runs in the same round, bytes of weights read per second and their share of what the memory gives, what a token costs by the
size of the model and by its position, and a table of figures that are to be reached. Ctrl-C prints what there is until then.

Golfed engines are those that this kernel runs itself, with the models fables and 260K (stories260K), if it is here. llama2.c takes part
where --llama2c names its folder: run.c and runq.c are built with -Ofast -march=native. What llama-bench of llama.cpp printed can stand
in the same table (--llama-cpp); it is marked as not from this run.

An idle machine is needed: the notes say when it was not.

examples:
  tools/llama512 bench --quick                            a few minutes: what it looks like
  tools/llama512 bench --llama2c ~/llama2.c               everything: a quarter of an hour
  tools/llama512 bench --shape 15M --only fast --only 'int*' --rounds 3
  tools/llama512 bench --json > mine.json                 every run; `--from mine.json` shows it again
  tools/llama512 bench --svg bench.svg --llama-cpp llama-bench.json
  tools/llama512 bench --llama2c ~/llama2.c --record      the committed result: reference/bench/
  tools/llama512 bench --from reference/bench/results.json --readme
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from common import blocks
from common.bench import golfed, llama2c, llama_cpp, machine, reference, report, shapes, study
from common.bench.contenders import Contender
from common.bench.results import Results
from common.errors import atomic_write, run_tool
from common.files import protect, require_file
from common.match import matching
from common.project import ROOT
from common.terminal import Progress, argument_parser, table

BLOCK = "bench"  # of README.md
RECORD, PICTURE = ROOT / "reference/bench/results.json", ROOT / "reference/bench/results.svg"
BUILD = ROOT / "build" / "bench"
ROUNDS, QUICK_ROUNDS = 7, 3
BUSY = 0.5  # other programs that want to run, on the average: more disturb


def parser() -> ArgumentParser:
    parser = argument_parser(__doc__)
    parser.add_argument("--shape", action="append", metavar="NAME", help=f"{', '.join(shape.name for shape in shapes.SHAPES)}; may be "
                        "repeated (default: all)")
    parser.add_argument("--only", action="append", metavar="NAME", help="a contender, or some (int8*); may be repeated (default: all)")
    parser.add_argument("--list", action="store_true", help="run nothing; print the contenders and the shapes")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"that everyone runs (default: {ROUNDS}, with --quick {QUICK_ROUNDS})")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, shorter stories, no growth by position")
    parser.add_argument("--steps", type=int, metavar="N", help="positions of a story (default: the shape's own); no growth by position")
    parser.add_argument("--reference", type=Path, metavar="FILE", help="the program (default: $LLAMA512_REFERENCE, or that of "
                        "build/default)")
    parser.add_argument("--llama2c", type=Path, metavar="DIR", help="llama2.c's folder, with run.c and runq.c or programs run and runq")
    parser.add_argument("--llama-cpp", action="append", type=Path, default=[], metavar="FILE", help="what llama-bench printed: json, "
                        "jsonl, csv or md; may be repeated")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing; show what --json wrote")
    parser.add_argument("--json", action="store_true", help="every run, instead of the tables")
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the picture to a file, too")
    parser.add_argument("--record", action="store_true", help="write the committed result, reference/bench/; of everything")
    parser.add_argument("--readme", action="store_true", help="write the block of README.md; of everything")
    return parser


def main() -> int:
    arguments = parser()
    options = arguments.parse_args()
    for name, value in (("rounds", options.rounds), ("steps", options.steps)):
        if value is not None and value < (2 if name == "steps" else 1):
            arguments.error(f"--{name} {value}: at least {2 if name == 'steps' else 1} is needed")
    if options.source and (options.shape or options.only or options.rounds or options.quick or options.steps or options.llama2c):
        arguments.error("--from: nothing is measured; leave the options of a measurement away")
    if (options.record or options.readme) and (options.shape or options.only or options.quick or options.steps):
        arguments.error("--record and --readme are of everything; leave --shape, --only, --quick and --steps away")
    if (options.record or options.readme) and not (options.llama2c or options.source):
        arguments.error("--record and --readme are of everything, llama2.c too; give its folder: --llama2c DIR")
    if options.list:
        listing(options)
        return 0
    protect([options.svg], [options.source, *options.llama_cpp])
    others = [other for path in options.llama_cpp for other in llama_cpp.read(path)]
    results = Results.read(options.source) if options.source else measure(options)
    results.others += others
    print(results.text() if options.json else report.text(results) + "\n", end="")
    if options.svg:
        write(options.svg, report.picture(results))
    if results.interrupted and not options.source:
        sys.stdout.flush()
        raise KeyboardInterrupt
    record(options, results)
    return 0


def program_of(options: Namespace) -> Path:
    """The reference's."""
    if options.reference is None:
        return matching.reference_program()
    require_file(options.reference, "give the reference's program: --reference FILE")
    return options.reference.resolve()


def contenders(options: Namespace, program: Path) -> list[Contender]:
    """All that can take part here."""
    found: list[Contender] = [*reference.contenders(program, machine.cores())]
    if options.llama2c:
        found += llama2c.contenders(options.llama2c, BUILD)
    return [*found, *golfed.contenders()]


def chosen_shapes(options: Namespace) -> list[shapes.Shape]:
    named = [shapes.named(name) for name in options.shape or []]
    return [shape for shape in shapes.SHAPES if not named or shape in named]


def listing(options: Namespace) -> None:
    """For --only and --shape."""
    print(table([[each.name, each.label, each.weights, each.threads] for each in study.select(contenders(options, Path()), options.only)],
                ["contender", "", "weights", "threads"], "lllr"))
    print()
    print(table([[shape.name, shape.steps, shape.quick] for shape in chosen_shapes(options)], ["shape", "positions", "with --quick"],
                "lrr"))


def measure(options: Namespace) -> Results:
    program = program_of(options)
    everyone = study.select(contenders(options, program), options.only)
    plan = study.Plan(program, everyone, chosen_shapes(options), BUILD,
                      options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS), options.quick, options.steps)
    if machine.busy() > BUSY:
        print(f"llama512 bench: {machine.busy():.1f} programs have wanted to run in the last minute: on a busy machine figures are too "
              "low, and ratios of several threads as well", file=sys.stderr)
    with Progress("bench", unit="runs") as progress:
        def say(what: str, done: int, total: int) -> None:
            progress.total = total or None
            progress.update(done, what)
        results = study.measure(plan, say)
        progress.update(len(results.samples), "")
    return results


def record(options: Namespace, results: Results) -> None:
    """What is committed."""
    if options.record:
        write(RECORD, results.text())
        write(PICTURE, report.picture(results))
    if options.readme:
        path = ROOT / blocks.README
        write(path, blocks.replaced(path.read_text("utf-8"), BLOCK, report.readme(results)))


def write(path: Path, text: str) -> None:
    with atomic_write(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    run_tool(main)
