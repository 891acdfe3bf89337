"""Where models are found: by NAME in a few known folders, or by the path of a checkpoint.

    from common.model import models
    model = models.find_model("stories260K")
    model.checkpoint, model.tokenizer             # two paths

NAME is looked for as models/NAME/NAME.bin in the repository, then as NAME.bin in the data folders: $LLAMA512_MODELS,
../shared/models beside the repository, and the user's cache that `llama512 fetch` fills. What ends in .bin or .gguf, or has a
slash in it, is a path. A GGUF file has its tokenizer; otherwise it lies beside the checkpoint: STEM.tokenizer.bin, tokenizer.bin
or tokVOCAB_SIZE.bin.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from common.errors import UserError
from common.files import require_file
from common.model import checkpoint
from common.project import ROOT

PROJECT_MODEL = "fables"  # the project's own default model, once models/fables is there
FALLBACK_MODEL = "stories260K"
NAMED_MODELS = (PROJECT_MODEL, "nibbles", FALLBACK_MODEL)  # golfed engines must also equal their original f32 checkpoints


SUFFIXES = (".bin", ".gguf")  # of checkpoints


class ModelNotFound(UserError):
    """No folder has a model of that name."""


@dataclass(frozen=True)
class Model:
    """A model's name (the checkpoint's file name without its suffix) and its two files, which may be one."""

    name: str
    checkpoint: Path
    tokenizer: Path


def cache_folder() -> Path | None:
    """The user's cache: $XDG_CACHE_HOME/llama512, or ~/.cache/llama512. None for a user without a home."""
    # The XDG specification says that a relative path there is to be ignored.
    xdg = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(xdg):
        return Path(xdg) / "llama512"
    try:
        return Path.home() / ".cache" / "llama512"
    except RuntimeError:  # no HOME, and no entry in /etc/passwd, as in many containers
        return None


def data_folders() -> list[Path]:
    """The folders for models that are not in the repository, in order of preference."""
    chosen = os.environ.get("LLAMA512_MODELS")
    folders = [Path(chosen) if chosen else None, ROOT.parent / "shared" / "models", cache_folder()]
    return [folder for folder in folders if folder]


def candidates(name: str) -> list[Path]:
    """Where the checkpoint of the model NAME may be, in order of preference."""
    return [ROOT / "models" / name / f"{name}.bin", *(folder / f"{name}.bin" for folder in data_folders())]


def find_golden(name: str) -> Path | None:
    """A file of golden data (the folder `golden` beside a data folder), or None when it is nowhere."""
    paths = (folder.parent / "golden" / name for folder in data_folders())
    return next((path for path in paths if path.is_file()), None)


def default_model() -> str:
    """The name of the model that is used when none is asked for."""
    own = ROOT / "models" / PROJECT_MODEL / f"{PROJECT_MODEL}.bin"
    return PROJECT_MODEL if own.is_file() else FALLBACK_MODEL


def find_checkpoint(name_or_path: str | os.PathLike[str]) -> Path:
    """The checkpoint's path; it exists, but was not read."""
    name = os.fspath(name_or_path)
    if is_path(name):
        require_file(name, "give a checkpoint's path or a model's name")
        return Path(name)
    places = candidates(name)
    for path in places:
        if path.is_file():
            return path
    raise ModelNotFound(f"model {name!r} not found, looked for {', '.join(map(str, places))}; get it with "
                        f"`tools/llama512 fetch {name}` (known models: `tools/llama512 fetch --list`), "
                        "or set LLAMA512_MODELS to the folder that has it")


def is_path(name_or_path: str) -> bool:
    """Whether this is a checkpoint's path rather than a model's name."""
    return "/" in name_or_path or name_or_path.endswith(SUFFIXES)


def find_tokenizer(path: Path, vocab_size: int) -> Path:
    """The tokenizer beside a checkpoint."""
    names = (f"{stem(path)}.tokenizer.bin", "tokenizer.bin", f"tok{vocab_size}.bin")
    for name in names:
        if path.with_name(name).is_file():
            return path.with_name(name)
    raise UserError(f"{path}: no tokenizer beside it, looked for {', '.join(names)} in {path.parent}; "
                    "name it with --tokenizer")


def find_model(name_or_path: str | os.PathLike[str] | None = None,
               tokenizer: str | os.PathLike[str] | None = None) -> Model:
    """Finds both files of a model; None is the default model. `tokenizer` overrides the one beside the checkpoint."""
    path = find_checkpoint(name_or_path or default_model())
    config = checkpoint.read_config(path)
    if tokenizer is None:
        vocabulary = path if checkpoint.is_gguf(path) else find_tokenizer(path, config.vocab_size)
    else:
        require_file(tokenizer, "give a tokenizer's path")
        vocabulary = Path(tokenizer)
    return Model(model_name(path), path, vocabulary)


def stem(path: Path) -> str:
    """A checkpoint's file name without its suffix."""
    return next((path.name.removesuffix(suffix) for suffix in SUFFIXES if path.name.endswith(suffix)), path.name)


def model_name(path: Path) -> str:
    """The same as it can be shown, and can be a folder's."""
    name = stem(path)
    if name in ("", ".", ".."):
        raise UserError(f"{path}: name: {name!r}: a model's name is also the folder's that its engines are built in; "
                        "rename the file")
    return "".join(character if character.isprintable() else "_" for character in name)
