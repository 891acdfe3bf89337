"""Builds golfed engines for a model: packs it, compiles and links each engine, and prints the counted bytes.

The programs are DIR/ENGINE, each complete with its model; what they were made from is in DIR/ENGINE.build.
CMake calls this tool for every engine of golf/engines.json that --list names.

examples:
  tools/llama512 build -o /tmp/engines                                    all engines, the default model
  tools/llama512 build --engine cpp-linux-i386 --model my.bin -o /tmp/engines && /tmp/engines/cpp-linux-i386
  tools/llama512 build --engine asm-linux-i386 --temperature 0.8 --seed clock -o /tmp/story   another story each time
  tools/llama512 build --engine asm-boot-full --prompt "The sea" -o /tmp/story   a disk image that begins so
"""

from __future__ import annotations

import sys
from argparse import ArgumentTypeError
from pathlib import Path

from common.engine import builds, prompt
from common.errors import run_tool
from common.machine import here
from common.model.models import find_model
from common.pack.encodings import ENCODINGS
from common.pack.race import Sampling
from common.terminal import add_engines_option, add_model_options, argument_parser


CLOCK = "clock"


def main() -> None:
    parser = argument_parser(__doc__)
    add_engines_option(parser)
    add_model_options(parser)
    parser.add_argument("--encoding", choices=ENCODINGS, help="of the weights (default: each engine's first)")
    parser.add_argument("--prompt", metavar="TEXT", help="what the story begins with; without --engine, build those that take one")
    parser.add_argument("--temperature", type=float, metavar="T", help="draw the story at this temperature (reference --sampler race), in "
                        "engines that can; without --engine, build those")
    parser.add_argument("--seed", type=seed, metavar="N", help="for --temperature: the same seed tells the same story; "
                        f"{CLOCK}: another one each time (default: 0)")
    parser.add_argument("--without", action="append", metavar="FEATURE", default=[],
                        help="leave this feature of the --engine out; may be repeated")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("-o", "--output", type=Path, metavar="DIR", help="the folder to write to")
    where.add_argument("--list", action="store_true", help="write nothing; name the engines that this machine has the tools for")
    options = parser.parse_args()

    if options.list:
        print("\n".join(engine.name for engine in here.choose(options.engine, to_run=False)))
        return
    if options.seed is not None and options.temperature is None:
        parser.error("--seed: it is for --temperature")
    if options.without and not options.engine:
        parser.error("--without: say which --engine it is for")
    model = find_model(options.model, options.tokenizer)
    chosen = here.choose(options.engine, to_run=False)
    if options.prompt is not None and not options.engine:
        chosen = [engine for engine in chosen if engine.takes_prompt]
    if options.temperature is not None:
        sampling = Sampling(options.temperature, None if options.seed == CLOCK else options.seed or 0)
        chosen = [engine.sampled(sampling) for engine in chosen if engine.samples or options.engine]
    for engine in (engine.without(options.without) for engine in chosen):
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


def seed(text: str) -> int | str:
    if text == CLOCK:
        return text
    if not text.isascii() or not text.isdigit():
        raise ArgumentTypeError(f"{text!r}, a whole number or `{CLOCK}` is needed")
    return int(text)


if __name__ == "__main__":
    run_tool(main)
