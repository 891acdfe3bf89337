#!/usr/bin/env python3
"""CMake's LLAMA512_MODEL and LLAMA512_PROMPT: any text either gets through as it is, or is refused with the reason.

    tests/run badinput/cmake_test.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import unittest

from support.folders import FolderTest
from support.models import small_checkpoint
from support.tools import ROOT

from common.machine import here
from common.model import random_model
from common.model.checkpoint import Checkpoint, Config

ENGINE = next(engine.name for engine in here.choose(None, to_run=False) if engine.toolchain == "nasm")  # the quickest build
PROJECT = """cmake_minimum_required(VERSION 3.25)
project(engines_alone LANGUAGES NONE)
set(LLAMA512_MODEL "" CACHE STRING "")
set(LLAMA512_PROMPT "" CACHE STRING "")
find_package(Python3 REQUIRED COMPONENTS Interpreter)
add_executable(reference IMPORTED GLOBAL)
set_target_properties(reference PROPERTIES IMPORTED_LOCATION /bin/true)
add_subdirectory(golf)
"""


class CMake(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.source = self.folder / "source"
        self.source.mkdir()
        (self.source / "CMakeLists.txt").write_text(PROJECT, "utf-8")
        for name in ("golf", "tools"):
            (self.source / name).symlink_to(ROOT / name)
        self.build = self.folder / "build"

    def cmake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["cmake", *arguments], capture_output=True, encoding="utf-8", errors="surrogateescape",
                              timeout=120, cwd=self.folder)

    def configure(self, **options: str) -> subprocess.CompletedProcess[str]:
        shutil.rmtree(self.build, ignore_errors=True)
        return self.cmake("-G", "Ninja", "-S", str(self.source), "-B", str(self.build), f"-DPython3_EXECUTABLE={sys.executable}",
                          *(f"-D{name}={value}" for name, value in options.items()))

    def refused(self, name: str, value: str, says: str) -> None:
        result = self.configure(**{name: value})
        self.assertEqual(result.returncode, 1, result.stdout)
        self.assertIn(name, result.stderr)
        self.assertIn(" ".join(says.split()), " ".join(result.stderr.split()))
        self.assertFalse((self.build / "build.ninja").exists())

    def test_models(self) -> None:
        for name in ("NO", "x-NOTFOUND", "-it's a,b=c&(d):100%s", "${x}$HOME`id`@file@~{é☃}*", "\udcff"):
            with self.subTest(name):
                random_model.write(self.folder / name, name, small_checkpoint())
                result = self.configure(LLAMA512_MODEL=f"{name}/{name}.bin")  # from here
                self.assertEqual(result.returncode, 0, result.stderr)
                place = self.build / "engines" / (name if name.isprintable() else "_")
                result = self.cmake("--build", str(self.build), "--target", ENGINE)
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
                self.assertEqual(sorted(self.build.glob("engines/*/*")), [place / ENGINE, place / f"{ENGINE}.build"])
                result = self.cmake("--build", str(self.build), "--target", ENGINE)
                self.assertIn("no work to do", result.stdout)

    def test_models_that_are_refused(self) -> None:
        for name in ("a;b", "$<1:x>", 'a"b', "a\\b", "a[b]", "#a|b"):
            with self.subTest(name):
                model = random_model.write(self.folder / "odd", name, small_checkpoint())
                self.refused("LLAMA512_MODEL", str(model.checkpoint), "in a file's name; rename it, link to it, or use "
                                                                      "`tools/llama512 build`")
                link = self.folder / "link.bin"
                link.unlink(missing_ok=True)
                link.symlink_to(model.checkpoint)
                shutil.copy(model.tokenizer, self.folder / "link.tokenizer.bin")
                self.assertEqual(self.configure(LLAMA512_MODEL=str(link)).returncode, 0)
        model = random_model.write(self.folder / "a\nb", "m", small_checkpoint())
        (self.folder / "good").symlink_to(self.folder / "a\nb")
        self.assertEqual(self.configure(LLAMA512_MODEL="good/m.bin").returncode, 0)
        self.refused("LLAMA512_MODEL", str(model.checkpoint), "LLAMA512_MODEL")
        model = random_model.write(self.folder, "..", small_checkpoint())
        self.refused("LLAMA512_MODEL", str(model.checkpoint), "name: '..': a model's name is also the folder's")

    def test_prompts(self) -> None:
        config = Config(dim=8, hidden_dim=8, n_layers=1, n_heads=1, n_kv_heads=1, vocab_size=260, seq_len=8)
        pieces = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(256)), b" "]
        weights = random_model.weights(config, 1)
        model = random_model.write(self.folder, "m", Checkpoint(config, weights.tensors), vocabulary=pieces)
        for prompt in ("$<1:x>", "NO", "-m", "[;é'", 'a"\\ b', "a\\;", "${x}"):
            with self.subTest(prompt):
                result = self.configure(LLAMA512_MODEL=str(model.checkpoint), LLAMA512_PROMPT=prompt)
                self.assertEqual(result.returncode, 0, result.stderr)
                result = self.cmake("--build", str(self.build), "--target", "prompt-image")
                self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
                tokens = ",".join(map(str, [259, *(259 if byte == 32 else 3 + byte for byte in prompt.encode())]))
                self.assertIn(f"PROMPT={tokens}", result.stdout)
        result = self.configure(LLAMA512_MODEL=str(model.checkpoint), LLAMA512_PROMPT="a\nb")
        self.assertEqual(result.returncode, 1)
        self.assertIn("LLAMA512_PROMPT: a line break", result.stderr)


if __name__ == "__main__":
    unittest.main()
