"""The instructions of a linked program, by the target's own binutils: how many there are, how long, and matmul's inner loop.

    from common.density import disassembly
    parts = disassembly.parts(prefix, elf)               # {"header": 72, "constants": 56, "code": 1012, "padding": 0}
    code = disassembly.code(prefix, elf, source)         # code.instructions, code.loop

What stands between instructions (the literal pools of Arm and SH) is data, though it is counted as code.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from common.engine import steps
from common.errors import UserError

LINE = re.compile(r"^\s*([0-9a-f]+):\s+((?:[0-9a-f]{2,8} ?)+)\s*\t(\S.*)$")
DATA = re.compile(r"\.(word|short|long|byte|value|2byte|4byte|8byte|quad|insn)\b")
TARGET = re.compile(r"\b(?:0x)?([0-9a-f]+) <")  # of a branch, or what a load reads
POOL = re.compile(r"mov\.([wl])\s+(?:0x)?([0-9a-f]+) <")  # SH: a load relative to the program counter, of 2 or 4 bytes
CALL = re.compile(r"(call|bl|blx|jal|jalr|bsr|jsr|brasl|bras|b,l|ble)\b")
# Whose branches execute the instruction behind them: MIPS, SPARC, PA-RISC, SH ("bf/s").
SLOT = re.compile(r"file format elf\d+-(\w*mips|sparc|hppa|sh)")
NO_SLOT = re.compile(r"(bt|bf|b\w*c)\s")  # but of these not: SH's plain ones, MIPS's compact ones,
NO_SLOT_SHORT = re.compile(r"(bteqz|btnez|beqz|bnez|b)\s")  # and those of MIPS16
INNER = "*out += *w++ * x[i]"  # the source's line that is the inner loop of matmul


@dataclass(frozen=True)
class Instruction:
    address: int
    bytes: int
    text: str


@dataclass(frozen=True)
class Code:
    """Of a program: its instructions, and those of matmul's inner loop."""

    instructions: list[Instruction]
    loop: list[Instruction]

    @property
    def bytes(self) -> int:
        """Of the instructions alone."""
        return sum(each.bytes for each in self.instructions)


def symbols(prefix: str, elf: Path) -> dict[str, int]:
    """The addresses of all symbols."""
    rows = [line.split() for line in steps.run([f"{prefix}nm", str(elf)]).splitlines()]
    return {row[2]: int(row[0], 16) for row in rows if len(row) == 3}


def parts(prefix: str, elf: Path) -> dict[str, int]:
    """Bytes by kind, from the borders that the linker script has named."""
    known = symbols(prefix, elf)
    borders = ("image", "constants", "code", "code_end", "model")
    if any(name not in known for name in borders):
        raise UserError(f"{elf}: not all of {', '.join(borders)} are there; the linker scripts of golf/cpp name them")
    places = [known[name] for name in borders]
    return dict(zip(("header", "constants", "code", "padding"), (end - start for start, end in zip(places, places[1:]))))


def code(prefix: str, elf: Path, source: Path) -> Code:
    """The program's instructions."""
    known = symbols(prefix, elf)
    start, end = known["code"], known["code_end"]
    text = steps.run([f"{prefix}objdump", "-d", "-z", "-w", f"--start-address={start:#x}", f"--stop-address={end:#x}", str(elf)])
    found = instructions(text, end)
    return Code(found, inner_loop(found, start, places_of(prefix, elf, source, found), SLOT.search(text) is not None))


def instructions(text: str, end: int) -> list[Instruction]:
    """Those that objdump lists, up to the address `end`."""
    lines = [(int(line[1], 16), line[3].strip()) for line in map(LINE.match, text.splitlines()) if line]
    pools = {place for _, said in lines if (load := POOL.match(said))
             for place in range(int(load[2], 16), int(load[2], 16) + (2 if load[1] == "w" else 4))}
    borders = [address for address, _ in lines[1:]] + [end]
    return [Instruction(address, border - address, said) for (address, said), border in zip(lines, borders)
            if not DATA.match(said) and address not in pools]


def places_of(prefix: str, elf: Path, source: Path, found: list[Instruction]) -> set[int]:
    """The addresses of instructions that were made for the inner loop of matmul."""
    numbers = [number for number, line in enumerate(source.read_text("utf-8").splitlines(), 1) if INNER in line]
    if len(numbers) != 1:
        raise UserError(f"{source}: {INNER!r}: there are {len(numbers)} such lines; tools/common/density/disassembly.py "
                        "knows matmul's inner loop by it")
    said = steps.run([f"{prefix}addr2line", "-i", "-a", "-e", str(elf), *(hex(each.address) for each in found)])
    places = set()
    for answer in re.split(r"^(?=0x)", said, flags=re.MULTILINE)[1:]:
        address, place, *_ = answer.splitlines()  # and more places, from the inside out
        if re.search(rf":{numbers[0]}\b", place):
            places.add(int(address, 16))
    return places


def inner_loop(found: list[Instruction], start: int, places: set[int], slots: bool) -> list[Instruction]:
    """The smallest loop (from a branch's target to the branch) with an instruction at one of the places."""
    loops = []
    for number, branch in enumerate(found):
        target = TARGET.search(branch.text)
        if target is None or CALL.match(branch.text) or not start <= int(target[1], 16) <= branch.address:
            continue
        last = number + (slots and not NO_SLOT.match(branch.text)
                         and not (branch.bytes == 2 and NO_SLOT_SHORT.match(branch.text)))
        loop = [each for each in found[:last + 1] if each.address >= int(target[1], 16)]
        if any(each.address in places for each in loop):
            loops.append(loop)
    return min(loops, key=len, default=[])
