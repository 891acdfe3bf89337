"""The libraries that explain bytes: what works without them, and how to get them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from unittest import mock

from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main
from support.tools import TOOLS, run_tool

from common import libraries
from common.engine import engines
from common.model import random_model

COMPILED = next(engine.name for engine in engines.table() if engine.source.endswith(".cpp"))


class Library(FolderTest):
    def test_packages_are_listed(self) -> None:
        listed = (TOOLS / "packages.txt").read_text("utf-8")
        for package in libraries.PACKAGES.values():
            self.assertRegex(listed, rf"(?m)^{package} +- +(test|demo) ")

    def test_found(self) -> None:
        before = list(sys.path)
        self.assertTrue(libraries.library("capstone").Cs)
        self.assertTrue(libraries.library("elftools.elf.elffile").ELFFile)
        self.assertEqual(sys.path, before)

    def test_in_debians_folder(self) -> None:
        (self.folder / "only_debian.py").write_text("VALUE = 7\n", "utf-8")
        self.addCleanup(sys.modules.pop, "only_debian", None)
        with mock.patch.object(libraries, "DEBIAN", str(self.folder)):
            self.assertEqual(libraries.library("only_debian").VALUE, 7)

    def test_missing(self) -> None:
        for error in ("ImportError('no')", "OSError('libcapstone.so.4')"):
            (self.folder / "capstone.py").write_text(f"raise {error}\n", "utf-8")
            with mock.patch.object(libraries, "DEBIAN", str(self.folder)), \
                    mock.patch.object(sys, "path", [str(self.folder)]), mock.patch.dict(sys.modules):
                sys.modules.pop("capstone", None)
                self.assertUserError("Python's module capstone: .*; install it with `apt-get install python3-capstone` ",
                                     libraries.library, "capstone")


class Tools(FolderTest):
    """A Python that has no library to explain bytes, or none for tensors."""

    def hide(self, *names: str) -> None:
        for name in names:
            (self.folder / f"{name}.py").write_text(f"raise ImportError('no {name} here')\n", "utf-8")

    def setUp(self) -> None:
        super().setUp()
        model = random_model.write(self.folder, "m", random_model.weights(small_checkpoint().config, 3, 4))
        self.model: Path = model.checkpoint

    def run_tool(self, *arguments: object) -> tuple[int, str, str]:
        result = run_tool(*arguments, "--model", self.model, "--engine", COMPILED, env={"PYTHONPATH": str(self.folder)})
        return result.returncode, result.stdout, result.stderr

    def test_all_but_the_explanation_works(self) -> None:
        self.hide("capstone", "elftools")
        self.assertEqual(self.run_tool("build", "-o", self.folder / "out")[0], 0)
        status, table, said = self.run_tool("size")
        self.assertEqual(status, 0, said)
        self.assertIn(COMPILED, table)
        self.assertRegex(said, f"{COMPILED}: header, code and data are not known: .*apt-get install python3-")
        status, table, said = self.run_tool("anatomy")
        self.assertEqual((status, table), (1, ""))
        self.assertRegex(said, "^llama512 anatomy: error: .*no (elftools|capstone) here; install it with `apt-get install ")

    def test_without_tensors(self) -> None:
        self.hide("numpy")
        self.assertEqual(run_tool("size", "--help", env={"PYTHONPATH": str(self.folder)}).returncode, 0)
        status, _, said = self.run_tool("build", "-o", self.folder / "out")
        self.assertEqual(status, 1)
        self.assertRegex(said, "^llama512 build: error: .*no numpy here; install it with `apt-get install python3-numpy`")

    def test_imported_when_needed(self) -> None:
        code = "import sys; from common.pack import packer; assert 'numpy' not in sys.modules; packer.np.zeros(1)"
        self.assertEqual(subprocess.run([sys.executable, "-c", code], cwd=TOOLS).returncode, 0)


if __name__ == "__main__":
    main()
