"""Checks that every engine says exactly what the reference says, token for token, from BOS to the stop.

For each engine the exact program is run, and its output compared with the reference's tokens on the effective
checkpoint (what the engine's weights really are). The models that the project ships or names must also give the same
tokens on the original f32 checkpoint. The smallest gap between the best two logits is printed: a near-tie could be
decided by rounding, and a difference where there is one is called so. A model that leaves the engines' numeric domain
(golf/README.md, rule 6) gets a warning.

An engine prints text, so text is compared. With --tokens every engine is run once more with another text for each
token, so that tokens of the same text, or a token and two halves of it, are told apart. Notes under the table say what
is left open.

Programs that this machine's kernel cannot run (32-bit ones, often) are run under their emulator (package qemu-user); so
are all with --emulate, or in an environment with LLAMA512_EMULATE=1, which holds for the tests and `run`, too. Boot
sectors are run on an emulated PC (package qemu-system-x86), and compared by what they write to the screen's memory,
which has room for 16,384 characters, or by what COM1 gets.

Exit status 1: an engine differs.

examples:
  tools/llama512 verify
  tools/llama512 verify --stream                    the texts as well, as they are generated
  tools/llama512 verify --model my.bin --engine cpp-linux-i386 --encoding bf16 --emulate
  tools/llama512 verify --model stories260K --encoding all
  tools/llama512 verify --readme                    all engines in all encodings, and the table of README.md
"""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import ArgumentTypeError, Namespace
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from common import blocks
from common.engine import builds, engines
from common.engine.builds import Built
from common.engine.engines import Engine
from common.errors import atomic_write, run_tool
from common.machine import here, program, run
from common.match import domain, lookalikes, matching, originals
from common.match.matching import Difference, Expected
from common.model.models import FALLBACK_MODEL, Model, find_model
from common.pack.encodings import ENCODINGS
from common.picture import groups
from common.project import ROOT
from common.side_by_side import SideBySide
from common.size import measure
from common.terminal import add_engines_option, add_model_options, argument_parser, markdown_table, paint, size_text, table


ALL = "all"  # encodings
README_MODEL = FALLBACK_MODEL  # rounding changes what it says
BLOCK = "encodings"  # of README.md


@dataclass(frozen=True)
class Result:
    """One engine's run."""

    built: Built
    expected: Expected  # on the effective checkpoint; with --tokens, of the copy that tells tokens apart
    difference: Difference | None
    original: Difference | None  # to the tokens of the original checkpoint
    seconds: float
    same_text: list[list[int]]  # groups of tokens that have not been told apart
    copy_differs: bool  # the program does not, only its copy with other texts

    @property
    def unseen(self) -> int:
        """Bytes of the text that cannot be compared."""
        return len(self.expected.text) - len(self.expected.text[:run.seen(self.built.engine)])


def main() -> int:
    parser = argument_parser(__doc__)
    add_engines_option(parser)
    add_model_options(parser)
    parser.add_argument("--encoding", choices=[*ENCODINGS, ALL], help="of the weights, where an engine has it (default: each engine's "
                        f"first); {ALL}: each that it has")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where engines are built (default: build/…)")
    parser.add_argument("--emulate", action="store_true", help="run programs under their emulators")
    parser.add_argument("--tokens", action="store_true", help="tell tokens with the same text apart, by a second run")
    parser.add_argument("--stream", action="store_true", help="show the texts as they are generated")
    parser.add_argument("--jobs", type=_number, default=os.cpu_count() or 1, metavar="N",
                        help="how many run side by side (default: one for each processor); 1 for tokens/s that can be compared")
    parser.add_argument("--json", action="store_true", help="a list of objects instead of the table")
    parser.add_argument("--readme", action="store_true", help=f"write the table of README.md, of {README_MODEL} in all encodings")
    options = parser.parse_args()
    if options.readme:
        if options.model or options.engine or options.encoding:
            parser.error("--readme is for all engines and encodings, and a certain model")
        options.model, options.encoding = README_MODEL, ALL

    model = find_model(options.model, options.tokenizer)
    original = matching.expect(model)
    if options.stream:
        _title(f"reference: {model.name}, float32")
        command = [matching.reference_program(), "-m", model.checkpoint, "--tokenizer", model.tokenizer, "--quiet"]
        _, original_seconds = program.run_command(command, show=True)
    else:
        original_seconds = original.seconds

    every = [built for engine in here.choose(options.engine) for built in _builds(engine, model, options)]
    results = []
    with SideBySide([partial(_result, built, original, options) for built in every], options.jobs) as jobs:
        for number, built in enumerate(every):
            if options.stream:
                _title(f"{built.engine.name}: {built.counted} counted bytes")
            results.append(jobs.result(number, options.stream))
            if options.stream:
                print()
    if options.stream:
        _title("token for token")
    must_match = {encoding: originals.must_match(model, encoding) for encoding in {built.encoding for built in every}}
    if options.json:
        print(json.dumps([_json(result) for result in results], indent=1))
    else:
        _print_table(original, original_seconds, results, must_match)
    if options.readme:
        path = ROOT / blocks.README
        text = blocks.replaced(path.read_text("utf-8"), BLOCK, for_readme(results))
        with atomic_write(path, "w") as file:
            file.write(text)
    failed = [result for result in results if result.difference or (must_match[result.built.encoding] and result.original)]
    for result in results:
        for warning in domain.warnings(result.expected.extremes, result.built.engine.arithmetic):
            print(f"{result.built.engine.name}: warning: {warning}", file=sys.stderr)
    for result in failed:
        difference, told = ((result.difference, result.expected) if result.difference else (result.original, original))
        how = "with other texts (--tokens): " if result.copy_differs else ""
        print(f"{result.built.engine.name}: {how}{difference}; {_gap(difference, told)}", file=sys.stderr)
    return 1 if failed else 0


def _builds(engine: Engine, model: Model, options: Namespace) -> list[Built]:
    """The engine in the encodings that are asked for; in all of them each has a folder of its own."""
    if options.encoding != ALL:
        return [builds.build(engine, model, options.output, options.encoding if options.encoding in engine.encodings else None)]
    folder = options.output or builds.default_folder(model)
    return [builds.build(engine, model, folder / encoding, encoding) for encoding in engine.encodings]


def for_readme(results: list[Result]) -> str:
    """The block of README.md: engines by encodings."""
    found = {(result.built.engine.name, result.built.encoding): result for result in results}
    encodings = [name for name in ENCODINGS if any(encoding == name for _, encoding in found)]

    def cell(engine: str, encoding: str) -> str:
        result = found.get((engine, encoding))
        if result is None:
            return ""
        said = "equal" if result.original is None else f"from {result.original.index}"
        return f"**{result.built.counted}** · {result.built.packed:,} · {'WRONG' if result.difference else said}"
    rows = [[f"`{engine}`", *(cell(engine, encoding) for encoding in encodings)] for engine in dict.fromkeys(name for name, _ in found)]
    return f"{markdown_table(rows, ['engine', *encodings], 'l' + 'r' * len(encodings))}\n"


def _number(text: str) -> int:
    if not re.fullmatch("[1-9][0-9]{0,3}", text):
        raise ArgumentTypeError(f"{text!r}, a number from 1 to 9999 is needed")
    return int(text)


def _result(built: Built, original: Expected, options: Namespace) -> Result:
    """Runs a program, and compares what it says."""
    expected, seen = matching.expect(built.effective), run.seen(built.engine)
    story = run.run(built, options.stream, options.emulate, expected=expected)
    builds.check_unchanged(built)
    difference = matching.compare(story.text, expected, seen)
    told, same_text, equal = expected, expected.lookalikes, not difference
    if options.tokens and equal:
        copy, told = lookalikes.told_apart(built, expected)
        story_of_copy = run.run(copy, False, options.emulate, expected=told)
        difference = matching.compare(story_of_copy.text, told, seen)
        same_text = lookalikes.left(expected)
    return Result(built, told, difference, matching.compare(story.text, original, seen), story.seconds, same_text,
                  equal and bool(difference))


def _title(text: str) -> None:
    print(paint(f"\n--- {text} ---", "bold"), flush=True)


def _print_table(original: Expected, seconds: float, results: list[Result], must_match: dict[str, bool]) -> None:
    """The reference's row, then a row per engine."""
    headers = ["engine", "encoding", "counted bytes", "budget", "packed", "RAM", "tokens", "effective weights", "original weights",
               "smallest gap", "tokens/s"]
    rows: list[list[object]] = [["reference", "f32", None, None, None, None, len(original.tokens), "", "", f"{original.gap:.4f}",
                                 round(len(original.tokens) / seconds)]]
    by_name: dict[str, list[Result]] = {}
    for result in results:
        by_name.setdefault(result.built.engine.name, []).append(result)
    families = groups.by_target(by_name, groups.families())
    for family, members in families.items():
        if len(families) > 1:
            rows.append([paint(family, "bold"), *[None] * (len(headers) - 1)])
        for result in (result for name in members for result in by_name[name]):
            built = result.built
            rows.append([built.engine.name, built.encoding, built.counted, _budget(built), built.packed, size_text(run.memory(built)),
                         len(result.expected.tokens), _verdict(result.difference, result.expected, True),
                         _verdict(result.original, original, must_match[built.encoding]),
                         f"{result.expected.gap:.4f}", round(len(result.expected.tokens) / result.seconds)])
    print(table(rows, headers, "llrrrrrllrr"))
    same_text = max((result.same_text for result in results), key=len, default=[])
    if same_text:
        piece = results[0].expected.pieces[same_text[0][0]].decode("utf-8", "backslashreplace")
        print(f"Tokens {' and '.join(map(str, same_text[0]))} have the same text, {piece!r}"
              + (f"; so have {len(same_text) - 1} more groups" if len(same_text) > 1 else "")
              + (": --tokens tells them apart." if piece else ": nobody can tell which of them was generated."))
    for result in results:
        if result.unseen:
            print(f"{result.built.engine.name}: text memory ends after {run.seen(result.built.engine):,} characters: "
                  f"the last {result.unseen:,} are not compared.")
    if any(not measure.shape_of(result.built) for result in results):
        print(f"Counted for this model; budgets are for the shape of {engines.budget_shape().name} (`tools/llama512 size`).")


def _budget(built: Built) -> int | None:
    """Budgets are for an engine's first encoding."""
    return measure.budget_of(built)[0] if built.encoding == built.engine.encodings[0] else None


def _verdict(difference: Difference | None, told: Expected, required: bool) -> str:
    if difference is None:
        return paint("equal", "green")
    near = ", a near-tie" if (gap := told.gap_at(difference)) is not None and gap < matching.SMALLEST_GAP else ""
    return paint(f"differs at token {difference.index}{near}", "red" if required else "yellow")


def _gap(difference: Difference, told: Expected) -> str:
    """Whether rounding can be the reason."""
    gap = told.gap_at(difference)
    if gap is None:
        return "the reference has made seq_len passes"
    if gap < matching.SMALLEST_GAP:
        return f"a near-tie: the reference's best two logits are {gap:.2g} apart there, which rounding may decide"
    return f"no near-tie: the reference's best two logits are {gap:.2g} apart there"


def _json(result: Result) -> dict[str, object]:
    built = result.built
    return {"engine": built.engine.name, "model": built.model, "encoding": built.encoding, "bytes": built.counted,
            "budget": _budget(built), "packed_bytes": built.packed, "ram_bytes": run.memory(built),
            "tokens": len(result.expected.tokens), "equal": result.difference is None,
            "first_difference": result.difference and result.difference.index,
            "equal_to_original": result.original is None, "smallest_gap": result.expected.gap,
            "gap_at_difference": result.difference and result.expected.gap_at(result.difference),
            "same_text": result.same_text, "unseen_bytes": result.unseen,
            "tokens_per_second": round(len(result.expected.tokens) / result.seconds, 1)}


if __name__ == "__main__":
    run_tool(main)
