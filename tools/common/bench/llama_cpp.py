"""Reads what llama.cpp's llama-bench printed: `-o json`, `jsonl`, `csv` or `md`. Only generation counts (tests without a prompt).

    from common.bench import llama_cpp
    rows = llama_cpp.read("bench.json")          # [Other(label="llama.cpp …", model="llama 15M F32", rate=…)]

These figures are of another run, perhaps of another machine: reports mark them so.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from pathlib import Path
from typing import Any

from common import files
from common.bench.results import Other
from common.errors import UserError

WAY_OUT = "give a file that `llama-bench -o json` wrote (or jsonl, csv, md)"


def read(path: str | os.PathLike[str]) -> list[Other]:
    """Every row of generation."""
    with files.open_file(path, "output of llama-bench") as file:
        text = file.read().decode("utf-8", "replace")
    found = [row for entry in entries(text, str(path)) if (row := _row(entry, Path(path)))]
    if not found:
        raise UserError(f"{path}: n_gen: no row generates tokens; run llama-bench with -n 128")
    return found


def entries(text: str, path: str) -> list[dict[str, Any]]:
    """Its rows, whatever form they are in, by the names of the JSON."""
    text = text.strip()
    try:
        if text.startswith("["):
            rows = json.loads(text)
        elif text.startswith("{"):
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        elif text.startswith("|"):
            rows = _markdown(text)
        else:
            rows = list(csv.DictReader(io.StringIO(text)))
    except ValueError as error:
        raise UserError(f"{path}: {error}; {WAY_OUT}") from error
    if not rows or not all(isinstance(row, dict) and "avg_ts" in row for row in rows):
        raise UserError(f"{path}: avg_ts: not in every row; {WAY_OUT}")
    return rows


def _markdown(text: str) -> list[dict[str, Any]]:
    """`| model | size | params | backend | threads | test | t/s |`, rows with `tg128` and `7.50 ± 0.04`."""
    table = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    rows = []
    for cells in table[2:]:
        row = dict(zip(table[0], cells))
        test = re.fullmatch(r"tg(\d+)( @ d\d+)?", row.get("test", ""))
        speed = re.match(r"([\d.]+)(?: ± ([\d.]+))?", row.get("t/s", ""))
        rows.append({"model_type": row.get("model", "?"), "n_threads": row.get("threads", 1), "n_prompt": 0,
                     "n_gen": test[1] if test else 0, "avg_ts": speed[1] if speed else "nan", "stddev_ts": speed[2] if speed else None})
    return rows


def _row(entry: dict[str, Any], path: Path) -> Other | None:
    """A row of generation alone; None for another test."""
    name = entry.get("model_type") or Path(str(entry.get("model_filename", "?"))).name
    try:
        if int(entry.get("n_prompt") or 0) or not int(entry.get("n_gen") or 0):
            return None
        threads, rate = int(entry.get("n_threads") or 1), float(entry["avg_ts"])
        deviation = float(entry["stddev_ts"]) if entry.get("stddev_ts") not in (None, "") else None
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: {name}: {error}; {WAY_OUT}") from error
    if not (math.isfinite(rate) and rate > 0):
        raise UserError(f"{path}: {name}: avg_ts: {entry['avg_ts']}, a number above 0 is needed; {WAY_OUT}")
    commit = str(entry.get("build_commit") or "")
    words = str(name).split()
    weights = words[-1] if len(words) > 1 else "?"
    return Other(f"llama.cpp{f' {commit}' if commit else ''}", str(name), weights, threads, rate, deviation, path.name)
