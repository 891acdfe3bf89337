"""Modules that data name: a new one is found by being there.

    from common import modules
    modules.names("common.engine.images")                  # ["disk", "elf"]
    modules.named("common.engine", "nasm", "make")         # the module, which has a `make`; None: there is no such one
"""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def names(package: str) -> list[str]:
    """All modules of a package."""
    return sorted(module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__))


def named(package: str, name: str, has: str) -> ModuleType | None:
    """The package's module of this name, if it is there and has the function that makes it one of its kind."""
    if name not in names(package):
        return None
    module = importlib.import_module(f"{package}.{name}")
    return module if hasattr(module, has) else None
