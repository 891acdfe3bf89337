#!/usr/bin/env python3
"""Folders and checkpoints of any name: what is built, told and explained is the same as in a plain folder.

    tests/run badinput/paths_test.py [everything]
"""

from __future__ import annotations

import os
import unittest

from support.everything import EVERYTHING
from support.folders import FolderTest
from support.models import small_checkpoint
from support.tools import run_tool, without_notes

from common.machine import here
from common.model import random_model
from common.model.models import Model

# Each means something to an assembler, a shell, a linker, a configuration file, a list of options or a terminal.
NAMES = [os.fsdecode(name) for name in (
    b'a";.ascii "x', b"a b", b"it's", b"back\\slash", b"new\nline", b"\n.byte 1", b"100%s", b"a,b=c", b"a;b", b"\xff\xfe",
    "é☃".encode(), b"$HOME$(id)`id`", b"-I", b"#x//*", b"[a]{b}?", b"@file", b"a:b|c", b"tab\t\x1b[31m", b"<a&b>")]
ALL_AT_ONCE = os.fsdecode(b"-@ \"\\'\n%s,;\xff$(id)[a]")
# Names go through a toolchain and what makes its images: one engine for each is enough. With name in name, it is the two quick
# toolchains.
HERE = here.choose(None, to_run=False)
ENGINES = list({(engine.toolchain, engine.target.image): engine.name for engine in HERE}.values())
FEW = list({engine.toolchain: engine.name for engine in HERE if engine.toolchain in ("gcc", "nasm")}.values())
OURS = [engine.name for engine in HERE if engine.toolchain == "gcc" and not engine.target.gcc("prefix")][:1]  # by the machine's own compiler


def chosen(names: list[str]) -> list[str]:
    return [word for name in names for word in ("--engine", name)]


class Paths(FolderTest):
    def model_in(self, name: str, *above: str) -> tuple[Model, dict[str, str]]:
        """The same random model every time, in a folder of that name (in folders of other names) and called so; and an environment
        whose temporary folder lies there, too."""
        folder = self.folder.joinpath(*above, name)
        temporary = folder / "temporary"
        temporary.mkdir(parents=True)
        return random_model.write(folder, name, small_checkpoint()), {"TMPDIR": str(temporary)}

    def tool(self, env: dict[str, str], *arguments: object) -> str:
        result = run_tool(*arguments, env=env)
        self.assertEqual((result.returncode, without_notes(result.stderr)), (0, ""))
        self.assertEqual(os.listdir(env["TMPDIR"]), [])
        return result.stdout

    def outcome(self, names: list[str], *place: str) -> tuple[dict[str, bytes], str]:
        """The engines' programs, and the explanation of their bytes."""
        model, env = self.model_in(*place)
        out = model.checkpoint.parent / "out"
        self.tool(env, "build", *chosen(names), "--model", model.checkpoint, "-o", out)
        explained = self.tool(env, "anatomy", "--json", *chosen(names), "--model", model.checkpoint)
        return {engine: (out / engine).read_bytes() for engine in names}, explained

    def test_programs_and_anatomy_do_not_depend_on_names(self) -> None:
        count = len(NAMES) if EVERYTHING else 6  # with fewer, a name lies in folders of other names
        for plain, engines, places in (("plain", FEW, [NAMES[start::count] for start in range(count)]),
                                       ("plain too", ENGINES, [[ALL_AT_ONCE]])):
            expected = self.outcome(engines, plain)
            for place in places:
                with self.subTest(place):
                    self.assertEqual(self.outcome(engines, *place), expected)

    def test_verify_and_run(self) -> None:
        model, env = self.model_in(ALL_AT_ONCE)
        told = self.tool(env, "run", "reference", "--model", model.checkpoint, "--", "--quiet")
        self.assertTrue(told.strip())
        self.tool(env, "verify", "--emulate", "--model", model.checkpoint, "-o", model.checkpoint.parent / "out")

    def test_a_compiler_named_from_here(self) -> None:
        (self.folder / "my-g++").write_text('#!/bin/sh\nexec g++ "$@"\n', "utf-8")
        (self.folder / "my-g++").chmod(0o755)
        model = random_model.write(self.folder, "m", small_checkpoint())
        for command, path in (("./my-g++", os.environ["PATH"]), ("my-g++", f".:{os.environ['PATH']}")):
            result = run_tool("build", *chosen(OURS), "--model", model.checkpoint, "-o",
                              "out" + path[:1],
                              env={"LLAMA512_CXX": command, "PATH": path}, cwd=self.folder)
            self.assertEqual(result.returncode, 0, result.stderr)


class Names(FolderTest):
    def test_no_name_for_a_folder(self) -> None:
        """`...bin` is the model "..", whose engines would be built into the folder above."""
        for name in ("...bin", "..bin", ".bin"):
            model = random_model.write(self.folder, name.removesuffix(".bin"), small_checkpoint())
            for tool in (("build", "-o", self.folder / "out"), ("pack", "--check")):
                result = run_tool(*tool, "--model", model.checkpoint, "--tokenizer", model.tokenizer)
                self.assertEqual((result.returncode, without_notes(result.stderr).count("\n")), (1, 1), result.stderr)
                self.assertIn(f"{model.checkpoint}: name: {model.name!r}: ", result.stderr)
        self.assertFalse((self.folder / "out").exists())

    def test_symlink_loop(self) -> None:
        model = random_model.write(self.folder, "m", small_checkpoint())
        (self.folder / "loop").symlink_to("loop")
        loop = str(self.folder / "loop")
        one = ("--engine", OURS[0], "--model")
        for arguments in (("build", *one, model.checkpoint, "-o", loop), ("build", *one, loop + "/m.bin", "-o", "x"),
                          ("pack", *one, model.checkpoint, "-o", loop),
                          ("pack", "--check", "--model", model.checkpoint, "--tokenizer", loop),
                          ("anatomy", *one, model.checkpoint, "--svg", loop),
                          ("size", "--csv", *one, model.checkpoint, "-o", loop),
                          ("verify", *one, model.checkpoint, "-o", loop)):
            with self.subTest(arguments):
                result = run_tool(*arguments)
                self.assertEqual((result.returncode, without_notes(result.stderr).count("\n")), (1, 1), result.stderr)
                self.assertIn(loop, result.stderr)


if __name__ == "__main__":
    unittest.main()
