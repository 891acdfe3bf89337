"""Jobs side by side, each in a copy (fork) of this process; their results, and what they print, come in order.

    from common.side_by_side import SideBySide
    with SideBySide([lambda: work(1), lambda: work(2)], at_once=2) as jobs:
        first = jobs.result(0, show=True)       # what it prints comes as it is printed; what the second prints comes later

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
from typing import Any, Callable, Sequence, TextIO

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
        """What job `number` returned. What it says on standard error comes as it is said; `show`: what it prints, too."""
        while True:
            running = [copy for copy in self._copies if not copy.ended]
            while len(running) < self._at_once and len(self._copies) < len(self._jobs):
                running.append(_Copy(self._jobs[len(self._copies)]))
                self._copies.append(running[-1])
            copy = self._copies[number]
            copy.tell(sys.stdout if show else None)
            if copy.ended:
                return copy.result()
            pipes = {pipe: each for each in running for pipe in each.open}
            ready, _, _ = select.select(pipes, [], [])
            for pipe in ready:
                pipes[pipe].read(pipe)


class _Copy:
    """This process, at work on one job."""

    def __init__(self, job: Callable[[], Any]) -> None:
        self._answer = tempfile.TemporaryFile()
        pipes = os.pipe(), os.pipe()
        self._output, self._errors = (read for read, _ in pipes)
        self.said = {read: bytearray() for read, _ in pipes}  # and not told yet
        self.open = [*self.said]
        sys.stdout.flush()
        sys.stderr.flush()
        self._process, parent = 0, os.getpid()
        with processes.uninterrupted():  # a signal finds either no copy, or one that is known
            self._process = os.fork()
            if not self._process:
                self._work(job, [write for _, write in pipes], parent)
        for _, write in pipes:
            os.close(write)

    @property
    def ended(self) -> bool:
        return not self.open

    def _work(self, job: Callable[[], Any], outputs: Sequence[int], parent: int) -> None:
        """In the copy: never returns."""
        try:
            processes.end_with(parent)
            for number, output in enumerate(outputs, STDOUT):
                os.dup2(output, number)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT, signal.SIGTERM])
            try:
                answer = True, job()
            except Exception as error:
                answer = False, error
            sys.stdout.flush()
            pickle.dump(answer, self._answer)
            self._answer.flush()
        finally:  # also when it is interrupted: then there is no answer
            os._exit(0)

    def read(self, pipe: int) -> None:
        """Takes what it has said."""
        data = os.read(pipe, 1 << 16)
        self.said[pipe] += data
        if not data:
            os.close(pipe)
            self.open.remove(pipe)
            if self.ended:
                os.waitpid(self._process, 0)

    def tell(self, output: TextIO | None) -> None:
        """Passes on what it has said: errors first, for a note is about what follows."""
        for pipe, stream in ((self._errors, sys.stderr), (self._output, output)):
            if stream and self.said[pipe]:
                stream.flush()
                stream.buffer.write(self.said[pipe])
                stream.buffer.flush()
                self.said[pipe].clear()

    def stop(self) -> None:
        """Ends it, if it has not ended."""
        if not self.ended:
            os.kill(self._process, signal.SIGTERM)  # it is there until it is waited for
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end and not os.waitid(os.P_PID, self._process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                time.sleep(0.01)
            os.kill(self._process, signal.SIGKILL)
            os.waitpid(self._process, 0)
            for pipe in self.open:
                os.close(pipe)
        self._answer.close()

    def result(self) -> Any:
        self._answer.seek(0)
        try:
            good, answer = pickle.load(self._answer)
        except EOFError:
            raise UserError("a process of this tool was killed; if memory is short, use --jobs 1") from None
        if not good:
            raise answer
        return answer
