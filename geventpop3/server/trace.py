"""The dialogue in the log, when it is asked for: secrets masked, and nothing in it that a terminal would obey."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from geventpop3.protocol.commands import CommandSpec, redact
from geventpop3.protocol.connection import Rejected
from geventpop3.wire.replies import Reply

log = logging.getLogger("geventpop3.trace")


class Trace:
    """One session's dialogue."""

    __slots__ = ("_id",)

    def __init__(self, client_id: int) -> None:
        self._id = client_id

    def command(self, spec: CommandSpec, args: Sequence[str]) -> None:
        """What the client said."""
        log.info("%d C: %s", self._id, _visible(f"{spec.verb} {redact(spec, args)}".rstrip()))

    def rejected(self, rejected: Rejected) -> None:
        """What the client said that was no command; it may be a password in the wrong place, so only its size."""
        log.info("%d C: (%s, %d octets)", self._id, rejected.verb or "no command", rejected.octets)

    def reply(self, reply: Reply) -> None:
        """What we said."""
        log.info("%d S: %s", self._id, _visible(reply.status_line.decode("utf-8", "replace").rstrip()))

    def body(self, octets: int) -> None:
        """How much followed."""
        log.info("%d S: (%d octets)", self._id, octets)


def _visible(text: str) -> str:
    """*text* with what a terminal would obey, or nobody would see, escaped as in Python."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
