"""common/side_by_side.py: results and output in order, errors, interruptions; nothing is left running."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from support.folders import FolderTest
from support.skip import main
from support.tools import TOOLS

from common.errors import UserError
from common.side_by_side import SideBySide

PROGRAM = """import os, sys, time
sys.path.insert(0, sys.argv[1])
from common.errors import run_tool
from common.side_by_side import SideBySide
def job(number):
    print("note", number, file=sys.stderr)
    for part in range(3):
        print(number, part, flush=True)
        time.sleep(0.1 * (3 - number))
    return 10 * number
def main():
    with SideBySide([lambda number=number: job(number) for number in range(4)], 3) as jobs:
        for number in range(4):
            print("title", number)
            print("result", jobs.result(number, show=True))
run_tool(main)
"""
LASTING = """import sys, time
sys.path.insert(0, sys.argv[1])
from common.errors import run_tool
from common.side_by_side import SideBySide
def job():
    print(__import__("os").getpid(), flush=True)
    time.sleep(1000)
def main():
    with SideBySide([job, job], 2) as jobs:
        jobs.result(0, show=True)
run_tool(main)
"""


def gone(process: int) -> bool:
    """Whether a process has ended; one that nobody has waited for is as good."""
    try:
        return Path(f"/proc/{process}/stat").read_text("utf-8").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


class Results(FolderTest):
    def test_in_order(self) -> None:
        with SideBySide([lambda number=number: (os.getpid(), number) for number in range(7)], 3) as jobs:
            found = [jobs.result(number) for number in range(7)]
        self.assertEqual([number for _, number in found], list(range(7)))
        self.assertEqual(len({process for process, _ in found} | {os.getpid()}), 8)  # each in a process of its own

    def test_side_by_side(self) -> None:
        """No more at once than wanted, and no fewer."""
        def job(number: int) -> list[str]:
            mine = self.folder / str(number)
            mine.touch()
            deadline = time.monotonic() + 20
            while len(list(self.folder.iterdir())) < 2 and time.monotonic() < deadline:
                time.sleep(0.01)
            seen = sorted(path.name for path in self.folder.iterdir())
            time.sleep(0.2)
            mine.unlink()
            return seen

        with SideBySide([lambda number=number: job(number) for number in range(4)], 2) as jobs:
            seen = [jobs.result(number) for number in range(3)]
        self.assertEqual([len(names) for names in seen], [2, 2, 2])

    def test_output(self) -> None:
        told = subprocess.run([sys.executable, "-c", PROGRAM, TOOLS], capture_output=True, encoding="utf-8", timeout=60)
        expected = [line for number in range(4) for line in
                    (f"title {number}", *(f"{number} {part}" for part in range(3)), f"result {10 * number}")]
        notes = [f"note {number}" for number in range(4)]
        self.assertEqual((told.stdout.splitlines(), told.stderr.splitlines(), told.returncode), (expected, notes, 0))

    def test_notes_stand_before_what_they_are_about(self) -> None:
        told = subprocess.run([sys.executable, "-u", "-c", PROGRAM, TOOLS], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              encoding="utf-8", timeout=60).stdout.splitlines()
        for number in range(4):
            begin = told.index(f"title {number}")
            self.assertEqual(told[begin + 1:begin + 3], [f"note {number}", f"{number} 0"])

    def test_much_output(self) -> None:
        """More than a pipe holds, by one that is not listened to yet."""
        with SideBySide([lambda: time.sleep(0.3), lambda: os.write(1, bytes(1 << 20))], 2) as jobs:
            jobs.result(0)
            self.assertGreater(jobs.result(1), 0)

    def test_errors(self) -> None:
        with SideBySide([lambda: 1 // 0, self.refuse, lambda: os.kill(os.getpid(), signal.SIGKILL)], 1) as jobs:
            self.assertRaises(ZeroDivisionError, jobs.result, 0)
            with self.assertRaisesRegex(UserError, "^no$"):
                jobs.result(1)
            with self.assertRaisesRegex(UserError, "was killed; .*--jobs 1"):
                jobs.result(2)

    @staticmethod
    def refuse() -> None:
        raise UserError("no")


class Ends(FolderTest):
    def test_nothing_outlives_it(self) -> None:
        for number, said in ((signal.SIGINT, "interrupted"), (signal.SIGTERM, ""), (signal.SIGKILL, "")):
            with self.subTest(number):
                process = subprocess.Popen([sys.executable, "-c", LASTING, TOOLS], stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE, encoding="utf-8")
                first = int(process.stdout.readline())
                children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8").split()
                self.assertEqual(len(children), 2)
                self.assertIn(str(first), children)
                process.send_signal(number)
                _, errors = process.communicate(timeout=60)
                self.assertIn(said, errors)
                self.assertNotIn("Traceback", errors)
                deadline = time.monotonic() + 20
                while not all(gone(int(child)) for child in children):
                    self.assertLess(time.monotonic(), deadline, "a copy goes on")
                    time.sleep(0.05)

    def test_leaving_early(self) -> None:
        start = time.monotonic()
        with SideBySide([lambda: 1, lambda: time.sleep(100)], 2) as jobs:
            self.assertEqual(jobs.result(0), 1)
        self.assertLess(time.monotonic() - start, 50)


if __name__ == "__main__":
    main()
