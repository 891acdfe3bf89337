"""What decides the engines' sizes, at any commit: its content hash, and its measurement in a temporary worktree.

    from common.size import states
    states.key_of_revision("HEAD") == states.key_of_worktree()          # in a clean tree
    for row in states.measure("HEAD~3"):                                # what its own `size --json` prints
        row["engine"], row["model"], row["bytes"]

A commit cannot contain its own hash, so measurements are filed under the key: a hash of the files that decide a size.
Every function takes the repository's root; it is this project's unless a test says otherwise.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Iterable, Sequence

from common import processes
from common.engine import engines, inputs, toolchains as engine_toolchains
from common.engine.inputs import NOTES
from common.errors import UserError, atomic_write
from common.project import ROOT
from common.size import git
from common.size.measure import budget_model

PATHS = (*inputs.paths(), *inputs.EARLIER)  # what decides a size

NEW = "?"  # what `git ls-files -t` puts before a file that it does not track
KEY_DIGITS = 16  # of a key, where it is recorded


class DoesNotBuild(UserError):
    """A commit whose engines cannot be built. The message is the first line that says error."""


# --- Keys ----------------------------------------------------------------------------------------------------------

def _key(files: Iterable[tuple[str, str]]) -> str:
    lines = (f"{path}\0{blob}\n" for path, blob in sorted(files) if not path.endswith(NOTES))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def key_of_revision(rev: str, root: Path = ROOT) -> str:
    """The sha256 of paths and blob ids of all that decides a size."""
    return _key_of_commit(git.resolve(rev, root), root)


@functools.cache
def _key_of_commit(commit: str, root: Path) -> str:
    entries = git.run(root, "ls-tree", "-r", "-z", commit, "--", *PATHS).split("\0")
    # Each is "mode type id<TAB>path".
    return _key((entry.partition("\t")[2], entry.split()[2]) for entry in entries if entry)


def key_of_worktree(root: Path = ROOT) -> str:
    """The same of the files as they are now: those that git tracks, and new sources that it does not ignore."""
    listed = git.run(root, "ls-files", "-t", "-c", "-o", "-z", "--exclude-standard", "--", *PATHS).split("\0")
    names = {name for tag, _, name in (entry.partition(" ") for entry in listed)
             if tag != NEW or name.endswith(inputs.suffixes())}
    return _key((name, _blob(root / name)) for name in names if name and os.path.lexists(root / name))


def _blob(path: Path) -> str:
    """The id that git gives to a file's content."""
    data = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def commits_that_touch(root: Path = ROOT) -> list[git.Commit]:
    """The commits of the history that changed what decides a size, oldest first; those of merged branches, too."""
    return [*_commits_before(tuple(git.heads(root)), root)]


@functools.cache
def _commits_before(heads: tuple[str, ...], root: Path) -> list[git.Commit]:
    found = git.commits("--full-history", *heads, "--", *PATHS, f":(exclude)*{NOTES}", root=root)
    return [commit for commit in found if len(commit.parents) < 2 or _key_of_commit(commit.hash, root) not in
            [_key_of_commit(parent, root) for parent in commit.parents]]


# --- Measuring -----------------------------------------------------------------------------------------------------

def toolchains() -> dict[str, str]:
    """The present tools that decide sizes, by what the table calls them: {"gcc": "g++ 12.2.0", "nasm": "nasm 2.16.01"}. Of
    several compilers of one kind it is the first engine's; one that is not at hand stops nobody who has another of its
    toolchain."""
    found: dict[str, str] = {}
    problems: dict[str, UserError] = {}
    for engine in engines.table():
        if engine.tools not in found:
            try:
                found[engine.tools] = engine_toolchains.name(engine)
            except UserError as error:
                problems.setdefault(engine.toolchain, error)
    for toolchain, problem in problems.items():
        if all(tools.split()[0] != toolchain for tools in found):
            raise problem
    return found


def toolchains_name() -> str:
    """All of them in one line, each once."""
    return ", ".join(dict.fromkeys(toolchains().values()))


def measure(rev: str, *arguments: str, root: Path = ROOT) -> list[dict]:
    """What the commit's own `tools/llama512 size --json ARGUMENTS…` prints, run in a worktree of it.

    Without arguments the answer has every shape of today, also those that the commit does not know of; and it is kept
    in build/sizes/ under its key and the compilers: a commit is built once."""
    name = re.sub(r"[^\w.+]+", "-", toolchains_name())
    cache = root / "build" / "sizes" / f"{key_of_revision(rev, root)[:KEY_DIGITS]}-{name}.json"
    if not arguments:
        try:
            rows = json.loads(cache.read_text("utf-8"))
            if not missing_shapes(rows):
                return rows
        except (OSError, ValueError):
            pass  # not measured yet
    with git.worktree(rev, root) as folder:
        rows = measure_folder(folder, *arguments)
        if not arguments:
            rows += measure_shapes(folder, missing_shapes(rows))
    if not arguments and all(row["engine"] for row in rows):
        with atomic_write(cache, "w") as file:
            json.dump(rows, file, indent=1)
            file.write("\n")
    return rows


def missing_shapes(rows: Sequence[dict]) -> list[engines.Shape]:
    """The shapes that these measurements say nothing of."""
    known = {row["model"] for row in rows}
    return [shape for shape in engines.shapes() if shape.name not in known]


def measure_shapes(folder: Path, shapes: Sequence[engines.Shape]) -> list[dict]:
    """What the project in a folder weighs for shapes that it does not know. Where it does not build, a row without an
    engine says so."""
    rows = []
    with processes.temporary_folder() as temporary:
        for shape in shapes:
            model = budget_model(temporary, shape)
            try:
                rows += measure_folder(folder, "--model", str(model.checkpoint), "--tokenizer", str(model.tokenizer))
            except DoesNotBuild as problem:
                rows.append({"engine": "", "model": shape.name, "compiler": toolchains_name(), "problem": str(problem)})
    return rows


def measure_folder(folder: Path, *arguments: str) -> list[dict]:
    """The same for the project in a folder as it is now."""
    # A folder of its own for temporary files, so that no message names a place on this machine.
    with processes.temporary_folder() as temporary:
        # What warnings mean to the caller is not what they meant to an older commit.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHONWARN")}
        environment.update(PYTHONDONTWRITEBYTECODE="1", NO_COLOR="1", TMPDIR=str(temporary), LLAMA512_ENGINES="all")
        try:
            result = subprocess.run([sys.executable, str(folder / "tools" / "llama512"), "size", "--json", *arguments],
                                    capture_output=True, stdin=subprocess.DEVNULL, cwd=folder, env=environment,
                                    preexec_fn=processes.with_parent())
        except OSError as error:
            raise DoesNotBuild(f"tools/llama512 size: {error.strerror}") from error
    try:
        rows = json.loads(result.stdout) if result.returncode in (0, 1) else None
        if isinstance(rows, list) and all(isinstance(row["bytes"], int) and row["engine"] for row in rows):
            return rows
    except (ValueError, TypeError, KeyError):
        pass  # no list of sizes: it failed
    raise DoesNotBuild(first_error(result.stderr.decode("utf-8", "replace"), (folder, temporary))
                       or f"tools/llama512 size: exit status {result.returncode}, and no list of sizes")


def first_error(said: str, folders: Sequence[Path] = ()) -> str:
    """The first line that says error, without the tool's name, the command that failed, and the folders' paths."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    line = next((line for line in lines if "error" in line.lower()), lines[-1] if lines else "")
    line = re.sub(r"^llama512 size: error: ", "", line).partition(" (from: ")[0]
    for folder in folders:
        line = line.replace(f"{folder}/", "").replace(str(folder), ".")
    return "".join(character if character.isprintable() else " " for character in line)[:200]
