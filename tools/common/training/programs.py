"""Builds the programs of tools/train, and the reference engine, for this machine's processor; finds and runs them.

    from common.training.programs import build
    programs = build()                       # compiles what has changed; quick when nothing has
    programs.run("corpus", "--grammar", "fables.grammar", "--out", "corpus.txt")
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from common import processes
from common.errors import UserError
from common.project import ROOT

SOURCES = ROOT / "tools" / "train"
BUILD = ROOT / "build" / "train"


@dataclass(frozen=True)
class Programs:
    """Where the programs are."""

    folder: Path

    def path(self, name: str) -> Path:
        """A program's path. The reference may be elsewhere: $LLAMA512_REFERENCE."""
        if name == "reference":
            chosen = os.environ.get("LLAMA512_REFERENCE")
            return Path(chosen) if chosen else self.folder / "reference" / name
        return self.folder / name

    def run(self, name: str, *arguments: object) -> None:
        """Runs a program in the foreground: its stderr (progress, result) is the user's."""
        try:
            status = subprocess.run([self.path(name), *map(str, arguments)], check=False,
                                    preexec_fn=processes.with_parent()).returncode
        except OSError as error:
            raise UserError(f"{self.path(name)}: cannot run it: {error.strerror}") from error
        if status in (130, -2):
            raise KeyboardInterrupt
        if status:
            raise UserError(f"{name}: failed with status {status}, see above")


def build() -> Programs:
    """Compiles into build/train of the repository. $LLAMA512_TRAIN_PROGRAMS names a folder that has them already."""
    chosen = os.environ.get("LLAMA512_TRAIN_PROGRAMS")
    if chosen:
        return Programs(Path(chosen))
    folder = BUILD
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two tools at once wait for each other
        if not (folder / "Makefile").exists() and not (folder / "build.ninja").exists():
            print(f"compiling the programs of {SOURCES.name} for this machine, once: about a minute", file=sys.stderr)
            _cmake("-S", str(SOURCES), "-B", str(folder), "-G", "Ninja", "-DLLAMA512_NATIVE=ON",
                   "-DCMAKE_BUILD_TYPE=Release")
        _cmake("--build", str(folder), "--parallel", str(os.cpu_count() or 1),
               "--target", "corpus", "tokenize", "train", "reference")
    return Programs(folder)


def _cmake(*arguments: str) -> None:
    try:
        result = subprocess.run(["cmake", *arguments], encoding="utf-8", errors="replace", capture_output=True,
                                check=False)
    except FileNotFoundError:
        raise UserError("cmake: not found; tools/quickstart installs what is needed") from None
    if result.returncode:
        lines = (result.stdout + result.stderr).strip().splitlines()
        # Of a compiler's message the last lines say nothing.
        reason = next((line.strip() for line in lines if "error" in line.lower()), " / ".join(lines[-3:]))
        raise UserError(f"cmake {arguments[0]}: failed: {reason}")
