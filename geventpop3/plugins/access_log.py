"""Access log: a line for each session and each failed login, of ``key=value`` fields that no client can forge.

    session user=alice address=127.0.0.1 id=3 commands=7 retrieved=2 removed=1 octets_in=71 ...
    authentication_failed address=127.0.0.1 id=3 mechanism=USER user=alice

A value that could be read as more than one value is quoted; invisible characters are escaped. In the second line the
client's own text comes last, so that a rule that bans addresses matches the right one.
"""

from __future__ import annotations

import logging
import re
from typing import Any

from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import SessionSummary
from geventpop3.pipeline.plugin import handles

VALUE_CHARACTERS = 64
"""Length of the longest value that is logged whole."""

_PLAIN = re.compile(rf"[A-Za-z0-9_.:@][A-Za-z0-9_.:@+-]{{0,{VALUE_CHARACTERS - 1}}}")
"""Pattern of a value that needs no quotes, as nearly all are."""


class AccessLog:
    """A listener: ``pop3d.register(AccessLog())``. Logs to ``geventpop3.access``: sessions INFO, failures WARNING."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self.logger = logging.getLogger("geventpop3.access") if logger is None else logger

    @handles("session_finished")
    def session_finished(self, _pop3d: Any, event: Event) -> None:
        summary: SessionSummary = event.args[0]
        self.logger.info(
            "session user=%s address=%s id=%s commands=%d retrieved=%d removed=%d"
            " octets_in=%d octets_out=%d seconds=%.3f reason=%s",
            field(summary.owner),
            field(summary.address),
            _id(event),
            summary.commands,
            summary.retrieved,
            summary.removed,
            summary.octets_in,
            summary.octets_out,
            summary.seconds,
            field(summary.reason),
        )

    @handles("authentication_failed")
    def authentication_failed(self, _pop3d: Any, event: Event) -> None:
        name, mechanism = [*event.args, None][:2]
        address = None if event.client is None else event.client.peer[0]
        self.logger.warning(
            "authentication_failed address=%s id=%s mechanism=%s user=%s",
            field(address),
            _id(event),
            field(mechanism),
            field(name),
        )


def _id(event: Event) -> str:
    return "-" if event.client is None else str(event.client.id)


def field(value: str | None) -> str:
    """Return *value* as it may stand behind ``key=`` in a log line; ``-`` if there is none.

    It shows at most ``VALUE_CHARACTERS`` of *value*, then ``...``. Control characters, line separators and all other
    invisible characters are escaped as in Python: C0, C1, DEL, U+2028, bidirectional overrides, octets that are not
    UTF-8. ``=`` is escaped too, so that no value contains what looks like another key.
    """
    if not value:
        return "-"
    if _PLAIN.fullmatch(value):
        return value
    shown = value if len(value) <= VALUE_CHARACTERS else value[:VALUE_CHARACTERS] + "..."
    if shown.isprintable() and shown != "-" and not any(character in shown for character in ' "\\='):
        return shown
    escaped = "".join(f"\\{character}" if character in '"\\' else _escape(character) for character in shown)
    return f'"{escaped}"'


def _escape(character: str) -> str:
    if character == "=":
        return "\\x3d"
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
