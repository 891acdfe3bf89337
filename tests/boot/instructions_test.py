#!/usr/bin/env python3
"""Instructions per generated token: the mean over the first 248 positions of stories260K.

    LLAMA512_REFERENCE=build/default/reference/reference python3 tests/boot/instructions_test.py asm-boot

QEMU counts every executed instruction when it records a run (-icount …,rr=record; query-replay tells the number); a
repeated string instruction counts once per repetition. What the firmware does before it starts the sector is measured
with a sector that halts at once, and taken off. Reading the model from the disk and clearing memory stay in: the figure
is an upper bound. The firmware polls the disk, on a busy machine for long (seen: 67 million instructions more); so
above the limit the engine has another try, and the lowest bound counts.

The counting is checked with a loop of known length, long enough that what the firmware does more or less from run to
run (seen: 43,000 instructions, when the machine was busy) is far below the thousandth that is allowed.

Without stories260K the default model is measured, and reported only. Exit status 77 (SKIP): neither is there.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path

import images

from common import machine, models
from common.errors import UserError
from common.machine import Machine

MODEL = "stories260K"
POSITIONS = 248
PEERS = 3.16e6  # instructions per token of the best published engine; a limit for the engines that it is for:
LIMITED = ("asm-boot",)
TRIES = 3
LOOPS = 250_000_000  # of two instructions each


def recording(folder: Path) -> list[str]:
    return ["-icount", f"shift=0,rr=record,rrfile={folder / 'record'}"]


def count(image: Path, folder: Path) -> int:
    """Instructions until the machine stops."""
    with Machine(image, extra=recording(folder)) as pc:
        pc.wait_until_stopped(300)
        return pc.call("query-replay")["icount"]


def firmware_and_loop(folder: Path) -> tuple[int, int]:
    """Instructions up to a sector that halts at once, and those of a loop."""
    halt, loop = folder / "halt.img", folder / "loop.img"
    halt.write_bytes(machine.HALT)
    # cli; mov ecx, LOOPS; l: dec ecx; jnz l; hlt
    code = b"\xFA\x66\xB9" + LOOPS.to_bytes(4, "little") + b"\x66\x49\x75\xFC\xF4"
    loop.write_bytes(code.ljust(510, b"\0") + b"\x55\xAA")
    firmware = count(halt, folder)
    return firmware, count(loop, folder) - firmware


def main() -> int:
    engine = images.engine_argument()
    try:
        model = models.find_model(MODEL)
    except UserError as error:
        try:
            model = models.find_model()
        except UserError:
            print(f"SKIP: {error}")
            return images.SKIP
        print(f"the default model is measured, and reported only: {error}")
    with tempfile.TemporaryDirectory(prefix="llama512-boot-") as temporary:
        folder = Path(temporary)
        firmware, loop = firmware_and_loop(folder)
        print(f"firmware: {firmware:,} instructions; a loop of {2 * LOOPS:,}: {loop:,} counted")
        if abs(loop - 2 * LOOPS) > LOOPS / 500:
            print("FAILED: the count is not exact to a thousandth")
            return 1
        sample = images.sample(engine, images.with_seq_len(model, POSITIONS, folder), folder)
        tokens, mean = len(sample.expected.tokens), math.inf
        for _ in range(TRIES):
            run = images.boot(sample, timeout=500, extra=recording(folder))
            if run.problem:
                print(f"{engine.name}: FAILED: {run.problem}")
                return 1
            mean = min(mean, (run.icount - firmware) / tokens)
            print(f"{engine.name}: {model.name}: {mean:,.0f} instructions per token, mean over {tokens} positions "
                  f"({run.seconds:.1f} s)", flush=True)
            if mean < PEERS or engine.name not in LIMITED:
                break
    if model.name == MODEL and (tokens != POSITIONS or mean < 1e5):
        print(f"FAILED: {tokens} positions and {mean:,.0f} instructions cannot be right")
        return 1
    if model.name == MODEL and engine.name in LIMITED and mean >= PEERS:
        print(f"FAILED: the limit is {PEERS:,.0f}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
