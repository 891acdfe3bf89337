"""tools/bench.py: its arithmetic with known times, its models, what it reads and writes. No test depends on how fast this machine is.

    tests/run tools/bench_test.py

Most of them run a small program that keeps the contract of `reference --timings`, and says what it is told to say.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import sys
import xml.etree.ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import bench
from support.folders import FolderTest
from support.skip import main
from support.tools import ROOT, run_tool

from common import blocks
from common.bench import (contenders, figures, golfed, growth, int8, llama2c, llama_cpp, machine, pinned, reference, report, samples,
                          shapes, study)
from common.bench.contenders import Contender, Run
from common.bench.results import Other, Results, What, Who
from common.bench.samples import GROWTH, STORY, WHOLE, Sample
from common.bench.shapes import Shape
from common.errors import UserError
from common.libraries import numpy as np
from common.match import matching
from common.model import checkpoint, models, tokenizer
from common.model.checkpoint import Config
from common.picture import bench as picture

TINY = Config(dim=32, hidden_dim=64, n_layers=2, n_heads=4, n_kv_heads=2, vocab_size=300, seq_len=24)
SHAPE = Shape("tiny", "", TINY, 20, 10, (4, 8, 16))

# Times of a pass in milliseconds: plain 4, fast 2, two threads half of it, int8 1; a batch of 8 takes as long as one. A position in
# the story costs 0.01 ms more than the one before.
FAKE_REFERENCE = r'''#!@PYTHON@
import json, sys
def option(name, otherwise):
    return sys.argv[sys.argv.index(name) + 1] if name in sys.argv else otherwise
if "--help" in sys.argv:
    print("@OPTIONS@")
    sys.exit()
assert "--quiet" in sys.argv or "--tokens" in sys.argv
steps = min(int(option("--steps", "0")), 24)
open(option("-m", ""), "rb").close(), open(option("--tokenizer", ""), "rb").close()
if "--tokens" in sys.argv:
    print("1\n" * min(steps, @STORY@), end="")
    sys.exit()
kernels, quantize, threads = option("--kernels", "fast"), option("--quantize", "none"), int(option("-t", "1"))
cost = {"plain": 4.0, "fast": 2.0}[kernels] * {"none": 1.0, "int8": 0.5, "int4": 0.25}[quantize] / threads
batch, parallel = option("--batch", ""), int(option("-np", "8"))
sequences = len(open(batch, "rb").read().split()) if batch else 1
rounds = -(-sequences // parallel) if batch else 1
prompt = 3 if batch else 1
evaluated = min(steps, @STORY@) - prompt
if batch:
    for number in range(sequences):
        print(json.dumps({"index": number, "prompt": "", "text": "@TEXT@" or str(parallel), "tokens": [], "tokens_per_second": 1.0}))
else:
    print("abcdefg" * (prompt + evaluated) if quantize == "none" else "abcdefg" + "x" * 7 * (prompt + evaluated - 1))
times = {"kernels": kernels, "quantize": quantize, "threads": threads, "sequences": parallel if batch else 1, "load_ms": 3.0,
         "first_token_ms": 3.0 + cost, "prompt_tokens": prompt * sequences, "prompt_ms": cost * prompt * rounds,
         "eval_tokens": evaluated * sequences, "eval_ms": (cost * evaluated + 0.01 * evaluated * evaluated * bool("@GROWS@")) * rounds,
         "weight_bytes": 1000000, "passes": evaluated * rounds, "read_bandwidth": 1e9}
times.update(@CHANGES@)
if "--timings" in sys.argv and times:
    json.dump(times, open(option("--timings", ""), "w", encoding="utf-8"))
'''

# Tells 1000 tokens per second of the story, and takes 0.02 s of the processor more for each 8 positions.
FAKE_LLAMA2C = r'''#!@PYTHON@
import sys, time
steps = int(sys.argv[sys.argv.index("-n") + 1])
assert sys.argv[2:4] == ["-t", "0"] and "-z" in sys.argv
print("abcdefg" * min(steps, @STORY@))
if steps > 1:
    print("achieved tok/s: @RATE@", file=sys.stderr)
'''


def script(path: Path, text: str, **facts: object) -> Path:
    for name, value in ({"PYTHON": sys.executable, "STORY": 24, "GROWS": "", "TEXT": "t", "CHANGES": "{}", "RATE": "1000.000000",
                         "OPTIONS": "--timings --threads --kernels --quantize --draft --batch"} | facts).items():
        text = text.replace(f"@{name}@", str(value))
    path.write_text(text, "utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def sample(contender: str, seconds: float | None, turn: int = 0, shape: str = "15M", kind: str = STORY, steps: int = 101,
           **others: Any) -> Sample:
    fields: dict[str, Any] = {"wall": 1.0, "processor": 1.0, "positions": steps, "tokens": steps - 1, "seconds": seconds}
    return Sample(shape, contender, kind, steps, turn, **(fields | others))


def made(runs: list[Sample], **others: Any) -> Results:
    """Results with these runs."""
    names = dict.fromkeys(run.contender for run in runs)
    groups = {"plain": "plain", "fast": "fast", "fast-t2": "fast", "llama2c": "llama2.c", "llama2c-int8": "llama2.c", "int8": "quantized"}
    facts = {"date": "2026-01-02", "processor": "a <processor>", "cores": 2, "caches": "L1d 1K", "compiler": "g", "kernel": "k"}
    return Results(facts, 3, False, 1, [What(name, False, 1_000_000, 4_000_000) for name in dict.fromkeys(run.shape for run in runs)],
                   [Who(name, name.upper(), groups.get(name, "golfed"), "int8" if "int8" in name else "f32", 1 + ("t2" in name))
                    for name in names], runs, **others)


class Models(FolderTest):
    def test_standard_shapes(self) -> None:
        """As llama2.c's README has them."""
        self.assertEqual({shape.name: round(shapes.parameters(shape.config) / 1e6, 1) for shape in shapes.SHAPES if shape.config},
                         {"260K": 0.3, "15M": 15.2, "42M": 41.7, "110M": 109.5})
        for shape in shapes.SHAPES:
            self.assertLessEqual(max(shape.steps, shape.quick, *shape.lengths, 0), shape.config.seq_len if shape.config else 256)
            self.assertEqual(shapes.named(f"stories{shape.name}"), shape)
        self.assertUserError("--shape: 7B: one of fables, 260K", shapes.named, "7B")

    def test_a_random_story_does_not_end(self) -> None:
        """Neither BOS nor a token without PIECE letters is ever chosen."""
        for vocab_size in (40, 300, 1100):
            model = shapes.model(replace(SHAPE, name=f"v{vocab_size}", config=replace(TINY, vocab_size=vocab_size)), self.folder)
            found = matching.expect(models.Model("m", model.checkpoint, model.tokenizer))
            self.assertEqual(len(found.tokens), TINY.seq_len)
            self.assertGreaterEqual(min(found.tokens), shapes.spelled(vocab_size))
            self.assertEqual(len(found.text), TINY.seq_len * shapes.PIECE)
            self.assertFalse(model.trained)

    def test_vocabularies(self) -> None:
        for vocab_size in (40, 300, 512, 32000):
            pieces = shapes.pieces(vocab_size)
            self.assertEqual((len(pieces), len(set(pieces))), (vocab_size, vocab_size))
            self.assertEqual({len(piece) for piece in pieces[shapes.spelled(vocab_size):]}, {shapes.PIECE})
        self.assertEqual(shapes.pieces(32000)[3 + 10], b"<0x0A>")
        for letter in shapes.LETTERS:  # what a prompt of a batch is made of
            self.assertIn(letter.encode(), shapes.pieces(32000)[:shapes.spelled(32000)])

    def test_made_once(self) -> None:
        model = shapes.model(SHAPE, self.folder)
        data, before = model.checkpoint.read_bytes(), model.checkpoint.stat().st_mtime_ns
        self.assertEqual(shapes.model(SHAPE, self.folder), model)
        self.assertEqual(model.checkpoint.stat().st_mtime_ns, before)
        model.checkpoint.write_bytes(data[:-1])  # damaged
        shapes.model(SHAPE, self.folder)
        self.assertEqual(model.checkpoint.read_bytes(), data)
        with mock.patch.object(shapes, "SEED", 2):  # another recipe
            shapes.model(SHAPE, self.folder)
        self.assertNotEqual(model.checkpoint.read_bytes(), data)
        shapes.model(replace(SHAPE, config=replace(TINY, n_layers=1)), self.folder)
        self.assertEqual(checkpoint.read_config(model.checkpoint).n_layers, 1)
        model.checkpoint.with_suffix(".json").write_text("{", "utf-8")
        self.assertEqual(shapes.model(SHAPE, self.folder), model)
        self.assertEqual(model.checkpoint.read_bytes(), data)
        self.assertEqual(len(tokenizer.load(model.tokenizer, TINY.vocab_size).pieces), TINY.vocab_size)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["tiny.bin", "tiny.json", "tiny.tokenizer.bin"])

    def test_a_trained_model_is_taken(self) -> None:
        trained = shapes.model(shapes.named("fables"), self.folder)
        self.assertTrue(trained.trained)
        self.assertEqual(trained.checkpoint, models.find_model("fables").checkpoint)
        random = shapes.model(replace(SHAPE, model="nowhere-to-be-found"), self.folder)
        self.assertFalse(random.trained)
        self.assertUserError("nowhere-to-be-found", shapes.model, replace(SHAPE, model="nowhere-to-be-found", config=None), self.folder)

    def test_int8(self) -> None:
        """The reader of version 2 gives the weights back, but for half a step."""
        model = shapes.model(SHAPE, self.folder)
        path = model.quantized(self.folder)
        original, rounded = checkpoint.load(model.checkpoint), checkpoint.load(path)
        self.assertEqual(rounded.config, original.config)
        for name, values in original.tensors.items():
            if name.startswith("rms"):
                self.assertTrue(np.array_equal(values, rounded.tensors[name]))
                continue
            steps = np.abs(values.reshape(-1, 32)).max(1) / 127
            errors = np.abs(values - rounded.tensors[name]).reshape(-1, 32).max(1)
            self.assertTrue((errors <= steps * 0.5001).all() and errors.any(), name)
        before = path.stat().st_mtime_ns
        self.assertEqual(model.quantized(self.folder).stat().st_mtime_ns, before)
        with mock.patch.object(shapes, "SEED", 2):
            shapes.model(SHAPE, self.folder).quantized(self.folder)
        self.assertNotEqual(path.stat().st_mtime_ns, before)
        values, scales = int8.quantize(np.array([[0, 0], [-2, 1]], np.float32), 2)
        self.assertEqual((values.tolist(), scales.tolist()), ([[0, 0], [-127, 64]], [0, np.float32(2) / np.float32(127)]))

    def test_groups(self) -> None:
        found = {shape.name: int8.group_size(shape.config) for shape in shapes.SHAPES if shape.config}
        self.assertEqual(found, {"260K": 4, "15M": 32, "42M": 32, "110M": 64})

    def test_weight_bytes(self) -> None:
        model = shapes.model(SHAPE, self.folder)
        gains = 4 * TINY.dim * (2 * TINY.n_layers + 1)
        size = model.checkpoint.stat().st_size - 28 - gains - 2 * 4 * TINY.seq_len * TINY.head_size // 2  # header, freq_cis
        self.assertEqual(shapes.weight_bytes(TINY, "f32"), size)
        self.assertEqual(shapes.weight_bytes(replace(TINY, tied=False), "f32"), size)  # a row of the embedding is nothing
        self.assertEqual(shapes.weight_bytes(TINY, "int8", 32), model.quantized(self.folder).stat().st_size - 256 - gains)


class Pinned(FolderTest):
    def run_python(self, text: str, core: int | None = None) -> pinned.Process:
        return pinned.run([sys.executable, "-S", "-c", text], core)

    def test_a_run(self) -> None:
        found = self.run_python("import sys, time; print('out'); print('err', file=sys.stderr)\nwhile time.process_time() < 0.05: pass\n"
                                "time.sleep(0.1)")
        self.assertEqual((found.output, found.errors), (b"out\n", "err\n"))
        self.assertGreaterEqual(found.processor, 0.05)
        self.assertGreaterEqual(found.wall, 0.1)

    def test_a_core(self) -> None:
        core = pinned.one_core()
        if core is None:
            self.skipTest("this kernel has no sched_setaffinity")
        before = os.sched_getaffinity(0)
        self.assertEqual(self.run_python("import os; print(os.sched_getaffinity(0))", core).output, f"{{{core}}}\n".encode())
        self.assertEqual(self.run_python("import os; print(len(os.sched_getaffinity(0)))").output, f"{len(before)}\n".encode())
        self.assertUserError("nothing: cannot run", pinned.run, [str(self.folder / "nothing")], core)
        self.assertEqual(os.sched_getaffinity(0), before)
        with mock.patch.object(pinned, "CAN_PIN", False):
            self.assertIsNone(pinned.one_core())

    def test_failures(self) -> None:
        self.assertUserError("ended with status 3: bad .*print", self.run_python, "import sys; print('bad', file=sys.stderr); sys.exit(3)")
        self.assertUserError("ended with status -6: it says nothing", self.run_python, "import os; os.abort()")


class Arithmetic(FolderTest):
    def test_rates(self) -> None:
        one = sample("a", 0.5, processor=2.0, weight_bytes=1000, passes=100, bandwidth=400_000.0, first_token=0.25)
        self.assertEqual([measure(one) for measure in (samples.rate, samples.whole_rate, samples.first_rate, samples.read_rate)],
                         [200, 50.5, 4, 200_000])
        unknown = Sample("s", "a", WHOLE, 5, 0, 1.0, 0.0, 5)
        self.assertEqual([measure(unknown) for measure in (samples.rate, samples.whole_rate, samples.first_rate, samples.read_rate)],
                         [None] * 4)

    def test_spread(self) -> None:
        self.assertEqual(samples.spread([4, None, 1, 2, 9]), samples.Spread(3, 1, 9, 4))
        self.assertIsNone(samples.spread([None]))

    def test_share_of_the_bandwidth(self) -> None:
        """Of the most that was measured, with the same weights and threads: by whoever measured it."""
        facts = {"weight_bytes": 1000, "passes": 100}
        found = made([sample("fast", 1.0, 0, bandwidth=125_000.0, **facts), sample("fast", 2.0, 1, bandwidth=200_000.0, **facts),
                      sample("fast-t2", 0.5, bandwidth=800_000.0, **facts), sample("int8", 0.5, bandwidth=900_000.0, **facts),
                      sample("llama2c", 2.0, **facts), sample("llama2c-int8", 1.0, **facts),
                      sample("fast", 1.0, 0, "42M", bandwidth=9e9, **facts)])
        shares = {who.name: found.share("15M", who) for who in found.contenders}
        self.assertEqual(shares["fast"], samples.Spread(0.375, 0.25, 0.5, 2))
        self.assertEqual([share and share.middle for share in shares.values()], [0.375, 0.25, 2 / 9, 0.25, 1 / 9])
        found.samples = [run for run in found.samples if run.bandwidth is None]
        self.assertIsNone(found.share("15M", found.contenders[0]))

    def test_ratios_are_of_the_same_round(self) -> None:
        """A machine that is twice as slow in one round changes no ratio."""
        ours = [sample("a", seconds, turn) for turn, seconds in enumerate((1.0, 2.0, 1.0, 1.0))]
        theirs = [sample("b", seconds, turn) for turn, seconds in enumerate((2.0, 4.0, 2.0))]  # interrupted: one is missing
        self.assertEqual(samples.ratio(ours, theirs, samples.rate), samples.Spread(2, 2, 2, 3))
        self.assertIsNone(samples.ratio(ours, [], samples.rate))

    def test_figures(self) -> None:
        def verdict(figure: figures.Figure, ratio: float) -> figures.Found:
            runs = [sample(figure.who, 1.0, turn, figure.shape, figure.kind, processor=1.0, first_token=1.0, weight_bytes=100, passes=1,
                           bandwidth=100 / ratio) for turn in range(3)]
            if figure.other:
                runs += [sample(figure.other, ratio, turn, figure.shape, figure.kind, processor=ratio, first_token=ratio)
                         for turn in range(3)]
            return next(one for one in figures.found(made(runs)) if one.figure == figure)

        for figure in figures.FIGURES:
            self.assertLess(1e-9, figure.aim)
            self.assertLessEqual(figure.least, figure.aim)
            shapes.named(figure.shape)
            for ratio, word in ((figure.least * 0.99, "MISSED"), (figure.least * 1.0001, "reached"), (figure.aim * 1.0001, "aim reached")):
                if figure.least == figure.aim and word == "reached":
                    continue
                found = verdict(figure, ratio)
                assert found.value
                self.assertAlmostEqual(found.value.middle, ratio)
                self.assertEqual(found.verdict, word)
        self.assertEqual({one.verdict for one in figures.found(made([sample("x", 1.0)]))}, {"not measured"})
        names = {each.name for each in [*reference.contenders(Path("r"), 2), *llama2c.contenders(self.programs(), self.folder)]}
        self.assertLessEqual({name for figure in figures.FIGURES for name in (figure.who, figure.other)} - {""}, names)

    def programs(self) -> Path:
        for name in ("run", "runq"):
            script(self.folder / name, FAKE_LLAMA2C)
        return self.folder

    def test_growth(self) -> None:
        """1 ms a token up to position 65, then 2 ms."""
        def took(steps: int, slow: float) -> float:
            return slow * (min(steps - 1, 64) * 0.001 + max(steps - 65, 0) * 0.002)

        runs = [sample("fast", took(steps, 1 + turn), turn, "42M", GROWTH, steps) for turn in range(3) for steps in (129, 65, 257)]
        found = growth.by_position(made(runs))
        self.assertEqual(list(found), [("42M", "FAST")])
        for (begin, end, cost), wanted in zip(found["42M", "FAST"], ((1, 65, 2.0), (65, 129, 4.0), (129, 257, 4.0)), strict=True):
            self.assertEqual((begin, end), wanted[:2])
            self.assertAlmostEqual(cost, wanted[2])  # of the middle round, which is twice as slow
        self.assertEqual(growth.by_position(made([sample("fast", 1.0)])), {})
        (row,) = growth.by_parameters(made([sample("fast", 0.5), sample("int8", 0.1), sample("fast-t2", 0.1)]))
        self.assertEqual((row[0].name, row[1], row[2]), ("15M", "FAST", 5.0))

    def test_waiting(self) -> None:
        who = [Contender("a", "", "", ""), Contender("t", "", "", "", 2)]
        calm = [sample("a", 1.0, turn, wall=1.05) for turn in range(18)] + [sample("t", 1.0, wall=9.0)]
        self.assertEqual(study.waiting(calm, who), [])
        self.assertIn("3 of 21 runs", study.waiting([*calm, *[sample("a", 1.0, wall=1.2)] * 3], who)[0])
        self.assertEqual(study.waiting([], who), [])


class LlamaCpp(FolderTest):
    ROW = {"build_commit": "abc", "model_filename": "m.gguf", "model_type": "llama 15M F32", "n_threads": 2, "n_prompt": 0, "n_gen": 128,
           "avg_ts": 71.25, "stddev_ts": 0.5}
    PROMPT = ROW | {"n_prompt": 512, "n_gen": 0}

    def read(self, text: str) -> list[Other]:
        path = self.folder / "b"
        path.write_text(text, "utf-8")
        return llama_cpp.read(path)

    def test_forms(self) -> None:
        wanted = [Other("llama.cpp abc", "llama 15M F32", "F32", 2, 71.25, 0.5, "b")]
        self.assertEqual(self.read(json.dumps([self.PROMPT, self.ROW])), wanted)
        self.assertEqual(self.read(f"{json.dumps(self.PROMPT)}\n{json.dumps(self.ROW)}\n"), wanted)
        table = [",".join(self.ROW), *(",".join(f'"{value}"' for value in row.values()) for row in (self.PROMPT, self.ROW))]
        self.assertEqual(self.read("\n".join(table)), wanted)
        text = ("| model | size | params | backend | threads | test | t/s |\n| --- | ---: | ---: | --- | ---: | ---: | ---: |\n"
                "| llama 15M F32 | 1 MiB | 15 M | CPU | 2 | pp512 | 900.00 ± 1.00 |\n"
                "| llama 15M F32 | 1 MiB | 15 M | CPU | 2 | tg128 | 71.25 ± 0.50 |\n"
                "\nbuild: abc (1)\n")
        self.assertEqual(self.read(text), [replace(wanted[0], label="llama.cpp")])

    def test_errors(self) -> None:
        for text, message in (("", "avg_ts: not in every row"), ("[{]", "give a file that `llama-bench"), ("{}\n", "avg_ts"),
                              ("[1]", "avg_ts"), (json.dumps([self.PROMPT]), "n_gen: no row generates"),
                              (json.dumps([self.ROW | {"avg_ts": "x"}]), "llama 15M F32: could not convert"),
                              (json.dumps([self.ROW | {"avg_ts": -1}]), "avg_ts: -1, a number above 0")):
            self.assertUserError(message, self.read, text)
        self.assertUserError("cannot read the output of llama-bench", llama_cpp.read, self.folder / "none")


class Llama2cPrograms(FolderTest):
    def contender(self, **facts: object) -> llama2c.Llama2c:
        for name in ("run", "runq"):
            script(self.folder / name, FAKE_LLAMA2C, **facts)
        return llama2c.contenders(self.folder, self.folder / "build")[0]

    def test_a_long_story_is_timed_by_itself(self) -> None:
        model = shapes.model(SHAPE, self.folder)
        found = self.contender(RATE="20.000000").run(model, STORY, 11)
        self.assertEqual((found.fields["tokens"], found.fields["seconds"], found.fields["positions"]), (10, 0.5, 11))
        self.assertEqual((found.fields["passes"], found.fields["weight_bytes"]), (10, shapes.weight_bytes(TINY, "f32")))
        self.assertEqual(found.text, b"abcdefg" * 11)

    def test_a_short_one_by_the_difference(self) -> None:
        model = shapes.model(SHAPE, self.folder)
        def process(_: object, model: object, steps: int) -> pinned.Process:
            return pinned.Process(9.0, 0.010 + 0.001 * steps, b"abcdefg" * steps, "achieved tok/s: 1000.0\n")
        with mock.patch.object(llama2c.Llama2c, "process", process):
            found = self.contender().run(model, STORY, 11)
            self.assertAlmostEqual(found.fields["seconds"], 0.010)
            whole = self.contender().run(model, WHOLE, 11)
        self.assertEqual(whole.fields, {"wall": 9.0, "processor": 0.010 + 0.001 * 11, "positions": 11})

    def test_a_story_that_ends(self) -> None:
        model = shapes.model(SHAPE, self.folder)
        self.assertUserError("tiny.bin: llama2.c run: the story ended after 5 of 11 positions", self.contender(STORY=5).run, model,
                             STORY, 11)

    def test_runq(self) -> None:
        self.contender()
        runq = llama2c.contenders(self.folder, self.folder)[1]
        model = shapes.model(SHAPE, self.folder)
        self.assertEqual((runq.kinds(model), runq.why_not(model)), ((STORY,), ""))
        self.assertEqual(runq.run(model, STORY, 5).fields["weight_bytes"], shapes.weight_bytes(TINY, "int8", 32))
        uneven = shapes.model(replace(SHAPE, name="u", config=replace(TINY, hidden_dim=40)), self.folder)
        self.assertEqual(runq.kinds(uneven), ())
        self.assertIn("dim 32 and hidden_dim 40 have no common groups of 32", runq.why_not(uneven))
        self.assertEqual(runq.kinds(shapes.model(shapes.named("fables"), self.folder)), ())

    def test_sources_are_built_once(self) -> None:
        for name in ("run", "runq"):
            (self.folder / f"{name}.c").write_text(
                '#include <stdio.h>\n#include <stdlib.h>\nint main(int c, char** v) { for (int i = atoi(v[5]); i--;) printf("abcdefg");'
                ' fprintf(stderr, "achieved tok/s: 8.000000\\n"); return 0; }\n', "utf-8")
        contender = llama2c.contenders(self.folder, self.folder / "b")[0]
        self.assertEqual(contender.label, "llama2.c run")
        self.assertRegex(contender.facts()["llama2.c"], r"^gcc .* -Ofast -march=native$")
        self.assertEqual(contender.run(shapes.model(SHAPE, self.folder), STORY, 9).fields["seconds"], 1.0)
        before = contender.program.stat().st_mtime_ns
        self.assertEqual(llama2c.contenders(self.folder, self.folder / "b")[0].program.stat().st_mtime_ns, before)
        (self.folder / "run.c").write_text("int main() { nonsense }\n", "utf-8")
        self.assertUserError(r"run.c: .*gcc -Ofast -march=native: .*error", llama2c.contenders, self.folder, self.folder / "b")
        self.assertUserError("--llama2c: .*: neither run.c nor a program run is there", llama2c.contenders, self.folder / "b", self.folder)


class ReferencePrograms(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        self.model = shapes.model(SHAPE, self.folder)

    def fields(self, name: str, kind: str = STORY, steps: int = 11, **facts: object) -> dict[str, Any]:
        return self.run_one(name, kind, steps, **facts).fields

    def run_one(self, name: str, kind: str = STORY, steps: int = 11, **facts: object) -> Run:
        program = script(self.folder / "reference", FAKE_REFERENCE, **facts)
        contender = next(each for each in reference.contenders(program, 2) if each.name == name)
        reference.check(program, [contender])
        return contender.run(self.model, kind, steps)

    def test_contenders(self) -> None:
        def names(cores: int) -> list[str]:
            return [each.name for each in reference.contenders(Path("r"), cores)]
        self.assertEqual(names(1), ["plain", "fast", "draft", "int8", "int4", "batch-1", "batch-8"])
        self.assertEqual(names(2)[5:9], ["fast-t2", "draft-t2", "int8-t2", "int4-t2"])
        self.assertEqual(names(6)[9:13], ["fast-t6", "draft-t6", "int8-t6", "int4-t6"])

    def test_a_story(self) -> None:
        for name, cost in (("plain", 4.0), ("fast", 2.0), ("int8", 1.0), ("int4", 0.5), ("fast-t2", 1.0)):
            found = self.fields(name)
            self.assertEqual((found["positions"], found["tokens"], found["weight_bytes"], found["passes"], found["bandwidth"]),
                             (11, 10, 1_000_000, 10, 1e9))
            self.assertAlmostEqual(found["seconds"], cost * 10 / 1000)
            self.assertAlmostEqual(found["first_token"], (3 + cost) / 1000)

    def test_a_whole_process_measures_no_memory(self) -> None:
        """--timings would read all weights again and again, behind the story."""
        with mock.patch.object(pinned, "run", wraps=pinned.run) as run:
            found = self.run_one("fast", WHOLE)
        self.assertEqual((set(found.fields), found.fields["positions"]), ({"wall", "processor", "positions"}, 11))
        self.assertEqual(found.text, b"abcdefg" * 11)
        self.assertNotIn("--timings", run.call_args[0][0])

    def test_batches(self) -> None:
        """All positions count, and the time of the prompts."""
        one, eight = self.fields("batch-1"), self.fields("batch-8")
        self.assertEqual([(found["positions"], found["tokens"], found["weight_bytes"]) for found in (one, eight)], [(88, 88, None)] * 2)
        self.assertAlmostEqual(one["seconds"], 0.176)
        self.assertAlmostEqual(eight["seconds"], 0.022)
        self.assertEqual(self.run_one("batch-8").text, b"\n".join([b"t"] * 8))
        self.assertEqual(reference.batch_text(b'{"index": 1, "text": "b"}\n{"index": 0, "text": "a"}\n', Path("r")), b"a\nb")
        for output in (b"x", b"[]", b'{"index": 0}'):
            self.assertUserError("r: --batch: .*: lines of JSON with index and text", reference.batch_text, output, Path("r"))

    def test_a_story_that_ends(self) -> None:
        self.assertUserError("tiny.bin: reference, fast: the story ended after 5 of 11 positions", lambda: self.fields("fast", STORY=5))
        self.assertEqual(reference.story_length(script(self.folder / "r", FAKE_REFERENCE, STORY=5), self.model, 11), 5)
        self.assertEqual(reference.story_length(script(self.folder / "r", FAKE_REFERENCE), self.model, 100), 24)

    def test_bad_timings(self) -> None:
        self.assertUserError("--timings: eval_ms: None, a number from 0", lambda: self.fields("fast", CHANGES="eval_ms=None"))
        self.assertUserError("--timings: passes: -1, a number", lambda: self.fields("fast", CHANGES="passes=-1"))
        self.assertUserError("--timings: load_ms: nan, a number", lambda: self.fields("fast", CHANGES="load_ms=float('nan')"))
        self.assertUserError("--timings: no JSON object", reference.read_timings, self.folder / "none", Path("r"))

    def test_an_old_program(self) -> None:
        """What the contenders need counts, and no more."""
        old = "--timings --kernels --threads"
        self.fields("plain", OPTIONS=old)
        self.assertUserError("reference: --quantize: the program does not know this option; build it anew",
                             lambda: self.fields("int8", OPTIONS=old))
        self.assertUserError("reference: --timings, --batch: the program does not know these options", lambda: self.fields(
            "batch-8", OPTIONS="--threads"))


class Study(FolderTest):
    def setUp(self) -> None:
        """Whether this machine is busy is of no interest."""
        super().setUp()
        patch = mock.patch.object(study, "waiting", lambda *_: [])
        patch.start()
        self.addCleanup(patch.stop)

    def plan(self, names: list[str], **others: Any) -> study.Plan:
        program = script(self.folder / "reference", FAKE_REFERENCE, GROWS="1")
        return study.Plan(program, study.select(reference.contenders(program, 2), names), [SHAPE], self.folder, **({"rounds": 2} | others))

    def test_everyone_in_turn(self) -> None:
        found = study.measure(self.plan(["plain", "fast"]))
        stories = [(run.contender, run.round) for run in found.samples if run.kind == STORY]
        self.assertEqual(stories, [("plain", 0), ("fast", 0), ("plain", 1), ("fast", 1)])
        grown = [(run.contender, run.round, run.steps) for run in found.samples if run.kind == GROWTH]
        self.assertEqual(grown, [("fast", turn, steps) for turn in (0, 1) for steps in (4, 8, 16)])
        self.assertEqual({run.steps for run in found.samples if run.kind == STORY}, {20})
        ratio = samples.ratio(found.of("tiny", "fast", STORY), found.of("tiny", "plain", STORY), samples.rate)
        assert ratio
        self.assertAlmostEqual(ratio.middle, (4 * 19 + 3.61) / (2 * 19 + 3.61))
        costs = [cost for _, _, cost in growth.by_position(found)["tiny", "reference, fast"]]
        for cost, wanted in zip(costs, (2.03, 2.1, 2.22), strict=True):  # (n² - m²) / 100 / (n - m) more than 2
            self.assertAlmostEqual(cost, wanted)
        self.assertEqual(found.notes, [])

    def test_quick_and_steps(self) -> None:
        self.assertEqual({(run.kind, run.steps) for run in study.measure(self.plan(["fast"], quick=True)).samples}, {(STORY, 10)})
        self.assertEqual({(run.kind, run.steps) for run in study.measure(self.plan(["fast"], steps=7)).samples}, {(STORY, 7)})
        self.assertEqual({(run.kind, run.steps) for run in study.measure(self.plan(["fast"], steps=99)).samples}, {(STORY, 24)})

    def test_another_text_is_noted(self) -> None:
        (note,) = study.measure(self.plan(["fast", "int8"], rounds=1)).notes
        self.assertEqual(note, "another text than that of the weights as they are: int8 with tiny from byte 7 (7 bytes a token) on")

    def test_kernels_that_differ_are_an_error(self) -> None:
        model = shapes.model(SHAPE, self.folder)
        plain, fast = (Contender(name, name, "", "f32") for name in ("plain", "fast"))
        jobs = {study.Job(model, plain, STORY, 9): b"abcdefg" * 3, study.Job(model, fast, STORY, 9): b"abcdefg" * 2 + b"abcdeff",
                study.Job(model, fast, STORY, 5): b"x"}
        self.assertEqual(study.differences(jobs), ["tiny: fast: another text than the kernels before, from byte 20 (7 bytes a token) on: an error"])

    def test_batches_are_compared_with_each_other(self) -> None:
        with mock.patch.object(reference, "BATCH_SHAPE", SHAPE.name):
            self.assertEqual(study.measure(self.plan(["fast", "batch*"], rounds=1)).notes, [])
            plan = self.plan(["fast", "batch*"], rounds=1)
            script(self.folder / "reference", FAKE_REFERENCE, TEXT="")
            (note,) = study.measure(plan).notes
        self.assertEqual(note, "tiny: reference, 8 prompts, a batch: another text than the kernels before, from byte 0 (7 bytes a "
                               "token) on: an error")

    def test_interrupted(self) -> None:
        ran = []
        def stop(self: Contender, *arguments: Any) -> Run:
            ran.append(self.name)
            if len(ran) == 6:  # after two runs that warm up
                raise KeyboardInterrupt
            return original(self, *arguments)
        original = reference.Reference.run
        with mock.patch.object(reference.Reference, "run", stop):
            found = study.measure(self.plan(["plain", "fast"]))
        self.assertTrue(found.interrupted)
        self.assertEqual([(run.contender, run.round) for run in found.samples], [("plain", 0), ("fast", 0), ("plain", 1)])
        self.assertIn("interrupted", report.text(found))

    def test_select(self) -> None:
        everyone = reference.contenders(Path("r"), 2)
        self.assertEqual([each.name for each in study.select(everyone, ["int8*", "plain"])], ["plain", "int8", "int8-t2"])
        self.assertEqual(study.select(everyone, None), everyone)
        self.assertUserError("--only x: no contender has this name, one of plain, fast", study.select, everyone, ["fast", "x"])


class Reports(FolderTest):
    RUNS = [sample(name, seconds * (1 + turn / 10), turn, first_token=seconds / 10, weight_bytes=1000, passes=100, bandwidth=200_000.0)
            for turn in range(3) for name, seconds in (("plain", 4.0), ("fast", 1.0), ("fast-t2", 0.5))]
    RUNS += [sample("llama2c", 2.0 * (1 + turn / 10), turn) for turn in range(3)]
    RUNS += [sample("cpp-x", None, turn, kind=WHOLE, processor=10.0, tokens=None) for turn in range(3)]

    def test_there_and_back(self) -> None:
        found = made(self.RUNS, notes=["n"], others=[Other("llama.cpp", "m", "F32", 1, 3.0, None, "f")], interrupted=True)
        self.assertEqual(Results.parse(found.text(), "f"), found)
        path = self.folder / "r.json"
        path.write_text(found.text(), "utf-8")
        self.assertEqual(Results.read(path), found)
        self.assertEqual(Results.parse(made([]).text(), "f"), made([]))

    def test_bad_files(self) -> None:
        good = json.loads(made(self.RUNS).text())
        for change, message in (({"form": 9}, "f: form: 9, 1 is needed"), ({"samples": [[1]]}, "ValueError"), ({"columns": ["x"] * len(good["columns"])}, "TypeError"), ({"x": 1}, "TypeError"),
                                ({"models": 1}, "TypeError")):
            self.assertUserError(message, Results.parse, json.dumps(good | change), "f")
        for text in ("", "[]", "{}"):
            self.assertUserError("f: .*: no results of `llama512 bench --json`", Results.parse, text, "f")

    def test_text(self) -> None:
        text = report.text(made(self.RUNS, notes=["something"], others=[Other("llama.cpp", "m", "F32", 1, 30.25, 0.5, "f.json")]))
        self.assertRegex(text, r"\nFAST +f32 +1 +90\.9 +83\.3 to 100 +4\.00 +2\.00 +90\.9 KB +45 % +100\.0 ms\n")
        self.assertRegex(text, r"\nLLAMA2C +f32 +1 +45\.5 +41\.7 to 50 +2\.00\n")
        self.assertRegex(text, r"\nCPP-X +f32 +1 +10\.1")
        self.assertRegex(text, r"\nllama\.cpp +m +1 +30\.2 +± 0\.5 +f\.json")
        self.assertRegex(text, r"llama2\.c run, 1 thread +15M +f32, a pass for each token +2\.00x +2\.00x to 2\.00x +1\.20x +1\.50x +aim reached\n")
        self.assertRegex(text, r"llama2\.c runq, 1 thread +15M +int8 +1\.50x +2\.50x +not measured\n")
        self.assertRegex(text, r"15M +1,000,000 +FAST +11 +11\.000\n")
        self.assertTrue(text.endswith("note: something"))
        self.assertIn("held to core 1", text)
        self.assertIn("nothing was measured", report.text(made([])))

    def test_readme(self) -> None:
        text = report.readme(made(self.RUNS))
        first, *_ = text.split("\n\n")
        self.assertTrue(first.startswith("Measured on 2026-01-02 on 2 cores of a <processor>, caches L1d 1K, g, k: the middle"))
        self.assertTrue(first.replace("\n", " ").endswith("The weights are random."))
        self.assertLessEqual(max(map(len, first.splitlines())), 125)
        self.assertIn("| FAST    |   90.9 |", text)
        self.assertIn("| CPP-X   | *10.1* |", text)
        self.assertTrue(text.endswith("|\n"))

    def test_picture(self) -> None:
        found = made(self.RUNS, others=[Other("llama.cpp", "m & n", "F32", 1, 30.0, None, "f")])
        svg = report.picture(found)
        tree = xml.etree.ElementTree.fromstring(svg)
        said = "".join(tree.itertext())
        for part in ("FAST-T2", "CPP-X, whole process", "llama.cpp, m & n", "not from this run", "golfed engines", "90.9"):
            self.assertIn(part, said)
        self.assertNotIn("rounded weights", said)  # nobody ran with them
        self.assertIn("prefers-color-scheme:dark", svg)
        self.assertNotIn("by its position", said)
        grown = report.picture(made([*self.RUNS, *(sample("fast", steps / 1000 + steps * steps / 1e6, 0, kind=GROWTH, steps=steps + 1)
                                                   for steps in (64, 128))]))
        said = "".join(xml.etree.ElementTree.fromstring(grown).itertext())
        self.assertIn("15M, FAST: 1 to 65 1.06 ms, 65 to 129 1.19 ms.", said)
        self.assertIn("by its position", said)
        self.assertEqual(svg, report.picture(Results.parse(found.text(), "f")))
        self.assertLess(svg.index(">FAST-T2<"), svg.index(">FAST<"))  # the fastest first
        xml.etree.ElementTree.fromstring(report.picture(made([])))
        self.assertEqual(set(picture.GROUPS), set(contenders.GROUPS))

    def test_what_is_committed_belongs_together(self) -> None:
        """The picture and the block are made of the results, and of nothing else."""
        readme = (ROOT / blocks.README).read_text("utf-8")
        if not bench.RECORD.is_file():
            self.assertNotIn(f"<!-- {bench.BLOCK}: ", readme)
            self.skipTest(f"{bench.RECORD}: not measured yet")
        found = Results.read(bench.RECORD)
        self.assertFalse(found.interrupted or found.quick)
        self.assertEqual(bench.PICTURE.read_text("utf-8"), report.picture(found))
        self.assertEqual(blocks.content(readme, bench.BLOCK), report.readme(found))
        self.assertEqual([what.name for what in found.models], [shape.name for shape in shapes.SHAPES])


class Machine(FolderTest):
    def test_description(self) -> None:
        program = self.folder / "p"
        program.write_bytes(b"\x7fELF\0GCC: (Debian 12.2.0-14) 12.2.0\0")
        found = machine.describe(program)
        self.assertEqual(found["compiler"], "GCC: (Debian 12.2.0-14) 12.2.0")
        self.assertRegex(str(found["date"]), r"^\d{4}-\d\d-\d\d$")
        self.assertTrue(found["processor"])
        self.assertGreaterEqual(machine.cores(), 1)
        self.assertEqual(machine.compiler_of(self.folder / "none"), "")
        program.write_bytes(b"clang version 14.0.6 ")
        self.assertEqual(machine.compiler_of(program), "clang version 14.0.6")


class Tool(FolderTest):
    def run_main(self, *arguments: object, status: int = 0) -> str:
        patches = [mock.patch.object(sys, "argv", ["bench.py", *map(str, arguments)]), mock.patch.object(bench, "ROOT", self.folder),
                   mock.patch.object(bench, "RECORD", self.folder / "record/results.json"),
                   mock.patch.object(bench, "PICTURE", self.folder / "record/results.svg"),
                   mock.patch.object(bench, "BUILD", self.folder / "build"), mock.patch.object(shapes, "SHAPES", (SHAPE,)),
                   mock.patch.object(golfed, "contenders", lambda: [])]
        with contextlib.ExitStack() as stack, contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()):
            for patch in patches:
                stack.enter_context(patch)
            self.assertEqual(bench.main(), status)
        return said.getvalue()

    def test_everything(self) -> None:
        program = script(self.folder / "reference", FAKE_REFERENCE)
        for name in ("run", "runq"):
            script(self.folder / name, FAKE_LLAMA2C, RATE="50.000000")
        readme = self.folder / blocks.README
        readme.write_text("A\n<!-- bench: x -->\nold\n<!-- end of bench -->\nB\n", "utf-8")
        text = self.run_main("--reference", program, "--llama2c", self.folder, "--rounds", 2, "--record", "--readme",
                             "--svg", self.folder / "x.svg")
        self.assertRegex(text, r"\nreference, fast +f32 +1 +500 +500 to 500 +2\.00 +10\.00 +500\.0 MB +50 % +5\.0 ms\n")
        self.assertRegex(text, r"\nllama2\.c runq +int8 +1 +50 ")
        self.assertIn("\nllama2.c: programs as they were given\n", text)
        found = Results.read(self.folder / "record/results.json")
        self.assertEqual((self.folder / "record/results.svg").read_text("utf-8"), report.picture(found))
        self.assertEqual((self.folder / "x.svg").read_text("utf-8"), report.picture(found))
        self.assertEqual(blocks.content(readme.read_text("utf-8"), "bench"), report.readme(found))
        path = self.folder / "record/results.json"
        self.assertEqual(self.run_main("--from", path), text)
        self.assertEqual(self.run_main("--from", path, "--json"), path.read_text("utf-8"))
        self.assertUserError("this would overwrite", self.run_main, "--from", path, "--svg", path)

    def test_golfed_engines_are_compared(self) -> None:
        """One engine, with the project's model, by its own means."""
        everyone = golfed.contenders()
        if not everyone:
            self.skipTest("no engine runs on this kernel")
        model = shapes.model(shapes.named("fables"), self.folder)
        self.assertEqual(everyone[0].kinds(model), (WHOLE,))
        self.assertEqual(everyone[0].kinds(shapes.model(SHAPE, self.folder)), ())
        found = everyone[0].run(model, WHOLE, 256)
        expected = matching.expect(models.find_model("fables"))
        self.assertEqual(found.fields["positions"], len(expected.tokens))
        self.assertGreater(found.fields["processor"], 0)
        self.assertUserError("--steps 5: a golfed engine tells its whole story", everyone[0].run, model, WHOLE, 5)

    def test_interrupted(self) -> None:
        """What is there is shown, and the status is that of Ctrl-C."""
        def stop(*_: object) -> Results:
            return made([sample("fast", 1.0)], interrupted=True)
        with mock.patch.object(study, "measure", stop), self.assertRaises(KeyboardInterrupt):
            self.run_main("--reference", script(self.folder / "reference", FAKE_REFERENCE))

    def test_list(self) -> None:
        text = self.run_main("--list", "--only", "int4*")
        self.assertRegex(text, r"\nint4 +reference, int4 +int4 +1\n")
        self.assertNotIn("plain", text)
        self.assertRegex(text, r"\ntiny +20 +10\n")

    def test_the_real_program(self) -> None:
        """With a tiny model, for what it says and not for how fast."""
        program = matching.reference_program()
        try:
            reference.check(program, reference.contenders(program, 2))
        except UserError as problem:
            self.skipTest(str(problem))
        with mock.patch.object(reference, "BATCH_SHAPE", SHAPE.name):
            text = self.run_main("--reference", program, "--rounds", 1, "--json")
        found = Results.parse(text, "f")
        self.assertEqual(found.notes and [note for note in found.notes if "error" in note], [])
        for who in found.contenders:
            (run,) = found.of("tiny", who.name, STORY)
            self.assertEqual(run.positions, 20 * (8 if who.name.startswith("batch") else 1), who.name)
            self.assertGreater(samples.rate(run) or 0, 0, who.name)
            self.assertGreater(run.first_token or 0, 0, who.name)
        fast, = found.of("tiny", "fast", STORY)
        self.assertEqual((fast.tokens, fast.passes), (19, 19))
        self.assertAlmostEqual(fast.weight_bytes or 0, shapes.weight_bytes(TINY, "f32"), delta=2000)  # with gains or without

    def test_usage(self) -> None:
        for arguments in (["--rounds", "0"], ["--steps", "1"], ["--record", "--quick"], ["--readme", "--only", "fast"],
                          ["--from", "x", "--shape", "15M"], ["--record", "--shape", "15M"], ["--record"]):
            result = run_tool("bench", *arguments)
            self.assertEqual((result.returncode, result.stdout), (2, ""), arguments)
        for arguments, message in ((["--from", self.folder / "none"], "cannot read the results of a benchmark"),
                                   (["--reference", self.folder / "none"], "none: no such file, give the reference's program"),
                                   (["--llama-cpp", self.folder / "none"], "cannot read the output of llama-bench")):
            result = run_tool("bench", *arguments)
            self.assertEqual((result.returncode, result.stdout, result.stderr.count("\n")), (1, "", 1))
            self.assertIn(message, result.stderr)


if __name__ == "__main__":
    main()
