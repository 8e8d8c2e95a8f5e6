"""An optional log of the whole dialogue, with secrets masked and terminal control characters escaped."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from geventpop3.protocol.commands import CommandSpec, redact
from geventpop3.protocol.connection import Rejected
from geventpop3.server.output import Trace
from geventpop3.wire.replies import Reply

log = logging.getLogger("geventpop3.trace")

SHOWN = frozenset({"cmd_capa", "cmd_list", "cmd_uidl"})
"""Events of the commands whose reply bodies are shown; other bodies are mail."""

SHOWN_OCTETS = 4096
"""Octets of such a body that are shown; the rest is only counted."""

LINE_CHARACTERS = 64
"""Characters of a rejected line that are shown."""

_LOGIN = re.compile(r"(\s*(?:USER|PASS|APOP|AUTH|LOGIN)).*", re.IGNORECASE | re.DOTALL)
_SECRET = re.compile(r"[A-Za-z0-9+/]{12,}={0,2}")
"""A word that may be a SASL response in base64, sent where none was expected."""


class DialogueTrace(Trace):
    """One session's dialogue in lines, which a subclass writes: ``C:`` from the client, ``S:`` from the server."""

    __slots__ = ("_body", "_is_secret_next", "_octets")

    def __init__(self) -> None:
        self._is_secret_next = False
        self._body: bytearray | None = None
        self._octets = 0

    def write(self, line: str) -> None:
        """Write one line."""
        raise NotImplementedError

    def command(self, spec: CommandSpec, args: Sequence[str]) -> None:
        # A next line that is not a command may be the password or the response of a mechanism.
        self._is_secret_next = spec.secret_from is not None or spec.verb == "USER"
        self.write("C: " + _visible(f"{spec.verb} {redact(spec, args)}".rstrip()))

    def rejected(self, rejected: Rejected) -> None:
        what = rejected.verb or "no command"
        if rejected.line and not self._is_secret_next:
            text = rejected.line.decode("utf-8", "replace")
            shown = _LOGIN.sub(r"\1 ****", _SECRET.sub("****", text[:LINE_CHARACTERS]))
            more = "..." if len(text) > LINE_CHARACTERS else ""
            self.write(f"C: {_visible(shown)}{more} ({what}, {rejected.octets} octets)")
        else:
            self.write(f"C: ({what}, {rejected.octets} octets)")

    def reply(self, reply: Reply, event: str = "") -> None:
        self._octets = 0
        self._body = bytearray() if event in SHOWN and reply.positive else None
        self.write("S: " + _visible(reply.status_line.decode("utf-8", "replace").rstrip()))

    def chunk(self, octets: bytes, start: int = 0) -> None:
        self._octets += len(octets) - start
        if self._body is not None:
            self._body += octets[start : start + SHOWN_OCTETS - len(self._body)]

    def end_body(self) -> None:
        if self._body is not None:
            lines = self._body.decode("utf-8", "replace").split("\r\n")
            for line in lines[:-1]:
                self.write("S: " + _visible(line))
            if self._octets == len(self._body):
                return
        self.write(f"S: ({self._octets} octets)")

    def challenge(self, data: bytes) -> None:
        self.write(f"S: + (challenge, {len(data)} octets)")

    def response(self, octets: int) -> None:
        self.write(f"C: (response, {octets} octets)")


class LoggingTrace(DialogueTrace):
    """A dialogue in the log. *who* begins each line: ``address=127.0.0.1 id=3``, or only the address of a peer."""

    __slots__ = ("_who",)

    def __init__(self, who: str) -> None:
        super().__init__()
        self._who = who

    def renamed(self, who: str) -> Trace:
        return LoggingTrace(who)

    def write(self, line: str) -> None:
        log.info("%s %s", self._who, line)


def _visible(text: str) -> str:
    """Return *text* with control and other unprintable characters escaped as in Python."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
