"""An ELF file for Linux or a bare machine: the ELF header and one program header, which may overlap.

    elf.header_fields(program)[32:36]       # ["e_shoff, p_type", …] where the program header begins at byte 32
"""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

# Fields of the two headers: name and bytes, WORD for those as wide as an address (System V ABI, chapters 4 and 5).
WORD = 0
ELF_HEADER = (
    ("EI_MAG", 4), ("EI_CLASS", 1), ("EI_DATA", 1), ("EI_VERSION", 1), ("EI_OSABI", 1), ("EI_ABIVERSION", 1), ("EI_PAD", 7),
    ("e_type", 2), ("e_machine", 2), ("e_version", 4), ("e_entry", WORD), ("e_phoff", WORD), ("e_shoff", WORD),
    ("e_flags", 4), ("e_ehsize", 2), ("e_phentsize", 2), ("e_phnum", 2), ("e_shentsize", 2), ("e_shnum", 2),
    ("e_shstrndx", 2))
PROGRAM_HEADER = {
    32: (("p_type", 4), ("p_offset", 4), ("p_vaddr", 4), ("p_paddr", 4), ("p_filesz", 4), ("p_memsz", 4),
         ("p_flags", 4), ("p_align", 4)),
    64: (("p_type", 4), ("p_flags", 4), ("p_offset", 8), ("p_vaddr", 8), ("p_paddr", 8), ("p_filesz", 8),
         ("p_memsz", 8), ("p_align", 8)),
}


def header_fields(program: bytes) -> list[str]:
    """For each byte of the two headers the fields that it belongs to."""
    bits = 32 * program[4]  # e_ident[EI_CLASS] is 1 or 2
    place = 24 + bits // 8  # of e_phoff
    order = {1: "little", 2: "big"}[program[5]]  # e_ident[EI_DATA]
    names: dict[int, list[str]] = {}
    for start, fields in ((0, ELF_HEADER),
                          (int.from_bytes(program[place:place + bits // 8], order), PROGRAM_HEADER[bits])):
        for name, size in fields:
            size = size or bits // 8
            for offset in range(start, start + size):
                names.setdefault(offset, []).append(name)
            start += size
    return [", ".join(names.get(offset, [])) for offset in range(max(names) + 1)]


def sizes(bits: int) -> tuple[int, int]:
    """Bytes of the ELF header and of a program header."""
    return tuple(sum(size or bits // 8 for _, size in fields) for fields in (ELF_HEADER, PROGRAM_HEADER[bits]))


def headers(bits: int, order: str, values: Mapping[str, int]) -> bytes:
    """An ELF header and one program header behind it, with these values in their fields; the rest is what it must be, or 0."""
    own = {"EI_MAG": int.from_bytes(b"\x7fELF", order), "EI_CLASS": bits // 32, "EI_DATA": {"little": 1, "big": 2}[order],
           "EI_VERSION": 1, "e_version": 1, "e_phnum": 1, "e_phoff": sizes(bits)[0],
           "e_ehsize": sizes(bits)[0], "e_phentsize": sizes(bits)[1]}
    return b"".join({**own, **values}.get(name, 0).to_bytes(size or bits // 8, order)
                    for name, size in (*ELF_HEADER, *PROGRAM_HEADER[bits]))


def padding(files: Path) -> int:
    """None: every byte of an ELF file counts."""
    return 0
