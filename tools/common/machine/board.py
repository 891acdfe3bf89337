"""A board without an operating system, in QEMU: the image is in its memory when the processor starts, text comes out of its
first UART.

    from common.machine import board
    board.run(built, show=False, emulate=True, timeout=60).text

A story is over when the processor stands at a jump to itself. No engine lets anything interrupt it, so the state itself
proves that nothing will follow.
"""

from __future__ import annotations

import math
import re
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Sequence

from common import processes
from common.engine.builds import Built
from common.engine.engines import Engine
from common.engine.targets import FOLDER
from common.errors import UserError, require_tool
from common.machine.counter import Counter
from common.machine.qmp import Emulation
from common.machine.run import Story

# By instruction set: where QEMU's `info registers` says which instruction is next, and the jump to itself.
STOPS = {"arm": (r"R15=([0-9a-f]+)", b"\xFE\xE7")}


def run(built: Built, show: bool, emulate: bool, timeout: float) -> Story:
    """Always emulated."""
    start = time.monotonic()
    with Board(built) as board:
        text = _text(board, show, timeout)
        return Story(text, time.monotonic() - start)


def tell(built: Built, emulate: bool) -> None:
    with Board(built) as board:
        _text(board, True, math.inf)
        _write(b"\n")


def trace(built: Built, log: Path, timeout: float) -> bytes:
    log.unlink(missing_ok=True)
    with Board(built, ["-d", "in_asm", "-D", str(log.absolute())]) as board:
        return _text(board, False, timeout)


def measure(built: Built, runs: int) -> tuple[bytes, float, int | None]:
    """Of one run, from power-on; memory is that of the model and what the engine works in."""
    with Board(built) as board:
        return _text(board, False, math.inf), board.seconds(), built.memory


def count(built: Built, timeout: float) -> tuple[bytes, int | None]:
    """From power-on to the jump to itself, which counts once."""
    with Counter(built.engine.target.fact("emulator")) as counter, Board(built, counter.options) as board:
        return _text(board, False, timeout), counter.value()


def memory(built: Built) -> int:
    return built.memory


def check(engine: Engine) -> None:
    require_tool(engine.target.fact("emulator"), f"install what {FOLDER}/{engine.target.name}/packages.txt lists "
                                                 "(tools/quickstart --all does)")


def seen(engine: Engine) -> int | None:
    return None


def emulated(engine: Engine) -> bool:
    return True


def _text(board: Board, show: bool, timeout: float) -> bytes:
    """All that the engine tells; also to stdout, as it comes."""
    text = bytearray()

    def look() -> None:
        data = board.serial()
        text.extend(data)
        if show and data:
            _write(data)

    board.wait_until_stopped(timeout, look)
    return bytes(text)


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


class Board(Emulation):
    """The board that runs an engine."""

    def __init__(self, built: Built, extra: Sequence[str] = ()) -> None:
        check(built.engine)
        target = built.engine.target
        if target.fact("isa") not in STOPS:
            raise UserError(f"{target.folder / 'target.json'}: isa: {target.fact('isa')!r}: how such a processor stops is not "
                            f"known, only for {', '.join(STOPS)}; add it to tools/common/machine/board.py")
        self._place, self._stop = STOPS[target.fact("isa")]
        with ExitStack() as stack:
            folder = stack.enter_context(processes.temporary_folder())
            serial = folder / "uart0"
            serial.touch()
            self.start([target.fact("emulator"), "-M", target.fact("board"), "-display", "none", "-monitor", "none",
                        "-serial", f"file:{serial.name}", "-kernel", str(built.program.absolute()), *extra], folder, stack)
            self.greet()
            self._serial = stack.enter_context(serial.open("rb"))
            self._stack = stack.pop_all()

    def __enter__(self) -> Board:
        return self

    def serial(self) -> bytes:
        """What came out of the UART since the last call."""
        return self._serial.read()

    def stopped(self) -> bool:
        """Whether the processor is at a jump to itself."""
        place = re.search(self._place, self.monitor("info registers"))
        if place is None:
            raise UserError(f"{self.qemu}: info registers: no {self._place} in its answer; is this QEMU 7.2 or later?")
        return self.memory(int(place[1], 16), len(self._stop)) == self._stop
