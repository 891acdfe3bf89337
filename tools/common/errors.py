"""What every tool does when something goes wrong: one clear line, a status, and no half-written file.

    from common.errors import UserError, atomic_write, run_tool

    def main() -> int:
        with atomic_write("out.bin") as file:      # out.bin changes only when all went well
            file.write(data)
        if bad:
            raise UserError(f"{path}: dim: 0, a value from 1 to 65536 is needed")
        return 0

    if __name__ == "__main__":
        run_tool(main)

Exit statuses: 0 all well, 1 the job failed (UserError, OSError), 2 wrong usage (argparse), 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import signal
import stat
import sys
from contextlib import contextmanager, suppress
from io import BufferedWriter, FileIO, TextIOWrapper
from pathlib import Path
from typing import IO, Any, Callable, Iterator, NoReturn

from common import processes


class UserError(Exception):
    """Something that the user can put right. The message is one line: FILE: FIELD: VALUE, way out. No prefix."""

    status = 1  # that the tool ends with


class MissingTool(UserError):
    """A program that is not on this machine; the message says how to get it."""


def require_tool(command: str, way_out: str) -> str:
    """A command that is in PATH; a MissingTool when it is not. `way_out`: how to get it."""
    if shutil.which(command) is None:
        raise MissingTool(f"{command}: not found; {way_out}")
    return command


def tool_name() -> str:
    """The running tool as the user knows it: `llama512 fetch` for tools/fetch.py."""
    return f"llama512 {Path(sys.argv[0]).stem}"


def run_tool(main: Callable[[], int | None]) -> NoReturn:
    """Runs main() and ends the process with its status; turns expected failures into one line on stderr."""
    if sys.stderr is None:  # it is closed
        sys.stderr = open(os.devnull, "w", encoding="utf-8")
    sys.stderr = TextIOWrapper(BufferedWriter(_StandardError(sys.stderr.fileno(), "wb", closefd=False)),
                               sys.stderr.encoding, "backslashreplace", line_buffering=True)
    if sys.stdout is None:
        _fail("standard output: it is closed; to throw the output away, send it to /dev/null")
    output = _StandardOutput(sys.stdout.fileno(), "wb", closefd=False)
    # A locale that lacks a character costs this character.
    sys.stdout = TextIOWrapper(output if sys.stdout.write_through else BufferedWriter(output), sys.stdout.encoding,
                               "replace", line_buffering=sys.stdout.line_buffering,
                               write_through=sys.stdout.write_through)
    # SIGTERM then unwinds like Ctrl-C, so that temporary files are removed.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # the front door blocks it
            status: Any = main() or 0
        except SystemExit as end:  # of argparse, which may have printed a help
            status = end.code
        sys.stdout.flush()
        if output.error:
            raise output.error
    except UserError as error:
        _fail(str(error), error.status)
    except KeyboardInterrupt:
        print(f"\n{tool_name()}: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(128 + signal.SIGPIPE)  # the reader (`| head`) went away
    except MemoryError:
        _fail("memory: there is not enough for this; use a smaller model")
    except OSError as error:
        _fail(f"standard output: {error.strerror}" if error is output.error else describe_os_error(error))
    # All is done: a signal now ends what is left of the process, without a word.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    sys.exit(status)


class _StandardOutput(FileIO):
    """Standard output, which fails once. What follows is dropped: Python would complain once more at exit."""

    error: OSError | None = None

    def write(self, data: Any) -> int | None:
        if self.error:
            return len(data)
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


class _StandardError(FileIO):
    """Standard error. What cannot be said there (it is full, or not for writing) is no reason to fail."""

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _fail(message: str, status: int = 1) -> NoReturn:
    # One line, whatever a file's name or a server's answer holds.
    line = "".join(character if character.isprintable() else "?" for character in message)
    with suppress(OSError):
        if sys.stdout is not None:
            sys.stdout.flush()
    print(f"{tool_name()}: error: {line}", file=sys.stderr)
    sys.exit(status)


def describe_os_error(error: OSError) -> str:
    """`file: No such file or directory` instead of Python's `[Errno 2] …`."""
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{os.fsdecode(error.filename)}: {reason}"


@contextmanager
def atomic_write(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Opens a temporary file beside `path`; renames it to `path` on success, removes it on failure (and any that a killed
    tool has left there).

    `mode` is "wb" (bytes) or "w" (UTF-8 text). Folders that are missing are made. A symbolic link is written
    through, and what is no regular file (/dev/stdout, a pipe) is written directly, for there is nothing to rename.
    """
    encoding = None if "b" in mode else "utf-8"
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        special = not stat.S_ISREG(target.stat().st_mode)
    except FileNotFoundError:
        special = False
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if not special:
            processes.remove_left(target.parent, rf"\.{re.escape(target.name)}\.(\d+)\.tmp")
        with open(target if special else temporary, mode, encoding=encoding) as file:
            processes.in_use(file.fileno())
            yield file
            file.flush()
            if not special:
                os.replace(temporary, target)
    except BaseException as error:
        if not special:
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            error.filename = error.filename or target  # `write` does not know it
        raise
