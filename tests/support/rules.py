"""The rules of the game as functions: each returns what breaks a rule, as lines of text; an empty list is good.

    from support import rules
    rules.manifest_problems(manifest, config)              # every byte named once, every weight there once
    rules.decoding_problems(original, effective, "f32")     # the weights are the checkpoint's, times the norms' gains
    image = rules.image_of(built)                           # an ELF program, a disk image, …
    rules.execution_problems(image, rules.executed(log))    # no code outside the counted bytes

They work on what a build leaves behind (program, packed model, manifest, effective checkpoint), and use nothing of the
code that made it.
"""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass
from typing import Sequence

from common.engine.builds import Built
from common.libraries import numpy as np
from common.model.checkpoint import Checkpoint, Config
from common.model.tokenizer import BOS, printed

# --- Rule 3: the packed file holds weights and text ---------------------------------------------------------------

WEIGHT_BITS = {"f32": 32, "bf16": 16, "int8": 8, "int4": 4}  # and a row has whole bytes
SCALE_BYTES = {"int8": 4, "int4": 4}  # one for each row
EMBEDDING = {"int8": "bf16", "int4": "bf16"}  # which the embedding may have instead
ONE_STEP = {"int4"}  # the embedding may have one step for all of it, a power of two that stands alone, and no scales
CLEAR = {"int8": 4}  # bytes of zeros that may stand before an embedding, for the engine to work in a copy of them
MATRICES = ("wq", "wk", "wv", "wo", "w1", "w2", "w3")  # one per layer
SINGLE = ("token_embedding", "wcls")
GAINS = ("rms_att", "rms_ffn", "rms_final")  # folded into matrices, or there as the checkpoint has them: all of them
MOST_PADDING = 2  # bytes: before the first bf16 weight
MOST_TEXT_OFFSET = 4  # bytes: the length and zeros, so that a record may be read in words of 32 bits


def manifest_problems(manifest: dict, config: Config) -> list[str]:
    """The spans cover the file without overlap or hole; each matrix is there once, with its number of weights; there is
    one vocabulary record for each token, and no other data."""
    return coverage_problems(manifest) + count_problems(manifest, config)


def coverage_problems(manifest: dict) -> list[str]:
    """The spans cover the file, without overlap or hole."""
    problems, size = [], manifest["bytes"]
    covered = bytearray(size)
    for span in manifest["spans"]:
        for row in range(span["rows"]):
            start = span["offset"] + row * span["row_stride"]
            end = start + span["row_bytes"]
            if start < 0 or end > size:
                return [f"{span['tensor']}: row {row} lies outside the file"]
            if any(covered[start:end]):
                problems.append(f"{span['tensor']}: row {row} at {start} overlaps another span")
            covered[start:end] = b"\1" * (end - start)
    holes = covered.count(0)
    if holes:
        problems.append(f"{holes} bytes are in no span, the first at {covered.index(0)}")
    return problems


def count_problems(manifest: dict, config: Config) -> list[str]:
    """Each matrix is there once, with its number of weights, and all norms' gains or none; there is one vocabulary record
    for each token."""
    problems, encoding = [], manifest["encoding"]
    shapes = config.shapes()
    wanted = {(name, None): config.vocab_size * config.dim for name in SINGLE}
    wanted |= {(name, layer): math.prod(shapes[name][1:]) for name in MATRICES for layer in range(config.n_layers)}
    if has_gains(manifest):
        wanted |= {(name, None): math.prod(shapes[name]) for name in GAINS}
    found: dict[tuple[str, int | None], int] = {}
    padding = records = size = steps = 0
    for span in manifest["spans"]:
        tensor, bytes_ = span["tensor"], span["rows"] * span["row_bytes"]
        if tensor == "padding":
            padding += bytes_
            if not span["counted"]:
                problems.append("padding that is not counted")
            continue
        if span["counted"]:
            problems.append(f"{tensor}: counted as the engine's own")
        if tensor == "step":
            steps, size = steps + span["rows"] * (span["row_bytes"] == 4 and span["encoding"] == "f32"), size + bytes_
            continue
        if tensor == "vocabulary":
            records += span["rows"]
            longest = manifest["longest_piece"]
            clear = CLEAR.get(encoding, 0)
            beside = span["row_stride"] - span["row_bytes"]  # a record may be so long that all of it is a multiple of 4, or 8
            most = max(-(-(beside + MOST_TEXT_OFFSET + longest + clear) // 4) * 4, -(-(beside + longest + clear + 1) // 8) * 8) - beside
            places = [(offset, 0) for offset in range(1, MOST_TEXT_OFFSET + 1)] + [(0, span["row_bytes"] - 1)]
            if wide(span):  # no length; a line feed takes two characters, and one of zero is the end
                if span["text_offset"] or "length_offset" in span or span["row_bytes"] > 2 * (2 * longest + 1) + 2:
                    problems.append(f"vocabulary: records of {span['row_bytes']} bytes of UTF-16, with text at "
                                    f"{span['text_offset']}, for {longest} bytes of text")
            elif (span["text_offset"], span["length_offset"]) not in places or span["row_bytes"] > most:
                problems.append(f"vocabulary: records of {span['row_bytes']} bytes with text at {span['text_offset']} and the "
                                f"length at {span['length_offset']}, at most {most} bytes with text at {MOST_TEXT_OFFSET} "
                                "and the length at 0, or last, are needed")
        else:
            needed = "f32" if tensor in GAINS else encoding
            if tensor == "token_embedding" and span["encoding"] == EMBEDDING.get(encoding):
                needed = EMBEDDING[encoding]
            rows, columns = span["shape"]
            alone = tensor == "token_embedding" and one_step(manifest)
            if span["encoding"] != needed or bytes_ != rows * row_bytes(needed, columns, alone):
                problems.append(f"{tensor}: {bytes_} bytes are not {span['shape']} weights in {needed}")
            key = tensor, span["layer"]
            fitting = (span["row_bytes"] - row_bytes(needed, 0, alone)) * 8 // WEIGHT_BITS[needed]
            found[key] = found.get(key, 0) + rows * (columns if 0 <= fitting - columns < 8 // WEIGHT_BITS[needed] else fitting)
            size += bytes_
    for key in wanted.keys() | found.keys():
        if found.get(key, 0) != wanted.get(key, 0):
            problems.append(f"{key[0]}, layer {key[1]}: {found.get(key, 0)} weights, the checkpoint has "
                            f"{wanted.get(key, 0)}")
    if encoding in SCALE_BYTES and size > row_bytes("bf16", sum(found.values())):
        problems.append(f"{size} bytes of weights with their scales, in bf16 they would be fewer")
    if steps != one_step(manifest):
        problems.append(f"{steps} steps of all the embedding, {int(one_step(manifest))} is needed")
    if records != config.vocab_size:
        problems.append(f"vocabulary: {records} records for {config.vocab_size} tokens")
    if padding > MOST_PADDING:
        problems.append(f"padding: {padding} bytes")
    return problems


def row_bytes(encoding: str, columns: int, alone: bool = False) -> int:
    """Bytes of a row of weights, with its scale, if it is not without one."""
    return -(-columns * WEIGHT_BITS[encoding] // 8) + (0 if alone else SCALE_BYTES.get(encoding, 0))


def one_step(manifest: dict) -> bool:
    """Whether the embedding has one step, instead of a scale for each row."""
    return manifest["encoding"] in ONE_STEP and any(span["tensor"] == "step" for span in manifest["spans"])


def step_problems(manifest: dict, packed: bytes) -> list[str]:
    """The one step of an embedding is a power of two."""
    offset = next(span["offset"] for span in manifest["spans"] if span["tensor"] == "step")
    value, = struct.unpack_from("<f", packed, offset)
    return [] if math.frexp(value)[0] == 0.5 else [f"step: {value} is no power of two"]


def has_gains(manifest: dict) -> bool:
    """Whether gains stand for themselves, instead of in the matrices behind the norms."""
    return any(span["tensor"] in GAINS for span in manifest["spans"])


GAIN_OF = {"wq": "rms_att", "wk": "rms_att", "wv": "rms_att", "w1": "rms_ffn", "w3": "rms_ffn", "wcls": "rms_final"}
ROUNDING = {"f32": 2.0**-22, "bf16": 1.01 * 2.0**-8}  # relative
# Parts of a row's largest weight: half a step, and what there are steps for. In int4 that is 5 to 10 steps, of which there are 7.
# One step for all rows is the best of three powers of two, which may be 4/7 to 1/14 of the largest weight.
STEPS = {"int8": (0.5 / 127, 1.0), "int4": (0.5 / 5, 7 / 10), "int4, one step": (0.5 * 4 / 7, 7 / 14)}
TINY = 1e-30  # absolute: the smallest bf16 weights


def decoding_problems(original: Checkpoint, effective: Checkpoint, encoding: str, embedding: str = "") -> list[str]:
    """Every weight of the effective checkpoint is the original one times its norm's gain, but for the rounding; or, where
    the gains are there, every weight is the original one, and every gain exactly. `embedding`: its encoding, where that is
    another one."""
    problems = []
    config = original.config
    if effective.config != Config(**{**config.__dict__, "tied": False}):
        return [f"the effective checkpoint has another configuration: {effective.config}"]
    folded = all((effective.tensors[name] == 1).all() for name in GAINS)
    for name, values in effective.tensors.items():
        if name in GAINS:
            if not folded and not (values == original.tensors[name]).all():
                problems.append(f"{name}: not every gain was folded, and it is not the checkpoint's")
            continue
        wanted = (original.classifier if name == "wcls" else original.tensors[name]).astype(np.float64)
        gain = GAIN_OF.get(name) if folded else None
        if gain:
            wanted *= original.tensors[gain][..., None, :]  # (…, rows, columns)
        allowed = deviations(embedding or encoding if name == "token_embedding" else encoding, name, wanted, config)
        bad = ~(np.abs(values - wanted) <= allowed)  # NaN, a hole, is caught as well
        if bad.any():
            i = bad.argmax()
            problems.append(f"{name}: weight {i} is {values.flat[i]}, the checkpoint's {'with its gain ' * bool(gain)}is "
                            f"{wanted.flat[i]}")
    return problems


def deviations(encoding: str, name: str, wanted: np.ndarray, config: Config) -> np.ndarray:
    """How far each weight may be from what is wanted. In steps: half of one, which is a part of the largest weight of a row; of a
    column of wo or w2, or of all columns of wo that share the values of a head. Larger ones than there are steps for may be cut."""
    sizes = np.abs(wanted)
    if encoding not in STEPS:
        return ROUNDING[encoding] * sizes + TINY
    largest = [sizes.max(-2 if name in ("wo", "w2") else -1, keepdims=True)]
    if encoding.endswith("one step"):
        largest = [sizes.max()]
    elif name == "wo":
        heads = sizes.reshape(config.n_layers, config.dim, config.n_kv_heads, config.kv_mul, config.head_size)
        largest.append(np.broadcast_to(heads.max((1, 3), keepdims=True), heads.shape).reshape(sizes.shape))
    half_a_step, most = STEPS[encoding]
    off = np.maximum.reduce([np.maximum(half_a_step * of, sizes - most * of) for of in largest])
    return 1.00002 * off + ROUNDING["f32"] * sizes + TINY


def vocabulary_problems(manifest: dict, packed: bytes, pieces: Sequence[bytes]) -> list[str]:
    """Every record is one length byte, the text, and zeros. Only BOS, which is never shown, may have length 0.

    The manifest says where the text starts, and what is added to every length alike."""
    problems = []
    for span in manifest["spans"]:
        if span["tensor"] != "vocabulary":
            continue
        for token in range(span["rows"]):
            start = span["offset"] + token * span["row_stride"]
            record = packed[start:start + span["row_bytes"]]
            text = printed(pieces[token])
            lengths = {len(text), 0} if token == BOS else {len(text)}
            good = []
            for length in () if wide(span) else lengths:
                data = bytearray(len(record))
                data[span["text_offset"]:span["text_offset"] + len(text)] = text
                data[span["length_offset"]:span["length_offset"] + 1] = bytes([length + span["length_bias"]])
                good.append(bytes(data))
            if wide(span):
                units = [0] * (token == BOS) + characters(text)
                good = [struct.pack(f"<{len(units)}H", *units).ljust(len(record), b"\0")]
                if token != BOS and record[-2:] != b"\0\0":
                    good = []  # nothing would end it
            if record not in good:
                problems.append(f"vocabulary: token {token}: {record!r} for the piece {pieces[token]!r}")
    return problems


def wide(span: dict) -> bool:
    """Whether a vocabulary's text is UTF-16."""
    return span.get("characters") == "UTF-16"


def characters(text: bytes) -> list[int]:
    """The characters of 16 bits for a text: UTF-16 of what is UTF-8, DC00h + byte for the other bytes and for NUL, CR LF for a
    line feed."""
    found: list[int] = []
    while text:
        # The shortest prefix that is a character. There are no overlong ones, so at most one fits.
        size = next((n for n in range(1, 5) if is_utf8(text[:n])), 0)
        if not size or text[0] == 0:
            found.append(0xDC00 + text[0])
        elif text[0] == 0x0A:
            found += [0x0D, 0x0A]
        else:
            code = ord(text[:size].decode("utf-8"))
            found += [code] if code < 0x10000 else [0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code & 0x3FF)]
        text = text[size or 1:]
    return found


def is_utf8(text: bytes) -> bool:
    try:
        return bool(text.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def size_problems(packed_size: int, config: Config, pieces: Sequence[bytes]) -> list[str]:
    """The packed file is not larger than the untied checkpoint in f32 plus the tokenizer.

    The checkpoint is that which the tools write: llama2.c's version 0, which holds the cosines and sines of RoPE."""
    untied = Config(**{**config.__dict__, "tied": False})
    cos_sin = 2 * config.seq_len * (config.head_size // 2)
    checkpoint_size = 28 + 4 * (sum(math.prod(shape) for shape in untied.shapes().values()) + cos_sin)
    tokenizer_size = 4 + sum(8 + len(piece) for piece in pieces)
    if packed_size > checkpoint_size + tokenizer_size:
        return [f"the packed file has {packed_size} bytes, checkpoint and tokenizer {checkpoint_size} + "
                f"{tokenizer_size}"]
    return []


# --- Rule 4: folding is algebra -----------------------------------------------------------------------------------

def factor_problems(factors: dict[str, float], config: Config) -> list[str]:
    """Each factor is a power of two, times -1, sqrt(dim), 1/sqrt(head_size), log2 e or its inverse, or nothing."""
    roots = [math.sqrt(config.dim), 1 / math.sqrt(config.head_size), math.log2(math.e), 1 / math.log2(math.e), 1.0]
    problems = []
    for name, value in factors.items():
        mantissas = [math.frexp(abs(value) / root)[0] for root in roots] if math.isfinite(value) and value else []
        if not any(abs(mantissa - 0.5) < 1e-12 or abs(mantissa - 1) < 1e-12 for mantissa in mantissas):
            problems.append(f"factor {name}: {value} is no constant that may be folded")
    return problems


def folding_problems(manifest: dict, factors: dict[str, float]) -> list[str]:
    """Every matrix is scaled by known factors only, and has the gain of the norm before it, where gains do not stand for
    themselves."""
    gain_of = {} if has_gains(manifest) else GAIN_OF
    problems = []
    for span in manifest["spans"]:
        if span["tensor"] in ("padding", "vocabulary", "step"):
            continue
        unknown = [name for name in span["factors"] if name not in factors]
        if unknown:
            problems.append(f"{span['tensor']}: unknown factor {unknown[0]}")
        elif not math.isclose(span["scale"], math.prod(factors[name] for name in span["factors"]), rel_tol=1e-12):
            problems.append(f"{span['tensor']}: scale {span['scale']} is not the product of {span['factors']}")
        if span["gain"] != gain_of.get(span["tensor"]):
            problems.append(f"{span['tensor']}: gain {span['gain']}, not {gain_of.get(span['tensor'])}")
    return problems


# --- Rules 1 and 2: what is counted, and no code outside of it ------------------------------------------------------

Instructions = Sequence[tuple[int, int]]  # (address, size)


class Image:
    """What is built, with a packed model in it: which of its bytes are the engine's, and where they are in memory."""

    allowed = ("counted",)  # places whose code may run
    code_is_memory = True  # whether a jump to any address is possible: then one is planted
    idle_share = 1 / 2  # of the counted bytes at most are never executed: headers and constants
    entry: int  # address of the first instruction

    def __init__(self, program: bytes, packed: bytes, manifest: dict) -> None:
        if program.count(packed) != 1:
            raise ValueError(f"the packed model is {program.count(packed)} times in the program, not once")
        self.program = program
        self.model_offset = program.index(packed)
        # True for a byte that is the engine's, False for one of the tensors and the vocabulary.
        self.counted = bytearray(b"\1" * len(program))
        for span in manifest["spans"]:
            if span["tensor"] == "padding":
                continue
            for row in range(span["rows"]):
                start = self.model_offset + span["offset"] + row * span["row_stride"]
                self.counted[start:start + span["row_bytes"]] = bytes(span["row_bytes"])

    @property
    def counted_bytes(self) -> int:
        return sum(self.counted)

    def offset(self, address: int) -> int | None:
        """Where the byte at an address is in the file; None: it is not from the file (heap, stack, kernel, firmware)."""
        raise NotImplementedError

    def address(self, offset: int) -> int:
        """The reverse of offset()."""
        raise NotImplementedError

    def place(self, address: int) -> str:
        """What is at an address, in words: `counted` or something that must not be executed."""
        offset = self.offset(address)
        if offset is None:
            return self.outside(address)
        if self.counted[offset]:
            return "counted"
        if 0 <= offset - self.model_offset:
            return f"the model, byte {offset - self.model_offset} of it"
        return "padding"

    def outside(self, address: int) -> str:
        """What is at an address that is not from the file."""
        return "memory outside the program's file"

    def since_entry(self, instructions: Instructions) -> Instructions:
        """Of a trace what the engine is responsible for."""
        return instructions

    def problems(self) -> list[str]:
        """What is wrong with the format itself."""
        return []

    def soon(self, instructions: Instructions) -> int:
        """An instruction that runs soon and once, with room behind it: for planted engines."""
        raise NotImplementedError

    def elsewhere(self) -> int:
        """An address that no code may run at, and that is not the model's: for planted engines."""
        raise NotImplementedError


@dataclass(frozen=True)
class Segment:
    offset: int
    address: int
    file_size: int
    memory_size: int


class ElfImage(Image):
    """An ELF program, little-endian, of 32 or 64 bits."""

    ARM = 40  # e_machine

    def __init__(self, program: bytes, packed: bytes, manifest: dict, counted: int = 0) -> None:
        super().__init__(program, packed, manifest)
        if program[:4] != b"\x7fELF":
            raise ValueError("no ELF program")
        wide = program[4] == 2
        if wide:
            self.entry, table = struct.unpack_from("<QQ", program, 24)
            size, count = struct.unpack_from("<HH", program, 54)
        else:
            self.entry, table = struct.unpack_from("<II", program, 24)
            size, count = struct.unpack_from("<HH", program, 42)
        if struct.unpack_from("<H", program, 18) == (self.ARM,):
            self.entry &= ~1  # Thumb code, at an even address
        self.headers_end = table + size * count
        self.segments = []
        for header in range(table, table + size * count, size):
            if wide:
                kind, _, offset, address, _, in_file, in_memory, _ = struct.unpack_from("<IIQQQQQQ", program, header)
            else:
                kind, offset, address, _, in_file, in_memory, _, _ = struct.unpack_from("<8I", program, header)
            if kind == 1:  # PT_LOAD
                self.segments.append(Segment(offset, address, in_file, in_memory))

    def offset(self, address: int) -> int | None:
        for segment in self.segments:
            # The kernel maps whole pages, so the header before the segment's first byte is in memory, too.
            before = segment.offset % 4096
            if segment.address - before <= address < segment.address + segment.file_size:
                return address - segment.address + segment.offset
        return None

    def address(self, offset: int) -> int:
        segment = self.segments[0]
        return offset - segment.offset + segment.address

    def soon(self, instructions: Instructions) -> int:
        """Behind the headers: an engine may begin in them, and what it executes be its size as well."""
        return next(address for address, _ in instructions if self.offset(address) >= self.headers_end)

    def elsewhere(self) -> int:
        """Near the end of the memory that the program has, where the file has no bytes: what runs there soon runs out of
        it. Where an instruction may begin: memory_size may be any number, for instance two instructions."""
        return (self.segments[0].address + self.segments[0].memory_size - 64) & ~3


class DiskImage(Image):
    """A PC's disk: the boot sector, others with code when there are some, and then the packed model. `counted`: how many bytes
    are said to be counted; what of those sectors is not, is their padding, and zero."""

    allowed = ("counted", "firmware")
    idle_share = 1 / 3
    entry = 0x7C00  # where the BIOS loads the boot sector; others with code follow it
    SECTOR, SIGNATURE = 512, b"\x55\xAA"
    TABLE = range(446, 510)  # of partitions, in the boot sector: four entries of 16 bytes
    LOW = 0x9200  # where the engines load a model below 640 KB; in front of it is a copy of the sector
    HIGH = 0x100000  # where all that follows the boot sector is loaded when that has more code
    # In the sector: a flat data segment. Its base is where the memory begins that the engine works in.
    SEGMENT = re.compile(rb"\xFF\xFF(...)\x93\xCF(.)", re.DOTALL)
    FNINIT = b"\xDB\xE3"

    def __init__(self, program: bytes, packed: bytes, manifest: dict, counted: int, free: Sequence[range] = ()) -> None:
        super().__init__(program, packed, manifest)
        self.code_bytes = self.model_offset
        sectors, rest = divmod(self.code_bytes, self.SECTOR)
        if not sectors or rest:
            raise ValueError(f"the model is at {self.model_offset}, not at the beginning of a sector behind the first one")
        padding = self.padding(program, self.code_bytes, self.code_bytes - counted, free)
        self.code_end = padding[0].start
        self.model = self.LOW if sectors == 1 else self.HIGH + self.code_bytes - self.SECTOR  # where it is loaded
        segment = self.SEGMENT.search(program[:self.SECTOR])
        base = int.from_bytes(segment[1] + segment[2], "little") >> 16 << 16 if segment else 0
        if base > 0x100000:  # the whole image is between 1 MB and there
            moved = int.from_bytes(segment[1] + segment[2], "little") - len(program)
            if moved < 0x100000:
                raise ValueError(f"the image would begin at {moved:#x}, below 1 MB")
            self.model = moved + self.SECTOR
        end = self.model_offset + len(packed)
        for free in (*padding, range(end, len(program))):
            if any(program[i] for i in free):
                raise ValueError(f"{counted} bytes are counted, but the padding at {free.start} is not zero")
            self.counted[free.start:free.stop] = bytes(len(free))

    @classmethod
    def has_partition(cls, program: bytes) -> bool:
        """Whether there is an entry of a partition table: one to boot from, of all of the image but sector 0."""
        status, first, sectors = struct.unpack_from("<B7xII", program, cls.TABLE.start)
        return (status, first, sectors) == (0x80, 1, len(program) // cls.SECTOR - 1)

    @classmethod
    def padding(cls, program: bytes, code: int, size: int, free: Sequence[range]) -> list[range]:
        """Where the bytes are that only fill the sectors with code, so many as are said. In one sector they are all in front of
        the signature, or of a partition's entry, and behind it. In several they are where the source says."""
        if code > cls.SECTOR:
            if sum(map(len, free)) != size:
                raise ValueError(f"{size} bytes are not counted, but padding is at {free}")
            return sorted(free, key=len, reverse=True)
        table = range(cls.TABLE.start + 16, cls.TABLE.stop) if cls.has_partition(program) else range(0)
        end = cls.TABLE.start if table else code - len(cls.SIGNATURE) * program[:code].endswith(cls.SIGNATURE)
        return [range(end - (size - len(table)), end), table]

    def offset(self, address: int) -> int | None:
        if self.entry <= address < self.entry + self.code_bytes:
            return address - self.entry
        if self.model <= address < self.model + len(self.program) - self.code_bytes:
            return address - self.model + self.code_bytes
        return None

    def address(self, offset: int) -> int:
        return offset + self.entry if offset < self.code_bytes else offset - self.code_bytes + self.model

    def outside(self, address: int) -> str:
        """The firmware's own is C0000h to FFFFFh, where its ROMs are, and its handler of system management interrupts
        (INT 13h uses them on some disks): nothing can be written to either. (SeaBIOS also runs code in other places
        before it starts the sector, but not after.)"""
        if 0xC0000 <= address < 0x100000 or 0xA8000 <= address < 0xA8010:
            return "firmware"
        if self.model - self.SECTOR <= address < self.model:
            return "the copy of the sector, in front of the model"
        return "memory that is neither the sector nor the firmware"

    def since_entry(self, instructions: Instructions) -> Instructions:
        """From the sector's first instruction on; empty when it never started."""
        start = next((i for i, (address, _) in enumerate(instructions) if address == self.entry), len(instructions))
        return instructions[start:]

    def soon(self, instructions: Instructions) -> int:
        """The first instruction in protected mode: where the far jump to segment 8 leads. With more code, which goes there to load
        the model, it is fninit: the model is loaded then."""
        if self.code_bytes > self.SECTOR:
            return self.address(self.program.index(self.FNINIT, self.SECTOR, self.code_bytes))
        jump = re.search(rb"\xEA(..)\x08\x00", self.program[:self.SECTOR], re.DOTALL)
        assert jump
        return int.from_bytes(jump[1], "little")

    def elsewhere(self) -> int:
        return self.entry + self.code_end


class PeImage(Image):
    """A PE32+ file for UEFI, without sections and relocations: the firmware loads its headers, which are all of it, to
    ImageBase, and gives it SizeOfImage bytes there."""

    allowed = ("counted", "firmware")

    def __init__(self, program: bytes, packed: bytes, manifest: dict, counted: int = 0) -> None:
        super().__init__(program, packed, manifest)
        start, = struct.unpack_from("<I", program, 0x3C)
        signature, machine, sections, options, flags, magic = struct.unpack_from("<IHH12xHHH", program, start)
        entry, self.base, self.memory_size, headers, subsystem, dll = struct.unpack_from("<I4xQ24xII4xHH", program, start + 40)
        if (program[:2], signature, machine, magic, subsystem) != (b"MZ", 0x4550, 0x8664, 0x20B, 10):
            raise ValueError("no EFI application for x86-64")
        if sections or options != 112 or not flags & 1 or headers != len(program):
            raise ValueError("a section, relocations, or bytes that no header covers")
        if dll & 0x100:
            raise ValueError("NX_COMPAT is set, but the image is code, data and arena in one")
        self.entry = self.base + entry

    def offset(self, address: int) -> int | None:
        return address - self.base if self.base <= address < self.base + len(self.program) else None

    def address(self, offset: int) -> int:
        return self.base + offset

    def outside(self, address: int) -> str:
        if self.base <= address < self.base + self.memory_size:
            return "the arena"
        return "firmware"

    def since_entry(self, instructions: Instructions) -> Instructions:
        start = next((i for i, (address, _) in enumerate(instructions) if address == self.entry), len(instructions))
        return instructions[start:]

    def soon(self, instructions: Instructions) -> int:
        return self.entry

    def elsewhere(self) -> int:
        """Behind the last row."""
        return self.base + self.memory_size - 64


class FlatImage(Image):
    """What a processor of Arm's M profile finds at 0: its vector table, which begins with a stack pointer and the entry."""

    RAM_END = 0x61000000  # of the external RAM that such boards have
    THUMB = 1  # of an address: the mode

    def __init__(self, program: bytes, packed: bytes, manifest: dict, counted: int = 0) -> None:
        super().__init__(program, packed, manifest)
        _, reset = struct.unpack_from("<II", program)
        if not reset & self.THUMB or reset > self.model_offset:
            raise ValueError(f"the vector table begins with {reset:#x}, which is no code of the engine")
        self.entry = reset & ~self.THUMB

    def offset(self, address: int) -> int | None:
        return address if 0 <= address < len(self.program) else None

    def address(self, offset: int) -> int:
        return offset

    def soon(self, instructions: Instructions) -> int:
        return self.entry

    def elsewhere(self) -> int:
        """Near the end of the RAM: what runs there soon runs out of it."""
        return self.RAM_END - 64


class WasmImage(Image):
    """A WebAssembly module. Addresses are offsets in the file. Its functions are those of the code section, nothing else can be
    executed: neither memory nor data. So what is looked at is whether the module is no more than that: the sections, imports and
    exports that are known, and one segment of data, which is the packed model. (That its code is valid, wasm-validate says.)"""

    code_is_memory = False
    SECTIONS = {1: "type", 2: "import", 3: "function", 5: "memory", 6: "global", 7: "export", 10: "code", 11: "data"}
    IMPORTS = {("wasi_snapshot_preview1", "fd_write"), ("wasi_snapshot_preview1", "proc_exit")}
    EXPORTS = {"memory", "_start"}
    FUNCTION = 0  # the kind of an import or export

    def __init__(self, program: bytes, packed: bytes, manifest: dict, counted: int = 0) -> None:
        super().__init__(program, packed, manifest)
        self.packed = packed
        self.found: list[tuple[int, int, int]] = []  # number, begin and end of each section
        if program[:8] != b"\0asm\1\0\0\0":
            raise ValueError("no WebAssembly module")
        at = 8
        while at < len(program):
            number = program[at]
            size, begin = self.number(at + 1)
            at = begin + size
            self.found.append((number, begin, at))
        if at != len(program):
            raise ValueError("the last section ends behind the file")
        self.bodies = []
        for number, begin, _ in self.found:
            if number == 10:
                count, at = self.number(begin)
                for _ in range(count):
                    size, at = self.number(at)
                    self.bodies.append(range(at, at + size))
                    at += size
        self.imports, self.exports = self._imports(), self._exports()
        functions = sum(kind == self.FUNCTION for _, kind in self.imports)
        start = next((index for name, kind, index in self.exports if (name, kind) == ("_start", self.FUNCTION)), functions)
        self.entry = self.bodies[start - functions].start + 1  # behind the number of groups of local variables

    def number(self, at: int) -> tuple[int, int]:
        """An unsigned LEB128, and what follows it."""
        value = shift = 0
        while self.program[at] & 0x80:
            value |= (self.program[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
        return value | self.program[at] << shift, at + 1

    def name(self, at: int) -> tuple[str, int]:
        size, at = self.number(at)
        return self.program[at:at + size].decode(), at + size

    def section(self, wanted: int) -> tuple[int, int]:
        """How many entries a section has, and where they begin."""
        return next((self.number(begin) for number, begin, _ in self.found if number == wanted), (0, 0))

    def _imports(self) -> list[tuple[tuple[str, str], int]]:
        found, (count, at) = [], self.section(2)
        for _ in range(count):
            module, at = self.name(at)
            name, at = self.name(at)
            found.append(((module, name), self.program[at]))
            if self.program[at] != self.FUNCTION:
                break  # a problem already: what follows is not needed
            _, at = self.number(at + 1)
        return found

    def _exports(self) -> list[tuple[str, int, int]]:
        found, (count, at) = [], self.section(7)
        for _ in range(count):
            name, at = self.name(at)
            index, after = self.number(at + 1)
            found.append((name, self.program[at], index))
            at = after
        return found

    def problems(self) -> list[str]:
        problems = []
        numbers = [number for number, _, _ in self.found]
        if numbers != sorted(set(numbers)):
            problems.append(f"sections {numbers} are not in order, or one is there twice")
        problems += [f"there is a section of kind {number}" for number in numbers if number not in self.SECTIONS]
        problems += [f"import {'.'.join(name)}: not of WASI's" for name, kind in self.imports
                     if name not in self.IMPORTS or kind != self.FUNCTION]
        problems += [f"export {name}: not needed" for name, _, _ in self.exports if name not in self.EXPORTS]
        count, at = self.section(11)
        if count != 1 or self.program[at] != 0 or self.program[at + 1] != 0x41:
            return [*problems, f"{count} data segments, or one that is not loaded to a constant address"]
        _, at = self.number(at + 2)
        size, at = self.number(at + 1)
        if (at, size) != (self.model_offset, len(self.packed)) or at + size != len(self.program):
            problems.append("the data is not the packed model alone")
        if any(body.stop > at for body in self.bodies):
            problems.append("code is behind the data")
        return problems

    def offset(self, address: int) -> int | None:
        return address if address < len(self.program) else None

    def address(self, offset: int) -> int:
        return offset

    def place(self, address: int) -> str:
        if any(address in body for body in self.bodies):
            return "counted"
        return "no function of the code section"


# Readers of the image formats, besides those of the tools.
IMAGES = {"elf": ElfImage, "disk": DiskImage, "flat": FlatImage, "pe": PeImage, "wasm": WasmImage}


def image_of(built: Built) -> Image:
    """What was built."""
    image, free = IMAGES[built.engine.target.image], free_ranges(built)
    return image(built.program.read_bytes(), (built.files / "model.packed").read_bytes(),
                 json.loads((built.files / "manifest.json").read_text("utf-8")), built.counted, *[free] * bool(free))


def free_ranges(built: Built) -> list[range]:
    """Where a source of several sectors says that padding is: from the symbol free_N to free_N_end, in NASM's map."""
    path = built.files / "engine.map"
    text = path.read_text("utf-8") if path.is_file() else ""
    symbols = {name: int(value, 16) for value, name in re.findall(r"^ *([0-9A-F]+) .*\b(free_\w+)$", text, re.MULTILINE)}
    return [range(place, symbols[f"{name}_end"]) for name, place in symbols.items() if not name.endswith("_end")]


# `0x002000a6:  83 ec 18    subl …`: bytes, or as other machines' disassemblers write them, halfwords or words;
# `0x002000a6:  OBJD-T: 83ec18…` without a disassembler.
INSTRUCTION = re.compile(
    r"^0x([0-9a-f]+):\s+(?:OBJD-T:\s*([0-9a-f]+)|((?:[0-9a-f]{2})+(?: (?:[0-9a-f]{2})+)*)(?= |$))?", re.MULTILINE)


def executed(log: str) -> list[tuple[int, int]]:
    """(address, size) of every instruction in a log of QEMU's -d in_asm."""
    found = []
    for match in INSTRUCTION.finditer(log):
        digits = (match[2] or match[3] or "00").replace(" ", "")
        found.append((int(match[1], 16), len(digits) // 2))
    return found


def execution_problems(image: Image, instructions: Instructions) -> list[str]:
    """Every executed byte is counted."""
    instructions = image.since_entry(instructions)
    if not instructions:
        return ["the trace is empty, so it shows nothing"]
    problems = image.problems()
    if image.entry not in {address for address, _ in instructions}:
        problems.append(f"the trace does not have the program's entry, {image.entry:#x}")
    for address, size in sorted(set(instructions)):
        for byte in range(address, address + size):
            place = image.place(byte)
            if place not in image.allowed:
                problems.append(f"{byte:#x} was executed: {place}")
                break
    return problems


def never_executed(image: Image, instructions: Instructions) -> list[tuple[int, int]]:
    """Ranges of counted bytes, as offsets in the file, that no instruction was fetched from: header and constants."""
    idle = bytearray(image.counted)
    for address, size in image.since_entry(instructions):
        for byte in range(address, address + size):
            offset = image.offset(byte)
            if offset is not None:
                idle[offset] = 0
    return [match.span() for match in re.finditer(rb"\x01+", idle)]
