"""Division of a session's two streams of octets into commands and replies.

The lines of the client and of the server come out in pairs: each command, then its reply, whether or not the client
waited for it. The next line of a client that did not wait is held until the reply is complete. Only then is it known
whether the line is a command or the response to a challenge. The result does not depend on how the octets are divided.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

_STATUS: Final = re.compile(rb"(?i:\+OK|-ERR)(?![^ \r\n])")
_MULTILINE: Final = {"CAPA", "RETR", "TOP"}
"""Verbs whose positive replies are always multi-line responses."""
_MULTILINE_ALONE: Final = {"AUTH", "LANG", "LIST", "UIDL"}
"""Verbs whose positive replies are multi-line responses if the command has no arguments."""


class DialoguePart(Enum):
    """The parts of replies."""

    STATUS = "the first line of a reply"
    CHALLENGE = "a server's question in the course of AUTH"
    BODY = "a line of a multi-line response"
    TERMINATION = "the end of a multi-line response"
    STRAY = "a line that is part of no known reply"


class Said(NamedTuple):
    """A line of the client, with its line end. *verb* is in upper case; a *response* answers a challenge of AUTH."""

    octets: bytes
    verb: str
    response: bool


class Heard(NamedTuple):
    """A line of the server, with its line end; *verb* is that of the command before it, "" for the greeting."""

    octets: bytes
    part: DialoguePart
    verb: str


class Ended(NamedTuple):
    """The end of a stream: the client's input, or that of the server, which closed."""

    client: bool


Event: TypeAlias = Said | Heard | Ended


class _Lines:
    """A buffer of one stream, divided at LF."""

    def __init__(self) -> None:
        self._octets = bytearray()
        self._searched = 0
        self.ended = False

    def __len__(self) -> int:
        return len(self._octets)

    def feed(self, octets: bytes) -> None:
        self._octets += octets

    def next_line(self) -> bytes | None:
        """Return the next line with its line end, or the octets after the last one if the stream has ended."""
        end = self._octets.find(b"\n", self._searched) + 1
        if not end:
            self._searched = end = len(self._octets)
            if not end or not self.ended:
                return None
        line = bytes(self._octets[:end])
        del self._octets[:end]
        self._searched = 0
        return line


class Splitter:
    """The division of one session: feed it the octets of both sides as they come, take ``events`` after each feed."""

    def __init__(self) -> None:
        self._client = _Lines()
        self._server = _Lines()
        self._verb = ""
        self._in_auth = False
        self._multiline = False
        self._waiting = True  # for a status line or a challenge; first for the greeting
        self._in_body = False
        self._bare = False  # the status line ended with LF alone, so a body may end so too
        self._challenged = False
        self._cut = False  # the client's last line has no line end
        self._client_said_end = False
        self._over = False

    @property
    def is_waiting(self) -> bool:
        """True until the reply to the last command is complete."""
        return self._waiting or self._in_body

    @property
    def held(self) -> int:
        """Octets of the client that are not yet part of a line that ``events`` yielded."""
        return len(self._client)

    def client(self, octets: bytes) -> None:
        """Take more octets of the client."""
        self._client.feed(octets)

    def server(self, octets: bytes) -> None:
        """Take more octets of the server."""
        self._server.feed(octets)

    def client_ended(self) -> None:
        """Note that the client sends no more."""
        self._client.ended = True

    def server_ended(self) -> None:
        """Note that the server closed; lines of the client that are still held are dropped."""
        self._server.ended = True

    def settle(self) -> None:
        """Count the command that ``events`` yielded last as answered: it did not go to the server."""
        self._waiting = False

    def events(self) -> Iterator[Event]:
        """Yield what can be divided so far."""
        while not self._over:
            event = self._next_of_client() or self._next_of_server()
            if event is None:
                return
            yield event

    def _next_of_client(self) -> Event | None:
        if self._client_said_end or self._server.ended:
            return None
        if self.is_waiting:
            # No server answers the beginning of a line before the input ends.
            return self._end_of_client() if self._cut else None
        line = self._client.next_line()
        if line is not None:
            return self._command(line)
        return self._end_of_client() if self._client.ended else None

    def _command(self, line: bytes) -> Said:
        words = line.split(None, 1)
        verb = words[0].decode("latin-1").upper() if words else ""
        response, self._challenged = self._challenged, False
        if not response:
            self._verb = verb
            self._in_auth = verb == "AUTH"
            self._multiline = verb in _MULTILINE or (verb in _MULTILINE_ALONE and len(words[1:]) == 0)
        else:
            self._multiline = False
        self._waiting = True
        self._cut = not line.endswith(b"\n")
        return Said(line, self._verb, response)

    def _end_of_client(self) -> Ended:
        self._client_said_end = True
        return Ended(client=True)

    def _next_of_server(self) -> Event | None:
        line = self._server.next_line()
        if line is not None:
            return Heard(line, self._part(line), self._verb)
        if self._server.ended:
            self._over = True
            return Ended(client=False)
        return None

    def _part(self, line: bytes) -> DialoguePart:
        if self._in_body:
            if line == b".\r\n" or (self._bare and line == b".\n"):
                self._in_body = False
                return DialoguePart.TERMINATION
            return DialoguePart.BODY
        if _STATUS.match(line):
            if self._waiting:
                self._waiting = False
                self._in_body = self._multiline and line[:1] == b"+"
                self._bare = not line.endswith(b"\r\n")
            return DialoguePart.STATUS
        if self._waiting and self._in_auth and line[:1] == b"+":
            self._waiting = False
            self._challenged = True
            return DialoguePart.CHALLENGE
        return DialoguePart.STRAY
