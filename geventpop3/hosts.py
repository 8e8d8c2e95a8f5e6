"""Addresses of clients and of other servers, however they are written: which is loopback."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address


def parse_ip(host: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that *host* is, as IPv4 if it is IPv4-mapped; None for a name or a unix socket."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine: a loopback address or ``localhost`` (RFC 6761 section 6.3).

    A name that only begins like an address, as ``127.example.org``, is of any machine.
    """
    address = parse_ip(host)
    return host == "localhost" if address is None else address.is_loopback
