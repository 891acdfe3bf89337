"""The golfed engines as contenders: those that this machine's kernel runs itself, as whole processes.

    from common.bench import golfed
    for contender in golfed.contenders():

A golfed engine is a program with its model in it, which tells the whole story. What it says must be what the reference says.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from common.bench import pinned
from common.bench.contenders import GOLFED, Contender, Run
from common.bench.samples import WHOLE
from common.bench.shapes import BenchModel
from common.engine import builds, engines
from common.engine.engines import Engine
from common.errors import UserError
from common.machine import here, program, run
from common.match import matching
from common.model.models import Model


@dataclass(frozen=True)
class Golfed(Contender):
    """One of them."""

    engine: Engine | None = None

    def kinds(self, model: BenchModel) -> tuple[str, ...]:
        return (WHOLE,) if model.shape.whole and model.trained else ()

    def warm_up(self, model: BenchModel, steps: int, kind: str) -> None:
        """It is built, and told its story once."""
        assert self.engine
        prepared(self.engine, model)

    def run(self, model: BenchModel, kind: str, steps: int) -> Run:
        assert self.engine
        command, tokens, text = prepared(self.engine, model)
        if steps < tokens:
            raise UserError(f"--steps {steps}: a golfed engine tells its whole story, of {tokens} positions with {model.shape.name}; "
                            "leave the option out, or the engines, with --only")
        process = pinned.run(command, self.core)
        if process.output != text:
            raise UserError(f"{self.name}: it said something else this time; `llama512 verify` says more")
        return Run(self.whole(process, tokens))


@functools.cache
def prepared(engine: Engine, model: BenchModel) -> tuple[list[str], int, bytes]:
    """The engine's command with a model, the number of its tokens, and its text, which was compared with the reference's."""
    built = builds.build(engine, Model(model.shape.name, model.checkpoint, model.tokenizer))
    expected = matching.expect(built.effective)
    text = run.run(built, expected=expected).text
    difference = matching.compare(text, expected, run.seen(engine))
    if difference:
        raise UserError(f"{engine.name}: {difference}; `llama512 verify` says more")
    return program.native_command(built), len(expected.tokens), text


def contenders() -> list[Golfed]:
    """Of the engines that this machine can make, those that are programs of its kernel."""
    return [Golfed(engine.name, engine.name, GOLFED, engine.encodings[0], engine=engine) for engine in engines.table()
            if run.machine(engine) is program and not here.missing(engine) and not run.emulated(engine)]
