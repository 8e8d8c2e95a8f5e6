"""What a client sent as name and password, before a back end sees it: what is nobody's is not asked about.

Back ends are C libraries, query languages and other people's servers, where an empty password may be an anonymous login
and a NUL an end; none of them shall meet what no user can have.
"""

from __future__ import annotations

from geventpop3.auth.saslprep import saslprep
from geventpop3.auth.secret import PASSWORD_OCTETS
from geventpop3.errors import StoreUnavailable

NAME_OCTETS = 320
"""The longest address: a local-part of 64 octets, @, a domain of 255 (RFC 5321 section 4.5.3.1)."""


def is_name(name: str) -> bool:
    """Whether somebody may be called so: printable characters, no octets that were not UTF-8, not too many."""
    return bool(name) and name.isprintable() and len(name.encode("utf-8")) <= NAME_OCTETS


def password_octets(password: str) -> bytes | None:
    """What the client sent, or None for what is nobody's password: nothing, too much, with NUL, not from any client."""
    try:
        octets = password.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None
    return octets if 0 < len(octets) <= PASSWORD_OCTETS and b"\0" not in octets else None


def spellings(password: str) -> tuple[bytes, ...]:
    """What to compare with a stored hash: what the client sent and, where it differs, what SASLprep makes of it.

    PASS without UTF8 (RFC 6856) and LOGIN bring what was typed, other mechanisms the prepared form, and either may be
    what was hashed. What is nobody's password is empty, to be hashed all the same, for the same time.
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
    """The error of a back end that is down; *detail* becomes one line of the log."""
    return StoreUnavailable("logins cannot be checked now, try again later", detail=" ".join(detail.split()))
