"""Listening addresses as text: ``127.0.0.1:110``, ``[::1]:110``, ``pop.example.org:110``, ``unix:/path``.

The host is required, because a missing one hardly means all addresses; the error explains how to write that. A text
that is accepted here can be looked up and bound; only the system can refuse it then.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv6Address, ip_address
from typing import Any

from geventpop3.errors import ConfigError

Address = tuple[str, int | str]
"""An address as ``(host, port)`` or ``("unix", path)``; an empty host means every address, as for sockets."""

UNIX_PATH_OCTETS = 103
"""Maximum octets of a unix socket's path on every system (``sun_path`` has 104 octets on some, with the NUL)."""

_HOST = re.compile(r"(?!.{254})[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_PORT = re.compile(r"[0-9]{1,5}")
_ANY_HOST = "0.0.0.0"  # noqa: S104  # it is compared, not bound


def parse_address(text: str) -> Address:
    """Return the address that *text* names. Raises ConfigError with a line that explains the error."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path:
            raise ConfigError(f"{text!r}: give the path of the socket after unix:")
        if len(os.fsencode(path)) > UNIX_PATH_OCTETS:
            raise ConfigError(f"{text!r}: the path of a socket must have at most {UNIX_PATH_OCTETS} octets")
        return "unix", path
    host, colon, port = text.rpartition(":")
    if not colon or not port or port.endswith("]"):
        raise ConfigError(f"{text!r}: an address must be HOST:PORT, [IPV6]:PORT or unix:PATH, such as 127.0.0.1:1110")
    if _PORT.fullmatch(port) is None or int(port) > 65535:
        raise ConfigError(f"{text!r}: the port must be a number from 0 to 65535")
    if host in ("", "*"):
        raise ConfigError(
            f"{text!r}: the host is missing: 127.0.0.1:{port} is this machine alone, 0.0.0.0:{port} every address of "
            f"IPv4, [::]:{port} every one of IPv6"
        )
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        try:
            IPv6Address(host)
        except AddressValueError:
            raise ConfigError(f"{text!r}: {host!r} is not an IPv6 address") from None
    elif "//" in host:
        raise ConfigError(f"{text!r}: write the address without a scheme, {host.partition('//')[2]}:{port}")
    elif ":" in host:
        raise ConfigError(f"{text!r}: write an IPv6 address in brackets, [::1]:{port}")
    elif _HOST.fullmatch(host) is None:
        raise ConfigError(f"{text!r}: {host!r} is neither a host name nor an address")
    return host, int(port)


def check_address(host: str, port: int | str) -> None:
    """Raise ConfigError for a place that the system would misinterpret: it binds port 65537 as 1."""
    if not isinstance(host, str) or isinstance(port, bool) or not isinstance(port, (int, str)):
        raise ConfigError(f"{(host, port)}: the host must be a str, a name or an address, and the port an int")
    if host == "unix":
        return
    if isinstance(port, int) and not 0 <= port <= 65535:
        raise ConfigError(f"{port}: the port must be a number from 0 to 65535")
    if host and (host.count(":") == 1 or set(host) & set("[]/")):
        raise ConfigError(
            f"{host!r} is not a host alone: give listen strings, such as ['127.0.0.1:1110', '[::1]:1110']"
        )


def check_distinct(plain: Iterable[Address], tls: Iterable[Address] = ()) -> None:
    """Raise ConfigError if two of the addresses cannot be bound side by side; those in *tls* begin with TLS."""
    before: list[tuple[Address, bool]] = []
    for address, is_tls in (*((one, False) for one in plain), *((one, True) for one in tls)):
        for other, other_is_tls in before:
            if _clash(other, address):
                one, two = _shown(other), _shown(address)
                text = f"{one} is given twice" if one == two else f"{one} and {two} overlap"
                hint = "" if is_tls is other_is_tls else ": clear text and TLS from the start need different ports"
                raise ConfigError(f"{text}{hint}")
        before.append((address, is_tls))


def _clash(one: Address, other: Address) -> bool:
    if one[1] != other[1] or one[1] == 0:
        return False
    if one[0].lower() == other[0].lower():
        return True
    try:
        first, second = ip_address(one[0] or _ANY_HOST), ip_address(other[0] or _ANY_HOST)
    except ValueError:  # a host's name, or the path of a unix socket: only the system knows
        return False
    return first.version == second.version and (first.is_unspecified or second.is_unspecified)


def _shown(address: Address) -> str:
    return f"unix:{address[1]}" if address[0] == "unix" else format_address(address)


def format_address(sockname: Any) -> str:
    """Return a socket's name as ``127.0.0.1:110``, ``[::1]:110`` or ``unix:/path``."""
    if isinstance(sockname, (str, bytes)):
        return f"unix:{unix_path(sockname)}"
    host, port = sockname[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def unix_path(sockname: str | bytes) -> str:
    """Return the path of a unix socket; ``@`` and the name for one in the abstract namespace (unix(7))."""
    return sockname if isinstance(sockname, str) else "@" + os.fsdecode(sockname.removeprefix(b"\0"))
