"""The dialogue in the log, when it is asked for: all of it, secrets masked, and nothing that a terminal would obey."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from geventpop3.protocol.commands import CommandSpec, redact
from geventpop3.protocol.connection import Rejected
from geventpop3.wire.replies import Reply

log = logging.getLogger("geventpop3.trace")


class Trace:
    """One session's dialogue; *who* begins its lines: the client's id, or the address of a peer that has none."""

    __slots__ = ("_who",)

    def __init__(self, who: int | str) -> None:
        self._who = who

    def command(self, spec: CommandSpec, args: Sequence[str]) -> None:
        """What the client said."""
        log.info("%s C: %s", self._who, _visible(f"{spec.verb} {redact(spec, args)}".rstrip()))

    def rejected(self, rejected: Rejected) -> None:
        """What the client said that was no command; it may be a password in the wrong place, so only its size."""
        log.info("%s C: (%s, %d octets)", self._who, rejected.verb or "no command", rejected.octets)

    def reply(self, reply: Reply) -> None:
        """What we said: to a command, as a greeting or a farewell, or unasked."""
        log.info("%s S: %s", self._who, _visible(reply.status_line.decode("utf-8", "replace").rstrip()))

    def body(self, octets: int) -> None:
        """How much followed."""
        log.info("%s S: (%d octets)", self._who, octets)

    def challenge(self, data: bytes) -> None:
        """What we asked within AUTH; only its size, as passwords can be guessed against SCRAM's last one (RFC 5802)."""
        log.info("%s S: + (challenge, %d octets)", self._who, len(data))

    def response(self, octets: int) -> None:
        """What the client answered; it may be the password itself, so only the size of the line."""
        log.info("%s C: (response, %d octets)", self._who, octets)


def _visible(text: str) -> str:
    """*text* with what a terminal would obey, or nobody would see, escaped as in Python."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
