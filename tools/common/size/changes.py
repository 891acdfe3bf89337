"""The changes of the sizes: every commit that changed the bytes of an engine, from the record and git's history.

    from common.size import changes, record
    for change in changes.tell(record.read(), ("g++ 12.2.0", "nasm 2.16.01")):
        change.name, change.sizes, change.deltas

The files of the working tree are the last change, "this commit", when they decide other sizes than HEAD's files may.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Collection, Iterable, Mapping, Sequence

from common.engine import engines, inputs, targets
from common.project import ROOT
from common.size import git, states
from common.size.git import Commit
from common.size.record import Row
from common.size.states import KEY_DIGITS

THIS_COMMIT = "this commit"


@dataclass(frozen=True)
class Change:
    """A commit that changed sizes, or that does not build."""

    commit: Commit | None  # None: the working tree, which will be part of the next commit
    key: str
    sizes: Mapping[str, int]  # counted bytes by label (an engine and a shape); none when it does not build
    before: Mapping[str, int]  # those of its first parent, or of the nearest one before that builds
    problem: str = ""

    @property
    def name(self) -> str:
        return self.commit.short if self.commit else THIS_COMMIT

    @property
    def deltas(self) -> dict[str, int]:
        """Growth of the engines that were there before, where there is any."""
        return {engine: size - self.before[engine] for engine, size in self.sizes.items()
                if engine in self.before and size != self.before[engine]}


def sizes_by_state(rows: Iterable[Row], toolchains: Collection[str]) -> dict[str, dict[str, int]]:
    """Of every state in the record, the counted bytes by label of what these toolchains made."""
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        if row.engine and row.bytes is not None and row.is_by(toolchains):
            found.setdefault(row.inputs, {})[engines.label(row.engine, row.shape)] = row.bytes
    return found


def problems_by_state(rows: Iterable[Row], toolchains: Collection[str]) -> dict[str, str]:
    """Why states do not build."""
    return {row.inputs: row.problem for row in rows if not row.engine and not row.shape and row.is_by(toolchains)}


def first_shape(sizes: Mapping[str, int]) -> dict[str, int]:
    """Those of the sizes that are for the first shape, by engine."""
    return {label: size for label, size in sizes.items() if len(label.split()) == 1}


def tell(rows: Sequence[Row], toolchains: Collection[str], root: Path = ROOT) -> list[Change]:
    """Every change, oldest first. What is not in the record is left out."""
    sizes, problems = sizes_by_state(rows, toolchains), problems_by_state(rows, toolchains)
    parents = _first_parents(root)

    def before(commit: str | None) -> tuple[dict[str, int], bool]:
        """The sizes at a commit, or at the nearest one before that builds; and whether that is the commit itself."""
        direct = True
        while commit in parents:
            state = sizes.get(_state(commit, root))
            if state is not None:
                return state, direct
            commit, direct = parents[commit], False
        return {}, True

    head = git.resolve("HEAD", root)
    tree = states.key_of_worktree(root)[:KEY_DIGITS]
    told: list[tuple[Commit | None, str, str | None]] = [
        (commit, _state(commit.hash, root), next(iter(commit.parents), None))
        for commit in states.commits_that_touch(root=root)]
    if tree != _state(head, root):
        told.append((None, tree, head))
    changes = []
    for commit, key, parent in told:
        earlier, direct = before(parent)
        now = sizes.get(key, {})
        if (now and (now != earlier or not direct)) or (key in problems and not now):
            changes.append(Change(commit, key, now, earlier, problems.get(key, "")))
    return changes


def unmeasured(rows: Sequence[Row], toolchains: Mapping[str, str], root: Path = ROOT,
               retry: bool = False) -> list[Commit]:
    """The commits that decide sizes and are not in the record for these toolchains, one for each state.

    With `retry` those that did not build are listed again."""
    missing: dict[str, Commit] = {}
    for commit in states.commits_that_touch(root=root):
        key = _state(commit.hash, root)
        if not is_measured(rows, key, git.file_at(commit.hash, inputs.TABLE, root), toolchains, retry):
            missing.setdefault(key, commit)
    return list(missing.values())


def is_measured(rows: Sequence[Row], key: str, table: str | None, toolchains: Mapping[str, str],
                retry: bool = False) -> bool:
    """Whether the record has a row for every engine of the table (its text) and every shape, or says that the state
    does not build, at all or for a shape. Engines whose toolchain is not at hand are not asked for."""
    state = [row for row in rows if row.inputs == key[:KEY_DIGITS]]
    if key[:KEY_DIGITS] in problems_by_state(state, toolchains.values()):
        return not retry
    shapes = {shape.name for shape in engines.shapes()}
    if not retry:
        shapes -= {row.shape for row in state if not row.engine and row.is_by(toolchains.values())}
    try:
        made = {engine["name"]: toolchain_of(engine, toolchains) for engine in json.loads(table or "")["engines"]}
    except (ValueError, KeyError, TypeError):
        return False  # no table that can be read: only a build can tell
    wanted = {(engine, shape, toolchain) for engine, toolchain in made.items() if toolchain for shape in shapes}
    return wanted <= {(row.engine, row.shape, row.toolchain) for row in state}


FAMILIES = {"cpp": "gcc", "asm": "nasm"}  # what old tables have instead of a toolchain


def toolchain_of(engine: Mapping[str, str], toolchains: Mapping[str, str]) -> str | None:
    """The tools here that make an engine, a row of a table of any age; None when they are not at hand."""
    name = engine["toolchain"] if "toolchain" in engine else FAMILIES[engine["family"]]
    if engine.get("target") in targets.names():
        name = engines.tools_of(name, targets.find(engine["target"]))
    return toolchains.get(name)


def orphans(rows: Iterable[Row], root: Path = ROOT) -> set[str]:
    """States in the record that neither the history nor the working tree has: of an amended commit, a squash."""
    known = {_state(commit.hash, root) for commit in states.commits_that_touch(root=root)}
    known |= {_state("HEAD", root), states.key_of_worktree(root)[:KEY_DIGITS]}
    return {row.inputs for row in rows} - known


def _state(commit: str, root: Path) -> str:
    return states.key_of_revision(commit, root)[:KEY_DIGITS]


def _first_parents(root: Path) -> dict[str, str | None]:
    """Every commit of the history, and its first parent."""
    lines = git.run(root, "rev-list", "--parents", *git.heads(root)).splitlines()
    return {words[0]: words[1] if len(words) > 1 else None for words in map(str.split, lines)}
