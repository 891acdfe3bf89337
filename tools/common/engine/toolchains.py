"""What makes an engine: the modules by the name that an engine's `toolchain` has in the table.

Each has `name(engine)`, the compiler with its version; `small_flags(engine, compiler)`, the flags and whether they were searched for
this compiler; and `make(engine, files, flags)`, which makes engine.bin.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from common.engine.engines import Engine


def of(engine: Engine) -> ModuleType:
    """The engine's toolchain."""
    return importlib.import_module(f"common.engine.{engine.toolchain}")


def name(engine: Engine) -> str:
    """What makes the engine, with its version: sizes depend on it."""
    return of(engine).name(engine)
