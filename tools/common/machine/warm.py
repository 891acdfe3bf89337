"""A firmware's state just before it looks at the disk, kept in a file: a PC that begins there is as good as one that was
switched on, and what the firmware does with the disk is still to come. OVMF spends 19 of 20 parts of its time before.

    from common.machine import warm
    options = warm.options(command, "disk", firmware, folder)   # ["-incoming", "…"], or [] where no states are kept
    warm.wait(debugger)                                         # until the state is there

LLAMA512_FIRMWARE_STATES names the folder for such files, as the tests do; without it every PC is switched on. A state is
for one QEMU, one firmware and one command line; only its folder's contents, the disk's, may differ.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Sequence

from common.engine import steps
from common.errors import UserError
from common.machine.gdb import Debugger
from common.machine.qmp import Emulation

VARIABLE = "LLAMA512_FIRMWARE_STATES"
SHARES = (0.97, 0.9, 0.8, 0.6, 0.3)  # of the time before the first look at the disk, that a state may have behind it
PATIENCE = 240.0  # seconds


def options(command: Sequence[str], disk: str, firmware: Path, folder: Path) -> list[str]:
    """QEMU's options to begin in the state that is kept for a command line, which is made if it is not there yet. `disk`: the
    drive's name; `folder`: where it runs. None where no states are kept, or on a machine so busy that no state could be made: the PC
    is then switched on."""
    kept = os.environ.get(VARIABLE)
    if not kept:
        return []
    facts = [steps.run([command[0], "--version"]), hashlib.sha256(firmware.read_bytes()).hexdigest(), *command]
    state = Path(kept).absolute() / (hashlib.sha256("\0".join(facts).encode("utf-8", "surrogateescape")).hexdigest() + ".state")
    state.parent.mkdir(parents=True, exist_ok=True)
    with open(state.with_suffix(".lock"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # others wait for what one makes
        if not state.is_file() and not _make(command, disk, folder, state):
            return []
    return ["-incoming", f"exec:cat {shlex.quote(str(state))}"]


def wait(debugger: Debugger) -> None:
    """Until the state is in the machine, and the disk its own; it does not run yet."""
    end = time.monotonic() + PATIENCE
    while "inmigrate" in debugger.monitor("info status"):
        if time.monotonic() > end:
            raise UserError(f"{debugger.program}: the state that {VARIABLE} keeps was not read in {PATIENCE:.0f} s; remove it")
        time.sleep(0.01)
    debugger.take_disks()


class _Firmware(Emulation):
    """A PC at work before it looks at the disk."""

    def __init__(self, command: Sequence[str], disk: str, folder: Path) -> None:
        with ExitStack() as stack:
            self.start(command, folder, stack)
            self.greet()
            self.disk = disk
            self._stack = stack.pop_all()

    def __enter__(self) -> _Firmware:
        return self

    def has_read(self) -> bool:
        """Whether it has looked at the disk."""
        return any(drive["stats"]["rd_operations"] for drive in self.call("query-blockstats") if drive.get("device") == self.disk)

    def time_to_read(self) -> float:
        """When it looks at the disk, in seconds of the processor: on a busy machine, too, it does the same in the same time."""
        end = time.monotonic() + PATIENCE
        while not self.has_read():
            if time.monotonic() > end:
                raise UserError(f"{self.qemu}: the firmware did not look at its disk in {PATIENCE:.0f} s")
            time.sleep(0.01)
        return self.seconds()

    def keep(self, seconds: float, state: Path) -> bool:
        """Writes the state after some seconds of the processor; whether it had not looked at the disk by then."""
        while self.seconds() < seconds:
            time.sleep(0.01)
        self.call("stop")
        if self.has_read():
            return False
        new = state.with_suffix(".new")
        self.call("migrate", uri=f"exec:cat > {shlex.quote(str(new))}")
        while (status := self.call("query-migrate")["status"]) not in ("completed", "failed"):
            time.sleep(0.01)
        if status == "failed":
            raise UserError(f"{self.qemu}: its state cannot be kept; unset {VARIABLE}")
        os.replace(new, state)
        return True


def _make(command: Sequence[str], disk: str, folder: Path, state: Path) -> bool:
    """Keeps a state; whether it came before the first look at the disk, which other work on the machine may bring forward."""
    with _Firmware(command, disk, folder) as pc:
        whole = pc.time_to_read()
    for share in SHARES:
        with _Firmware(command, disk, folder) as pc:
            if pc.keep(share * whole, state):
                return True
    return False
