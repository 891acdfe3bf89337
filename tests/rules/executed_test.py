#!/usr/bin/env python3
"""Rule 2, no code in the model: QEMU lists every instruction that an engine executes; all are among the counted bytes.

    tests/run rules/executed_test.py cpp-linux-i386 [-v]

The check itself is checked: it must fail for an empty trace, and for an engine that jumps into its model or its memory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

from support import rules
from support.folders import FolderTest

from common.engine import builds, engines
from common.engine.builds import Built
from common.match import matching
from common.model import random_model
from common.model.checkpoint import Config

ENGINE = engines.find(sys.argv.pop(1)) if len(sys.argv) > 1 and sys.argv[1] in engines.names() else engines.table()[0]

SMALL = Config(24, 40, 2, 6, 2, 40, 12, False)
BUDGET = replace(engines.budget_shape().config, seq_len=3)  # emulated arithmetic is slow

# By ELF machine: how to jump from an address to another, and a program that ends with status 42.
I386, X86_64 = 3, 62
JUMP = {machine: lambda here, there: b"\xe9" + (there - here - 5).to_bytes(4, "little", signed=True)
        for machine in (I386, X86_64)}
EXIT_42 = {I386: bytes.fromhex("b801000000 bb2a000000 cd80"), X86_64: bytes.fromhex("b83c000000 bf2a000000 0f05")}


def trace(program: Path) -> tuple[subprocess.CompletedProcess[bytes], list[tuple[int, int]]]:
    """Runs a program under the target's emulator: how it ended, and the instructions."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        result = subprocess.run([*ENGINE.runner(), "-d", "in_asm", "-D", log, program], capture_output=True, timeout=200,
                                stdin=subprocess.DEVNULL)
        return result, rules.executed(log.read_text("utf-8") if log.is_file() else "")


class Executed(FolderTest):
    def build(self, config: Config, encoding: str) -> Built:
        model = random_model.write(self.folder, "m", random_model.weights(config, seed=3, spread=4))
        return builds.build(ENGINE, model, self.folder / encoding, encoding)

    def image(self, built: Built, program: bytes | None = None, packed: bytes | None = None) -> rules.Image:
        return rules.Image(program or built.program.read_bytes(), packed or (built.files / "model.packed").read_bytes(),
                           json.loads((built.files / "manifest.json").read_text("utf-8")))

    def check(self, config: Config, encoding: str) -> None:
        built = self.build(config, encoding)
        result, instructions = trace(built.program)
        # A run that did all of its work: its output is right.
        self.assertEqual(result.returncode, 0, result.stderr)
        expected = matching.expect(built.effective)
        self.assertGreater(expected.gap, matching.SMALLEST_GAP, "take another seed")
        self.assertIsNone(matching.compare(result.stdout, expected))
        image = self.image(built)
        self.assertEqual(rules.execution_problems(image, instructions), [])
        self.assertEqual(image.counted_bytes, built.counted)
        idle = rules.never_executed(image, instructions)
        print(f"{ENGINE.name} {encoding}: {len(set(instructions))} instructions, all counted; of {built.counted} counted "
              f"bytes {sum(end - start for start, end in idle)} were never executed, at file offsets "
              + ", ".join(f"{start:#x}-{end - 1:#x}" for start, end in idle))
        self.assertLess(sum(end - start for start, end in idle), built.counted / 2)

    def test_small_model(self) -> None:
        for encoding in ENGINE.encodings:
            with self.subTest(encoding=encoding):
                self.check(SMALL, encoding)

    def test_budget_shape(self) -> None:
        self.check(BUDGET, ENGINE.encodings[0])

    def test_empty_trace_fails(self) -> None:
        image = self.image(self.build(SMALL, ENGINE.encodings[0]))
        self.assertIn("the trace is empty", rules.execution_problems(image, [])[0])
        self.assertIn("the trace is empty", rules.execution_problems(image, rules.executed("IN: \nnothing\n"))[0])
        self.assertIn("entry", rules.execution_problems(image, [(image.entry + 1, 1)])[0])

    def planted(self, offset_in_model: int | None) -> tuple[rules.Image, list[str]]:
        """An engine that soon jumps into its model (there lies code among the weights), or behind the file's end."""
        self.assertIn(self.image(self.build(SMALL, ENGINE.encodings[0])).machine, JUMP, "plant for a new machine, please")
        built = self.build(SMALL, ENGINE.encodings[0])
        good = self.image(built)
        packed = bytearray((built.files / "model.packed").read_bytes())
        program = bytearray(built.program.read_bytes())
        if offset_in_model is None:
            # A memory page that the program has, but the file has not.
            target = good.segments[0].address + good.segments[0].file_size + 4096
        else:
            target = good.address(good.model_offset + offset_in_model)
            code = EXIT_42[good.machine]
            packed[offset_in_model:offset_in_model + len(code)] = code
            program[good.model_offset:good.model_offset + len(packed)] = packed
        # The first instruction behind the headers: an engine may begin in them, and what it executes be its size as well.
        here = next(address for address, _ in trace(built.program)[1] if good.offset(address) >= good.headers_end)
        jump = JUMP[good.machine](here, target)
        program[good.offset(here):good.offset(here) + len(jump)] = jump
        path = self.folder / "planted"
        path.write_bytes(program)
        path.chmod(0o755)
        result, instructions = trace(path)
        if offset_in_model is not None:
            self.assertEqual(result.returncode, 42, "the planted code ran")
        return self.image(built, bytes(program), bytes(packed)), rules.execution_problems(
            self.image(built, bytes(program), bytes(packed)), instructions)

    def test_planted_in_the_model(self) -> None:
        for offset in (64, 4096):
            image, problems = self.planted(offset)
            self.assertEqual(len(problems), 3, problems)  # the three instructions of EXIT_42
            self.assertEqual(problems[0], f"{image.address(image.model_offset + offset):#x} was executed: "
                                          f"the model, byte {offset} of it")

    def test_planted_in_memory(self) -> None:
        _, problems = self.planted(None)
        self.assertTrue(problems)
        for problem in problems:
            self.assertIn("memory outside the program's file", problem)

    def test_instruction_that_reaches_into_the_model(self) -> None:
        """Not only an instruction's first byte counts."""
        image = self.image(self.build(SMALL, ENGINE.encodings[0]))
        edge = image.address(image.counted.index(0))  # the first weight
        entry = (image.entry, 1)
        self.assertEqual(rules.execution_problems(image, [entry, (edge - 2, 2)]), [])
        self.assertEqual(len(rules.execution_problems(image, [entry, (edge - 2, 3)])), 1)
        last = image.address(image.counted.rindex(0))  # the last weight; there may be code behind it
        self.assertEqual(len(rules.execution_problems(image, [entry, (last, 2)])), 1)
        behind = [] if image.offset(last + 1) is None else [(last + 1, 1)]
        self.assertEqual(rules.execution_problems(image, [entry, *behind]), [])


class Log(unittest.TestCase):
    def test_formats(self) -> None:
        """QEMU with a disassembler, without one, and a long instruction on two lines."""
        self.assertEqual(rules.executed(
            "----------------\nIN: \n0x002000a6:  83 ec 18                 subl     $0x18, %esp\n"
            "0x002000a9:  c7 44 24 14 41 00 00 00  movl     $0x41, 0x14(%esp)\n\n"
            "0x0000000000200300:  OBJD-T: 5589e5\n0x00200400:\n"),
            [(0x2000A6, 3), (0x2000A9, 8), (0x200300, 3), (0x200400, 1)])


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # planted programs crash
    unittest.main()
