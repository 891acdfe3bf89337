"""A live conversation with a PC's engine: what a person types goes to COM1, stdout shows what comes.

    from common.machine import live
    talk = live.conversation(pc)            # stdout shows all that comes
    live.prompts(talk, ["Once upon"])       # typed for the person
    live.lines(talk, sys.stdin.buffer)      # of a file, each when the prompt is there
    live.terminal(talk, sys.stdin.fileno()) # key by key, until Ctrl-C or Ctrl-]
"""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from contextlib import contextmanager
from typing import Iterable, Iterator, Sequence

from common.errors import UserError
from common.machine import console, keyboard, screen
from common.machine.console import Conversation, write
from common.machine.qemu import Machine

ENDS = b"\x03\x1d"  # Ctrl-C and Ctrl-]
CHECK = 0.5  # seconds between looks whether the machine still runs
WAIT = 0.03  # for a key


def conversation(pc: Machine) -> Conversation:
    """Shows all that comes, line feeds as such. What is shown ends within a line: with the prompt."""
    held = b""

    def heard(data: bytes) -> None:
        nonlocal held
        data = held + data
        held = data[len(data.removesuffix(b"\r")):]  # a line feed may follow
        write(console.plain(data.removesuffix(b"\r")))

    return Conversation(pc, heard=heard)


def prompts(talk: Conversation, texts: Sequence[str]) -> None:
    """Types lines, by the keyboard where it has the characters."""
    talk.wait_for_prompt()
    for text in texts:
        talk.say(text, console.KEYBOARD if keyboard.types(text) else console.SERIAL)


def lines(talk: Conversation, source: Iterable[bytes]) -> None:
    """Types a file's lines. Ends after the last answer."""
    talk.wait_for_prompt()
    for line in source:
        talk.say(line.rstrip(b"\r\n"))


def terminal(talk: Conversation, descriptor: int) -> None:
    """Sends every key that is pressed on a terminal, until one of ENDS, the machine's end, or that of the input."""
    print("(type to the machine; Ctrl-C or Ctrl-] ends it)", file=sys.stderr)
    waiting, checked = b"", time.monotonic()
    with raw(descriptor):
        talk.heard = write  # CR LF as they are, for a terminal that changes nothing
        while talk.pc.process.poll() is None:
            talk.look()
            if waiting:
                waiting = waiting[talk.pc.send(waiting):]
            if select.select([descriptor], [], [], WAIT)[0]:
                data = os.read(descriptor, 1 << 10)
                if not data or any(byte in ENDS for byte in data):
                    return
                waiting += data
            if time.monotonic() - checked > CHECK:
                checked = time.monotonic()
                if talk.pc.process.poll() is None and talk.pc.stopped():
                    talk.look()
                    shown = screen.rows(talk.pc.text_memory()).decode("cp437")
                    raise UserError(f"the engine has stopped; the screen shows {shown!r}")


@contextmanager
def raw(descriptor: int) -> Iterator[None]:
    """A terminal that gives every key as it is pressed, and changes nothing that is written to it."""
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
