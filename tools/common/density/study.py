"""The density study: one source, compiled for every instruction set that a target's folder knows, measured, and run.

    from common.density import study
    rows = study.study(find_model(), study.programs())      # one row for each program

The source is golf/cpp/plain.cpp, the readable engine. A row says what its program weighs, and whether it really said what
the reference says; or what is missing here.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os
import re
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable, Sequence

from common import processes
from common.density import compilers, disassembly
from common.density.compilers import LEVELS, Compiler
from common.engine import engines, gcc, packing, targets
from common.engine.builds import Built
from common.engine.engines import Engine
from common.engine.targets import Target
from common.errors import MissingTool, UserError
from common.machine import run
from common.match import matching
from common.match.matching import Expected
from common.model.models import Model
from common.pack.packer import packed_bytes
from common.project import ROOT

IDEA = "plain"  # the source: it says nothing that only one machine understands
EQUAL = "equal"
TIMEOUT = 600.0  # seconds for a story


@dataclass(frozen=True)
class Program:
    """What is compiled."""

    target: Target
    compiler: Compiler
    level: str

    @property
    def name(self) -> str:
        return "-".join(filter(None, (IDEA, self.target.name, self.target.variant, self.compiler.name + self.level)))

    @property
    def engine(self) -> Engine:
        """The engine, for this target."""
        engine = next(engine for engine in engines.table() if engine.idea == IDEA)
        return replace(engine, name=self.name, target=self.target)


@dataclass(frozen=True)
class Row:
    """What came of it. The fields are the columns of the CSV."""

    code_name: str  # the instruction set
    target: str
    variant: str
    byte_order: str
    compiler: str  # with its version, where it is there
    level: str
    bytes: int | None = None  # all that is counted: header, constants, code, padding
    header: int | None = None
    constants: int | None = None
    code: int | None = None
    padding: int | None = None
    instructions: int | None = None
    instruction_bytes: int | None = None
    two_byte: int | None = None  # instructions of two bytes
    loop_instructions: int | None = None
    loop_bytes: int | None = None
    libgcc: int | None = None  # of the bytes: what the processor has no instructions for
    text: str = ""  # equal, or how it differs, or what is missing

    @property
    def right(self) -> bool:
        return self.text == EQUAL

    @property
    def missing(self) -> bool:
        """Whether this machine lacks something for it; otherwise it has been made, or failed."""
        return self.text.startswith("missing")


def all_targets() -> list[Target]:
    """Those with a folder that knows the source, for programs of an operating system; and their variants."""
    found = [targets.find(name) for name in targets.names()]
    return [each for target in found if target.machine == "program" and (target.folder / f"{IDEA}.ld").is_file()
            for each in target.variants()]


def programs(names: Sequence[str] | None = None, kind: str | None = None) -> list[Program]:
    """For these targets (or all) and this compiler (or both)."""
    known = all_targets()
    for name in names or []:
        if name not in {target.name for target in known}:
            raise UserError(f"target {name!r}: not one of {', '.join(sorted({target.name for target in known}))}")
    return [Program(target, compiler, level) for target in known if not names or target.name in names
            for compiler in compilers.known() if kind in (None, compiler.name) and compiler.knows(target) for level in LEVELS]


class Study:
    """Packs the model once for each order of bytes, and asks the reference once for each effective checkpoint."""

    def __init__(self, model: Model, folder: Path) -> None:
        self.model, self.folder = model, folder
        self.packed: dict[str, tuple[Path, int, Expected]] = {}
        self.told: dict[bytes, str] = {}  # what a program said, by its content

    def prepared(self, engine: Engine) -> tuple[Path, int, Expected]:
        """The folder with the packed model, its bytes, and what is expected."""
        order = engine.target.byte_order
        if order not in self.packed:
            folder = self.folder / order
            folder.mkdir()
            spans = packing.pack(engine, self.model, engine.encodings[0], folder)
            effective = Model(self.model.name, folder / "effective.bin", folder / "tokenizer.bin")
            self.packed[order] = folder, packed_bytes(spans), matching.expect(effective)
        return self.packed[order]

    def row(self, program: Program) -> Row:
        """Makes the program, measures it, and runs it."""
        target, compiler = program.target, program.compiler
        row = Row(target.fact("code"), target.name, target.variant, target.byte_order, compiler.name, program.level)
        missing = compiler.missing(target)
        if missing:
            return replace(row, text=f"missing: {missing}")
        row = replace(row, compiler=compiler.version(target))
        engine = program.engine
        try:
            packed, model_bytes, expected = self.prepared(engine)
            files = self.folder / program.name
            files.mkdir()
            for name in ("model.hpp", "model.packed"):
                (files / name).symlink_to(packed / name)
            row = replace(row, **self.make(program, engine, files, model_bytes))
            row = replace(row, text=self.verdict(engine, files, expected))
        except MissingTool as problem:
            return replace(row, text=f"missing: {str(problem).partition(';')[0]}")
        except UserError as problem:
            return replace(row, text=str(problem).replace(f"{self.folder}/", ""))
        shutil.rmtree(files)
        return row

    def make(self, program: Program, engine: Engine, files: Path, model_bytes: int) -> dict[str, int]:
        """The program, as engine.bin; what it weighs."""
        prefix = engine.target.gcc("prefix")
        program.compiler.compile(engine, files, program.level)
        gcc.link(engine, files, [*compilers.library(engine.target), "-Map=engine.map"])
        parts = disassembly.parts(prefix, files / "engine.elf")
        code = disassembly.code(prefix, files / "engine.elf", ROOT / engine.source)
        size = (files / "engine.bin").stat().st_size - model_bytes
        if size != sum(parts.values()):
            raise UserError(f"{program.name}: {size} bytes, but its parts have {sum(parts.values())}: {parts}")
        return parts | {
            "bytes": size, "instructions": len(code.instructions), "instruction_bytes": code.bytes,
            "two_byte": sum(each.bytes == 2 for each in code.instructions),
            "loop_instructions": len(code.loop), "loop_bytes": sum(each.bytes for each in code.loop),
            "libgcc": library_bytes((files / "engine.map").read_text("utf-8", "replace"))}

    def verdict(self, engine: Engine, files: Path, expected: Expected) -> str:
        """Whether it says what the reference says."""
        path = files / "engine.bin"
        path.chmod(0o755)
        digest = hashlib.sha256(path.read_bytes()).digest() + engine.target.fact("emulator").encode()
        if digest not in self.told:
            built = Built(engine, self.model.name, engine.encodings[0], path, files, "", (), False, 0, 0, {})
            story = run.run(built, emulate=True, timeout=TIMEOUT, expected=expected)
            difference = matching.compare(story.text, expected, run.seen(engine))
            self.told[digest] = EQUAL if difference is None else str(difference)
        return self.told[digest]


def library_bytes(text: str) -> int:
    """The bytes of libgcc that a linker's map shows within the image."""
    body = text.partition("Linker script and memory map")[2].partition(".bss ")[0]
    rows = re.findall(r"^ \.(?:text|rodata|data|sdata|got|literal)\S*\s+0x([0-9a-f]+)\s+0x([0-9a-f]+) \S*libgcc\.a\(", body,
                      re.MULTILINE)
    return sum(int(size, 16) for address, size in rows if int(address, 16))


def study(model: Model, wanted: Sequence[Program], done: Callable[[Row], None] = lambda row: None) -> list[Row]:
    """A row for each program, in order. `done` is told of each one as it comes."""
    def one(program: Program) -> Row:
        row = state.row(program)
        done(row)
        return row
    with processes.temporary_folder() as folder:
        state = Study(model, folder)
        for program in wanted:
            if not program.compiler.missing(program.target):
                state.prepared(program.engine)  # once for all, and before they go side by side
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return list(pool.map(one, wanted))
