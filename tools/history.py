"""Tells what every commit did to the engines' sizes, and writes the size report.

Every commit that touched what decides a size is built once, in a temporary worktree, and its counted bytes are kept in
golf/sizes/record.csv, under a hash of those files: so the record of a change can be part of the same commit. Then the
working tree is measured, and golf/sizes/history.svg, golf/sizes/anatomy.svg, size_report.md and the smallest engine in
README.md are written. What was interrupted (Ctrl-C) goes on where it was. Commit the files together with the change.

The report is for the headline compilers of golf/engines.json. With others, sizes are recorded, and the report stays as
it is.

Exit status 1: something failed; with --check: the record, the report or a picture is stale.

examples:
  tools/llama512 history
  tools/llama512 history --check         is what is committed still right? writes nothing
  tools/llama512 history --retry         builds commits again that did not build
  tools/llama512 history --json          the changes as a list of objects
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Mapping, Sequence

from common import blocks, processes
from common.anatomy.explain import bytes_by, explain
from common.engine import engines
from common.engine.configuration import CONSTANTS
from common.errors import UserError, atomic_write, run_tool
from common.machine import here
from common.model.models import PROJECT_MODEL
from common.picture import groups
from common.picture.bars import bars_svg
from common.picture.chart import line_chart
from common.project import ROOT
from common.size import freshness, git, measure, moves, one_line, record, report, states
from common.size.changes import Change, first_shape, orphans, sizes_by_state, tell, unmeasured
from common.size.prices import price_list
from common.size.record import RECORD, Row
from common.size.report import ANATOMY, CHART, Today
from common.terminal import Progress, argument_parser, paint, table

REPORT = "size_report.md"
ENGINES, ONE_LINE, SPEED = "engines", "one-line", "speed"  # blocks of README.md
MENDING = "run `tools/llama512 history`"
SUBJECT = 44  # so many letters of it in a terminal


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 when something is stale")
    parser.add_argument("--retry", action="store_true", help="build commits again that did not build")
    parser.add_argument("--prune", action="store_true", help="drop states that no commit of the history has any more")
    parser.add_argument("--json", action="store_true", help="print the changes as a list of objects")
    options = parser.parse_args()
    if options.check and (options.retry or options.prune or options.json):
        parser.error("--check goes alone")
    if options.check:
        return check(ROOT)

    git.require_repository(ROOT)
    if git.is_shallow(ROOT):
        raise UserError(f"{ROOT}: this clone is shallow, so the list of changes would begin in the middle; get the rest with "
                        "`git fetch --unshallow`")
    here.require_all()
    chains = states.toolchains()
    rows = complete(ROOT, options.retry)
    rows = tidied(rows, ROOT, options.prune)
    record.write(ROOT / RECORD, rows)
    changes = tell(rows, set(chains.values()), ROOT)
    print(json.dumps([as_object(change) for change in changes], indent=1) if options.json else changes_table(changes))
    wanted = headline_compilers(ROOT)
    if wanted <= set(chains.values()):
        for name, content in fresh_files(today_facts(), changes, ROOT).items():
            write(ROOT / name, content)
    else:
        remark(f"{REPORT} and its pictures stay as they are: they are for {', '.join(sorted(wanted))}, these are "
               f"{states.toolchains_name()}")
    return 0


def remark(text: str) -> None:
    """A line for people, apart from the answer."""
    print(paint(text, "yellow", sys.stderr), file=sys.stderr)


def write(path: Path, content: str) -> None:
    with atomic_write(path, "w") as file:
        file.write(content)


def headline_compilers(root: Path) -> set[str]:
    """The compilers that the report is for."""
    table_file = root / "golf" / "engines.json"
    try:
        return {*json.loads(table_file.read_text("utf-8"))["headline_compilers"].values()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{table_file}: {error}: no table of engines with headline_compilers; repair it") from error


def complete(root: Path, retry: bool) -> list[Row]:
    """The record with all commits and the working tree; written after each measurement."""
    path = root / RECORD
    rows = record.read(path)
    missing = unmeasured(rows, states.toolchains(), root, retry)
    if missing:
        with Progress("history", total=len(missing), unit="commits") as progress:
            for commit in missing:
                progress.update(progress.done, f"{commit.short} {commit.subject}")
                key = states.key_of_revision(commit.hash, root)
                try:
                    new = record.measured(key, states.measure(commit.hash, root=root))
                except states.DoesNotBuild as problem:
                    new = [record.failed(key, states.toolchains_name(), str(problem))]
                rows = record.add(rows, new)
                record.write(path, rows)
                progress.add()
    # The working tree's tools may tell more than those of the commit that had the same sources, so it is always built.
    rows = record.add(rows, record.measured(states.key_of_worktree(root), states.measure_folder(root)))
    record.write(path, rows)
    return rows


def tidied(rows: Sequence[Row], root: Path, prune: bool) -> list[Row]:
    """Without the states of experiments that were never committed; with `prune` without all that are in no history."""
    lost = orphans(rows, root)
    committed = {row.name for head in git.heads(root) if (text := git.file_at(head, RECORD, root))
                 for row in record.parse(text, f"{head}:{RECORD}")}
    return [row for row in rows if row.inputs not in lost or not prune and row.name in committed]


def today_facts() -> Today:
    """What the report says of the present files."""
    shapes = {shape.name: ", ".join(f"{name} {getattr(shape.config, name)}" for name in CONSTANTS)
              for shape in engines.shapes()}
    sizes, anatomy = [], {}
    for built in measure.each_built():
        units = explain(built)
        sizes.append(measure.size_of(built, units))
        anatomy.setdefault(built.engine.name, bytes_by(units, "operation"))  # for the first shape
    with processes.temporary_folder() as temporary:
        line = one_line.commands(one_line.build(temporary))
    about = {engine.name: engine.about for engine in engines.table()}
    budgets = {engine.name: engine.budgets for engine in engines.table()}
    return Today(shapes, sizes, about, groups.targets(), groups.families(), budgets, anatomy, price_list(), line)


def fresh_files(today: Today, changes: Sequence[Change], root: Path) -> dict[str, str]:
    """What is written, by its path."""
    files = {CHART: line_chart([first_shape(change.sizes) for change in changes], today.targets),
             ANATOMY: bars_svg(today.anatomy, today.targets),
             REPORT: report.text(today, changes)}
    readme = root / blocks.README
    if readme.is_file():
        files[blocks.README] = fresh_readme(readme.read_text("utf-8"), today)
    return files


def fresh_readme(text: str, today: Today) -> str:
    """README.md with today's smallest engine, and with today's bytes beside the figures of `llama512 speed`."""
    text = blocks.replaced(text, ENGINES, f"{report.front_table(today)}\n")
    text = blocks.replaced(text, ONE_LINE, f"```sh\n{today.one_line}```\n")
    figures = blocks.content(text, SPEED)
    for size in today.sizes:
        if size.model == PROJECT_MODEL:
            figures = re.sub(rf"^(\| `{size.engine}` +\| +)\d+", rf"\g<1>{size.bytes}", figures, flags=re.MULTILINE)
    return blocks.replaced(text, SPEED, figures)


def check(root: Path) -> int:
    """Whether all that is committed follows from the present files and the history."""
    here.require_all()
    wanted, chains = headline_compilers(root), states.toolchains()
    if not wanted <= set(chains.values()):
        remark(f"sizes are for {', '.join(sorted(wanted))}, these are {states.toolchains_name()}: not compared")
        return 0
    rows = record.read(root / RECORD)
    today = today_facts()
    stale: list[str] = []
    changes: list[Change] = []
    lost: list[Mapping[str, int]] = []
    why = unseen(root)
    if why:
        remark(f"{why}: the changes are not compared")
    else:
        stale += stale_record(rows, today, root)
        missing = unmeasured(rows, chains, root)
        stale += [f"{RECORD}: no row of commit {commit.short} ({commit.subject})" for commit in missing]
        changes = tell(rows, set(chains.values()), root)
        sizes = sizes_by_state(rows, set(chains.values()))
        lost = [sizes.get(key, {}) for key in orphans(rows, root)]
        if lost:
            remark(f"{RECORD} has {len(lost)} states that no commit of the history has (an amended commit, a squash); "
                   "the report may tell of them")
    fresh = fresh_files(today, changes, root)
    committed = {name: (root / name).read_text("utf-8") for name in fresh if (root / name).is_file()}
    if REPORT in committed:  # the chart shows the changes as they are told there
        fresh[CHART] = line_chart([*map(first_shape, freshness.told_sizes(committed[REPORT]))], today.targets)
    for name, content in fresh.items():
        if name not in committed:
            stale.append(f"{name}: it is not there")
        elif name == REPORT:
            sections = freshness.differences(committed[name], content, not why, lost)
            stale += [f"{name}: {f'section {title!r}' if title else 'the beginning'} is stale" for title in sections]
        elif committed[name] != content:
            stale.append(f"{name}: it is stale")
    for line in stale:
        print(line)
    print(f"stale: {MENDING}, and commit what it writes" if stale else "fresh: the record, the report and its pictures")
    return 1 if stale else 0


def unseen(root: Path) -> str:
    """Why the history cannot be compared with the record; empty when it can."""
    try:
        if not git.in_repository(root):
            return "no git repository"
    except UserError as error:
        return str(error)
    return "this clone is shallow" if git.is_shallow(root) else ""


def stale_record(rows: Sequence[Row], today: Today, root: Path) -> list[str]:
    """Engines whose row for the present files is missing, or says something else."""
    key = states.key_of_worktree(root)
    known = {row.name: row for row in rows}
    stale = []
    for size in today.sizes:
        row = known.get((key[:states.KEY_DIGITS], size.engine, size.model, size.compiler))
        parts = ("bytes", "header", "code", "data", "packed")
        if row is None:
            stale.append(f"{RECORD}: no row of {size.label} for the present files")
        elif any(getattr(row, part) != getattr(size, part) for part in parts):
            stale.append(f"{RECORD}: the row of {size.label} for the present files differs from what was measured")
    return stale


# --- Showing -----------------------------------------------------------------------------------------------------

def changes_table(changes: Sequence[Change]) -> str:
    """The changes for a terminal."""
    rows = []
    for change, said in zip(changes, moves.of(changes)):
        subject = change.commit.subject if change.commit else ""
        if len(subject) > SUBJECT:
            subject = f"{subject[:SUBJECT - 1]}…"
        moved = [(engine, coloured(change, engine, words)) for engine, words in said.items()]
        otherwise = report.AS_BEFORE if change.sizes else paint(f"does not build: {change.problem}", "red")
        first, *others = moved or [("", otherwise)]
        rows.append([change.name, change.commit.date if change.commit else "", subject, *first])
        rows += [["", "", "", *each] for each in others]
    return table(rows, ["commit", "date", "subject", "engine", "bytes"], "lllll")


def coloured(change: Change, engine: str, words: str) -> str:
    delta = max((change.deltas.get(label, 0) for label in engines.labels(engine)), key=abs)
    return paint(words, "red" if delta > 0 else "green") if delta else words


def as_object(change: Change) -> dict[str, object]:
    """What --json prints of a change."""
    commit = change.commit
    return {"commit": commit.hash if commit else None, "date": commit.date if commit else None,
            "subject": commit.subject if commit else None, "inputs": change.key, "bytes": dict(change.sizes),
            "delta": change.deltas, "problem": change.problem or None}


if __name__ == "__main__":
    run_tool(main)
