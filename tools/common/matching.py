"""Does an engine say what the reference says? Runs both, and finds the first token that differs.

    from common import matching
    expected = matching.expect(built.effective)            # the reference's tokens, and their smallest logit gap
    output, seconds = matching.run_program(matching.native_command(built))
    matching.compare(output, expected)                      # None: equal; or a Difference
"""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
import tempfile
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import Sequence

from common import checkpoint, domain, tokenizer
from common.builds import Built
from common.domain import Extreme
from common.errors import UserError
from common.models import ROOT, Model
from common.tokenizer import printed

SMALLEST_GAP = 1e-3  # a smaller gap between the two best logits is a near-tie, which rounding may decide either way
TIMEOUT = 600.0  # seconds; an engine that takes longer is stuck


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
    gap: float  # the smallest difference between the best two logits along the way
    gap_position: int
    seconds: float  # that the reference took
    extremes: list[Extreme] = field(default_factory=list)  # the largest magnitudes along the way

    @property
    def text(self) -> bytes:
        """The bytes that an engine has to print."""
        return b"".join(self.pieces[token] for token in self.tokens)


def expect(model: Model, logits_file: Path | None = None, steps: int = 0) -> Expected:
    """Runs the reference on a model. `logits_file` keeps the logits (see read_logits); `steps`: not more passes."""
    config = checkpoint.read_config(model.checkpoint)
    pieces = [printed(piece) for piece in tokenizer.load(model.tokenizer, config.vocab_size).pieces]
    with tempfile.TemporaryDirectory() as folder:
        logits = logits_file or Path(folder) / "logits"
        command = [str(reference_program()), "-m", str(model.checkpoint), "--tokenizer", str(model.tokenizer),
                   "--tokens", "--quiet", "--steps", str(steps), "--extremes", f"{folder}/extremes"]
        start = time.monotonic()
        result = subprocess.run([*command, "--logits", str(logits)], capture_output=True, encoding="utf-8",
                                errors="replace", timeout=TIMEOUT)
        seconds = time.monotonic() - start
        if result.returncode:
            raise UserError(f"the reference failed: {result.stderr.strip() or result.returncode}")
        gap, position = smallest_gap(logits, config.vocab_size)
        extremes = domain.read(Path(folder) / "extremes")
    return Expected([int(line) for line in result.stdout.split()][1:], pieces, gap, position, seconds, extremes)


def read_logits(path: Path, vocab_size: int) -> list[array[float]]:
    """The rows of a file that the reference's --logits wrote, one for each forward pass."""
    values: array[float] = array("f")
    values.frombytes(path.read_bytes())
    if sys.byteorder == "big":
        values.byteswap()
    return [values[start:start + vocab_size] for start in range(0, len(values), vocab_size)]


def smallest_gap(path: Path, vocab_size: int) -> tuple[float, int]:
    """The smallest difference between the best two logits in a file of --logits, and its position."""
    gaps = []
    for row in read_logits(path, vocab_size):
        best, second = sorted(row)[:-3:-1]
        gaps.append(best - second)
    gap = min(gaps)
    return gap, gaps.index(gap)


def native_command(built: Built) -> list[str]:
    """The command that runs a program on this machine: the program itself. A kernel that cannot (one without 32-bit
    programs, or another processor's) gets the target's emulator before it, and stderr says so. With LLAMA512_EMULATE=1
    in the environment, every kernel is taken for such a one."""
    program = str(built.program)
    reason = ("LLAMA512_EMULATE is set" if os.environ.get("LLAMA512_EMULATE")
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


def run_program(command: Sequence[str | os.PathLike[str]], show: bool = False,
                timeout: float = TIMEOUT) -> tuple[bytes, float]:
    """Runs an engine to its end: what it printed, and the seconds that it took. `show`: also to stdout, as it comes."""
    start = time.monotonic()
    shown = bytearray()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout
        try:
            while True:
                left = start + timeout - time.monotonic()
                if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
                    raise UserError(f"{command[-1]}: not finished after {timeout:.0f} s, stopped")
                data = os.read(process.stdout.fileno(), 1 << 16)
                if not data:
                    break
                shown += data
                if show:
                    sys.stdout.buffer.write(data)
                    sys.stdout.buffer.flush()
        except BaseException:
            process.kill()
            raise
    seconds = time.monotonic() - start
    if process.returncode:
        how = f"signal {-process.returncode}" if process.returncode < 0 else f"exit status {process.returncode}"
        raise UserError(f"{command[-1]}: ended with {how} after {len(shown)} bytes of output")
    return bytes(shown), seconds


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


def compare(output: bytes, expected: Expected) -> Difference | None:
    """None when the output is what the reference's tokens print; otherwise where they part."""
    offset = 0
    for index, token in enumerate(expected.tokens):
        piece = expected.pieces[token]
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
