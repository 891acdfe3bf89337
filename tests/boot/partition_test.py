#!/usr/bin/env python3
"""A boot engine with an entry of the partition table (PARTITION): what others read there, and that it tells the same story.

    tests/run boot/partition_test.py asm-boot
"""

from __future__ import annotations

import itertools
import unittest
from contextlib import suppress

import images
from images import SECTOR, TABLE, BootTest, boot
from support import rules
from support.tools import run_tool

from common.engine import builds, engines
from common.engine.engines import Engine
from common.engine.nasm import SectorFull
from common.errors import UserError
from common.model.models import Model

ENGINE = images.engine_argument()


class Partition(BootTest):
    def setUp(self) -> None:
        super().setUp()
        self.model = images.short_model(self.folder)

    def engine_for(self, model: Model, encoding: str, large: bool = False) -> Engine:
        """With the feature; without as few of its other ones as make room, but where its text is looked for it must go."""
        console = {"SERIAL"} if ENGINE.console == "serial" else set()
        for count in range(len(ENGINE.features) + 1):
            for left_out in itertools.combinations(ENGINE.features, count):
                if console & {*left_out}:
                    continue
                fewer = ENGINE.without(left_out)
                fewer = (fewer.without(fewer.comforts).large or fewer if large else fewer).with_requested(["PARTITION"])
                with suppress(SectorFull):
                    builds.build(fewer, model, self.folder / "tried", encoding)
                    return fewer
        raise AssertionError(f"{ENGINE.name}, {encoding}: no room for a partition")

    def test_every_encoding(self) -> None:
        for encoding in ENGINE.encodings:
            engine = self.engine_for(self.model, encoding)
            built = builds.build(engine, self.model, self.folder / "with", encoding)
            without = builds.build(ENGINE.without(set(ENGINE.features) - set(engine.features)), self.model, self.folder / "without",
                                   encoding)
            self.assertEqual(built.counted, without.counted + 16)
            self.check_partition(built.program)
            self.assertEqual(built.program.read_bytes()[:200], without.program.read_bytes()[:200])
            print(f"{ENGINE.name}: {encoding}: {built.counted} counted bytes, {', '.join(built.engine.features)}", flush=True)

    def test_story(self) -> None:
        engine = self.engine_for(self.model, ENGINE.encodings[0])
        sample = images.sample(engine, self.model, self.folder)
        for disk in ("ide", "usb"):
            log = self.folder / disk
            run = boot(sample, disk=disk, extra=["-d", "in_asm"], log=log)
            self.assertEqual(run.problem, "", disk)
            image, instructions = rules.image_of(sample.built), rules.executed(log.read_text("utf-8"))
            self.assertEqual(rules.execution_problems(image, instructions), [])
            idle = rules.never_executed(image, instructions)
            self.assertEqual(idle[-2:], [(TABLE, TABLE + 16), (SECTOR - 2, SECTOR)])  # the entry, the signature

    def test_large_model(self) -> None:
        if not ENGINE.large:
            self.skipTest("it takes none")
        engine = self.engine_for(self.model, ENGINE.encodings[0], large=True)
        sample = images.sample(engine, self.model, self.folder)
        self.check_partition(sample.built.program)
        self.assertEqual(boot(sample).problem, "")
        print(f"{ENGINE.name}: {sample.built.counted} counted bytes, {', '.join(engine.features)}")

    def test_asked_for(self) -> None:
        result = run_tool("build", "--with", "PARTITION", "-o", str(self.folder))
        self.assertEqual(result.returncode, 2)
        self.assertIn("--with: say which --engine it is for", result.stderr)
        left_out = [f"--without={feature}" for feature in ENGINE.features]
        result = run_tool("build", "--engine", ENGINE.name, "--with", "PARTITION", *left_out, "-o", str(self.folder))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("; PARTITION", result.stdout)
        self.check_partition(self.folder / ENGINE.name)
        other = next(engine for engine in engines.table() if not engine.on_request)
        with self.assertRaisesRegex(UserError, f"{other.name}: feature 'PARTITION': .*{ENGINE.name}"):
            other.with_requested(["PARTITION"])
        with self.assertRaisesRegex(UserError, f"{ENGINE.name}: feature 'TABLE': it can be asked for PARTITION"):
            ENGINE.with_requested(["TABLE"])


if __name__ == "__main__":
    unittest.main()
