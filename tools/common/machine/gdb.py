"""What a debugger says to QEMU: gdb's remote protocol, over a socket.

    from common.machine.gdb import Debugger
    debugger = Debugger(connection, "qemu-system-x86_64")
    debugger.stop_at(0x7C00)
    debugger.go_on()                              # up to there
    debugger.register(16), debugger.memory(0x7C00, 512)
    debugger.monitor("info registers")            # QEMU's human monitor
"""

from __future__ import annotations

import re
import socket

from common.errors import UserError


class Debugger:
    """One connection to QEMU's gdb stub. A TimeoutError when there is no answer in time (connection.settimeout)."""

    def __init__(self, connection: socket.socket, program: str) -> None:
        """`program` is QEMU's name, for messages."""
        self.connection, self.program, self._received = connection, program, b""
        self._described = False

    def send(self, command: str, then: str = "") -> None:
        self.connection.sendall(f"${command}#{sum(command.encode()) % 256:02x}{then}".encode())

    def answer(self) -> str:
        """The next packet."""
        while True:
            packet = re.search(rb"\$([^#]*)#..", self._received, re.DOTALL)
            if packet:
                self._received = self._received[packet.end():]
                self.connection.sendall(b"+")
                return packet[1].decode("ascii", "replace")
            data = self.connection.recv(1 << 16)
            if not data:
                raise UserError(f"{self.program}: ended before its debugger had an answer")
            self._received += data

    def ask(self, command: str, wanted: str = "OK") -> str:
        """Sends a command, and gives the answer; an error unless all of it is `wanted`, a regular expression."""
        self.send(command)
        answer = self.answer()
        if not re.fullmatch(wanted, answer, re.DOTALL):
            raise UserError(f"{self.program}: its debugger answers {answer!r} to {command}")
        return answer

    def stop_at(self, address: int) -> None:
        """A breakpoint: before the instruction there."""
        self.ask(f"Z1,{address:x},1")

    def no_stop_at(self, address: int) -> None:
        self.ask(f"z1,{address:x},1")

    def go_on(self) -> None:
        """Up to the next stop."""
        self.ask("c", "T05.*")

    def take_disks(self) -> None:
        """QEMU's own command to go on, and a stop at once. Since its release 10, this alone gives a machine whose state was
        read from a file its disks."""
        self.monitor("cont", then="+\x03")  # it is taken in one go: for that long the machine runs
        self.monitor("info status")  # a release before 8.1 says that it stopped

    def step(self) -> None:
        """One instruction."""
        self.ask("s", "T05.*")

    def let_go(self) -> None:
        """The machine goes on, without debugger."""
        self.ask("D")

    def register(self, number: int) -> int:
        """Little-endian, in the order of gdb's target description, which must have been read for it."""
        if not self._described:
            self.ask("qXfer:features:read:target.xml:0,fff", "[lm].*")
            self._described = True
        return int.from_bytes(bytes.fromhex(self.ask(f"p{number:x}", "[0-9a-f]+")), "little")

    def memory(self, address: int, size: int) -> bytes:
        return bytes.fromhex(self.ask(f"m{address:x},{size:x}", "(?!E)[0-9a-f]+"))

    def write(self, address: int, data: bytes) -> None:
        self.ask(f"M{address:x},{len(data):x}:{data.hex()}")

    def monitor(self, line: str, then: str = "") -> str:
        """What QEMU's human monitor says to a line. `then`: sent with it, not as a packet."""
        self.send(f"qRcmd,{line.encode().hex()}", then)
        said = ""
        while (answer := self.answer()) != "OK":
            if answer.startswith("T"):
                continue  # the machine has stopped
            if not answer.startswith("O"):
                raise UserError(f"{self.program}: its debugger answers {answer!r} to {line}")
            said += bytes.fromhex(answer[1:]).decode("utf-8", "replace")
        return said
