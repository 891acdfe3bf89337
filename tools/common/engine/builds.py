"""Builds an engine for a model.

    from common.engine import builds, engines
    from common.model import models
    built = builds.build(engines.find("cpp-linux-i386"), models.find_model(), folder)    # pack, compile, link
    built.program, built.counted                                    # a path, and its counted bytes

A build leaves in its folder the program NAME, and in NAME.build/ all that it was made from and can be checked with:
model.packed, manifest.json, model.hpp, model.inc, effective.bin, tokenizer.bin, engine.elf (with debug information,
before it became the program) and build.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Sequence

from common import processes
from common.engine import images, inputs, packing, toolchains
from common.engine.engines import Engine
from common.errors import UserError, atomic_write
from common.files import protect
from common.model import checkpoint
from common.model.models import Model
from common.pack.layouts import LAYOUTS
from common.pack.packer import packed_bytes
from common.project import ROOT

FLAGSET = "flagset.json"  # its flags are an input themselves


@dataclass(frozen=True)
class Built:
    """A finished program."""

    engine: Engine
    model: str
    encoding: str
    program: Path
    files: Path  # NAME.build
    compiler: str
    flags: tuple[str, ...]
    searched: bool  # whether the flags are those that flagsearch found with this compiler
    counted: int  # bytes of the program that are neither tensor nor vocabulary
    packed: int  # bytes of the packed model
    sha256: dict[str, str]  # of the program, effective.bin and tokenizer.bin

    @property
    def workspace(self) -> int:
        """Bytes of memory that it works in, until the end of the context."""
        return LAYOUTS[self.engine.layout].memory(checkpoint.read_config(self.effective.checkpoint), self.encoding)

    @property
    def memory(self) -> int:
        """Bytes that it uses: of the model, and those that it works in."""
        return self.packed + self.workspace

    @property
    def effective(self) -> Model:
        """The checkpoint that says what the program's weights really are."""
        return Model(self.model, self.files / "effective.bin", self.files / "tokenizer.bin")


def default_folder(model: Model) -> Path:
    """Where the engines for a model are built when nobody says otherwise."""
    return ROOT / "build" / "default" / "engines" / model.name


def build(engine: Engine, model: Model, folder: Path | None = None, encoding: str | None = None,
          flags: Sequence[str] | None = None) -> Built:
    """Packs the model, compiles and links the engine for it; does nothing when that was done from the same inputs, and
    what it made is still there. Waits while another process builds the engine in the same folder.

    Where the model needs the engine's variant for large models, that is built: `Built.engine` says so.
    `flags` replaces the set that makes the engine small."""
    folder = Path(os.path.realpath(folder or default_folder(model)))
    encoding = encoding or engine.encodings[0]
    files = folder / f"{engine.name}.build"
    protect_what_is_there(folder / engine.name, files, model)
    files.mkdir(parents=True, exist_ok=True)
    known_engine, engine = engine, packing.fitting(engine, model, encoding)
    toolchain = toolchains.of(engine)
    compiler = toolchain.name(engine)
    chosen, searched = (tuple(flags), False) if flags is not None else toolchain.small_flags(engine, compiler)
    with processes.lock(files / "lock"):  # two builds into one folder would mix what they make
        state = input_hash(engine, encoding, compiler, chosen, (model.checkpoint, model.tokenizer),
                           toolchain.programs(engine))
        built = Built(engine, model.name, encoding, folder / engine.name, files, compiler, chosen, searched, 0, 0, {})
        try:
            facts = json.loads((files / "build.json").read_text(encoding="utf-8"))
            if facts["inputs"] == state and facts["sha256"] == digests(built):
                return replace(built, counted=facts["counted"], packed=facts["packed"], sha256=facts["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no build there, or not a finished one

        # What was there before is no finished build from here on, whatever happens.
        (files / "build.json").unlink(missing_ok=True)
        if engine != known_engine and hasattr(toolchain, "check_room"):  # packing a large model takes its time
            packing.configure(engine, model, encoding, files)
            toolchain.check_room(engine, files, chosen)
        spans = packing.pack(engine, model, encoding, files)
        toolchain.make(engine, files, chosen)
        with atomic_write(built.program) as file:
            file.write((files / "engine.bin").read_bytes())
            os.fchmod(file.fileno(), 0o755)
        built = replace(built, counted=images.counted_bytes(engine, built.program, files, spans),
                        packed=packed_bytes(spans), sha256=digests(built))
        if built.counted <= 0:
            raise UserError(f"{built.program}: counted bytes: {built.counted}, so it does not hold the packed model; "
                            "build into another folder")
        with atomic_write(files / "build.json", "w") as file:
            json.dump({"engine": engine.name, "model": model.name, "encoding": encoding, "compiler": compiler,
                       "flags": list(chosen), "searched": searched, "counted": built.counted, "packed": built.packed,
                       "inputs": state, "sha256": built.sha256}, file, indent=1)
            file.write("\n")
        return built


def digests(built: Built) -> dict[str, str]:
    """The sha256 of what is run, and of what it is compared with."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (built.program, built.effective.checkpoint, built.effective.tokenizer)}


def check_unchanged(built: Built) -> None:
    """Refuses a build that is no longer what it was: another one has been made in its folder."""
    if built.sha256 != digests(built):
        raise UserError(f"{built.program}: another build has been made in this folder meanwhile; "
                        "give each its own, with -o")


def protect_what_is_there(program: Path, files: Path, model: Model) -> None:
    """Refuses to write over the model, and over a file that has the engine's name but was never built."""
    protect([program, files, *(files.iterdir() if files.is_dir() else [])], [model.checkpoint, model.tokenizer])
    if os.path.lexists(program) and not (files / "manifest.json").is_file():
        raise UserError(f"{program}: a file that is no build of this engine has its name; remove it, or build into "
                        "another folder")


def input_hash(engine: Engine, encoding: str, compiler: str, flags: Sequence[str], data: Sequence[Path],
               programs: Sequence[str] = ()) -> str:
    """A sha256 of all that decides what a build makes: `data` (the model's files), sources, tools, compiler, flags; and which
    assembler and linker, by their files' sizes and times."""
    digest = hashlib.sha256(json.dumps([engine.name, engine.layout, encoding, compiler, list(flags)]).encode())
    for program in programs:
        path = shutil.which(program)
        status = os.stat(path) if path else None
        digest.update(b"%s %d %d\n" % (os.fsencode(program), status.st_size, status.st_mtime_ns) if status else b"\n")
    for path in [*(path for path in inputs.files() if path.name != FLAGSET), *data]:
        digest.update(b"\n%s %d\n" % (os.fsencode(path.name), path.stat().st_size))
        digest.update(path.read_bytes())
    return digest.hexdigest()
