"""A small git repository whose "engines" are files with a number, for tests of what walks through history.

    class Some(RepositoryTest):
        def test_growth(self) -> None:
            self.put(a=100, b="200 210")         # two engines and their bytes, in the working tree
            self.commit("first")                 # the commit's hash

Its tools/llama512 answers `size --json` from those files, so that no compiler is needed; a number that is none does not
build. It is started where a test's class says `starts_tools`; elsewhere its function is called, which is quicker. There is one
shape, m; with use_shapes(self, "m", "n") there are two, and a second number is the size for n. The toolchains are made up, too.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Sequence
from unittest import TestCase, mock

from support.folders import FolderTest
from support.models import small_checkpoint

from common.engine import engines
from common.size import states
from common.size.measure import Size
from common.size.report import Today

TOOLCHAINS = {"gcc": "g++ 1.0", "nasm": "nasm 2.0"}

def size(root: Path, arguments: Sequence[str]) -> list[dict]:
    """What the project's `tools/llama512 size ARGUMENTS…` says in a folder. This is its tools/llama512, too."""
    with open(os.environ["SIZE_LOG"], "a", encoding="utf-8") as log:
        log.write(" ".join(["size", *arguments]) + "\n")
    table = json.loads((root / "golf" / "engines.json").read_text("utf-8"))
    models = [Path(arguments[arguments.index("--model") + 1]).stem] if "--model" in arguments else table["shapes"]
    rows = []
    for engine in table["engines"]:
        text = (root / "golf" / "asm" / (engine["name"] + ".asm")).read_text("utf-8").strip()
        for model in models:
            words = text.split()
            word = words["mn".index(model)] if len(words) > 1 else text
            if not word.isdigit():
                sys.exit(f'llama512 size: error: {root}/golf/asm: error: {word}, "quoted" (from: nasm {root})')
            counted = int(word)
            rows.append({"engine": engine["name"], "model": model, "bytes": counted, "budget": engine["budget"],
                         "packed": 1000, "compiler": "nasm 2.0", "ok": counted <= engine["budget"], "header": 10,
                         "code": counted - 12, "data": 2})
    return rows


FRONT_DOOR = f"""from __future__ import annotations

import json
import os
import sys
from pathlib import Path

{inspect.getsource(size)}

rows = size(Path(__file__).resolve().parents[1], sys.argv[2:])
print(json.dumps(rows))
sys.exit(not all(row["ok"] for row in rows))
"""


def use_shapes(case: TestCase, *names: str) -> None:
    """In this test, sizes are for these shapes from now on."""
    config = small_checkpoint().config
    patch = mock.patch.object(engines, "shapes", lambda: [engines.Shape(name, config, 7) for name in names])
    patch.start()
    case.addCleanup(patch.stop)


def measure_folder(folder: Path, *arguments: str) -> list[dict]:
    """states.measure_folder(), without another process."""
    try:
        return size(folder, ["--json", *arguments])
    except SystemExit as end:
        raise states.DoesNotBuild(states.first_error(str(end), (folder,))) from end


class RepositoryTest(FolderTest):
    starts_tools = False

    def setUp(self) -> None:
        super().setUp()
        self.root = self.folder / "project"
        self.log = self.folder / "log"
        self.clock = 0
        use_shapes(self, "m")
        variables = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "SIZE_LOG": str(self.log)}
        patches = [mock.patch.dict(os.environ, variables), mock.patch.object(states, "toolchains", lambda: dict(TOOLCHAINS))]
        if not self.starts_tools:
            patches.append(mock.patch.object(states, "measure_folder", measure_folder))
        for patch in patches:
            patch.start()
            self.addCleanup(patch.stop)
        (self.root / "tools" / "common").mkdir(parents=True)
        (self.root / "tools" / "llama512").write_text(FRONT_DOOR, "utf-8")
        (self.root / ".gitignore").write_text("/build/\n", "utf-8")
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str, check: bool = True) -> str:
        """Runs git in the repository, one minute after the last time."""
        self.clock += 60
        date = f"2020-01-01T{self.clock // 3600:02}:{self.clock // 60 % 60:02}:00+0000"
        result = subprocess.run(
            ["git", "-C", str(self.root), "-c", "user.name=Test", "-c", "user.email=test@example.org",
             "-c", "maintenance.auto=false", *arguments],
            capture_output=True, encoding="utf-8",
            env={**os.environ, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date})
        if check and result.returncode:
            raise AssertionError(f"git {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return result.stdout.strip()

    def put(self, budget: int = 999, **sizes: object) -> None:
        """The engines and their bytes, in the working tree."""
        folder = self.root / "golf" / "asm"
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.asm"):
            path.unlink()
        for name, size in sizes.items():
            (folder / f"{name}.asm").write_text(f"{size}\n", "utf-8")
        rows = [{"name": name, "toolchain": "nasm", "budget": budget} for name in sizes]
        (self.root / "golf" / "engines.json").write_text(json.dumps(
            {"headline_compilers": {"nasm": "nasm 2.0"}, "engines": rows,
             "shapes": [shape.name for shape in engines.shapes()]}), "utf-8")

    def commit(self, message: str, *options: str) -> str:
        """Commits all files."""
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message, *options)
        return self.git("rev-parse", "HEAD")

    def builds(self) -> int:
        """How often sizes were measured."""
        return len(self.log.read_text("utf-8").splitlines()) if self.log.exists() else 0

    def run_main(self, module: ModuleType, *arguments: str) -> tuple[int, str, str]:
        """A tool's main(), in this process, for this repository: status, stdout, stderr."""
        with mock.patch.object(sys, "argv", [f"{module.__name__}.py", *arguments]), \
                mock.patch.object(module, "ROOT", self.root), \
                contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            status = module.main()
        return status, out.getvalue(), err.getvalue()

    def today(self) -> Today:
        """The facts of the present files, as the tools of this repository tell them."""
        rows = states.measure_folder(self.root)
        return today_of(*({row["engine"]: row["bytes"] for row in rows if row["model"] == name}
                          for name in dict.fromkeys(row["model"] for row in rows)))


def today_of(first: dict[str, int], *others: dict[str, int]) -> Today:
    """Facts of engines with these bytes, for the shape m, and for n."""
    sizes = [Size(name, model, size, 999, 999 - size, 10, size - 12, 2, 1000, 5000, "nasm 2.0", True, True)
             for model, found in zip("mn", (first, *others)) for name, size in found.items()]
    return Today({name: "dim 1" for name in "mn"[:1 + len(others)]}, sizes, dict.fromkeys(first, "what it is"),
                 dict.fromkeys(first, "t"), dict.fromkeys(first, "kind"),
                 {name: {"nasm": {"m": 999}} for name in first},
                 {name: {"header": 10, "matmul": size - 10} for name, size in first.items()}, [], f"line of {first}\n")
