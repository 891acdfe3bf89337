"""Sizes as files: CSV, to compare with later; and what shields.io, github-action-benchmark and Bloaty's readers take.

    from common.size import exchange, measure
    text = exchange.to_csv(measure.sizes())
    exchange.from_csv(Path("old.csv"))          # [("asm-boot", "stories260K", 407), …]
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Sequence

from common.errors import UserError
from common.files import open_file
from common.size.measure import Size

COLUMNS = [field.name for field in fields(Size)]


def to_csv(rows: Sequence[Size]) -> str:
    """Raw integers under the names of Size's fields."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: int(value) if isinstance(value, bool) else value for name, value in asdict(row).items()}
                     for row in rows)
    return text.getvalue()


def from_csv(path: Path) -> list[tuple[str, str, int]]:
    """(engine, model, bytes) of each row. Other columns may be there or not."""
    rows = []
    try:
        with io.TextIOWrapper(open_file(path, "sizes"), encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = {"engine", "model", "bytes"} - set(reader.fieldnames or [])
            if missing:
                raise UserError(f"{path}: no column {', '.join(sorted(missing))}; compare with a file that "
                                "`llama512 size -o NEW.csv` wrote")
            for row in reader:
                size = row["bytes"] or ""
                if not (size.isascii() and size.isdigit()):
                    raise UserError(f"{path}: line {reader.line_num}: bytes: {row['bytes']!r} is no number")
                if any(row["engine"] == engine and row["model"] == model for engine, model, _ in rows):
                    raise UserError(f"{path}: line {reader.line_num}: a second row of {row['engine']} for "
                                    f"{row['model']}; keep one")
                rows.append((row["engine"], row["model"], int(size)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot read the sizes: {getattr(error, 'strerror', error)}") from error
    return rows


def to_benchmark(rows: Sequence[Size]) -> str:
    """github-action-benchmark's input for `tool: customSmallerIsBetter`."""
    return json.dumps([{"name": f"{row.engine} ({row.model})", "unit": "bytes", "value": row.bytes,
                        "extra": f"budget {row.budget}, {row.compiler}"} for row in rows], indent=1)


def to_badge(row: Size) -> str:
    """The answer of a shields.io endpoint (https://shields.io/badges/endpoint-badge)."""
    colour = "red" if row.over_budget else "brightgreen" if row.bytes <= 512 else "blue"
    badge = {"schemaVersion": 1, "label": row.engine, "message": f"{row.bytes} bytes", "color": colour}
    return json.dumps(badge, indent=1)


def to_bloaty(rows: Sequence[Size]) -> str:
    """As `bloaty --csv -d inputfiles,sections` prints it; the model, which is not counted, is a section of its own."""
    lines = ["inputfiles,sections,vmsize,filesize"]
    for row in rows:
        lines += [f"{row.label},{name},{size},{size}" for name, size in (
            ("header", row.header), ("code", row.code), ("data", row.data), ("model", row.packed)) if size]
    return "\n".join(lines)
