"""common/size/git.py: commits and their files, and worktrees that are gone afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from unittest import mock

from repository import RepositoryTest
from support.skip import main
from support.tools import TOOLS

from common.size import git


class History(RepositoryTest):
    def test_resolve_without_a_repository(self) -> None:
        self.assertUserError("no git repository.*git clone", git.resolve, "HEAD", self.folder)

    def test_a_repository_that_git_refuses(self) -> None:
        self.assertTrue(git.in_repository(self.root))
        (self.root / ".git" / "HEAD").write_text("nonsense", "utf-8")
        self.assertUserError("git config --global --add safe.directory", git.in_repository, self.root)

    def test_a_failure_names_its_command(self) -> None:
        self.assertUserError(r"^git log: ", git.run, self.root, "-c", "log.showSignature=false", "log", "no-such-commit")

    def test_without_git(self) -> None:
        with mock.patch.dict(os.environ, PATH=str(self.folder)):
            message = self.assertUserError("git: not found; install", git.in_repository, self.root)
        self.assertNotIn("safe.directory", message)

    def test_body_without_an_empty_line(self) -> None:
        self.put(a=100)
        self.commit("subject\nSize: +1 a, x")
        self.assertEqual(git.commits(root=self.root)[0].body, "Size: +1 a, x")

    def test_names(self) -> None:
        self.put(a=100)
        first = self.commit("first")
        self.git("branch", "side")
        self.git("tag", "v1")
        self.put(a=99)
        second = self.commit("second")
        self.assertEqual(git.resolve("side", self.root), first)
        self.assertEqual([git.is_branch(name, self.root) for name in ("side", "main", "v1", "HEAD", first, "no")],
                         [True, True, False, False, False, False])
        self.assertEqual(git.merge_base("side", second, self.root), first)
        for name in ("nope", "--all", ""):
            self.assertUserError("no such commit here; give a branch", git.resolve, name, self.root)
        self.git("checkout", "-q", "--orphan", "alone")
        self.commit("alone")
        self.assertUserError("no commit in common", git.merge_base, "main", "HEAD", self.root)

    def test_file_at(self) -> None:
        self.put(a=100)
        self.commit("first")
        self.assertEqual(git.file_at("HEAD", "golf/asm/a.asm", self.root), "100\n")
        self.assertIsNone(git.file_at("HEAD", "golf/asm/b.asm", self.root))

    def test_shallow(self) -> None:
        self.put(a=100)
        first = self.commit("first")
        self.put(a=99)
        self.commit("second")
        self.assertFalse(git.is_shallow(self.root))
        shallow = self.folder / "shallow"
        self.git("clone", "-q", "--depth", "1", f"file://{self.root}", str(shallow))
        self.assertTrue(git.is_shallow(shallow))
        self.assertUserError("git fetch --unshallow", git.resolve, first, shallow)

    def test_no_repository(self) -> None:
        self.assertTrue(git.in_repository(self.root))
        self.assertFalse(git.in_repository(self.root / "tools"))  # a tarball inside of somebody's repository
        self.assertFalse(git.in_repository(self.folder))


class Worktrees(RepositoryTest):
    def test_gone_afterwards(self) -> None:
        self.put(a=100)
        first = self.commit("first")
        self.put(a=99)
        self.commit("second")
        (self.root / ".git" / "hooks" / "post-checkout").write_text("#!/bin/sh\ntouch hooked\n", "utf-8")
        (self.root / ".git" / "hooks" / "post-checkout").chmod(0o755)
        for error in (None, KeyboardInterrupt, SystemExit, ValueError):
            try:
                with git.worktree(first, self.root) as folder:
                    self.assertEqual((folder / "golf" / "asm" / "a.asm").read_text("utf-8"), "100\n")
                    self.assertFalse((folder / "hooked").exists())
                    (folder / "rubbish").write_text("x", "utf-8")
                    if error:
                        raise error
            except (KeyboardInterrupt, SystemExit, ValueError):
                pass
            self.assertFalse(folder.exists())
            self.assertEqual(len(self.git("worktree", "list").splitlines()), 1)
        self.assertEqual((self.root / "golf" / "asm" / "a.asm").read_text("utf-8"), "99\n")
        self.assertUserError("no such commit", git.worktree("nope", self.root).__enter__)

    def test_a_killed_tool(self) -> None:
        """What it leaves is gone after the next worktree: the folder, and what git knows of it."""
        self.put(a=100)
        first = self.commit("first")
        script = ("import sys; sys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\nfrom common.size import git\n"
                  "with git.worktree('HEAD', Path(sys.argv[2])):\n print(flush=True); sys.stdin.read()")
        with subprocess.Popen([sys.executable, "-B", "-c", script, TOOLS, self.root], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(self.folder)}) as process:
            process.stdout.readline()
            process.kill()
        self.assertEqual(self.git("worktree", "list").count("\n"), 1)
        with mock.patch.object(tempfile, "tempdir", str(self.folder)), git.worktree(first, self.root):
            pass
        self.assertEqual(self.git("worktree", "list").count("\n"), 0)
        self.assertEqual(list(self.folder.glob("llama512-tool-*")), [])


if __name__ == "__main__":
    main()
