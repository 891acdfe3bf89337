"""A PC: boots an engine's disk image, in QEMU, and takes its text from the screen or from COM1.

    from common.machine import pc
    pc.memory_for(built)             # MB of memory that the machine needs
    pc.converse(built, ["Once upon", ""], by="keyboard")     # the answers of an engine that one can type to
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Sequence

from common.engine import limits
from common.engine.builds import Built
from common.engine.engines import Engine
from common.engine.images import disk
from common.errors import UserError
from common.machine import console, qemu, screen
from common.machine.console import Conversation, Stream
from common.machine.counter import Counter
from common.machine.qemu import MOST_MEMORY, Machine
from common.machine.run import Story

CPU, MEMORY, DISK = "qemu32", 128, "ide"  # the default machine
BELOW_WORKSPACE = 2  # MB: the engines work in the memory above 1 MB and a little; large models lie there as well


def run(built: Built, show: bool, emulate: bool, timeout: float) -> Story:
    """Always emulated. What text memory shows in the end must be what was written to it."""
    start = time.monotonic()
    with machine(built) as pc:
        text = _text(built, pc, show, timeout)
        return Story(text, time.monotonic() - start)


def _text(built: Built, pc: Machine, show: bool, timeout: float) -> bytes:
    """All that the engine tells."""
    stream = console.open_stream(built.engine, pc, show)
    stream.to_the_end(timeout)
    check_screen(built, pc, stream)
    return bytes(stream.text)


def check_screen(built: Built, pc: Machine, stream: Stream) -> None:
    """What text memory shows must be what the engine has shown."""
    wrong = screen.problem(pc.text_memory(), stream.output, screen.style(built.engine), pc.before)
    if wrong:
        raise UserError(f"{built.program}: {wrong}")


def converse(built: Built, lines: Sequence[str | bytes], by: str = console.KEYBOARD, timeout: float = math.inf,
             **options: Any) -> list[bytes]:
    """The answers to lines, typed one after the other in one boot; by the keyboard or over COM1 (console.SERIAL), each with a
    time of its own in seconds. The screen is looked at after each. `options` are the machine's."""
    if screen.style(built.engine) != screen.CHAT:
        raise UserError(f"{built.engine.name}: this engine takes no lines")
    with machine(built, **options) as pc:
        talk, answers = Conversation(pc), []
        talk.wait_for_prompt(timeout)
        for line in lines:
            answers.append(talk.say(line, by, timeout))
            check_screen(built, pc, talk)
        return answers


def tell(built: Built, emulate: bool) -> None:
    with machine(built) as pc:
        stream = console.open_stream(built.engine, pc)
        stream.to_the_end()
        stream.finish()


def trace(built: Built, log: Path, timeout: float) -> bytes:
    log.unlink(missing_ok=True)
    with machine(built, extra=["-d", "in_asm"], log=log) as pc:
        return _text(built, pc, False, timeout)


def measure(built: Built, runs: int) -> tuple[bytes, float, int | None]:
    """Of one run, from power-on, firmware included; memory is that of the model and what the engine works in."""
    with machine(built) as pc:
        if screen.style(built.engine) == screen.CHAT:  # what it uses at its prompt is no work
            talk = Conversation(pc, meter=pc.seconds)
            talk.to_the_end()
            return bytes(talk.text), talk.used, built.memory
        stream = console.open_stream(built.engine, pc, False)
        stream.to_the_end()
        return bytes(stream.text), pc.seconds(), built.memory


def count(built: Built, timeout: float) -> tuple[bytes, int | None]:
    """From the boot sector's first instruction on; what is executed elsewhere is the firmware. Of an engine that waits at a
    prompt there is no exact number: how often it looks for a key is not the same each time."""
    if screen.style(built.engine) == screen.CHAT:
        return run(built, False, True, timeout).text, None
    with Counter(qemu.QEMU, code(built)) as counter, machine(built, extra=counter.options) as pc:
        return _text(built, pc, False, timeout), counter.value()


def code(built: Built) -> range:
    """Where all of the engine's code is: the firmware loads the boot sector there, and others follow it."""
    return range(qemu.ENTRY, qemu.ENTRY + qemu.SECTOR * disk.code_sectors(built.files))


def memory(built: Built) -> int:
    return built.memory


def check(engine: Engine) -> None:
    qemu.program()


def seen(engine: Engine) -> int | None:
    return screen.seen(engine)


def emulated(engine: Engine) -> bool:
    return True


def machine(built: Built, **options: Any) -> Machine:
    """The default machine, with enough memory for the engine."""
    cells = screen.style(built.engine) == screen.CELLS
    return Machine(built.program, **{"cpu": CPU, "memory": memory_for(built), "disk": DISK, "cells": cells, **options})


def memory_for(built: Built, wanted: int | None = None) -> int:
    """MB of memory for a machine that runs the engine: what is wanted, or else enough."""
    above = built.memory if model_is_above(built.engine) else built.workspace
    needed = BELOW_WORKSPACE + -(-above >> 20)
    most = wanted or MOST_MEMORY
    if needed > most:
        raise UserError(f"{built.program}: memory: {built.engine.name} needs {needed} MB for this model, and "
                        + (f"--memory gives it {wanted}; leave that out" if wanted else
                           f"QEMU's PC has at most {most}; use a model with a smaller seq_len or dim"))
    return wanted or max(MEMORY, needed)


def model_is_above(engine: Engine) -> bool:
    """Whether the engine has its model above 1 MB, and one limit for it and for what it works in."""
    return any(limit.field == "memory_bytes" for limit in limits.of(engine))
