"""One POP3 session without a socket: ``receive_data`` takes octets, ``next_event`` returns events, ``send`` octets.

No input octets may make ``receive_data`` or ``next_event`` raise. The events do not depend on how the input is divided
into chunks. Each line is at most one event, and no part of a line is ever echoed.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from geventpop3.protocol.commands import COMMANDS, CommandSpec, State
from geventpop3.wire.lines import LINE_OCTETS, TOO_LONG, LineBuffer
from geventpop3.wire.replies import Reply, err, status_line

RESPONSE_OCTETS: Final = 16384
"""Octets of a line that answers a challenge; the limit of commands does not apply to it (RFC 5034 section 4).

An AUTH command may be as long: a long initial response should have a line of its own, but clients send tokens in AUTH.
RFC 4954 section 4 considers 12288 octets enough for the mechanisms in use.
"""

AUTOLOGOUT_SECONDS: Final = 600
"""Seconds without a command before a server may log the client out. RFC 1939 section 3: "Such a timer MUST be of at
least 10 minutes' duration"."""

BAD_BEFORE_LOGIN: Final = 3
"""Bad commands in a row that close the connection, as in Dovecot: this stops scanners, and browsers that were made to
send POP3."""

BAD_AFTER_LOGIN: Final = 20
"""The same limit after login, as in Dovecot. It is higher because a person may be typing, and because a faulty client
may lose its user's mail."""

_AUTH: Final = b"AUTH "
_BLANKS: Final = b" \t"
_NUL: Final = 0x00
_CR: Final = 0x0D


class Command(NamedTuple):
    """A line with a known verb that is allowed now; answer it with ``send``, ``challenge`` or ``silence``.

    *args* are the arguments, decoded from UTF-8 with surrogateescape. *raw* is the line without its line end.
    """

    spec: CommandSpec
    args: list[str]
    raw: bytes


class Rejected(NamedTuple):
    """A line that is not a valid command now; pass *reply* to ``send``.

    *verb* is empty if it is unknown; *octets* is the size of the line with its line end.
    """

    reply: Reply
    verb: str
    octets: int
    line: bytes = b""
    """The line, if it is within the limit and names no command; it may hold a secret."""


class Response(NamedTuple):
    """A line that answers a challenge, decoded; *data* is None if the client cancelled or the line was *malformed*."""

    data: bytes | None
    malformed: bool


class Want(Enum):
    """The result of ``next_event`` if there is no event."""

    DATA = "data"
    """More octets are needed."""
    CLOSED = "closed"
    """No more events will come."""


_EMPTY: Final = err("no command")
_UNKNOWN: Final = err("unknown command")
_CONTROLS: Final = err("a command holds no NUL and no bare CR")
_TOO_LONG: Final = err("line too long")
_NO_ARGUMENT: Final = err("no argument is allowed")
_WRONG_STATE: Final = {state: err(f"not allowed in the {state.value} state") for state in State}
_CANCELLED: Final = Response(None, False)
_MALFORMED: Final = Response(None, True)


class Connection:
    """The protocol state of one session, from greeting to close.

    *commands* is read for each line, so a verb may be added during the session. ``strict=False`` allows every command
    in every state. Limits of lines are octets with the line end.
    """

    __slots__ = (
        "_bad",
        "_bad_after_login",
        "_bad_before_login",
        "_challenged",
        "_command",
        "_ended",
        "_last_words",
        "_leaving",
        "_lines",
        "_response_limit",
        "_strict",
        "closing",
        "commands",
        "octets_in",
        "state",
        "upgrading",
    )

    def __init__(
        self,
        commands: Mapping[str, CommandSpec] = COMMANDS,
        *,
        strict: bool = True,
        line_limit: int = LINE_OCTETS,
        response_limit: int = RESPONSE_OCTETS,
        bad_before_login: int = BAD_BEFORE_LOGIN,
        bad_after_login: int = BAD_AFTER_LOGIN,
    ) -> None:
        self.commands = commands
        self.state = State.AUTHORIZATION
        self.closing = False
        """True after the last reply was sent: close the connection."""
        self.upgrading = False
        """True after the reply before TLS was sent: begin TLS, then call ``upgraded``."""
        self.octets_in = 0
        """Octets received so far."""
        self._strict = strict
        self._response_limit = response_limit
        self._bad_before_login = bad_before_login
        self._bad_after_login = bad_after_login
        self._lines = LineBuffer(line_limit)
        self._bad = 0
        self._command: CommandSpec | None = None  # awaits its reply
        self._challenged = False  # the next line is a response
        self._ended = False  # the peer will send no more
        self._last_words = False  # no event comes after the one that was given out
        self._leaving = False  # disconnect() was called

    @property
    def has_data(self) -> bool:
        """True if octets are buffered that no event has reported yet, even less than a whole line."""
        return self._lines.pending > 0

    @property
    def line_octets(self) -> int:
        """Octets of the line of the last event, with its line end."""
        return self._lines.octets

    def receive_data(self, data: bytes) -> None:
        """Take octets from the peer; ``b""`` is the end of its input. Lines received before it are still answered."""
        if data:
            self.octets_in += len(data)
            self._lines.feed(data)
        else:
            self._ended = True

    def next_event(self) -> Command | Rejected | Response | Want:
        """Return the next event. Answer a Command, Rejected or Response before the next call.

        A line that the end of input cuts off is not a command: ``DELE 1`` may have been ``DELE 12``.
        """
        if self.closing or self._last_words:
            return Want.CLOSED
        lines = self._lines
        if lines.at_end and not lines.hopeless:
            return Want.CLOSED if self._ended else Want.DATA
        if self._challenged:
            return self._next_response()
        plain = lines.next_plain()
        if plain is None:
            return self._next_line()
        verb, args, line, _ = plain
        spec = self.commands.get(verb)
        if spec is None:
            return self._rejected(_UNKNOWN, line)
        return self._found(spec, args, line)

    def send(self, reply: Reply) -> bytes:
        """Return the status line of a reply; the caller encodes and sends the body, if any.

        A positive single-line reply to a command changes the state as the table says.
        """
        spec = self._command
        if spec is not None:
            self._command = None
            self._challenged = False
            if spec.moves and reply.positive and reply.body is None:
                self.state = spec.then.get(self.state, self.state)
                self.upgrading = spec.upgrades
            if spec.closes:
                self.closing = True
        if self._leaving or self._last_words:
            self.closing = True
        return status_line(reply)

    def challenge(self, data: bytes) -> bytes:
        """Return the line of a challenge for the current command; the next line is its Response.

        RFC 5034 section 4: "+", one space, base64. The space is present even if no base64 follows.
        """
        self._challenged = True
        return b"+ " + binascii.b2a_base64(data, newline=False) + b"\r\n"

    def silence(self) -> None:
        """Leave the command without a reply and keep the state. After the last line, the connection still closes."""
        self._command = None
        self._challenged = False
        if self._last_words:
            self.closing = True

    def disconnect(self) -> None:
        """Close after the next reply."""
        self._leaving = True

    def upgraded(self) -> None:
        """Discard the octets buffered before TLS began, so that they never run (RFC 2595 section 4)."""
        self.upgrading = False
        self._lines.clear()

    def _found(self, spec: CommandSpec, args: list[str], line: bytes) -> Command | Rejected:
        """Return a known command, if it is allowed now, else a Rejected."""
        if self._strict and self.state not in spec.states:
            # Not counted as a bad command: a pipelining client sends such commands after a failed login.
            return Rejected(_WRONG_STATE[self.state], spec.verb, self._lines.octets)
        if spec.closes and args and self._strict:
            # QUIT with an argument does not close: the client can send QUIT again, and the marks are not lost.
            return Rejected(_NO_ARGUMENT, spec.verb, self._lines.octets)
        self._bad = 0
        self._command = spec
        return Command(spec, args, line)

    def _next_line(self) -> Command | Rejected | Want:
        """Return the event of the next line, for any content."""
        lines = self._lines
        is_auth = self.state is State.AUTHORIZATION and lines.begins(_AUTH)
        line = lines.next_line(self._response_limit if is_auth else None)
        if line is None:
            if lines.hopeless:
                self._last_words = True
                return self._rejected(_TOO_LONG)
            return Want.CLOSED if self._ended else Want.DATA
        if line is TOO_LONG:
            return self._rejected(_TOO_LONG)
        if _NUL in line or _CR in line:
            return self._rejected(_CONTROLS, line)
        trimmed = line.strip(_BLANKS)
        if not trimmed:
            return self._rejected(_EMPTY)
        head, _, tail = trimmed.partition(b" ")
        # bytes.upper() changes only ASCII; str.upper() would turn a sharp s into "SS", and so another word into PASS.
        spec = self.commands.get(head.upper().decode("latin-1"))
        if spec is None:
            return self._rejected(_UNKNOWN, line)
        if spec.verbatim:
            tail = line.lstrip(_BLANKS)[len(head) :]
            args = [_text(tail[1:])] if tail else []
        else:
            args = [arg for arg in _text(tail).replace("\t", " ").split(" ") if arg]
        return self._found(spec, args, line)

    def _next_response(self) -> Response | Want:
        """Return the next line as a response. RFC 5034 section 4: "*" cancels, invalid base64 is refused."""
        line = self._lines.next_line(self._response_limit)
        if line is None:
            if self._lines.hopeless:
                self._last_words = True
                self._challenged = False
                return _MALFORMED
            return Want.CLOSED if self._ended else Want.DATA
        self._challenged = False
        if line is TOO_LONG:
            return _MALFORMED
        if line == b"*":
            return _CANCELLED
        try:
            return Response(binascii.a2b_base64(line, strict_mode=True), False)
        except binascii.Error:
            return _MALFORMED

    def _rejected(self, reply: Reply, line: bytes = b"") -> Rejected:
        self._bad += 1
        before_login = self.state is State.AUTHORIZATION
        if self._bad >= (self._bad_before_login if before_login else self._bad_after_login):
            self._last_words = True
            reply = reply._replace(text=f"{reply.text}, too many bad commands")
        return Rejected(reply, "", self._lines.octets, line)


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "surrogateescape")
