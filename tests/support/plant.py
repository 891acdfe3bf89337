"""Machine code to plant in an engine, by the toolchain that makes the engine.

    from support import plant
    plant.stop(engine, folder)                   # three instructions, the last one ends the run, well or not
    plant.jump(engine, here, there, folder)      # from an address to another
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from common.engine import gcc
from common.engine.engines import Engine


def stop(engine: Engine, folder: Path) -> bytes:
    if engine.toolchain == "nasm":
        return _assembled("nop\nnop\nhlt\n", folder)
    return _compiled(engine, 'asm volatile("nop\\n\\tnop"); __builtin_trap();', folder)


def jump(engine: Engine, here: int, there: int, folder: Path) -> bytes:
    if engine.toolchain == "nasm":
        return _assembled(f"org {here}\njmp dword {there}\n", folder)
    return _compiled(engine, f"((void (*)())({there}ul | THUMB))(); __builtin_unreachable();", folder)


def _assembled(code: str, folder: Path) -> bytes:
    (folder / "plant.asm").write_text(f"bits 32\n{code}", "utf-8")
    subprocess.run(["nasm", "-f", "bin", "plant.asm", "-o", "plant.bin"], cwd=folder, check=True)
    return (folder / "plant.bin").read_bytes()


def _compiled(engine: Engine, code: str, folder: Path) -> bytes:
    facts = engine.target.facts["gcc"]
    thumb = "#ifdef __thumb__\nenum { THUMB = 1 };  // of an address: the mode\n#else\nenum { THUMB };\n#endif\n"
    (folder / "plant.cpp").write_text(f"{thumb}void plant() {{ {code} }}\n", "utf-8")
    subprocess.run([gcc.command(engine.target), *facts["machine"], *gcc.CPP_FLAGS, "-Os", "-g0", "-c", "plant.cpp"],
                   cwd=folder, check=True)
    subprocess.run([f"{facts['prefix']}objcopy", "-O", "binary", "-j", ".text", "plant.o", "plant.bin"], cwd=folder,
                   check=True)
    return (folder / "plant.bin").read_bytes()
