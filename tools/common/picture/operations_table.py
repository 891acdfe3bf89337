"""The table of bytes by operation: a row for each engine, a column for each operation, and what the columns' codes mean.

    from common.picture import operations_table
    print(operations_table.text({"asm-boot": {"header": 12, "matmul": 90}}, markdown=False))

Operations are few and stay so, engines become more: as columns they would not fit a terminal.
"""

from __future__ import annotations

import textwrap
from typing import Mapping, Sequence

from common.anatomy.operations import OPERATIONS
from common.picture.style import styles
from common.terminal import markdown_table, table


def text(columns: Mapping[str, Mapping[str, int]], markdown: bool) -> str:
    """The table, and below it the legend. `columns` has engine -> operation -> bytes."""
    shown = [name for name in OPERATIONS if any(parts.get(name) for parts in columns.values())]
    rows = [[f"`{engine}`" if markdown else engine, sum(parts.values()), *(parts.get(name) or None for name in shown)]
            for engine, parts in columns.items()]
    headers = ["engine", "bytes", *(styles()[name].code for name in shown)]
    show = markdown_table if markdown else table
    return f"{show(rows, headers, 'l' + 'r' * (len(headers) - 1))}\n\n{legend(shown)}"


def legend(shown: Sequence[str]) -> str:
    """What the codes mean. Lines end between operations only."""
    meanings = (f"{styles()[name].code} {OPERATIONS[name].title}".replace(" ", "\xa0") for name in shown)
    return textwrap.fill(f"{', '.join(meanings)}.", 120).replace("\xa0", " ")
