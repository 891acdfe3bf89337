"""Configuring: what it says about the model, with a front door that is a stand-in; and without GoogleTest."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pack
from support.folders import FolderTest
from support.skip import main
from support.tools import ROOT, TOOLS

PROJECT = """cmake_minimum_required(VERSION 3.25)
project(stand_in LANGUAGES NONE)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_executable(reference IMPORTED)
set_target_properties(reference PROPERTIES IMPORTED_LOCATION /reference)
add_subdirectory(golf)
"""

ENGINES = """if 'build' in sys.argv:
    print('some-engine')
    sys.exit(print('not here: another-one (x-g++: not found)', file=sys.stderr))
"""


class Model(FolderTest):
    def configure(self, script: str, *options: str) -> tuple[int, str]:
        """`script` is the front door's last line, where it is not asked for engines."""
        (self.folder / "golf").mkdir(exist_ok=True)
        for name in ("CMakeLists.txt", "engines.cmake", "engines.json"):
            shutil.copy(ROOT / "golf" / name, self.folder / "golf")
        shutil.copytree(ROOT / "golf" / "targets", self.folder / "golf" / "targets", dirs_exist_ok=True)
        (self.folder / "tools").mkdir(exist_ok=True)
        (self.folder / "tools" / "llama512").write_text(f"import os, sys\n{ENGINES}{script}\n", "utf-8")
        (self.folder / "CMakeLists.txt").write_text(PROJECT, "utf-8")
        result = subprocess.run(["cmake", "-S", self.folder, "-B", self.folder / "build", "-G", "Ninja", *options],
                                capture_output=True, encoding="utf-8", timeout=60)
        return result.returncode, result.stdout + result.stderr

    def test_a_model(self) -> None:
        status, said = self.configure("print('m', '/m.bin', '/t.bin', sep='\\n')")
        self.assertEqual(status, 0, said)
        self.assertIn("Model of the golfed engines: m\n", said)
        self.assertIn("Golfed engines not here: another-one (x-g++: not found)\n", said)

    def test_no_model(self) -> None:
        """The default model may be absent; one that was chosen may not."""
        absent = f"sys.exit({pack.ABSENT})"
        status, said = self.configure(absent)
        self.assertEqual(status, 0, said)
        self.assertIn("No model, so the golfed engines are not built now", said)
        self.assertEqual(self.configure(absent, "-DLLAMA512_MODEL=x")[0], 1)

    def test_status_of_an_absent_model(self) -> None:
        """Status 3 is for CMake's question alone: everywhere else an absent model is a failure like others."""
        script = ("import sys; sys.path.insert(0, sys.argv[1]); import pack\n"
                  "from common import errors; from common.model import models\n"
                  "def find_model(*_): raise models.ModelNotFound('no model')\n"
                  "pack.find_model = find_model; sys.argv[:2] = ['pack.py']; errors.run_tool(pack.main)")
        for words, status in ((["--check"], pack.ABSENT), (["--check", "--model", "m"], 1),
                              (["--engine", "asm-boot", "-o", "x"], 1)):
            result = subprocess.run([sys.executable, "-c", script, TOOLS, *words], capture_output=True, encoding="utf-8")
            self.assertEqual((result.returncode, result.stderr), (status, "llama512 pack: error: no model\n"))

    def test_any_other_failure_stops(self) -> None:
        for script in ("sys.exit('m.bin: damaged')", "raise RuntimeError('m.bin: damaged')",
                       "print('m.bin: damaged', file=sys.stderr, flush=True); os.kill(os.getpid(), 9)"):
            status, said = self.configure(script)
            self.assertEqual(status, 1, said)
            self.assertIn("m.bin: damaged", said)


class GoogleTest(FolderTest):
    """The demo's machine need not have it, the tests' must."""

    def cmake(self, *arguments: object) -> tuple[int, str]:
        result = subprocess.run(["cmake", *map(str, arguments)], capture_output=True, encoding="utf-8", timeout=100)
        return result.returncode, result.stdout + result.stderr

    def test_without_it_and_with_it_again(self) -> None:
        configure = ("-S", ROOT, "-B", self.folder, "-G", "Ninja")
        status, said = self.cmake(*configure, "-DCMAKE_DISABLE_FIND_PACKAGE_GTest=ON")
        self.assertEqual(status, 0, said)
        self.assertIn("libgtest-dev", said)
        self.assertIn("demo: phony", self.cmake("--build", self.folder, "--target", "help")[1])
        status, said = self.cmake("--build", self.folder, "--target", "tests")
        self.assertEqual(status, 1, said)
        self.assertIn("libgtest-dev", said)
        self.assertEqual(self.cmake(*configure, "-DCMAKE_DISABLE_FIND_PACKAGE_GTest=OFF")[0], 0)
        self.assertIn("reference_test: phony", self.cmake("--build", self.folder, "--target", "help")[1])


if __name__ == "__main__":
    main()
