"""A PC: boots an engine's disk image, in QEMU, and takes its text from the screen or from COM1.

    from common.machine import pc
    pc.memory_for(built)             # MB of memory that the machine needs
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from common import processes
from common.engine import limits
from common.engine.builds import Built
from common.engine.engines import Engine
from common.errors import UserError
from common.machine import console, qemu, screen
from common.machine.counter import Counter
from common.machine.qemu import MOST_MEMORY, Machine
from common.machine.run import Story

CPU, MEMORY, DISK = "qemu32", 128, "ide"  # the default machine
SECTOR = range(qemu.ENTRY, qemu.ENTRY + qemu.SECTOR)  # where the firmware loads the boot sector, which is all of the code
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
    pc.wait_until_stopped(timeout, stream.look_patiently)
    text = bytes(stream.text)
    wrong = screen.problem(pc.text_memory(), text, screen.style(built.engine), pc.before)
    if wrong:
        raise UserError(f"{built.program}: {wrong}")
    return text


def tell(built: Built, emulate: bool) -> None:
    with machine(built) as pc:
        stream = console.open_stream(built.engine, pc)
        pc.wait_until_stopped(math.inf, stream.look_patiently)
        stream.finish()


def trace(built: Built, log: Path, timeout: float) -> bytes:
    log.unlink(missing_ok=True)
    with machine(built, extra=["-d", "in_asm"], log=log) as pc:
        return _text(built, pc, False, timeout)


def measure(built: Built, runs: int) -> tuple[bytes, float, int | None]:
    """Of one run, from power-on, firmware included; memory is that of the model and what the engine works in."""
    with machine(built) as pc:
        stream = console.open_stream(built.engine, pc, False)
        pc.wait_until_stopped(math.inf, stream.look_patiently)
        return bytes(stream.text), processes.seconds(pc.process.pid), built.memory


def count(built: Built, timeout: float) -> tuple[bytes, int | None]:
    """From the boot sector's first instruction on; what is executed elsewhere is the firmware."""
    with Counter(qemu.QEMU, SECTOR) as counter, machine(built, extra=counter.options) as pc:
        return _text(built, pc, False, timeout), counter.value()


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
    return Machine(built.program, CPU, memory_for(built), DISK, **options)


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
