"""Machine code as instructions, for every kind of machine that the engines run on.

    from common.anatomy.instructions import instructions
    list(instructions("EM_386", 32, "", b"\x43\xeb\x30", 0x20000d, [0x20000e]))    # [(1, "inc ebx"), (2, "jmp 0x200040")]

capstone disassembles. What it does not know (no release before 5 knows RISC-V) is shown as its bytes: of one instruction
where the machine's encoding tells its length, otherwise up to the next line of the source.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Callable, Iterator, Sequence

from common.libraries import library


def _four(code: bytes) -> int:
    return 4


def _thumb(code: bytes) -> int:
    return 4 if code[1] >> 3 in (0b11101, 0b11110, 0b11111) else 2


def _riscv(code: bytes) -> int:
    return 4 if code[0] & 3 == 3 else 2


@dataclass(frozen=True)
class Isa:
    """A machine as capstone calls it, and how long an instruction is by its first four bytes (None: they do not tell)."""

    arch: str
    modes: tuple[str, ...]
    length: Callable[[bytes], int] | None = None


# By e_machine, the class of the ELF file (0: of any), and the letter of the mapping symbol ($a, $t) on Arm.
ISAS = {
    ("EM_386", 0, ""): Isa("X86", ("32",)),
    ("EM_X86_64", 0, ""): Isa("X86", ("64",)),
    ("EM_ARM", 0, "a"): Isa("ARM", ("ARM",), _four),
    ("EM_ARM", 0, "t"): Isa("ARM", ("THUMB",), _thumb),
    ("EM_AARCH64", 0, ""): Isa("ARM64", ("ARM",), _four),
    ("EM_RISCV", 32, ""): Isa("RISCV", ("RISCV32", "RISCVC"), _riscv),
    ("EM_RISCV", 64, ""): Isa("RISCV", ("RISCV64", "RISCVC"), _riscv),
}
UNKNOWN = Isa("", ())


def instructions(machine: str, bits: int, state: str, code: bytes, address: int,
                 rows: Sequence[int]) -> Iterator[tuple[int, str]]:
    """Bytes and text of each instruction of `code`, which stands at `address`. `rows` are the addresses where a line of
    the source begins, in order; `state` is "t" for Thumb, "a" for Arm."""
    isa = next((isa for key, isa in ISAS.items() if key in ((machine, 0, state), (machine, bits, state))), UNKNOWN)
    disassembler = _disassembler(isa)
    end = address + len(code)
    while code:
        known = next(disassembler.disasm_lite(code, address, 1), None) if disassembler else None
        if known:
            _, size, name, operands = known
            text = f"{name} {operands}".strip()
        else:
            following = next((row for row in rows if row > address), end)
            size = min(isa.length(code) if isa.length and len(code) >= 2 else following - address, len(code))
            text = code[:size].hex(" ")
        yield size, text
        code, address = code[size:], address + size


@cache
def _disassembler(isa: Isa) -> Any:
    """capstone's, or None where this release has no such machine."""
    capstone = library("capstone")
    arch = getattr(capstone, f"CS_ARCH_{isa.arch}", None)
    modes = [getattr(capstone, f"CS_MODE_{mode}", None) for mode in isa.modes]
    if arch is None or None in modes or not capstone.cs_support(arch):
        return None
    return capstone.Cs(arch, sum(modes))
