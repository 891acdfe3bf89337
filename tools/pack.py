"""Packs a checkpoint into the byte stream that a golfed engine reads, and generates the engine's configuration.

Writes into the folder of -o:

  model.packed              the packed model
  model.hpp, model.inc      the model's dimensions, for C++ and for NASM
  effective.bin             the packed weights as an ordinary llama2.c checkpoint: what the engine's weights really are
  tokenizer.bin             the tokenizer, beside it
  manifest.json             every byte range of the packed file: tensor, shape, encoding, scale; sha256 of all

Then it warns when scores or activations of the greedy path leave the domain in which the engines are exact (golf/README.md,
rule 6), if the reference is built.

--check only says whether the model fits: it prints the model's name, its checkpoint and its tokenizer. Exit status 3:
the default model is not on this machine.

examples:
  tools/llama512 pack --engine cpp-linux-i386 -o /tmp/packed
  tools/llama512 pack --engine cpp-linux-i386 --model my.bin --tokenizer my-tokenizer.bin --encoding bf16 -o /tmp/packed
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from common import processes
from common.engine import engines, packing
from common.engine.engines import Engine
from common.errors import UserError, run_tool, tool_name
from common.files import protect
from common.match import domain, matching
from common.model.models import Model, ModelNotFound, find_model
from common.pack.encodings import ENCODINGS
from common.pack.packer import packed_bytes
from common.terminal import add_model_options, argument_parser

ABSENT = 3  # exit status of --check where there is no default model: CMake then goes on without engines
FILES = ("manifest.json", "model.packed", "model.hpp", "model.inc", "effective.bin", "tokenizer.bin")
SOME_WORK = 4_000_000_000  # bytes of weights that the reference reads in a second or two


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--engine", metavar="NAME", help="the engine to pack for")
    add_model_options(parser)
    parser.add_argument("--encoding", choices=ENCODINGS, help="of the weights (default: the engine's first)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="the folder to write to")
    parser.add_argument("--check", action="store_true", help="write nothing; without --engine, check for all engines")
    options = parser.parse_args()
    if not options.check and not (options.engine and options.output):
        parser.error("--engine and --output are needed (or --check)")

    try:
        model = find_model(options.model, options.tokenizer)
    except ModelNotFound as error:
        if options.check and options.model is None:
            error.status = ABSENT
        raise
    if options.check:
        for engine in engines.select([options.engine] if options.engine else None):
            packing.check(engine, model, options.encoding or engine.encodings[0])
        paths = (os.fsencode(path.absolute()) for path in (model.checkpoint, model.tokenizer))
        sys.stdout.buffer.write(b"\n".join([model.name.encode(), *paths, b""]))  # of whatever bytes
        return
    engine = engines.find(options.engine)
    protect_what_is_there(options.output, model)
    options.output.mkdir(parents=True, exist_ok=True)
    # Packed aside, so that what goes wrong changes nothing; the manifest, which says whose the files are, goes first.
    with processes.temporary_folder(options.output) as aside:
        spans = packing.pack(engine, model, options.encoding or engine.encodings[0], aside)
        with processes.uninterrupted():
            for name in FILES:
                os.replace(aside / name, options.output / name)
    print(f"{options.output / 'model.packed'}: {packed_bytes(spans):,} bytes in {len(spans)} spans")
    for warning in domain_warnings(Model(model.name, options.output / "effective.bin", options.output / "tokenizer.bin"), engine):
        print(f"{tool_name()}: warning: {warning}", file=sys.stderr)


def domain_warnings(effective: Model, engine: Engine) -> list[str]:
    """Where the greedy path leaves the numeric domain: as far as a second or two of the reference go."""
    steps = max(SOME_WORK // effective.checkpoint.stat().st_size, 1)
    try:
        return domain.warnings(matching.expect(effective, steps=steps).extremes, engine.arithmetic)
    except UserError as error:  # there is no reference, or it cannot run the model
        return [f"not checked whether activations stay in the engines' domain: {error}"]


def protect_what_is_there(folder: Path, model: Model) -> None:
    """Refuses to write over the model, and over files of these names that were not packed."""
    protect([folder / name for name in FILES], [model.checkpoint, model.tokenizer])
    if not is_packed(folder):
        for name in FILES:
            if os.path.lexists(folder / name):
                raise UserError(f"{folder / name}: this file was not made by `llama512 pack`; remove it, or pack into "
                                "another folder")


def is_packed(folder: Path) -> bool:
    """Whether the folder's manifest is one of `pack`."""
    try:
        return "spans" in json.loads((folder / "manifest.json").read_text("utf-8"))
    except (OSError, ValueError, TypeError):
        return False


if __name__ == "__main__":
    run_tool(main)
