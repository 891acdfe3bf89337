#!/usr/bin/env python3
"""The limits of an engine's table are true: at each of them the engine says what the reference says, beyond it the shape
is refused, by `pack --check` and, where that is bypassed, by the engine's source.

    tests/run match/limits_test.py asm-linux-i386 [--long]

--long also builds what takes minutes. A limit of more bytes than PRACTICAL is only checked from beyond.
"""

from __future__ import annotations

import re
import sys
import tempfile
import unittest
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Callable

from support import cases
from support.attempt import attempt
from support.cases import Case
from support.folders import FolderTest

from common.engine import configuration, engines, limits, packing, toolchains
from common.engine.engines import Engine
from common.engine.limits import Limit
from common.errors import UserError
from common.machine import run
from common.model.checkpoint import RANGES, Config
from common.pack import packer

ENGINE = engines.table()[0]
LONG = False
LARGE = False
QUICK = 32 << 20  # bytes that are built without --long
PRACTICAL = 128 << 20  # bytes of a packed model that are built at all
BASE = Config(8, 12, 1, 2, 1, 40, 24, False)
WIDE = replace(BASE, hidden_dim=12_000)  # a position needs much memory, the model does not
TALL = replace(BASE, dim=1024, n_heads=8)  # a record is large


@dataclass(frozen=True)
class Shape:
    config: Config
    piece_length: int = 7


# A shape with n of something. LARGE is for limits of many bytes, whose vocabularies would be too long.
SHAPES: dict[str, Callable[[int], Shape]] = {
    **{name: lambda n, name=name: Shape(replace(BASE, **{name: n}))
       for name in ("hidden_dim", "n_layers", "vocab_size", "seq_len")},
    "dim": lambda n: Shape(replace(BASE, dim=n, n_heads=n // 2, n_kv_heads=1)),
    "n_heads": lambda n: Shape(replace(BASE, dim=2 * n, n_heads=n)),
    "n_kv_heads": lambda n: Shape(replace(BASE, dim=2 * n, n_heads=n, n_kv_heads=n)),
    "head_size": lambda n: Shape(replace(BASE, dim=n, n_heads=1)),
    "longest_piece": lambda n: Shape(BASE, n),
    "packed_bytes": lambda n: Shape(replace(TALL if LARGE else BASE, vocab_size=n)),
    "story_bytes": lambda n: Shape(replace(BASE, seq_len=n), packer.LONGEST_PIECE),
    "workspace_bytes": lambda n: Shape(replace(WIDE, seq_len=n), 6),
    "memory_bytes": lambda n: Shape(replace(WIDE, seq_len=n)),
}
MOST = {"packed_bytes": RANGES["vocab_size"][1],
        **dict.fromkeys(("story_bytes", "workspace_bytes", "memory_bytes"), RANGES["seq_len"][1]),
        "head_size": RANGES["dim"][1], "longest_piece": packer.LONGEST_PIECE}
STEP = {"head_size": 2, "dim": 2}


def constants(shape: Shape) -> dict[str, int]:
    return configuration.constants(ENGINE, shape.config, ENGINE.encodings[0], spans(shape))


def spans(shape: Shape) -> list[packer.Span]:
    pieces = [b"x" * shape.piece_length] * shape.config.vocab_size
    return packer.plan(ENGINE.layout, ENGINE.encodings[0], shape.config, pieces)


def last_within(limit: Limit) -> tuple[Shape, Shape | None]:
    """The largest shape within a limit, and the next one; None when the formats end before."""
    field, step = limit.field, STEP.get(limit.field, 1)
    global LARGE
    LARGE = limit.most > QUICK
    most = MOST.get(field, RANGES[field][1] if field in RANGES else 0)
    low, high = 2, most // step + 1  # times step: low is within, high is not
    while high - low > 1:
        middle = (low + high) // 2
        within = limits.value(field, constants(SHAPES[field](middle * step))) <= limit.most
        low, high = (middle, high) if within else (low, middle)
    return SHAPES[field](low * step), SHAPES[field](high * step) if high * step <= most else None


class EveryLimit(FolderTest):
    def test_limits(self) -> None:
        """Of the engine and, where it has one, of its variant for large models."""
        for variant in filter(None, (ENGINE, ENGINE.large)):
            for limit in limits.of(variant):
                with self.subTest(limit=limit):
                    at, beyond = last_within(limit)
                    self.assertIsNotNone(beyond, "the formats end before this limit: it is none")
                    if variant.large is None:
                        self.refused(limit, beyond)
                    else:
                        self.assertEqual(limits.fitting(variant, constants(at)), variant)
                        self.assertEqual(limits.fitting(variant, constants(beyond)), variant.large)
                    self.source_refuses(variant, limit, beyond)
                    self.matches(variant, limit, at)

    def refused(self, limit: Limit, shape: Shape) -> None:
        model = cases.sparse_model(shape.config, self.folder, shape.piece_length)
        for encoding in ENGINE.encodings[:1]:
            with self.assertRaisesRegex(UserError, f"{ENGINE.name} takes at most {limit.most:,} ") as caught:
                packing.check_shape(ENGINE, model, encoding)
            self.assertIn(limit.why, str(caught.exception))

    def source_refuses(self, variant: Engine, limit: Limit, shape: Shape) -> None:
        configuration.write(variant, shape.config, ENGINE.encodings[0], spans(shape), self.folder)
        (self.folder / "model.packed").write_bytes(b"")
        flags, _ = toolchains.of(variant).small_flags(variant, toolchains.name(variant))
        with self.assertRaisesRegex(UserError, f"{limit.field}: at most {limit.most} "):
            toolchains.of(variant).make(variant, self.folder, flags)

    def matches(self, variant: Engine, limit: Limit, shape: Shape) -> None:
        known = constants(shape)
        # Only a kernel gives memory that costs nothing until it is used.
        fills = run.emulated(ENGINE) or ENGINE.target.machine != "program"
        most = max(known["packed_bytes"], known["workspace_bytes"] if fills else 0)
        if known["packed_bytes"] > PRACTICAL or most > QUICK and not LONG:
            where = "nowhere" if known["packed_bytes"] > PRACTICAL else "with --long"
            print(f"{ENGINE.name}: {limit.field}: {most:,} bytes: built {where}")
            return
        # A long story, or a large model, ends early.
        large = shape.config.seq_len > 100 or known["packed_bytes"] > QUICK
        case = Case(limit.field, shape.config, 1, piece_length=shape.piece_length, passes=16 if large else 0)
        engine = replace(variant, encodings=ENGINE.encodings[:1])
        sample = case.sample(engine, self.folder / limit.field)
        outcome = attempt(engine, engine.encodings[0], sample.model, self.folder / limit.field / "build", 300)
        self.assertEqual((outcome.verdict, outcome.detail), ("equal", ""))
        print(f"{ENGINE.name}: {limit.field}: {limits.value(limit.field, known):,} of {limit.most:,}: "
              f"{len(outcome.expected.tokens)} tokens equal, {outcome.built.counted} counted bytes", flush=True)


class KnownShapes(unittest.TestCase):
    """Which engine takes the checkpoints that everyone has, and what it refuses them for."""

    CONFIGS = {
        "stories15M": Config(288, 768, 6, 6, 6, 32000, 256),
        "stories42M": Config(512, 1376, 8, 8, 8, 32000, 1024),
        "stories110M": Config(768, 2048, 12, 12, 12, 32000, 1024),
        "TinyLlama-1.1B": Config(2048, 5632, 22, 32, 4, 32000, 2048, False),
    }
    PACKED = "dim, hidden_dim, n_layers, vocab_size"
    REFUSED = {  # of a new engine it is only said
        "cpp-linux-i386": {"TinyLlama-1.1B": "seq_len"},
        "cpp-linux-x86_64": {"TinyLlama-1.1B": PACKED},
        "asm-linux-i386": {"TinyLlama-1.1B": "seq_len"},
        "asm-boot": {"TinyLlama-1.1B": "seq_len"},
        "asm-boot-full": {"TinyLlama-1.1B": "seq_len"},
    }

    def test_shapes(self) -> None:
        with tempfile.TemporaryDirectory(prefix="llama512-match-") as temporary:
            for name, config in self.CONFIGS.items():
                model = cases.sparse_model(config, Path(temporary))
                with self.subTest(name):
                    try:
                        packing.check_shape(ENGINE, model, ENGINE.encodings[0])
                        field = None
                    except UserError as error:
                        found = re.match(rf".*sparse.bin: (.*?): .*{ENGINE.name} takes at most", str(error))
                        self.assertTrue(found, error)
                        field = found[1]
                    print(f"{ENGINE.name}: {name}: {f'refused for {field}' if field else 'taken'}")
                    if ENGINE.name in self.REFUSED:
                        self.assertEqual(field, self.REFUSED[ENGINE.name].get(name))


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in engines.names():
        ENGINE = engines.find(sys.argv.pop(1))
    if "--long" in sys.argv:
        LONG = True
        sys.argv.remove("--long")
    unittest.main()
