"""The reference as a contender: with its plain kernels and its fast ones, rounded weights, several threads, and a batch.

    from common.bench import reference
    for contender in reference.contenders(program, cores=2):

It times its passes itself (`--timings`): that is a run of its own, for it measures the memory as well; whole processes run without.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Sequence

from common import processes
from common.bench import pinned
from common.bench.contenders import FAST, PLAIN, QUANTIZED, Contender, Run
from common.bench.samples import GROWTH, STORY, WHOLE
from common.bench.shapes import LETTERS, BenchModel
from common.errors import UserError

BATCH_SHAPE = "15M"
BATCH = 8  # sequences
NUMBERS = ("load_ms", "first_token_ms", "prompt_tokens", "prompt_ms", "eval_tokens", "eval_ms", "weight_bytes", "passes",
           "read_bandwidth")  # of --timings, that are used here


@dataclass(frozen=True)
class Reference(Contender):
    """The program with some of its options."""

    program: Path = Path()
    options: tuple[str, ...] = ()
    batch: int = 0  # sequences that share a pass, of BATCH prompts; 0: one story without a prompt

    def kinds(self, model: BenchModel) -> tuple[str, ...]:
        if self.batch:
            return (STORY,) if model.shape.name == BATCH_SHAPE else ()
        if self.threads > 1 or self.drafts:
            return () if model.shape.whole else (STORY,)  # what is small is computed by one thread, and without a draft
        return (STORY, *((WHOLE,) if model.shape.whole and self.exact else ()), *((GROWTH,) if self.group == FAST else ()))

    @property
    def drafts(self) -> bool:
        """Whether a copy with rounded weights guesses tokens, which float32 confirms."""
        return "--draft" in self.options and "none" not in self.options

    @property
    def story(self) -> str:
        return "stories of prompts" if self.batch else super().story

    def run(self, model: BenchModel, kind: str, steps: int) -> Run:
        command = [str(self.program), "-m", str(model.checkpoint), "--tokenizer", str(model.tokenizer), "--steps", str(steps),
                   *self.options, "-t", str(self.threads), "--quiet"]
        with processes.temporary_folder() as folder:
            if self.batch:
                prompts = folder / "prompts"
                prompts.write_text("".join(f"{letter}\n" for letter in LETTERS[1:1 + BATCH]), "utf-8")
                command += ["--batch", str(prompts), "-np", str(self.batch)]
            timings = folder / "timings"
            if kind != WHOLE:
                command += ["--timings", str(timings)]
            process = pinned.run(command, self.core)
            text = batch_text(process.output, self.program) if self.batch else process.output.rstrip(b"\n")
            if kind == WHOLE:
                return Run(self.whole(process, steps), text)
            times = read_timings(timings, self.program)
        return Run(self.fields(process, times, model, steps), text)

    def fields(self, process: pinned.Process, times: dict[str, float], model: BenchModel, steps: int) -> dict[str, Any]:
        """A Sample's, from what the program says. Of a batch all positions count, prompts included: in a pass some sequences may
        still be at their prompts."""
        positions = int(times["prompt_tokens"] + times["eval_tokens"])
        wanted = steps * (BATCH if self.batch else 1)
        if self.exact or not model.trained:
            self.check_length(model, positions, wanted)
        tokens, milliseconds, passes = times["eval_tokens"], times["eval_ms"], times["passes"]
        if self.batch:
            tokens, milliseconds = positions, times["prompt_ms"] + times["eval_ms"]
        return self.whole(process, positions) | {
            "tokens": int(tokens), "seconds": milliseconds / 1000, "first_token": times["first_token_ms"] / 1000,
            # The passes are those of eval_ms: of a batch they say nothing of prompt_ms.
            # With a draft, bytes are not what decides.
            "weight_bytes": None if self.batch or self.drafts else int(times["weight_bytes"]),
            "passes": None if self.batch or self.drafts else int(passes),
            "bandwidth": times["read_bandwidth"] or None}


def batch_text(output: bytes, program: Path) -> bytes:
    """All stories that --batch told, a line each, in the order of their prompts."""
    try:
        stories = [json.loads(line) for line in output.splitlines()]
        return "\n".join(story["text"] for story in sorted(stories, key=lambda story: story["index"])).encode()
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{program}: --batch: {type(error).__name__}: {error}: lines of JSON with index and text are needed; build the "
                        "program of this commit") from error


def contenders(program: Path, cores: int) -> list[Reference]:
    """All of them. `cores`: the most threads; two are always of interest where there are two."""
    def one(name: str, what: str, group: str, weights: str, threads: int, *options: str, batch: int = 0) -> Reference:
        label = f"reference, {what}" + (f", {threads} threads" if threads > 1 else "")
        return Reference(name + (f"-t{threads}" if threads > 1 else ""), label, group, weights, threads, program, options, batch,
                         exact=weights == "f32")

    found = [one("plain", "plain", PLAIN, "f32", 1, "--kernels", "plain")]
    for threads in thread_counts(cores):
        found += [one("fast", "fast", FAST, "f32", threads, "--draft", "none"),
                  one("draft", "fast, int8 draft", FAST, "f32", threads, "--draft", "int8"),
                  *(one(kind, kind, QUANTIZED, kind, threads, "--quantize", kind) for kind in ("int8", "int4"))]
    return found + [one(f"batch-{size}", f"{BATCH} prompts, {'one by one' if size == 1 else 'a batch'}", FAST, "f32", 1, batch=size)
                    for size in (1, BATCH)]


def thread_counts(cores: int) -> list[int]:
    return sorted({1, min(2, cores), cores})


def read_timings(path: Path, program: Path) -> dict[str, float]:
    """What --timings wrote, checked."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{program}: --timings: no JSON object was written ({error}); build the program of this commit") from error
    for name in NUMBERS:
        value = found.get(name) if isinstance(found, dict) else None
        if type(value) not in (int, float) or not 0 <= value < 1e18:
            raise UserError(f"{program}: --timings: {name}: {value}, a number from 0 is needed; build the program of this commit")
    return found


def check(program: Path, members: Sequence[Contender]) -> None:
    """Refuses a program that is too old to be measured, or to run as these contenders do."""
    said = pinned.run([str(program), "--help"]).output.decode("utf-8", "replace")
    wanted = ["--timings", "--threads"]
    for member in members:
        if isinstance(member, Reference):
            wanted += [word for word in [*member.options, *(["--batch"] if member.batch else [])] if word.startswith("--")]
    lacking = [option for option in dict.fromkeys(wanted) if option not in said]
    if lacking:
        these = "these options" if len(lacking) > 1 else "this option"
        raise UserError(f"{program}: {', '.join(lacking)}: the program does not know {these}; build it anew: `cmake --preset default && "
                        "cmake --build --preset default`")


def story_length(program: Path, model: BenchModel, steps: int) -> int:
    """How many positions of `steps` a story has: a trained model may end it."""
    said = pinned.run([str(program), "-m", str(model.checkpoint), "--tokenizer", str(model.tokenizer), "--steps", str(steps),
                       "--tokens", "--quiet"]).output
    return min(len(said.split()), steps, model.config.seq_len)
