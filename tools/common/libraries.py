"""The two libraries that the tools use besides Python's own: to read programs and to disassemble them.

    from common.libraries import library
    capstone = library("capstone")                          # UserError: how to install it
    elffile = library("elftools.elf.elffile")

They are Debian's packages, and are imported where bytes are explained, so that all other tools work without them.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType

from common.errors import UserError

PACKAGES = {"capstone": "python3-capstone", "elftools": "python3-pyelftools"}
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
                            "(tools/quickstart test does)") from error
        finally:
            sys.path.remove(DEBIAN)
