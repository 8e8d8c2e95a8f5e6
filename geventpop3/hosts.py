"""Addresses of clients and servers, however they are written: plain forms, networks, what counts as one, loopback."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

PREFIX = 64
"""Bits of an IPv6 address that identify a site; the site chooses the others freely."""

_MAPPED_BITS = 96
"""Bits before the IPv4 address in an IPv4-mapped one (RFC 4291 section 2.5.5.2)."""


def parse_ip(host: str) -> IPv4Address | IPv6Address | None:
    """Return the IP address that *host* is, as IPv4 if it is IPv4-mapped; None for a name or a unix socket."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def plain_host(host: str) -> str:
    """Return the IPv4 address of an IPv4-mapped one such as ``::ffff:192.0.2.1``; any other host as it is."""
    return host[7:] if host.startswith("::ffff:") and "." in host else host


@lru_cache(maxsize=256)
@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Return whether *host* is this machine: a loopback address or ``localhost`` (RFC 6761 section 6.3).

    A name that only begins like an address, as ``127.example.org``, is of any machine.
    """
    address = parse_ip(host)
    return host == "localhost" if address is None else address.is_loopback


def address_key(host: str) -> str:
    """Return what is counted as one: ``192.0.2.7``, the network ``2001:db8::/64`` of an IPv6 address, a unix socket."""
    if ":" not in host:
        return host
    address = parse_ip(host)
    if isinstance(address, IPv6Address):
        return str(ip_network((int(address), PREFIX), strict=False))
    return host if address is None else str(address)


class Networks:
    """A set of networks to look addresses up in, however IPv4 is written. Raises ValueError for an invalid network."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = [_plain(ip_network(network)) for network in networks]

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self._networks)


def _plain(network: IPv4Network | IPv6Network) -> IPv4Network | IPv6Network:
    """Return a network of IPv4-mapped addresses as the IPv4 network: ``parse_ip`` returns addresses in that form."""
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return network if mapped is None else IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
