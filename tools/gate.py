"""Refuses commits that make an engine larger without saying so: every byte of growth needs a reason.

Each commit after BASE is built, and compared with its first parent. For each engine that grew, its message needs a line

  Size: +N engine, reason
  Size: +N engine fables, reason

with the exact N: the first form for the shape of stories260K, the second one for the other shape that sizes are
recorded for. A line that does not fit what was measured is refused, too. A merge may weigh what its parents' own
growth adds up to; only more than that must be declared. New engines are no growth. What was built is kept in
build/sizes/, so that no commit is built twice; the committed record is not trusted, but compared.

BASE is a commit or a branch; 40 zeros, which GitHub gives for a new branch, are the whole history.

Exit status 1: growth without its line, a line that does not fit, an engine over its budget, a commit that does not
build, or a record that disagrees.

examples:
  tools/llama512 gate origin/main
  tools/llama512 gate HEAD~3 --head HEAD~1
  tools/llama512 gate $BEFORE --head $AFTER --json
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Mapping, Sequence

from common.engine import engines
from common.errors import UserError, run_tool
from common.machine import here
from common.project import ROOT
from common.size import changes, git, record, states
from common.size.git import Commit
from common.size.record import RECORD
from common.terminal import Progress, argument_parser, paint, table

DECLARATION = re.compile(r"Size: \+(\d+) (\S+(?: \S+)?),[ \t]*(\S.*)")
FORM = "`Size: +N engine, reason`, or `Size: +N engine shape, reason`"


@dataclass
class Verdict:
    """A commit, what it did, and what is wrong with it. Sizes are by label: an engine, or an engine and a shape."""

    commit: Commit
    sizes: dict[str, int] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)  # of the first parent
    growth: dict[str, int] = field(default_factory=dict)  # what must be declared
    problems: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # lines to add to the message
    broken: bool = False  # it does not build

    @property
    def changes(self) -> list[str]:
        """`asm-boot 424 +1`, `asm-boot new 424`, `asm-boot gone`."""
        old = self.before
        said = [f"{engine} {size} ({size - old[engine]:+d})" if engine in old else f"{engine} {size} (new)"
                for engine, size in self.sizes.items() if size != old.get(engine)]
        return said + [f"{engine} gone" for engine in self.before if self.sizes and engine not in self.sizes]


class Meter:
    """Measures commits; each once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: dict[str, list[dict] | states.DoesNotBuild] = {}

    def key(self, commit: str) -> str:
        return states.key_of_revision(commit, self.root)

    def measure(self, commit: str) -> list[dict]:
        """What states.measure() says; raises DoesNotBuild."""
        key = self.key(commit)
        if key not in self.rows:
            try:
                self.rows[key] = states.measure(commit, root=self.root)
            except states.DoesNotBuild as problem:
                self.rows[key] = problem
        found = self.rows[key]
        if isinstance(found, states.DoesNotBuild):
            raise found
        return found

    def sizes(self, commit: str | None) -> dict[str, int]:
        """Counted bytes at a commit, or at the nearest first parent before that builds."""
        while commit:
            try:
                return sizes_of(self.measure(commit))
            except states.DoesNotBuild:
                parents = git.run(self.root, "rev-list", "--parents", "-1", commit).split()[1:]
                commit = parents[0] if parents else None
        return {}


def label(row: Mapping) -> str:
    return engines.label(row["engine"], row["model"])


def sizes_of(rows: Sequence[Mapping]) -> dict[str, int]:
    """Counted bytes by label; a shape that does not build has none."""
    return {label(row): row["bytes"] for row in rows if row["engine"]}


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("base", metavar="BASE", help="the commits after this one are checked")
    parser.add_argument("--head", metavar="REV", default="HEAD", help="the last one to check (default: HEAD)")
    parser.add_argument("--json", action="store_true", help="print the verdicts as an object")
    options = parser.parse_args()

    here.require_all()
    meter = Meter(ROOT)
    verdicts = judge_range(options.base, options.head, meter)
    disagreements = compare_record(options.head, meter)
    good = not disagreements and not any(verdict.problems for verdict in verdicts)
    if options.json:
        print(json.dumps({"ok": good, "toolchains": states.toolchains(), "record": disagreements,
                          "commits": [as_object(verdict) for verdict in verdicts]}, indent=1))
    else:
        show(verdicts, disagreements)
    return 0 if good else 1


def judge_range(base: str, head: str, meter: Meter) -> list[Verdict]:
    """A verdict on every commit after base, oldest first."""
    end = git.resolve(head, meter.root)
    whole = re.fullmatch(r"0{40}|0{64}", base)
    span = end if whole else f"{git.resolve(base, meter.root)}..{end}"
    commits = git.commits(span, root=meter.root)
    if git.is_shallow(meter.root) and any(not commit.parents for commit in commits):
        raise UserError(f"revision {base!r}: this clone is shallow and ends before it; get the rest with "
                        "`git fetch --unshallow` (in GitHub Actions: fetch-depth: 0)")
    with Progress("gate", total=len(commits), unit="commits") as progress:
        verdicts = []
        for commit in commits:
            progress.update(progress.done, f"{commit.short} {commit.subject}")
            verdicts.append(judge(commit, meter))
            progress.add()
    return verdicts


def judge(commit: Commit, meter: Meter) -> Verdict:
    """Compares a commit with its parents, and its growth with its message."""
    verdict = Verdict(commit)
    if commit.parents and meter.key(commit.hash) == meter.key(commit.parents[0]):
        check_message(verdict)  # nothing that decides a size changed
        return verdict
    verdict.problems += raised_budgets(commit, meter)
    try:
        rows = meter.measure(commit.hash)
    except states.DoesNotBuild as problem:
        verdict.broken = True
        verdict.problems.append(f"does not build: {problem}")
        return verdict
    verdict.sizes = sizes_of(rows)
    verdict.problems += [f"{label(row)} is over its budget: {row['bytes']} bytes, allowed are {row.get('budget')}"
                         for row in rows if not row.get("ok", True)]
    parents = [meter.sizes(parent) for parent in commit.parents]
    verdict.before = parents[0] if parents else {}
    base = meter.sizes(common_ancestor(commit, meter.root)) if len(parents) > 1 else {}
    for engine, size in verdict.sizes.items():
        allowed = allowance(engine, parents, base)
        if allowed is not None and size > allowed:
            verdict.growth[engine] = size - allowed
    check_message(verdict)
    return verdict


def raised_budgets(commit: Commit, meter: Meter) -> list[str]:
    """Budgets are the sizes that were reached: one that was raised must be the engine's new size."""
    def budgets(rows: Sequence[Mapping]) -> dict[str, int]:
        return {label(row): row["budget"] for row in rows if "budget" in row and row.get("binding", True)}
    if not commit.parents:
        return []
    try:
        old, rows = budgets(meter.measure(commit.parents[0])), meter.measure(commit.hash)
        new, found = budgets(rows), sizes_of(rows)
        return [f"the budget of {name} was raised from {old[name]} to {budget}, but its size is {found[name]}"
                for name, budget in new.items() if old.get(name, budget) < budget != found[name]]
    except states.DoesNotBuild:
        return []


def common_ancestor(commit: Commit, root: Path) -> str | None:
    return next(iter(git.run(root, "merge-base", "--octopus", *commit.parents, check=False).split()), None)


def allowance(engine: str, parents: Sequence[Mapping[str, int]], base: Mapping[str, int]) -> int | None:
    """What an engine may weigh without a line: as much as in a parent; in a merge, also all parents' growth together.

    None: no parent has it, so it is new."""
    sizes = [parent[engine] for parent in parents if engine in parent]
    if not sizes:
        return None
    if len(sizes) < 2 or engine not in base:
        return max(sizes)
    return max(*sizes, base[engine] + sum(size - base[engine] for size in sizes))


def check_message(verdict: Verdict) -> None:
    """Adds what is wrong with the `Size:` lines, and the lines that are missing."""
    growth = dict(verdict.growth)
    declared: set[str] = set()
    for line in verdict.commit.body.splitlines():
        if not re.match(r"\s*size:\s*[-+]?\d", line, re.IGNORECASE):
            continue
        found = DECLARATION.fullmatch(line.rstrip())
        if found is None:
            verdict.problems.append(f"`{line.strip()}`: the form is {FORM}")
            continue
        engine, count = found[2], int(found[1])
        if engine in declared:
            verdict.problems.append(f"`{line}`: a second line for {engine}; one line tells its whole growth")
        elif engine in growth and count == growth[engine]:
            declared.add(engine)
        elif engine in growth:
            verdict.problems.append(f"`{line}`: {engine} grew by {growth[engine]}, not by {count}")
        elif verdict.sizes and engine not in verdict.sizes:
            verdict.problems.append(f"`{line}`: there is no engine {engine}; engines are {', '.join(verdict.sizes)}")
        else:
            what = "it is new" if verdict.sizes and engine not in verdict.before else \
                f"its change is {verdict.sizes.get(engine, 0) - verdict.before.get(engine, 0):+d}"
            verdict.problems.append(f"`{line}`: {engine} did not grow ({what}); remove the line")
    for engine, count in growth.items():
        if engine not in declared:
            verdict.problems.append(f"{engine} grew by {count} to {verdict.sizes[engine]} bytes, and no line says why")
            verdict.missing.append(f"Size: +{count} {engine}, REASON")


def compare_record(head: str, meter: Meter) -> list[str]:
    """Rows of the record, as committed at the head, that do not say what was measured."""
    text = git.file_at(head, RECORD, meter.root)
    if text is None:
        return []
    known = {row.name: row for row in record.parse(text, f"{head}:{RECORD}")}
    wrong = []
    for key, rows in meter.rows.items():
        if isinstance(rows, states.DoesNotBuild):
            continue
        state = key[:states.KEY_DIGITS]
        problem = changes.problems_by_state(known.values(), states.toolchains().values()).get(state)
        if problem is not None:
            wrong.append(f"{RECORD}: {state}: the record says that it does not build ({problem}), but it does; run "
                         "`tools/llama512 history --retry`")
        for new in record.measured(key, rows):
            old = known.get(new.name)
            if old is not None and (old.bytes, old.packed) != (new.bytes, new.packed):
                wrong.append(f"{RECORD}: {new.inputs}, {new.engine}, {new.shape}, {new.toolchain}: the record says "
                             f"{old.bytes} bytes and a model of {old.packed}, measured are {new.bytes} and "
                             f"{new.packed}; delete the line, and run `tools/llama512 history`")
    return wrong


# --- Showing -----------------------------------------------------------------------------------------------------

def show(verdicts: Sequence[Verdict], disagreements: Sequence[str]) -> None:
    rows = []
    for verdict in verdicts:
        subject = verdict.commit.subject
        word = paint("refused", "red") if verdict.problems else "declared" if verdict.growth else "ok"
        rows.append([verdict.commit.short, subject if len(subject) <= 60 else f"{subject[:59]}…",
                     ", ".join(verdict.changes) or ("does not build" if verdict.broken else "no change"), word])
    print(table(rows, ["commit", "subject", "bytes", ""], "llll") if rows else "no commits in this range")
    for verdict in verdicts:
        if verdict.problems:
            print(f"\n{verdict.commit.short} {verdict.commit.subject}")
            for problem in verdict.problems:
                print(f"  {problem}")
            if verdict.missing:
                print("  add to the message of this commit (git commit --amend, git rebase -i), with your reason:")
                print("".join(f"\n    {line}" for line in verdict.missing))
    for line in disagreements:
        print(f"\n{line}")


def as_object(verdict: Verdict) -> dict[str, object]:
    """What --json prints of a commit."""
    return {"commit": verdict.commit.hash, "subject": verdict.commit.subject, "bytes": verdict.sizes,
            "before": verdict.before, "growth": verdict.growth, "problems": verdict.problems, "add": verdict.missing}


if __name__ == "__main__":
    run_tool(main)
