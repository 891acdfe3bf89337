"""Packs a model for a golfed engine, and builds the engine for it.

    from common.engine import builds, engines
    from common.model import models
    built = builds.build(engines.find("cpp-linux-i386"), models.find_model(), folder)    # pack, compile, link
    built.program, built.counted                                    # a path, and its counted bytes

A build leaves in its folder the program NAME, and in NAME.build/ all that it was made from and can be checked with:
model.packed, manifest.json, config.hpp, config.inc, effective.bin, tokenizer.bin, engine.elf (with debug information,
before it became the program) and build.json.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Sequence

from common import processes
from common.engine import inputs, limits
from common.engine.engines import Engine, nearest, table
from common.errors import UserError, atomic_write
from common.files import protect
from common.model import checkpoint, tokenizer
from common.model.checkpoint import Checkpoint, Config, all_finite
from common.model.models import Model
from common.model.tokenizer import Vocabulary
from common.pack import layout
from common.project import ROOT

# --- Pack --------------------------------------------------------------------------------------------------------

CONSTANTS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")


def constants(engine: Engine, config: Config, encoding: str, spans: Sequence[layout.Span]) -> dict[str, int]:
    """What an engine knows when it is compiled."""
    text = next(span for span in spans if span.text)
    assert text.text
    return {name: getattr(config, name) for name in CONSTANTS} | {
        "longest_piece": text.longest_piece,
        "weight_bytes": layout.ENCODINGS[encoding],
        "exp_squarings": layout.EXP_SQUARINGS,
        "workspace_bytes": layout.WORKSPACES[engine.layout](config),
        "text_bytes": text.row_bytes,
        "record_bytes": text.row_stride,
        "records_offset": min(span.offset for span in spans if span.row_stride == text.row_stride
                              and span.offset + span.row_stride > text.offset),
        "length_bias": text.text.length_bias,
        "packed_bytes": layout.packed_bytes(spans),
    }


def float_bits(value: float) -> int:
    """The bits of a value as float32: assemblers have no constant expressions of floats."""
    return int.from_bytes(struct.pack("<f", value), "little")


def assembler_constants(config: Config) -> dict[str, int]:
    """Floats that a NASM engine needs, as their bits."""
    ratio = checkpoint.ROPE_THETA ** (2 / config.head_size)  # between the angles of two neighbouring pairs
    whole = round(ratio)
    return {
        "epsilon_bits": float_bits(config.dim * layout.RMSNORM_EPSILON),
        "rope_ratio_bits": float_bits(1 / ratio),
        "rope_ratio_whole": whole if abs(whole - ratio) < 1e-9 and whole < 2**15 else 0,  # 0: it is no whole number
    }


def check_shape(engine: Engine, model: Model, encoding: str) -> tuple[Config, Vocabulary, list[layout.Span]]:
    """Refuses a model whose shape the engine cannot take, with the figures. Does not read its weights."""
    if encoding not in engine.encodings:
        raise UserError(f"{engine.name}: encoding {encoding!r}: this engine reads {' or '.join(engine.encodings)}")
    config = checkpoint.read_config(model.checkpoint)
    vocabulary = tokenizer.load(model.tokenizer, config.vocab_size)
    try:
        spans = layout.plan(engine.layout, encoding, config, vocabulary.pieces)
    except UserError as error:
        raise UserError(f"{model.tokenizer}: {error}") from error
    limits.check(engine, constants(engine, config, encoding, spans), model.checkpoint)
    return config, vocabulary, spans


def check(engine: Engine, model: Model, encoding: str) -> tuple[Checkpoint, Vocabulary, list[layout.Span]]:
    """Reads the model, and refuses one that the engine cannot run."""
    _, vocabulary, spans = check_shape(engine, model, encoding)
    return checkpoint.load(model.checkpoint), vocabulary, spans


def pack(engine: Engine, model: Model, encoding: str, folder: Path) -> list[layout.Span]:
    """Writes model.packed, config.hpp, config.inc, effective.bin, tokenizer.bin and manifest.json into the folder."""
    weights, vocabulary, spans = check(engine, model, encoding)
    try:
        packed = layout.encode(spans, weights, vocabulary.pieces)
        effective, _ = layout.decode(spans, weights.config, packed)
        check_effective(effective, engine.layout)
    except UserError as error:
        raise UserError(f"{model.checkpoint}: {error}") from error

    with atomic_write(folder / "model.packed") as file:
        file.write(packed)
    write_configuration(engine, weights.config, encoding, spans, folder)
    checkpoint.write_v0(folder / "effective.bin", effective)
    tokenizer.write(folder / "tokenizer.bin", vocabulary.pieces, vocabulary.scores)
    with atomic_write(folder / "manifest.json", "w") as file:
        json.dump({
            "engine": engine.name, "layout": engine.layout, "encoding": encoding, "model": model.name,
            "config": asdict(weights.config),
            "longest_piece": next(span for span in spans if span.text).longest_piece,
            "sha256": {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in (
                ("checkpoint", model.checkpoint), ("tokenizer", model.tokenizer),
                ("model.packed", folder / "model.packed"), ("effective.bin", folder / "effective.bin"),
                ("config.hpp", folder / "config.hpp"), ("config.inc", folder / "config.inc"))},
            "bytes": len(packed), "spans": layout.manifest(spans),
        }, file, indent=1)
        file.write("\n")
    return spans


def write_configuration(engine: Engine, config: Config, encoding: str, spans: Sequence[layout.Span], folder: Path) -> None:
    """Writes config.hpp and config.inc into the folder: the constants, and the engine's limits as assertions."""
    known = constants(engine, config, encoding, spans)
    note = "Generated by `llama512 pack`: do not edit."
    with atomic_write(folder / "config.hpp", "w") as file:
        file.write(f"// {note}\n#pragma once\n\n")
        file.writelines(f"constexpr long long {name} = {value};\n" if value > 2**31 - 1 else
                        f"constexpr int {name} = {value};\n" for name, value in known.items())
        file.writelines(["\n", *limits.cpp_assertions(engine)])
    with atomic_write(folder / "config.inc", "w") as file:
        file.write(f"; {note}\n\n")
        file.writelines(f"%define {name.upper():<16} {value}\n"
                        for name, value in (known | assembler_constants(config)).items())
        file.writelines(["\n", *limits.nasm_assertions(engine)])


def check_effective(effective: Checkpoint, name: str) -> None:
    """Refuses weights that the layout has no place for, or that are too large once their norm's gain is folded in."""
    for tensor, values in effective.tensors.items():
        if not all_finite(values):
            index, value = next((i, value) for i, value in enumerate(values) if not math.isfinite(value))
            why = (f"layout {name} does not hold it" if math.isnan(value) else
                   "with its norm's gain it does not fit into float32; scale the gains down")
            raise UserError(f"{tensor}: element {index} is {value} as packed: {why}")


# --- Build -------------------------------------------------------------------------------------------------------

# What every C++ engine is compiled with: freestanding, and no code or data that the source does not ask for.
CPP_FLAGS = (
    "-std=gnu++20", "-ffreestanding", "-fno-exceptions", "-fno-rtti", "-fno-asynchronous-unwind-tables",
    "-fno-stack-protector", "-fcf-protection=none", "-fno-pic", "-fomit-frame-pointer", "-fno-math-errno",
    "-Wall", "-Wextra", "-Wno-register", "-g",
)


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
    def effective(self) -> Model:
        """The checkpoint that says what the program's weights really are."""
        return Model(self.model, self.files / "effective.bin", self.files / "tokenizer.bin")


def compiler_command() -> str:
    """The C++ compiler of the golfed engines: $LLAMA512_CXX, or g++."""
    return os.environ.get("LLAMA512_CXX", "g++")


@functools.cache
def compiler_name(command: str) -> str:
    """`g++ 12.2.0`; the golfed engines need g++."""
    if shutil.which(command) is None:
        raise UserError(f"{command}: not found; install g++, or set LLAMA512_CXX to it")
    first = _run([command, "--version"]).splitlines()[0]
    version = _run([command, "-dumpfullversion", "-dumpversion"]).strip()
    if "clang" in first or not re.fullmatch(r"[\d.]+", version):
        raise UserError(f"{command}: {first}: the golfed engines need g++; install it, or set LLAMA512_CXX to it")
    return f"g++ {version}"


@functools.cache
def assembler_name() -> str:
    """`nasm 2.16.01`."""
    if shutil.which("nasm") is None:
        raise UserError("nasm: not found; install the package nasm (tools/quickstart does)")
    return f"nasm {_run(['nasm', '-v']).split()[2]}"


def toolchain(engine: Engine) -> str:
    """What makes the engine, with its version: sizes depend on it."""
    return compiler_name(compiler_command()) if engine.family == "cpp" else assembler_name()


def default_folder(model: Model) -> Path:
    """Where the engines for a model are built when nobody says otherwise."""
    return ROOT / "build" / "default" / "engines" / model.name


def build(engine: Engine, model: Model, folder: Path | None = None, encoding: str | None = None,
          flags: Sequence[str] | None = None) -> Built:
    """Packs the model, compiles and links the engine for it; does nothing when that was done from the same inputs, and
    what it made is still there. Waits while another process builds the engine in the same folder.

    `flags` replaces the set that makes the engine small."""
    folder = Path(os.path.realpath(folder or default_folder(model)))
    encoding = encoding or engine.encodings[0]
    files = folder / f"{engine.name}.build"
    protect_what_is_there(folder / engine.name, files, model)
    files.mkdir(parents=True, exist_ok=True)
    compiler = toolchain(engine)
    chosen, searched = (tuple(flags), False) if flags is not None else small_flags(engine, compiler)
    check_shape(engine, model, encoding)
    with processes.lock(files / "lock"):  # two builds into one folder would mix what they make
        inputs = input_hash(engine, encoding, compiler, chosen, (model.checkpoint, model.tokenizer))
        built = Built(engine, model.name, encoding, folder / engine.name, files, compiler, chosen, searched, 0, 0, {})
        try:
            facts = json.loads((files / "build.json").read_text(encoding="utf-8"))
            if facts["inputs"] == inputs and facts["sha256"] == digests(built):
                return replace(built, counted=facts["counted"], packed=facts["packed"], sha256=facts["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no build there, or not a finished one

        # What was there before is no finished build from here on, whatever happens.
        (files / "build.json").unlink(missing_ok=True)
        spans = pack(engine, model, encoding, files)
        if engine.family == "cpp":
            compile_cpp(engine, files, chosen)
            link(engine, files)
        else:
            assemble(engine, files, chosen)
        with atomic_write(built.program) as file:
            file.write((files / "engine.bin").read_bytes())
            os.fchmod(file.fileno(), 0o755)
        built = replace(built, counted=counted_bytes(built.program, files, spans), packed=layout.packed_bytes(spans),
                        sha256=digests(built))
        if built.counted <= 0:
            raise UserError(f"{built.program}: counted bytes: {built.counted}, so it does not hold the packed model; "
                            "build into another folder")
        with atomic_write(files / "build.json", "w") as file:
            json.dump({"engine": engine.name, "model": model.name, "encoding": encoding, "compiler": compiler,
                       "flags": list(chosen), "searched": searched, "counted": built.counted, "packed": built.packed,
                       "inputs": inputs, "sha256": built.sha256}, file, indent=1)
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


def counted_bytes(program: Path, files: Path, spans: Sequence[layout.Span]) -> int:
    """All of the program but tensors and vocabulary; of a disk image, also without the padding of its sectors."""
    return program.stat().st_size - sum(span.bytes for span in spans if not span.counted) - padding(files)


def padding(files: Path) -> int:
    """The free bytes of a disk image's sectors, by the source's symbol `padding`; other programs have none."""
    symbols = files / "engine.map"
    if not symbols.is_file():
        return 0
    found = re.search(r"^ *([0-9A-F]+) .*\bpadding$", symbols.read_text("utf-8"), re.MULTILINE)
    assert found
    return int(found[1], 16)


def input_hash(engine: Engine, encoding: str, compiler: str, flags: Sequence[str], data: Sequence[Path]) -> str:
    """A sha256 of all that decides what a build makes: `data` (the model's files), sources, tools, compiler, flags."""
    digest = hashlib.sha256(json.dumps([engine.name, engine.layout, encoding, compiler, list(flags)]).encode())
    for path in [*inputs.files(), *data]:
        digest.update(b"\n%s %d\n" % (os.fsencode(path.name), path.stat().st_size))
        digest.update(path.read_bytes())
    return digest.hexdigest()


def small_flags(engine: Engine, compiler: str) -> tuple[tuple[str, ...], bool]:
    """The flags that make the engine small, and whether they are the searched ones for this very compiler.

    The set of the nearest version is the best guess, if this version knows its flags. Assembly has nothing to search:
    its flags are the engine's features."""
    if engine.family == "asm":
        return tuple(f"-D{feature}" for feature in engine.features), True
    sets = engine.flag_sets()
    if sets:
        name = nearest(sets, compiler)
        flags = tuple(sets[name]["flags"])
        if name == compiler or _accepts(compiler_command(), flags):
            return flags, name == compiler
    facts = engine.target_facts()
    old = int(compiler.split()[1].split(".")[0]) < 12
    return tuple(facts["fallback_before_gcc_12" if old else "fallback"]), False


@functools.cache
def _accepts(command: str, flags: tuple[str, ...]) -> bool:
    """Whether the compiler knows these flags."""
    return subprocess.run([command, *flags, "-fsyntax-only", "-x", "c++", "/dev/null"], capture_output=True,
                          stdin=subprocess.DEVNULL).returncode == 0


# Every step runs in the build's folder and knows its files by fixed names. So whatever a folder is called, a path never
# stands in a source or a script, and the program is the same everywhere.

def compile_cpp(engine: Engine, files: Path, flags: Sequence[str]) -> None:
    """engine.o from the source, config.hpp and the target's folder."""
    facts = engine.target_facts()
    _run([compiler_command(), *CPP_FLAGS, *facts["machine"], *facts["flags"], *flags, "-I", ".",
          "-I", str(engine.folder), "-c", str(ROOT / engine.source), "-o", "engine.o"], files)


def link(engine: Engine, files: Path) -> None:
    """engine.elf and engine.bin from engine.o and model.packed, by the target's linker script."""
    facts = engine.target_facts()
    with atomic_write(files / "model.S", "w") as file:
        file.write('.section .note.GNU-stack, "", @progbits\n'
                   '.section .model, "a"\n.globl model\nmodel: .incbin "model.packed"\n')
    _run([compiler_command(), *facts["machine"], "-c", "model.S", "-o", "model.o"], files)
    _run(["ld", "-m", facts["linker"], "--no-warn-rwx-segments", "-T", str(engine.folder / "link.ld"),
          "engine.o", "model.o", "-o", "engine.elf"], files)
    _run(["objcopy", "-O", "binary", "engine.elf", "engine.bin"], files)


SECTOR = 512  # bytes


class SectorFull(UserError):
    """A boot sector that would need more than 512 bytes."""


def build_with_prompt(engine: Engine, model: Model, folder: Path | None, prompt: str) -> Built:
    """Builds a boot engine that has the prompt's tokens in its sector. The message of READ_ERROR makes room for it.

    Only engines with features take a prompt."""
    if not engine.takes_prompt:
        able = [other.name for other in table() if other.takes_prompt]
        raise UserError(f"{engine.name}: prompt: {prompt!r}: this engine takes none; {', '.join(able)} does")
    config = checkpoint.read_config(model.checkpoint)
    vocabulary = tokenizer.load(model.tokenizer, config.vocab_size)
    text = os.fsencode(prompt)  # the bytes that were typed
    most = min(config.seq_len, SECTOR)  # tokens
    longest = max(map(len, vocabulary.pieces))
    if len(text) > most * longest:  # to find its tokens would take minutes
        raise UserError(f"{engine.name}: prompt: {len(text):,} bytes, which {most} tokens of at most {longest} bytes cannot "
                        "hold; use a shorter prompt")
    tokens = tokenizer.encode(vocabulary, text)
    if not tokens:
        raise UserError(f"{engine.name}: prompt: it is empty; leave it out instead")
    if len(tokens) >= config.seq_len:  # as the reference does
        raise UserError(f"{engine.name}: prompt: {len(tokens) + 1} tokens (BOS included), at most the model's seq_len of "
                        f"{config.seq_len} are supported; use a shorter prompt")
    needed = [feature for feature in engine.features if feature != "READ_ERROR"]
    needed.append(f"PROMPT={','.join(map(str, tokens))}")
    try:
        return build(replace(engine, features=(*needed, "READ_ERROR")), model, folder)
    except SectorFull:
        return build(replace(engine, features=tuple(needed)), model, folder)


def assemble(engine: Engine, files: Path, flags: Sequence[str]) -> None:
    """engine.bin from the source, config.inc and model.packed; engine.lst, and engine.map when the source asks."""
    source = ROOT / engine.source
    (files / "engine.map").unlink(missing_ok=True)
    command = ["nasm", "-f", "bin", "-w+all", "-w+error=number-overflow", "-w-reloc", "-w-unknown-warning", *flags,
               "-I", f"{source.parent}/", str(source), "-o", "engine.bin", "-l", "engine.lst"]
    try:
        _run(command, files)
    except UserError as error:
        over = re.search(r"TIMES value -(\d+) is negative", str(error))
        if over is None:
            raise
        features = ", ".join(flag.removeprefix("-D").partition("=")[0] for flag in flags) or "no features"
        raise SectorFull(f"{engine.name}: the sector is {over[1]} bytes too full with this model's shape and {features}; "
                         "leave a feature out, or use a shorter prompt") from error


def _run(command: Sequence[str], folder: Path | None = None) -> str:
    """Runs a build step; what it printed, or a UserError with the command and the first line that says `error`."""
    # A program that is named from here must be found from the other folder, too.
    program = shutil.which(command[0])
    with subprocess.Popen([os.path.abspath(program) if program else command[0], *command[1:]], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", errors="replace",
                          cwd=folder, process_group=0) as process:
        try:
            output, errors = process.communicate()
        except BaseException:
            # All processes of a compiler end, and remove their temporary files, before this one goes on.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            raise
    if process.returncode:
        said = (errors.strip() or output.strip() or f"exit status {process.returncode}").splitlines()
        first = next((line for line in said if "error" in line.lower()), said[0])
        where = f"cd {shlex.quote(str(folder))} && " if folder else ""
        raise UserError(f"{first} (from: {where}{shlex.join(command)})")
    return output
