"""Builds golfed engines for a model: packs it, compiles and links each engine, and prints the counted bytes.

The programs are DIR/ENGINE, each complete with its model; what they were made from is in DIR/ENGINE.build.
CMake calls this tool for every engine of golf/engines.json that --list names.

examples:
  tools/llama512 build -o /tmp/engines                                    all engines, the default model
  tools/llama512 build --engine cpp-linux-i386 --model my.bin -o /tmp/engines && /tmp/engines/cpp-linux-i386
  tools/llama512 build --engine asm-linux-i386 --temperature 0.8 --seed clock -o /tmp/story   another story each time
  tools/llama512 build --features                                         what fits together into a boot sector
  tools/llama512 build --engine asm-boot-full --prompt "The sea" -o /tmp/story   a disk image that begins so
"""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from common.engine import builds, prompt, sampling, together
from common.engine.engines import Engine
from common.errors import run_tool
from common.machine import here
from common.model.models import Model, find_model
from common.pack.encodings import ENCODINGS
from common.terminal import add_engines_option, add_model_options, argument_parser, table


def main() -> None:
    parser = argument_parser(__doc__)
    add_engines_option(parser)
    add_model_options(parser)
    parser.add_argument("--encoding", choices=ENCODINGS, help="of the weights (default: each engine's first)")
    parser.add_argument("--prompt", metavar="TEXT", help="what the story begins with; without --engine, build those that take one")
    sampling.add_options(parser, "without --engine, build those that can")
    parser.add_argument("--without", action="append", metavar="FEATURE", default=[],
                        help="leave this feature of the --engine out; may be repeated")
    parser.add_argument("--with", action="append", metavar="FEATURE", default=[], dest="requested",
                        help="give the --engine this feature, which it has only where it is asked for it; may be repeated")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-o", "--output", type=Path, metavar="DIR", help="the folder to write to")
    where.add_argument("--list", action="store_true", help="write nothing; name the engines that this machine has the tools for")
    where.add_argument("--features", choices=("largest", "all"), nargs="?", const="largest",
                       help="write nothing; print which features fit together into the sector with this model: the sets to "
                            "which none can be added, or all")
    options = parser.parse_args()

    if options.list:
        print("\n".join(engine.name for engine in here.choose(options.engine, to_run=False)))
        return
    for option, given in (("--without", options.without), ("--with", options.requested)):
        if given and not options.engine:
            parser.error(f"{option}: say which --engine it is for")
    drawn = sampling.chosen(parser, options)
    model = find_model(options.model, options.tokenizer)
    chosen = here.choose(options.engine, to_run=False)
    if options.features:
        if options.prompt is not None or options.without or options.requested or drawn:
            parser.error("--features: it tries all of them, and goes without --prompt, --with, --without and --temperature")
        for engine in chosen if options.engine else [engine for engine in chosen if engine.features]:
            print_features(engine, model, options)
        return
    if options.prompt is not None and not options.engine:
        chosen = [engine for engine in chosen if engine.prompts]
    if drawn:
        chosen = [engine.sampled(drawn) for engine in chosen if engine.draws(drawn) or options.engine]
    for engine in (engine.without(options.without).with_requested(options.requested) for engine in chosen):
        if options.prompt is None:
            built = builds.build(engine, model, options.output, options.encoding)
        else:
            built = prompt.build(engine, model, options.output, options.prompt, options.encoding)
        if not built.searched:
            print(f"{engine.name}: no searched flags for {built.compiler}, built with {' '.join(built.flags)}; "
                  f"`llama512 flagsearch {engine.name}` finds smaller ones", file=sys.stderr)
        features = ", ".join(built.engine.features)
        print(f"{built.program}: {built.counted} counted bytes + {built.packed:,} bytes of model"
              + (f"; {features}" if features else ""))


def print_features(engine: Engine, model: Model, options: Namespace) -> None:
    """The table of what fits together."""
    encoding = options.encoding or engine.encodings[0]
    sets = together.fitting_sets(engine, model, encoding)
    shown = together.largest(sets) if options.features == "largest" else sets
    names = together.known(engine)
    rows = [[each.counted, *("x" if name in each.features else None for name in names)] for each in shown]
    print(f"{engine.name}, {model.name}, {encoding}: {len(sets)} sets of features fit into the sector"
          + (f"; these are the {len(shown)} to which none can be added" if options.features == "largest" else ""))
    print(table(rows, ["bytes", *names], "r" + "l" * len(names)))


if __name__ == "__main__":
    run_tool(main)
