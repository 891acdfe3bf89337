"""A step of a build: a program that runs in the build's folder."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Sequence

from common import processes
from common.errors import UserError

# Every step runs in the build's folder and knows its files by fixed names. So whatever a folder is called, a path never
# stands in a source or a script, and the program is the same everywhere.

PATIENCE = 10.0  # seconds for a program that was told to end


def run(command: Sequence[str], folder: Path | None = None) -> str:
    """Runs a build step; what it printed, or a UserError with the command and the first line that says `error`."""
    # A program that is named from here must be found from the other folder, too.
    program = shutil.which(command[0])
    # Its temporary files go with it: a compiler that is stopped may leave one. They are named from the build's folder, too,
    # for clang puts digits where it finds a `%` in TMPDIR.
    with processes.temporary_folder(folder) as temporary, subprocess.Popen(
            [os.path.abspath(program) if program else command[0], *command[1:]], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace", cwd=folder,
            process_group=0, env={**os.environ, "TMPDIR": temporary.name if folder else str(temporary)}) as process:
        try:
            output, errors = process.communicate()
        except BaseException:
            end_group(process)
            raise
    if process.returncode:
        said = (errors.strip() or output.strip() or f"exit status {process.returncode}").splitlines()
        first = next((line for line in said if "error" in line.lower()), said[0])
        where = f"cd {shlex.quote(str(folder))} && " if folder else ""
        raise UserError(f"{first} (from: {where}{shlex.join(command)})")
    return output


def end_group(process: subprocess.Popen[str]) -> None:
    """Ends a program and all that it started, and waits until they are gone: they would go on writing files."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            os.killpg(process.pid, 0)
            time.sleep(0.01)
