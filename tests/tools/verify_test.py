"""tools/verify.py: exit status 1 on a difference, and what it says then. Engines and reference are stand-ins here."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from unittest import mock

import verify
from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main
from support.tools import run_tool

from common.engine import builds, engines
from common.engine.builds import Built
from common.errors import UserError
from common.match.matching import Difference, Expected
from common.model import models, random_model, tokenizer
from common.pack.layouts import LAYOUTS

ENGINE = engines.table()[0]
PIECES = random_model.pieces(10, 7)
FLOATS = "import struct,sys; open(sys.argv[-1], 'wb').write(struct.pack('<20f', *map(float, sys.argv[1:-1])))"


class VerifyTest(FolderTest):
    """A model whose reference says token 5, then token 3; and an engine that says what a test wants."""

    extremes = ""  # what the reference's --extremes writes

    def setUp(self) -> None:
        super().setUp()
        self.model = random_model.write(self.folder, "m", small_checkpoint())
        self.program = self.folder / ENGINE.name
        self.reference = self.folder / "reference"
        self.says(5, 3)
        self.reference_says([5, 3])

    def rows(self, second: float) -> str:
        """Two rows of logits, the best of which is 9."""
        return f"0 1 2 3 4 9 5 6 7 {second} " * 2

    def script(self, path: object, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
        path.chmod(0o755)

    def says(self, *tokens: int, then: str = "") -> None:
        self.script(self.program, f"printf %s '{b''.join(PIECES[token] for token in tokens).decode()}'\n{then}")

    def reference_says(self, effective: list[int], original: list[int] | None = None, best: float = 8.75) -> None:
        """`original` is what it says about the original checkpoint; by default the same."""
        def lines(tokens: list[int]) -> str:
            return "printf '" + "".join(f"{token}\\n" for token in [1, *tokens]) + "'"
        self.script(self.reference, f"""for last; do [ "$before" = --extremes ] && printf '{self.extremes}' > "$last"; before=$last; done
case "$*" in *--logits*) {sys.executable} -c "{FLOATS}" {self.rows(best)} "$last";; esac
case "$*" in *effective.bin*) {lines(effective)};; *) {lines(original or effective)};; esac""")

    def verify(self, *arguments: object, name: str = "m") -> tuple[int, str, str]:
        """Runs the tool's main(); returns its status and what it printed."""
        files = self.folder / "files"
        files.mkdir(exist_ok=True)
        model = models.Model(name, self.model.checkpoint, self.model.tokenizer)
        (files / "effective.bin").write_bytes(self.model.checkpoint.read_bytes())
        (files / "tokenizer.bin").write_bytes(self.model.tokenizer.read_bytes())
        (files / "manifest.json").write_text('{"longest_piece": 7, "config": {}}', "utf-8")
        built = Built(ENGINE, name, "f32", self.program, files, "g++ 12.2.0", (), True, 600, 1000, {})
        built = replace(built, sha256=builds.digests(built))
        with mock.patch.object(verify.builds, "build", lambda *_: built), \
                mock.patch.object(verify, "find_model", lambda *_: model), \
                mock.patch.object(sys, "argv", ["verify.py", "--engine", ENGINE.name, *map(str, arguments)]), \
                mock.patch.dict(os.environ, LLAMA512_REFERENCE=str(self.reference), LLAMA512_EMULATE=""), \
                contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as error:
            status = verify.main()
        return status, out.getvalue(), error.getvalue()


class Verdict(VerifyTest):
    def test_equal(self) -> None:
        status, out, error = self.verify()
        self.assertEqual((status, error), (0, ""))
        row = next(line.split() for line in out.splitlines() if line.startswith(ENGINE.name))
        self.assertEqual([*row[:4], *row[7:11]], [ENGINE.name, "f32", "600", str(ENGINE.budget), "2", "equal", "equal", "0.2500"])

    def test_outside_the_domain(self) -> None:
        """A warning, whatever the verdict is."""
        self.extremes = "score 12345.5 2 7\\ngate 3 0 0\\nup 1e35 0 1\\nrms 4 0 0\\n"
        self.reference_says([5, 3])
        status, out, error = self.verify()
        self.assertEqual((status, error.count("\n")), (0, 2))
        self.assertIn(f"{ENGINE.name}: warning: score: 1.235e+04 in layer 2 at position 7, beyond 1.1e+04: ", error)
        self.assertIn(f"{ENGINE.name}: warning: up: 1e+35 in layer 0 at position 1, beyond 2.028e+31: ", error)

    def test_different(self) -> None:
        self.says(5, 4)
        status, out, error = self.verify()
        self.assertEqual(status, 1)
        self.assertIn("differs at token 1", out)
        self.assertEqual(error, f"{ENGINE.name}: token 1: expected '{PIECES[3].decode()}', found '{PIECES[4].decode()}', "
                                f"after …'{PIECES[5].decode()}'; no near-tie: the reference's best two logits are 0.25 "
                                "apart there\n")

    def test_near_tie(self) -> None:
        """Where the reference's two best logits are close to each other, rounding may decide, and the reader is told."""
        self.reference_says([5, 3], best=8.9995)
        self.says(5, 4)
        status, out, error = self.verify()
        self.assertEqual(status, 1)
        self.assertIn("differs at token 1, a near-tie", out)
        self.assertIn("; a near-tie: the reference's best two logits are 0.0005 apart there, which rounding may decide", error)
        self.assertAlmostEqual(json.loads(self.verify("--json")[1])[0]["gap_at_difference"], 0.0005, 5)
        self.says(5, 3, 4)  # more than was expected: there is no pass, and no gap
        status, out, error = self.verify()
        self.assertEqual((status, "near-tie" in out + error), (1, False))
        self.assertIn("; the reference has made seq_len passes", error)

    def test_tokens_of_the_same_text(self) -> None:
        """Nobody can tell them apart, and that is said."""
        self.assertNotIn("same text", self.verify()[1])
        vocabulary = [*PIECES[:8], PIECES[5], PIECES[7]]
        tokenizer.write(self.model.tokenizer, vocabulary, [0.0] * 10)
        status, out, error = self.verify()
        self.assertEqual((status, error), (0, ""))
        self.assertIn(f"Tokens 5 and 8 have the same text, '{PIECES[5].decode()}': --tokens tells them apart", out)
        self.assertEqual(json.loads(self.verify("--json")[1])[0]["same_text"], [[5, 8]])

    def test_built_again_meanwhile(self) -> None:
        self.says(5, 3, then=f"echo >> {self.folder}/files/effective.bin")
        with self.assertRaisesRegex(UserError, "another build has been made in this folder meanwhile"):
            self.verify()

    def test_too_short_and_too_long(self) -> None:
        for tokens, index in [((5,), 1), ((), 0), ((5, 3, 3), 2)]:
            self.says(*tokens)
            status, _, error = self.verify()
            self.assertEqual(status, 1)
            self.assertIn(f"token {index}: ", error)

    def test_original_binds_for_named_models_alone(self) -> None:
        self.reference_says([5, 3], [5, 4])
        self.assertEqual(self.verify()[0], 0)
        for name in models.NAMED_MODELS:
            status, _, error = self.verify(name=name)
            self.assertEqual(status, 1)
            self.assertIn("token 1: expected", error)

    def test_json(self) -> None:
        status, out, _ = self.verify("--json")
        (row,) = json.loads(out)
        self.assertEqual(status, 0)
        self.assertGreater(row.pop("tokens_per_second"), 0)
        self.assertEqual(row, {"engine": ENGINE.name, "model": "m", "encoding": "f32", "bytes": 600,
                               "budget": ENGINE.budget, "packed_bytes": 1000, "ram_bytes": 1000 + LAYOUTS[ENGINE.layout].workspace(small_checkpoint().config),
                               "tokens": 2, "equal": True, "first_difference": None,
                               "equal_to_original": True, "smallest_gap": 0.25, "gap_at_difference": None,
                               "same_text": [], "unseen_bytes": 0})
        self.says(4, 3)
        self.reference_says([5, 3], [4, 3])
        status, out, _ = self.verify("--json")
        (row,) = json.loads(out)
        self.assertEqual((status, row["equal"], row["first_difference"], row["equal_to_original"]), (1, False, 0, True))

    def test_a_crash_is_an_error(self) -> None:
        self.says(5, 3, then="exit 9")
        with self.assertRaisesRegex(UserError, "ended with exit status 9"):
            self.verify()


class Tool(FolderTest):
    """The real thing: a built engine, and the reference program that CTest names."""

    def setUp(self) -> None:
        super().setUp()
        if "LLAMA512_REFERENCE" not in os.environ:
            self.skipTest("LLAMA512_REFERENCE is not set, ctest does")
        self.model = random_model.write(self.folder, "m", random_model.weights(small_checkpoint().config, 3, 4))

    def verify(self, *arguments: str, emulate: str = "", **environment: str) -> object:
        return run_tool("verify", "--engine", ENGINE.name, "--model", self.model.checkpoint, "-o", self.folder / "e",
                        *arguments, env={"LLAMA512_EMULATE": emulate, **environment})

    def test_equal(self) -> None:
        result = self.verify()
        self.assertEqual(result.returncode, 0)
        self.assertRegex(result.stderr, rf"\A({ENGINE.name}: the kernel cannot run it[^\n]*\n)?\Z")
        self.assertIn("equal", result.stdout)

    def test_jobs(self) -> None:
        """However many run side by side, the answers are the same; none is no number of them."""
        told = []
        for jobs in "1", "3":
            result = self.verify("--engine", engines.names()[1], "--jobs", jobs, "--json")
            self.assertEqual(result.returncode, 0, result.stderr)
            told.append([(row["engine"], row["equal"], row["tokens"]) for row in json.loads(result.stdout)])
        self.assertEqual([row[:2] for row in told[0]], [(name, True) for name in engines.names()[:2]])
        self.assertEqual(*told)
        for jobs in "0", "-1", "x", "1.5":
            result = self.verify("--jobs", jobs)
            self.assertEqual(result.returncode, 2)
            self.assertIn("argument --jobs: ", result.stderr)

    def test_emulated(self) -> None:
        result = self.verify(emulate="1")
        self.assertEqual((result.returncode, result.stderr),
                         (0, f"{ENGINE.name}: LLAMA512_EMULATE is set, so it runs under {ENGINE.target.facts['emulator']}\n"))
        self.assertIn("equal", result.stdout)

    def test_tokens_of_the_same_text(self) -> None:
        """A reference that generates other tokens with the same text: only --tokens sees it."""
        reference = os.environ["LLAMA512_REFERENCE"]
        command = [reference, "-m", self.model.checkpoint, "--tokenizer", self.model.tokenizer, "--tokens", "--quiet"]
        tokens = [int(line) for line in subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.split()[1:]]
        last = tokens[-1]
        others = [token for token in range(2, 10) if token not in tokens]
        halves = [PIECES[last][:3], PIECES[last][3:]]
        for lie, texts in [(others[:1], [PIECES[last]]), (others[:2], halves)]:
            vocabulary = PIECES[:]
            for token, text in zip(lie, texts):
                vocabulary[token] = text
            tokenizer.write(self.model.tokenizer, vocabulary, [0.0] * 10)
            liar = self.folder / "liar"
            liar.write_text(f"#!/bin/sh\n{shlex.quote(str(reference))} \"$@\" | sed 's/^{last}$/{' '.join(map(str, lie))}/'\n",
                            "utf-8")
            liar.chmod(0o755)
            place = f"differs at token {tokens.index(last) + len(lie) - 1}"
            for arguments, program, status, said in [((), reference, 0, "equal"), (("--tokens",), reference, 0, "equal"),
                                                     ((), liar, 0, "equal"), (("--tokens",), liar, 1, place)]:
                with self.subTest(arguments=arguments, program=program, lie=lie):
                    result = self.verify(*arguments, LLAMA512_REFERENCE=str(program))
                    self.assertEqual(result.returncode, status, result.stderr)
                    self.assertIn(said, result.stdout)
                    self.assertEqual("with other texts (--tokens): token" in result.stderr, said == place)
                    self.assertEqual("--tokens tells" in result.stdout, len(lie) == 1 and not arguments)

    def test_all_encodings(self) -> None:
        """Side by side: each is built in a folder of its own."""
        result = self.verify("--encoding", "all", "--json")
        self.assertEqual(result.returncode, 0, result.stderr)
        rows = json.loads(result.stdout)
        self.assertEqual([(row["engine"], row["encoding"]) for row in rows], [(ENGINE.name, name) for name in ENGINE.encodings])
        self.assertEqual(len({row["packed_bytes"] for row in rows}), len(rows))

    def test_table_of_the_readme(self) -> None:
        built = builds.build(ENGINE, self.model, self.folder / "e")
        expected = Expected([5, 3], PIECES, [1.0, 1.0], 1.0)
        other = Difference(7, b"a", b"b", b"")
        results = [verify.Result(replace(built, encoding=encoding, counted=100 + i, packed=2000 + i), expected, wrong, original, 1.0, [],
                                 False) for i, (encoding, wrong, original) in enumerate((("f32", None, None), ("int8", None, other),
                                                                                        ("bf16", other, other)))]
        lines = verify.for_readme(results).splitlines()
        self.assertEqual([cell.strip() for cell in lines[0].split("|")[1:-1]], ["engine", "f32", "bf16", "int8"])
        self.assertEqual([cell.strip() for cell in lines[2].split("|")[1:-1]],
                         [f"`{ENGINE.name}`", "**100** · 2,000 · equal", "**102** · 2,002 · WRONG", "**101** · 2,001 · from 7"])
        for arguments in (["--model", "m"], ["--encoding", "all"]):
            result = run_tool("verify", "--readme", *arguments)
            self.assertEqual(result.returncode, 2)
            self.assertIn("--readme is for all engines and encodings", result.stderr)

    def test_another_program_in_its_place(self) -> None:
        """It is noticed, and the engine built again."""
        builds.build(ENGINE, self.model, self.folder / "e")
        program = self.folder / "e" / ENGINE.name
        program.write_text("#!/bin/sh\necho nonsense\n", "utf-8")
        result = self.verify()
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertNotIn(b"nonsense", program.read_bytes())


if __name__ == "__main__":
    main()
