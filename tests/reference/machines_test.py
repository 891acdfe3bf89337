#!/usr/bin/env python3
"""The fast kernels compute the same bits on every machine: the program `reference`, made by every cross compiler that is here and run
by its emulator, and by every level on processors with less than this one.

    machines_test.py [everything] build/default/reference/reference [unittest arguments]

A level's code depends on the machine, the compiler and its flags, and so do the widths of registers; the sum of every lane
must not. The logits of a few random shapes, and of stories260K's first positions, in float32 and quantized, are compared byte for
byte with those of this machine. Two machines and a debug build are tried; with `everything` all machines, other compilers, and what they
make of it with sanitizers. Each build is kept in build/machines.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path

from support import kernels
from support.everything import EVERYTHING
from support.skip import main
from support.tools import ROOT

from common.engine import targets
from common.model import models, random_model
from common.model.checkpoint import Config
from common.model.models import Model

PROGRAM = ""
BUILDS = ROOT / "build" / "machines"

# What is left over after sixteen lanes, and after whole tiles of rows: nothing, one, nearly all.
SHAPES = [Config(24, 40, 2, 6, 2, 96, 40, False), Config(34, 47, 2, 1, 1, 101, 33, True), Config(64, 160, 1, 4, 4, 64, 20, True),
          Config(96, 31, 2, 48, 16, 70, 18, False)]

# Of an emulated PC: SSE2, and the AVX2 that QEMU knows from 7.2 on; SSE4, and all that QEMU knows.
PROCESSORS = ("qemu64", "Haswell", *("Nehalem", "max") * EVERYTHING)

SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"


@dataclass(frozen=True)
class Build:
    """How to make the program, and what runs it."""

    name: str
    compiler: str
    flags: tuple[str, ...] = ()
    build_type: str = "Release"
    static: bool = False
    processor: str = ""  # of a cross compiler
    emulator: tuple[str, ...] = ()

    def missing(self) -> str:
        """What this machine lacks for it, "" when there is nothing."""
        for program in (self.compiler, *self.emulator[:1]):
            if not shutil.which(program):
                return f"{program}: not found"
        with tempfile.TemporaryDirectory(prefix="llama512-test-") as folder:
            command = [self.compiler, "-std=c++20", *self.flags, *["-static"] * self.static, "-x", "c++", "-", "-o", f"{folder}/x"]
            source = "#include <string>\nint main(int n, char** argv) { return std::string(argv[0]).size() + n == 0; }\n"
            if subprocess.run(command, input=source, capture_output=True, encoding="utf-8").returncode:
                return f"{self.compiler} {' '.join(self.flags)}: no library of C++ for it"
        return ""

    def make(self) -> list[str]:
        """The command that starts the program."""
        folder = BUILDS / self.name
        options = {"CMAKE_CXX_COMPILER": self.compiler, "CMAKE_BUILD_TYPE": self.build_type, "BUILD_TESTING": "OFF",
                   "CMAKE_CXX_FLAGS": " ".join(self.flags)}
        if self.processor:
            options |= {"CMAKE_SYSTEM_NAME": "Linux", "CMAKE_SYSTEM_PROCESSOR": self.processor}
        if self.static:
            options |= {"CMAKE_EXE_LINKER_FLAGS": "-static"}
        for command in (["cmake", "-G", "Ninja", "-S", ROOT, "-B", folder, *(f"-D{name}={value}" for name, value in options.items())],
                        ["cmake", "--build", folder, "--target", "reference"]):
            result = subprocess.run(command, capture_output=True, encoding="utf-8")
            if result.returncode:
                raise AssertionError(f"{self.name}:\n{result.stdout}\n{result.stderr}")
        return [*self.emulator, str(folder / "reference" / "reference")]


def cross_builds() -> list[Build]:
    """One for each target of golfed engines that runs programs, and has a cross compiler."""
    found = []
    for target in map(targets.find, targets.names()):
        if target.machine == "program" and "study" not in target.facts and target.gcc("prefix"):
            emulator = target.fact("emulator")
            found.append(Build(target.name, f"{target.gcc('prefix')}g++", tuple(target.gcc("machine")), static=True,
                               processor=emulator.partition("-")[2], emulator=(emulator,)))
    return found


BY_DEFAULT = ("aarch64", "arm")  # of 64 and of 32 bits

# Processors between the levels, which this one contains: the baseline is compiled with all that they have.
OLDER = ("ivybridge", "haswell") if platform.machine() == "x86_64" else ()

# On this machine: other compilers, and little or no optimization around the kernels.
NATIVE = [Build("debug", "g++", build_type="Debug")]
LONG_NATIVE = [Build("clang", "clang++"), Build("gcc-O0", "g++", ("-O0",), "None"), Build("gcc-O1", "g++", ("-O1",), "None"), Build("gcc-Og", "g++", ("-Og",), "None"),
               Build("gcc-O2-native", "g++", ("-O2", "-march=native"), "None"), Build("clang-O0", "clang++", ("-O0",), "None"),
               Build("clang-native", "clang++", ("-march=native",)), *(Build(f"gcc-{name}", "g++", (f"-march={name}",)) for name in OLDER), Build("sanitized", "g++", tuple(SANITIZERS.split()), "RelWithDebInfo"),
               Build("sanitized-clang", "clang++", tuple(SANITIZERS.split()), "Debug")]


@functools.cache
def samples() -> list[tuple[Model, list[str]]]:
    """Models, and how far to tell each."""
    folder = Path(tempfile.mkdtemp(prefix="llama512-test-"))
    unittest.addModuleCleanup(shutil.rmtree, folder)
    found = [(random_model.write(folder, f"m{seed}", random_model.weights(config, seed, 4.0)), ["-b", "3"])
             for seed, config in enumerate(SHAPES)]
    try:
        found.append((models.find_model(models.FALLBACK_MODEL), ["-p", "Once upon a time", "--steps", "40"]))
    except models.ModelNotFound as error:
        print(f"without {models.FALLBACK_MODEL}: {error}")
    return [(model, [*arguments, *rounded]) for model, arguments in found
            for rounded in ((), ("--quantize", "int8"), ("--quantize", "int4"))]


def logits(command: list[str], level: str, model: Model, arguments: list[str]) -> bytes:
    """What the program computes for a model's story."""
    with tempfile.TemporaryDirectory(prefix="llama512-test-") as folder:
        file = Path(folder) / "logits.f32"
        result = subprocess.run([*command, "-m", model.checkpoint, "--tokenizer", model.tokenizer, "--kernels", level, "-t", "2",
                                 "--quiet", "--logits", file, *arguments], capture_output=True)
        if result.returncode:
            raise AssertionError(f"{command}: {result.returncode}: {result.stderr.decode(errors='replace')}")
        return file.read_bytes()


@functools.cache
def expected(number: int) -> bytes:
    """By this machine's widest level."""
    return logits([PROGRAM], "fast", *samples()[number])


class SameBits(unittest.TestCase):
    def compare(self, command: list[str]) -> list[str]:
        """All levels of a machine, with all models. Returns the levels."""
        names = kernels.levels(command)
        for number, (model, arguments) in enumerate(samples()):
            for level in names:
                with self.subTest(model=model.name, level=level, arguments=arguments):
                    self.assertTrue(logits(command, level, model, arguments) == expected(number), "other bits")
        return names

    def compare_all(self, builds: list[Build]) -> None:
        here = {build: build.missing() for build in builds}
        for build in [build for build, lacking in here.items() if not lacking]:
            with self.subTest(build.name):
                names = self.compare(build.make())
                print(f"{build.name}: the same bits by {', '.join(names)}", flush=True)
                self.check_levels(build)
        for build, lacking in here.items():
            if lacking:
                print(f"{build.name}: not here: {lacking}")
        if all(here.values()):
            self.skipTest("none of them is here")

    def check_levels(self, build: Build) -> None:
        """No level defines a function that the linker could take for another level's: that processor might lack its instructions."""
        nm = re.sub(r"(g\+\+|clang\+\+)\Z", "nm", build.compiler) if build.processor else "nm"
        shared = {}
        for file in (BUILDS / build.name / "reference").rglob("*.o"):
            listed = subprocess.run([nm, "-C", file], capture_output=True, encoding="utf-8", check=True).stdout
            shared.setdefault(file.name == "level.cpp.o", []).extend(re.findall(r" W .*", listed))
        self.assertEqual(shared[True], [])
        self.assertTrue(shared[False], "there is no such function anywhere: this looks at nothing")

    def test_other_machines(self) -> None:
        self.compare_all([build for build in cross_builds() if EVERYTHING or build.processor in BY_DEFAULT])

    def test_other_compilers(self) -> None:
        self.compare_all(NATIVE + LONG_NATIVE * EVERYTHING)

    def test_other_processors(self) -> None:
        emulator = f"qemu-{platform.machine()}"
        if platform.machine() != "x86_64" or not shutil.which(emulator):
            self.skipTest(f"{emulator}: not found, or one processor is like another")
        for processor in PROCESSORS:
            with self.subTest(processor):
                names = self.compare([emulator, "-cpu", processor, PROGRAM])
                print(f"{processor}: the same bits by {', '.join(names)}", flush=True)

    def test_it_can_fail(self) -> None:
        """The plain kernels sum in another order, which a comparison of bits must see."""
        seen = [expected(number) for number in range(len(samples()))]
        self.assertEqual(len(set(seen)), len(seen))
        for number, (model, arguments) in enumerate(samples()):
            if "--quantize" not in arguments:
                self.assertNotEqual(logits([PROGRAM], "plain", model, arguments), seen[number])


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    main()
