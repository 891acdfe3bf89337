"""tools/llama512: lists and starts the tools, from anywhere, and is helpful about wrong names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from support.folders import FolderTest
from support.skip import main
from support.tools import TOOLS, run_tool


class FrontDoor(FolderTest):
    def setUp(self) -> None:
        """A small project of its own, so that the test knows every tool in it."""
        super().setUp()
        self.tools = self.folder / "project" / "tools"
        self.tools.mkdir(parents=True)
        self.door = Path(shutil.copy(TOOLS / "llama512", self.tools))
        (self.tools / "echo.py").write_text('"""Print the arguments.\n\nMore.\n"""\nimport sys\n'
                                            "print(sys.argv[1:], flush=True)\nsys.exit(len(sys.argv) - 1)\n", "utf-8")
        (self.tools / "silent.py").write_text("raise SystemExit('must not be imported to be listed')\n", "utf-8")
        (self.tools / "_private.py").write_text('"""No tool."""\n', "utf-8")
        (self.tools / "broken.py").write_text("def\n", "utf-8")
        (self.tools.parent / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.25)\nproject(llama512 # comment\n  VERSION 1.2.3\n  LANGUAGES CXX)\n",
            "utf-8")

    def run_door(self, *arguments: str, door: Path | None = None) -> tuple[int, str, str]:
        result = subprocess.run([door or self.door, *arguments], encoding="utf-8", capture_output=True, timeout=60,
                                cwd="/", env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        return result.returncode, result.stdout, result.stderr

    def test_lists_the_tools(self) -> None:
        for arguments in ([], ["--help"], ["-h"]):
            status, out, err = self.run_door(*arguments)
            self.assertEqual((status, err), (0, ""))
            tools = [line.split(None, 1) for line in out.splitlines() if line.startswith("  ")]
            self.assertEqual(tools, [["broken", "(does not parse: invalid syntax, line 1)"],
                                     ["echo", "Print the arguments."], ["silent", "(no description)"]])

    def test_runs_a_tool_with_its_arguments_and_status(self) -> None:
        self.assertEqual(self.run_door("echo", "a b", "--help", ""), (3, "['a b', '--help', '']\n", ""))
        self.assertEqual(self.run_door("echo")[0], 0)
        self.assertEqual(self.run_door("help", "echo"), (1, "['--help']\n", ""))

    def test_through_symbolic_links(self) -> None:
        (self.folder / "one").symlink_to(self.door)
        (self.folder / "two").symlink_to("one")
        self.assertEqual(self.run_door("echo", door=self.folder / "two"), (0, "[]\n", ""))
        self.assertEqual(self.run_door("--version", door=self.folder / "two"), (0, "llama512 1.2.3\n", ""))

    def test_unknown_tool(self) -> None:
        self.assertEqual(self.run_door("ehco"),
                         (2, "", "llama512: error: unknown tool 'ehco', did you mean echo?\n"))
        for name in ("zzz", "../tools/echo", "_private", "echo.py ", ""):
            status, out, err = self.run_door(name)
            self.assertEqual((status, out, err.count("\n")), (2, "", 1), name)
            self.assertIn(f"unknown tool {name!r}", err)

    def test_unknown_option(self) -> None:
        status, out, err = self.run_door("--nope")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("unknown option '--nope'", err)

    def test_version(self) -> None:
        self.assertEqual(self.run_door("--version"), (0, "llama512 1.2.3\n", ""))
        (self.tools.parent / "CMakeLists.txt").write_text("project(llama512)\n", "utf-8")
        self.assertEqual(self.run_door("--version")[0], 1)
        (self.tools.parent / "CMakeLists.txt").unlink()
        status, _, err = self.run_door("--version")
        self.assertEqual((status, err.count("\n")), (1, 1))

    def test_closed_standard_error(self) -> None:
        result = subprocess.run(["sh", "-c", f"'{sys.executable}' '{self.door}' nope 2>&-"], capture_output=True, timeout=60)
        self.assertEqual((result.returncode, result.stdout), (2, b""))

    def test_closed_pipe_is_quiet(self) -> None:
        result = subprocess.run(["sh", "-c", f"'{self.door}' --help | true"], encoding="utf-8", capture_output=True,
                                timeout=60)
        self.assertEqual((result.returncode, result.stderr), (0, ""))


class RealTools(FolderTest):
    """Every tool of the project keeps the common rules."""

    def test_every_tool_explains_itself(self) -> None:
        listing = run_tool()
        self.assertEqual(listing.returncode, 0)
        for path in sorted(TOOLS.glob("[!_.]*.py")):
            line = next(line for line in listing.stdout.splitlines() if line.split()[:1] == [path.stem])
            self.assertNotIn("(", line.split()[1], f"{path.name} needs a docstring")
            result = run_tool(path.stem, "--help", cwd=self.folder)
            self.assertEqual((result.returncode, result.stderr), (0, ""), path.name)
            self.assertIn(f"llama512 {path.stem}", result.stdout, f"{path.name} --help must have an example")
            self.assertEqual(run_tool(path.stem, "--no-such-flag").returncode, 2, path.name)

    def test_every_module_is_explained(self) -> None:
        """tools/README.md says what each module of common/ is about."""
        table = (TOOLS / "README.md").read_text("utf-8")
        self.assertEqual([str(path) for path in (TOOLS / "common").rglob("[!_]*.py") if f"`{path.stem}`" not in table], [])

    def test_safe_path(self) -> None:
        """Python may be told not to import what stands beside a script."""
        result = run_tool("run", "--list", env={"PYTHONSAFEPATH": "1"})
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_every_tool_stands_alone(self) -> None:
        for path in sorted(TOOLS.glob("[!_.]*.py")):
            result = subprocess.run([sys.executable, "-B", "-W", "error", path, "--help"], cwd=self.folder,
                                    capture_output=True, encoding="utf-8", timeout=60)
            self.assertEqual((result.returncode, result.stderr), (0, ""), path.name)


if __name__ == "__main__":
    main()
