"""common/errors.py: one line and the right status for every failure, and files that are whole or absent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from support.folders import FolderTest
from support.skip import main
from support.tools import TOOLS

from common.errors import atomic_write


class RunTool(FolderTest):
    def start(self, body: str, **options: object) -> subprocess.Popen[str]:
        path = self.folder / "sample.py"
        path.write_text("import os, sys, time\n"
                        "from common.errors import UserError, atomic_write, run_tool\n"
                        f"def main():\n{textwrap.indent(body, '    ')}\n"
                        "run_tool(main)\n", "utf-8")
        return subprocess.Popen([sys.executable, "-B", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                encoding="utf-8", cwd=self.folder,
                                env={**os.environ, "PYTHONPATH": str(TOOLS), "PYTHONUNBUFFERED": ""}, **options)

    def outcome(self, body: str) -> tuple[int, str]:
        process = self.start(body)
        _, stderr = process.communicate(timeout=60)
        return process.returncode, stderr

    def test_statuses(self) -> None:
        self.assertEqual(self.outcome("pass"), (0, ""))
        self.assertEqual(self.outcome("return 3"), (3, ""))
        self.assertEqual(self.outcome("raise UserError('m.bin: dim: 0')"),
                         (1, "llama512 sample: error: m.bin: dim: 0\n"))
        self.assertEqual(self.outcome("raise UserError('a\\nb\\x1b[1m: é')"),
                         (1, "llama512 sample: error: a?b?[1m: é\n"))
        self.assertEqual(self.outcome("open('/none/x')"),
                         (1, "llama512 sample: error: /none/x: No such file or directory\n"))
        self.assertEqual(self.outcome("raise OSError(28, 'No space left on device')"),
                         (1, "llama512 sample: error: No space left on device\n"))
        self.assertEqual(self.outcome("raise KeyboardInterrupt"), (130, "\nllama512 sample: interrupted\n"))

    def test_bugs_keep_their_traceback(self) -> None:
        status, stderr = self.outcome("1 / 0")
        self.assertEqual(status, 1)
        self.assertIn("Traceback", stderr)

    def test_broken_pipe_is_quiet(self) -> None:
        for body in ("for _ in range(100000): print('x' * 100)", "time.sleep(0.2); print('short')"):
            process = self.start(body)
            process.stdout.close()
            self.assertEqual((process.stderr.read(), process.wait(60)), ("", 128 + signal.SIGPIPE))
            process.stderr.close()

    def test_signals_leave_no_temporary_file(self) -> None:
        for number, status in ((signal.SIGTERM, 143), (signal.SIGINT, 130)):
            process = self.start("with atomic_write('out') as file:\n"
                                 "    file.write(b'x'); file.flush(); print('ready', flush=True); time.sleep(60)")
            self.assertEqual(process.stdout.readline(), "ready\n")
            self.assertEqual(len(list(self.folder.glob(".out.*.tmp"))), 1)
            process.send_signal(number)
            process.communicate(timeout=60)
            self.assertEqual(process.returncode, status)
            self.assertEqual([path.name for path in self.folder.iterdir()], ["sample.py"])


class AtomicWrite(FolderTest):
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())

    def test_success(self) -> None:
        path = self.folder / "new" / "folder" / "out"
        with atomic_write(path) as file:
            file.write(b"data")
            self.assertFalse(path.exists())
        self.assertEqual(path.read_bytes(), b"data")
        self.assertEqual(os.listdir(path.parent), ["out"])

    def test_text(self) -> None:
        with atomic_write(self.folder / "out", "w") as file:
            file.write("é\n")
        self.assertEqual((self.folder / "out").read_bytes(), b"\xc3\xa9\n")

    def test_failure_keeps_the_old_file(self) -> None:
        path = self.folder / "out"
        path.write_bytes(b"old")
        for error in (ValueError, KeyboardInterrupt):
            with self.assertRaises(error):
                with atomic_write(path) as file:
                    file.write(b"new")
                    raise error
            self.assertEqual((self.names(), path.read_bytes()), (["out"], b"old"))

    def test_permissions_are_ordinary(self) -> None:
        with atomic_write(self.folder / "out"):
            pass
        mask = os.umask(0)
        os.umask(mask)
        self.assertEqual((self.folder / "out").stat().st_mode & 0o777, 0o666 & ~mask)

    def test_symbolic_link_is_written_through(self) -> None:
        (self.folder / "link").symlink_to("real")
        with atomic_write(self.folder / "link") as file:
            file.write(b"data")
        self.assertTrue((self.folder / "link").is_symlink())
        self.assertEqual((self.folder / "real").read_bytes(), b"data")

    def test_special_files_are_written_directly(self) -> None:
        with atomic_write("/dev/null") as file:
            file.write(b"data")
        self.assertFalse(Path("/dev/null").is_file())

    def test_folder_is_refused(self) -> None:
        with self.assertRaises(IsADirectoryError):
            with atomic_write(self.folder):
                pass


if __name__ == "__main__":
    main()
