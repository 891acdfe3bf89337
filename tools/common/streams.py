"""A program whose output is read as it comes, with a limit of time.

    with streams.running(["…"]) as process:
        for data in streams.output(process, lambda: end - time.monotonic(), "not finished, stopped"):
            …
"""

from __future__ import annotations

import os
import select
import subprocess
from contextlib import contextmanager
from typing import Any, Callable, Iterator, Sequence

from common import processes
from common.errors import UserError


@contextmanager
def running(command: Sequence[str | os.PathLike[str]], talks: bool = False, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program, without input if none is given, until it ends; killed when the `with` block does not go well.

    When this process is killed, so is the program. One that `talks` all the time ends by itself as soon as nobody listens, and is
    started in a tenth of the time: Python need not be copied for it."""
    start = subprocess.Popen if talks else processes.start
    with start(command, **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options}) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def output(process: subprocess.Popen[bytes], time_left: Callable[[], float], complaint: str) -> Iterator[bytes]:
    """What a program prints, as it comes; a UserError with the complaint when no time is left."""
    assert process.stdout
    while True:
        left = time_left()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise UserError(complaint)
        data = os.read(process.stdout.fileno(), 1 << 16)
        if not data:
            return
        yield data
