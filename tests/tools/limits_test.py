"""common/engine/limits.py: what is beyond a limit is refused with all that one needs to know, and by the sources as well."""

from __future__ import annotations

import subprocess
from unittest import mock

from support.folders import FolderTest
from support.models import small_checkpoint
from support.skip import main

from common.engine import configuration, engines, gcc, limits, packing
from common.engine.engines import Engine
from common.engine.limits import Limit
from common.machine import here
from common.model import checkpoint, random_model
from common.pack import packer

ENGINES = engines.table()
FIELDS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len", "longest_piece", "packed_bytes",
          "workspace_bytes", *limits.DERIVED)


class Table(FolderTest):
    def test_rows(self) -> None:
        for engine in ENGINES:
            with self.subTest(engine=engine.name):
                rows = limits.of(engine)
                self.assertEqual(len({limit.field for limit in rows}), len(rows))
                for limit in rows:
                    self.assertIn(limit.field, FIELDS)
                    self.assertIs(type(limit.most), int)
                    self.assertRegex(limit.why, r"^[a-z].*[^.]$")  # it stands in parentheses
                # Memory has an end.
                self.assertTrue({"workspace_bytes", "memory_bytes"} & {limit.field for limit in rows})


class Refused(FolderTest):
    """At a limit all is well; one less than the model has, and it is refused."""

    def setUp(self) -> None:
        super().setUp()
        self.weights = small_checkpoint()
        self.model = random_model.write(self.folder, "m", self.weights)

    def limited(self, *rows: Limit) -> mock._patch:
        return mock.patch.object(limits, "of", lambda engine: list(rows))

    def constants(self, engine: Engine) -> dict[str, int]:
        config, pieces = self.weights.config, random_model.pieces(10, 7)
        return configuration.constants(engine, config, engine.encodings[0],
                                packer.plan(engine.layout, engine.encodings[0], config, pieces))

    def test_every_field(self) -> None:
        shape = r"{field}: {value}, {engine} takes at most {most:,} \(reason\); use a model with a smaller {field}, or another engine"
        size = r"{engine} takes at most {most:,} \(reason\); use a (smaller model|model with a smaller seq_len or dim), or another engine"
        messages = {
            "story_bytes": "seq_len: 6: a story of the longest pieces has {value:,} bytes, {engine} takes at most {most:,} "
                           r"\(reason\); use a model with a smaller seq_len or shorter pieces, or another engine",
            "packed_bytes": "dim, hidden_dim, n_layers, vocab_size: the packed model has {value:,} bytes, " + size,
            "workspace_bytes": "seq_len: 6: {engine} would work in {value:,} bytes of memory, " + size,
            "memory_bytes": r"seq_len: 6: {engine} would need {value:,} bytes of memory \([\d,]+ for the model, [\d,]+ to work "
                            r"in\), " + size,
        }
        for engine in ENGINES:
            known = self.constants(engine)
            self.assertEqual(limits.value("head_size", known), 2)
            self.assertEqual(limits.value("memory_bytes", known), known["packed_bytes"] + known["workspace_bytes"])
            for field in FIELDS:
                found = limits.value(field, known)
                with self.limited(Limit(field, found, "reason")):
                    packing.check(engine, self.model, engine.encodings[0])
                with self.limited(Limit("dim", 8, "other"), Limit(field, found - 1, "reason")):
                    message = self.assertUserError("m.bin", packing.check, engine, self.model, engine.encodings[0])
                self.assertRegex(message, rf"\A{self.model.checkpoint}: " + messages.get(field, shape).format(
                    field=field, value=found, engine=engine.name, most=found - 1) + r"\Z")

    def test_before_the_weights_are_read(self) -> None:
        """A checkpoint of gigabytes is refused at once: its weights are a hole in the file here."""
        with self.limited(Limit("dim", 7, "reason")), mock.patch.object(checkpoint, "load", None):
            self.assertUserError("m.bin: dim: 8", packing.check, ENGINES[0], self.model, ENGINES[0].encodings[0])

    def test_sources(self) -> None:
        """The configuration asserts each limit: the compiler, and NASM, refuse what lies beyond, with the reason. It is written
        by toolchain and layout: one engine of each."""
        for engine in {(engine.toolchain, engine.layout): engine for engine in here.choose(None, to_run=False)}.values():
            known = self.constants(engine)
            for field in FIELDS:
                found = limits.value(field, known)
                for most in (found, found - 1):
                    with self.subTest(engine=engine.name, field=field, most=most), \
                            self.limited(Limit(field, most, 'a "reason", 100 %')):
                        said = self.preprocess(engine)
                        self.assertEqual(f"{field}: at most {most} (a " in said and "error" in said, most < found, said)

    def preprocess(self, engine: Engine) -> str:
        """What the engine's compiler says about the configuration alone."""
        encoding = engine.encodings[0]
        spans = packer.plan(engine.layout, encoding, self.weights.config, random_model.pieces(10, 7))
        configuration.write(engine, self.weights.config, encoding, spans, self.folder)
        command = ([gcc.command(engine.target), "-std=gnu++20", "-fsyntax-only", "-x", "c++", "model.hpp"]
                   if engine.toolchain == "gcc" else ["nasm", "-f", "bin", "model.inc", "-o", "out"])
        return subprocess.run(command, capture_output=True, encoding="utf-8", cwd=self.folder).stderr


if __name__ == "__main__":
    main()
