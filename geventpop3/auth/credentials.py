"""Checks of a client's name and password before a back end receives them.

Back ends are C libraries, query languages and other people's servers. There an empty password may be an anonymous login
and a NUL may end a string. So a name or a password that no user can have never reaches them.
"""

from __future__ import annotations

from geventpop3.auth.saslprep import saslprep
from geventpop3.auth.secret import PASSWORD_OCTETS
from geventpop3.errors import StoreUnavailable

NAME_OCTETS = 320
"""Length of the longest address: a local-part of 64 octets, @, a domain of 255 (RFC 5321 section 4.5.3.1).

RFC 4616 section 2 requires 255 octets.
"""


def is_name(name: str) -> bool:
    """Return whether a user may have this name: printable characters, no octets that were not UTF-8, not too many."""
    return bool(name) and name.isprintable() and len(name.encode("utf-8")) <= NAME_OCTETS


def password_octets(password: str) -> bytes | None:
    """Return the password's octets, or None if no user can have it: empty, too long, with NUL, not from any client."""
    try:
        octets = password.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None
    return octets if 0 < len(octets) <= PASSWORD_OCTETS and b"\0" not in octets else None


def spellings(password: str) -> tuple[bytes, ...]:
    """Return the octets to compare with a stored hash: those the client sent and, if different, their SASLprep form.

    PASS without UTF8 (RFC 6856) and LOGIN send what was typed, other mechanisms the prepared form; either may have been
    hashed. A password that no user can have becomes empty octets, which are hashed too, to take the same time.
    """
    octets = password_octets(password)
    if octets is None:
        return (b"",)
    try:
        prepared = saslprep(octets.decode("utf-8")).encode("utf-8")
    except ValueError:
        return (octets,)
    return (octets,) if prepared in (octets, b"") else (octets, prepared)


def unavailable(detail: str) -> StoreUnavailable:
    """Return the error of a back end that is down; *detail* becomes one line of the log."""
    return StoreUnavailable("logins cannot be checked now, try again later", detail=" ".join(detail.split()))
