"""One POP3 session without a socket: ``receive_data`` takes octets, ``next_event`` gives events, ``send`` makes octets.

If any octets whatever make ``receive_data`` or ``next_event`` raise, that is a bug here. How the input is cut changes
nothing; each line is one event at most, and nothing of a line is ever echoed.
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
"""A line that answers a challenge, which the limit of commands does not bind (RFC 5034 section 4).

An AUTH command may be as long: a long initial response belongs into a line of its own, but clients send tokens so.
RFC 4954 section 4 holds 12288 octets to be enough for the mechanisms in use.
"""

BAD_BEFORE_LOGIN: Final = 3
"""Bad commands in a row before the connection is closed, as in Dovecot: a browser made to talk POP3 gets no further."""

BAD_AFTER_LOGIN: Final = 20
"""The same after login, where a clumsy client has somebody's mail to lose; as in Dovecot."""

_AUTH: Final = b"AUTH "
_BLANKS: Final = b" \t"
_NUL: Final = 0x00
_CR: Final = 0x0D


class Command(NamedTuple):
    """A line whose verb is known and allowed now; answer it with ``send``, ``challenge`` or ``silence``.

    *args* are the arguments as UTF-8 with surrogateescape, *raw* is the line without its line end.
    """

    spec: CommandSpec
    args: list[str]
    raw: bytes


class Rejected(NamedTuple):
    """A line that is no command now; *reply* is the answer to ``send``.

    *verb* is empty if it is not a known one; *octets* is the size of the line with its line end.
    """

    reply: Reply
    verb: str
    octets: int
    line: bytes = b""
    """The line, where it is short enough and names no command; it may hold a secret."""


class Response(NamedTuple):
    """A line that answers a challenge, decoded; *data* is None if the client cancelled or the line was *malformed*."""

    data: bytes | None
    malformed: bool


class Want(Enum):
    """What is wanted instead of an event."""

    DATA = "data"
    """More octets."""
    CLOSED = "closed"
    """Nothing: no event will come any more."""


_EMPTY: Final = err("no command")
_UNKNOWN: Final = err("unknown command")
_CONTROLS: Final = err("a command holds no NUL and no bare CR")
_TOO_LONG: Final = err("line too long")
_NO_ARGUMENT: Final = err("no argument is allowed")
_WRONG_STATE: Final = {state: err(f"not allowed in the {state.value} state") for state in State}
_CANCELLED: Final = Response(None, False)
_MALFORMED: Final = Response(None, True)


class Connection:
    """The protocol's side of one session, from greeting to close.

    *commands* is looked up live, so a verb may be added while it runs. ``strict=False`` lets every command through in
    every state. Limits of lines are octets with the line end.
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
        """The last reply was sent: close."""
        self.upgrading = False
        """The last reply was sent: begin TLS, then call ``upgraded``."""
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
        """Whether octets are buffered that no event has told of, even if no whole line."""
        return self._lines.pending > 0

    @property
    def line_octets(self) -> int:
        """Octets of the line that the last event told of, with its line end."""
        return self._lines.octets

    def receive_data(self, data: bytes) -> None:
        """Take octets from the peer; ``b""`` is the end of its input, and what came before is still answered."""
        if data:
            self.octets_in += len(data)
            self._lines.feed(data)
        else:
            self._ended = True

    def next_event(self) -> Command | Rejected | Response | Want:
        """The next event. A Command, Rejected or Response is to be answered before this is called again.

        A line that the peer did not finish before its end of input is no command: ``DELE 1`` may have been ``DELE 12``.
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
        """The status line of a reply; a body, if it has one, is the caller's to encode and send.

        A positive single-line reply to a command moves the state by the table.
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
        """The line of a challenge to the command that is being answered; the next line is its Response.

        RFC 5034 section 4: "+", one space, base64; the space is there also when no base64 follows.
        """
        self._challenged = True
        return b"+ " + binascii.b2a_base64(data, newline=False) + b"\r\n"

    def silence(self) -> None:
        """The command gets no reply: the state stays. A line that was the last one still closes."""
        self._command = None
        self._challenged = False
        if self._last_words:
            self.closing = True

    def disconnect(self) -> None:
        """Close after the next reply."""
        self._leaving = True

    def upgraded(self) -> None:
        """TLS has begun: what was buffered before it never runs (RFC 2595 section 4)."""
        self.upgrading = False
        self._lines.clear()

    def _found(self, spec: CommandSpec, args: list[str], line: bytes) -> Command | Rejected:
        """A command that is known, if it is allowed now."""
        if self._strict and self.state not in spec.states:
            # No sign of a client that speaks something else: one that pipelines does this after a failed login.
            return Rejected(_WRONG_STATE[self.state], spec.verb, self._lines.octets)
        if spec.closes and args and self._strict:
            # Not QUIT, so nothing ends: whoever meant it may say it again, and the marks are not lost.
            return Rejected(_NO_ARGUMENT, spec.verb, self._lines.octets)
        self._bad = 0
        self._command = spec
        return Command(spec, args, line)

    def _next_line(self) -> Command | Rejected | Want:
        """The next line, whatever it holds."""
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
        # bytes.upper() knows ASCII alone; str.upper() would make "SS" of a sharp s, and a PASS of what is none.
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
        """The next line as a response; RFC 5034 section 4: "*" cancels, what is not base64 is refused."""
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
