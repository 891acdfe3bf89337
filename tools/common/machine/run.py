"""Runs a built engine on its machine, whatever that is, and gives its text.

    from common.machine import run
    story = run.run(built, expected=expected)            # story.text, story.seconds
    run.seen(built.engine)                               # how many bytes of a text can be seen; None: all

A kind of machine is one module beside this one, which a target names (`machine` in its target.json). It has

    run(built, show, emulate, timeout)   to the end, as a Story. `show`: text also to stdout, as it comes; `emulate`: never
                                         on this machine's own kernel; `timeout` in seconds
    tell(built, emulate)                 in the foreground, for people: text to stdout
    trace(built, log, timeout)           under an emulator that lists every executed instruction in the file `log`, as
                                         QEMU's `-d in_asm` does; the text
    measure(built, runs)                 several times: text, seconds of the processor in the fastest run, bytes of memory
                                         (None: not known)
    count(built, timeout)                under an emulator that counts: the text, and how many instructions the engine executed
                                         (None: its code is none of a processor's, or it waits for keys); a MissingTool when it cannot count
    memory(built)                        bytes of memory that the engine uses, by what it is: of the model, and those that it works
                                         in; or more, where it asks its machine for more
    check(engine)                        MissingTool when this machine lacks what it needs to run the engine
    seen(engine), emulated(engine)       see below
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from common import modules
from common.engine.builds import Built
from common.engine.engines import Engine
from common.errors import UserError
from common.match.matching import SLOWEST, TIMEOUT, Expected


@dataclass(frozen=True)
class Story:
    """What an engine said."""

    text: bytes
    seconds: float  # from its start, or the machine's, to its end


def machine(engine: Engine) -> ModuleType:
    """What the engine runs on."""
    name = engine.target.machine
    module = modules.named("common.machine", name, "measure")
    if module is None or module.__name__ == __name__:
        raise UserError(f"{engine.target.folder / 'target.json'}: machine: {name!r} is no module of tools/common/machine that "
                        "runs engines; a new kind of machine is one there")
    return module


def run(built: Built, show: bool = False, emulate: bool = False, timeout: float = TIMEOUT,
        expected: Expected | None = None) -> Story:
    """The engine's whole story; a UserError when it does not end well. What is `expected` says how much work it is: it
    may take longer then."""
    timeout = max(timeout, SLOWEST * expected.seconds) if expected else timeout
    return machine(built.engine).run(built, show, emulate, timeout)


def tell(built: Built, emulate: bool = False) -> None:
    """The story for people. A program takes this process's place."""
    machine(built.engine).tell(built, emulate)


def trace(built: Built, log: Path, timeout: float = TIMEOUT) -> bytes:
    """The engine's text; its executed instructions are in the file `log` then, also when it does not end well."""
    return machine(built.engine).trace(built, log, timeout)


def measure(built: Built, runs: int) -> tuple[bytes, float, int | None]:
    """Text, seconds of the processor, bytes of memory."""
    return machine(built.engine).measure(built, runs)


def count(built: Built, expected: Expected | None = None) -> tuple[bytes, int | None]:
    """Text, and the number of instructions that the engine executed for it (None: its code is none of a processor's, or it waits for keys)."""
    return machine(built.engine).count(built, max(TIMEOUT, SLOWEST * expected.seconds) if expected else TIMEOUT)


def memory(built: Built) -> int:
    """Bytes of memory that the engine uses, by what it is."""
    return machine(built.engine).memory(built)


def check(engine: Engine) -> None:
    """Raises MissingTool when this machine lacks what it needs to run the engine."""
    machine(engine).check(engine)


def seen(engine: Engine) -> int | None:
    """How many bytes of its text can be seen; None: all."""
    return machine(engine).seen(engine)


def emulated(engine: Engine) -> bool:
    """Whether it is emulated on this machine: then it takes many times as long."""
    return machine(engine).emulated(engine)
