"""Does an engine say what the reference says? Runs both, and finds the first token that differs.

    from common.match import matching
    expected = matching.expect(built.effective)            # the reference's tokens, and their smallest logit gap
    output, seconds = matching.run_program(matching.native_command(built), expected=expected)
    matching.compare(output, expected)                      # None: equal; or a Difference

An engine prints text and no numbers of tokens: where two tokens have the same text, `Expected.lookalikes` has them.
"""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
import time
from array import array
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

from common import processes
from common.engine.builds import Built
from common.errors import UserError
from common.match import domain
from common.match.domain import Extreme
from common.model import checkpoint, tokenizer
from common.model.models import Model
from common.model.tokenizer import printed
from common.project import ROOT

SMALLEST_GAP = 1e-3  # a smaller gap between the two best logits is a near-tie, which rounding may decide either way
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
    """What the reference generates greedily from BOS to the stop."""

    tokens: list[int]  # without BOS
    pieces: list[bytes]  # what an engine prints for each token of the vocabulary
    gaps: list[float]  # between the best two logits, for each forward pass
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


def expect(model: Model, logits_file: Path | None = None, steps: int = 0) -> Expected:
    """Runs the reference on a model. `logits_file` keeps the logits (see read_logits); `steps`: not more passes."""
    config = checkpoint.read_config(model.checkpoint)
    pieces = [printed(piece) for piece in tokenizer.load(model.tokenizer, config.vocab_size).pieces]
    with processes.temporary_folder() as folder:
        logits, errors = logits_file or folder / "logits", folder / "errors"
        command = [str(reference_program()), "-m", str(model.checkpoint), "--tokenizer", str(model.tokenizer),
                   "--tokens", "--quiet", "--steps", str(steps), "--extremes", str(folder / "extremes"),
                   "--logits", str(logits)]
        start = time.monotonic()
        said = bytearray()
        with errors.open("wb") as file, _running(command, stderr=file) as process:
            moved = start
            for data in _output(process, lambda: moved + TIMEOUT - time.monotonic(),
                                f"{model.checkpoint}: the reference has no new token after {TIMEOUT:.0f} s, stopped"):
                said, moved = said + data, time.monotonic()
        seconds = time.monotonic() - start
        if process.returncode:
            message = errors.read_text(encoding="utf-8", errors="replace").strip() or process.returncode
            raise UserError(f"the reference failed: {message}")
        return Expected([int(line) for line in said.split()][1:], pieces, gaps(logits, config.vocab_size), seconds,
                        domain.read(folder / "extremes"))


def read_logits(path: Path, vocab_size: int) -> list[array[float]]:
    """The rows of a file that the reference's --logits wrote, one for each forward pass."""
    values: array[float] = array("f")
    values.frombytes(path.read_bytes())
    if sys.byteorder == "big":
        values.byteswap()
    return [values[start:start + vocab_size] for start in range(0, len(values), vocab_size)]


def gaps(path: Path, vocab_size: int) -> list[float]:
    """The difference between the best two logits of every row in a file of --logits."""
    return [best - second for row in read_logits(path, vocab_size) for best, second in [sorted(row)[:-3:-1]]]


def smallest_gap(path: Path, vocab_size: int) -> tuple[float, int]:
    """The smallest of the gaps, and its position."""
    found = gaps(path, vocab_size)
    return min(found), found.index(min(found))


def native_command(built: Built) -> list[str]:
    """The command that runs a program on this machine: the program itself. A kernel that cannot (one without 32-bit
    programs, or another processor's) gets the target's emulator before it, and stderr says so. With LLAMA512_EMULATE=1
    in the environment, every kernel is taken for such a one."""
    program = str(built.program)
    reason = ("LLAMA512_EMULATE is set" if os.environ.get("LLAMA512_EMULATE", "0") not in ("", "0")
              else _kernel_refuses(program, built.engine.target))
    if not reason:
        return [program]
    emulator = built.engine.runner()
    print(f"{built.engine.name}: {reason}, so it runs under {emulator[0]}", file=sys.stderr)
    return [*emulator, program]


_refusals: dict[str, str] = {}  # by target


def _kernel_refuses(program: str, target: str) -> str:
    """Why the kernel cannot start programs for this target, "" when it can. Starts one, and ends it at once."""
    if target not in _refusals:
        try:
            with subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as process:
                process.kill()
            _refusals[target] = ""
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            _refusals[target] = f"the kernel cannot run it ({error.strerror})"
    return _refusals[target]


def run_program(command: Sequence[str | os.PathLike[str]], show: bool = False, timeout: float = TIMEOUT,
                expected: Expected | None = None) -> tuple[bytes, float]:
    """Runs an engine to its end: what it printed, and the seconds that it took. `show`: also to stdout, as it comes.
    What is `expected` says how much work it is: it may take longer then."""
    timeout = max(timeout, SLOWEST * expected.seconds) if expected else timeout
    start = time.monotonic()
    shown = bytearray()
    with _running(command) as process:
        for data in _output(process, lambda: start + timeout - time.monotonic(),
                            f"{command[-1]}: not finished after {timeout:.0f} s, stopped"):
            shown += data
            if show:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
    seconds = time.monotonic() - start
    if process.returncode:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit status {process.returncode}"
        raise UserError(f"{command[-1]}: ended with {how} after {len(shown)} bytes of output")
    return bytes(shown), seconds


@contextmanager
def _running(command: Sequence[str | os.PathLike[str]], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program without input, until it ends; killed when the `with` block does not go well."""
    with processes.start(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _output(process: subprocess.Popen[bytes], time_left: Callable[[], float], complaint: str) -> Iterator[bytes]:
    """What a program prints, as it comes; a UserError with the complaint when no time is left."""
    assert process.stdout
    while True:
        left = time_left()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise UserError(complaint)
        data = os.read(process.stdout.fileno(), 1 << 16)
        if not data:
            return
        yield data


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
