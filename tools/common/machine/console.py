"""What a PC's engine tells, as it comes: from the screen's memory, or from COM1; or a conversation with it.

    from common.machine import console
    stream = console.open_stream(engine, pc, show=True)      # also to stdout
    stream.to_the_end(timeout)
    bytes(stream.text)                                       # the story

    talk = console.Conversation(pc, show=False)              # with an engine of style CHAT
    talk.wait_for_prompt()
    talk.say("Once upon", "keyboard")                        # b" Once upon a time …": the answer
    talk.type("The dragon", "serial"); talk.enter("serial"); talk.answer()       # the same, step by step
"""

from __future__ import annotations

import math
import os
import sys
import time
from typing import Callable

from common.engine.engines import Engine
from common.errors import UserError
from common.machine import screen
from common.machine.qemu import Machine

PATIENCE = 60.0  # seconds without a new character, for small models
PACE = 1e6  # bytes of the model in a second: a token takes all of it
LOOKS, LOOK_TIME = 5, 0.1  # so often nothing new has come, and the processor was in real mode: the engine waits at its prompt
ECHO_TIME = 0.5  # seconds after which no echo will come: the engine has refused the character
ENTER, NEWLINE, PROMPT = b"\r", b"\r\n", b"\r\n>"
KEYBOARD, SERIAL = "keyboard", "serial"  # how a line is typed


def open_stream(engine: Engine, pc: Machine, show: bool = True) -> Stream:
    """The stream that the engine's text comes from."""
    streams = {screen.CELLS: ScreenStream, screen.LINES: SerialStream, screen.CHAT: Conversation}
    return streams[screen.style(engine)](pc, show)


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

    def to_the_end(self, timeout: float = math.inf) -> None:
        """Of the story, in seconds: the engine halts the machine then."""
        self.pc.wait_until_stopped(timeout, self.look_patiently)

    @property
    def output(self) -> bytes:
        """All that the engine has shown."""
        return bytes(self.text)

    def finish(self) -> None:
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


class Conversation(Stream):
    """With an engine that shows a prompt, takes a line, tells a story, and shows the prompt again. COM1 gets all of it, also
    what is typed on the keyboard. A line feed comes as CR LF: nothing else has a CR before its LF that does not belong to it.

    `received` is all that COM1 got. `text` is the last answer."""

    def __init__(self, pc: Machine, show: bool = False, heard: Callable[[bytes], None] = lambda data: None,
                 meter: Callable[[], float] = lambda: 0) -> None:
        """`show`: answers also to stdout, as they come. `heard`: gets all that comes. `meter`: of something that the machine
        uses up; `used` is how much of that from its start to the prompt, and for stories from Enter to the prompt."""
        super().__init__(pc, show)
        self.received, self.heard, self.meter, self.used = bytearray(), heard, meter, 0.0
        self._began, self._entered = 0, 0.0  # where the answer begins, and what the meter showed then

    def look(self) -> None:
        data = self.pc.serial()
        if data:
            self.received += data
            self.moved = time.monotonic()
            self.heard(data)

    @property
    def output(self) -> bytes:
        return bytes(self.received)

    def to_the_end(self, timeout: float = math.inf) -> None:
        """Of the story from BOS, which an empty line tells."""
        begin = time.monotonic()
        self.wait_for_prompt(timeout)
        self.say(b"", timeout=timeout - (time.monotonic() - begin))

    def at_prompt(self, begin: int = 0) -> bool:
        """Whether what came from there on ends with a prompt, and the processor is in real mode: a story may end like that,
        too, but the engine is in protected mode then, but for moments."""
        text = self.received[begin:]
        return (text.endswith(PROMPT) or begin == 0 and text == PROMPT[-1:]) and self.pc.in_real_mode()

    def wait_for_prompt(self, timeout: float = math.inf, begin: int = 0, came: Callable[[], None] = lambda: None) -> None:
        """Until the engine waits at the prompt. `came` is called now and then."""
        start = self.moved = time.monotonic()
        size, quiet, used = -1, 0, 0.0
        while quiet < LOOKS:
            self.look()
            came()
            now = time.monotonic()
            if not self.at_prompt(begin):
                quiet = 0
            elif quiet and len(self.received) == size:
                quiet += 1
            else:
                quiet, used = 1, self.meter()
            size = len(self.received)
            if not quiet:
                if self.pc.stopped():
                    raise UserError(f"the engine has stopped; the screen shows "
                                    f"{screen.rows(self.pc.text_memory()).decode('cp437')!r}")
                if now - start > timeout:
                    raise UserError(f"the engine is not back at its prompt after {timeout:.0f} s, nor after "
                                    f"{bytes(self.received[-40:])!r}")
                if now - self.moved > self.patience:
                    raise UserError(f"nothing new for {self.patience:.0f} s, and no prompt, after {len(self.received)} characters; "
                                    "give the machine more --memory, and check that the image is one of this engine")
            time.sleep(LOOK_TIME)
        self.used += used - self._entered

    def type(self, line: str | bytes, by: str = SERIAL) -> bytes:
        """Types a line without Enter, and waits until the engine has taken it: its echo."""
        data = os.fsencode(line)
        self.look()
        begin = len(self.received)
        if by == KEYBOARD:
            for character in os.fsdecode(data):
                before = len(self.received)
                self.pc.press(character)
                self._wait(lambda: len(self.received) > before)
        else:
            sent = 0
            while sent < len(data):
                sent += self.pc.send(data[sent:])
                self._wait(lambda: not self.pc.unsent())
        self._wait(lambda: self.received[begin:] == data)
        return bytes(self.received[begin:])

    def _wait(self, done: Callable[[], bool]) -> None:
        """Until something is so, or nothing new has come for a while."""
        size, moved = len(self.received), time.monotonic()
        while not done() and time.monotonic() - moved < ECHO_TIME:
            time.sleep(0.01)
            self.look()
            if len(self.received) > size:
                size, moved = len(self.received), time.monotonic()

    def enter(self, by: str = SERIAL) -> None:
        """Presses Enter."""
        self.look()
        self._began, self._entered = len(self.received), self.meter()
        if by == KEYBOARD:
            self.pc.press("\r")
        else:
            self.pc.send(ENTER)

    def answer(self, timeout: float = math.inf) -> bytes:
        """All that follows Enter up to the prompt, line feeds as they are in the story."""
        self.text.clear()
        self.wait_for_prompt(timeout, self._began + len(NEWLINE), self._tell)
        came = bytes(self.received[self._began:])
        if not came.startswith(NEWLINE):
            raise UserError(f"the engine does not begin a new line after Enter, it says {came[:20]!r}")
        self._told(came.removesuffix(PROMPT))
        return bytes(self.text)

    def _tell(self) -> None:
        """What has come of the answer, but for what may be the prompt."""
        came = bytes(self.received[self._began:])
        held = next((size for size in range(len(PROMPT), 0, -1) if came.endswith(PROMPT[:size])), 0)
        self._told(came[:len(came) - held])

    def _told(self, came: bytes) -> None:
        self.add(plain(came.removeprefix(NEWLINE))[len(self.text):])

    def say(self, line: str | bytes, by: str = SERIAL, timeout: float = math.inf) -> bytes:
        """Types a line, and gives the answer."""
        self.type(line, by)
        self.enter(by)
        return self.answer(timeout)

    def finish(self) -> None:
        write(b"\n")


def plain(text: bytes) -> bytes:
    """With line feeds as they were: the engine sends each as CR LF, and what stood before it is left."""
    return text.replace(NEWLINE, b"\n")


def write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
