"""Tells a story: runs an engine, or the reference, and streams its text.

ENGINE is a name of golf/engines.json (`llama512 run --list` shows them) or `reference`, the default. A golfed engine
is built for the model first (it takes a second), and runs on its machine: here, or emulated. It has no options at run time.
What follows `--` goes to the reference.

examples:
  tools/llama512 run
  tools/llama512 run cpp-linux-i386 --model stories260K
  tools/llama512 run reference -- -p "The dragon was sad" --temp 0.8 -s 7
  tools/llama512 run asm-linux-i386 --temperature 0.8 --seed 7
  tools/llama512 run asm-linux-i386 --prompt "The sea"       a program that begins so
  tools/llama512 run cpp-linux-i386 --emulate          under qemu-user, on any processor
"""

from __future__ import annotations

import sys

from common.engine import builds, engines, prompt, sampling
from common.errors import UserError, run_tool
from common.machine import program, run
from common.match.matching import reference_program
from common.model.models import find_model
from common.pack.encodings import ENCODINGS
from common.terminal import add_model_options, argument_parser


def main() -> None:
    arguments = sys.argv[1:]
    own_end = arguments.index("--") if "--" in arguments else len(arguments)
    own, rest = arguments[:own_end], arguments[own_end + 1:]
    parser = argument_parser(__doc__)
    parser.add_argument("engine", nargs="?", default="reference", metavar="ENGINE")
    add_model_options(parser)
    parser.add_argument("--encoding", choices=ENCODINGS, help="of a golfed engine's weights (default: its first one)")
    parser.add_argument("--prompt", metavar="TEXT", help="what a golfed engine's story begins with, if it takes one")
    sampling.add_options(parser, "of engines that can")
    parser.add_argument("--emulate", action="store_true", help="run a golfed engine under its target's emulator")
    parser.add_argument("--list", action="store_true", help="list the engines")
    options = parser.parse_args(own)
    if options.list:
        print("\n".join(["reference", *engines.names()]))
        return
    model = find_model(options.model, options.tokenizer)
    drawn = sampling.chosen(parser, options)
    if options.engine == "reference":
        if drawn:
            raise UserError("reference: --temperature: it has options of its own: -- --temp T --top-p P --sampler race --seed N")
        if options.prompt is not None:
            raise UserError("reference: --prompt: it has options of its own: -- -p TEXT")
        if options.encoding:
            raise UserError(f"reference: --encoding {options.encoding}: it reads the checkpoint as it is; name a golfed engine")
        program.replace_process([str(reference_program()), "-m", str(model.checkpoint), "--tokenizer",
                                 str(model.tokenizer), *rest])
    else:
        if rest:
            raise UserError(f"{options.engine}: {rest[0]}: a golfed engine takes no options, only the reference does")
        engine, folder = engines.find(options.engine), builds.default_folder(model)
        if drawn:
            engine, folder = engine.sampled(drawn), folder / sampling.FOLDER
        if options.prompt is None:
            built = builds.build(engine, model, folder, options.encoding)
        else:
            built = prompt.build(engine, model, folder / prompt.FOLDER, options.prompt, options.encoding)
        run.tell(built, options.emulate)


if __name__ == "__main__":
    run_tool(main)
