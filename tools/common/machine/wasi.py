"""WebAssembly: modules run in Node, which has WASI; or, as a second engine that shares no code with it, in JavaScriptCore's shell,
which has not, but fd_write is a few lines.

    from common.machine import wasi
    wasi.command(built)                       # ["node", "--no-warnings", "…/wasi.mjs", "…/NAME"]

The scripts, wasi.mjs and jsc.js, lie in the target's folder. That code is never data, and data never code, is a promise of
WebAssembly: a module's functions are those of its code section. So what is listed as executed is all that can be.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

from common import streams
from common.engine import steps
from common.engine.builds import Built
from common.engine.engines import Engine
from common.errors import MissingTool, UserError, require_tool
from common.machine import program
from common.machine.run import Story

NODE, SHELL = ("node", "nodejs"), "jsc"
LISTED = re.compile(r"^ ([0-9a-f]+): ((?:[0-9a-f]{2} )+) *\| *(.*)$", re.MULTILINE)  # a line of wasm-objdump -d


def run(built: Built, show: bool, emulate: bool, timeout: float) -> Story:
    if emulate or _wanted():
        return _run_in_shell(built, show, timeout)
    return Story(*program.run_command(command(built), show, timeout))


def tell(built: Built, emulate: bool) -> None:
    if emulate or _wanted():
        with open(built.program, "rb") as module:
            os.dup2(module.fileno(), 0)
        program.replace_process(shell_command(built))
    program.replace_process(command(built))


def trace(built: Built, log: Path, timeout: float) -> bytes:
    """All instructions of a module that WebAssembly's rules allow, and its text."""
    log.unlink(missing_ok=True)
    steps.run([_tool("wasm-validate"), str(built.program)], built.files)
    with open(log, "w", encoding="utf-8") as file:
        for offset, data, text in instructions(built.program):
            file.write(f"0x{offset:08x}:  {data.hex(' ')}  {text}\n")
    return program.run_command(command(built), False, timeout)[0]


def measure(built: Built, runs: int) -> tuple[bytes, float, int | None]:
    """The memory of the process would be that of Node."""
    results = [program.measure_command(command(built)) for _ in range(runs)]
    return results[0][0], min(seconds for _, seconds, _ in results), None


def count(built: Built, timeout: float) -> tuple[bytes, int | None]:
    """Nothing is counted: a runtime makes instructions of its own from a module's."""
    return run(built, False, False, timeout).text, None


def memory(built: Built) -> int:
    return built.memory


def seen(engine: Engine) -> int | None:
    return None


def emulated(engine: Engine) -> bool:
    return False


def check(engine: Engine) -> None:
    node()


def node() -> str:
    """Node's command: Debian called it nodejs once."""
    found = next(filter(shutil.which, NODE), None)
    if found is None:
        raise MissingTool("node: not found; it is in the package nodejs (tools/quickstart --all installs it)")
    return found


def command(built: Built) -> list[str]:
    return [node(), "--no-warnings", str(built.engine.target.folder / "wasi.mjs"), str(built.program)]


def shell_command(built: Built) -> list[str]:
    """It reads the module from its standard input: the shell takes a name for UTF-8, and a folder may be called anything."""
    return [_tool(SHELL), str(built.engine.target.folder / "jsc.js"), "--", "/dev/stdin"]


def instructions(path: Path) -> list[tuple[int, bytes, str]]:
    """Offset, bytes and text of every instruction in a module, and of its declarations of local variables."""
    listing = subprocess.run([_tool("wasm-objdump"), "-d", str(path)], capture_output=True, encoding="utf-8", check=False)
    if listing.returncode:
        raise UserError(f"{path}: wasm-objdump: {listing.stderr.strip() or listing.stdout.strip()}")
    return [(int(match[1], 16), bytes.fromhex(match[2]), match[3].strip()) for match in LISTED.finditer(listing.stdout)]


def _run_in_shell(built: Built, show: bool, timeout: float) -> Story:
    """JavaScriptCore's shell prints text, not bytes: so it prints numbers."""
    start = time.monotonic()
    text, line = bytearray(), b""
    with open(built.program, "rb") as module, streams.running([*shell_command(built), "hex"], stdin=module) as process:
        for data in streams.output(process, lambda: start + timeout - time.monotonic(),
                                   f"{built.program}: not finished after {timeout:.0f} s, stopped"):
            *lines, line = (line + data).split(b"\n")
            piece = bytes.fromhex(b"".join(lines).decode())
            text += piece
            if show:
                os.write(1, piece)
    if process.returncode:
        raise UserError(f"{built.program}: {SHELL} ended with status {process.returncode} after {len(text)} bytes of output")
    return Story(bytes(text), time.monotonic() - start)


def _wanted() -> bool:
    """Whether the second engine is to be taken, as emulators are of programs."""
    return os.environ.get("LLAMA512_EMULATE", "0") not in ("", "0")


PACKAGES = {SHELL: "libjavascriptcoregtk-…-bin", "wasm-objdump": "wabt", "wasm-validate": "wabt"}


def _tool(name: str) -> str:
    return require_tool(name, f"it is in the package {PACKAGES[name]} (tools/quickstart --all installs it)")
