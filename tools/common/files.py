"""Files that a tool is given: read without waiting for a pipe.

    from common.files import read
    data = read("my.bin", "checkpoint")                    # a UserError when it is no regular file
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from common.errors import UserError

AnyPath = str | os.PathLike[str]


def open_file(path: AnyPath, what: str) -> BinaryIO:
    """Opens a regular file to read bytes. `what` it should be is for the message."""
    try:
        # Opening a named pipe would otherwise wait for somebody who writes to it.
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    except OSError as error:
        raise UserError(f"{path}: cannot read the {what}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UserError(f"{path}: cannot read the {what}: it is not a regular file, a file is needed")
    return file


def read(path: AnyPath, what: str) -> bytes:
    """All of a regular file."""
    with open_file(path, what) as file:
        return file.read()


def require_file(path: AnyPath, way_out: str) -> None:
    """Refuses what is missing or no regular file."""
    if not Path(path).is_file():
        raise UserError(f"{path}: {'not a regular file' if os.path.exists(path) else 'no such file'}, {way_out}")
