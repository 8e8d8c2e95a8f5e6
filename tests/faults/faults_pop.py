"""A client in plain octets, with blocking sockets: it sends what a test wants, and reads what came."""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

SECONDS = 120.0
"""How long anything that must come is waited for; nothing waits that long for what must not."""

_RESET = struct.pack("ii", 1, 0)


class Refused(AssertionError):
    """A reply that should have been positive was not."""

    def __init__(self, reply: bytes) -> None:
        super().__init__(reply)
        self.reply = reply


class Pop:
    """A connection to a server on this machine; raises OSError and EOFError as the connection does."""

    def __init__(self, port: int, source: str | None = None) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), SECONDS, (source, 0) if source else None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()

    def __enter__(self) -> Pop:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def send(self, octets: bytes) -> None:
        self.sock.sendall(octets)

    def line(self) -> bytes:
        """The next line, without CRLF."""
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._receive()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def command(self, line: bytes) -> bytes:
        """The status line that answers *line*."""
        self.send(line + b"\r\n")
        return self.line()

    def body(self) -> bytes:
        """The rest of a multi-line response as the message it is: no byte-stuffing, no termination octet."""
        at = 0
        while not self._buffer.startswith(b".\r\n") and (at := self._buffer.find(b"\r\n.\r\n", max(at, 0))) < 0:
            at = len(self._buffer) - 4
            self._receive()
        if self._buffer.startswith(b".\r\n"):
            del self._buffer[:3]
            return b""
        body = bytes(self._buffer[: at + 2])
        del self._buffer[: at + 5]
        return body.replace(b"\r\n..", b"\r\n.")[body.startswith(b"..") :]

    def multiline(self, line: bytes) -> bytes:
        """The body of the multi-line response to *line*. Raises Refused."""
        self.send(line + b"\r\n")
        self.expect_ok()
        return self.body()

    def login(self, name: str, password: bytes) -> bytes:
        """The reply to PASS, or to USER if that was negative. The greeting must have been read."""
        reply = self.command(b"USER " + name.encode())
        return self.command(b"PASS " + password) if reply.startswith(b"+OK") else reply

    def retrieve(self, numbers: Sequence[int]) -> list[bytes]:
        """These messages, asked for in one write. Raises Refused."""
        self.send(b"".join(b"RETR %d\r\n" % number for number in numbers))
        messages = []
        for _ in numbers:
            self.expect_ok()
            messages.append(self.body())
        return messages

    def mark(self, numbers: Sequence[int]) -> None:
        """Mark these messages, in one write. Raises Refused."""
        self.send(b"".join(b"DELE %d\r\n" % number for number in numbers))
        for _ in numbers:
            self.expect_ok()

    def expect_ok(self) -> None:
        """Read a status line. Raises Refused if it is not positive."""
        if not (reply := self.line()).startswith(b"+OK"):
            raise Refused(reply)

    def unique_ids(self) -> list[str]:
        """The unique-ids in the order of their message-numbers."""
        return [line.split()[1].decode() for line in self.multiline(b"UIDL").splitlines()]

    def rest(self) -> bytes:
        """Everything up to the end of input; a reset is an end, too."""
        try:
            while True:
                self._receive()
        except (EOFError, ConnectionResetError):
            octets = bytes(self._buffer)
            self._buffer.clear()
            return octets

    def skip(self, octets: int) -> None:
        """Read so many octets and forget them."""
        while octets > len(self._buffer):
            octets -= len(self._buffer)
            self._buffer.clear()
            self._receive()
        del self._buffer[:octets]

    def is_closed(self) -> bool:
        """Whether the server has ended the connection and there is no more to read; waits for it."""
        return not self.rest()

    def finish(self) -> None:
        """End of our input (half-close); what the server still says can be read."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a reset instead of an end."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.close()

    def close(self) -> None:
        self.sock.close()

    def _receive(self) -> None:
        octets = self.sock.recv(1 << 18)
        if not octets:
            raise EOFError("the server closed the connection")
        self._buffer += octets


def canonical(octets: bytes) -> bytes:
    """A stored message as it is sent: CRLF line ends, and one at the end."""
    octets = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n"
