"""What git knows of the project: commits, their files, and their trees in temporary worktrees.

    from common.size import git
    git.resolve("HEAD~3")                                # the commit's full hash
    git.file_at("HEAD", "golf/engines.json")
    with git.worktree("HEAD~3") as folder: ...

Every function takes the repository's root; it is this project's unless a test says otherwise.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

from common import processes
from common.errors import UserError
from common.project import ROOT


class NoGit(UserError):
    """The program git is not there."""


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


# A git hook sets these for its own repository; here the root decides.
HOOK_VARIABLES = {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR"}


def run(root: Path, *arguments: str, check: bool = True) -> str:
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
        run(root, "rev-parse", "--show-toplevel")
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
    found = run(root, "rev-list", "--no-walk=unsorted", "--ignore-missing", "HEAD", "MERGE_HEAD", "--", check=False).split()
    return found or [resolve("HEAD", root)]  # which says why there is none


def is_shallow(root: Path = ROOT) -> bool:
    """Whether the clone lacks older commits."""
    return run(root, "rev-parse", "--is-shallow-repository").strip() == "true"


def resolve(rev: str, root: Path = ROOT) -> str:
    """The commit's full hash."""
    return _known(rev, root) if re.fullmatch("[0-9a-f]{40}", rev) else _find(rev, root)


@functools.lru_cache(maxsize=None)
def _known(full_hash: str, root: Path) -> str:
    """The same of a full hash: a commit that is there stays."""
    return _find(full_hash, root)


def _find(rev: str, root: Path) -> str:
    """The same, by asking git."""
    found = run(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{rev}^{{commit}}", check=False).strip()
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
    name = run(root, "rev-parse", "--symbolic-full-name", "--verify", "--quiet", "--end-of-options", rev, check=False)
    return bool(re.search(r"^refs/(heads|remotes)/", name, re.MULTILINE))


def merge_base(rev: str, other: str = "HEAD", root: Path = ROOT) -> str:
    """The commit where two lines of history parted."""
    found = run(root, "merge-base", resolve(rev, root), resolve(other, root), check=False).split()
    if not found:
        raise UserError(f"revision {rev!r}: it has no commit in common with {other}; compare with a commit instead")
    return found[0]


def commits(*arguments: str, root: Path = ROOT) -> list[Commit]:
    """What `git log ARGUMENTS…` lists: parents before children, otherwise by the author's date, which a rebase keeps."""
    text = run(root, "-c", "log.showSignature=false", "log", "--author-date-order", "--reverse", "-z",
               "--date=short", "--format=%H%n%P%n%ad%n%s%n%B", *arguments)
    found = []
    for entry in text.split("\0"):
        if entry.strip():
            head = entry.split("\n", 4)
            found.append(Commit(head[0], tuple(head[1].split()), head[2], head[3],
                                head[4].partition("\n")[2].strip("\n")))
    return found


def file_at(rev: str, path: str, root: Path = ROOT) -> str | None:
    """A file's text as a commit has it."""
    return _file_of(resolve(rev, root), path, root)


@functools.lru_cache(maxsize=None)
def _file_of(commit: str, path: str, root: Path) -> str | None:
    """The same of a full hash: a commit does not change."""
    listed = run(root, "ls-tree", "--name-only", commit, "--", path)
    return run(root, "show", f"{commit}:{path}") if listed.strip() else None


@contextmanager
def worktree(rev: str, root: Path = ROOT) -> Iterator[Path]:
    """A temporary folder with the files of a commit. It is gone afterwards, whatever happens."""
    commit = resolve(rev, root)
    with processes.temporary_folder() as temporary:
        folder = temporary.resolve() / "tree"
        try:
            # Hooks are for people's checkouts.
            run(root, "-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", str(folder), commit)
            yield folder
        finally:
            run(root, "worktree", "remove", "--force", str(folder), check=False)
            run(root, "worktree", "prune", check=False)
