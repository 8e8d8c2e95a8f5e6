"""A parser for the ClientHello, used before TLS begins: the server name and the protocols that a client requests.

Python's ssl gives a server the name only in a callback, before which a hostile name prints a traceback. It does not
give the protocols. A ClientHello that cannot be parsed here counts as without both; OpenSSL decides about it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

HELLO_OCTETS: Final = 16384
"""Maximum octets of a ClientHello that is parsed: real ones have a few hundred, or two thousand."""

_RECORDS: Final = 4
"""Maximum records of a ClientHello. No client needs two; more records would only cost time."""

_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_SERVER_NAME: Final = 0
_HOST_NAME: Final = 0
_ALPN: Final = 16


class Hello(NamedTuple):
    """The requests of a ClientHello: the server name in lower case, or None, and the offered ALPN names, if any."""

    name: str | None = None
    protocols: tuple[bytes, ...] = ()


def read_hello(octets: bytes | bytearray) -> Hello | None:
    """Return the requests in the first octets of a connection; None if more octets are needed. Raises nothing."""
    try:
        body = _body(octets)
        return None if body is None else _hello(_Cursor(body))
    except ValueError:
        return Hello()


def _body(octets: bytes | bytearray) -> bytes | None:
    """Return the ClientHello from its records, without the handshake header (RFC 8446 sections 5.1 and 4)."""
    message = b""
    at = 0
    for _ in range(_RECORDS):
        if len(octets) > at and octets[at] != _HANDSHAKE:
            raise ValueError("not a handshake record")
        end = at + 5 + int.from_bytes(octets[at + 3 : at + 5], "big")
        if end > HELLO_OCTETS:
            raise ValueError("too long")
        if len(octets) < max(end, at + 5):
            return None
        message += octets[at + 5 : end]
        at = end
        if message and message[0] != _CLIENT_HELLO:
            raise ValueError("not a ClientHello")
        length = int.from_bytes(message[1:4], "big")
        if len(message) >= 4 + length:
            return bytes(message[4 : 4 + length])
    raise ValueError("too many records")


def _hello(body: _Cursor) -> Hello:
    """Parse a ClientHello by RFC 8446 section 4.1.2, whose layout is that of all versions."""
    body.take(2 + 32)  # legacy_version, random
    body.vector(1)  # legacy_session_id
    body.vector(2)  # cipher_suites
    body.vector(1)  # legacy_compression_methods
    name: str | None = None
    protocols: tuple[bytes, ...] = ()
    extensions = body.vector(2)
    while extensions:
        kind = extensions.number(2)
        extension = extensions.vector(2)
        if kind == _SERVER_NAME:
            name = _host_name(extension.vector(2))
        elif kind == _ALPN:
            protocols = tuple(_protocols(extension.vector(2)))
    return Hello(name, protocols)


def _host_name(names: _Cursor) -> str | None:
    """Return the host name (RFC 6066 section 3): ASCII, at most one of a type.

    Other octets are replaced, so that no certificate matches the name.
    """
    while names:
        kind = names.number(1)
        name = names.vector(2)
        if kind == _HOST_NAME:
            return name.rest().decode("ascii", "replace").lower()
    return None


def _protocols(names: _Cursor) -> list[bytes]:
    """Return the ALPN names (RFC 7301 section 3.1)."""
    protocols = []
    while names:
        protocols.append(names.vector(1).rest())
    return protocols


class _Cursor:
    """A reader of octets from front to back; it raises ValueError if they end too soon."""

    __slots__ = ("_at", "_octets")

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._octets)

    def take(self, count: int) -> bytes:
        taken = self._octets[self._at : self._at + count]
        if len(taken) < count:
            raise ValueError("truncated")
        self._at += count
        return taken

    def rest(self) -> bytes:
        return self.take(len(self._octets) - self._at)

    def number(self, octets: int) -> int:
        return int.from_bytes(self.take(octets), "big")

    def vector(self, octets: int) -> _Cursor:
        """Return the contents that follow a length of *octets* octets."""
        return _Cursor(self.take(self.number(octets)))
