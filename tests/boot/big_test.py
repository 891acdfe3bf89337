#!/usr/bin/env python3
"""Models above 1 MB: what a build adds where a model does not fit below 640 KB (golf/engines.json: beyond), on all disks, in
Bochs, on a disk that ends early; and models that are too large for that, too.

    tests/run boot/big_test.py [everything] asm-boot

By default small models are booted as if they were large ones. `everything` boots large ones, which takes minutes.
"""

from __future__ import annotations

import random
import sys
import unittest
from dataclasses import replace

from support.everything import EVERYTHING

import bochs
import images
from images import BootTest, Sample, boot
from support import cases, plant, rules
from support.skip import SKIP

from common.engine import builds, limits, packing
from common.engine.nasm import SectorFull
from common.errors import UserError
from common.machine import pc, screen
from common.machine.qemu import SECTOR
from common.match import matching
from common.model import random_model
from common.model.checkpoint import Config

ENGINE = images.engine_argument()
LARGE = ENGINE.large
CHUNK = 49 * SECTOR  # bytes that are read at once
LINES = screen.style(ENGINE) == screen.LINES
SECOND = not EVERYTHING and ENGINE.name != images.ENGINES[0].name  # one engine is enough for what all read disks with
SHAPES = {
    "15M": Config(288, 768, 6, 6, 6, 32000, 6, True),
    "42M": Config(512, 1376, 8, 8, 8, 32000, 4, True),
    "110M": Config(768, 2048, 12, 12, 12, 32000, 1024, True),
    "1.1B": Config(2048, 5632, 22, 32, 4, 32000, 2048, False),
}
MESSAGE = b"Disk error/low RAM"
TWO_MEGABYTES = Config(64, 172, 5, 8, 4, 7680, 3, True)


class BigTest(BootTest):
    def sample(self, config: Config, encoding: str | None = None, seed: int = 1) -> Sample:
        model = random_model.write(self.folder, "m", random_model.weights(config, seed, spread=4))
        found = images.sample(LARGE, model, self.folder / "build", encoding)
        self.assertGreater(found.expected.gap, matching.SMALLEST_GAP, "take another seed")
        return found

    def short_sample(self, encoding: str | None = None) -> Sample:
        """Of the default model: some chunks, the last of which is not full."""
        found = images.sample(LARGE, images.short_model(self.folder), self.folder / (encoding or "build"), encoding)
        self.assertGreater(found.built.packed, 3 * CHUNK)
        return found

    def check(self, sample: Sample, run: images.Run) -> None:
        self.assertEqual(run.problem, "")
        self.assertEqual(run.model, sample.image.read_bytes()[SECTOR:], "the model is not where it belongs, or it changed")


class Small(BigTest):
    """Small models, as if they were large."""

    def test_disks(self) -> None:
        """Every kind of disk and of processor, with garbage where the model goes. On the last one every instruction is listed,
        and is among the counted bytes or the firmware's."""
        machines = ((None, "486", 8, "ide", True), ("int8", "pentium", 8, "virtio", True), (None, "max", 3072, "ahci", False),
                    ("int8", "qemu32", 128, "usb", True))
        for encoding, cpu, memory, disk, filled in machines[-1:] if SECOND else machines:
            with self.subTest(cpu=cpu, memory=memory, disk=disk, encoding=encoding):
                sample, log = self.short_sample(encoding), self.folder / "log"
                garbage = images.garbage(self.folder / "garbage", memory) if filled else None
                run = boot(sample, cpu, memory, disk, garbage=garbage, log=log, extra=["-d", "in_asm"] * (disk == "usb"))
                self.check(sample, run)
                print(f"{ENGINE.name}: {cpu}, {memory} MB, {disk}, {sample.built.encoding}: {run.seconds:.1f} s, equal, "
                      f"{sample.counted} counted bytes", flush=True)
        image, instructions = rules.image_of(sample.built), rules.executed(log.read_text("utf-8"))
        self.assertEqual(rules.execution_problems(image, instructions), [])
        self.assertGreaterEqual(image.address(SECTOR), 0x100000 + SECTOR)
        idle = rules.never_executed(image, instructions)
        self.assertLess(sum(end - start for start, end in idle), sample.counted * image.idle_share)

    def test_bochs(self) -> None:
        """Another processor and BIOS; and nothing is written into 7000h-7FFFh."""
        if SECOND:
            return
        sample = self.short_sample() if not EVERYTHING else self.sample(TWO_MEGABYTES)
        result = bochs.run(sample.image, self.folder, timeout=300)
        self.assertEqual(result.writes, "", "a write into the code's page")
        cells = bytes(byte for character in result.memory for byte in (character, 7))
        serial = sample.expected.text if LINES else b""
        self.assertEqual(images.problem(sample, cells, sample.expected.text, serial, result.before), "")
        print(f"{ENGINE.name}: {sample.built.packed:,} bytes of model: {len(sample.expected.tokens)} tokens equal in Bochs")

    def test_a_disk_that_ends_early(self) -> None:
        if not LINES:
            return  # that one cannot tell; disk_test.py looks whether it comes to rest
        sample = self.short_sample()
        data, short = sample.image.read_bytes(), self.folder / "short.img"
        self.assertEqual(len(data) % CHUNK, 0)
        short.write_bytes(data[:-SECTOR])
        for what, options in (("short", {"image": short, "exact": True}), ("bad", {"image": sample.image, "bad_sector": 60})):
            with self.subTest(what), images.Machine(**options) as machine:
                machine.wait_until_stopped(60)
                self.assertEqual(screen.rows(machine.text_memory()), MESSAGE)
                self.assertEqual(machine.serial(), MESSAGE)

    def test_too_little_memory(self) -> None:
        """It is said, and nothing else. Without the comfort, disks are still spoken of."""
        if not LINES:
            return
        sample = self.sample(Config(32, 1280, 2, 4, 4, 64, 400, False), seed=2)
        needed = pc.BELOW_WORKSPACE + -(-sample.built.memory >> 20)  # MB, at most
        self.assertGreater(needed, 9)
        with images.Machine(sample.image, "486", needed - 2) as machine:
            machine.wait_until_stopped(60)
            self.assertEqual((screen.rows(machine.text_memory()), machine.serial()), (MESSAGE, MESSAGE))
        plain = images.sample(ENGINE.without(["MEMORY_ERROR"]).large, images.short_model(self.folder), self.folder / "plain")
        self.assertNotIn("MEMORY_ERROR", plain.engine.features)
        self.check(plain, boot(plain))
        with images.Machine(plain.image, bad_sector=60) as machine:
            machine.wait_until_stopped(60)
            self.assertEqual(screen.rows(machine.text_memory()), b"Disk error")

    def test_jump_into_the_model(self) -> None:
        """Above 1 MB it is noticed as well."""
        if LINES:
            return
        sample = self.small_sample(LARGE)
        image, log = rules.image_of(sample.built), self.folder / "log"
        there = image.address(SECTOR + 64)
        here = image.soon([])
        program = bytearray(sample.image.read_bytes())
        for address, code in ((here, plant.jump(LARGE, here, there, self.folder)), (there, plant.stop(LARGE, self.folder))):
            offset = image.offset(address)
            program[offset:offset + len(code)] = code
        path = self.folder / "planted"
        path.write_bytes(program)
        with images.Machine(path, extra=["-d", "in_asm"], log=log) as machine:
            machine.wait_until_stopped(60)
        problems = rules.execution_problems(image, rules.executed(log.read_text("utf-8")))
        self.assertEqual(len(problems), 3, problems)
        self.assertEqual(problems[0], f"{there:#x} was executed: the model, byte 64 of it")


class Choice(BigTest):
    """When a build takes it."""

    def test_where_it_is_needed(self) -> None:
        limit = next(limit for limit in limits.of(ENGINE) if limit.field == "packed_bytes")
        few, many = replace(images.SMALL, vocab_size=4000), replace(images.SMALL, vocab_size=20_000)
        for config, expected in ((few, ENGINE), (many, LARGE), (SHAPES["110M"], LARGE)):
            model = cases.sparse_model(config, self.folder)
            _, _, spans = packing.check_shape(ENGINE, model, "bf16")
            self.assertEqual(packing.packer.packed_bytes(spans) > limit.most, expected == LARGE)
            self.assertEqual(packing.fitting(ENGINE, model, "bf16"), expected)
        self.assertEqual(LARGE.features, (*ENGINE.features, "BIG", *["MEMORY_ERROR"] * LINES))

    def test_too_large(self) -> None:
        """For 3 GB, and for the sector: with figures and a way out, before anything is packed."""
        model = cases.sparse_model(SHAPES["1.1B"], self.folder)
        self.assertUserError(rf"sparse.bin: seq_len: 2048: {ENGINE.name} would need [\d,]+ bytes of memory \([\d,]+ for the "
                             rf"model, [\d,]+ to work in\), {ENGINE.name} takes at most 3,220,045,824 .*; use a model with a "
                             "smaller seq_len", builds.build, ENGINE, model, self.folder / "build")
        if not ENGINE.features:
            return
        model = cases.sparse_model(Config(288, 260, 1, 6, 6, 1000, 3, True), self.folder)
        said = self.assertUserError(rf"{ENGINE.name}: the sector is \d+ bytes too full with this model's shape and .*BIG, "
                                    r"MEMORY_ERROR; leave out .*READ_ERROR.* \(--without\), take an engine with fewer features",
                                    builds.build, ENGINE, model, self.folder / "build")
        print(said)
        packing.configure(LARGE, model, "bf16", self.folder)
        flags = [f"-D{feature}" for feature in ENGINE.without(["READ_ERROR", "MEMORY_ERROR"]).large.features]
        builds.toolchains.of(LARGE).check_room(LARGE, self.folder, flags)  # what it says is true

    def test_memory(self) -> None:
        """A machine has room for the model and for what the engine works in."""
        built = self.small_sample(LARGE).built
        self.assertTrue(pc.model_is_above(LARGE))
        self.assertFalse(pc.model_is_above(ENGINE))
        large = replace(built, packed=200 << 20)
        self.assertEqual(pc.memory_for(large), 2 + 200 + 1)
        self.assertRaisesRegex(UserError, r"needs 203 MB .*--memory gives it 202", pc.memory_for, large, 202)


@unittest.skipUnless(EVERYTHING, "large models take minutes")
class Large(BigTest):
    """Models that need it."""

    def test_shapes(self) -> None:
        for name, encoding in (("15M", "bf16"), ("15M", "int8"), ("15M", "int4"), ("42M", "bf16"), ("42M", "int8")):
            with self.subTest(name=name, encoding=encoding):
                try:
                    sample = self.sample(SHAPES[name], encoding)
                except SectorFull as error:
                    self.assertTrue(ENGINE.features, error)
                    print(error)
                    continue
                disk = random.Random(name + encoding).choice(("ide", "ahci", "virtio", "usb"))
                run = boot(sample, "486", 512, disk, timeout=600)
                self.check(sample, run)
                print(f"{ENGINE.name}: {name}, {encoding}, {disk}: {len(sample.expected.tokens)} tokens equal, "
                      f"{sample.counted} counted bytes, {run.seconds:.0f} s", flush=True)

    def test_more_chunks_than_a_16_bit_address_tells(self) -> None:
        """3.5 MB: .read's end looks at all of edi."""
        config = replace(images.SMALL, vocab_size=60_000, seq_len=4)
        sample = self.sample(config)
        self.assertGreater(sample.built.packed, 128 * CHUNK)
        self.check(sample, boot(sample, "486"))


if __name__ == "__main__":
    if ENGINE.large is None:
        print(f"SKIP: {ENGINE.name}: it has no variant for large models, or needs none")
        sys.exit(SKIP)
    unittest.main()
