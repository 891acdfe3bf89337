"""Programs and folders that do not outlive the tool that needs them, even when it is killed.

    from common import processes
    process = processes.start(["qemu-system-i386", …], stdin=subprocess.PIPE)     # a subprocess.Popen
    with processes.temporary_folder() as folder:                                 # a Path
    with processes.lock(file):                                                   # one process at a time

Python's own clean-up ends programs and removes folders when a tool ends, by an error, by Ctrl-C or by SIGTERM. Nothing
in the tool runs after a SIGKILL: then Linux ends the programs, and the next tool that needs a folder removes the old.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator, Sequence

PREFIX = "llama512-tool-"
PR_SET_PDEATHSIG = 1  # linux/prctl.h

_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it


def start(command: Sequence[str | os.PathLike[str]], **options: Any) -> subprocess.Popen[Any]:
    """subprocess.Popen, of a program that Linux kills when this process (the thread that calls this) ends."""
    parent = os.getpid()

    def die_with_parent() -> None:
        if _prctl:
            _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it ended before prctl
                os.kill(os.getpid(), signal.SIGKILL)

    return subprocess.Popen(command, preexec_fn=die_with_parent, **options)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder for the time of the `with` block. Removes those of tools that were killed."""
    for old in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        lock = _lock(old)
        if lock is not None:
            shutil.rmtree(old, ignore_errors=True)
            os.close(lock)
    lock = None
    while lock is None:  # another tool may have taken it for an old one, in the moment before it is locked
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        lock = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Waits until no other process has this file locked, and has it for the time of the `with` block. The file stays."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock(folder: Path) -> int | None:
    """Locks a folder of ours until the descriptor is closed or its process ends; None when another one has it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        now = os.stat(folder)
        if now.st_uid == os.getuid() and os.path.samestat(now, os.fstat(descriptor)):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
