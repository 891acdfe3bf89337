"""The formats of the files that engines are: what their headers' bytes are called, and which bytes are free.

    from common.engine import images
    image = images.of(engine)                       # the module that the target's "image" names: images.elf
    image.header_fields(program)[24:28]             # ["e_entry", "e_entry", "e_entry", "e_entry"]
    images.counted_bytes(engine, program, files, spans)

An engine's header is made by its linker script or its source, so a format only describes. It is one module here, found by its
name, and says

    header_fields(program) -> list[str]    for each byte from the first one on, the fields that it belongs to ("a, b")
    padding(files) -> int                  the free bytes that the format asks for, which are not counted; `files` is the
                                           build's folder, NAME.build
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Sequence, cast

from common import modules
from common.engine.engines import Engine
from common.errors import UserError
from common.pack.packer import Span


class Image(Protocol):
    """What every module here has."""

    def header_fields(self, program: bytes) -> list[str]: ...

    def padding(self, files: Path) -> int: ...


def of(engine: Engine) -> Image:
    """The format of an engine's programs: target.json says it."""
    name = engine.target.image
    module = modules.named(__name__, name, "padding")
    if module is None:
        raise UserError(f"{engine.target.folder / 'target.json'}: image: {name!r}: known are {', '.join(names())}; "
                        "a new format is a module in tools/common/engine/images")
    return cast(Image, module)


def names() -> list[str]:
    """All formats."""
    return modules.names(__name__)


def counted_bytes(engine: Engine, program: Path, files: Path, spans: Sequence[Span]) -> int:
    """All of the program but tensors, vocabulary and the format's padding."""
    return program.stat().st_size - sum(span.bytes for span in spans if not span.counted) - of(engine).padding(files)
