"""Jobs side by side, each in a copy (fork) of this process; their results, and what they print, come in order.

    from common.side_by_side import SideBySide
    with SideBySide([lambda: work(1), lambda: work(2)], at_once=2) as jobs:
        first = jobs.result(0, show=True)       # what it prints comes as it is printed, that of the second later

An exception in a job is one of its result(). Copies end with the `with` block, and with this process.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import tempfile
import time
from typing import Any, Callable, Sequence

from common import processes
from common.errors import UserError


STDOUT = 1
PATIENCE = 10.0  # seconds for a copy that was told to end


class SideBySide:
    """Jobs, of which `at_once` run at a time, in their order."""

    def __init__(self, jobs: Sequence[Callable[[], Any]], at_once: int) -> None:
        self._jobs, self._at_once = jobs, at_once
        self._copies: list[_Copy] = []

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(self, *_: object) -> None:
        for copy in self._copies:
            copy.stop()

    def result(self, number: int, show: bool = False) -> Any:
        """What job `number` returned. `show`: what it prints goes to standard output, as it comes."""
        shown = 0
        while True:
            running = [copy for copy in self._copies if not copy.ended]
            while len(running) < self._at_once and len(self._copies) < len(self._jobs):
                running.append(_Copy(self._jobs[len(self._copies)]))
                self._copies.append(running[-1])
            copy = self._copies[number]
            if show and shown < len(copy.printed):
                sys.stdout.buffer.write(copy.printed[shown:])
                sys.stdout.buffer.flush()
                shown = len(copy.printed)
            if copy.ended:
                return copy.result()
            ready, _, _ = select.select(running, [], [])
            for each in ready:
                each.read()


class _Copy:
    """This process, at work on one job."""

    def __init__(self, job: Callable[[], Any]) -> None:
        self.printed, self.ended = bytearray(), False
        self._file = tempfile.TemporaryFile()
        self._output, output = os.pipe()
        sys.stdout.flush()
        self._process, parent = 0, os.getpid()
        with processes.uninterrupted():  # a signal finds either no copy, or one that is known
            self._process = os.fork()
            if not self._process:
                self._work(job, output, parent)
        os.close(output)

    def _work(self, job: Callable[[], Any], output: int, parent: int) -> None:
        """In the copy: never returns."""
        try:
            processes.end_with(parent)
            os.dup2(output, STDOUT)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
            try:
                answer = True, job()
            except Exception as error:
                answer = False, error
            sys.stdout.flush()
            pickle.dump(answer, self._file)
            self._file.flush()
        finally:  # also when it is interrupted: then there is no answer
            os._exit(0)

    def fileno(self) -> int:
        return self._output

    def read(self) -> None:
        """Takes what it has printed."""
        data = os.read(self._output, 1 << 16)
        self.printed += data
        if not data:
            self._end()

    def stop(self) -> None:
        """Ends it, if it has not ended."""
        if not self.ended:
            os.kill(self._process, signal.SIGTERM)  # it is there until it is waited for
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end and not os.waitid(os.P_PID, self._process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                time.sleep(0.01)
            os.kill(self._process, signal.SIGKILL)
            self._end()
        self._file.close()

    def _end(self) -> None:
        os.waitpid(self._process, 0)
        os.close(self._output)
        self.ended = True

    def result(self) -> Any:
        self._file.seek(0)
        try:
            good, answer = pickle.load(self._file)
        except EOFError:
            raise UserError("a process of this tool was killed; if memory is short, use --jobs 1") from None
        if not good:
            raise answer
        return answer
