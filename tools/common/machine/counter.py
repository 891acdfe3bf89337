"""Counts the instructions that a processor executes, exactly, where QEMU emulates it: a plugin (counter.cpp) sees every one.

    from common.machine.counter import Counter
    with Counter("qemu-i386") as counter:                          # or where=range(0x7C00, 0x7E00), for what is there alone
        subprocess.run(["qemu-i386", *counter.options, program])
        counter.value()                                            # also while QEMU runs, or after it was killed

A repeated string instruction counts once, and so does the jump to itself of a processor that has nothing left to do: an
instruction that follows itself is not counted again. Conditional instructions count whether they do something or not.

The plugin is compiled when it is needed, in a moment. QEMU must be able to load it: one that is linked statically is not.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from contextlib import ExitStack
from pathlib import Path

from common import processes
from common.engine import gcc, steps
from common.errors import MissingTool, UserError, require_tool

SOURCE = Path(__file__).with_suffix(".cpp")
# The version of QEMU's interface for plugins: 2 is what QEMU 9 and later ask for, and no earlier one knows it.
VERSIONS = (1, 2)
FIRST_OF_2 = 9
SIZE = 8  # bytes of the number


class Counter:
    """A counter for one run of QEMU. Its files are gone after the `with` block."""

    def __init__(self, qemu: str, where: range | None = None) -> None:
        """`qemu`: the command that will run. `where`: addresses of the instructions that count."""
        content = compiled(plugin_version(qemu))
        with ExitStack() as stack:
            folder = stack.enter_context(processes.temporary_folder())
            plugin, self._number = folder / "counter.so", folder / "number"
            plugin.write_bytes(content)
            self._number.write_bytes(bytes(SIZE))
            limits = f",from={where.start:#x},to={where.stop:#x}" if where else ""
            self.options = ["-plugin", f"file={escaped(plugin)},count={escaped(self._number)}{limits}"]
            self._stack = stack.pop_all()

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def value(self) -> int:
        """What has been counted."""
        number = int.from_bytes(self._number.read_bytes(), sys.byteorder)
        if not number:
            raise UserError("counter: no instruction was counted; did QEMU run the program?")
        return number


@functools.cache
def plugin_version(qemu: str) -> int:
    """The version of the interface that this QEMU has; a MissingTool when it has none."""
    require_tool(qemu, "emulators are in the packages qemu-user and qemu-system-… (tools/quickstart --all installs them)")
    if not re.search(r"^-plugin\b", steps.run([qemu, "--help"]), re.MULTILINE):
        raise MissingTool(f"{qemu}: it loads no plugins, so it cannot count instructions; a QEMU is needed that is linked "
                          "dynamically, and built with plugins")
    said = steps.run([qemu, "--version"]).partition("\n")[0]
    found = re.search(r"version (\d+)\.", said)
    if not found:
        raise UserError(f"{qemu}: --version: {said!r}, a version like 7.2 is needed; install QEMU")
    return VERSIONS[int(found[1]) >= FIRST_OF_2]


@functools.cache
def compiled(version: int) -> bytes:
    """The plugin."""
    compiler = os.environ.get("LLAMA512_CXX", "g++")
    require_tool(compiler, gcc.HOST_WAY_OUT)
    with processes.temporary_folder() as folder:
        steps.run([compiler, "-std=c++20", "-O2", "-fvisibility=hidden", "-fPIC", "-shared",
                   f"-DPLUGIN_VERSION={version}", "-o", str(folder / "plugin"), str(SOURCE)])
        return (folder / "plugin").read_bytes()


def escaped(path: Path) -> str:
    """A file's name in an option of QEMU."""
    return str(path.absolute()).replace(",", ",,")
