"""Programs: on this machine's kernel, or under the emulator that their target names.

    from common.machine import program
    program.native_command(built)                     # ["…/cpp-linux-i386"], with the emulator before it where it must be
    program.run_command(["…"], timeout=60)            # what it prints, and the seconds
"""

from __future__ import annotations

import errno
import functools
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Sequence

from common import streams
from common.engine.builds import Built
from common.engine.engines import Engine
from common.engine.images import elf
from common.engine.targets import Target
from common.errors import UserError, require_tool
from common.machine.counter import Counter
from common.machine.run import Story

ET_EXEC, PT_INTERP = 2, 3  # e_type, p_type (System V ABI, chapters 4 and 5)


def run(built: Built, show: bool, emulate: bool, timeout: float) -> Story:
    return Story(*run_command(command(built, emulate), show, timeout))


def tell(built: Built, emulate: bool) -> None:
    replace_process(command(built, emulate))


def trace(built: Built, log: Path, timeout: float) -> bytes:
    log.unlink(missing_ok=True)
    return run_command([*runner(built.engine), "-d", "in_asm", "-D", str(log), str(built.program)], False, timeout)[0]


def measure(built: Built, runs: int) -> tuple[bytes, float, int | None]:
    words = native_command(built)
    results = [measure_command(words) for _ in range(runs)]
    # Under an emulator, the memory is the emulator's; the kernel itself may start one (binfmt_misc).
    native = len(words) == 1 and not emulated(built.engine)
    memory = max(result[2] for result in results) if native else None
    return results[0][0], min(result[1] for result in results), memory


def count(built: Built, timeout: float) -> tuple[bytes, int | None]:
    """From the program's first instruction to its end; the kernel's own are not among them."""
    emulator = runner(built.engine)
    with Counter(emulator[0]) as counter:
        text, _ = run_command([*emulator, *counter.options, str(built.program)], False, timeout)
        return text, counter.value()


def memory(built: Built) -> int:
    return built.memory


def seen(engine: Engine) -> int | None:
    return None


def emulated(engine: Engine) -> bool:
    return _wanted() or _answer(engine.target) in (0, errno.ENOEXEC)


def check(engine: Engine) -> None:
    if emulated(engine):
        _check_emulator(runner(engine)[0])


def runner(engine: Engine) -> list[str]:
    """The command that runs the engine's programs under emulation."""
    return engine.target.fact("emulator").split()


def command(built: Built, emulate: bool) -> list[str]:
    return [*runner(built.engine), str(built.program)] if emulate else native_command(built)


def replace_process(words: Sequence[str]) -> None:
    """The command takes this process's place: signals and the exit status are its own."""
    sys.stdout.flush()
    _check_emulator(words[0])
    try:
        os.execvp(words[0], words)
    except OSError as error:
        raise UserError(f"{words[0]}: cannot run: {error.strerror}") from error


def _check_emulator(command: str | os.PathLike[str]) -> None:
    """Refuses a command that is not in PATH; programs have a path."""
    if "/" not in str(command):
        require_tool(str(command), "emulators are in the package qemu-user (tools/quickstart installs it)")


def _wanted() -> bool:
    """Whether every kernel is to be taken for one that cannot run these programs."""
    return os.environ.get("LLAMA512_EMULATE", "0") not in ("", "0")


def native_command(built: Built) -> list[str]:
    """The command that runs a program on this machine: the program itself. A kernel that cannot (one without 32-bit
    programs, or another processor's) gets the target's emulator before it, and stderr says so once. With LLAMA512_EMULATE=1
    in the environment, every kernel is taken for such a one."""
    program = str(built.program)
    reason = "LLAMA512_EMULATE is set" if _wanted() else _kernel_refuses(program, built.engine.name)
    if not reason:
        return [program]
    emulator = runner(built.engine)
    said = f"{built.engine.name}: {reason}, so it runs under {emulator[0]}"
    if said not in _said:
        print(said, file=sys.stderr)
        _said.add(said)
    return [*emulator, program]


_refusals: dict[str, str] = {}  # by engine
_said: set[str] = set()


def _kernel_refuses(program: str, engine: str) -> str:
    """Why the kernel cannot start the engine's programs, "" when it can. Starts one, and ends it at once: a kernel may refuse
    an engine's own header (its e_flags on Arm) where it runs others of the target."""
    if engine not in _refusals:
        try:
            with subprocess.Popen([program], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL) as process:
                process.kill()
            _refusals[engine] = ""
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            _refusals[engine] = f"the kernel cannot run it ({error.strerror})"
    return _refusals[engine]


@functools.cache
def _answer(target: Target) -> int:
    """What the kernel says to an ELF file that asks for an interpreter which nobody has: ENOENT where it runs such programs
    itself, ENOEXEC where it does not, 0 where it starts an emulator for them (binfmt_misc). So nothing of the file ever runs."""
    facts = target.fact("elf")
    interpreter = b"/no/interpreter\0"
    size = sum(elf.sizes(facts["class"]))
    file = os.memfd_create("header")
    try:
        os.write(file, elf.headers(facts["class"], target.byte_order, {
            "e_type": ET_EXEC, "e_machine": facts["machine"], "p_type": PT_INTERP, "p_offset": size,
            "p_filesz": len(interpreter), "p_memsz": len(interpreter)}) + interpreter)
        with subprocess.Popen([f"/proc/self/fd/{file}"], pass_fds=[file], stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            process.kill()
        return 0
    except OSError as error:
        return error.errno or errno.ENOENT
    finally:
        os.close(file)


def run_command(command: Sequence[str | os.PathLike[str]], show: bool = False,
                timeout: float = 600.0) -> tuple[bytes, float]:
    """Runs a program to its end: what it printed, and the seconds that it took. `show`: also to stdout, as it comes."""
    _check_emulator(command[0])
    start = time.monotonic()
    shown = bytearray()
    with streams.running(command) as process:
        for data in streams.output(process, lambda: start + timeout - time.monotonic(),
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


def measure_command(command: Sequence[str]) -> tuple[bytes, float, int]:
    """A program's output, its seconds of the processor, and the most memory that it had resident.

    The kernel's own figure of memory, ru_maxrss, is no use: a new process inherits it from this one, which is larger.
    So the process is asked while it runs, again and again; what it had is known to the row of its last positions."""
    _check_emulator(command[0])
    output, peak = bytearray(), 0
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout
        while True:
            peak = max(peak, resident(process.pid))
            if select.select([process.stdout], [], [], 0.0005)[0]:
                data = os.read(process.stdout.fileno(), 1 << 16)
                if not data:
                    break
                output += data
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"{command[-1]}: ended with status {process.returncode} after {len(output)} bytes of output")
    return bytes(output), usage.ru_utime + usage.ru_stime, peak


def resident(process: int) -> int:
    """The most bytes that a process had resident so far; 0 when it has ended."""
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{process}/status").read_text("utf-8"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
