"""A machine that QEMU emulates, driven through its machine protocol (QMP), with nothing but pipes.

    class Machine(Emulation):
        def __init__(self, …):
            with ExitStack() as stack:
                …
                self.start(command, folder, stack)
                self._stack = stack.pop_all()

        def stopped(self) -> bool: …          # by what the registers and the memory are

    with Machine(…) as machine:
        machine.wait_until_stopped(timeout=60)
        machine.memory(0x60000000, 8)
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Sequence

from common import processes
from common.errors import UserError


class Emulation:
    """A running QEMU. Ends with the `with` block."""

    qemu: str  # its command, for messages
    folder: Path  # where it runs
    process: subprocess.Popen[str]
    _stack: ExitStack

    def start(self, command: Sequence[str], folder: Path, stack: ExitStack, **options: Any) -> None:
        """Starts QEMU in a folder, with what its command line says besides the protocol; `stack` will end it."""
        self.qemu, self.folder = command[0], folder
        self.process = processes.start([*command, "-qmp", "stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, encoding="utf-8", errors="replace", cwd=folder,
                                       env={**os.environ, "TMPDIR": str(folder)}, **options)
        stack.callback(self._switch_off)

    def greet(self) -> None:
        """Begins the conversation."""
        self._read()  # its greeting
        self.call("qmp_capabilities")

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Switches the machine off."""
        self._stack.close()

    def _switch_off(self) -> None:
        self.process.kill()
        self.process.communicate()

    def call(self, command: str, **arguments: Any) -> Any:
        """A QMP command's return value."""
        assert self.process.stdin
        try:
            self.process.stdin.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # _read says what happened
        while True:
            answer = self._read()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise UserError(f"{self.qemu}: {command}: {answer['error']['desc']}")

    def monitor(self, line: str) -> str:
        """What QEMU's human monitor answers."""
        return self.call("human-monitor-command", **{"command-line": line})

    def memory(self, address: int, size: int) -> bytes:
        """Physical memory. (QEMU runs in its folder, so names of files are short there, whatever TMPDIR is.)"""
        self.call("pmemsave", val=address, size=size, filename="memory")
        return (self.folder / "memory").read_bytes()

    def seconds(self) -> float:
        """Of the processor, that QEMU has used."""
        return processes.seconds(self.process.pid)

    def stopped(self) -> bool:
        """Whether the processor will never do anything again."""
        raise NotImplementedError

    def wait_until_stopped(self, timeout: float, look: Callable[[], None] = lambda: None, pause: float = 0.05) -> None:
        """Waits for `stopped`, and calls `look` now and then on the way and once at the end."""
        start = time.monotonic()
        while not self.stopped():
            look()
            if time.monotonic() - start > timeout:
                raise UserError(f"{self.qemu}: the machine still runs after {timeout:.0f} s")
            time.sleep(pause)
        look()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout and self.process.stderr
        line = self.process.stdout.readline()
        if not line:
            said = self.process.stderr.read().strip() or f"exit status {self.process.wait()}"
            fatal = re.search(r"fatal: (.+)", said)  # registers follow
            raise UserError(f"{self.qemu}: ended: {fatal[1] if fatal else said.splitlines()[-1]}")
        try:
            return json.loads(line)
        except ValueError as error:
            raise UserError(f"{self.qemu}: it says {line.strip()!r} instead of starting") from error
