"""common/size/states.py: keys by content, and every commit built once."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from unittest import mock

from repository import RepositoryTest
from support.folders import FolderTest
from support.skip import main
from support.tools import ROOT

from common.engine import inputs
from common.errors import MissingTool
from common.size import states


class Keys(RepositoryTest):
    def keys(self) -> tuple[str, str]:
        return states.key_of_revision("HEAD", self.root), states.key_of_worktree(self.root)

    def test_clean_tree_has_the_key_of_its_commit(self) -> None:
        self.put(a=100, b=200)
        (self.root / "golf" / "asm" / "ä b.inc").write_bytes(b"\xff\r\n")
        self.commit("first")
        of_commit, of_tree = self.keys()
        self.assertEqual(of_commit, of_tree)
        self.assertRegex(of_commit, "^[0-9a-f]{64}$")

    def test_what_decides_a_size_changes_the_key_and_nothing_else(self) -> None:
        self.put(a=100)
        self.commit("first")
        key = states.key_of_worktree(self.root)
        for name, decides in [("README.md", False), ("golf/asm/README.md", False), ("golf/README", False),
                              ("tools/common/other.py", False), ("tools/common/builds.py", True),
                              ("tools/common/picture/chart.py", False), ("tools/common/engine/builds.py", True),
                              ("tools/common/layout.py", True), ("golf/asm/new.inc", True), ("golf/cpp/x.hpp", True)]:
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x", "utf-8")
            self.assertEqual(states.key_of_worktree(self.root) != key, decides, name)
            path.unlink()
        self.assertEqual(states.key_of_worktree(self.root), key)
        (self.root / "golf" / "asm" / "a.asm").unlink()  # still in git's index
        self.assertNotEqual(states.key_of_worktree(self.root), key)

    def test_key_follows_content_not_history(self) -> None:
        self.put(a=100)
        first = self.commit("first")
        self.put(a=99)
        second = self.commit("second")
        self.put(a=100)
        third = self.commit("back")
        one, two, three = (states.key_of_revision(commit, self.root) for commit in (first, second, third))
        self.assertEqual(one, three)
        self.assertNotEqual(one, two)

    def test_ignored_files_do_not_count(self) -> None:
        self.put(a=100)
        (self.root / ".gitignore").write_text("/build/\n*.o\n", "utf-8")
        self.commit("first")
        (self.root / "golf" / "asm" / "a.o").write_text("x", "utf-8")
        self.assertEqual(*self.keys())

    def test_paths_of_today_and_earlier(self) -> None:
        for path in inputs.paths():
            self.assertTrue((ROOT / path).exists(), path)
        for path in inputs.EARLIER:
            self.assertFalse((ROOT / path).exists(), path)
        self.assertEqual(states.PATHS, (*inputs.paths(), *inputs.EARLIER))


class Touching(RepositoryTest):
    def test_commits_that_touch(self) -> None:
        self.put(a=100)
        self.commit("first")
        (self.root / "README.md").write_text("x", "utf-8")
        self.commit("notes")
        self.put(a=99)
        self.commit("second: a, b | c\n\nA body\nSize: +1 a, x")
        (self.root / "golf" / "asm" / "README.md").write_text("x", "utf-8")
        self.commit("more notes")
        found = states.commits_that_touch(root=self.root)
        self.assertEqual([commit.subject for commit in found], ["first", "second: a, b | c"])
        self.assertEqual((found[1].body, found[1].date), ("A body\nSize: +1 a, x", "2020-01-01"))
        self.assertEqual(found[0].parents, ())
        self.assertEqual(len(found[1].parents), 1)

    def test_commits_of_merged_branches(self) -> None:
        """Also those that a merge undid, and during a merge those of the other branch; but not the merge itself."""
        self.put(a=100)
        self.commit("first")
        self.git("checkout", "-q", "-b", "side")
        for size, subject in ((102, "there"), (100, "and back")):
            self.put(a=size)
            self.commit(subject)
        self.git("checkout", "-q", "main")
        self.git("merge", "-q", "--no-ff", "--no-commit", "side")
        (self.root / "README.md").write_text("x", "utf-8")
        expected = ["first", "there", "and back"]
        self.assertEqual([commit.subject for commit in states.commits_that_touch(self.root)], expected)
        self.commit("merge")
        self.assertEqual([commit.subject for commit in states.commits_that_touch(self.root)], expected)

    def test_new_files(self) -> None:
        """Sources that git does not track yet decide sizes, an editor's files do not."""
        self.put(a=100)
        self.commit("first")
        key = states.key_of_worktree(self.root)
        (self.root / "golf" / "asm" / "a.asm.swp").write_text("x", "utf-8")
        self.assertEqual(states.key_of_worktree(self.root), key)
        (self.root / "golf" / "asm" / "b.inc").write_text("x", "utf-8")
        self.assertNotEqual(states.key_of_worktree(self.root), key)


class Measuring(RepositoryTest):
    starts_tools = True

    def test_a_commit_is_built_once(self) -> None:
        self.put(a=100)
        first = self.commit("first")
        self.put(a=99)
        self.commit("second")
        for _ in range(2):
            self.assertEqual([row["bytes"] for row in states.measure(first, root=self.root)], [100])
        self.assertEqual(self.builds(), 1)
        self.assertEqual(states.measure("HEAD", root=self.root)[0]["bytes"], 99)
        states.measure("HEAD", "--engine", "a", root=self.root)  # another question, another build
        self.assertEqual(self.log.read_text("utf-8").splitlines()[1:], ["size --json", "size --json --engine a"])
        with mock.patch.object(states, "toolchains", lambda: {"cpp": "g++ 1.1", "asm": "nasm 2.0"}):
            states.measure(first, root=self.root)
        self.assertEqual(self.builds(), 4)

    def test_half_written_cache(self) -> None:
        self.put(a=100)
        self.commit("first")
        states.measure("HEAD", root=self.root)
        (path,) = (self.root / "build" / "sizes").iterdir()
        path.write_text("[{", "utf-8")
        self.assertEqual(states.measure("HEAD", root=self.root)[0]["bytes"], 100)

    def test_over_budget_is_an_answer(self) -> None:
        self.put(budget=99, a=100)
        self.commit("first")
        self.assertEqual([row["ok"] for row in states.measure("HEAD", root=self.root)], [False])

    def test_does_not_build(self) -> None:
        self.put(a="syntax")
        self.commit("first")
        with self.assertRaises(states.DoesNotBuild) as caught:
            states.measure("HEAD", root=self.root)
        self.assertEqual(str(caught.exception), 'golf/asm: error: syntax, "quoted"')
        (self.root / "tools" / "llama512").unlink()
        self.commit("no tools")
        with self.assertRaisesRegex(states.DoesNotBuild, "can't open file 'tools/llama512'"):
            states.measure("HEAD", root=self.root)

    def test_first_error(self) -> None:
        self.assertEqual(states.first_error("warning\nx.c:1: error: no\nerror: later\n"), "x.c:1: error: no")
        self.assertEqual(states.first_error("Traceback\n  line 1\nKeyError: 'x'\n"), "KeyError: 'x'")
        self.assertEqual(states.first_error(""), "")


class Toolchains(FolderTest):
    """The tools that are here, by what the table of engines calls them."""

    TOOLS = {"a": "gcc", "b": "gcc x-", "c": "nasm", "d": "gcc"}
    HERE = {"a": "g++ 1", "b": "g++ 2", "c": "nasm 3", "d": "g++ 4"}

    def found(self, *lacking: str) -> dict[str, str]:
        def name(engine: SimpleNamespace) -> str:
            if engine.name in lacking:
                raise MissingTool(f"{engine.name}: not found")
            return self.HERE[engine.name]

        table = [SimpleNamespace(name=name, tools=tools, toolchain=tools.split()[0]) for name, tools in self.TOOLS.items()]
        with mock.patch.object(states.engines, "table", lambda: table), mock.patch.object(states.engine_toolchains, "name", name):
            return states.toolchains()

    def test_the_first_engine_s_of_each(self) -> None:
        self.assertEqual(self.found(), {"gcc": "g++ 1", "gcc x-": "g++ 2", "nasm": "nasm 3"})
        self.assertEqual(self.found("a"), {"gcc": "g++ 4", "gcc x-": "g++ 2", "nasm": "nasm 3"})

    def test_one_that_is_not_at_hand(self) -> None:
        """It stops nobody who has another compiler of its toolchain."""
        self.assertEqual(self.found("b"), {"gcc": "g++ 1", "nasm": "nasm 3"})
        self.assertUserError("c: not found", self.found, "c")
        self.assertUserError("a: not found", self.found, "a", "b", "d")

    def test_in_one_line(self) -> None:
        with mock.patch.object(states, "toolchains", lambda: {"gcc": "g++ 1", "gcc x-": "g++ 1", "nasm": "nasm 3"}):
            self.assertEqual(states.toolchains_name(), "g++ 1, nasm 3")


class Interrupted(RepositoryTest):
    starts_tools = True

    def test_no_worktree_is_left(self) -> None:
        self.put(a=100)
        self.commit("first")
        with mock.patch.object(subprocess, "run", side_effect=self.stop(subprocess.run)):
            with self.assertRaises(KeyboardInterrupt):
                states.measure("HEAD", root=self.root)
        self.assertEqual(len(self.git("worktree", "list").splitlines()), 1)
        self.assertFalse((self.root / "build").exists())

    @staticmethod
    def stop(run: object) -> object:
        def instead(command: list[str], **options: object) -> object:
            if "size" in command:
                raise KeyboardInterrupt
            return run(command, **options)  # type: ignore[operator]
        return instead


if __name__ == "__main__":
    main()
