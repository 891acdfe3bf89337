"""Runs a program once, on one core or on all, and says how long it took.

    from common.bench import pinned
    process = pinned.run(["…"], core=pinned.one_core())       # .wall, .processor, .output, .errors

What it prints goes to files: it waits for no reader. On a kernel with sched_setaffinity a program with one thread stays on one core.
"""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from common import processes
from common.errors import UserError

CAN_PIN = hasattr(os, "sched_setaffinity")


@dataclass(frozen=True)
class Process:
    """One that has ended well."""

    wall: float  # seconds, from before its start to its end
    processor: float  # seconds of the processor, the kernel's for it among them
    output: bytes
    errors: str


def one_core() -> int | None:
    """The last of those that this process may use (interrupts prefer the first); None: the kernel cannot be told."""
    return max(os.sched_getaffinity(0)) if CAN_PIN else None


def run(command: Sequence[str | os.PathLike[str]], core: int | None = None) -> Process:
    """To its end. `core`: the one that it stays on; None: any."""
    with processes.temporary_folder() as folder:
        with open(folder / "output", "wb") as output, open(folder / "errors", "wb") as errors:
            before = os.sched_getaffinity(0) if core is not None else None
            try:
                if core is not None:
                    os.sched_setaffinity(0, {core})  # the program inherits it
                start = time.perf_counter()
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
            except OSError as error:
                raise UserError(f"{command[0]}: cannot run: {error.strerror}") from error
            finally:
                if before is not None:
                    os.sched_setaffinity(0, before)
            try:
                _, status, usage = os.wait4(process.pid, 0)
                wall = time.perf_counter() - start
                process.returncode = os.waitstatus_to_exitcode(status)
            except BaseException:
                process.kill()
                process.wait()
                raise
        said = (folder / "errors").read_text("utf-8", "replace")
        if process.returncode:
            raise UserError(f"{Path(command[0]).name}: ended with status {process.returncode}: {_last_line(said) or 'it says nothing'} "
                            f"(`{' '.join(map(str, command))}`)")
        return Process(wall, usage.ru_utime + usage.ru_stime, (folder / "output").read_bytes(), said)


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else ""
