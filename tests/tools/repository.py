"""A small git repository whose "engines" are files with a number, for tests of what walks through history.

    class Some(RepositoryTest):
        def test_growth(self) -> None:
            self.put(a=100, b=200)               # two engines and their bytes, in the working tree
            self.commit("first")                 # the commit's hash

Its tools/llama512 answers `size --json` from those files, so that no compiler is needed; a number that is none does not
build. The toolchains are made up, too.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from types import ModuleType
from unittest import mock

from support import FolderTest

from common import revisions
from common.report import Today
from common.sizes import Size

TOOLCHAINS = {"cpp": "g++ 1.0", "asm": "nasm 2.0"}

FRONT_DOOR = '''import json, os, pathlib, sys
root = pathlib.Path(__file__).resolve().parents[1]
with open(os.environ["SIZE_LOG"], "a", encoding="utf-8") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
rows = []
for engine in json.loads((root / "golf/engines.json").read_text("utf-8"))["engines"]:
    text = (root / "golf/asm" / (engine["name"] + ".asm")).read_text("utf-8").strip()
    if not text.isdigit():
        sys.exit(f"llama512 size: error: {root}/golf/asm: error: {text}, \\"quoted\\" (from: nasm {root})")
    size = int(text)
    rows.append({"engine": engine["name"], "model": "m", "bytes": size, "budget": engine["budget"], "packed": 1000,
                 "compiler": "nasm 2.0", "ok": size <= engine["budget"], "header": 10, "code": size - 12, "data": 2})
print(json.dumps(rows))
sys.exit(not all(row["ok"] for row in rows))
'''


class RepositoryTest(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.root = self.folder / "project"
        self.log = self.folder / "log"
        self.clock = 0
        variables = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "SIZE_LOG": str(self.log)}
        for patch in (mock.patch.dict(os.environ, variables),
                      mock.patch.object(revisions, "toolchains", lambda: dict(TOOLCHAINS))):
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
            ["git", "-C", str(self.root), "-c", "user.name=Test", "-c", "user.email=test@example.org", *arguments],
            capture_output=True, encoding="utf-8",
            env={**os.environ, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date})
        if check and result.returncode:
            raise AssertionError(f"git {' '.join(arguments)}: {result.stdout}{result.stderr}")
        return result.stdout.strip()

    def put(self, budget: int = 999, **engines: object) -> None:
        """The engines and their bytes, in the working tree."""
        folder = self.root / "golf" / "asm"
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*.asm"):
            path.unlink()
        for name, size in engines.items():
            (folder / f"{name}.asm").write_text(f"{size}\n", "utf-8")
        rows = [{"name": name, "family": "asm", "budget": budget, "budget_compiler": "nasm 2.0"} for name in engines]
        (self.root / "golf" / "engines.json").write_text(json.dumps({"engines": rows}), "utf-8")

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
        return today_of({row["engine"]: row["bytes"] for row in revisions.measure_folder(self.root)})


def today_of(engines: dict[str, int]) -> Today:
    """Facts of engines with these bytes."""
    sizes = [Size(name, "m", size, 999, 999 - size, 10, size - 12, 2, 1000, "nasm 2.0", True, True)
             for name, size in engines.items()]
    return Today("m: dim 1", sizes, {"header": "headers", "matmul": "matmul"},
                 {name: {"header": 10, "matmul": size - 10} for name, size in engines.items()}, [])
