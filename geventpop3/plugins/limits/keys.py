"""Keys that failures are counted for: an address, a user, a password. Each key reveals no more than it must."""

from __future__ import annotations

import hashlib
import hmac
import stringprep
import unicodedata
from collections.abc import Iterable

from geventpop3.auth.credentials import NAME_OCTETS
from geventpop3.errors import ConfigError
from geventpop3.hosts import Networks

_INVISIBLE = {"Cc", "Cf", "Zs", "Zl", "Zp"}


def networks_of(networks: Iterable[str]) -> Networks:
    """Return the trusted networks. Raises ConfigError for an invalid one."""
    try:
        return Networks(networks)
    except ValueError as error:
        raise ConfigError(f"limits: trusted network: {error}") from None


def user_key(name: str) -> str:
    """Return a digest of the canonical form of a user name; empty if there is no name."""
    text = canonical(name)
    return hashlib.blake2b(_octets(text), digest_size=16).hexdigest() if text else ""


def canonical(name: str) -> str:
    """Return one form for all names that some back end may take for the same.

    It is coarser than that of any back end (RFC 4013, RFC 8265). Two users counted as one cost a delay; one user
    counted as two evades the limits.
    """
    text = unicodedata.normalize("NFKC", name[:NAME_OCTETS])
    text = "".join(c for c in text if unicodedata.category(c) not in _INVISIBLE and not stringprep.in_table_b1(c))
    return unicodedata.normalize("NFKC", text.casefold()).rstrip(".")


def fingerprint(key: bytes, *fields: str) -> str:
    """Return a digest that shows whether the same was sent again, and nothing else without *key*."""
    message = b"".join(b"%d:%s" % (len(octets), octets) for octets in map(_octets, fields))
    return hmac.digest(key, message, "sha256")[:16].hex()


def _octets(text: str) -> bytes:
    # Octets that were not UTF-8 are surrogates here.
    return text.encode("utf-8", "surrogatepass")
