#!/usr/bin/env python3
"""The smallest engine in README.md: its line is that of today's source, and its commands tell the story.

    tests/run size/one_line_test.py -v
"""

from __future__ import annotations

import re
import subprocess
import unittest
from base64 import b64decode
from dataclasses import replace

from support.folders import FolderTest
from support.tools import ROOT

from common import blocks
from common.engine import engines
from common.errors import UserError
from common.machine import run
from common.match import matching
from common.model import models
from common.size import one_line


class OneLine(FolderTest):
    def readme(self) -> str:
        """The commands that README.md shows."""
        block = blocks.content((ROOT / blocks.README).read_text("utf-8"), "one-line")
        commands = re.fullmatch(r"```sh\n(.*)```\n", block, re.DOTALL)
        assert commands, block
        return commands[1]

    def test_fresh(self) -> None:
        built = one_line.build(self.folder)
        if not engines.is_named(engines.nearest(built.engine.budgets, built.compiler), built.compiler):
            self.skipTest(f"{built.engine.name} has no budget with {built.compiler}, so it may have other bytes")
        self.assertEqual(one_line.commands(built), self.readme(), "run `tools/llama512 history`")

    def test_it_is_the_smallest_and_whole(self) -> None:
        """What the line decodes to are the counted bytes, all of them, of the smallest engine that is a program."""
        size = sum(len(b64decode(piece)) for piece in re.findall(r"echo (\S+) \| base64 -d", self.readme()))
        engine = one_line.smallest()
        self.assertEqual(size, engine.budget_for(models.PROJECT_MODEL, engine.headline_compiler)[0])
        self.assertEqual(engine.budget, min(other.budget for other in engines.table()))
        self.assertIn(f"`{engine.name}` for", (ROOT / blocks.README).read_text("utf-8"))

    def test_its_commands_tell_the_story(self) -> None:
        (self.folder / "tools").symlink_to(ROOT / "tools")
        *make, command = re.split(r" && |\n", self.readme().rstrip("\n"))
        self.assertEqual(command, one_line.PROGRAM)
        result = subprocess.run(["sh", "-ec", "\n".join(make)], cwd=self.folder, capture_output=True, encoding="utf-8")
        self.assertEqual(result.returncode, 0, result.stderr)
        # It is the program that is built, byte for byte; and it runs here, on the kernel or else emulated.
        program = self.folder / command
        built = one_line.build(self.folder / "again")
        self.assertEqual(program.read_bytes(), built.program.read_bytes())
        output = run.run(replace(built, program=program)).text
        self.assertIsNone(matching.compare(output, matching.expect(models.find_model(models.PROJECT_MODEL))))

    def test_code_behind_the_model(self) -> None:
        """A program in two pieces, with the model between them."""
        files = self.folder / "e.build"
        files.mkdir()
        (files / "model.packed").write_bytes(b"\0model\0")
        program = self.folder / "e"
        built = replace(one_line.build(self.folder / "real"), program=program, files=files)
        for content in (b"head\0\0model\0\xfftail", b"head\0model\0", b"\0model\0tail"):
            program.write_bytes(content)
            _, line, _ = one_line.commands(built).splitlines()
            made = self.folder / "build" / "story"
            made.mkdir(parents=True, exist_ok=True)
            (made / "model.packed").write_bytes(b"\0model\0")
            subprocess.run(["sh", "-ec", line], cwd=self.folder, check=True)
            self.assertEqual((made / "story").read_bytes(), content)
        program.write_bytes(b"\0mod el\0")
        with self.assertRaisesRegex(UserError, "the packed model is not one piece"):
            one_line.commands(built)


if __name__ == "__main__":
    unittest.main()
