"""Does an engine say what the reference says? Runs the reference, and finds the first token that differs.

    from common.match import matching
    expected = matching.expect(built.effective)            # the reference's tokens, and their smallest logit gap
    story = run.run(built, expected=expected)               # common.machine.run
    matching.expect(built.effective, sampling=built.engine.sampling)    # of an engine that draws its tokens
    matching.compare(story.text, expected)                  # None: equal; or a Difference

An engine prints text and no numbers of tokens: where two tokens have the same text, `Expected.lookalikes` has them.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from common import processes, streams
from common.errors import UserError
from common.libraries import numpy as np
from common.match import domain
from common.match.domain import Extreme
from common.model import checkpoint, tokenizer
from common.model.models import Model
from common.model.tokenizer import printed
from common.pack import race
from common.pack.race import Sampling
from common.project import ROOT

SMALLEST_GAP = 1e-3  # a smaller gap between the two best logits is a near-tie, which rounding may decide either way
SMALLEST_RACE_GAP = 1e-5  # the same where tokens are drawn: of a race's best two, and of its winner and the nucleus' border (see race.border)
TIMEOUT = 600.0  # seconds without a token after which the reference is stuck; and an engine when it is not done
SLOWEST = 1000.0  # times the reference's time that an engine may take when that is more: an emulated one is slow


def reference_program() -> Path:
    """The reference engine's program: $LLAMA512_REFERENCE, or what the default preset builds."""
    chosen = os.environ.get("LLAMA512_REFERENCE")
    path = Path(chosen) if chosen else ROOT / "build" / "default" / "reference" / "reference"
    if not path.is_file():
        raise UserError(f"{path}: the reference engine is not built; run `cmake --preset default && cmake --build "
                        "--preset default`, or set LLAMA512_REFERENCE to the program")
    return path


@dataclass(frozen=True)
class Expected:
    """What the reference generates from BOS to the stop."""

    tokens: list[int]  # without BOS
    pieces: list[bytes]  # what an engine prints for each token of the vocabulary
    gaps: list[float]  # between the best two logits, for each forward pass; where tokens are drawn, see race_gaps
    seconds: float  # that the reference took
    extremes: list[Extreme] = field(default_factory=list)  # the largest magnitudes along the way

    @property
    def text(self) -> bytes:
        """The bytes that an engine has to print."""
        return b"".join(self.pieces[token] for token in self.tokens)

    @property
    def gap(self) -> float:
        """The smallest one: rounding could decide there."""
        return min(self.gaps)

    @property
    def gap_position(self) -> int:
        return self.gaps.index(self.gap)

    def gap_at(self, difference: Difference) -> float | None:
        """The gap where an output differs. None: it goes on behind the last pass."""
        return self.gaps[difference.index] if difference.index < len(self.gaps) else None

    @property
    def lookalikes(self) -> list[list[int]]:
        """Groups of tokens with the same text, of which one was generated: no output tells which."""
        groups: dict[bytes, list[int]] = {}
        for token, piece in enumerate(self.pieces):
            groups.setdefault(piece, []).append(token)
        generated = {self.pieces[token] for token in self.tokens}
        return [group for piece, group in groups.items() if piece in generated and len(group) > 1]


def expect(model: Model, logits_file: Path | None = None, steps: int = 0, sampling: Sampling | None = None,
           prompt: str = "") -> Expected:
    """Runs the reference on a model. `logits_file` keeps the logits (see read_logits); `steps`: not more passes; `sampling`: tokens
    are drawn; `prompt`: what the story begins with (its tokens count as generated)."""
    config = checkpoint.read_config(model.checkpoint)
    pieces = [printed(piece) for piece in tokenizer.load(model.tokenizer, config.vocab_size).pieces]
    with processes.temporary_folder() as folder:
        logits, errors = logits_file or folder / "logits", folder / "errors"
        command = [str(reference_program()), "-m", str(model.checkpoint), "--tokenizer", str(model.tokenizer),
                   "--tokens", "--quiet", "--steps", str(steps), "--extremes", str(folder / "extremes"),
                   "--logits", str(logits)]
        if prompt:
            command += ["--prompt", prompt]
        if sampling:
            command += ["--temp", repr(sampling.temperature), "--sampler", "race", "--seed", str(sampling.seed)]
            if sampling.has_nucleus:
                command += ["--top-p", repr(sampling.top_p)]
        start = time.monotonic()
        said = bytearray()
        with errors.open("wb") as file, streams.running(command, talks=True, stderr=file) as process:
            moved = start
            for data in streams.output(process, lambda: moved + TIMEOUT - time.monotonic(),
                                f"{model.checkpoint}: the reference has no new token after {TIMEOUT:.0f} s, stopped"):
                said, moved = said + data, time.monotonic()
        seconds = time.monotonic() - start
        if process.returncode:
            message = errors.read_text(encoding="utf-8", errors="replace").strip() or process.returncode
            raise UserError(f"the reference failed: {message}")
        found = race_gaps(logits, config.vocab_size, sampling) if sampling else gaps(logits, config.vocab_size)
        return Expected([int(line) for line in said.split()][1:], pieces, found, seconds, domain.read(folder / "extremes"))


def read_logits(path: Path, vocab_size: int) -> np.ndarray:
    """A file that the reference's --logits wrote: (forward passes, vocab_size)."""
    return np.fromfile(path, "<f4").reshape(-1, vocab_size)


def gaps(path: Path, vocab_size: int) -> list[float]:
    """The difference between the best two logits of every row in a file of --logits."""
    best = np.partition(read_logits(path, vocab_size).astype(np.float64), -2, 1)
    return (best[:, -1] - best[:, -2]).tolist()


def race_gaps(path: Path, vocab_size: int, sampling: Sampling) -> list[float]:
    """How close each pass's races were, in logits: so much must two of them be off to let another token win, or to keep one that was
    not in the nucleus, or the other way round."""
    return [min(each.gap for each in races) for races in race.run(read_logits(path, vocab_size), sampling)]


def smallest_gap(path: Path, vocab_size: int) -> tuple[float, int]:
    """The smallest of the gaps, and its position."""
    found = gaps(path, vocab_size)
    return min(found), found.index(min(found))


@dataclass(frozen=True)
class Difference:
    """The first token that differs."""

    index: int  # 0 is the first token after BOS
    expected: bytes | None  # the reference's piece; None: the reference had stopped
    found: bytes | None  # the engine's piece, as far as its bytes tell; None: the engine had stopped
    context: bytes  # the text before it

    def __str__(self) -> str:
        def piece(text: bytes | None) -> str:
            return "the end" if text is None else repr(text.decode("utf-8", "backslashreplace"))
        return (f"token {self.index}: expected {piece(self.expected)}, found {piece(self.found)}, "
                f"after …{self.context.decode('utf-8', 'backslashreplace')!r}")


def compare(output: bytes, expected: Expected, seen: int | None = None) -> Difference | None:
    """None when the output is what the reference's tokens print; otherwise where they part. `seen`: how many bytes an
    output can have at most, as what comes after them is not seen."""
    offset = 0
    for index, token in enumerate(expected.tokens):
        piece = expected.pieces[token] if seen is None else expected.pieces[token][:seen - offset]
        if output[offset:offset + len(piece)] != piece:
            return Difference(index, piece, _piece_at(output, offset, expected.pieces), output[:offset][-60:])
        offset += len(piece)
    if offset < len(output):
        return Difference(len(expected.tokens), None, _piece_at(output, offset, expected.pieces), output[:offset][-60:])
    return None


def _piece_at(output: bytes, offset: int, pieces: Sequence[bytes]) -> bytes | None:
    """The longest piece that stands at the offset; the bare byte when none does, None at the end."""
    if offset >= len(output):
        return None
    fitting = [piece for piece in pieces if piece and output.startswith(piece, offset)]
    return max(fitting, key=len, default=output[offset:offset + 1])
