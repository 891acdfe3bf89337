"""tools/speed.py: what is measured is the program's own, and a wrong engine is an error."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from dataclasses import replace
from unittest import mock

import speed
from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main
from support.tools import ROOT, run_tool

from common import blocks
from common.engine import builds, engines
from common.errors import MissingTool
from common.machine import counter, program, run
from common.model import models, random_model

PROGRAM = next(engine for engine in engines.table() if engine.target.machine == "program")
SPEEDS = [speed.Speed("reference", None, 200, 0.02, 4_000_000, None), speed.Speed("a", 350, 200, 0.1, None, 246_913_400)]


class Run(FolderTest):
    def run_python(self, script: str) -> tuple[bytes, float, int]:
        return program.measure_command([sys.executable, "-S", "-c", script])

    def test_time_and_memory_are_those_of_the_program(self) -> None:
        _, idle, small = self.run_python("import time; time.sleep(0.3)")
        output, busy, large = self.run_python(
            "import time; x = bytearray(b'1') * 300_000_000; print('done', flush=True)\n"
            "while time.process_time() < 0.6: pass")
        self.assertEqual(output, b"done\n")
        self.assertLess(idle, 0.3)  # the processor's time, not the clock's
        self.assertGreaterEqual(busy, 0.6)
        self.assertTrue(300_000_000 < large < 400_000_000, large)
        ballast = bytearray(b"1") * 100_000_000  # this process's own memory does not count
        self.assertLess(self.run_python("import time; time.sleep(0.1)")[2], small + 20_000_000)
        self.assertLess(small, len(ballast))

    def test_a_failure(self) -> None:
        self.assertUserError("ended with status 3 after 2 bytes", self.run_python, "print(1); raise SystemExit(3)")


class Tool(FolderTest):
    def test_an_engine(self) -> None:
        model = random_model.write(self.folder, "m", random_model.weights(small_checkpoint().config, 3, 4))
        built = builds.build(PROGRAM, model, self.folder / "e")
        output = random_model.pieces(model_vocabulary := small_checkpoint().config.vocab_size, 7)
        self.assertEqual(len(output), model_vocabulary)
        said = run.run(built).text
        tokens = random_model.token_ids(said, output)
        expected = speed.matching.Expected(tokens, output, 1.0, 0, 1.0)
        with mock.patch.object(speed.matching, "expect", lambda model: expected):
            with mock.patch.object(run, "count", lambda *_: (said, 1234)):
                measured = speed.engine_speed(built, 2)
            self.assertEqual((measured.engine, measured.bytes, measured.tokens),
                             (PROGRAM.name, built.counted, len(tokens)))
            self.assertGreater(measured.seconds, 0)
            self.assertEqual(measured.instructions, 1234)
            with mock.patch.dict("os.environ", LLAMA512_EMULATE="1"), contextlib.redirect_stderr(io.StringIO()):
                self.assertIsNone(speed.engine_speed(built, 1).memory)
            with mock.patch.object(program, "_answer", lambda target: 0):  # a kernel that starts an emulator by itself
                self.assertIsNone(speed.engine_speed(built, 1).memory)
            with mock.patch.object(counter, "plugin_version", side_effect=MissingTool("no plugins")), \
                    contextlib.redirect_stderr(io.StringIO()) as said_of_it:
                self.assertIsNone(speed.engine_speed(built, 1).instructions)
            self.assertEqual(said_of_it.getvalue(), f"{PROGRAM.name}: instructions are not counted: no plugins\n")
            with mock.patch.object(run, "count", lambda *_: (b"x", 1)):
                self.assertUserError("emulated, while its instructions are counted", speed.engine_speed, built, 1)
        wrong = replace(expected, tokens=[(tokens[0] + 1) % model_vocabulary, *tokens[1:]])
        with mock.patch.object(speed.matching, "expect", lambda model: wrong):
            self.assertUserError(f"{PROGRAM.name}: token 0: expected", speed.engine_speed, built, 1)

    def run_main(self, *arguments: str) -> str:
        with mock.patch.object(sys, "argv", ["speed.py", *arguments]), mock.patch.object(speed, "ROOT", self.folder), \
                mock.patch.object(speed, "measure", lambda *_: SPEEDS), \
                contextlib.redirect_stdout(io.StringIO()) as said:
            speed.main()
        return said.getvalue()

    def test_forms(self) -> None:
        self.assertRegex(self.run_main(), r"reference +10,000 +4\.0 MB\na +350 +2,000 +1,234,567 *\n")
        rows = json.loads(self.run_main("--json"))
        self.assertEqual([(row["seconds"], row["instructions"]) for row in rows], [(0.02, None), (0.1, 246_913_400)])

    def test_readme(self) -> None:
        path = self.folder / blocks.README
        path.write_text("A\n<!-- speed: x -->\nold\n<!-- end of speed -->\nB\n", "utf-8")
        self.run_main("--readme", "--runs", "3")
        text = path.read_text("utf-8")
        self.assertTrue(text.startswith("A\n<!-- speed: x -->\nMeasured on "))
        self.assertTrue(text.endswith("|\n<!-- end of speed -->\nB\n"))
        self.assertIn("the fastest of 3 whole runs", text)
        self.assertIn("| `a`         |   350 |    2,000 |          1,234,567 |        |", text)
        path.write_text("A\n", "utf-8")
        self.assertUserError("README.md: no block `<!-- speed: …", self.run_main, "--readme")

    def test_the_project_s_readme_has_the_figures(self) -> None:
        """Not which: they are those of a machine and a day. But of which engines, with their date."""
        block = blocks.content((ROOT / blocks.README).read_text("utf-8"), speed.BLOCK)
        self.assertRegex(block, r"^Measured on \d{4}-\d\d-\d\d on ")
        self.assertEqual(re.findall(r"^\| `(\S+)` ", block, re.MULTILINE), ["reference", *engines.names()])

    def test_encoding(self) -> None:
        """Of the engines that have it."""
        found = []
        table = [replace(PROGRAM, name=name, encodings=encodings) for name, encodings in (("a", ("f32",)), ("b", ("f32", "int8")))]
        with mock.patch.object(speed.here, "choose", lambda _: table), \
                mock.patch.object(speed, "reference_speed", lambda *_: SPEEDS[0]), \
                mock.patch.object(speed, "engine_speed", lambda built, _: built), \
                mock.patch.object(speed.builds, "build", lambda engine, _, encoding: found.append((engine.name, encoding))):
            for encoding in ("int8", None):
                speed.measure(models.find_model(), None, 1, encoding)
        self.assertEqual(found, [("b", "int8"), ("a", None), ("b", None)])

    def test_usage(self) -> None:
        for arguments in (["--runs", "0"], ["--readme", "--model", "m"], ["--readme", "--json"], ["--readme", "--encoding", "int8"]):
            result = run_tool("speed", *arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""))


if __name__ == "__main__":
    main()
