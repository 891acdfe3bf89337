"""WebAssembly modules that clang makes: from instructions of the module to those that were linked, and by DWARF to source lines.

    from common.anatomy import module
    module.units(built, program)

wasm-opt makes instructions anew, and says where each comes from (common/engine/clang.py). One that comes from nowhere belongs to
the one before it; what a function needs besides instructions, its size and its local variables, to the function's own line.
"""

from __future__ import annotations

import json
import re
import struct
from itertools import groupby
from typing import Iterator, Sequence

from common.anatomy.dwarf import Program
from common.anatomy.marks import Line
from common.anatomy.units import Unit, unit
from common.engine import clang
from common.engine.builds import Built
from common.engine.images import wasm
from common.errors import UserError
from common.machine import wasi


def units(built: Built, program: bytes) -> list[Unit]:
    """All counted bytes."""
    return [*_header(program), *_code(built, program)]


def _header(program: bytes) -> Iterator[Unit]:
    """What is between functions and data: each field is one unit."""
    offset = 0
    for name, bytes_ in groupby(wasm.header_fields(program)):
        size = len(list(bytes_))
        if name and not name.startswith(wasm.BODY):
            yield Unit(offset, program[offset:offset + size], "header", "header", name, ())
        offset += size


def _code(built: Built, program: bytes) -> Iterator[Unit]:
    linked = built.files / clang.LINKED
    data = linked.read_bytes()
    debug = Program(linked, as_elf({name: body for name, body in wasm.custom(data).items() if name.startswith(".debug")}))
    base = wasm.code(data).start
    origins: dict[int, list[int]] = {}
    for offset, origin in json.loads((built.files / clang.ORIGINS).read_text("utf-8")):
        origins.setdefault(offset, []).append(origin)
    listed, signatures = wasi.instructions(built.program), wasm.signatures(program)
    _, end = wasm.leb(program, wasm.code(program).start)
    for body in wasm.functions(program):
        rows = [row for row in listed if row[0] in body]
        found = list(_origins([(offset, text) for offset, _, text in rows], signatures, origins))
        chains = [_inside(debug.chain(origin - base), built.engine.source) if origin is not None else [] for origin in found]
        own = next((chain for chain in chains if chain), None)
        if own is None:
            raise UserError(f"{built.program}: function at byte {body.start}: DWARF says no line of it; build it again")
        frame = debug.chain(next(origin for origin, chain in zip(found, chains) if chain) - base)[-1:]
        chain = own
        for (offset, code, text), its in zip(rows, chains):
            if offset > end:
                yield unit(program, end, offset - end, True, "size, local variables", frame)
            declares = text.startswith("local[")
            chain = its if its and its != frame else chain  # without a line of its own: like the one before
            yield unit(program, offset, len(code), True, text, frame if declares else chain)
            end = offset + len(code)
        if end != body.stop:
            raise UserError(f"{built.program}: byte {end}: wasm-objdump lists no instruction there; build it again")


def _inside(chain: list[Line], source: str) -> list[Line]:
    """Without the function that an engine's source is inlined into: its mark is not that of the source's lines."""
    last = max((index for index, (file, _) in enumerate(chain) if file == source), default=len(chain) - 1)
    return chain[:last + 1]


# How many numbers an instruction takes from the stack, by the end of its name; others take two. And which give none.
TAKES = ((r".*\.(const|get|size)|loop|block|else|end|br|return|nop|unreachable|local\[.*", 0),
         (r".*\.(set|tee|load\w*|sqrt|eqz|neg|abs|(convert|promote|demote|extend|wrap|trunc|reinterpret)\w*)|drop|br_if|if", 1),
         (r"select", 3))
GIVES_NONE = re.compile(r".*\.(set|store\w*)|drop|br|br_if|if|loop|block|else|end|return|nop|unreachable|local\[.*")


def _origins(rows: Sequence[tuple[int, str]], signatures: Sequence[tuple[int, int]], origins: dict[int, list[int]]) \
        -> Iterator[int | None]:
    """Where each instruction comes from. wasm-opt says it of an expression where the expression begins, which is at the first
    instruction of its innermost one: so of several at one place the last one is that instruction's, the others follow outwards."""
    left = {offset: list(found) for offset, found in origins.items()}
    stack: list[int] = []  # where the expressions begin whose numbers are on the stack
    scopes: list[int | None] = []
    for offset, text in rows:
        name, _, operands = text.partition(" ")
        takes, gives = signatures[int(operands.split()[0])] if name == "call" else (
            next((takes for pattern, takes in TAKES if re.fullmatch(pattern, name)), 2), int(not GIVES_NONE.fullmatch(name)))
        begin = stack[-takes] if 0 < takes <= len(stack) else offset
        del stack[len(stack) - min(takes, len(stack)):]
        stack += [begin] * gives
        place = next((each for each in (offset, begin) if left.get(each)), None)
        found = left[place].pop() if place is not None else None
        if name in ("loop", "block", "if"):
            scopes.append(found)
        elif name == "end":
            found = scopes.pop() if scopes else found
        yield found


def as_elf(sections: dict[str, bytes]) -> bytes:
    """An ELF file of nothing but these sections."""
    names, rows, data = b"\0", [(0,) * 10], b""
    for name, body in [*sections.items(), (".shstrtab", b"")]:
        place = len(names)
        names += name.encode() + b"\0"
        body = body if name in sections else names
        rows.append((place, 1 if name in sections else 3, 0, 0, 52 + len(data), len(body), 0, 0, 1, 0))
        data += body
    header = b"\x7fELF\1\1\1".ljust(16, b"\0") + struct.pack(
        "<HHIIIIIHHHHHH", 2, 0, 1, 0, 0, 52 + len(data), 0, 52, 0, 0, 40, len(rows), len(rows) - 1)
    return header + data + b"".join(struct.pack("<10I", *row) for row in rows)
