"""Packs a checkpoint into the byte stream that a golfed engine reads, and generates the engine's configuration.

Writes into the folder of -o:

  model.packed              the packed model
  config.hpp, config.inc    the model's dimensions, for C++ and for NASM
  effective.bin             the packed weights as an ordinary llama2.c checkpoint: what the engine's weights really are
  tokenizer.bin             the tokenizer, beside it
  manifest.json             every byte range of the packed file: tensor, shape, encoding, scale; sha256 of all

--check only says whether the model fits: it prints the model's name, its checkpoint and its tokenizer. Exit status 3:
there is no model of that name on this machine.

examples:
  tools/llama512 pack --engine cpp-linux-i386 -o /tmp/packed
  tools/llama512 pack --engine cpp-linux-i386 --model my.bin --tokenizer my-tokenizer.bin --encoding bf16 -o /tmp/packed
"""

from __future__ import annotations

from pathlib import Path

from common import builds, engines, layout
from common.errors import run_tool
from common.models import find_model
from common.terminal import add_model_options, argument_parser


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--engine", metavar="NAME", help="the engine to pack for")
    add_model_options(parser)
    parser.add_argument("--encoding", choices=layout.ENCODINGS, help="of the weights (default: the engine's first)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="the folder to write to")
    parser.add_argument("--check", action="store_true", help="write nothing; without --engine, check for all engines")
    options = parser.parse_args()
    if not options.check and not (options.engine and options.output):
        parser.error("--engine and --output are needed (or --check)")

    model = find_model(options.model, options.tokenizer)
    if options.check:
        for engine in engines.select([options.engine] if options.engine else None):
            builds.check(engine, model, options.encoding or engine.encodings[0])
        print(model.name, model.checkpoint.resolve(), model.tokenizer.resolve(), sep="\n")
        return
    engine = engines.find(options.engine)
    options.output.mkdir(parents=True, exist_ok=True)
    spans = builds.pack(engine, model, options.encoding or engine.encodings[0], options.output)
    print(f"{options.output / 'model.packed'}: {layout.packed_bytes(spans):,} bytes in {len(spans)} spans")


if __name__ == "__main__":
    run_tool(main)
