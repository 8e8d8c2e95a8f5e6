"""Everything that a peer can grow has a bound, and every wait a deadline; here they are, with their reasons."""

from __future__ import annotations

from dataclasses import dataclass


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
    """Seconds in which a peer must have taken some octets (``write_rate`` of them each second)."""

    write_rate: int = 1024
    """Octets per second that a peer must take over a ``write_deadline``, so that dripping is no way round it."""

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


TICK = 1.0
"""Seconds between two looks at the deadlines, at most."""

SLICE = 0.005
"""Seconds that a session may run before it lets others run; those that never wait share one of it."""

PAUSE = 0.0005
"""Seconds of that wait: a real timer tick, because ``sleep(0)`` lets no timer and no socket come to its turn."""

OUTPUT_OCTETS = 65536
"""Octets of replies that are collected before they are written."""

RECV_OCTETS = 8192
"""Octets that are read at once: what a pipelining client can make us hold."""
