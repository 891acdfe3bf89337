"""What the boot tests share: models to boot, images, and the comparison of a machine's screen with the reference.

    import images
    model = images.short_model(folder)                          # 32 tokens of the default model
    sample = images.sample(engine, model, folder)               # image and expected text
    run = images.boot(sample, cpu="486", memory=8, disk="ide")  # to the end
    run.problem                                                 # "" when all of text memory and COM1 is right
"""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from support import rules
from support.folders import FolderTest

from common.engine import builds, engines
from common.engine.builds import Built
from common.engine.engines import Engine
from common.errors import UserError
from common.machine import console, pc as pc_machine, qemu as machine, screen
from common.machine.console import Conversation
from common.machine.qemu import Machine
from common.match import matching
from common.match.matching import Expected
from common.model import checkpoint, models, random_model
from common.model.checkpoint import Checkpoint, Config
from common.model.models import Model

ENGINES = [engine for engine in engines.table() if engine.target.machine == "pc"]
SHORT = 32  # tokens
SECTOR, TABLE = machine.SECTOR, 446  # bytes, and where the partition table is
ACTIVE, TYPE = 0x80, 0xDA
TIMEOUT = 120.0  # seconds for a story
SMALL = Config(24, 40, 2, 6, 2, 40, 12, False)


def engine_argument() -> Engine:
    """The engine that the command line names; the rest of it is unittest's."""
    if len(sys.argv) > 1 and sys.argv[1] in [engine.name for engine in ENGINES]:
        return engines.find(sys.argv.pop(1))
    return ENGINES[0]


class BootTest(FolderTest):
    def small_sample(self, engine: Engine) -> Sample:
        """Of a model that takes no time."""
        model = random_model.write(self.folder, "small", random_model.weights(SMALL, seed=3, spread=4))
        return sample(engine, model, self.folder / "small")

    def check_partition(self, path: Path) -> None:
        """An image with an entry of the partition table, for all but sector 0: active, of a type without a file system."""
        image = path.read_bytes()
        entry, rest = image[TABLE:TABLE + 16], image[TABLE + 16:SECTOR - 2]
        self.assertEqual(rest, bytes(48))
        self.assertEqual(image[SECTOR - 2:SECTOR], b"\x55\xAA")
        status, head, sector, cylinder, kind, end, first, sectors = struct.unpack("<5B3sII", entry)
        self.assertEqual((status, kind, end), (ACTIVE, TYPE, b"\xFE\xFF\xFF"))
        self.assertEqual((cylinder, head, sector), (0, 0, first + 1))  # the first 63 sectors are on the first track
        self.assertEqual((first, (first + sectors) * SECTOR), (1, len(image)))
        if shutil.which("sfdisk"):
            table = json.loads(subprocess.run(["sfdisk", "--json", path], capture_output=True, encoding="utf-8", check=True).stdout)
            partition, = table["partitiontable"]["partitions"]
            self.assertEqual((partition["start"], partition["size"], partition["type"], partition["bootable"]),
                             (first, sectors, "da", True))


# --- Models ------------------------------------------------------------------------------------------------------

def with_seq_len(model: Model, seq_len: int, folder: Path) -> Model:
    """A copy of a model with another, smaller seq_len."""
    weights = checkpoint.load(model.checkpoint)
    path = folder / f"{model.name}-{seq_len}.bin"
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint.write(path, Checkpoint(replace(weights.config, seq_len=min(seq_len, weights.config.seq_len)),
                                         weights.tensors))
    return Model(path.stem, path, model.tokenizer)


def short_model(folder: Path) -> Model:
    """The first 32 tokens of the default model; where there is none, of one with random weights."""
    try:
        model = models.find_model()
    except UserError as error:
        print(f"random weights instead of the default model: {error}")
        weights = random_model.weights(Config(64, 172, 5, 8, 4, 512, SHORT, True), seed=1, spread=4)
        return random_model.write(folder, "random", weights)
    return with_seq_len(model, SHORT, folder)


# --- Images ------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Sample:
    """An image to boot, and what it has to say."""

    engine: Engine
    image: Path
    expected: Expected
    counted: int
    built: Built


def sample(engine: Engine, model: Model, folder: Path, encoding: str | None = None) -> Sample:
    built = builds.build(engine, model, folder, encoding)
    return Sample(engine, built.program, matching.expect(built.effective), built.counted, built)


# --- Machines ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Run:
    """How a machine ended."""

    cells: bytes  # text memory, characters and attributes
    shown: bytes  # what was written to its characters, by an engine of style CELLS
    serial: bytes  # all that COM1 got; from an engine of style CHAT with its prompts
    before: bytes  # the characters that the boot sector found in text memory
    page: bytes  # 7000h to 7FFFh
    model: bytes  # the packed model in memory, up to the end of its last sector
    seconds: float
    problem: str  # "" when the engine said what it had to say
    icount: int  # instructions since the machine's `begin`, when recorded


def boot(sample: Sample, cpu: str = "qemu32", memory: int | None = None, disk: str = "ide", timeout: float = TIMEOUT,
         **options: Any) -> Run:
    """Boots a sample's image, and waits for the end of its story; from an engine that takes lines, that of an empty one."""
    start = time.monotonic()
    with Machine(sample.image, cpu, memory or pc_machine.memory_for(sample.built), disk, **options) as pc:
        if screen.style(sample.engine) == screen.CHAT:
            talk = Conversation(pc)
            talk.to_the_end(timeout)
            serial = talk.output
        else:
            pc.wait_until_stopped(timeout)
            serial = pc.serial()
        seconds = time.monotonic() - start
        cells = pc.memory(*machine.TEXT_MEMORY)
        shown = pc.cells() if screen.style(sample.engine) == screen.CELLS else b""
        page = pc.memory(0x7000, 0x1000)
        image = rules.image_of(sample.built)
        model = pc.memory(image.address(image.model_offset), sample.image.stat().st_size - image.model_offset)
        icount = pc.call("query-replay")["icount"] - pc.icount
    return Run(cells, shown, serial, pc.before, page, model, seconds,
               problem(sample, cells, shown, serial, pc.before), icount)


def problem(sample: Sample, cells: bytes, shown: bytes, serial: bytes, before: bytes) -> str:
    """What is wrong with what the engine said, "" when nothing is. `cells` is all of text memory, `shown` is what was
    written to its characters (of matter for an engine of style CELLS only), `before` the characters that were there."""
    how, text, memory = screen.style(sample.engine), sample.expected.text, cells[::2]
    said = serial if how == screen.LINES else shown
    if how == screen.CHAT:  # the prompt, an empty line, the story, the prompt
        begin, end = serial.find(b">") + 1, len(serial) - len(console.PROMPT)
        if serial[:begin] not in (b">", console.PROMPT) or serial[end:] != console.PROMPT or serial[begin:begin + 2] != console.NEWLINE:
            return f"COM1: no story between two prompts; it got {serial!r}"
        text, said = serial, console.plain(serial[begin + 2:end])
    difference = matching.compare(said, sample.expected, screen.seen(sample.engine))
    if how != screen.CELLS and difference:
        return f"COM1: {difference}; it got {serial!r}"
    if how == screen.CELLS and serial:
        return f"COM1 got {serial!r} from an engine that does not use it"
    if difference:
        return f"screen: {difference}"
    wrong = screen.problem(memory, text, how, before)
    if wrong:
        return wrong
    # A character in its background's colour could not be seen.
    hidden = [i for i, (character, colour) in enumerate(zip(memory, cells[1::2]))
              if character not in screen.BLANK and colour & 15 == colour >> 4 & 7 and i < screen.COLUMNS * screen.ROWS]
    return f"cell {hidden[0]} cannot be seen, its attribute is {cells[2 * hidden[0] + 1]:#x}" if hidden else ""


def garbage(path: Path, memory: int) -> Path:
    """Random bytes for all memory above 1 MB, up to 32 MB."""
    size = min(memory - 1, 32) << 20
    path.write_bytes((random.Random(512).randbytes(1 << 20) * (size >> 20))[:size])
    return path


def manifest(sample: Sample) -> dict[str, Any]:
    return json.loads((sample.built.files / "manifest.json").read_text("utf-8"))
