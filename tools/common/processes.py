"""Programs, folders and files that do not outlive the tool that needs them, even when it is killed.

    from common import processes
    process = processes.start(["qemu-system-i386", …], stdin=subprocess.PIPE)     # a subprocess.Popen
    with processes.temporary_folder() as folder:                                 # a Path
    with processes.lock(file):                                                   # one process at a time

Python's own clean-up ends programs and removes folders when a tool ends, by an error, by Ctrl-C or by SIGTERM. Nothing
in the tool runs after a SIGKILL: then Linux ends the programs, and the next tool removes what is left. What is in use
is locked (flock); a lock ends with the process that has it, so what is not locked is left.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Iterator, Sequence

PREFIX = "llama512-tool-"
PR_SET_PDEATHSIG = 1  # linux/prctl.h

_prctl = getattr(ctypes.CDLL(None), "prctl", None)  # Linux has it


def start(command: Sequence[str | os.PathLike[str]], **options: Any) -> subprocess.Popen[Any]:
    """subprocess.Popen, of a program that Linux kills when this process ends."""
    return subprocess.Popen(command, preexec_fn=with_parent(), **options)


def seconds(process: int) -> float:
    """Of the processor, that a running process has used."""
    # Behind the name, which is in parentheses, are the fields 3 and on; 14 and 15 are times.
    fields = Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def with_parent() -> Callable[[], None] | None:
    """What makes a program end with this process, as subprocess's preexec_fn. Nothing in a process with threads: Python
    must not run between fork and exec there."""
    return functools.partial(end_with, os.getpid()) if _prctl and threading.active_count() == 1 else None


def end_with(parent: int) -> None:
    """Makes this process end when its parent does, whose number it knows from before it was there."""
    if _prctl:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before prctl
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def temporary_folder(inside: Path | None = None) -> Iterator[Path]:
    """A folder for the time of the `with` block, in TMPDIR or inside another folder. Removes those of killed tools."""
    prefix = f".{PREFIX}" if inside else PREFIX
    remove_left(Path(inside or tempfile.gettempdir()), re.escape(prefix) + r"\w+")
    folder = held = None
    try:
        with uninterrupted():  # a signal finds it either not made, or known here
            while held is None:
                folder = Path(tempfile.mkdtemp(prefix=prefix, dir=inside))
                held = _claim(folder)
        yield folder
    finally:
        with uninterrupted():
            if folder is not None and held is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)


def _claim(folder: Path) -> int | None:
    """Locks a new folder; None when another tool has taken it for an old one, in the moment before. Where the file system
    has no locks, nobody can do that."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        return descriptor
    if folder.exists():
        return descriptor
    os.close(descriptor)
    return None


def remove_left(folder: Path, pattern: str) -> None:
    """Removes files and folders that are ours and not in use. What the pattern of their names has in brackets is the
    number of the process that made them, which then must have ended, too."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = re.fullmatch(pattern, entry.name)
            if name and not any(os.path.exists(f"/proc/{process}") for process in name.groups()):
                held = _lock(entry.path)
                if held is not None:
                    if entry.is_dir(follow_symlinks=False):
                        shutil.rmtree(entry.path, ignore_errors=True)
                    else:
                        Path(entry.path).unlink(missing_ok=True)
                    os.close(held)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM back until the end of the `with` block, which is short."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def in_use(descriptor: int) -> None:
    """Tells others that an open file is in use, until it is closed."""
    with suppress(OSError):  # not every file system has locks
        fcntl.flock(descriptor, fcntl.LOCK_SH)


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Waits until no other process has this file locked, and has it for the time of the `with` block. The file stays."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks only what may be written
    try:
        with suppress(OSError):  # not every file system has locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock(path: str | Path) -> int | None:
    """Locks a file or folder of ours until the descriptor is closed or its process ends; None when another one has it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        now = os.stat(path)
        if now.st_uid == os.getuid() and os.path.samestat(now, os.fstat(descriptor)):
            return descriptor
    except OSError:
        pass
    os.close(descriptor)
    return None
