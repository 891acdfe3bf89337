"""Files that a tool is given: read without waiting for a pipe, and never overwritten by what the tool writes.

    from common.files import open_file, protect
    open_file("my.bin", "checkpoint")                      # a UserError when it is no regular file
    protect(["out/model.packed"], ["my.bin"])              # a UserError when they are the same file
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, Iterable

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


def require_file(path: AnyPath, way_out: str) -> None:
    """Refuses what is missing or no regular file."""
    if not Path(path).is_file():
        raise UserError(f"{path}: {'not a regular file' if os.path.exists(path) else 'no such file'}, {way_out}")


def protect(outputs: Iterable[AnyPath | None], inputs: Iterable[AnyPath | None]) -> None:
    """Refuses to write over what is read, by whatever name. An output that is a folder must not hold an input.
    None is an option that was not given."""
    sources = list(filter(None, inputs))
    for output in filter(None, outputs):
        real = Path(os.path.realpath(output))
        for source in sources:
            if _same_file(output, source) or real in Path(os.path.realpath(source)).parents:
                raise UserError(f"{output}: this would overwrite {source}, which is read; write to another place")


def _same_file(one: AnyPath, other: AnyPath) -> bool:
    """Whether both are there, and the same."""
    try:
        return os.path.samefile(one, other)
    except OSError:  # one is not, or no longer
        return False
