"""Everything that a peer can grow has a bound, and every wait a deadline; here they are, with their reasons."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import TypedDict


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one server; seconds, octets, counts. None switches a bound off."""

    autologout: float | None = 600.0
    """Seconds without a command. RFC 1939 section 3: "Such a timer MUST be of at least 10 minutes' duration"."""

    login_deadline: float | None = 60.0
    """Seconds from connect to login, in total: commands do not extend it (Dovecot gives 180)."""

    handshake_deadline: float = 10.0
    """Seconds for a TLS handshake, all of it."""

    proxy_deadline: float = 3.0
    """Seconds for a PROXY header: a proxy sends it at once."""

    write_deadline: float | None = 60.0
    """Seconds without any progress that end a write. RFC 1939 section 3 gives a client ten minutes, so a slow one goes
    on; it costs a socket and at most a few hundred KiB. A system tells progress by whole segments: where these have
    more than ``SEGMENT_OCTETS``, as on loopback, the time is longer in proportion."""

    write_rate: int = 0
    """Octets per second that a peer must take over each ``write_deadline``; 0 asks for no more than an octet."""

    shutdown_grace: float = 5.0
    """Seconds that running replies get to finish when the server shuts down."""

    max_sessions: int | None = 10_000
    """Sessions at once, or fewer if the process may not open files enough. Over it a peer hears so and is closed."""

    max_sessions_per_address: int | None = None
    """Sessions at once from one IPv4 address or one IPv6 /64; None: bounded by ``max_sessions`` alone."""

    line_limit: int = 1024
    """Octets of a command line with its line end. RFC 2449 section 4 asks for 255; older clients send more."""

    bad_before_login: int = 3
    """Lines in a row that are no commands before we hang up, before login: a browser or a scanner sends such."""

    bad_after_login: int = 20
    """The same after login, where a person may be typing (Dovecot has 3 and 20 too)."""


class LimitOptions(TypedDict, total=False):
    """The fields of ``Limits`` as keywords, for whoever passes them on; a type checker knows them by this."""

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


_OTHER_WORDS = {"host": "address", "interface": "address", "bind": "listen", "certificates": "tls"}
"""Keywords of other servers, which resemble others of ours than those that mean the same."""


def check_options(given: Iterable[str], beside: Callable[..., object]) -> None:
    """Raise TypeError unless all of *given* are limits; it names the nearest limit or keyword of *beside*."""
    known = [field.name for field in fields(Limits)]
    for name in given:
        if name not in known:
            parameters = inspect.signature(beside).parameters.values()
            keywords = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
            (nearest,) = difflib.get_close_matches(_OTHER_WORDS.get(name, name), [*known, *keywords], n=1, cutoff=0.0)
            raise TypeError(f"there is no keyword {name!r}: did you mean {nearest!r}?")


TICK = 1.0
"""Seconds between two looks at the deadlines, at most."""

SLICE = 0.005
"""Seconds that a session may run before it lets others run; those that never wait share one of it."""

PAUSE = 0.0005
"""Seconds of that wait: a real timer tick, because ``sleep(0)`` lets no timer and no socket come to its turn."""

SEGMENT_OCTETS = 6000
"""Octets of a segment that a peer can take in a ``write_deadline`` of a minute if it reads 100 octets a second."""

OUTPUT_OCTETS = 65536
"""Octets of replies that are collected before they are written."""

RECV_OCTETS = 8192
"""Octets that are read at once: what a pipelining client can make us hold."""
