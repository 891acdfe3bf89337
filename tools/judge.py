"""Judges a story model: does it tell stories that make sense, end, and survive an engine's rounding?

The quality gate of models/fables, and of any model; its folder may have bars of its own (judge.json: see
tools/common/training/bars.py). A checker (tools/common/training/checker.py) reads each story with the grammar that the corpus
was told with: one hero, friend, colour, object, animal, food, weather and place, matching pronouns, a proper ending, no
non-words. The reference engine tells the stories:

  greedy    the greedy story passes the checker, has 100 to 160 words, and ends by itself within the context
  samples   at least 92 % of 200 samples at temperature 0.8, top-p 0.9 pass; all are distinct, and none stands verbatim
            in the first 100,000 stories of the corpus
  rounding  the greedy text and 20 samples are the same on the effective checkpoints of all encodings that engines read (of int4,
            where the weights lie on its grid)
  names     of 16 names that the corpus never contains, at least 12 are carried: the greedy story after "Once upon a
            time, there was a brave girl named NAME." uses the name three times more, and no other hero

Rounding is judged for any model, with --rounding for nothing else: the first token of the greedy story that differs, how many of
20 samples stay, and the Kullback-Leibler divergence of the next token's probabilities from those of the unrounded weights (in
thousandths of a nat, the mean over the positions of two texts, as far as three quarters of the context go: the greedy story, and
the first sample).

Exit status 1: a bar is missed.

examples:
  tools/llama512 judge
  tools/llama512 judge my.bin --grammar my.grammar --failures
  tools/llama512 judge stories260K --rounding
  tools/llama512 judge models/fables/fables.bin --json
"""

from __future__ import annotations

import json
import re
import subprocess
from argparse import Namespace
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from os import cpu_count
from pathlib import Path
from typing import Sequence

from common import processes
from common.errors import UserError, run_tool
from common.libraries import numpy as np
from common.match import matching
from common.model import checkpoint, tokenizer
from common.model.models import Model, find_model
from common.terminal import Progress, argument_parser, paint, table
from common.training import bars
from common.training.checker import Checker
from common.training.programs import Programs, build
from common.training.rounding import effective_checkpoints, on_a_grid

PROMPT = "Once upon a time, there was a brave {} named {}."
# Names that no corpus contains: tools/train/names.cpp never makes them.
NAMES = {"girl": ["Zelda", "Lily", "Anna", "Clara", "Ruby", "Emma", "Ivy", "Nora"],
         "boy": ["Bob", "Tom", "Leo", "Hugo", "Felix", "Oscar", "Ben", "Victor"]}

MIN_MENTIONS = 4  # the prompt's, and three more
CORPUS_STORIES = 100_000
ROUNDING_SAMPLES = 20


@dataclass(frozen=True)
class Story:
    """A text that the reference told, whether it ended with BOS rather than with the context, and its tokens from BOS on."""

    text: str
    ended: bool
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Rounding:
    """What rounded weights say, beside those as they were."""

    encoding: str  # and the layout
    first_difference: int | None  # of the greedy story's tokens; None: it is the same
    same_samples: int
    samples: int
    divergence: list[float]  # in nats for a position, of each of the two texts
    must_match: bool  # whether a model of ours has to say the same

    @property
    def same(self) -> bool:
        return self.first_difference is None and self.same_samples == self.samples


@dataclass(frozen=True)
class Bar:
    """One line of the verdict."""

    name: str
    measured: str
    wanted: str
    passed: bool


class Teller:
    """Tells stories with the reference engine."""

    def __init__(self, program: Path, model: Model) -> None:
        self.program, self.model = program, model
        self.config = checkpoint.read_config(model.checkpoint)
        self.pieces = [tokenizer.printed(piece) for piece in
                       tokenizer.load(model.tokenizer, self.config.vocab_size).pieces]

    def tell(self, *arguments: str, file: Path | None = None) -> Story:
        """One story; `file` is told instead of the model's checkpoint."""
        command = [self.program, "-m", file or self.model.checkpoint, "--tokenizer", self.model.tokenizer, "--tokens",
                   "--quiet", *arguments]
        try:
            result = subprocess.run(list(map(str, command)), capture_output=True, encoding="utf-8", errors="replace",
                                    check=False)
        except OSError as error:
            raise UserError(f"{self.program}: cannot run it: {error.strerror}") from error
        if result.returncode:
            raise UserError(f"the reference failed: {result.stderr.strip() or result.returncode}")
        tokens = tuple(int(line) for line in result.stdout.split())
        # seq_len passes print 1 + seq_len tokens, unless the last one is BOS.
        return Story(self.text_of(tokens), len(tokens) <= self.config.seq_len, tokens)

    def text_of(self, tokens: Sequence[int]) -> str:
        return b"".join(self.pieces[token] for token in tokens[1:]).decode("utf-8", "replace").removeprefix(" ")

    def sample(self, seed: int, file: Path | None = None) -> Story:
        return self.tell("--temp", "0.8", "--top-p", "0.9", "--seed", str(seed), file=file)

    def log_probabilities(self, text: str, file: Path | None = None) -> np.ndarray:
        """Of the next token, (positions of the text, vocab_size)."""
        with processes.temporary_folder() as folder:
            (folder / "text").write_text(text, "utf-8")
            self.tell("--file", str(folder / "text"), "--predict", "1", "--logits", str(folder / "logits"), file=file)
            logits = matching.read_logits(folder / "logits", self.config.vocab_size).astype(np.float64)
        logits -= logits.max(1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))


@dataclass(frozen=True)
class Verdict:
    """All that was measured."""

    model: Path
    wanted: bars.Bars
    greedy: Story
    greedy_problems: list[str]
    gap: float  # the smallest difference between the best two logits along the greedy story
    gap_position: int
    samples: list[Story]
    failures: dict[int, list[str]]  # problems by seed
    verbatim: int  # samples that stand in the corpus
    rounding: list[Rounding]
    prompted: dict[str, Story]  # by name
    carried: list[str]  # the names that their stories carry
    name_problems: dict[str, list[str]]

    @property
    def words(self) -> int:
        return len(self.greedy.text.split())

    @property
    def pass_share(self) -> float:
        return 1 - len(self.failures) / len(self.samples)

    @property
    def distinct(self) -> int:
        return len({story.text for story in self.samples})

    @property
    def bars(self) -> list[Bar]:
        consistent = sum(not found for found in self.name_problems.values())
        return [
            Bar("greedy story", self.greedy_problems[0] if self.greedy_problems else "passes the checker", "passes",
                not self.greedy_problems),
            Bar("greedy words", str(self.words), f"{self.wanted.min_words} to {self.wanted.max_words}",
                self.wanted.min_words <= self.words <= self.wanted.max_words),
            Bar("greedy smallest logit gap", f"{self.gap:.3f} at position {self.gap_position}", "more is better", True),
            Bar("samples that pass", f"{self.pass_share:.1%} of {len(self.samples)}", f"{self.wanted.pass_share:.0%}",
                self.pass_share >= self.wanted.pass_share),
            Bar("distinct samples", str(self.distinct), str(len(self.samples)), self.distinct == len(self.samples)),
            Bar(f"verbatim in {CORPUS_STORIES:,} stories", str(self.verbatim), "0", self.verbatim == 0),
            *(Bar(f"same text, {row.encoding}", f"greedy {'yes' if row.first_difference is None else 'NO'}, samples "
                  f"{row.same_samples} of {row.samples}", f"yes, {row.samples}", row.same) for row in self.rounding if row.must_match),
            Bar("names carried", f"{len(self.carried)} of {len(self.prompted)}", str(self.wanted.names),
                len(self.carried) >= self.wanted.names),
            Bar("… whose story passes, too", f"{consistent} of {len(self.prompted)}", "more is better", True),
        ]

    @property
    def passed(self) -> bool:
        return all(bar.passed for bar in self.bars)


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("model", nargs="?", metavar="MODEL", help="a name or a checkpoint (default: the project's own)")
    parser.add_argument("--tokenizer", metavar="PATH", help="its tokenizer (default: beside the model)")
    parser.add_argument("--grammar", type=Path, metavar="FILE", help="default: the model's, or fables.grammar")
    parser.add_argument("--samples", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument("--corpus-seed", type=int, default=1, metavar="N", help="of the corpus (default: 1)")
    parser.add_argument("--rounding", action="store_true", help="judge nothing but what rounding does, of any model")
    parser.add_argument("--failures", action="store_true", help="show the samples that fail, and why")
    parser.add_argument("--json", action="store_true", help="all figures, as one object")
    options = parser.parse_args()
    if options.samples < 1:
        parser.error(f"--samples: {options.samples}, at least 1 is needed")

    if options.rounding:
        rows = judge_rounding(options)
        print(json.dumps([asdict(row) for row in rows], indent=2) if options.json else rounding_table(rows))
        return 0
    verdict = judge(options)
    if options.json:
        print(json.dumps(to_json(verdict), indent=2))
    else:
        show(verdict, options.failures)
    return 0 if verdict.passed else 1


def judge(options: Namespace) -> Verdict:
    """Lets the model tell all its stories, and measures them."""
    model = find_model(options.model, options.tokenizer)
    wanted = bars.beside(model.checkpoint)
    wanted = replace(wanted, grammar=options.grammar or wanted.grammar)
    checker = Checker(wanted.grammar)
    programs = build()
    teller = Teller(programs.path("reference"), model)

    greedy = teller.tell()
    gap, gap_position = smallest_gap(teller)
    with ThreadPoolExecutor(cpu_count() or 1) as pool, Progress("judge", options.samples, "samples") as progress:
        def sample(seed: int) -> Story:
            story = teller.sample(seed)
            progress.add()
            return story
        samples = list(pool.map(sample, range(1, options.samples + 1)))
        prompted = {name: story for gender, names in NAMES.items() for name, story in zip(names, pool.map(
            lambda name, gender=gender: teller.tell("--prompt", PROMPT.format(gender, name)), names))}
    return Verdict(
        model.checkpoint, wanted, greedy, problems(checker, greedy), gap, gap_position, samples,
        failures={seed: found for seed, story in enumerate(samples, 1) if (found := problems(checker, story))},
        verbatim=count_verbatim(programs, wanted.grammar, options.corpus_seed, {story.text for story in samples}),
        rounding=compare_rounding(teller, greedy, samples[:ROUNDING_SAMPLES], wanted.encodings),
        prompted=prompted,
        carried=[name for name, story in prompted.items() if carries(checker, name, story)],
        name_problems={name: problems(checker, story) for name, story in prompted.items()})


def judge_rounding(options: Namespace) -> list[Rounding]:
    """Of any model, whatever its stories are like."""
    teller = Teller(build().path("reference"), find_model(options.model, options.tokenizer))
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        samples = list(pool.map(teller.sample, range(1, min(options.samples, ROUNDING_SAMPLES) + 1)))
    return compare_rounding(teller, teller.tell(), samples, ())


def rounding_table(rows: list[Rounding]) -> str:
    return table([[row.encoding, "none" if row.first_difference is None else str(row.first_difference),
                   f"{row.same_samples} of {row.samples}", *(f"{1000 * value:.3f}" for value in row.divergence)] for row in rows],
                 ["rounded for", "first difference", "same samples", "divergence, greedy", "divergence, sample"], "lrrrr")


def to_json(verdict: Verdict) -> dict[str, object]:
    """What --json prints."""
    return {
        "model": str(verdict.model), "passed": verdict.passed, "bars": [asdict(bar) for bar in verdict.bars],
        "greedy": {"text": verdict.greedy.text, "words": verdict.words, "ended": verdict.greedy.ended,
                   "problems": verdict.greedy_problems, "smallest_gap": verdict.gap,
                   "smallest_gap_position": verdict.gap_position},
        "samples": {"count": len(verdict.samples), "pass_share": verdict.pass_share, "distinct": verdict.distinct,
                    "verbatim": verdict.verbatim,
                    "failures": {str(seed): found for seed, found in verdict.failures.items()}},
        "rounding": [asdict(row) for row in verdict.rounding],
        "names": {name: {"carried": name in verdict.carried, "problems": verdict.name_problems[name], "text": story.text}
                  for name, story in verdict.prompted.items()},
    }


def show(verdict: Verdict, failures: bool) -> None:
    """For people: the greedy story, what is wrong with the others, and the bars."""
    print(verdict.greedy.text, end="\n\n")
    if failures:
        for seed, found in verdict.failures.items():
            print(f"seed {seed}: {'; '.join(found)}\n  {verdict.samples[seed - 1].text}\n")
        for name, found in verdict.name_problems.items():
            if found:
                print(f"name {name}: {'; '.join(found)}\n  {verdict.prompted[name].text}\n")
    if verdict.failures:
        kinds = Counter(found.split(":")[0] for all_found in verdict.failures.values() for found in all_found)
        print("problems in samples: " + ", ".join(f"{kind} {count}" for kind, count in kinds.most_common()), end="\n\n")
    print(rounding_table(verdict.rounding), end="\n\n")
    print(table([[bar.name, bar.measured, bar.wanted, paint("ok", "green") if bar.passed else paint("MISSED", "red")]
                 for bar in verdict.bars], ["bar", "measured", "wanted", ""], "llll"))


def problems(checker: Checker, story: Story) -> list[str]:
    """The checker's problems, and whether the story ended by itself."""
    return checker.problems(story.text) + ([] if story.ended else ["end: the context was full before the story ended"])


def carries(checker: Checker, name: str, story: Story) -> bool:
    """Whether the story goes on with the prompt's name, and has no other hero."""
    names = set(re.findall(r"(?<![.!?] )(?<![.!?]\" )(?<!^)(?<!\")\b[A-Z][a-z]+", story.text))
    others = names - {name} - set(checker.friend_gender) - checker.words
    others |= {hero for hero in checker.heroes - {name} if re.search(rf"\b{hero}\b", story.text)}
    return len(re.findall(rf"\b{name}\b", story.text)) >= MIN_MENTIONS and not others


def smallest_gap(teller: Teller) -> tuple[float, int]:
    """The smallest difference between the best two logits along the greedy story, and its position."""
    with processes.temporary_folder() as folder:
        path = folder / "logits"
        teller.tell("--logits", str(path))
        return matching.smallest_gap(path, teller.config.vocab_size)


def count_verbatim(programs: Programs, grammar: Path, seed: int, texts: set[str]) -> int:
    """How many of the texts stand in the corpus."""
    with processes.temporary_folder() as folder:
        path = folder / "corpus.txt"
        programs.run("corpus", "--grammar", grammar, "--out", path, "--stories", CORPUS_STORIES, "--seed", seed)
        with open(path, encoding="utf-8") as corpus:
            return len({line.rstrip("\n") for line in corpus} & texts)


def compare_rounding(teller: Teller, greedy: Story, samples: list[Story], encodings: Sequence[str]) -> list[Rounding]:
    """What each rounding changes. It has to change nothing in these encodings; or when none is named, in all but int4, and in int4 as
    well where the weights lie on its grid."""
    results = []
    weights = checkpoint.load(teller.model.checkpoint)
    pieces = tokenizer.load(teller.model.tokenizer, teller.config.vocab_size).pieces
    # As a prompt a text may have more tokens than as a story, and all of them must fit into the context.
    texts = [teller.text_of(story.tokens[:teller.config.seq_len * 3 // 4]) for story in (greedy, samples[0])]
    wanted = list(map(teller.log_probabilities, texts))
    with processes.temporary_folder() as folder, ThreadPoolExecutor(cpu_count() or 1) as pool:
        path = folder / "effective.bin"
        on_int4_grid = on_a_grid(weights, "int4")
        for name, effective in effective_checkpoints(weights, pieces):
            encoding = name.split()[-1]
            checkpoint.write(path, effective)
            told = pool.map(lambda seed: teller.sample(seed, path), range(1, len(samples) + 1))
            same = sum(one == other for one, other in zip(told, samples))
            found = [teller.log_probabilities(text, path) for text in texts]
            divergence = [float((np.exp(one) * (one - other)).sum(1).mean()) for one, other in zip(wanted, found)]
            results.append(Rounding(name, first_difference(greedy.tokens, teller.tell(file=path).tokens), same, len(samples),
                                    divergence, encoding in encodings if encodings else on_int4_grid or encoding != "int4"))
    return results


def first_difference(one: tuple[int, ...], other: tuple[int, ...]) -> int | None:
    """The place of the first token that differs; BOS, the first of both, is not counted, as in `verify`."""
    if one == other:
        return None
    return next((i for i, (a, b) in enumerate(zip(one, other)) if a != b), min(len(one), len(other))) - 1


if __name__ == "__main__":
    run_tool(main)
