"""The random checkpoints that every engine must be right for: their shapes, and what each of them is there to show.

    from support import cases
    case = cases.find("ties")
    sample = case.sample(engine, folder)      # a checkpoint with every property below, by the first seed that has them
    sample.model, sample.expected["f32"]

A sample is only used when its effective checkpoint, in each encoding of the engine, has in the reference's eyes

- no near-tie: the best two logits are never closer than matching.SMALLEST_GAP, for rounding could decide there;
- the stop that the case wants (nearly always seq_len), and at least 8 different tokens;
- what else the case is there for (`demand`).

A seed that lacks any of these is replaced by the next one, which is the same on every machine, and never tolerated.
"""

from __future__ import annotations

import math
import struct
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Callable

from common.engine import builds, engines, packing
from common.engine.builds import Built
from common.engine.engines import Engine
from common.engine.nasm import SectorFull
from common.errors import UserError
from common.libraries import numpy as np
from common.machine import here, run
from common.match import matching
from common.match.matching import Expected
from common.model import llama2c, random_model, tokenizer
from common.model.checkpoint import Checkpoint, Config
from common.model.models import Model
from common.model.tokenizer import BOS
from common.pack.layouts import LAYOUTS

DISTINCT_TOKENS = 8
SEEDS = 50  # that are tried before a case is given up

Logits = "np.ndarray"  # (forward passes, vocab_size)
Demand = Callable[[Expected, Logits], str]


def no_demand(expected: Expected, logits: Logits) -> str:
    return ""


def unchanged(model: Checkpoint) -> None:
    """The weights as random_model makes them."""


@dataclass(frozen=True)
class Case:
    """A shape, a way to make its weights, and what the reference must say about them."""

    name: str
    config: Config
    seed: int  # the first one to try; chosen such that it is used
    spread: float = 4.0  # of the random weights; large, so that layers say more than the token that came in
    piece_length: int = 7
    change: Callable[[Checkpoint], None] = unchanged
    demand: Demand = no_demand  # what is missing, "" when nothing is
    ends_by_bos: bool = False
    ties: bool = False  # the best logit may be there several times, exactly
    distinct: int = DISTINCT_TOKENS  # at least so many different tokens
    vocabulary: list[bytes] | None = None  # instead of pieces of piece_length
    passes: int = 0  # not 0: BOS comes after so many forward passes at the latest, however long seq_len is; untied only

    def checkpoint(self, seed: int) -> Checkpoint:
        model = random_model.weights(self.config, seed, self.spread)
        if not self.ends_by_bos:
            # BOS would end most runs early.
            scale_row(model, "token_embedding" if self.config.tied else "wcls", BOS, 0.25)
        self.change(model)
        return model

    def write(self, folder: Path, seed: int, engine: Engine) -> Model:
        """Writes the checkpoint; raises Unsuitable when this seed's cannot end as the case wants."""
        weights = self.checkpoint(seed)
        if self.passes:
            end_early(weights, self.passes, folder)
        vocabulary = self.vocabulary
        if vocabulary and not LAYOUTS[engine.layout].empty_pieces:
            vocabulary = [piece or b"?" for piece in vocabulary]
        if vocabulary and engine.spells:  # characters of several bytes must be its last tokens
            vocabulary = sorted(vocabulary, key=lambda piece: piece == SEVERAL_BYTES)
        return random_model.write(folder, self.name, weights, self.piece_length, vocabulary)

    def sample(self, engine: Engine, folder: Path) -> Sample:
        """The checkpoint by the first seed that has all that the case wants, in every encoding of the engine, which is built for
        it."""
        replaced = []
        for seed in range(self.seed, self.seed + SEEDS):
            try:
                model = self.write(folder, seed, engine)
            except Unsuitable as problem:
                replaced.append(f"seed {seed} is replaced: {problem}")
                continue
            built, expected = {}, {}
            for encoding in engine.encodings:
                built[encoding] = build(engine, model, folder / encoding, encoding)
                logits = folder / "logits"
                expected[encoding] = matching.expect(built[encoding].effective, logits, steps=self.passes and self.passes + 1)
                problem = self.problem(expected[encoding], matching.read_logits(logits, self.config.vocab_size))
                logits.unlink()
                if problem:
                    replaced.append(f"seed {seed} is replaced: {encoding}: {problem}")
                    break
            else:
                return Sample(self, seed, model, built, expected, replaced)
        raise AssertionError(f"{self.name}: no good seed from {self.seed} to {seed}:\n" + "\n".join(replaced))

    def problem(self, expected: Expected, logits: Logits) -> str:
        """Why a seed must be replaced, "" when it is good."""
        gap = expected.gap
        if self.ties:
            best = logits.max(1, keepdims=True)
            gap = (best - np.where(logits == best, -np.inf, logits).max(1, keepdims=True)).min()
        if gap < matching.SMALLEST_GAP:
            return f"a near-tie, the smallest gap is {gap:.2g}"
        if len(set(expected.tokens)) < min(self.distinct, self.config.seq_len):
            return f"only {len(set(expected.tokens))} different tokens"
        passes, seq_len = len(logits), self.config.seq_len
        if self.ends_by_bos or self.passes:
            if passes == seq_len or len(expected.tokens) < DISTINCT_TOKENS or passes != len(expected.tokens) + 1:
                return f"it ends after {len(expected.tokens)} tokens, not by BOS midway"
        elif len(expected.tokens) != seq_len:
            return f"it ends after {len(expected.tokens)} tokens, before seq_len"
        return self.demand(expected, logits)


@dataclass(frozen=True)
class Sample:
    """A checkpoint that shows what its case is there for."""

    case: Case
    seed: int
    model: Model
    built: dict[str, Built]  # the engine, by encoding
    expected: dict[str, Expected]  # by encoding, on the effective checkpoint
    replaced: list[str] = field(default_factory=list)  # seeds before it, and why they are not used


class Unsuitable(Exception):
    """A seed whose checkpoint cannot be what it has to be."""


def build(engine: Engine, model: Model, folder: Path, encoding: str) -> Built:
    """Builds the engine; for a large model, where its sector has no room for them, without the comforts that it has for these."""
    try:
        return builds.build(engine, model, folder, encoding)
    except SectorFull as error:
        if not engine.comforts:
            raise
        print(f"{error}: so without {', '.join(engine.comforts)}")
        return builds.build(engine.without(engine.comforts), model, folder, encoding)


# --- Ways to make weights ----------------------------------------------------------------------------------------

def scale_row(model: Checkpoint, name: str, row: int, factor: float) -> None:
    model.tensors[name][row] *= factor


def scale_residual(model: Checkpoint, factor: float) -> None:
    """Scales all that is ever added into the residual stream. Without an epsilon, RMSNorm would undo it exactly."""
    for name in ("token_embedding", "wo", "w2"):
        model.tensors[name] *= factor


def end_early(model: Checkpoint, passes: int, folder: Path) -> None:
    """Changes the classifier such that BOS follows after `passes` passes at the latest, and the tokens before it stay.

    BOS gets the row of the last new token that comes there, made larger: so it wins where that token would have."""
    assert not model.config.tied
    logits = folder / "endless.logits"
    endless = random_model.write(folder, "endless", model, piece_length=12)
    tokens = matching.expect(endless, logits, steps=passes).tokens
    rows = matching.read_logits(logits, model.config.vocab_size)
    for path in (endless.checkpoint, endless.tokenizer, logits):
        path.unlink()
    for position in range(len(tokens) - 1, EARLIEST - 1, -1):
        token, margin = tokens[position], 0.01 * rows[position].max()
        for factor in (1.5, 1.1, 1.02):
            if margin > 0 and (factor * rows[:position, token] < rows[:position].max(1) - margin).all():
                model.tensors["wcls"][BOS] = factor * model.tensors["wcls"][token]
                return
    raise Unsuitable(f"no new token comes in passes {EARLIEST} to {passes}, which BOS could take the place of")


EARLIEST = 4  # passes
SMALL = 1e-3  # of a residual stream of mean square 1e-6 or so, a tenth of epsilon


def make_small(model: Checkpoint) -> None:
    scale_residual(model, SMALL)


def make_negative(model: Checkpoint) -> None:
    """Element 0 of the residual stream is always 8, as no layer adds to it; and every logit has a large part of it. (Not so large that
    in int4 all other weights of the classifier are 0.)"""
    model.tensors["token_embedding"][:, 0] = 8.0
    model.tensors["wcls"][:, 0] = -8.0
    model.tensors["wo"][:, 0] = model.tensors["w2"][:, 0] = 0.0  # (n_layers, dim, …)


def make_ties(model: Checkpoint) -> None:
    """Every row of the classifier is there two or three times, some side by side and some far apart."""
    rows = model.tensors["wcls"]
    third = len(rows) // 3
    # Columns of zeros at both ends: in bf16 a weight's low half is the weight before it, which is then the same.
    rows[:, 0] = rows[:, -1] = 0.0
    rows[:] = rows[[token % third if token < 2 * third else (token - 2 * third) // 2 for token in range(len(rows))]]


def want_negative(expected: Expected, logits: Logits) -> str:
    largest = logits.max()
    return f"the largest logit is {largest:.3g}" if largest >= 0 else ""


def want_ties(expected: Expected, logits: Logits) -> str:
    """Exact ties for the best logit at most positions, side by side and far apart, and the lowest token was taken."""
    tied = []
    for token, row in zip(expected.tokens, logits):
        best = np.flatnonzero(row == row.max()).tolist()
        assert token == best[0], "the reference takes the lowest token"
        if len(best) > 1:
            tied.append((token, best))
    if len(tied) < len(logits) / 2:
        return f"only {len(tied)} exact ties"
    if len({token for token, _ in tied}) < DISTINCT_TOKENS:
        return "too few different tokens are tied"
    return ""


SEVERAL_BYTES = "\u00e9".encode()  # one character


def mixed_pieces(vocab_size: int) -> list[bytes]:
    """Pieces of 0 to 19 bytes: what tokenizers begin with, `<0xNN>` for all kinds of bytes (also NUL), and letters."""
    special = [b"<unk>", b"\n<s>\n", b"\n</s>\n", b"", b"<0x00>", b"<0x0A>", b"<0xFF>", b" ", SEVERAL_BYTES, b"<0x41",
               b"\x01\x80"]
    some_bytes = [f"<0x{37 * i % 256:02X}>".encode() for i in range(vocab_size // 3)]
    letters = random_model.pieces(vocab_size, 19)
    return special + some_bytes + [letters[i][:3 + i % 17] for i in range(len(special + some_bytes), vocab_size)]


def want_mixed(expected: Expected, logits: Logits) -> str:
    generated = {expected.pieces[token] for token in expected.tokens}
    if len({len(piece) for piece in generated}) < 8:
        return "too few different lengths"
    if not any(piece in generated for piece in (b"", b"\0")):
        return "neither the empty piece nor NUL"
    return "" if sum(len(piece) == 1 and piece[0] > 127 for piece in generated) >= 3 else "too few bytes above 127"


# --- The table ---------------------------------------------------------------------------------------------------

#            dim hidden_dim n_layers n_heads n_kv_heads vocab_size seq_len tied
CASES = [
    Case("grouped", Config(32, 64, 2, 4, 2, 64, 32, True), 1),
    Case("full-attention", Config(32, 64, 1, 2, 2, 32, 16, False), 1, piece_length=1),
    Case("head-size-4", Config(24, 40, 2, 6, 6, 100, 48, False), 1),
    Case("head-size-64", Config(128, 96, 1, 2, 1, 128, 64, True), 1),
    Case("hidden-dim-700", Config(32, 700, 1, 4, 4, 300, 64, False), 1),
    Case("6-layers", Config(32, 48, 6, 4, 2, 96, 128, True), 2),
    # A vocabulary of an odd number of bytes; RoPE's ratio is a whole number, and not Llama 2's. Then a ratio that is none, and much
    # epsilon.
    Case("kv-ratio-3", Config(48, 80, 3, 6, 2, 257, 64, False, rope_theta=625.0), 1, piece_length=10),
    Case("one-kv-head", Config(30, 23, 4, 5, 1, 33, 17, True, rms_epsilon=0.5, rope_theta=300.0), 1),
    Case("seq-len-256", Config(32, 64, 2, 2, 1, 200, 256, True), 1),
    Case("vocab-1024", Config(32, 64, 1, 4, 2, 1024, 40, False), 1, piece_length=12),
    Case("pieces-of-255", Config(16, 300, 2, 2, 2, 40, 24, False), 2, piece_length=255),
    Case("mixed-pieces", Config(24, 32, 2, 3, 1, 90, 90, False), 1, vocabulary=mixed_pieces(90),
         demand=want_mixed),
    Case("ends-by-bos", Config(32, 48, 2, 4, 4, 32, 64, False), 5, ends_by_bos=True),
    Case("epsilon", Config(32, 64, 2, 4, 2, 64, 48, False), 2, change=make_small),
    Case("negative-logits", Config(32, 64, 2, 4, 2, 64, 48, False), 6, spread=2, change=make_negative,
         demand=want_negative),
    Case("ties", Config(32, 64, 2, 4, 2, 96, 48, False), 1, change=make_ties, demand=want_ties, ties=True),
    # Counts that do not fit into a byte, a signed byte or a word, and positions of very few numbers.
    Case("head-size-258", Config(258, 8, 1, 1, 1, 40, 12, True), 18, distinct=5),
    Case("one-head-of-64", Config(64, 40, 2, 1, 1, 64, 16, True), 64),
    Case("kv-dim-128", Config(256, 40, 1, 4, 2, 64, 16, True), 1),
    Case("kv-dim-24", Config(72, 40, 2, 12, 4, 64, 16, True), 1),
    Case("300-layers", Config(4, 3, 300, 2, 1, 40, 12, False), 85, spread=1, distinct=6),
    Case("tiny", Config(2, 1, 1, 1, 1, 5, 64, False), 1, distinct=3),
    Case("65536", Config(2, 65536, 1, 1, 1, 65536, 9, True), 22, distinct=5),
    Case("seq-len-1", Config(8, 12, 2, 4, 2, 10, 1, True), 1),  # and an engine with so little memory that addresses get short
    Case("wide-position", Config(4, 512, 15, 1, 1, 42, 61, False), 1, spread=2),  # much memory behind the last one is looked at
    Case("seq-len-20000", Config(8, 16, 1, 2, 2, 32, 20000, False), 2, ends_by_bos=True),
]

# The most different of them. An engine that shares its source and its layout with one that is quicker here runs these alone, and
# so does each encoding after an engine's first (label `long`: all of them).
FEW = ("full-attention", "kv-ratio-3", "one-kv-head", "mixed-pieces", "ends-by-bos", "ties", "head-size-258", "300-layers",
       "tiny", "seq-len-1")

# What is emulated runs FEWER then; so does what must be switched on for every case, which takes seconds, and in an encoding after
# its first FEWEST.
SWITCHED_ON = ("uefi",)
FEWER = ("full-attention", "one-kv-head", "mixed-pieces", "ties", "head-size-258", "tiny")
FEWEST = ("mixed-pieces", "ties")
FOR_THIRD = ("mixed-pieces", "ties", "one-kv-head")  # an engine's encodings after its second

# The shapes of the checkpoints that everyone has: they take minutes (label `long`). All end early but the first one.
LONG = [
    Case("stories15M", Config(288, 768, 6, 6, 6, 32000, 256, True), 1),
    Case("stories42M", Config(512, 1376, 8, 8, 8, 32000, 1024, False), 1, passes=20),
    Case("stories110M", Config(768, 2048, 12, 12, 12, 32000, 1024, False), 1, passes=20),
]


def sparse_model(config: Config, folder: Path, piece_length: int = 7) -> Model:
    """A checkpoint (version 1) whose weights are a hole in the file: for what reads only its shape. Any size costs nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    model = Model("sparse", folder / "sparse.bin", folder / "sparse.tokenizer.bin")
    with open(model.checkpoint, "wb") as file:
        file.write(struct.pack("<Ii7iB", llama2c.MAGIC, 1, *astuple(config)[:7], config.tied).ljust(256, b"\0"))
        file.truncate(256 + 4 * sum(map(math.prod, config.shapes().values())))
    tokenizer.write(model.tokenizer, random_model.pieces(config.vocab_size, piece_length), [0.0] * config.vocab_size)
    return model


def without_refused(case: Case, engine: Engine, folder: Path) -> Engine:
    """The engine with those encodings alone that can take the case's shape; says which it refuses, and why."""
    model = sparse_model(case.config, folder, case.piece_length)
    good = []
    for encoding in engine.encodings:
        try:
            packing.check_shape(engine, model, encoding)
        except UserError as error:
            print(f"{engine.name} {encoding}: refused: {error}")
        else:
            good.append(encoding)
    return replace(engine, encodings=tuple(good))


def by_default(engine: Engine) -> list[tuple[Case, Engine]]:
    """The cases that the engine is tried with when nobody asks for all, each with the engine in the encodings for it."""
    alike = [other for other in engines.table() if (other.source, other.layout) == (engine.source, engine.layout)
             and (other == engine or not here.missing(other))]
    # A kernel may run programs of 64 bits alone, which come later.
    first = min(reversed(alike), key=lambda other: (run.emulated(other), other.target.machine != "program"))
    switched_on = engine.target.machine in SWITCHED_ON
    few, every_encoding = FEW, FEW
    if switched_on:
        few, every_encoding = FEWER, FEWEST
    elif engine != first and run.emulated(engine):
        few = every_encoding = FEWER
    chosen = []
    for case in CASES:
        if case.name in every_encoding:
            some = len(engine.encodings) if case.name in FOR_THIRD else 2
            chosen.append((case, replace(engine, encodings=engine.encodings[:some])))
        elif case.name in few or engine == first and not switched_on:
            chosen.append((case, replace(engine, encodings=engine.encodings[:1])))
    return chosen


def find(name: str) -> Case:
    return next(case for case in CASES + LONG if case.name == name)


if __name__ == "__main__":
    # CMake makes a test of each.
    print("\n".join(case.name for case in LONG))
