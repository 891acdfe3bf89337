"""What makes an engine: the modules by the name that an engine's `toolchain` has in the table.

Each has `name(engine)`, the compiler with its version; `programs(engine)`, the commands that it runs;
`small_flags(engine, compiler)`, the flags and whether they were searched for this compiler; and
`make(engine, files, flags)`, which makes engine.bin. One whose programs have an end that is soon reached has
`check_room(engine, files, flags)` as well: it wants what `packing.configure` makes, so large models
are not packed in vain.
"""

from __future__ import annotations

from types import ModuleType

from common import modules
from common.engine.engines import Engine
from common.errors import UserError


def of(engine: Engine) -> ModuleType:
    """The engine's toolchain."""
    module = modules.named("common.engine", engine.toolchain, "make")
    if module is None:
        raise UserError(f"golf/engines.json: {engine.name}: toolchain: {engine.toolchain!r} is no module of tools/common/engine "
                        "that makes engines; a new toolchain is one there")
    return module


def name(engine: Engine) -> str:
    """What makes the engine, with its version: sizes depend on it."""
    return of(engine).name(engine)
