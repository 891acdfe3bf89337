#!/usr/bin/env python3
"""A conversation with a PC: the keyboard, COM1, the prompt, the screen; and tools/llama512 boot as a live terminal.

    tests/run boot/conversation_test.py

What answers is no engine. It is a sector that is made for this: it takes lines as an engine does, and says each one again, with
characters that stand for others: `|` a line feed, `^` a carriage return, `_` a pause in protected mode, `!` the end of the machine.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import termios
import time
import unittest
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import images
from support import skip
from support.folders import FolderTest

from common.engine import engines
from common.errors import UserError
from common.machine import pc, qemu, screen
from common.machine.console import KEYBOARD, SERIAL, Conversation

ENGINE = replace(images.ENGINES[-1], console="chat")
LONGEST = 60
TOOL = Path(__file__).resolve().parents[2] / "tools"
# The tool, with an engine that one can type to.
TALKS = ("import dataclasses, boot; from common.errors import run_tool; find = boot.find_engine; "
         "boot.find_engine = lambda name: dataclasses.replace(find(name), console='chat'); run_tool(boot.main)")
SECTOR = f"""
        bits    16
        org     0x7c00
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7000
        cld
        mov     ax, 3                   ; clears the screen
        int     0x10
again:  call    newline
        mov     al, '>'
        call    putc
        mov     di, 0x600
key:    call    poll
        jz      key
        cmp     al, 13
        je      enter
        cmp     al, 8
        je      back
        cmp     al, 127
        je      back
        cmp     al, ' '
        jb      key
        cmp     di, 0x600 + {LONGEST}
        je      key
        stosb
echo:   call    putc
        jmp     key
back:   cmp     di, 0x600
        je      key
        dec     di
        mov     al, 8
        call    putc
        mov     al, ' '
        call    putc
        mov     al, 8
        jmp     echo
enter:  call    newline
        mov     byte [di], 0
        mov     si, 0x600
tell:   lodsb
        cmp     al, 0
        je      again
        cmp     al, '!'
        je      stop
        cmp     al, '_'
        je      pause
        cmp     al, '^'
        jne     .no_return
        mov     al, 13
.no_return:
        cmp     al, '|'
        jne     .one
        call    newline
        jmp     tell
.one:   call    putc
        jmp     tell
stop:   cli
        hlt
pause:  cli                             ; until the clock's second has changed twice
        mov     eax, cr0
        inc     ax
        mov     cr0, eax
        mov     cx, 2
.next:  call    second
        mov     ah, al
.same:  call    second
        cmp     al, ah
        je      .same
        loop    .next
        mov     eax, cr0
        dec     ax
        mov     cr0, eax
        sti
        jmp     tell
second: mov     al, 0
        out     0x70, al
        in      al, 0x71
        ret
newline: mov    al, 13
        call    putc
        mov     al, 10
putc:   push    ax
        mov     dx, 0x3fd
.busy:  in      al, dx
        test    al, 0x20
        jz      .busy
        pop     ax
        mov     dl, 0xf8
        out     dx, al
        mov     ah, 0x0e
        mov     bx, 7
        int     0x10
        ret
poll:   mov     dx, 0x3fd
        in      al, dx
        test    al, 1
        jz      .bios
        mov     dl, 0xf8
        in      al, dx
        inc     dx
        ret
.bios:  mov     ah, 1
        int     0x16
        jz      .none
        mov     ah, 0
        int     0x16
        inc     dx
.none:  ret
        times   510 - ($ - $$) db 0
        dw      0xaa55
"""


def says(line: str | bytes) -> bytes:
    """What the sector answers."""
    return os.fsencode(line)[:LONGEST].replace(b"_", b"").replace(b"|", b"\n").replace(b"^", b"\r")


class ConversationTest(FolderTest):
    def setUp(self) -> None:
        super().setUp()
        source, self.image = self.folder / "talks.asm", self.folder / "talks.img"
        source.write_text(SECTOR, "utf-8")
        subprocess.run(["nasm", "-f", "bin", "-o", self.image, source], check=True)


class Machine(ConversationTest):
    def check(self, by: str, *lines: str | bytes) -> None:
        with qemu.Machine(self.image, cells=False) as machine:
            talk = Conversation(machine)
            talk.wait_for_prompt(60)
            self.assertTrue(talk.at_prompt())
            for line in lines:
                self.assertEqual(talk.say(line, by, 60), says(line), line)
                self.assertEqual(screen.problem(machine.text_memory(), talk.output, screen.CHAT, machine.before), "")

    def test_keyboard(self) -> None:
        typed = "".join(chr(code) for code in range(32, 127) if chr(code) not in "!_")
        self.check(KEYBOARD, typed[:LONGEST], typed[LONGEST:], "", "a" * LONGEST + "bcd")

    def test_serial(self) -> None:
        """Any bytes; and more than the screen has rows."""
        self.check(SERIAL, "", "a  b", b"\xc3\xa9\xff\x80", "^|^^||^", "x" * 200, *["long " * 12] * 30)

    def test_looks_like_a_prompt(self) -> None:
        """A story that stops for a while behind what could be a prompt."""
        for by in (KEYBOARD, SERIAL):
            self.check(by, "a|>_b", "|>", ">", "|>_")

    def test_backspace(self) -> None:
        with qemu.Machine(self.image, cells=False) as machine:
            talk = Conversation(machine)
            talk.wait_for_prompt(60)
            for by, back in ((KEYBOARD, "\b"), (SERIAL, "\b"), (SERIAL, "\x7f")):
                self.assertEqual(talk.type(f"abx{back}c{back * 5}xy\x01\x1bz" if by == SERIAL else f"abx{back}c{back * 5}xyz", by),
                                 b"abx\b \bc" + b"\b \b" * 3 + b"xyz")
                talk.enter(by)
                self.assertEqual(talk.answer(60), b"xyz")
                self.assertEqual(screen.problem(machine.text_memory(), talk.output, screen.CHAT, machine.before), "")

    def test_stops(self) -> None:
        with qemu.Machine(self.image, cells=False) as machine:
            talk = Conversation(machine)
            talk.wait_for_prompt(60)
            with self.assertRaisesRegex(UserError, "the engine has stopped; the screen shows '.*>no!.*no'"):
                talk.say("no!")

    def test_never_comes_back(self) -> None:
        with qemu.Machine(self.image, cells=False) as machine:
            talk = Conversation(machine)
            talk.wait_for_prompt(60)
            talk.type("abc")
            with self.assertRaisesRegex(UserError, "not back at its prompt after 1 s, nor after .*>abc'"):
                talk.wait_for_prompt(1, 1)

    def test_converse(self) -> None:
        built: Any = SimpleNamespace(engine=ENGINE, program=self.image, files=self.folder, workspace=0, memory=0)
        self.assertEqual(pc.converse(built, ["a|b", ""], timeout=60), [b"a\nb", b""])
        self.assertEqual(pc.run(built, False, False, 60).text, b"")
        self.assertEqual(pc.count(built, 60)[0], b"")
        built.engine = images.ENGINES[0]
        with self.assertRaisesRegex(UserError, "this engine takes no lines"):
            pc.converse(built, [""])


class Tool(ConversationTest):
    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-B", "-c", TALKS, "--image", str(self.image), *map(str, arguments)]

    def run_tool(self, *arguments: object, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(self.command(*arguments), capture_output=True, timeout=120, cwd=TOOL, input=typed)

    def test_prompts(self) -> None:
        shot = self.folder / "shot.png"
        result = self.run_tool("--prompt", "A Bear", "--prompt", "\u00e9|^", "--screenshot", shot, typed=b"not read\n")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertEqual(result.stdout.decode(), "\n>A Bear\nA Bear\n>\u00e9|^\n\u00e9\n\r\n>\n")
        self.assertEqual(shot.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")

    def test_lines_of_a_file(self) -> None:
        result = self.run_tool(typed=b"one\n\r\nlast")
        self.assertEqual((result.returncode, result.stderr, result.stdout), (0, b"", b"\n>one\none\n>\n\n>last\nlast\n>\n"))

    def test_the_machine_stops(self) -> None:
        result = self.run_tool("--prompt", "x!")
        self.assertEqual((result.returncode, result.stdout), (1, b"\n>x!\nx\n"))
        self.assertIn(b"error: the engine has stopped; the screen shows", result.stderr)

    def live(self, *typed: bytes) -> tuple[bytes, bytes, int]:
        """What a terminal shows, stderr and the status, when these keys are pressed, each time behind a prompt."""
        ours, theirs = skip.pseudo_terminal()
        before = termios.tcgetattr(theirs)
        try:
            with subprocess.Popen(self.command(), stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, cwd=TOOL) as process:
                shown, keys, end = b"", list(typed), time.monotonic() + 60
                while process.poll() is None and time.monotonic() < end:
                    if select.select([ours], [], [], 0.2)[0]:
                        shown += os.read(ours, 1 << 16)
                    elif keys and shown.endswith(b">"):
                        os.write(ours, keys.pop(0))
                process.kill()
                while select.select([ours], [], [], 0.2)[0]:
                    shown += os.read(ours, 1 << 16)
                assert process.stderr
                said = process.stderr.read()
            self.assertEqual(termios.tcgetattr(theirs), before, "the terminal is not as it was")
            return shown, said, process.returncode
        finally:
            os.close(ours)
            os.close(theirs)

    def test_live(self) -> None:
        for last in (b"\x1d", b"\x03"):
            shown, said, status = self.live(b"Onx\x7fce|upon\r", b"\xc3\xa9\r", last)
            self.assertEqual(shown, b"\r\n>Onx\b \bce|upon\r\nOnce\r\nupon\r\n>\xc3\xa9\r\n\xc3\xa9\r\n>\r\n")
            self.assertEqual((said, status), (b"(type to the machine; Ctrl-C or Ctrl-] ends it)\n", 0))

    def test_live_until_it_stops(self) -> None:
        shown, said, status = self.live(b"x!\r")
        self.assertEqual((shown, status), (b"\r\n>x!\r\nx\r\n", 1))
        self.assertIn(b"error: the engine has stopped; the screen shows", said)

    def test_one_prompt_for_others(self) -> None:
        other = next(engine.name for engine in engines.table() if engine.target.machine == "pc" and screen.style(engine) != screen.CHAT)
        for arguments, said in ((["--prompt", "a", "--prompt", "b"], b"takes one"), (["--image", "x", "--prompt", "a"], b"without --prompt")):
            result = subprocess.run([sys.executable, "-B", TOOL / "boot.py", "--engine", other, *arguments], capture_output=True, timeout=60)
            self.assertEqual((result.returncode, result.stdout), (2, b""))
            self.assertIn(said, result.stderr)


if __name__ == "__main__":
    unittest.main()
