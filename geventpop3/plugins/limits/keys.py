"""Keys that failures are counted for: an address, a user, a password. Each key reveals no more than it must."""

from __future__ import annotations

import hashlib
import hmac
import stringprep
import unicodedata
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from geventpop3.errors import ConfigError

NAME_CHARACTERS = 320
"""Maximum length of a name (RFC 5321 section 4.5.3.1: 64 octets, @, 255 octets)."""

PREFIX = 64
"""Bits of an IPv6 address that identify a site; the site chooses the others freely."""

MAPPED_BITS = 96
"""Bits before the IPv4 address in an IPv4-mapped one (RFC 4291 section 2.5.5.2)."""

_INVISIBLE = {"Cc", "Cf", "Zs", "Zl", "Zp"}


class Networks:
    """A set of networks to look addresses up in, however IPv4 is written. Raises ConfigError for an invalid network."""

    def __init__(self, networks: Iterable[str]) -> None:
        try:
            self._networks = [_plain(ip_network(network)) for network in networks]
        except ValueError as error:
            raise ConfigError(f"limits: trusted network: {error}") from None

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _plain(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return a network of IPv4-mapped addresses as the IPv4 network: addresses are looked up in that form."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return network if mapped is None else IPv4Network((mapped, network.prefixlen - MAPPED_BITS))


def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address of a peer, as IPv4 if it is IPv4-mapped; None for a unix socket, which has none."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def address_key(address: IPv4Address | IPv6Address) -> str:
    """Return ``192.0.2.7``, or the network of an IPv6 address, ``2001:db8::/64``."""
    if isinstance(address, IPv4Address):
        return str(address)
    return str(ip_network((int(address), PREFIX), strict=False))


def user_key(name: str) -> str:
    """Return a digest of the canonical form of a user name; empty if there is no name."""
    text = canonical(name)
    return hashlib.blake2b(_octets(text), digest_size=16).hexdigest() if text else ""


def canonical(name: str) -> str:
    """Return one form for all names that some back end may take for the same.

    It is coarser than that of any back end (RFC 4013, RFC 8265). Two users counted as one cost a delay; one user
    counted as two evades the limits.
    """
    text = unicodedata.normalize("NFKC", name[:NAME_CHARACTERS])
    text = "".join(c for c in text if unicodedata.category(c) not in _INVISIBLE and not stringprep.in_table_b1(c))
    return unicodedata.normalize("NFKC", text.casefold()).rstrip(".")


def fingerprint(key: bytes, *fields: str) -> str:
    """Return a digest that shows whether the same was sent again, and nothing else without *key*."""
    message = b"".join(b"%d:%s" % (len(octets), octets) for octets in map(_octets, fields))
    return hmac.digest(key, message, "sha256")[:16].hex()


def _octets(text: str) -> bytes:
    # Octets that were not UTF-8 are surrogates here.
    return text.encode("utf-8", "surrogatepass")
