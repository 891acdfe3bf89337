"""tools/build.py, common/engine/builds.py: nothing is done twice, nothing half-done is left, fallback flags are named.

    tests/run tools/build_test.py                every shape in an engine's first encoding
    tests/run tools/build_test.py everything     and in its others
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from unittest import mock

import flagsearch
from support.everything import EVERYTHING
from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main
from support.tools import TOOLS, run_tool

from common.engine import builds, configuration, engines, gcc, inputs, limits, nasm, packing, targets, toolchains
from common.engine.builds import Built
from common.errors import UserError
from common.machine import here
from common.model import random_model
from common.model.checkpoint import Config
from common.pack import packer

ENGINE = engines.table()[0]
CXX = shutil.which("g++")


class BuildTest(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.model = random_model.write(self.folder, "m", small_checkpoint())
        self.out = self.folder / "engines"
        self.program = self.out / ENGINE.name
        self.files = self.out / f"{ENGINE.name}.build"

    def build(self, **options: object) -> Built:
        return builds.build(ENGINE, self.model, self.out, **options)

    def compiler(self, before: str = "", version: str = "99.1.0") -> mock._patch_dict:
        """Another g++: this one, but for its version and for what happens first."""
        path = self.folder / "other-g++"
        path.write_text(f'#!/bin/sh\ncase "$1" in -dumpfullversion) echo {version}; exit;; esac\n{before}\n'
                        f'exec {CXX} "$@"\n', "utf-8")
        path.chmod(0o755)
        gcc.compiler_name.cache_clear()
        self.addCleanup(gcc.compiler_name.cache_clear)
        return mock.patch.dict(os.environ, LLAMA512_CXX=str(path))

    def stamp(self) -> tuple[int, int]:
        return self.program.stat().st_mtime_ns, self.program.stat().st_ino


class Build(BuildTest):
    def test_what_it_leaves(self) -> None:
        built = self.build()
        self.assertEqual((built.program, built.files), (self.program, self.files))
        self.assertTrue(os.access(self.program, os.X_OK))
        self.assertEqual(self.program.read_bytes()[:4], b"\x7fELF")
        self.assertLessEqual({"model.packed", "manifest.json", "model.hpp", "model.inc", "effective.bin", "tokenizer.bin",
                              "engine.elf", "build.json"}, {path.name for path in self.files.iterdir()})
        self.assertEqual(built.packed, (self.files / "model.packed").stat().st_size)
        self.assertEqual(built.counted, self.program.stat().st_size - built.packed)
        self.assertIn((self.files / "model.packed").read_bytes(), self.program.read_bytes())
        self.assertEqual(built.effective.checkpoint, self.files / "effective.bin")
        self.assertEqual([path for path in self.out.rglob("*.tmp")], [])

    def test_nothing_is_done_twice(self) -> None:
        first = self.build()
        stamp = self.stamp()
        with mock.patch.object(packing, "pack", side_effect=AssertionError("packed again")):
            self.assertEqual(self.build(), first)
        self.assertEqual(self.stamp(), stamp)

    def test_contents_decide(self) -> None:
        """Times do not; every input does."""
        self.build()
        stamp = self.stamp()
        os.utime(self.model.checkpoint)
        self.build()
        self.assertEqual(self.stamp(), stamp)
        for change in (lambda: random_model.write(self.folder, "m", small_checkpoint(seed=2)),
                       lambda: random_model.write(self.folder, "m", small_checkpoint(seed=2), 9),
                       lambda: self.program.unlink(),
                       lambda: self.program.write_bytes(self.program.read_bytes()[:-1]),
                       lambda: self.program.write_bytes(self.program.read_bytes()[:-1] + b"?"),
                       lambda: (self.files / "effective.bin").write_bytes(b"?"),
                       lambda: (self.files / "tokenizer.bin").unlink(),
                       lambda: (self.files / "build.json").write_text("{half", "utf-8"),
                       lambda: (self.files / "build.json").write_text("{}", "utf-8")):
            change()
            before = self.stamp() if self.program.exists() else None
            built = self.build()
            self.assertNotEqual(self.stamp(), before)
            self.assertIn((self.files / "model.packed").read_bytes(), self.program.read_bytes())
            builds.check_unchanged(built)
        for options in ({"encoding": ENGINE.encodings[-1]}, {"flags": ["-O1"]}, {"flags": ["-O2"]}):
            before = self.stamp()
            built = self.build(**options)
            self.assertNotEqual(self.stamp(), before)
            self.assertEqual(built.searched, False if "flags" in options else built.searched)

    def test_sources_decide(self) -> None:
        facts = [ENGINE.name, "f32", "g++ 12.2.0", ["-Oz"]]
        data = [self.model.checkpoint, self.model.tokenizer]
        same = builds.input_hash(ENGINE, *facts[1:], data)
        self.assertEqual(builds.input_hash(ENGINE, *facts[1:], data), same)
        self.assertNotEqual(builds.input_hash(ENGINE, "f32", "g++ 12.2.1", ["-Oz"], data), same)
        with mock.patch.object(inputs, "ROOT", self.folder):
            folder = self.folder / inputs.paths()[-1]
            folder.mkdir(parents=True)
            for name, decides in (("spans.py", True), ("README.md", False), ("spans.pyc", False)):
                other = builds.input_hash(ENGINE, *facts[1:], data)
                (folder / name).write_text("x", "utf-8")
                self.assertEqual(builds.input_hash(ENGINE, *facts[1:], data) != other, decides)

    def test_assembler_and_linker_decide(self) -> None:
        program = self.folder / "ld"
        program.write_text("#!/bin/sh\n", "utf-8")
        program.chmod(0o755)
        hashes = []
        for seconds in (1, 1, 2):
            os.utime(program, (seconds, seconds))
            hashes.append(builds.input_hash(ENGINE, "f32", "g++ 12.2.0", [], [], [str(program)]))
        self.assertEqual(hashes[0], hashes[1])
        self.assertNotEqual(hashes[0], hashes[2])
        for engine in engines.table():
            self.assertTrue(toolchains.of(engine).programs(engine), engine.name)


class Shapes(BuildTest):
    """Each C++ engine compiles and links for shapes whose weights would be too many to test with: of an engine only the
    numbers in its configuration depend on the shape, so the model may be empty."""

    #                dim hidden_dim n_layers n_heads n_kv_heads vocab_size seq_len
    SHAPES = [Config(288, 768, 6, 6, 6, 32000, 256, True), Config(512, 1376, 8, 8, 8, 32000, 1024, True),
              Config(768, 2048, 12, 12, 12, 32000, 1024, True), Config(1024, 1, 1, 1, 1, 70000, 1, True),
              Config(4096, 300, 3, 2, 1, 99, 9, True), Config(2, 70000, 1, 1, 1, 2, 100, True),
              Config(4, 3, 300, 2, 2, 300, 100, True),
              # Short jumps: all numbers between them are large.
              Config(582, 54, 1, 1, 1, 309, 257, True), Config(512, 300, 200, 8, 1, 70000, 9, True)]

    def test_builds(self) -> None:
        @functools.cache
        def plan(layout: str, encoding: str, config: Config) -> list[packer.Span]:
            return packer.plan(layout, encoding, config, [b"longest"] * config.vocab_size)
        first: set[str] = set()
        for engine in (engine for engine in here.choose(None, to_run=False) if engine.toolchain == "gcc"):
            flags, _ = toolchains.of(engine).small_flags(engine, toolchains.name(engine))
            # A readable source has no short jumps of its own: one engine tries it with all.
            every = EVERYTHING or engine.layout != "plain" or engine.source not in first
            first.add(engine.source)
            for config in self.SHAPES if every else self.SHAPES[-1:]:
                for encoding in engine.encodings if EVERYTHING or config == self.SHAPES[-1] else engine.encodings[:1]:
                    with self.subTest(engine=engine.name, config=config, encoding=encoding):
                        spans = plan(engine.layout, encoding, config)
                        configuration.write(engine, config, encoding, spans, self.folder)
                        known = configuration.constants(engine, config, encoding, spans)
                        if any(limits.value(limit.field, known) > limit.most for limit in limits.of(engine)):
                            self.assertUserError("static assertion failed", gcc.compile, engine, self.folder, flags)
                            continue
                        gcc.compile(engine, self.folder, flags)
                        (self.folder / "model.packed").write_bytes(b"")
                        gcc.link(engine, self.folder)


class Together(BuildTest):
    """Builds into one folder at the same time."""

    ROUNDS, WORKERS = 5, 4
    WORKER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from common.engine import builds, engines
from common.model import models
out, rounds, first = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
for i in range(first, first + rounds):
    name, encoding = ("m", "n")[i % 2], engines.table()[0].encodings[i // 2 % 2]
    model = models.Model(name, out.parent / f"{name}.bin", out.parent / f"{name}.tokenizer.bin")
    built = builds.build(engines.table()[0], model, out, encoding)
    print(name, encoding, built.counted, built.packed, built.sha256[built.program.name], flush=True)
"""

    def test_figures_and_what_is_left(self) -> None:
        encodings = ENGINE.encodings[:2]
        self.assertEqual(len(encodings), 2)
        other = small_checkpoint(seed=2)
        models = [self.model, random_model.write(self.folder, "n", other, 12)]
        right = {}
        for model in models:
            for encoding in encodings:
                built = builds.build(ENGINE, model, self.folder / "alone", encoding)
                right[model.name, encoding] = [str(built.counted), str(built.packed), built.sha256[ENGINE.name]]
        self.assertEqual(len({tuple(facts) for facts in right.values()}), 4)
        workers = [subprocess.Popen([sys.executable, "-B", "-c", self.WORKER, TOOLS, self.out, str(self.ROUNDS),
                                     str(i)], stdout=subprocess.PIPE, encoding="utf-8") for i in range(self.WORKERS)]
        said = [worker.communicate()[0].splitlines() for worker in workers]
        self.assertEqual([worker.returncode for worker in workers], [0] * self.WORKERS)
        for line in [line for lines in said for line in lines]:
            name, encoding, *facts = line.split()
            self.assertEqual(facts, right[name, encoding])
        self.assertEqual(sum(map(len, said)), self.ROUNDS * self.WORKERS)
        for model in [models[0], models[1], models[1], models[0]]:
            for encoding in encodings:
                built = builds.build(ENGINE, model, self.out, encoding)
                facts = [str(built.counted), str(built.packed), hashlib.sha256(self.program.read_bytes()).hexdigest()]
                self.assertEqual(facts, right[model.name, encoding])

    def test_no_bytes_are_counted(self) -> None:
        """A program smaller than its model is a mistake, and no figure."""
        with mock.patch.object(builds.images, "counted_bytes", lambda *_: 0):
            self.assertUserError("counted bytes: 0, so it does not hold the packed model", self.build)
        self.assertFalse((self.files / "build.json").exists())
        self.assertGreater(self.build().counted, 0)


class Nasm(FolderTest):
    def test_a_number_that_does_not_fit(self) -> None:
        """Without more ado NASM only warns, and takes the number's low byte."""
        engine = replace(next(engine for engine in engines.table() if engine.toolchain == "nasm"),
                         source=str(self.folder / "x.asm"))
        (self.folder / "x.asm").write_text("bits 32\nmov cl, COUNT\n", "utf-8")
        nasm.make(engine, self.folder, ["-DCOUNT=255"])
        self.assertEqual((self.folder / "engine.bin").read_bytes(), b"\xB1\xFF")
        with self.assertRaisesRegex(UserError, "x.asm:2: error: byte (data )?exceeds bounds"):
            nasm.make(engine, self.folder, ["-DCOUNT=256"])


class Failure(BuildTest):
    def fail_at(self, step: str) -> str:
        """Builds with a step that fails; the message."""
        if step == "compile":
            patch = self.compiler('case "$*" in *engine.o) echo "x87.cpp:1: error: planted" >&2; exit 1;; esac')
        else:
            patch = mock.patch.object(gcc, "link", side_effect=UserError("ld: error: planted"))
        with patch, self.assertRaises(UserError) as caught:
            self.build()
        self.assertNotIn("\n", str(caught.exception))
        return str(caught.exception)

    def test_nothing_half_written(self) -> None:
        for step in ("compile", "link"):
            self.assertIn("error: planted", self.fail_at(step))
            self.assertFalse(self.program.exists())
            self.assertFalse((self.files / "build.json").exists())
            self.assertEqual(list(self.out.rglob("*.tmp")), [])

    def test_a_failure_in_between_is_no_build(self) -> None:
        """Good for model A, failed for B, then A again: what is there must be A's, not B's."""
        original = self.model.checkpoint.read_bytes()
        self.build()
        effective = (self.files / "effective.bin").read_bytes()
        for step in ("compile", "link"):
            random_model.write(self.folder, "m", small_checkpoint(seed=2))
            self.fail_at(step)
            self.model.checkpoint.write_bytes(original)
            self.build()
            self.assertEqual((self.files / "effective.bin").read_bytes(), effective)

    def test_tool_says_it_in_one_line(self) -> None:
        with self.compiler('case "$*" in *engine.o) echo "In file x:" >&2; echo "x:1: error: planted" >&2; exit 1;; esac'):
            result = run_tool("build", "--engine", ENGINE.name, "--model", self.model.checkpoint, "-o", self.out)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr.splitlines()[-1],
                         r"^llama512 build: error: x:1: error: planted \(from: .*engine.o'?\)$")

    def test_no_compiler(self) -> None:
        with mock.patch.dict(os.environ, LLAMA512_CXX="no-such-g++"):
            self.assertUserError(r"no-such-g\+\+: not found; install g\+\+, or set LLAMA512_CXX to it$", self.build)

    def test_no_cross_compiler(self) -> None:
        """LLAMA512_CXX is not for the targets that have a compiler of their own."""
        target = targets.Target("t", self.folder, {"gcc": {"prefix": "no-such-"}})
        self.assertUserError(r"no-such-g\+\+: not found; install what golf/targets/t/packages.txt lists", gcc.name,
                             replace(ENGINE, target=target))

    def test_not_gcc(self) -> None:
        path = self.folder / "clang++"
        path.write_text("#!/bin/sh\necho clang version 16.0.6\n", "utf-8")
        path.chmod(0o755)
        with mock.patch.dict(os.environ, LLAMA512_CXX=str(path)):
            self.assertUserError(r"clang version 16.0.6: the golfed engines need g\+\+", self.build)


class Flags(BuildTest):
    """Flags are searched for each compiler version; one without gets the nearest set that it knows, and is told so."""

    def flagset(self, sets: dict[str, str]) -> mock._patch:
        """A flagset.json: flags by compiler."""
        path = self.folder / "flagset.json"
        mine = {name: {"flags": flags.split()} for name, flags in sets.items()}
        path.write_text(json.dumps({"sets": {"other": {"g++ 12.2.0": {"flags": ["-O0"]}}, ENGINE.name: mine}}), "utf-8")
        return mock.patch.object(targets.Target, "flagset", path)

    def test_which_flags(self) -> None:
        facts = ENGINE.target.facts["gcc"]
        with self.flagset({"g++ 12.2.0": "-Os -fno-inline", "g++ 12.7.0": "-O1"}):
            for compiler, flags, searched in (("12.2.0", "-Os -fno-inline", True), ("12.7.0", "-O1", True),
                                              ("12.3.0", "-Os -fno-inline", False), ("13.1.0", "-O1", False)):
                self.assertEqual(gcc.small_flags(ENGINE, f"g++ {compiler}"), (tuple(flags.split()), searched))
        with self.flagset({"g++ 12.2.0": "-Os -fno-such-thing"}):
            self.assertEqual(gcc.small_flags(ENGINE, "g++ 12.2.0"), (("-Os", "-fno-such-thing"), True))
            self.assertEqual(gcc.small_flags(ENGINE, "g++ 13.2.0"), (tuple(facts["fallback"]), False))
            # -Oz came with GCC 12.
            old, searched = gcc.small_flags(ENGINE, "g++ 11.4.0")
            self.assertEqual((old, searched), (tuple(facts["fallback_before_gcc_12"]), False))
            self.assertNotIn("-Oz", old)
        with mock.patch.object(targets.Target, "flagset", self.folder / "none.json"):
            self.assertEqual(gcc.small_flags(ENGINE, "g++ 12.2.0"), (tuple(facts["fallback"]), False))

    def test_a_cross_compiler_of_the_chosen_version(self) -> None:
        target = targets.Target("t", self.folder, {"gcc": {"prefix": "board-"}})
        for name, there, found in (("g++", "board-g++", "board-g++"), ("g++-14", "board-g++-14", "board-g++-14"),
                                   ("/opt/g++-14", "board-g++-14", "board-g++-14"), ("g++-15", "board-g++-14", "board-g++")):
            with mock.patch.dict(os.environ, LLAMA512_CXX=name), \
                    mock.patch.object(shutil, "which", lambda command: command == there):
                self.assertEqual(gcc.command(target), found)

    def test_build_uses_them(self) -> None:
        compiler = gcc.compiler_name(gcc.command(ENGINE.target))
        with self.flagset({compiler: "-Os -fno-inline"}):
            built = self.build()
            self.assertEqual((built.flags, built.searched), (("-Os", "-fno-inline"), True))
        with self.flagset({"g++ 1.0.0": "-O1"}):
            built = self.build()
            self.assertEqual((built.flags, built.searched), (("-O1",), False))
            self.assertEqual(json.loads((self.files / "build.json").read_text("utf-8"))["flags"], list(built.flags))

    def test_a_search_leaves_other_compilers_sets_alone(self) -> None:
        with self.flagset({"g++ 13.1.0": "-Os", "g++ 12.2.0": "-O1"}):
            flagsearch.write_set(ENGINE, "g++ 12.9.0", {"flags": ["-Oz"]})
            flagsearch.write_set(ENGINE, "g++ 12.2.0", {"flags": ["-O2"]})
            self.assertEqual([(name, found["flags"]) for name, found in ENGINE.target.flag_sets()[ENGINE.name].items()],
                             [("g++ 12.2.0", ["-O2"]), ("g++ 12.9.0", ["-Oz"]), ("g++ 13.1.0", ["-Os"])])
            self.assertEqual(ENGINE.target.flag_sets()["other"]["g++ 12.2.0"]["flags"], ["-O0"])

    def test_another_version_says_so(self) -> None:
        sets = ENGINE.target.flag_sets()[ENGINE.name]
        flags = sets[engines.nearest(sets, "g++ 99.1.0")]["flags"]
        with self.compiler(version="99.1.0"):
            result = run_tool("build", "--engine", ENGINE.name, "--model", self.model.checkpoint, "-o", self.out)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(f"{ENGINE.name}: no searched flags for g++ 99.1.0, built with "
                      f"{' '.join(flags)}; `llama512 flagsearch {ENGINE.name}`", result.stderr)
        self.assertTrue(self.program.is_file())


class Tool(BuildTest):
    def test_every_engine(self) -> None:
        result = run_tool("build", "--model", self.model.checkpoint, "-o", self.out)
        self.assertEqual(result.returncode, 0, result.stderr)
        for line, engine in zip(result.stdout.splitlines(), here.choose(None, to_run=False), strict=True):
            facts = json.loads((self.out / f"{engine.name}.build" / "build.json").read_text("utf-8"))
            self.assertEqual(line, f"{self.out.resolve() / engine.name}: {facts['counted']} counted bytes + "
                                   f"{facts['packed']:,} bytes of model"
                                   + (f"; {', '.join(engine.features)}" if engine.features else ""))

    def test_temperature(self) -> None:
        for arguments, feature, known in ((("--seed", "3"), "SEED=3", "TEMPERATURE"),
                                          (("--seed", "clock", "--top-p", "0"), "CLOCK", "TEMPERATURE"),
                                          (("--top-p", "0.9"), "TOP_P=0.9, SEED=0", "TOP_P")):
            able = [engine.name for engine in here.choose(None, to_run=False) if known in engine.samples]
            result = run_tool("build", "--model", self.model.checkpoint, "--temperature", "0.8", *arguments, "-o", self.out)
            self.assertEqual(result.returncode, 0, result.stderr)
            lines = result.stdout.splitlines()
            self.assertEqual([line.partition(":")[0].rpartition("/")[2] for line in lines], able)
            self.assertTrue(all(line.endswith(f"TEMPERATURE=0.8, {feature}") for line in lines), lines)
        for arguments, status, said in ((["--temperature", "0.8", "--engine", ENGINE.name], 1, "this engine is greedy"),
                                        (["--temperature", "0.01"], 1, "temperature: 0.01"),
                                        (["--temperature", "1", "--seed", "x"], 2, "argument --seed: 'x'"),
                                        (["--temperature", "1", "--top-p", "1.5"], 1, "top-p: 1.5, a number above 0"),
                                        (["--top-p", "0.9"], 2, "--top-p: it is for --temperature"),
                                        (["--seed", "1"], 2, "--seed: it is for --temperature")):
            result = run_tool("build", "--model", self.model.checkpoint, "-o", self.out, *arguments)
            self.assertEqual(result.returncode, status, result.stderr)
            self.assertIn(said, result.stderr)

    def test_usage(self) -> None:
        self.assertEqual(run_tool("build").returncode, 2)
        self.assertEqual(run_tool("build", "--engine", "none", "-o", self.out, "--model",
                                  self.model.checkpoint).returncode, 1)
        self.assertFalse(self.out.exists())


if __name__ == "__main__":
    main()
