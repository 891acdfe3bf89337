"""The smallest engine as a line of base64, with the commands that put it around a packed model and run it.

    from common.size import one_line
    print(one_line.commands(one_line.build(folder)))

What is in the line are the program's counted bytes, so the line does not depend on the model's weights.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from common.engine import builds, engines
from common.engine.builds import Built
from common.engine.engines import Engine
from common.errors import UserError
from common.model.models import PROJECT_MODEL, find_model

FOLDER = "build/story"  # where the commands put the model and the program
PROGRAM = f"{FOLDER}/story"


def smallest() -> Engine:
    """Of the engines that are programs; a disk image needs a machine."""
    return min((engine for engine in engines.table() if engine.target.machine == "program"),
               key=lambda engine: engine.budget)


def build(folder: Path) -> Built:
    """The smallest engine for the project's own model."""
    return builds.build(smallest(), find_model(PROJECT_MODEL), folder)


def around(program: bytes, packed: bytes) -> tuple[bytes, bytes]:
    """What stands in a program before its packed model, and behind it."""
    before, model, behind = program.partition(packed)
    if not model:
        raise UserError("the packed model is not one piece of the program, so no line can be made of the rest")
    return before, behind


def commands(built: Built) -> str:
    """Shell commands, from the project's folder: pack the model, decode the program around it, run it."""
    pieces = around(built.program.read_bytes(), (built.files / "model.packed").read_bytes())
    before, behind = (f"echo {b64encode(piece).decode()} | base64 -d; " if piece else "" for piece in pieces)
    return (f"tools/llama512 pack --engine {built.engine.name} --model {built.model} -o {FOLDER}\n"
            f"{{ {before}cat {FOLDER}/model.packed; {behind}}} > {PROGRAM}\n"
            f"chmod +x {PROGRAM} && {PROGRAM}\n")
