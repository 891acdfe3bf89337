"""What an ELF file with debug information says of its bytes.

    from common.anatomy.dwarf import Program
    elf = Program(built.files / "engine.elf")
    elf.chain(0x2000e1)         # [("golf/cpp/isa/x86.hpp", 37), ("golf/cpp/x87.cpp", 74), ("golf/cpp/x87.cpp", 193)]

DWARF 4 and 5, of 32 and 64 bits. Lines are those of the engines' sources; others are left out.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Iterator

from common.anatomy.marks import Line
from common.errors import UserError
from common.libraries import library
from common.project import ROOT

SHF_ALLOC = 2
WHOLE_WORD = {"EM_386": 1, "EM_ARM": 2}  # relocations without an addend whose four bytes are the address
FROM_THE_END = {"EM_X86_64": (2, 4)}  # relocations that count from the end of their four bytes
DW_OP_ADDR = 3  # an expression that is an address


@dataclass(frozen=True)
class Symbol:
    """A function or a variable of the sources: what the compiler gave a size."""

    name: str
    address: int
    size: int
    is_code: bool
    is_thumb: bool


class Program:
    """An ELF file, read whole; or `data`, in place of what is in the file."""

    def __init__(self, path: Path, data: bytes | None = None) -> None:
        self.path = path
        self.symbols: list[Symbol] = []
        self.states: dict[int, str] = {}  # where code and data begin, by mapping symbols: "a", "t", "x", "d"
        self.declared: dict[int, Line] = {}  # where the variable at an address is declared
        self.inlined: list[tuple[list[range], list[Line]]] = []  # the lines that code was inlined into
        self.rows: list[tuple[int, int, Line | None]] = []  # begin and end of a line's code
        self.users: dict[int, int] = {}  # of an address the first instruction that has it in itself, as the linker knows
        errors = library("elftools.common.exceptions")
        try:
            with open(path, "rb") if data is None else io.BytesIO(data) as file:
                self._read(library("elftools.elf.elffile").ELFFile(file))
        except (OSError, errors.ELFError, errors.DWARFError) as error:
            raise UserError(f"{path}: cannot be read as an ELF file with symbols: {error}; build into another folder") \
                from error
        self.rows.sort(key=lambda row: row[0])
        self.starts = [start for start, _, _ in self.rows]

    def chain(self, address: int) -> list[Line]:
        """The source line of an instruction, then the lines that it was inlined into."""
        index = bisect_right(self.starts, address) - 1
        line = self.rows[index][2] if index >= 0 and address < self.rows[index][1] else None
        scopes = [calls for ranges, calls in self.inlined if any(address in each for each in ranges)]
        return ([line] if line else []) + max(scopes, key=len, default=[])  # the longest is that of the innermost scope

    def pieces(self, symbol: Symbol) -> Iterator[tuple[int, int, str]]:
        """The parts of a function: begin, end, and "t" Thumb, "a" Arm, "d" data, "" another machine's code."""
        end = symbol.address + symbol.size
        inside = {address: state for address, state in self.states.items() if symbol.address <= address < end}
        inside.setdefault(symbol.address, "t" if symbol.is_thumb else "a")
        borders = sorted(inside)
        for begin, stop in zip(borders, [*borders[1:], end]):
            state = inside[begin]
            yield begin, stop, state if state == "d" or self.machine == "EM_ARM" else ""

    def _read(self, elf: Any) -> None:
        self.machine: str = elf["e_machine"]
        self.bits: int = elf.elfclass
        loaded = {section.name: section["sh_addr"] for section in elf.iter_sections()
                  if section["sh_flags"] & SHF_ALLOC and section["sh_type"] != "SHT_NOBITS" and section["sh_size"]}
        self.start = min(loaded.values(), default=0)  # the address of the program's first byte
        self.sections = {name: address - self.start for name, address in loaded.items()}
        self._read_symbols(elf)
        self._read_relocations(elf)
        information = elf.get_dwarf_info(relocate_dwarf_sections=False)  # the linker has done that
        for unit in information.iter_CUs() if information.has_debug_info else ():
            compilation = _Compilation(information, unit)
            self.rows += compilation.rows()
            self._read_scope(compilation, compilation.top, [])

    def _read_symbols(self, elf: Any) -> None:
        """Functions and variables with bytes in the file."""
        table = elf.get_section_by_name(".symtab")
        found: dict[int, Symbol] = {}  # of several names for one thing, one
        for symbol in table.iter_symbols() if table else ():
            index, address, size = symbol["st_shndx"], symbol["st_value"], symbol["st_size"]
            if not isinstance(index, int) or elf.get_section(index).name not in self.sections:
                continue
            if symbol.name[:2] in ("$a", "$d", "$t", "$x"):
                self.states[address] = symbol.name[1]
            elif size:
                code = symbol["st_info"]["type"] == "STT_FUNC"
                thumb = code and self.machine == "EM_ARM" and address % 2 == 1  # the low bit is no part of the address
                found[address - thumb] = Symbol(symbol.name, address - thumb, size, code, thumb)
        self.symbols = sorted(found.values(), key=lambda symbol: symbol.address)

    def _read_relocations(self, elf: Any) -> None:
        """Who uses which address."""
        symbols = elf.get_section_by_name(".symtab")
        for section in elf.iter_sections():
            if section["sh_type"] not in ("SHT_REL", "SHT_RELA"):
                continue
            code = elf.get_section(section["sh_info"])
            for relocation in section.iter_relocations() if code.name in self.sections else ():
                place, kind = relocation["r_offset"], relocation["r_info_type"]
                if relocation.is_RELA():
                    target = symbols.get_symbol(relocation["r_info_sym"])["st_value"] + relocation["r_addend"]
                    target += 4 * (kind in FROM_THE_END.get(self.machine, ()))
                elif kind == WHOLE_WORD.get(self.machine):
                    start = place - code["sh_addr"]
                    target = int.from_bytes(code.data()[start:start + 4], "little")
                else:
                    continue
                self.users[target] = min(place, self.users.get(target, place))

    def _read_scope(self, compilation: _Compilation, scope: Any, calls: list[Line]) -> None:
        """Variables and inlined functions in a scope, which is itself inlined into the lines `calls`."""
        for entry in scope.iter_children():
            inner = calls
            if entry.tag == "DW_TAG_variable":
                address = compilation.address(entry)
                line = compilation.line(entry, "DW_AT_decl_file", "DW_AT_decl_line")
                if address is not None and line:
                    self.declared[address] = line
            elif entry.tag == "DW_TAG_inlined_subroutine":
                line = compilation.line(entry, "DW_AT_call_file", "DW_AT_call_line")
                inner = [*([line] if line else []), *calls]
                self.inlined.append((compilation.ranges(entry), inner))
            self._read_scope(compilation, entry, inner)


class _Compilation:
    """What the compiler wrote of one source."""

    def __init__(self, information: Any, unit: Any) -> None:
        self.information, self.unit = information, unit
        self.top = unit.get_top_DIE()
        self.lines = information.line_program_for_CU(unit)

    def rows(self) -> list[tuple[int, int, Line | None]]:
        """The line table. Of several lines at one address, the last one has the code."""
        states = [entry.state for entry in self.lines.get_entries() if entry.state] if self.lines else []
        return [(state.address, following.address, self.source_line(state.file, state.line))
                for state, following in zip(states, states[1:])
                if not state.end_sequence and state.address < following.address]

    def line(self, entry: Any, file: str, line: str) -> Line | None:
        """What two attributes say; what an entry does not say itself, the one that it completes does."""
        attributes = dict(entry.attributes)
        for name in ("DW_AT_specification", "DW_AT_abstract_origin"):
            if name in entry.attributes:
                attributes = {**entry.get_DIE_from_attribute(name).attributes, **attributes}
        if file not in attributes or line not in attributes:
            return None
        return self.source_line(attributes[file].value, attributes[line].value)

    def source_line(self, file: int, line: int) -> Line | None:
        """A line of the engines' sources."""
        name = self.file(file)
        return (name, line) if name and line else None

    def file(self, number: int) -> str | None:
        """A file by its number: DWARF 4 counts files and folders from 1, and folder 0 is the compiler's."""
        header = self.lines.header
        first = 0 if header["version"] >= 5 else 1
        if not 0 <= number - first < len(header["file_entry"]):
            return None
        entry = header["file_entry"][number - first]
        compiler = os.fsdecode(self.top.attributes["DW_AT_comp_dir"].value)
        folder = entry["dir_index"] - first
        within = os.fsdecode(header["include_directory"][folder]) if folder >= 0 else ""
        return _source(os.path.join(compiler, within, os.fsdecode(entry["name"])))

    def address(self, entry: Any) -> int | None:
        """Where a variable is, if that is one place in memory."""
        location = entry.attributes.get("DW_AT_location")
        if location is None or location.form != "DW_FORM_exprloc" or location.value[:1] != [DW_OP_ADDR]:
            return None
        return int.from_bytes(bytes(location.value[1:]), "little")

    def ranges(self, entry: Any) -> list[range]:
        """The addresses of an inlined function's code."""
        attributes = entry.attributes
        if "DW_AT_ranges" in attributes:
            return self.range_list(attributes["DW_AT_ranges"].value)
        if "DW_AT_low_pc" not in attributes or "DW_AT_high_pc" not in attributes:
            return []
        low, high = attributes["DW_AT_low_pc"].value, attributes["DW_AT_high_pc"]
        return [range(low, high.value if high.form == "DW_FORM_addr" else low + high.value)]

    def range_list(self, offset: int) -> list[range]:
        lowest = self.top.attributes.get("DW_AT_low_pc")
        base = lowest.value if lowest else 0
        found = []
        for entry in self.information.range_lists().get_range_list_at_offset(offset, self.unit):
            if hasattr(entry, "base_address"):
                base = entry.base_address
            else:
                start = 0 if entry.is_absolute else base
                found.append(range(start + entry.begin_offset, start + entry.end_offset))
        return found


@cache
def _source(path: str) -> str | None:
    """A source of an engine, from the project's folder."""
    resolved = Path(path).resolve()
    return str(resolved.relative_to(ROOT)) if resolved.is_relative_to(ROOT / "golf") else None
