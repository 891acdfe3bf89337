"""The models that the benchmark runs: checkpoints of standard shapes, with random weights, made once and kept.

    from common.bench import shapes
    model = shapes.model(shapes.named("15M"), folder)       # .name, .checkpoint, .tokenizer, .quantized(32)
    shapes.weight_bytes(config, "f32")                      # that one pass reads

How fast a program is depends on a model's shape, hardly on its weights, as long as a story goes on. So they are random, but with
some care. Vectors keep their size on the way through: a matrix's standard deviation is 1 / sqrt(its columns). That of the embedding
is smaller: what the layers add then decides, where else every token would be followed by itself. BOS, which ends a story, has an
embedding so small that its logit never wins; so have all the tokens that a prompt is spelled with. What is left has pieces of PIECE
letters each: the length of a story tells how many tokens it has.

A model that is there, with weights that were trained, is taken as it is (stories260K, and the project's own).
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from common.bench import int8
from common.errors import UserError, atomic_write
from common.libraries import numpy as np
from common.model import checkpoint, llama2c, models, random_model, tokenizer
from common.model.llama import GAINS, Checkpoint, Config
from common.model.vocabulary import FIRST_BYTE, PIECE_OF_BOS, PIECE_OF_EOS

PIECE = 7  # letters
EMBEDDING = 0.05  # its standard deviation
SMALL = 0.01  # an embedding times this never wins
SEED = 1
RECIPE = 1  # of all that is random here; a file of another one is made anew
SMALLEST_GROUP = 32  # columns with a scale of their own: fewer are no int8 any more
LETTERS = " " + random_model.LETTERS
LARGE, MIDDLE = 1024, 256  # vocabularies that have room for all bytes, and for letters


@dataclass(frozen=True)
class Shape:
    """A model to measure with, and how much of it."""

    name: str
    model: str  # its name where trained weights may be found; "": they are always random
    config: Config | None  # of random weights; None: there are none, only the model
    steps: int  # positions of a story
    quick: int  # the same for --quick
    lengths: tuple[int, ...]  # positions, for the growth of the cost
    repeat: int = 1  # a round of a small model is repeated so many times
    whole: bool = False  # whole processes are compared, too; and the golfed engines, which have this model among their bytes


SHAPES = (
    Shape("fables", models.PROJECT_MODEL, None, 256, 256, (), repeat=3, whole=True),
    Shape("260K", "stories260K", Config(64, 172, 5, 8, 4, 512, 512), 512, 512, (64, 128, 256, 512), repeat=3, whole=True),
    Shape("15M", "", Config(288, 768, 6, 6, 6, 32000, 256), 256, 64, (64, 128, 256)),
    Shape("42M", "", Config(512, 1376, 8, 8, 8, 32000, 1024), 256, 32, (64, 128, 256, 512)),
    Shape("110M", "", Config(768, 2048, 12, 12, 12, 32000, 1024), 128, 16, (64, 128)),
)


def named(name: str) -> Shape:
    for shape in SHAPES:
        if name.removeprefix("stories") == shape.name:
            return shape
    raise UserError(f"--shape: {name}: one of {', '.join(shape.name for shape in SHAPES)} is needed")


@dataclass(frozen=True)
class BenchModel:
    """A shape's files."""

    shape: Shape
    checkpoint: Path
    tokenizer: Path
    config: Config
    trained: bool  # its weights are no random ones, and its story may end

    def __str__(self) -> str:
        return f"{self.shape.name} ({'trained' if self.trained else 'random'} weights)"

    def quantized(self, folder: Path) -> Path:
        """The same model in int8, for llama2.c's runq."""
        group = int8.group_size(self.config)
        path = folder / f"{self.shape.name}.int8.bin"
        source = self.checkpoint.stat()
        recipe = {"recipe": RECIPE, "group": group, "of": str(self.checkpoint), "bytes": source.st_size, "modified": source.st_mtime_ns}
        if not _is_made(path, recipe):
            int8.write(path, checkpoint.load(self.checkpoint), group)
            _say(path, recipe)
        return path


def model(shape: Shape, folder: Path) -> BenchModel:
    """A shape's model: the trained one where it is found, else one that is made in the folder."""
    if shape.model:
        try:
            found = models.find_model(shape.model)
            return BenchModel(shape, found.checkpoint, found.tokenizer, checkpoint.read_config(found.checkpoint), True)
        except models.ModelNotFound:
            if shape.config is None:
                raise
    assert shape.config
    path = folder / f"{shape.name}.bin"
    vocabulary = path.with_suffix(".tokenizer.bin")
    recipe = {"recipe": RECIPE, "seed": SEED, "config": asdict(shape.config)}
    if not (vocabulary.is_file() and _is_made(path, recipe)):
        texts = pieces(shape.config.vocab_size)
        tokenizer.write(vocabulary, texts, [0.0] * len(texts))
        llama2c.write(path, weights(shape.config))
        _say(path, recipe)
    return BenchModel(shape, path, vocabulary, shape.config, False)


def weights(config: Config) -> Checkpoint:
    """Random ones with which a story does not end."""
    generator = np.random.default_rng(SEED)
    tensors = {}
    for name, shape in config.shapes().items():
        if name in GAINS:
            tensors[name] = np.ones(shape, np.float32)
            continue
        tensors[name] = generator.standard_normal(shape, np.float32)
        tensors[name] *= np.float32(EMBEDDING if name == "token_embedding" else shape[-1] ** -0.5)
    model = Checkpoint(config, tensors)
    model.classifier[:spelled(config.vocab_size)] *= np.float32(SMALL)
    return model


def pieces(vocab_size: int) -> list[bytes]:
    """<unk>, BOS, EOS, the 256 bytes, a space and letters; then pieces of PIECE letters. Small vocabularies leave some out."""
    known = [b"<unk>", PIECE_OF_BOS, PIECE_OF_EOS]
    if vocab_size >= LARGE:
        known += [b"<0x%02X>" % byte for byte in range(256)]
    if vocab_size >= MIDDLE:
        known += [letter.encode() for letter in LETTERS]
    return known + random_model.pieces(vocab_size - len(known), PIECE)


def spelled(vocab_size: int) -> int:
    """How many tokens come before the pieces of PIECE letters: they never win."""
    return FIRST_BYTE + (256 if vocab_size >= LARGE else 0) + (len(LETTERS) if vocab_size >= MIDDLE else 0)


def weight_bytes(config: Config, kind: str, group: int = 0) -> int:
    """The bytes of matrices that a pass reads, each once; of an untied embedding it is only a row. `kind`: f32 or int8."""
    numbers = sum(int(np.prod(shape)) for name, shape in config.shapes().items()
                  if name not in GAINS and (name != "token_embedding" or config.tied))
    return 4 * numbers if kind == "f32" else numbers + 4 * (numbers // group)


def parameters(config: Config) -> int:
    return sum(int(np.prod(shape)) for shape in config.shapes().values())


def _recipe_file(path: Path) -> Path:
    return path.with_suffix(".json")


def _is_made(path: Path, recipe: dict[str, object]) -> bool:
    """Whether the file is there, whole, and of this recipe, which is written last."""
    try:
        return json.loads(_recipe_file(path).read_text("utf-8")) == recipe | {"size": path.stat().st_size}
    except (OSError, ValueError):
        return False


def _say(path: Path, recipe: dict[str, object]) -> None:
    """Writes what a file was made by."""
    with atomic_write(_recipe_file(path), "w") as file:
        json.dump(recipe | {"size": os.stat(path).st_size}, file)
