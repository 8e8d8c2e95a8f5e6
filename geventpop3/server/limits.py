"""The server's limits, with their reasons: bounds on all that a peer can make grow, and deadlines for all waits."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import TypedDict

from geventpop3.protocol.connection import AUTOLOGOUT_SECONDS, BAD_AFTER_LOGIN, BAD_BEFORE_LOGIN
from geventpop3.wire.lines import LINE_OCTETS


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one server, in seconds, octets or counts. None switches a limit off."""

    autologout: float | None = AUTOLOGOUT_SECONDS
    """Seconds without a command."""

    login_deadline: float | None = 60
    """Seconds from connection to login, in total: commands do not extend it (Dovecot allows 180)."""

    handshake_deadline: float = 10.0
    """Seconds for a whole TLS handshake."""

    proxy_deadline: float = 3.0
    """Seconds for a PROXY header: a proxy sends it at once."""

    write_deadline: float | None = 60.0
    """Seconds without any progress after which a write fails. A slow client is kept, as RFC 1939 section 3 gives it ten
    minutes; it costs a socket and at most a few hundred KiB. The kernel reports progress in whole segments. The time is
    longer in proportion if a segment has more than ``SEGMENT_OCTETS``, as on loopback."""

    write_rate: int = 0
    """Octets per second that a peer must take, averaged over each ``write_deadline``; with 0, one octet in all."""

    shutdown_grace: float = 5.0
    """Seconds in which running replies may finish when the server shuts down."""

    max_sessions: int | None = 10_000
    """Maximum concurrent sessions; fewer if the process may not open enough files. A peer beyond it receives an -ERR
    reply, and its connection is closed."""

    max_sessions_per_address: int | None = None
    """Maximum concurrent sessions from one IPv4 address or one IPv6 /64; None: ``max_sessions`` is the only limit."""

    line_limit: int = LINE_OCTETS
    """Maximum octets of a command line with its line end. RFC 2449 section 4 asks for 255; older clients send more."""

    bad_before_login: int = BAD_BEFORE_LOGIN
    """Consecutive invalid commands before login after which the server disconnects."""

    bad_after_login: int = BAD_AFTER_LOGIN
    """The same limit after login."""


class LimitOptions(TypedDict, total=False):
    """The fields of ``Limits`` as keyword arguments, for type checkers and for functions that pass them on."""

    autologout: float | None
    login_deadline: float | None
    handshake_deadline: float
    proxy_deadline: float
    write_deadline: float | None
    write_rate: int
    shutdown_grace: float
    max_sessions: int | None
    max_sessions_per_address: int | None
    line_limit: int
    bad_before_login: int
    bad_after_login: int


_SYNONYMS = {"host": "address", "interface": "address", "bind": "listen", "certificates": "tls"}
"""Keywords of other servers, each with its equivalent; the spelling alone would suggest another keyword."""


def check_options(given: Iterable[str], beside: Callable[..., object]) -> None:
    """Raise TypeError unless all of *given* are limits; the error names the nearest limit or keyword of *beside*."""
    known = [field.name for field in fields(Limits)]
    for name in given:
        if name not in known:
            parameters = inspect.signature(beside).parameters.values()
            keywords = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
            (nearest,) = difflib.get_close_matches(_SYNONYMS.get(name, name), [*known, *keywords], n=1, cutoff=0.0)
            raise TypeError(f"unknown keyword {name!r}: did you mean {nearest!r}?")


TICK = 1.0
"""Maximum seconds between two checks of the deadlines."""

SLICE = 0.005
"""Seconds that a session may run before it yields to others; sessions that never wait share one slice."""

PAUSE = 0.0005
"""Seconds for which it yields: a real timer, because during ``sleep(0)`` no timer and no socket event is handled."""

SEGMENT_OCTETS = 6000
"""The largest segment that a peer can take in a ``write_deadline`` of a minute if it reads 100 octets a second."""

OUTPUT_OCTETS = 65536
"""Octets of replies that are collected before they are written."""

RECV_OCTETS = 8192
"""Octets that are read at once: the input of a pipelining client that the server may have to hold."""
