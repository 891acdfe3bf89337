"""golf/targets: one folder knows one kind of machine, and nobody else knows it by name."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import tokenize
from pathlib import Path

from support.folders import FolderTest
from support.skip import main
from support.tools import ROOT

from common.engine import engines, targets

CODE = (".asm", ".cmake", ".cpp", ".css", ".hpp", ".html", ".inc", ".js", ".json", ".ld", ".py", ".sh", ".txt", ".yml")
OWN = ("golf/targets/", "golf/engines.json")  # the folders themselves, and the table


def code_files() -> list[Path]:
    """Every source, build description and script of the project, also new ones."""
    listed = subprocess.run(["git", "ls-files", "-c", "-o", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True,
                            encoding="utf-8").stdout.split("\0") if shutil.which("git") else []
    found = [ROOT / name for name in listed] if any(listed) else list(ROOT.rglob("*"))  # a copy without git
    return [path for path in found if path.is_file() and "build" not in path.relative_to(ROOT).parts
            and (path.suffix in CODE or not path.suffix and path.relative_to(ROOT).parts[0] in ("tools", "tests", ".ci"))]


def named(text: str, names: list[str]) -> list[str]:
    """The names that stand in a text as words of their own; `asm-NAME`, an engine, is another word."""
    return [name for name in names if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text)]


def strings(path: Path) -> str:
    """A Python file's string constants, without its docstrings: what it does, not what it says about itself."""
    with tokenize.open(path) as file:
        tree = ast.parse(file.read())
    docs = {id(node.body[0].value) for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None}
    return "\n".join(node.value for node in ast.walk(tree)
                     if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs)


class Names(FolderTest):
    def test_no_target_is_named_elsewhere(self) -> None:
        sources = {engine.source for engine in engines.table()}
        found = {}
        for path in code_files():
            name = str(path.relative_to(ROOT))
            if not name.startswith(OWN) and name not in sources:
                found[name] = named(path.read_text("utf-8"), targets.names())
        self.assertGreater(len(found), 200, "not all files were looked at")
        self.assertEqual({name: names for name, names in found.items() if names}, {})

    def test_no_tool_does_something_for_one_engine(self) -> None:
        for path in (ROOT / "tools").rglob("*.py"):
            self.assertEqual(named(strings(path), engines.names()), [], path)

    def test_it_finds_them(self) -> None:
        target, engine = targets.names()[0], engines.names()[0]
        for text in (f'if target == "{target}":', f"golf/targets/{target}/x87.hpp", f"${{target}} STREQUAL {target})"):
            self.assertEqual(named(text, targets.names()), [target], text)
        for text in (f"asm-{target}", f"{target}2", f"my_{target}"):
            self.assertEqual(named(text, targets.names()), [], text)
        (self.folder / "x.py").write_text(f'"""{engine}"""\nx = "a {engine}"\n', "utf-8")
        self.assertEqual(strings(self.folder / "x.py"), f"a {engine}")


if __name__ == "__main__":
    main()
