"""What decides the engines' sizes, at any commit: its content hash, and its measurement in a temporary worktree.

    from common.size import revisions
    revisions.key_of_revision("HEAD") == revisions.key_of_worktree()      # in a clean tree
    for row in revisions.measure("HEAD~3"):                               # what its own `size --json` prints
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
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Iterator, Sequence

from common import processes
from common.engine import engines, inputs, toolchains as engine_toolchains
from common.engine.inputs import NOTES
from common.errors import UserError, atomic_write
from common.project import ROOT
from common.size import measure as measuring


PATHS = (*inputs.paths(), *inputs.EARLIER)  # what decides a size

KEY_DIGITS = 16  # of a key, where it is recorded


class NoGit(UserError):
    """The program git is not there."""


class DoesNotBuild(UserError):
    """A commit whose engines cannot be built. The message is the first line that says error."""


@dataclass(frozen=True)
class Commit:
    """A commit, as `git log` shows it."""

    hash: str
    parents: tuple[str, ...]
    date: str  # the author's, YYYY-MM-DD: a rebase keeps it
    subject: str
    body: str  # the message without its first line

    @property
    def short(self) -> str:
        return self.hash[:9]


# --- git ---------------------------------------------------------------------------------------------------------

# A git hook sets these for its own repository; here the root decides.
HOOK_VARIABLES = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"}


def git(root: Path, *arguments: str, check: bool = True) -> str:
    """What a git command prints. Its failure is a UserError, or with check=False an empty answer."""
    environment = {name: value for name, value in os.environ.items() if name not in HOOK_VARIABLES}
    try:
        result = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, env=environment,
                                stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise NoGit("git: not found; install the package git") from error
    if result.returncode:
        if not check:
            return ""
        said = result.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {result.returncode}"]
        command = next(word for word in arguments if not word.startswith("-") and "=" not in word)  # after -c NAME=VALUE
        raise UserError(f"git {command}: {said[0]}")
    return result.stdout.decode("utf-8", "surrogateescape")


def in_repository(root: Path = ROOT) -> bool:
    """Whether the root is a repository's top folder. A tarball of the project is none.

    Raises UserError where there is one that git refuses to read, as when it belongs to another user."""
    if not (root / ".git").exists():
        return False
    try:
        git(root, "rev-parse", "--show-toplevel")
    except NoGit:
        raise
    except UserError as error:
        raise UserError(f"{root}: {error}; if the folder belongs to another user whom you trust: "
                        f"git config --global --add safe.directory {root}") from error
    return True


def require_repository(root: Path = ROOT) -> None:
    """Raises UserError where there is no history to look at."""
    if not in_repository(root):
        raise UserError(f"{root}: no git repository, so there are no earlier commits; get the project with `git clone`")


def heads(root: Path = ROOT) -> list[str]:
    """The commits that the next one will follow: HEAD, and during a merge the other branch."""
    merging = git(root, "rev-parse", "--verify", "--quiet", "MERGE_HEAD", check=False).split()
    return [resolve("HEAD", root), *merging]


def is_shallow(root: Path = ROOT) -> bool:
    """Whether the clone lacks older commits."""
    return git(root, "rev-parse", "--is-shallow-repository").strip() == "true"


def resolve(rev: str, root: Path = ROOT) -> str:
    """The commit's full hash."""
    found = git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}", check=False).strip()
    if not found:
        require_repository(root)
        way_out = ("this clone is shallow, get the rest with `git fetch --unshallow`" if is_shallow(root)
                   else "give a branch, a tag or a commit's hash that `git log` knows")
        raise UserError(f"revision {rev!r}: no such commit here; {way_out}")
    return found


def is_branch(rev: str, root: Path = ROOT) -> bool:
    """Whether this names a branch, local or of a remote, rather than a commit or a tag."""
    if rev in ("HEAD", "@"):
        return False
    name = git(root, "rev-parse", "--symbolic-full-name", "--verify", "--quiet", "--end-of-options", rev, check=False)
    return bool(re.search(r"^refs/(heads|remotes)/", name, re.MULTILINE))


def merge_base(rev: str, other: str = "HEAD", root: Path = ROOT) -> str:
    """The commit where two lines of history parted."""
    found = git(root, "merge-base", resolve(rev, root), resolve(other, root), check=False).split()
    if not found:
        raise UserError(f"revision {rev!r}: it has no commit in common with {other}; compare with a commit instead")
    return found[0]


def commits(*arguments: str, root: Path = ROOT) -> list[Commit]:
    """What `git log ARGUMENTS…` lists: parents before children, otherwise by the author's date, which a rebase keeps."""
    text = git(root, "-c", "log.showSignature=false", "log", "--author-date-order", "--reverse", "-z",
               "--date=short", "--format=%H%n%P%n%ad%n%s%n%B", *arguments)
    found = []
    for entry in text.split("\0"):
        if entry.strip():
            head = entry.split("\n", 4)
            found.append(Commit(head[0], tuple(head[1].split()), head[2], head[3],
                                head[4].partition("\n")[2].strip("\n")))
    return found


def commits_that_touch(root: Path = ROOT) -> list[Commit]:
    """The commits of the history that changed what decides a size, oldest first; those of merged branches, too."""
    found = commits("--full-history", *heads(root), "--", *PATHS, f":(exclude)*{NOTES}", root=root)
    return [commit for commit in found if len(commit.parents) < 2 or _key_of_commit(commit.hash, root) not in
            [_key_of_commit(parent, root) for parent in commit.parents]]


def file_at(rev: str, path: str, root: Path = ROOT) -> str | None:
    """A file's text as a commit has it."""
    listed = git(root, "ls-tree", "--name-only", resolve(rev, root), "--", path)
    return git(root, "show", f"{resolve(rev, root)}:{path}") if listed.strip() else None


# --- Keys --------------------------------------------------------------------------------------------------------

def _key(files: Iterable[tuple[str, str]]) -> str:
    lines = (f"{path}\0{blob}\n" for path, blob in sorted(files) if not path.endswith(NOTES))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def key_of_revision(rev: str, root: Path = ROOT) -> str:
    """The sha256 of paths and blob ids of all that decides a size."""
    return _key_of_commit(resolve(rev, root), root)


@functools.cache
def _key_of_commit(commit: str, root: Path) -> str:
    entries = git(root, "ls-tree", "-r", "-z", commit, "--", *PATHS).split("\0")
    # Each is "mode type id<TAB>path".
    return _key((entry.partition("\t")[2], entry.split()[2]) for entry in entries if entry)


def key_of_worktree(root: Path = ROOT) -> str:
    """The same of the files as they are now: those that git tracks, and new sources that it does not ignore."""
    names = set(git(root, "ls-files", "-c", "-z", "--", *PATHS).split("\0"))
    new = git(root, "ls-files", "-o", "-z", "--exclude-standard", "--", *PATHS).split("\0")
    names.update(name for name in new if name.endswith(inputs.suffixes()))
    return _key((name, _blob(root / name)) for name in names if name and os.path.lexists(root / name))


def _blob(path: Path) -> str:
    """The id that git gives to a file's content."""
    data = os.fsencode(os.readlink(path)) if path.is_symlink() else path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


# --- Measuring ---------------------------------------------------------------------------------------------------

def toolchains() -> dict[str, str]:
    """The present tools that decide sizes, by what the table calls them: {"gcc": "g++ 12.2.0", "nasm": "nasm 2.16.01"}."""
    return {engine.toolchain: engine_toolchains.name(engine) for engine in engines.table()}


def toolchains_name() -> str:
    """Both in one line."""
    return ", ".join(toolchains().values())


@contextmanager
def worktree(rev: str, root: Path = ROOT) -> Iterator[Path]:
    """A temporary folder with the files of a commit. It is gone afterwards, whatever happens."""
    commit = resolve(rev, root)
    with processes.temporary_folder() as temporary:
        folder = temporary.resolve() / "tree"
        try:
            # Hooks are for people's checkouts.
            git(root, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", str(folder), commit)
            yield folder
        finally:
            git(root, "worktree", "remove", "--force", str(folder), check=False)
            git(root, "worktree", "prune", check=False)


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
    with worktree(rev, root) as folder:
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
            model = measuring.budget_model(temporary, shape)
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
        environment.update(PYTHONDONTWRITEBYTECODE="1", NO_COLOR="1", TMPDIR=str(temporary))
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
