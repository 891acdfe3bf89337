#!/usr/bin/env python3
"""Places that cannot be written, or must not be: inputs, files of others, full disks, closed pipes; and interruptions.

    tests/run badinput/outputs_test.py [everything]
"""

from __future__ import annotations

import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
import unittest
from pathlib import Path

from support.everything import EVERYTHING
from support.folders import FolderTest
from support.models import small_checkpoint
from support.tools import TOOLS, run_tool, without_notes

from common.engine import builds, engines
from common.model import random_model

ENGINE = engines.names()[0]
TOOL = [sys.executable, "-B", str(TOOLS / "llama512")]


class OutputTest(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.model = random_model.write(self.folder / "model", "m", small_checkpoint())

    def contents(self) -> dict[Path, bytes]:
        """Every file of the test's folder."""
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def refused(self, *arguments: object, says: str) -> None:
        """Status 1 and one line; and nothing has changed."""
        before = self.contents()
        result = run_tool(*arguments)
        self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (1, "", 1), result.stderr)
        self.assertIn(says, result.stderr)
        self.assertEqual(self.contents(), before)

    def works(self, *arguments: object) -> None:
        result = run_tool(*arguments)
        self.assertEqual((result.returncode, without_notes(result.stderr)), (0, ""))


class Inputs(OutputTest):
    """What is read is not written over, whatever name it goes by."""

    def test_pack(self) -> None:
        folder = self.model.checkpoint.parent
        for name, data in (("effective.bin", self.model.checkpoint), ("tokenizer.bin", self.model.tokenizer),
                           ("model.packed", self.model.checkpoint)):
            for link in (shutil.copy, os.link, os.symlink):
                with self.subTest((name, link)):
                    (folder / name).unlink(missing_ok=True)
                    link(data, folder / name)
                    given = (self.model.checkpoint, folder / name) if data == self.model.tokenizer else \
                        (folder / name, self.model.tokenizer)
                    self.refused("pack", "--engine", ENGINE, "--model", given[0], "--tokenizer", given[1], "-o", folder,
                                 says=f"{folder / name}: this would overwrite ")
                    (folder / name).unlink()

    def test_packed_again(self) -> None:
        """What pack left is its own, and may be replaced; but not while it is the input."""
        out = self.folder / "out"
        pack = ("pack", "--engine", ENGINE, "-o", out)
        self.works(*pack, "--model", self.model.checkpoint)
        self.works(*pack, "--model", self.model.checkpoint)
        self.refused(*pack, "--model", out / "effective.bin", says=f"{out / 'effective.bin'}: this would overwrite ")

    def test_files_of_others(self) -> None:
        out = self.folder / "out"
        out.mkdir()
        for name in ("tokenizer.bin", "model.packed", "manifest.json"):
            for manifest in (None, "{}", "[", "[]"):
                (out / name).write_text("mine", "utf-8")
                if manifest and name != "manifest.json":
                    (out / "manifest.json").write_text(manifest, "utf-8")
                with self.subTest((name, manifest)):
                    self.refused("pack", "--engine", ENGINE, "--model", self.model.checkpoint, "-o", out,
                                 says="this file was not made by `llama512 pack`; remove it, or pack into another folder")
                for path in out.iterdir():
                    path.unlink()

    def test_build(self) -> None:
        out = self.folder / "out"
        build = ("build", "--engine", ENGINE, "-o", out)
        out.mkdir()
        shutil.copy(self.model.checkpoint, out / ENGINE)
        self.refused(*build, "--model", out / ENGINE, "--tokenizer", self.model.tokenizer, says="this would overwrite")
        self.refused(*build, "--model", self.model.checkpoint, says=f"{out / ENGINE}: a file that is no build")
        (out / ENGINE).unlink()
        self.works(*build, "--model", self.model.checkpoint)
        self.refused(*build, "--model", out / f"{ENGINE}.build" / "effective.bin", says="this would overwrite")
        self.works(*build, "--model", self.model.checkpoint)

    def test_pictures_and_tables(self) -> None:
        (self.folder / "link").symlink_to(self.model.checkpoint)
        for output in (self.model.checkpoint, self.model.tokenizer, self.folder / "link"):
            for tool in (("anatomy", "--svg", output), ("anatomy", "--html", output), ("size", "--csv", "-o", output)):
                with self.subTest(tool):
                    self.refused(*tool, "--engine", ENGINE, "--model", self.model.checkpoint,
                                 says=f"{output}: this would overwrite ")
        old = self.folder / "old.csv"
        self.works("size", "--csv", "--engine", ENGINE, "--model", self.model.checkpoint, "-o", old)
        self.refused("size", "--json", "-d", old, "-o", old, "--engine", ENGINE, "--model", self.model.checkpoint,
                     says=f"{old}: this would overwrite ")

    def test_screenshot(self) -> None:
        engine = next(engine for engine in engines.table() if engine.target.machine == "pc")
        image = builds.build(engine, self.model, self.folder / "out").program
        (self.folder / "link").symlink_to(image)
        boot = ("boot", "--engine", engine.name)
        for output in (image, self.folder / "link"):
            self.refused(*boot, "--image", image, "--screenshot", output, says=f"{output}: this would overwrite {image}")
        for output in (self.model.checkpoint, self.model.tokenizer, image):
            self.refused(*boot, "--model", self.model.checkpoint, "-o", self.folder / "out", "--screenshot", output,
                         says=f"{output}: this would overwrite {output}")

    def test_train(self) -> None:
        out = self.folder / "out"
        work = out / "work"
        work.mkdir(parents=True)
        train = ("train", "--smoke", "--restart", "-o", out, "--name", "m")
        for path in (work / "corpus.txt", work / "corpus.tokens", work / "state", work / "settings.json", out / "m.bin",
                     out / "train.json", out / "m.tokenizer.bin"):
            for option in ("--corpus", "--grammar"):
                with self.subTest((path, option)):
                    path.write_text("Mine.\n\nAll mine.\n", "utf-8")
                    self.refused(*train, option, path, says=f"{path}: this would overwrite ")
            path.unlink()
        shutil.copy(self.model.checkpoint, out / "m.bin")
        self.refused("train", "--smoke", "-o", out, "--name", "m", says=f"{out / 'm.bin'}: this file was not made by")


class Full(OutputTest):
    def test_standard_output(self) -> None:
        closed = f'exec {shlex.join(map(str, TOOL))} "$@" >&-'
        for tool in (("pack", "--check"), ("build", "--engine", ENGINE, "-o", self.folder / "out"), ("size", "--engine", ENGINE),
                     ("anatomy", "--units", "--engine", ENGINE), ("verify", "--engine", ENGINE, "-o", self.folder / "out")):
            arguments = [*map(str, tool), "--model", str(self.model.checkpoint)]
            self.check_lost([*TOOL, *arguments], "No space left on device")
            self.check_lost(["sh", "-c", closed, "sh", *arguments], "it is closed; to throw the output away, send it to")
        for arguments in (["history", "--help"], ["fetch", "--list"], ["run", "--list"], ["--help"], [],
                          ["--version"]):
            self.check_lost([*TOOL, *arguments], "No space left on device")
            self.check_lost(["sh", "-c", closed, "sh", *arguments], "it is closed")

    def check_lost(self, command: list[str], reason: str) -> None:
        with self.subTest(command), open("/dev/full", "wb") as full:
            result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, encoding="utf-8", timeout=60)
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertRegex(without_notes(result.stderr), rf"\Allama512( \w+)?: error: standard output: {reason}.*\n\Z")

    def test_disk(self) -> None:
        """A full disk is named: the file is one that was to be written. Here it is a file's size that is limited."""
        out = self.folder / "out"
        for arguments in (("pack", "-o", out), ("build", "-o", out), ("anatomy", "--html", self.folder / "page"),
                          ("size", "--csv", "-o", self.folder / "sizes.csv")):
            for limit in (0, 100, 1000):
                with self.subTest((arguments, limit)):
                    result = subprocess.run(
                        [*TOOL, *map(str, arguments), "--engine", ENGINE, "--model", self.model.checkpoint],
                        capture_output=True, encoding="utf-8", timeout=60, env={**os.environ, "TMPDIR": str(self.folder)},
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
                    self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (1, "", 1))
                    self.assertIn(str(self.folder), result.stderr)
                    self.assertEqual([path.name for path in self.folder.rglob("*.tmp")], [])
                    self.assertFalse((out / "manifest.json").exists())
        image = builds.build(engines.find("asm-boot"), self.model, self.folder / "image").program
        temporary = self.folder / "temporary"
        temporary.mkdir()
        with self.subTest("a disk of an emulated PC"):
            result = subprocess.run([*TOOL, "boot", "--engine", "asm-boot", "--image", str(image)],
                                    capture_output=True, encoding="utf-8", timeout=60,
                                    env={**os.environ, "TMPDIR": str(temporary)},
                                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)))
            self.assertRegex(result.stderr, rf"\Allama512 boot: error: {temporary}/llama512-tool-\w+/disk: File too large\n\Z")
            self.assertEqual((result.returncode, os.listdir(temporary)), (1, []))
        with self.subTest("/dev/full"):
            self.refused("anatomy", "--svg", "/dev/full", "--engine", ENGINE, "--model", self.model.checkpoint,
                         says="/dev/full: No space left on device")


class Interrupted(OutputTest):
    def test_build(self) -> None:
        """At whatever moment: status and message are right, nobody's temporary files stay, and what was built before or
        is built afterwards is whole."""
        out, temporary = self.folder / "out", self.folder / "temporary"
        temporary.mkdir()
        whole = builds.build(engines.find(ENGINE), self.model, self.folder / "whole").program.read_bytes()
        command = [*TOOL, "build", "--engine", ENGINE, "--model", str(self.model.checkpoint), "-o", str(out)]
        files = out / f"{ENGINE}.build"
        stopped = 0
        for place, moment in enumerate(("model.packed", "manifest.json", "engine.o", "model.o", "engine.elf")):
            ways = (signal.SIGTERM, 0), (signal.SIGINT, 0.2), (signal.SIGINT, 0), (signal.SIGTERM, 0.1)
            for number, pause in ways if EVERYTHING else ways[2 * (place % 2):][:2]:
                with self.subTest((moment, number, pause)):
                    shutil.rmtree(out, ignore_errors=True)
                    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8",
                                               env={**os.environ, "TMPDIR": str(temporary), "PYTHONWARNINGS": ""})  # of open pipes
                    while process.poll() is None and not (files / moment).exists():
                        time.sleep(0.001)
                    time.sleep(pause)
                    process.send_signal(number)
                    said = without_notes(process.communicate(timeout=60)[1])
                    interrupted = process.returncode > 0
                    if interrupted:
                        self.assertEqual((process.returncode, said), {
                            signal.SIGTERM: (143, ""), signal.SIGINT: (130, "\nllama512 build: interrupted\n")}[number])
                    else:  # it was done already; Python itself may end by the signal then
                        self.assertEqual(said, "")
                        self.assertIn(process.returncode, (0, -number))
                    stopped += interrupted
                    self.assertEqual(os.listdir(temporary), [])
                    self.assertEqual([path for path in out.rglob("*.tmp")], [])
                    if interrupted:
                        self.assertFalse((files / "build.json").exists())
                    if (out / ENGINE).exists():
                        self.assertEqual((out / ENGINE).read_bytes(), whole)
                    self.works(*command[3:])
                    self.assertEqual((out / ENGINE).read_bytes(), whole)
        self.assertGreater(stopped, 5 if EVERYTHING else 2)  # a quarter of them

    def test_pack(self) -> None:
        """An interrupted pack changes nothing, or, in its last moment, all."""
        out = self.folder / "out"
        command = ["pack", "--engine", ENGINE, "--model", str(self.model.checkpoint), "-o", str(out)]
        self.works(*command)
        before = self.contents()
        random_model.write(self.folder / "model", "m", small_checkpoint(seed=2))
        before |= {path: path.read_bytes() for path in (self.model.checkpoint, self.model.tokenizer)}
        process = subprocess.Popen([*TOOL, *command], stdout=subprocess.DEVNULL)
        while process.poll() is None and not list(out.glob(".*")):
            time.sleep(0.001)
        process.terminate()
        process.wait(60)
        found = self.contents()
        self.works(*command)
        self.assertIn(found, (before, self.contents()))


if __name__ == "__main__":
    unittest.main()
