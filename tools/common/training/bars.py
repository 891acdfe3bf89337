"""What a story model is judged by: the project's own bars, or those of the file judge.json beside a model.

    from common.training import bars
    wanted = bars.beside(Path("models/nibbles/nibbles.bin"))      # Bars(grammar=…, pass_share=0.8, …)

judge.json is an object with any of the fields of Bars; what it does not name is as for models/fables.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path

from common.errors import UserError
from common.files import open_file
from common.training.programs import SOURCES

FILE = "judge.json"


@dataclass(frozen=True)
class Bars:
    grammar: Path = SOURCES / "fables.grammar"  # in the file: its name, beside it
    min_words: int = 100  # of the greedy story
    max_words: int = 160
    pass_share: float = 0.92  # of the samples
    names: int = 12  # of 16 that the corpus never has
    encodings: tuple[str, ...] = ()  # whose text has to be the same; none named: all that keep the model's weights well enough


def beside(checkpoint: Path) -> Bars:
    """The bars for a checkpoint."""
    path = checkpoint.with_name(FILE)
    if not path.is_file():
        return Bars()
    try:
        with open_file(path, "bars") as file:
            found = json.loads(file.read())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot read the bars: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(found, dict):
        raise UserError(f"{path}: an object is needed, {{\"pass_share\": 0.8}} for one")
    known = {field.name: type(field.default) for field in fields(Bars)}
    for name, value in found.items():
        if name not in known:
            raise UserError(f"{path}: {name}: no such bar, {', '.join(known)} are known")
        if not isinstance(value, {float: (int, float), tuple: list, int: int}.get(known[name], str)):
            raise UserError(f"{path}: {name}: {json.dumps(value)} is no value for it")
    if "grammar" in found:
        found["grammar"] = path.with_name(found["grammar"])
    if "encodings" in found:
        found["encodings"] = tuple(found["encodings"])
    return replace(Bars(), **found)
