"""A flat image in a processor's memory, which begins with its vector table: stack pointer, then the address where it starts.

    flat.header_fields(program)             # ["initial SP"] * 4 + ["reset vector"] * 4
"""

from __future__ import annotations

from pathlib import Path

# What a processor of the M profile reads before its first instruction (Armv7-M, B1.5.3).
VECTORS = ("initial SP", "reset vector")
WORD = 4  # bytes


def header_fields(program: bytes) -> list[str]:
    """For each byte of the table what it is. An engine's table may be those two words; behind them is its own."""
    return [name for name in VECTORS for _ in range(WORD)]


def padding(files: Path) -> int:
    """None: every byte counts."""
    return 0
