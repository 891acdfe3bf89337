#!/usr/bin/env python3
"""tools/llama512 boot: streams the story, writes the screenshot, and is clear about what goes wrong.

    tests/run boot/tool_test.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import unittest
from pathlib import Path

import images
from images import BootTest
from support import cases

from common.engine import engines
from common.machine import screen
from common.machine.qemu import HALT, QEMU
from common.match import matching
from common.model.models import Model
from common.model.tokenizer import BOS

# Those that tell one story and halt; conversation_test.py has the tool with the others.
STORIES = [engine for engine in images.ENGINES if screen.style(engine) != screen.CHAT]
TOOL = Path(__file__).resolve().parents[2] / "tools" / "boot.py"


class Tool(BootTest):
    def run_tool(self, *arguments: object, path: str | None = None) -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **({"PATH": path} if path is not None else {})}
        return subprocess.run([sys.executable, TOOL, *map(str, arguments)], capture_output=True, timeout=120,
                              env=environment)

    def fails(self, *arguments: object, status: int = 1, path: str | None = None) -> str:
        result = self.run_tool(*arguments, path=path)
        self.assertEqual((result.returncode, result.stdout), (status, b""), result.stderr)
        return result.stderr.decode().strip().splitlines()[-1]

    def test_story(self) -> None:
        for engine in STORIES:
            with self.subTest(engine.name):
                sample = self.small_sample(engine)
                shot = self.folder / f"{engine.name}.png"
                result = self.run_tool("--engine", engine.name, "--image", sample.image, "--screenshot", shot,
                                       "--cpu", "486", "--memory", "16")
                self.assertEqual((result.returncode, result.stderr), (0, b""))
                self.assertEqual(result.stdout, sample.expected.text + b"\n")
                self.assertEqual(shot.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")

    def test_builds_the_image(self) -> None:
        engine = images.ENGINES[0]
        sample = self.small_sample(engine)
        model = Model("small", self.folder / "small.bin", self.folder / "small.tokenizer.bin")
        int8 = images.sample(engine, model, self.folder / "int8", "int8")
        self.assertNotEqual(int8.built.packed, sample.built.packed)
        for expected, arguments in ((sample.expected, []), (int8.expected, ["--engine", engine.name, "--encoding", "int8"])):
            result = self.run_tool("--model", model.checkpoint, "--disk", "ahci", "-o", self.folder / "out", *arguments)
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertEqual(result.stdout, expected.text + b"\n")

    def test_streams(self) -> None:
        """The text comes while the machine still runs, not all of it at the end."""
        sample = images.sample(STORIES[-1], images.short_model(self.folder), self.folder)
        with subprocess.Popen([sys.executable, "-B", TOOL, "--engine", sample.engine.name, "--image", sample.image],
                              stdout=subprocess.PIPE) as process:
            assert process.stdout
            pieces = []
            while piece := os.read(process.stdout.fileno(), 1 << 16):
                pieces.append(piece)
        self.assertEqual(process.returncode, 0)
        self.assertEqual(b"".join(pieces), sample.expected.text + b"\n")
        self.assertGreater(len(pieces), 3)

    def test_screen_longer_than_one_page(self) -> None:
        """All of text memory is read: a sector that writes 5000 characters."""
        source, image = self.folder / "long.asm", self.folder / "long.img"
        source.write_text("""
            bits 16
            org 0x7c00
            cli
            lgdt [gdtr]
            mov eax, cr0
            inc ax
            mov cr0, eax
            jmp 8:start
            bits 32
            start: mov ax, 16
            mov es, ax
            mov edi, 0xb8000
            mov ecx, 5000
            mov al, 'A'
            again: stosb
            inc edi
            inc eax
            and al, 0x4f
            loop again
            hlt
            gdtr: dw 23
            dd gdt
            gdt: dq 0, 0xcf9b000000ffff, 0xcf93000000ffff
            times 510-($-$$) db 0
            dw 0xaa55
        """, "utf-8")
        subprocess.run(["nasm", "-f", "bin", "-o", image, source], check=True)
        cells = [engine.name for engine in images.ENGINES if screen.style(engine) == screen.CELLS]
        result = self.run_tool("--engine", cells[0], "--image", image)
        self.assertEqual((result.returncode, len(result.stdout)), (0, 5001), result.stderr)

    def test_nothing_comes(self) -> None:
        """An image that never ends, and shows nothing, is given up."""
        image = self.folder / "loop.img"
        image.write_bytes(b"\xEB\xFE".ljust(510, b"\0") + b"\x55\xAA")  # with interrupts on
        result = subprocess.run([sys.executable, "-B", "-c", "import boot; boot.console.PATIENCE = 2.0; "
                                 "from common.errors import run_tool; run_tool(boot.main)", "--image", image],
                                capture_output=True, timeout=60, cwd=TOOL.parent)
        self.assertEqual((result.returncode, result.stdout), (1, b""))
        self.assertIn(b"error: nothing new for 2 s, after 0 characters", result.stderr)

    def test_interrupted(self) -> None:
        """Ctrl-C ends QEMU as well."""
        image = self.folder / "loop.img"
        image.write_bytes(b"\xF4\xEB\xFD".ljust(510, b"\0") + b"\x55\xAA")  # hlt with interrupts on, for ever
        process = subprocess.Popen([sys.executable, "-B", TOOL, "--image", image], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        time.sleep(3)
        self.assertIsNone(process.poll(), "the machine is not stopped: an interrupt wakes it")
        process.send_signal(2)
        _, errors = process.communicate(timeout=10)
        self.assertEqual((process.returncode, errors), (130, b"\nllama512 boot: interrupted\n"))

    def test_errors(self) -> None:
        other = next(engine.name for engine in engines.table() if engine.target.machine != "pc")
        bootable = ", ".join(engine.name for engine in images.ENGINES)
        self.assertIn(f"boot engines are {bootable}", self.fails("--engine", other))
        self.assertIn("not in golf/engines.json", self.fails("--engine", "nope"))
        self.assertIn("no such file", self.fails("--model", "/nowhere.bin"))
        for data, said in ((b"", "missing"), (bytes(1024), "00 00")):
            (self.folder / "x.img").write_bytes(data)
            self.assertIn(f"are {said}, not 55 aa", self.fails("--image", self.folder / "x.img"))
        self.assertIn("No such file", self.fails("--image", self.folder / "none.img"))
        (self.folder / "x.img").write_bytes(HALT)
        self.assertIn("qemu-system-i386", self.fails("--image", self.folder / "x.img", "--cpu", "z80"))
        for option in (["--model", "y"], ["--encoding", "bf16"]):
            self.assertIn("--image", self.fails("--image", "x", *option, status=2))
        self.assertIn("encoding 'f32': this engine reads bf16 or int8 or int4", self.fails("--encoding", "f32"))
        for option in (["--memory", "1"], ["--memory", "x"], ["--disk", "tape"]):
            self.assertRegex(self.fails(*option, status=2), f"argument {option[0]}: (invalid choice: .)?{option[1]}")

    def test_what_is_no_image(self) -> None:
        """A pipe is not waited for, and QEMU's help is no machine."""
        os.mkfifo(self.folder / "pipe")
        self.assertIn("pipe: no regular file", self.fails("--image", self.folder / "pipe"))
        self.assertIn("no regular file", self.fails("--image", self.folder))
        for name in ("help", "?"):
            result = self.run_tool("--cpu", name)
            self.assertEqual((result.returncode, result.stderr), (0, b""))
            self.assertRegex(result.stdout, rb"(?m)^(x86)? +486 ")  # QEMU 7, QEMU 10
        (self.folder / "x.img").write_bytes(HALT)
        for cpu in ("max,help", "max,help=on"):
            self.assertIn("qemu-system-i386", self.fails("--image", self.folder / "x.img", "--cpu", cpu))

    def test_another_engines_image(self) -> None:
        """One that does not write cell after cell is no text, and no mistake of the reader either."""
        image = self.folder / "x.img"
        # mov ax, 0b800h; mov es, ax; mov byte [es:10], 'A'; cli; hlt
        image.write_bytes(b"\xB8\x00\xB8\x8E\xC0\x26\xC6\x06\x0A\x00A\xFA\xF4".ljust(510, b"\0") + b"\x55\xAA")
        self.assertIn("cell 5 of text memory was written when 0 was next", self.fails("--engine", "asm-boot", "--image", image))

    def test_large_models(self) -> None:
        """One that does not fit below 640 KB boots like any other; one for which the sector has no room, by another engine; and
        one that is too large for a PC is refused."""
        def write(name: str, config: images.Config) -> Model:
            weights = images.random_model.weights(config, seed=1)
            cases.scale_row(weights, "token_embedding", BOS, 0.25)  # it would end the story at once
            return images.random_model.write(self.folder, name, weights)

        model = write("large", images.Config(64, 172, 2, 8, 4, 4096, 8, True))
        result = self.run_tool("--model", model.checkpoint, "-o", self.folder / "out")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertGreater((self.folder / "out" / "asm-boot-full").stat().st_size, 640 << 10)
        expected = matching.expect(Model("large", *(self.folder / "out" / "asm-boot-full.build" / name
                                                    for name in ("effective.bin", "tokenizer.bin"))))
        self.assertEqual(result.stdout, expected.text + b"\n")

        model = write("wide", images.Config(288, 260, 1, 6, 6, 1000, 3, True))
        result = self.run_tool("--model", model.checkpoint, "-o", self.folder / "out")
        self.assertEqual(result.returncode, 0, result.stderr)
        full = rb"asm-boot-full: the sector is \d+ bytes too full .*; "
        self.assertRegex(result.stderr, rb"\A%bthe same without MEMORY_ERROR is taken instead\n%basm-boot is taken instead\n\Z" % (full, full))
        expected = matching.expect(Model("wide", *(self.folder / "out" / "asm-boot.build" / name
                                                   for name in ("effective.bin", "tokenizer.bin"))))
        self.assertEqual(result.stdout, expected.text + b"\n")

        model = cases.sparse_model(images.Config(2048, 5632, 22, 32, 4, 32000, 2048, False), self.folder)
        self.assertRegex(self.fails("--model", model.checkpoint), r"sparse.bin: seq_len: 2048: .* takes at most [0-9,]{13} ")

    def test_without_qemu(self) -> None:
        empty = self.folder / "bin"
        empty.mkdir()
        image = self.folder / "halt.img"
        image.write_bytes(HALT)
        self.assertIsNotNone(shutil.which(QEMU), "the tests need the package qemu-system-x86")
        self.assertIn("install the package qemu-system-x86", self.fails("--image", image, path=str(empty)))


if __name__ == "__main__":
    unittest.main()
