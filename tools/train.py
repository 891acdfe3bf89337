"""Trains a story model of your own: from a corpus, or from a grammar that tells one, to a checkpoint and its engines.

A corpus is a text file with one story per paragraph (a blank line between two). Without --corpus, stories are told
from a grammar (tools/train/fables.grammar: copy it and write your own). The result is a folder:

  NAME.bin, NAME.tokenizer.bin   the checkpoint (llama2.c v0) and its tokenizer, for every tool of the project
  train.json                     what it was made with
  work/                          corpus, tokens, and the training's state: the same command goes on after an
                                 interruption, with the same result. May be deleted afterwards.

The programs behind it are in tools/train; they are compiled for this machine's processor. Weights are trained to lie
on an int8 grid with steps that are powers of two, so that int8 and bfloat16 engines tell the same story; with
--encoding int4 on an int4 grid, for which half of the steps (--round-from 0.5) are a good start.

examples:
  tools/llama512 train -o my                                a model like models/fables: 15 to 35 minutes
  tools/llama512 train -o my --corpus stories.txt --engine cpp-linux-i386 && my/engines/cpp-linux-i386
  tools/llama512 train -o my --grammar my.grammar --steps 6000
  tools/llama512 train -o /tmp/smoke --smoke                everything, tiny, in well under a minute
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

from common.engine import engines
from common.errors import UserError, atomic_write, run_tool
from common.files import open_file, protect
from common.project import ROOT
from common.terminal import argument_parser, time_text
from common.training.programs import SOURCES, Programs, build

GRAMMAR = SOURCES / "fables.grammar"
WORK = ("settings.json", "corpus.txt", "corpus.tokens", "state")  # the files of the folder work/

# What models/fables was trained with (its first stage); and a model so small that its training shows only that all parts work.
DEFAULTS = {"stories": 600_000, "steps": 13_000, "batch": 16, "rate": 0.004, "dim": 48, "hidden_dim": 128, "layers": 3,
            "heads": 6, "kv_heads": 3, "vocab_size": 512, "seq_len": 256,
            "encoding": "int8", "round_from": 0.667}
SMOKE = {**DEFAULTS, "stories": 3_000, "steps": 150, "batch": 8, "rate": 0.01, "dim": 16, "hidden_dim": 32, "layers": 1,
         "heads": 2, "kv_heads": 1}


def command_line() -> Namespace:
    """Its options, with `sizes` and `name` as they will be."""
    parser = argument_parser(__doc__)
    parser.add_argument("-o", "--output", required=True, type=Path, metavar="DIR", help="the folder to make")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--corpus", type=Path, metavar="FILE", help="a text, one story per paragraph")
    source.add_argument("--grammar", type=Path, metavar="FILE", help="tell stories from this (default: fables.grammar)")
    parser.add_argument("--name", help="of the model (default: the folder's)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of corpus and training (default: 1)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="default: 1; does not change the result")
    parser.add_argument("--engine", action="append", default=[], metavar="NAME",
                        help="build this engine with the model; may be repeated")
    parser.add_argument("--smoke", action="store_true", help="a tiny model in under a minute")
    parser.add_argument("--restart", action="store_true", help="forget what is in the folder's work/")
    for name, value in DEFAULTS.items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), metavar="N" if name != "encoding" else None,
                            choices=("int8", "int4") if name == "encoding" else None, help=f"default: {value}")
    options = parser.parse_args()
    if options.seed < 0 or options.threads < 1:
        parser.error("--seed must not be negative, --threads must be at least 1")
    options.sizes = {name: value if getattr(options, name) is None else getattr(options, name)
                     for name, value in (SMOKE if options.smoke else DEFAULTS).items()}
    for engine in options.engine:
        engines.find(engine)  # an unknown one is better refused now than after half an hour
    options.name = options.name or options.output.resolve().name
    if "/" in options.name or not options.name:
        parser.error(f"--name: {options.name!r} is not a model's name")
    return options


def main() -> None:
    options = command_line()
    settings = {"corpus": _identity(options.corpus), "grammar": None if options.corpus else
                _identity(options.grammar or GRAMMAR), "seed": options.seed, **options.sizes}
    work = options.output / "work"
    _protect_what_is_there(options.output, options.name, [options.corpus, options.grammar])
    _prepare(work, settings, options.restart)

    started = time.monotonic()
    programs = build()
    model = _make(programs, options, work)
    with atomic_write(options.output / "train.json", "w") as file:
        json.dump({"model": options.name, **settings}, file, indent=2)
        file.write("\n")

    print(f"{model} after {time_text(time.monotonic() - started)}. Its story:\n", flush=True)
    _tell(programs, model)
    for engine in options.engine:
        _build_engine(engine, model, options.output / "engines")
    print(f"\nNext:\n  tools/llama512 judge {model}\n  tools/llama512 verify --model {model}")


def _make(programs: Programs, options: Namespace, work: Path) -> Path:
    """Corpus, tokenizer, model: each step where it is not done yet. The model's path."""
    sizes = options.sizes
    corpus = options.corpus or work / "corpus.txt"
    if not options.corpus and not corpus.exists():
        programs.run("corpus", "--grammar", options.grammar or GRAMMAR, "--out", corpus,
                     "--stories", sizes["stories"], "--seed", options.seed)
    tokenizer, tokens = options.output / f"{options.name}.tokenizer.bin", work / "corpus.tokens"
    if not (tokens.exists() and tokenizer.exists()):
        programs.run("tokenize", "--corpus", corpus, "--tokenizer", tokenizer, "--tokens", tokens,
                     "--vocab-size", sizes["vocab_size"], "--seq-len", sizes["seq_len"])
    model = options.output / f"{options.name}.bin"
    flags = [argument for key, value in sizes.items() if key != "stories"
             for argument in ("--" + key.replace("_", "-"), value)]
    programs.run("train", "--tokens", tokens, "--out", model, "--state", work / "state", "--seed", options.seed,
                 "--threads", options.threads, *flags)
    return model


def _identity(path: Path | None) -> dict[str, str] | None:
    """A file's name and sha256."""
    if path is None:
        return None
    digest = hashlib.sha256()
    with open_file(path, "stories") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return {"file": path.name, "sha256": digest.hexdigest()}


def _protect_what_is_there(output: Path, name: str, inputs: list[Path | None]) -> None:
    """Refuses to write over the corpus or the grammar, and over a model that was not trained here."""
    results = [output / f"{name}.bin", output / f"{name}.tokenizer.bin", output / "train.json"]
    protect([*results, *(output / "work" / file for file in WORK)], inputs)
    if not (results[-1].exists() or (output / "work" / "settings.json").exists()):
        for path in results:
            if path.exists():
                raise UserError(f"{path}: this file was not made by `llama512 train`; remove it, or choose another folder")


def _prepare(work: Path, settings: dict[str, object], restart: bool) -> None:
    """Makes the work folder, or makes sure that what is in it belongs to these settings."""
    record = work / "settings.json"
    if restart and work.exists():
        for name in WORK:
            (work / name).unlink(missing_ok=True)
    if record.exists():
        try:
            found = json.loads(record.read_text("utf-8"))
        except ValueError as error:
            raise UserError(f"{record}: damaged: {error}; --restart begins again") from error
        changed = sorted(key for key in settings if found.get(key) != settings[key])
        if changed:
            raise UserError(f"{work}: {', '.join(changed)}: other settings than those of the training that is there; "
                            "--restart forgets it, or choose another folder")
    with atomic_write(record, "w") as file:
        json.dump(settings, file, indent=2)


def _tell(programs: Programs, model: Path) -> None:
    """The model's greedy story, by the reference."""
    programs.run("reference", "-m", model, "--quiet")


def _build_engine(engine: str, model: Path, folder: Path) -> None:
    """An engine's program or image with the model in it."""
    print(flush=True)
    command = [sys.executable, ROOT / "tools" / "llama512", "build", "--engine", engine, "--model", model, "-o", folder]
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"{engine}: not built, see above")


if __name__ == "__main__":
    run_tool(main)
