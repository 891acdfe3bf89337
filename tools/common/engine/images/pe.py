"""A PE32+ file for UEFI: a DOS header of which two fields matter, the COFF header, the optional header. No sections: all of the
file counts as headers.

    pe.header_fields(program)[0x3C:0x40]    # ["e_lfanew, SectionAlignment", …] where the PE header is at byte 4
"""

from __future__ import annotations

from pathlib import Path

# Name and bytes of the fields (PE Format, "COFF File Header", "Optional Header").
DOS_HEADER = (("e_magic", 2), ("", 58), ("e_lfanew", 4))
PE_HEADER = (
    ("Signature", 4), ("Machine", 2), ("NumberOfSections", 2), ("TimeDateStamp", 4), ("PointerToSymbolTable", 4),
    ("NumberOfSymbols", 4), ("SizeOfOptionalHeader", 2), ("Characteristics", 2),
    ("Magic", 2), ("MajorLinkerVersion", 1), ("MinorLinkerVersion", 1), ("SizeOfCode", 4), ("SizeOfInitializedData", 4),
    ("SizeOfUninitializedData", 4), ("AddressOfEntryPoint", 4), ("BaseOfCode", 4), ("ImageBase", 8), ("SectionAlignment", 4),
    ("FileAlignment", 4), ("MajorOperatingSystemVersion", 2), ("MinorOperatingSystemVersion", 2), ("MajorImageVersion", 2),
    ("MinorImageVersion", 2), ("MajorSubsystemVersion", 2), ("MinorSubsystemVersion", 2), ("Win32VersionValue", 4),
    ("SizeOfImage", 4), ("SizeOfHeaders", 4), ("CheckSum", 4), ("Subsystem", 2), ("DllCharacteristics", 2),
    ("SizeOfStackReserve", 8), ("SizeOfStackCommit", 8), ("SizeOfHeapReserve", 8), ("SizeOfHeapCommit", 8), ("LoaderFlags", 4),
    ("NumberOfRvaAndSizes", 4))
LFANEW = 0x3C


def header_fields(program: bytes) -> list[str]:
    """For each byte of the headers, which may overlap, the fields that it belongs to."""
    names: dict[int, list[str]] = {}
    for start, fields in ((0, DOS_HEADER), (int.from_bytes(program[LFANEW:LFANEW + 4], "little"), PE_HEADER)):
        for name, size in fields:
            for offset in range(start, start + size):
                names.setdefault(offset, []).extend([name] if name else [])
            start += size
    return [", ".join(names.get(offset, [])) for offset in range(max(names) + 1)]


def padding(files: Path) -> int:
    """None: every byte of a PE file counts."""
    return 0
