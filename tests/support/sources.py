"""Other sources than the project's own, for a while.

    with other_sources(folder):         # folder/golf/asm/… instead of golf/asm/…
        built = builds.build(…)
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Iterator
from unittest import mock

from common.anatomy import dwarf, listing, marks
from common.engine import inputs, nasm


@contextmanager
def other_sources(root: Path) -> Iterator[None]:
    """What is read and built lies in another folder than the project's; nothing that was read is remembered."""
    def forget() -> None:
        for cached in (source, listing._macros, dwarf._source):
            cached.cache_clear()

    source = marks.source
    with ExitStack() as stack:
        for module in (dwarf, inputs, listing, marks, nasm):
            stack.enter_context(mock.patch.object(module, "ROOT", root))
        stack.callback(forget)
        forget()
        yield
