"""What makes an engine: the modules by the name that an engine's `toolchain` has in the table.

Each has `name(engine)`, the compiler with its version; `small_flags(engine, compiler)`, the flags and whether they were searched for
this compiler; and `make(engine, files, flags)`, which makes engine.bin.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from common.engine.engines import Engine
from common.errors import UserError


def of(engine: Engine) -> ModuleType:
    """The engine's toolchain."""
    try:
        module = importlib.import_module(f"common.engine.{engine.toolchain}")
    except ModuleNotFoundError as error:
        if error.name != f"common.engine.{engine.toolchain}":
            raise
        module = None
    if not hasattr(module, "make"):
        raise UserError(f"golf/engines.json: {engine.name}: toolchain: {engine.toolchain!r} is no module of tools/common/engine "
                        "that makes engines; a new toolchain is one there")
    return module


def name(engine: Engine) -> str:
    """What makes the engine, with its version: sizes depend on it."""
    return of(engine).name(engine)
