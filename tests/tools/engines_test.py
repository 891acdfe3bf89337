"""golf/engines.json: the table is well-formed, and CMake and Python read the same from it."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import MISSING, replace
from unittest import mock

from support.folders import FolderTest
from support.skip import main
from support.tools import ROOT, run_tool

from common.engine import engines, inputs, limits, targets, toolchains
from common.engine.engines import Engine
from common.errors import UserError
from common.machine import run, screen
from common.match import domain
from common.model import checkpoint, models, tokenizer
from common.pack import encodings, layouts, packer, spelling
from common.pack.race import Sampling


class Table(FolderTest):
    def test_rows(self) -> None:
        table = engines.table()
        self.assertTrue(table)
        self.assertEqual(len({engine.name for engine in table}), len(table))
        for engine in table:
            with self.subTest(engine=engine.name):
                # The name is a file's name, a CMake target, and part of a test's name.
                self.assertRegex(engine.name, r"^[a-z0-9][a-z0-9_-]*$")
                self.assertTrue((ROOT / engine.source).is_file(), engine.source)
                self.assertTrue(engine.limits)
                self.assertIn(engine.layout, layouts.LAYOUTS)
                self.assertTrue(engine.encodings)
                self.assertEqual(len(set(engine.encodings)), len(engine.encodings))
                self.assertLessEqual(set(engine.encodings), set(encodings.ENCODINGS))
                self.assertRegex(engine.headline_compiler, r"^\S+ \d+(\.\d+)*$")
                for name, budgets in engine.budgets.items():
                    self.assertRegex(name, r"^((g\+\+|clang) \d+(\.\d+)*|nasm)$")
                    self.assertEqual([*budgets], [shape.name for shape in engines.shapes()])
                    self.assertTrue(all(type(budget) is int and budget > 0 for budget in budgets.values()))
                self.assertEqual(engine.budget_for(engines.budget_shape().name, engine.headline_compiler),
                                 (engine.budget, True))

    def test_targets(self) -> None:
        """Every folder says what its engines need to be built and run; each has one, or is there for a study."""
        studied = {name for name in targets.names() if "study" in targets.find(name).facts}
        self.assertEqual({engine.target.name for engine in engines.table()}, set(targets.names()) - studied)
        self.assertEqual({targets.find(name).facts["study"] for name in studied}, {"density"})
        for name in targets.names():
            facts = targets.find(name).facts
            for fact in ("about", "family", "isa", "image", "machine"):
                self.assertIs(type(facts[fact]), str, f"{name}: {fact}")
            self.assertEqual("emulator" in facts, facts["machine"] in ("program", "board"), name)
            self.assertEqual({name: type(value) for name, value in facts.get("elf", {}).items()},
                             {"class": int, "machine": int} if facts["machine"] == "program" else {}, name)
            self.assertEqual("board" in facts, facts["machine"] == "board", name)
            self.assertIn(targets.find(name).byte_order, ("little", "big"), name)
            if name in studied:
                self.assertEqual(set(facts["gcc"]), {"prefix", "machine", "flags", "linker"}, name)
                for file in ("plain.hpp", "plain.ld", "packages.txt"):
                    self.assertTrue((targets.find(name).folder / file).is_file(), f"{name}: {file}")
        for engine in engines.table():
            if engine.toolchain == "gcc":
                kinds = {"prefix": str, "machine": list, "flags": dict, "fallback": list, "linker": str, "knobs": list}
                self.assertEqual({fact: type(engine.target.facts["gcc"][fact]) for fact in kinds}, kinds, engine.target.name)
                for name in (f"{engine.idea}.hpp", f"{engine.idea}.ld"):
                    self.assertTrue((engine.target.folder / name).is_file(), f"{engine.target.name}: {name}")
                self.assertIs(type(engine.target.facts["gcc"]["flags"][engine.idea]), list, engine.name)
            if engine.toolchain == "clang":
                kinds = {"target": str, "flags": dict, "linker": dict, "optimizer": dict}
                self.assertEqual({fact: type(engine.target.facts["clang"][fact]) for fact in kinds}, kinds, engine.target.name)
                self.assertTrue((engine.target.folder / f"{engine.idea}.hpp").is_file(), engine.target.name)
                for name in ("flags", "linker", "optimizer"):
                    self.assertIs(type(engine.target.facts["clang"][name][engine.idea]), list, f"{engine.name}: {name}")
            for folder, suffix in (("cpp", "hpp"), ("asm", "inc")):
                if engine.source.startswith(f"golf/{folder}/") and engine.idea != "doubles":
                    for encoding in engine.encodings:
                        self.assertTrue((ROOT / f"golf/{folder}/weights/{encoding}.{suffix}").is_file())

    def test_what_is_not_there(self) -> None:
        engine = engines.table()[0]
        target = replace(engine.target, facts={"machine": "ship"})
        self.assertUserError("toolchain: 'engines' is no module", toolchains.of, replace(engine, toolchain="engines"))
        self.assertUserError("toolchain: 'rustc' is no module", toolchains.of, replace(engine, toolchain="rustc"))
        for name in ("ship", "screen"):
            self.assertUserError(f"target.json: machine: '{name}' is no module", run.machine,
                                 replace(engine, target=replace(target, facts={"machine": name})))
        self.assertUserError("target.json: image: it is not there", getattr, target, "image")
        for field, value, said in (("layout", "heap", "'heap', known are "), ("memory_map", "none", "'none', known are "),
                                   ("encodings", ["f16"], "'f16', known are "), ("colour", 1, "unknown"),
                                   ("samples", ["SEED"], "known are TEMPERATURE, TOP_P, CLOCK"),
                                   ("beyond", {"features": ["X"], "memory_map": "none"}, "features and a memory_map of the table"),
                                   ("beyond", {"features": [], "memory_map": "boot"}, "features and a memory_map of the table"),
                                   ("budgets", {}, "a compiler with budgets for"), ("target", None, "missing"),
                                   ("budgets", {"nasm": {"stories260K": 1}}, "a compiler with budgets for")):
            rows = json.loads(engines.TABLE.read_text("utf-8"))
            rows["engines"][1][field] = value
            if value is None:
                del rows["engines"][1][field]
            with mock.patch.object(inputs, "table", lambda: rows):
                self.assertUserError(f"{rows['engines'][1]['name']}: {field}: .*{said}|{field}: {said}", engines.table)
        with mock.patch.object(Engine, "limits", [{"field": "colour", "most": 1, "why": ""}]):
            self.assertUserError("memory_maps: .*colour.*: field .one of", limits.of, engine)
        self.assertUserError("console: 'paper', known are cells", screen.style, replace(engine, console="paper"))
        self.assertUserError("arithmetic: 'fixed', known are x87", domain.warnings, [], "fixed")
        self.assertUserError("machine: 'run' is no module", run.machine, replace(engine, target=replace(
            target, facts={"machine": "run"})))
        self.assertUserError("gcc: linker: it is not there", replace(target, facts={"gcc": {}}).gcc, "linker")

    def test_large_variant(self) -> None:
        """What a build adds for large models, and what can be left out of it."""
        engine = replace(engines.table()[0], name="e", features=("A", "B"),
                         beyond={"features": ["LARGE", "C"], "memory_map": "plain"})
        large = replace(engine, features=("A", "B", "LARGE", "C"), memory_map="plain", beyond=None)
        self.assertEqual((engine.large, large.large), (large, None))
        self.assertEqual(engine.optional_features, ("A", "B", "C"))
        self.assertEqual(engine.without(["C", "A"]).large, replace(large, features=("B", "LARGE")))
        self.assertEqual(engine.without(["C", "A"]).features, ("B",))
        self.assertEqual(engine.without([]), engine)
        for feature in ("LARGE", "D"):
            self.assertUserError(f"e: feature '{feature}': this engine has A, B, C", engine.without, ["A", feature])
        self.assertUserError("e: feature 'A': this engine has none", replace(engine, features=(), beyond=None).without, ["A"])

    def test_sampling(self) -> None:
        """Temperature and seed are features that a build has when it is asked for them."""
        engine = next(engine for engine in engines.table() if engine.samples and not engine.features)
        for sampling, features in ((Sampling(0.8, 0), ("TEMPERATURE=0.8", "SEED=0")),
                                   (Sampling(0.05, None), ("TEMPERATURE=0.05", "CLOCK")),
                                   (Sampling(1000.0, 2**64 - 1), ("TEMPERATURE=1000.0", f"SEED={2**64 - 1}"))):
            sampled = engine.sampled(sampling)
            self.assertEqual((sampled.features, sampled.sampling), (features, sampling))
            self.assertEqual((sampled.optional_features, sampled.prompts), (engine.comforts, engine.prompts))
        self.assertIsNone(engine.sampling)
        greedy = next(engine for engine in engines.table() if not engine.samples)
        self.assertUserError(f"{greedy.name}: temperature: 0.8: this engine is greedy; .*{engine.name}", greedy.sampled, Sampling(0.8))
        nucleus = Sampling(0.8, 1, 0.9)
        able, all_tokens = (next(engine for engine in engines.table() if engine.samples and engine.draws(nucleus) is draws)
                            for draws in (True, False))
        self.assertEqual(able.sampled(nucleus).features, (*able.features, "TEMPERATURE=0.8", "TOP_P=0.9", "SEED=1"))
        self.assertEqual(able.sampled(nucleus).sampling, nucleus)
        self.assertEqual(able.sampled(nucleus).optional_features, able.optional_features)
        self.assertUserError(f"{all_tokens.name}: top-p: 0.9: this engine draws from all tokens; {able.name} can", all_tokens.sampled,
                             nucleus)
        self.assertTrue(all_tokens.draws(Sampling(0.8, 1, 1.0)))
        self.assertFalse(greedy.draws(Sampling(0.8)))
        for top_p in (0.0, -0.1, 1.01, 1e300, 1e-60, float("nan")):
            self.assertUserError("top-p: .* a number above 0, to 1, is needed", Sampling, 1.0, 0, top_p)
        for temperature in (0.0, 0.049, 1001.0, -1.0, float("nan")):
            self.assertUserError("temperature: .* a number from 0.05 to 1000 is needed", Sampling, temperature)
        for seed in (-1, 2**64):
            self.assertUserError("seed: .* a whole number from 0 to 2.64 - 1 is needed", Sampling, 1.0, seed)

    def test_unknown_target(self) -> None:
        self.assertUserError("golf/targets/none/target.json: no such file; .* known are", targets.find, "none")

    def test_budget_shape(self) -> None:
        shape = engines.budget_shape()
        self.assertEqual(shape.config.dim % shape.config.n_heads, 0)
        self.assertTrue(1 <= shape.longest_piece <= packer.LONGEST_PIECE)
        # Twice the same: nothing is taken out of the table by reading it.
        self.assertEqual(engines.budget_shape(), shape)

    def test_shapes_are_the_models(self) -> None:
        """The second one the project's own, the first one that of stories260K, where it is."""
        self.assertEqual([shape.name for shape in engines.shapes()], ["stories260K", models.PROJECT_MODEL])
        for shape in engines.shapes():
            try:
                model = models.find_model(shape.name)
            except UserError as error:
                self.assertNotEqual(shape.name, models.PROJECT_MODEL)
                print(f"not compared: {error}")
                continue
            self.assertEqual(checkpoint.read_config(model.checkpoint), shape.config)
            vocabulary = tokenizer.load(model.tokenizer, shape.config.vocab_size)
            self.assertEqual(packer.longest_piece(vocabulary.pieces), shape.longest_piece)
            known = spelling.proven(vocabulary)
            self.assertEqual(known.character_bytes, shape.character_bytes)
            if known.character_bytes > 1:
                self.assertEqual(known.first_character, shape.first_character)

    def test_budgets_by_compiler(self) -> None:
        engine = replace(engines.table()[0], budgets={"g++ 12.2.0": {"m": 1}, "g++ 14.2.0": {"m": 3}})
        for compiler, found in (("g++ 12.2.0", (1, True)), ("g++ 14.2.0", (3, True)), ("g++ 12.3.0", (1, False)),
                                ("g++ 14.3", (3, False)), ("g++ 11.4.0", (1, False)), ("g++ 15.1.0", (3, False))):
            self.assertEqual(engine.budget_for("m", compiler), found, compiler)
        self.assertEqual(engines.nearest(["g++ 9.5.0", "g++ 12.2.0", "g++ 12.4.0"], "g++ 13.1.0"), "g++ 12.4.0")
        self.assertEqual(engines.nearest(["g++ 12.2.0", "g++ 12.4.0"], "g++ 12.4.1"), "g++ 12.4.0")
        self.assertTrue(engines.is_named("nasm", "nasm 2.16.01"))
        self.assertFalse(engines.is_named("g++ 12.2.0", "g++ 12.2.01"))

    def test_headline_compilers_by_tools(self) -> None:
        """A target's own tools may have another version; a machine that lacks them has the toolchain all the same."""
        host, cross = (replace(engines.table()[0].target, facts={"gcc": {"prefix": prefix}}) for prefix in ("", "x-"))
        one, other = (replace(engines.table()[0], target=target) for target in (host, cross))
        for own, tools, compiler in (({}, "gcc", "g++ 1"), ({"gcc x-": "g++ 2"}, "gcc x-", "g++ 2")):
            with mock.patch.object(inputs, "table", lambda: {"headline_compilers": {"gcc": "g++ 1", **own}}):
                self.assertEqual((one.tools, one.headline_compiler), ("gcc", "g++ 1"))
                self.assertEqual((other.tools, other.headline_compiler), (tools, compiler))

    def test_find(self) -> None:
        names = engines.names()
        self.assertEqual([engines.find(name).name for name in names], names)
        self.assertEqual(engines.select(None), engines.table())
        self.assertEqual(engines.select([names[-1]]), [engines.find(names[-1])])
        self.assertUserError(f"engine 'none': not in golf/engines.json, known are {names[0]}", engines.find, "none")

    def test_every_field_of_the_file_is_known(self) -> None:
        fields = Engine.__dataclass_fields__.values()
        for row in json.loads(engines.TABLE.read_text("utf-8"))["engines"]:
            self.assertLessEqual(set(row), {field.name for field in fields})
            self.assertGreaterEqual(set(row), {field.name for field in fields if field.default is MISSING})


class CMake(FolderTest):
    def test_cmake_reads_the_same(self) -> None:
        """golf/engines.cmake gives the names, toolchains, sources, targets and features that Python has."""
        fields = ("toolchain", "source", "target", "features")
        script = self.folder / "read.cmake"
        script.write_text(f'include("{ROOT}/golf/engines.cmake")\nforeach(name IN LISTS engines)\n'
                          + f'  message("${{name}};{";".join(f"${{${{name}}_{field}}}" for field in fields)}")\n'
                          + 'endforeach()\n', "utf-8")
        result = subprocess.run(["cmake", "-P", script], capture_output=True, encoding="utf-8", check=True)
        rows = [line.split(";", 4) for line in result.stderr.splitlines()]
        self.assertEqual([row[:4] for row in rows],
                         [[engine.name, engine.toolchain, engine.source, engine.target.name] for engine in engines.table()])
        self.assertEqual([json.loads(row[4] or "[]") for row in rows],
                         [list(engine.features) for engine in engines.table()])

    def test_same_inputs(self) -> None:
        script = self.folder / "read.cmake"
        script.write_text(f'include("{ROOT}/golf/engines.cmake")\nmessage("${{inputs}}")\n', "utf-8")
        result = subprocess.run(["cmake", "-P", script], capture_output=True, encoding="utf-8", check=True)
        self.assertEqual(sorted(result.stderr.strip().split(";")), sorted(map(str, inputs.files())))

    def test_cmake_makes_something_of_each(self) -> None:
        """Every description that is about engines walks the table; none of them names an engine."""
        for folder in ("golf", "tests/match", "tests/rules", "tests/boot"):
            text = (ROOT / folder / "CMakeLists.txt").read_text("utf-8")
            self.assertRegex(text, r"foreach\(\w+ IN LISTS engines\)")
            for name in engines.names():
                self.assertNotRegex(text, rf"\b{re.escape(name)}\b")


class List(FolderTest):
    def test_run_lists_them(self) -> None:
        self.assertEqual(run_tool("run", "--list").stdout.split(), ["reference", *engines.names()])

    def test_the_reference_has_no_encoding(self) -> None:
        told = run_tool("run", "--encoding", "int8")
        self.assertEqual((told.returncode, told.stdout), (1, ""))
        self.assertIn("reference: --encoding int8: it reads the checkpoint as it is; name a golfed engine", told.stderr)


if __name__ == "__main__":
    main()
