"""Machine code to plant in an engine, by the toolchain that makes the engine.

    from support import plant
    plant.stop(engine, folder)                   # three instructions, the last one ends the run, well or not
    plant.jump(engine, here, there, folder)      # from an address to another
    plant.modules(program)                       # of a WebAssembly module: what it must not be, by name
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Callable

from common.engine import gcc
from common.engine.engines import Engine


def stop(engine: Engine, folder: Path) -> bytes:
    if engine.toolchain == "nasm":
        return _assembled("nop\nnop\nhlt\n", folder)
    return _compiled(engine, 'asm volatile("nop\\n\\tnop"); __builtin_trap();', folder)


def jump(engine: Engine, here: int, there: int, folder: Path) -> bytes:
    if engine.toolchain == "nasm":
        return _assembled(f"org {here}\njmp dword {there}\n", folder)
    return _compiled(engine, f"((void (*)())({there}ul | THUMB))(); __builtin_unreachable();", folder, here % 4)


def modules(program: bytes) -> dict[str, bytes]:
    """WebAssembly modules that break the rules. None jumps into its model: there is no such instruction."""
    sections, at = [], 8
    while at < len(program):
        begin, number, size, shift = at, program[at], 0, 0
        while True:
            at += 1
            size |= (program[at] & 127) << shift
            shift += 7
            if program[at] < 128:
                break
        at += 1 + size
        sections.append((number, program[begin:at], program[at - size:at]))

    def changed(number: int, body: Callable[[bytes], bytes]) -> bytes:
        return program[:8] + b"".join(_section(id, body(old)) if id == number else whole for id, whole, old in sections)

    def before(number: int, new: bytes) -> bytes:
        return program[:8] + b"".join(new + whole if id == number else whole for id, whole, _ in sections)

    return {
        "a host's own function": changed(2, lambda body: body.replace(b"\x08fd_write", b"\x08run_data")),
        "a module of another host": changed(2, lambda body: body.replace(b"preview1", b"preview9")),
        "one more export": changed(7, lambda body: bytes([body[0] + 1]) + body[1:] + b"\x01f\x00\x00"),
        "a section of its own": program + _section(0, b"\x05table" + bytes(64)),
        "code that runs before the start": before(10, _section(8, b"\x01")),
        "a table of functions": before(5, _section(4, b"\x01\x70\x00\x01")),
        "another segment of data": changed(11, lambda body: b"\2" + body[1:] + b"\0\x41\0\x0b\1\0"),
        "code that reaches into the model": changed(10, lambda body: body + program[-64:]),
        "code that is not valid": changed(10, lambda body: body[:-3] + b"\x6a\x6a" + body[-1:]),
    }


def _section(number: int, body: bytes) -> bytes:
    size, rest = b"", len(body)
    while rest > 127:
        size, rest = size + bytes([rest & 127 | 128]), rest >> 7
    return bytes([number]) + size + bytes([rest]) + body


def _assembled(code: str, folder: Path) -> bytes:
    (folder / "plant.asm").write_text(f"bits 32\n{code}", "utf-8")
    subprocess.run(["nasm", "-f", "bin", "plant.asm", "-o", "plant.bin"], cwd=folder, check=True)
    return (folder / "plant.bin").read_bytes()


def _compiled(engine: Engine, code: str, folder: Path, place: int = 0) -> bytes:
    """place: of the code, modulo 4. Thumb code counts from multiples of 4 to the constants that it loads."""
    facts = engine.target.facts["gcc"]
    thumb = "#ifdef __thumb__\nenum { THUMB = 1 };  // of an address: the mode\n#else\nenum { THUMB };\n#endif\n"
    skip = f'asm(".text\\n\\t.skip {place}");\n' if place else ""
    (folder / "plant.cpp").write_text(f"{thumb}{skip}void plant() {{ {code} }}\n", "utf-8")
    subprocess.run([gcc.command(engine.target), *facts["machine"], *gcc.CPP_FLAGS, "-Os", "-g0", "-c", "plant.cpp"],
                   cwd=folder, check=True)
    subprocess.run([f"{facts['prefix']}objcopy", "-O", "binary", "-j", ".text", "plant.o", "plant.bin"], cwd=folder,
                   check=True)
    return (folder / "plant.bin").read_bytes()[place:]
