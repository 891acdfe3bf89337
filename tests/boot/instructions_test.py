#!/usr/bin/env python3
"""Instructions per generated token: the mean over the first 248 positions of stories260K.

    tests/run boot/instructions_test.py asm-boot

QEMU counts every executed instruction when it records a run (-icount …,rr=record; query-replay tells the number); a
repeated string instruction counts once per repetition. It counts from the engine's first instruction in protected mode:
before that the firmware reads the disk, and polls it the longer the busier the machine is. Clearing memory stays in, so the
figure is an upper bound. The counting is checked with a loop of known length.

Without stories260K the default model is measured, and reported only. Exit status 77 (SKIP): neither is there,
or the engine waits at a prompt.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import images
from support.skip import SKIP

from common.engine import builds
from common.errors import UserError
from common.machine.qemu import Machine
from common.model import models

MODEL = "stories260K"
POSITIONS = 248
PEERS = 3.16e6  # instructions per token of the best published engine; a limit for the engines that it is for:
LIMITED = ("asm-boot",)
LOOPS = 10_000_000  # of two instructions each


def recording(folder: Path) -> list[str]:
    return ["-icount", f"shift=0,rr=record,rrfile={folder / 'record'}"]


def loop(folder: Path) -> int:
    """Instructions that are counted in a sector of 2 * LOOPS + 2 and a halt."""
    image = folder / "loop.img"
    # cli; mov ecx, LOOPS; l: dec ecx; jnz l; hlt
    code = b"\xFA\x66\xB9" + LOOPS.to_bytes(4, "little") + b"\x66\x49\x75\xFC\xF4"
    image.write_bytes(code.ljust(510, b"\0") + b"\x55\xAA")
    with Machine(image, extra=recording(folder)) as pc:
        pc.wait_until_stopped(300)
        return pc.call("query-replay")["icount"] - pc.icount


def symbol(built: builds.Built, name: str) -> int:
    """A label's address, by the engine's map."""
    found = re.search(rf"^ *([0-9A-F]+) +[0-9A-F]+ +{name}$", (built.files / "engine.map").read_text("utf-8"), re.MULTILINE)
    assert found, name
    return int(found[1], 16)


def main() -> int:
    engine = images.engine_argument()
    if images.screen.style(engine) == images.screen.CHAT:
        print(f"SKIP: {engine.name}: what it does at its prompt would count, and that depends on this machine")
        return SKIP
    try:
        model = models.find_model(MODEL)
    except UserError as error:
        try:
            model = models.find_model()
        except UserError:
            print(f"SKIP: {error}")
            return SKIP
        print(f"the default model is measured, and reported only: {error}")
    with tempfile.TemporaryDirectory(prefix="llama512-boot-") as temporary:
        folder = Path(temporary)
        counted = loop(folder)
        print(f"a loop of {2 * LOOPS:,}: {counted:,} counted")
        if not 0 <= counted - 2 * LOOPS <= 10:
            print("FAILED: the count is not exact")
            return 1
        sample = images.sample(engine, images.with_seq_len(model, POSITIONS, folder), folder)
        run = images.boot(sample, timeout=500, begin=symbol(sample.built, "protected"), extra=recording(folder))
    if run.problem:
        print(f"{engine.name}: FAILED: {run.problem}")
        return 1
    tokens = len(sample.expected.tokens)
    mean = run.icount / tokens
    print(f"{engine.name}: {model.name}: {mean:,.0f} instructions per token, mean over {tokens} positions "
          f"({run.seconds:.1f} s)")
    if model.name == MODEL and (tokens != POSITIONS or mean < 1e5):
        print(f"FAILED: {tokens} positions and {mean:,.0f} instructions cannot be right")
        return 1
    if model.name == MODEL and engine.name in LIMITED and mean >= PEERS:
        print(f"FAILED: the limit is {PEERS:,.0f}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
