"""The libraries that the tools use besides Python's own: for tensors, to read programs, and to disassemble them.

    from common.libraries import library, numpy as np
    capstone = library("capstone")                          # UserError: how to install it
    elffile = library("elftools.elf.elffile")
    np.zeros((2, 3), np.float32)                            # imported here, when it is needed first

They are Debian's packages, and are imported where they are used: a tool that needs none of them works without them, and starts
as fast as it did.
"""

from __future__ import annotations

import functools
import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

from common.errors import UserError

PACKAGES = {"capstone": "python3-capstone", "elftools": "python3-pyelftools", "numpy": "python3-numpy"}
DEBIAN = "/usr/lib/python3/dist-packages"  # another Python than Debian's does not look there


def library(name: str) -> ModuleType:
    """A module of a library, or a UserError with the way to get it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs are not ours to mend
        try:
            return importlib.import_module(name)
        except (ImportError, OSError):  # OSError: its shared library is missing, or for another machine
            pass
        sys.path.append(DEBIAN)  # behind all others: it must not hide anything
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:
            package = PACKAGES[name.partition(".")[0]]
            raise UserError(f"Python's module {name}: {error}; install it with `apt-get install {package}` "
                            "(tools/quickstart test does); that is for Debian's own Python, another one needs one from "
                            "`python3 -m pip install`") from error
        finally:
            sys.path.remove(DEBIAN)


class Lazy:
    """A module that is imported when something of it is needed first."""

    def __init__(self, name: str) -> None:
        self._name = name

    @functools.cached_property
    def _module(self) -> ModuleType:
        return library(self._name)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._module, attribute)


numpy: Any = Lazy("numpy")
