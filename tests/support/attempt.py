"""One engine on one model: refused, equal, different or crashed. For the limits' test and the campaign.

    from support.attempt import attempt
    outcome = attempt(engine, "f32", model, folder, timeout=60)
    outcome.verdict, outcome.detail, outcome.built, outcome.expected
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from common.engine import builds, nasm, packing
from common.engine.builds import Built
from common.engine.engines import Engine
from common.errors import UserError
from common.machine import run
from common.match import matching
from common.match.matching import Expected
from common.model.models import Model

VERDICTS = ("equal", "refused", "different", "crashed", "unsuitable")


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt."""

    verdict: str  # one of VERDICTS
    detail: str  # why, "" when equal
    built: Built | None = None
    expected: Expected | None = None


def attempt(engine: Engine, encoding: str, model: Model, folder: Path, timeout: float,
            problem: Callable[[Expected], str] = lambda expected: "", steps: int = 0) -> Outcome:
    """Checks, builds and runs an engine. `problem` may find the reference's story unsuitable (a near-tie). The reference
    makes no more than `steps` passes."""
    reason = refusal(engine, encoding, model)
    if reason:
        return Outcome("refused", reason)
    try:
        built = builds.build(engine, model, folder, encoding)
    except nasm.SectorFull as error:  # what a shape costs, only the assembler knows
        return Outcome("refused", str(error))
    except UserError as error:
        return Outcome("crashed", f"it does not build: {error}")
    expected = matching.expect(built.effective, steps=steps)
    unsuitable = problem(expected)
    if unsuitable:
        return Outcome("unsuitable", unsuitable, built, expected)
    try:
        difference = difference_of(built, expected, timeout)
    except UserError as error:
        return Outcome("crashed", str(error), built, expected)
    return Outcome("different" if difference else "equal", difference, built, expected)


def refusal(engine: Engine, encoding: str, model: Model) -> str:
    """Why the engine does not take the model's shape, "" when it does."""
    try:
        packing.check_shape(engine, model, encoding)
    except UserError as error:
        return str(error).removeprefix(f"{model.checkpoint}: ")
    return ""


def difference_of(built: Built, expected: Expected, timeout: float) -> str:
    """What is wrong with what the engine says, "" when nothing is."""
    text = run.run(built, timeout=timeout).text
    return str(matching.compare(text, expected, run.seen(built.engine)) or "")
