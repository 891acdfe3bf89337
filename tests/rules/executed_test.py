#!/usr/bin/env python3
"""Rules 2, 6 and 7, no code in the model: an emulator lists every instruction that an engine executes; all are among the
counted bytes (or the firmware's own), in a run that says what the reference says.

    tests/run rules/executed_test.py asm-boot [-v]

The check itself is checked: it must fail for an empty trace, and for an engine that jumps into its model or its memory. A
WebAssembly module cannot jump there; it must not have anything but code, and its model as data.
"""

from __future__ import annotations

import json
import resource
import sys
import unittest
from dataclasses import replace

from support import plant, rules
from support.folders import FolderTest

from common.engine import builds, engines
from common.engine.builds import Built
from common.engine.engines import Engine
from common.errors import UserError
from common.machine import run
from common.match import matching
from common.model import random_model
from common.model.checkpoint import Config
from common.pack.race import Sampling

ENGINE = engines.find(sys.argv.pop(1)) if len(sys.argv) > 1 and sys.argv[1] in engines.names() else engines.table()[0]

SMALL = Config(24, 40, 2, 6, 2, 40, 12, False)
BUDGET = replace(engines.budget_shape().config, seq_len=3)  # emulated arithmetic is slow
TIMEOUT = 200.0  # seconds


class Executed(FolderTest):
    def build(self, config: Config, encoding: str, engine: Engine = ENGINE) -> Built:
        model = random_model.write(self.folder, "m", random_model.weights(config, seed=3, spread=4))
        return builds.build(engine, model, self.folder / encoding, encoding)

    def trace(self, built: Built) -> tuple[bytes, rules.Instructions]:
        """Runs it under an emulator: its text, and the instructions."""
        log = self.folder / "log"
        text = run.trace(built, log, TIMEOUT)
        return text, rules.executed(log.read_text("utf-8") if log.is_file() else "")

    def check(self, config: Config, encoding: str, engine: Engine = ENGINE) -> None:
        built = self.build(config, encoding, engine)
        text, instructions = self.trace(built)
        # A run that did all of its work: its output is right.
        expected = matching.expect(built.effective, sampling=engine.sampling)
        smallest = matching.SMALLEST_RACE_GAP if engine.sampling else matching.SMALLEST_GAP
        self.assertGreater(expected.gap, smallest, "take another seed")
        self.assertIsNone(matching.compare(text, expected, run.seen(ENGINE)))
        image = rules.image_of(built)
        self.assertEqual(rules.execution_problems(image, instructions), [])
        self.assertEqual(image.counted_bytes, built.counted)
        idle = rules.never_executed(image, instructions)
        print(f"{ENGINE.name} {encoding}: {len(set(instructions))} instructions, all counted; of {built.counted} counted "
              f"bytes {sum(end - start for start, end in idle)} were never executed, at file offsets "
              + ", ".join(f"{start:#x}-{end - 1:#x}" for start, end in idle))
        self.assertLess(sum(end - start for start, end in idle), built.counted * image.idle_share)

    def test_small_model(self) -> None:
        for encoding in ENGINE.encodings:
            with self.subTest(encoding=encoding):
                self.check(SMALL, encoding)

    def test_budget_shape(self) -> None:
        self.check(BUDGET, ENGINE.encodings[0])

    def test_sampled(self) -> None:
        """An engine that draws its tokens reads its own code as numbers, and still executes nothing else."""
        for sampling in filter(ENGINE.draws, (Sampling(0.8, 0), Sampling(0.8, 0, 0.9))):
            self.check(SMALL, ENGINE.encodings[0], ENGINE.sampled(sampling))

    def test_elf(self) -> None:
        """The header says what the target says that a kernel sees."""
        program = self.build(SMALL, ENGINE.encodings[0]).program.read_bytes()
        self.assertEqual("elf" in ENGINE.target.facts, program[:4] == b"\x7fELF")
        if "elf" in ENGINE.target.facts:
            self.assertEqual({"class": 32 * program[4], "machine": int.from_bytes(program[18:20], ENGINE.target.byte_order)},
                             ENGINE.target.fact("elf"))

    def test_empty_trace_fails(self) -> None:
        image = rules.image_of(self.build(SMALL, ENGINE.encodings[0]))
        self.assertIn("the trace is empty", rules.execution_problems(image, [])[0])
        self.assertIn("the trace is empty", rules.execution_problems(image, rules.executed("IN: \nnothing\n"))[0])
        self.assertRegex(rules.execution_problems(image, [(image.entry + 1, 1)])[0], "entry|empty")

    def planted(self, built: Built, there: int) -> list[str]:
        """What the check says of the engine when it soon jumps to an address, where there is code to stop it: then it has
        no text, and may end badly."""
        image, (_, instructions) = rules.image_of(built), self.trace(built)
        here = image.soon(instructions)
        program = bytearray(built.program.read_bytes())
        for address, code in ((here, plant.jump(ENGINE, here, there, self.folder)), (there, plant.stop(ENGINE, self.folder))):
            offset = image.offset(address)
            if offset is not None:
                program[offset:offset + len(code)] = code
        path = self.folder / "planted"
        path.write_bytes(program)
        path.chmod(0o755)
        log = self.folder / "log"
        try:
            self.assertEqual(run.trace(replace(built, program=path), log, TIMEOUT), b"", "the planted code ran")
        except UserError as error:
            print(error)
        return rules.execution_problems(image, rules.executed(log.read_text("utf-8")))

    def test_planted_in_the_model(self) -> None:
        built = self.build(SMALL, ENGINE.encodings[0])
        image = rules.image_of(built)
        if not image.code_is_memory:
            return
        for offset in (64, 4096):
            there = image.address(image.model_offset + offset)
            problems = self.planted(built, there)
            self.assertEqual(len(problems), 3, problems)  # the three instructions of plant.stop
            self.assertEqual(problems[0], f"{there:#x} was executed: the model, byte {offset} of it")

    def test_planted_elsewhere(self) -> None:
        built = self.build(SMALL, ENGINE.encodings[0])
        image = rules.image_of(built)
        if not image.code_is_memory:
            return
        there = image.elsewhere()
        self.assertNotIn(image.place(there), image.allowed)
        self.assertIn(f"{there:#x} was executed: {image.place(there)}", self.planted(built, there))

    def test_instruction_that_reaches_into_the_model(self) -> None:
        """Not only an instruction's first byte counts."""
        image = rules.image_of(self.build(SMALL, ENGINE.encodings[0]))
        if not image.code_is_memory:
            self.assertEqual(len(rules.execution_problems(image, [(image.entry, 1), (image.model_offset, 1)])), 1)
            return
        counted = [i for i, own in enumerate(image.counted) if own]
        last = next(i for i in counted if i + 1 < len(image.counted) and not image.counted[i + 1])
        entry, edge = (image.entry, 1), image.address(last)
        self.assertEqual(rules.execution_problems(image, [entry, (edge, 1)]), [])
        self.assertEqual(len(rules.execution_problems(image, [entry, (edge, 2)])), 1)
        weight = image.address(image.counted.rindex(0))  # the last one; there may be code behind it
        self.assertEqual(len(rules.execution_problems(image, [entry, (weight, 2)])), 1)
        behind = [] if image.offset(weight + 1) is None else [(weight + 1, 1)]
        self.assertEqual(rules.execution_problems(image, [entry, *behind]), [])


    def test_modules_that_break_the_rules(self) -> None:
        built = self.build(SMALL, ENGINE.encodings[0])
        image = rules.image_of(built)
        if image.code_is_memory:
            return
        self.assertEqual(image.problems(), [])
        path, packed = self.folder / "planted", (built.files / "model.packed").read_bytes()
        manifest = json.loads((built.files / "manifest.json").read_text("utf-8"))
        for name, program in plant.modules(built.program.read_bytes()).items():
            with self.subTest(name):
                path.write_bytes(program)
                try:
                    problems = type(image)(program, packed, manifest).problems()
                    run.trace(replace(built, program=path), self.folder / "log", TIMEOUT)
                except UserError as error:
                    problems.append(str(error))
                print(f"{name}: {problems}")
                self.assertTrue(problems)


class Log(unittest.TestCase):
    def test_formats(self) -> None:
        """QEMU with a disassembler, without one, and a long instruction on two lines."""
        self.assertEqual(rules.executed(
            "----------------\nIN: \n0x002000a6:  83 ec 18                 subl     $0x18, %esp\n"
            "0x002000a9:  c7 44 24 14 41 00 00 00  movl     $0x41, 0x14(%esp)\n\n"
            "0x0000000000200300:  OBJD-T: 5589e5\n0x00200400:\n"),
            [(0x2000A6, 3), (0x2000A9, 8), (0x200300, 3), (0x200400, 1)])

    def test_other_machines(self) -> None:
        """Disassemblers that write halfwords and words."""
        self.assertEqual(rules.executed(
            "0x0000000000010068:  715d              addi                    sp,sp,-80\n"
            "0x0000000000010070:  28ebb407          fld                     fs0,654(s7)\n"
            "0x00400570:  d2800000  mov      x0, #0\n0x0001037a:  f242 2c10  movw     ip, #0x2210\n0x0001037e:  add0\n"),
            [(0x10068, 2), (0x10070, 4), (0x400570, 4), (0x1037A, 4), (0x1037E, 2)])


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # planted programs crash
    unittest.main()
