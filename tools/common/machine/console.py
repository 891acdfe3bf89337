"""What a PC's engine tells, as it comes: from the screen's memory, or from COM1.

    from common.machine import console
    stream = console.open_stream(engine, pc, show=True)      # also to stdout
    pc.wait_until_stopped(math.inf, stream.look_patiently)
    bytes(stream.text)
"""

from __future__ import annotations

import sys
import time

from common.engine.engines import Engine
from common.errors import UserError
from common.machine import screen
from common.machine.qemu import Machine

PATIENCE = 60.0  # seconds without a new character, for small models
PACE = 1e6  # bytes of the model in a second: a token takes all of it


def open_stream(engine: Engine, pc: Machine, show: bool = True) -> Stream:
    """The stream that the engine's text comes from."""
    return SerialStream(pc, show) if screen.style(engine) == screen.LINES else ScreenStream(pc, show)


class Stream:
    """Collects an engine's text as it comes, and writes it to stdout when it is to be shown."""

    most: int | None = None  # bytes that can be seen

    def __init__(self, pc: Machine, show: bool) -> None:
        self.pc, self.show, self.text, self.moved = pc, show, bytearray(), time.monotonic()
        self.patience = max(PATIENCE, pc.image_bytes / PACE)

    def add(self, data: bytes) -> None:
        self.text += data
        if self.show and data:
            write(data)

    def look(self) -> None:
        raise NotImplementedError

    def look_patiently(self) -> None:
        """Looks, and gives up when nothing has come for long."""
        before = len(self.text)
        self.look()
        if len(self.text) > before or len(self.text) == self.most:
            self.moved = time.monotonic()
        elif time.monotonic() - self.moved > self.patience:
            raise UserError(f"nothing new for {self.patience:.0f} s, after {len(self.text)} characters; give the machine more "
                            "--memory, and check that the image is one of this engine")


class ScreenStream(Stream):
    """From what is written to text memory, as far as that goes."""

    most = screen.CELL_COUNT

    def look(self) -> None:
        self.add(self.pc.cells())

    def finish(self) -> None:
        if not self.text:
            raise UserError("the engine stopped before it told anything: the disk or the memory did not suit it")
        write(b"\n")
        if len(self.text) == self.most:
            print(f"(text memory ends here, after {self.most:,} characters)", file=sys.stderr)


class SerialStream(Stream):
    """From COM1."""

    def look(self) -> None:
        self.add(self.pc.serial())

    def finish(self) -> None:
        if not self.text:  # a message that only the screen has
            raise UserError(f"no story; the screen shows {screen.rows(self.pc.text_memory()).decode('cp437')!r}")
        write(b"\n")


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
