"""A client's connection over a plain socket, in the caller's thread, with a time limit for each step.

The octets of the server are not validated here; the checks do that.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import NamedTuple

from geventpop3.testing.conformance.exchange import ExchangeRecord, quoted, shown
from geventpop3.testing.conformance.outcome import Failed, fail
from geventpop3.testing.conformance.target import Target

PARTING_SECONDS = 0.5
LONGEST_LINE = 1 << 16
LONGEST_BODY = 1 << 25


class StatusLine(NamedTuple):
    """A status line; *line* includes the line end."""

    line: bytes

    @property
    def ok(self) -> bool:
        """True if the status indicator is ``+OK``."""
        return self.line[:3] == b"+OK"

    @property
    def text(self) -> bytes:
        """The line without its line end."""
        return self.line.rstrip(b"\r\n")

    @property
    def code(self) -> bytes:
        """The extended response code in upper case, without brackets; empty if there is none."""
        words = self.text.split(b" ", 1)
        if len(words) < 2 or not words[1].startswith(b"[") or b"]" not in words[1]:
            return b""
        return words[1][1 : words[1].index(b"]")].upper()


class NoAnswer(Failed):
    """A server that sends nothing within the time limit."""


class Closed(Failed):
    """A connection that the server closed instead of replying."""


class ProbeSession:
    """A connection. Its methods raise Failed if the server breaks a rule that every check relies on."""

    def __init__(self, target: Target, exchange: ExchangeRecord) -> None:
        self.target = target
        self.exchange = exchange
        self.renew: Callable[[ProbeSession], None] | None = None
        """Function that restores the state of the session after the server closed the connection on ``-ERR``."""
        self.greeting = b""
        self.lines_seen: list[bytes] = []
        """The status lines that the server sent."""
        self.took_mail = False
        """True if messages were retrieved: some servers remove these at QUIT."""
        self.marked = False
        """True if DELE was sent."""
        self._buffer = bytearray()
        self._refused = False
        self._socket: socket.socket | None = None
        self.open()

    def open(self) -> None:
        """Connect; the greeting has not been read. Raises OSError."""
        self.close()
        target = self.target
        connection = socket.create_connection((target.host, target.port), timeout=target.timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self.exchange.note(f"connected to {target.address}")

    @property
    def socket(self) -> socket.socket:
        """The socket. Raises Failed after ``close``."""
        if self._socket is None:
            raise Failed("the connection is closed")
        return self._socket

    # Output of the client

    def send(self, octets: bytes, secret: bytes = b"") -> None:
        """Send octets; *secret* among them is masked in the record."""
        self.exchange.sent(octets, secret)
        try:
            self.socket.settimeout(self.target.timeout)
            self.socket.sendall(octets)
        except TimeoutError:
            fail(f"the server did not read for {self.target.timeout:g} s")
        except OSError:
            pass  # read_line reports that the server closed

    def end(self) -> None:
        """End the client's input; the server's replies can still be read."""
        self.exchange.note("the client ends its input")
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.exchange.note("the server had closed already")

    def part(self) -> None:
        """End a session whose replies were all read: send RSET if DELE was sent, send QUIT, wait for the end, close."""
        if self._socket is None or self._buffer:
            return self.close()
        self.exchange.note("the client sends QUIT")
        try:
            self._socket.settimeout(PARTING_SECONDS)
            self._socket.sendall(b"RSET\r\nQUIT\r\n" if self.marked else b"QUIT\r\n")
            while self._socket.recv(1 << 16):
                pass
        except OSError:
            self.exchange.note("the server did not close in time")
        return self.close()

    def close(self) -> None:
        """Close without QUIT."""
        if self._socket is not None:
            self.exchange.note("the client closes the connection")
            self._socket.close()
            self._socket = None
        self._buffer.clear()

    # Output of the server

    def read_line(self, seconds: float | None = None, *, owed: str = "reply") -> bytes:
        """Return the next line with its end; *owed* is its name in failures.

        Raises NoAnswer after the time limit, Closed at the end of the input, Failed if the line is too long.
        """
        limit = self.target.timeout if seconds is None else seconds
        deadline = time.monotonic() + limit
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LONGEST_LINE:
                fail(f"the server sent a line of more than {LONGEST_LINE} octets")
            rest = f", but a part of a line: {quoted(bytes(self._buffer))}" if self._buffer else ""
            try:
                more = self._receive(deadline)
            except NoAnswer:
                raise NoAnswer(f"no {owed} within {limit:g} s{rest}") from None
            if not more:
                raise Closed(f"the server closed the connection without a {owed}{rest}")
        line = bytes(self._buffer[: end + 1])
        del self._buffer[: end + 1]
        self.exchange.received(line)
        return line

    def read_reply(self, owed: str = "reply") -> StatusLine:
        """Return the next status line. Raises Failed if the line has no status indicator."""
        line = self.read_line(owed=owed)
        self.lines_seen.append(line)
        word = line.rstrip(b"\r\n").split(b" ", 1)[0]
        if word not in (b"+OK", b"-ERR"):
            fail(f"a {owed} does not begin with +OK or -ERR: {quoted(line)}")
        reply = StatusLine(line)
        self._refused = not reply.ok
        return reply

    def read_body(self) -> bytes:
        """Return a multi-line response after its status line, byte-stuffed and with the termination octet."""
        deadline = time.monotonic() + self.target.timeout
        found = bytearray()
        while True:
            while (end := self._buffer.find(b"\n")) >= 0:
                line = bytes(self._buffer[: end + 1])
                del self._buffer[: end + 1]
                self.exchange.received(line)
                found += line
                if line in (b".\r\n", b".\n"):
                    return bytes(found)
            if len(found) + len(self._buffer) > LONGEST_BODY:
                fail(f"a multi-line response has more than {LONGEST_BODY} octets")
            try:
                more = self._receive(deadline)
            except NoAnswer:
                fail(f"the multi-line response did not end within {self.target.timeout:g} s")
            if not more:
                raise Closed("the server closed the connection in the middle of a multi-line response")

    def at_end(self) -> bool:
        """Return whether the server closes within the time limit without sending anything."""
        deadline = time.monotonic() + self.target.timeout
        try:
            while not self._buffer:
                if not self._receive(deadline):
                    self.exchange.note("the server closed the connection")
                    return True
        except Failed:
            return False
        self.exchange.received(bytes(self._buffer))
        return False

    def has_more(self, seconds: float = 0.0) -> bool:
        """Return whether the server has sent octets that were not read."""
        if self._buffer:
            return True
        if not self._is_readable(seconds):
            return False
        try:
            return self._receive(time.monotonic() + 1)
        except Failed:
            return False

    def _receive(self, deadline: float) -> bool:
        """Receive more into the buffer; False at the end of the input. Raises NoAnswer at the deadline."""
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self.socket.settimeout(left)
            octets = self.socket.recv(1 << 16)
        except TimeoutError:
            raise NoAnswer("no answer") from None
        except OSError:
            return False
        self._buffer += octets
        return bool(octets)

    def _is_readable(self, seconds: float) -> bool:
        connection = self.socket
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        return bool(select.select([connection], [], [], seconds)[0])

    def _was_closed(self) -> bool:
        """Return whether the server closed after the last ``-ERR``, as RFC 1939 permits."""
        if self._socket is None:
            return True
        if self._buffer or not self._is_readable(0):
            return False
        try:
            return not self._receive(time.monotonic() + 1)
        except Failed:
            return False

    # Commands

    def command(self, line: bytes, secret: bytes = b"") -> StatusLine:
        """Send a line with CRLF and return the status line of the reply.

        A server may close after ``-ERR`` (RFC 1939 section 4). If possible, the command is sent in a new connection.
        """
        self.restore()
        self.marked = self.marked or line[:4].upper() == b"DELE"
        refused = self._refused
        try:
            self.send(line + b"\r\n", secret)
            return self.read_reply(f"reply to {named(line)}")
        except Closed:
            if not refused or self.renew is None:
                raise
        self._again()
        self.send(line + b"\r\n", secret)
        return self.read_reply(f"reply to {named(line)}")

    def restore(self) -> None:
        """Connect again if the server closed after the last ``-ERR``, as RFC 1939 permits."""
        if self._refused and self.renew is not None and self._was_closed():
            self._again()

    def _again(self) -> None:
        renew, self.renew = self.renew, None
        self._refused = False
        self.exchange.note("the server closed after -ERR, which is permitted")
        self.open()
        assert renew is not None
        renew(self)
        self.renew = renew

    def ok(self, line: bytes, secret: bytes = b"") -> StatusLine:
        """Send a command that must succeed."""
        reply = self.command(line, secret)
        if not reply.ok:
            fail(f"{named(line)} was refused")
        return reply

    def err(self, line: bytes, secret: bytes = b"") -> StatusLine:
        """Send a command that must be refused."""
        reply = self.command(line, secret)
        if reply.ok:
            fail(f"{named(line)} was not refused")
        return reply

    def refuses(self, line: bytes, secret: bytes = b"") -> bool:
        """Send a command and return whether it is refused; a close after the previous ``-ERR`` counts as refusal."""
        renew, self.renew = self.renew, None
        was_refused = self._refused
        try:
            return not self.command(line, secret).ok
        except Closed:
            if was_refused:
                return True
            raise
        finally:
            self.renew = renew

    def lines(self, line: bytes) -> list[bytes]:
        """Send a command with a multi-line response; return its lines without byte-stuffing and line ends."""
        self.ok(line)
        return split(unstuffed(self.read_body()))

    def retrieve(self, line: bytes) -> bytes:
        """Send RETR or TOP and return the octets of the message, without byte-stuffing."""
        return unstuffed(self.retrieve_stuffed(line))

    def retrieve_stuffed(self, line: bytes) -> bytes:
        """Send RETR or TOP and return the octets after the status line, with byte-stuffing and termination octet."""
        self.took_mail = True
        self.ok(line)
        return self.read_body()

    def in_step(self) -> None:
        """Send STAT and raise Failed unless its own reply comes: no reply is missing or too many."""
        reply = self.command(b"STAT")
        words = reply.text.split(b" ")
        if not reply.ok or len(words) < 3 or not (words[1].isdigit() and words[2].isdigit()):
            fail(f"the reply to STAT is {quoted(reply.line)}: the number of replies and of commands differ")

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Begin TLS on the open connection. Raises OSError."""
        assert self._socket is not None
        self.exchange.note("TLS begins")
        self._socket.settimeout(self.target.timeout)
        self._socket = context.wrap_socket(self._socket, server_hostname=self.target.host)


def unstuffed(body: bytes) -> bytes:
    """Return the octets of a multi-line response without byte-stuffing and without the termination octet."""
    lines = body.split(b"\n")[:-2]
    return b"".join(line.removeprefix(b".") + b"\n" for line in lines)


def split(octets: bytes) -> list[bytes]:
    """Return the lines, without their ends."""
    return [line.removesuffix(b"\r") for line in octets.split(b"\n")[:-1]]


def named(line: bytes) -> str:
    """Return the name of a command for messages: verb and short arguments, without those of a login."""
    verb = line.split(b" ", 1)[0]
    if verb.upper() in (b"PASS", b"APOP", b"AUTH"):
        return verb.decode("ascii", "backslashreplace")
    text = shown(line + b"\r\n")[1:].strip()
    return text if text else "an empty line"
