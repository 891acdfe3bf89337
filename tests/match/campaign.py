#!/usr/bin/env python3
"""A campaign of random shapes, with extremes, over all engines and encodings: each is equal to the reference, or refused.

    tests/run match/campaign.py --count 100 --log campaign.jsonl
    … --seed 7 --shard 2/4 --engines asm-boot cpp-linux-i386           # a part of another one
    … --only 17                                                      # one shape again

Draw N of a seed is the same on every machine. `draw` says how shapes and scales come about. Where the reference sees a
near-tie, or activations outside the numeric domain (rule 6), the weights are drawn again, and never tolerated. The log has
a JSON object a line for each shape, engine and encoding; a campaign that was interrupted goes on where its log ends.

Exit status 1: an engine differs, crashes or does not build, or there were no weights without a near-tie.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Iterator, Sequence

from support import cases
from support.attempt import Outcome, attempt, refusal
from support.cases import Case

from common.engine import engines
from common.engine.engines import Engine
from common.machine import here, run
from common.match import domain, matching
from common.match.matching import Expected
from common.model import random_model
from common.model.checkpoint import Checkpoint, Config

TRIES = 8  # weights that are drawn for a shape, engine and encoding
TIMEOUT = 300.0  # seconds
GOOD = ("equal", "refused")

# What a shape may cost. WEIGHTS: for the packer. WORK: about the multiplications of a run; what is emulated is slower.
WEIGHTS, QUICK_WEIGHTS = 5_000_000, 100_000
WORK, SLOW_WORK = 200_000_000, 10_000_000

SPECIAL = [value + offset for value in (4, 8, 16, 32, 64, 128, 256, 512, 1024, 8192, 16384) for offset in (-1, 0, 1)]


@dataclass(frozen=True)
class Draw:
    """A shape and the scales of its weights."""

    index: int
    config: Config
    piece_length: int
    passes: int  # 0: to seq_len
    spread: float
    scales: dict[str, float]  # by tensor

    def case(self) -> Case:
        def change(model: Checkpoint) -> None:
            for name, factor in self.scales.items():
                if name in model.tensors:
                    model.tensors[name] *= factor
        return Case(f"draw-{self.index}", self.config, 1, spread=self.spread, piece_length=self.piece_length, change=change,
                    passes=self.passes)


def extreme(generator: random.Random, low: int, high: int) -> int:
    """Of sizes from low to high: one in ten is the lowest, one in ten the highest, three in ten are next to a power of
    two; the others are spread evenly over the orders of magnitude."""
    kind = generator.random()
    special = [value for value in SPECIAL if low <= value <= high]
    if kind < 0.1:
        return low
    if kind < 0.2:
        return high
    if kind < 0.5 and special:
        return generator.choice(special)
    return even(generator, low, high)


def even(generator: random.Random, low: int, high: int) -> int:
    """A size, all orders of magnitude alike."""
    return min(high, int(math.exp(generator.uniform(math.log(low), math.log(high + 1)))))


def work(config: Config, passes: int) -> float:
    """About the multiplications of a run; a pair's turn by one step counts as 100."""
    weights = sum(map(math.prod, config.shapes().values()))
    return passes * weights + config.n_layers * config.n_heads * passes**2 / 2 * (50 * config.head_size + 200)


def draw(seed: int, index: int, most_work: float = WORK, most_weights: int = WEIGHTS) -> Draw:
    """Draw number `index`. Each size is, in two cases of three, an ordinary one, evenly spread over orders of magnitude; in
    the third it comes from `extreme`, in a wider range:

        head_size (even)  2 to 32, 2 to 1024        vocab_size      20 to 400, 3 to 40,000
        n_kv_heads        1 to 4,  1 to 16          seq_len         10 to 200, 1 to 20,000
        heads for each    1 to 3,  1 to 8           bytes a piece   2 to 20,   1 to 255
        hidden_dim        8 to 200, 1 to 8192       n_layers        1 to 5,    1 to 300

    It is drawn again until it costs no more than WEIGHTS and WORK allow (`most_weights`, `most_work`). A context that costs
    more ends early, by BOS, after 12 to 40 passes at the latest. Half are tied. Half of the models have scales as well: embedding and residual stream
    10^-3 to 10^6, queries 10^-2 to 10, gate and up 10^-1 to 10, logits 10^-1 to 10."""
    generator = random.Random(f"{seed} {index}")

    def size(ordinary: tuple[int, int], wide: tuple[int, int]) -> int:
        return extreme(generator, *wide) if generator.random() < 1 / 3 else even(generator, *ordinary)
    while True:
        head_size = 2 * size((1, 16), (1, 512))
        n_kv_heads, group = size((1, 4), (1, 16)), size((1, 3), (1, 8))
        config = Config(head_size * n_kv_heads * group, size((8, 200), (1, 8192)), size((1, 5), (1, 300)),
                        n_kv_heads * group, n_kv_heads, size((20, 400), (3, 40_000)), size((10, 200), (1, 20_000)),
                        generator.random() < 0.5)
        piece_length = size((2, 20), (1, 255))
        if len(random_model.LETTERS) ** piece_length < config.vocab_size or config.vocab_size * piece_length > most_weights:
            continue
        passes = 0
        if work(config, config.seq_len) > most_work:
            passes = generator.randint(12, 40)
            config = replace(config, tied=False)
            if config.seq_len <= passes or config.vocab_size < 32:
                continue
        weights = sum(map(math.prod, config.shapes().values()))
        if weights <= most_weights and work(config, passes or config.seq_len) <= most_work:
            break
    scales: dict[str, float] = {}
    if generator.random() < 0.5:
        def power(low: float, high: float) -> float:
            return 10.0 ** generator.uniform(low, high)
        residual = power(-3, 6)
        scales = {"token_embedding": residual, "wo": residual, "w2": residual, "wq": power(-2, 1), "w1": power(-1, 1),
                  "w3": power(-1, 1)}
        scales["rms_final"] = power(-1, 1) / (residual if config.tied else 1.0)  # of the logits
    return Draw(index, config, piece_length, passes, generator.choice([1.0, 2.0, 4.0]), scales)


def problem(expected: Expected, engine: Engine, steps: int = 0) -> str:
    """Why these weights say nothing, "" when they do; `steps` is where the reference was stopped."""
    if steps and len(expected.tokens) == steps:
        return "it does not end early with the packed weights"
    if expected.gap < matching.SMALLEST_GAP:
        return f"a near-tie, the smallest gap is {expected.gap:.2g}"
    return "; ".join(domain.warnings(expected.extremes, engine.arithmetic))


def try_draw(drawn: Draw, engine: Engine, encoding: str, folder: Path) -> tuple[Outcome, int]:
    """What becomes of the first weights that are fit for it, and their seed."""
    case = drawn.case()
    model = cases.sparse_model(case.config, folder, case.piece_length)
    reason = refusal(engine, encoding, model)
    if reason:
        return Outcome("refused", reason), 0
    for seed in range(1, TRIES + 1):
        try:
            model = case.write(folder, seed, engine)
        except cases.Unsuitable as reason:
            outcome = Outcome("unsuitable", str(reason))
            continue
        steps = drawn.passes and drawn.passes + 1
        outcome = attempt(engine, encoding, model, folder / "build", TIMEOUT, lambda it: problem(it, engine, steps), steps)
        if outcome.verdict != "unsuitable":
            break
    return outcome, seed


def jobs(seed: int, indices: Sequence[int], chosen: Sequence[Engine], quick: bool) -> Iterator[tuple[Draw, Engine, str]]:
    """All that is to be tried: every shape by every engine in every encoding. Of the quick ones, one by what is no program that
    runs here: by each of these another one, that it takes."""
    def drawn(index: int, slow: bool) -> Draw:
        return draw(seed, index, SLOW_WORK if slow or quick else WORK, QUICK_WEIGHTS if quick else WEIGHTS)

    slow = {engine.name: run.emulated(engine) or engine.target.machine != "program" for engine in chosen}
    only = {engine.name: next((index for index in (*indices[place % len(indices):], *indices)
                               if takes(engine, drawn(index, True))), indices[0])
            for place, engine in enumerate(chosen) if quick and slow[engine.name]}
    for index in indices:
        for engine in chosen:
            if only.get(engine.name, index) == index:
                yield from ((drawn(index, slow[engine.name]), engine, encoding) for encoding in engine.encodings)


def takes(engine: Engine, drawn: Draw) -> bool:
    """Whether the engine takes the shape in one of its encodings."""
    with tempfile.TemporaryDirectory(prefix="llama512-match-") as folder:
        model = cases.sparse_model(drawn.config, Path(folder), drawn.piece_length)
        return any(not refusal(engine, encoding, model) for encoding in engine.encodings)


def record(drawn: Draw, engine: Engine, encoding: str, outcome: Outcome, weights: int, seconds: float) -> dict:
    """A line of the log. `weights` is the seed of the weights."""
    row: dict[str, object] = {
        "index": drawn.index, "engine": engine.name, "encoding": encoding, "verdict": outcome.verdict,
        "detail": outcome.detail, "weights": weights, "seconds": round(seconds, 1), "config": asdict(drawn.config),
        "piece_length": drawn.piece_length, "passes": drawn.passes, "spread": drawn.spread, "scales": drawn.scales}
    if outcome.expected:
        row |= {"tokens": len(outcome.expected.tokens), "gap": outcome.expected.gap,
                "extremes": {extreme.kind: extreme.value for extreme in outcome.expected.extremes}}
    return row


def done(path: Path | None) -> dict[tuple[int, bool, int, str, str], dict]:
    """The rows of a log, by what they are about. A last line that was cut off is tried again."""
    rows = {}
    if path and path.exists():
        for line in path.read_text("utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            rows[row["seed"], row["quick"], row["index"], row["engine"], row["encoding"]] = row
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=12, help="shapes (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the campaign (default: %(default)s)")
    parser.add_argument("--only", type=int, metavar="INDEX", help="this shape alone")
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="part I of N of the shapes")
    parser.add_argument("--engines", nargs="+", choices=engines.names(), help="(default: all)")
    parser.add_argument("--log", type=Path, help="JSON lines; what it has already is not tried again")
    parser.add_argument("--quick", action="store_true", help="small shapes, and one alone for an engine that is no program that runs here")
    options = parser.parse_args()
    part, parts = map(int, options.shard.split("/"))
    indices = [options.only] if options.only is not None else range(part - 1, options.count, parts)
    known = done(options.log)
    rows = []
    for drawn, engine, encoding in jobs(options.seed, indices, here.choose(options.engines), options.quick):
        row = known.get((options.seed, options.quick, drawn.index, engine.name, encoding))
        if row is None:
            start = time.monotonic()
            with tempfile.TemporaryDirectory(prefix="llama512-match-") as folder:
                outcome, weights = try_draw(drawn, engine, encoding, Path(folder))
            row = {"seed": options.seed, "quick": options.quick} | record(drawn, engine, encoding, outcome, weights,
                                                                          time.monotonic() - start)
            if options.log:
                with options.log.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
        rows.append(row)
        print(line(row), flush=True)
    return summary(rows)


def line(row: dict) -> str:
    shape = " ".join(f"{name} {value}" for name, value in row["config"].items())
    what = row["verdict"] if row["verdict"] in GOOD else row["verdict"].upper()
    return (f"{row['index']}: {row['engine']} {row['encoding']}: {what}"
            + (f", {row['tokens']} tokens, gap {row['gap']:.3g}" if row["verdict"] == "equal" else f": {row['detail']}")
            + f" ({row['seconds']:.0f} s; {shape} piece {row['piece_length']}{' scaled' if row['scales'] else ''})")


def summary(rows: Sequence[dict]) -> int:
    """Prints the figures; the exit status."""
    for engine in dict.fromkeys(row["engine"] for row in rows):
        counts = Counter(row["verdict"] for row in rows if row["engine"] == engine)
        print(f"{engine}: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items())))
    shapes = len({row["index"] for row in rows})
    bad = [row for row in rows if row["verdict"] not in GOOD]
    print(f"{shapes} shapes, {len(rows)} programs and images: {len(bad)} neither equal nor refused")
    return 1 if bad or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
