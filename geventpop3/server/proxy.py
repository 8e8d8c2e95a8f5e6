"""The PROXY protocol, versions 1 and 2: the real address of a client, as a trusted proxy reports it.

A header is read only from the configured networks, because any other peer could claim any address. From those it is
required, at once and before all else. Exactly the header's octets are read, because a TLS handshake may follow.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable
from typing import NamedTuple

from gevent import Timeout

from geventpop3.errors import ConfigError
from geventpop3.hosts import Networks, parse_ip, plain_host
from geventpop3.pipeline.interfaces import name_of_session
from geventpop3.server.client import Client
from geventpop3.server.stream import Stream
from geventpop3.wire.replies import Reply

SIGNATURE_OCTETS = 8
V1_OCTETS = 107
"""The longest header of version 1, with CRLF (the specification's section 2.1)."""

V2_OCTETS = 16 + 4096
"""The longest header of version 2 that is read: an address and far more TLVs than any proxy sends."""


class Proxied(NamedTuple):
    """The contents of a header: the peer, the address it connected to, and whether it used TLS to the proxy.

    *peer* and *local* are None for the proxy's own connections (health checks) and for families without addresses.
    The socket's addresses are then used.
    """

    peer: tuple[str, int] | None
    local: tuple[str, int] | None
    secure: bool


class ProxyError(OSError):
    """A missing or malformed header; the connection is closed without a reply."""


class TrustedProxies(Container[str]):
    """The networks whose PROXY headers are trusted.

    Raises ConfigError if a text is not a network, or if the extra ``proxy`` is not installed.
    """

    def __init__(self, networks: Iterable[str]) -> None:
        try:
            import proxyprotocol  # noqa: F401  a missing extra is an error at the start, not at the first connection
        except ImportError:
            raise ConfigError("the PROXY protocol needs an extra: pip install 'geventpop3[proxy]'") from None
        try:
            self._networks = Networks(networks)
        except ValueError as error:
            raise ConfigError(f"proxy network: {error}") from None

    def __contains__(self, host: object) -> bool:
        address = parse_ip(host) if isinstance(host, str) else None  # None for a unix socket, for example
        return address is not None and address in self._networks


def replace_address(client: Client) -> Reply | None:
    """Read the header of a trusted proxy and replace the client's address by that in the header.

    Returns the refusal if that address is not admitted. Raises OSError: ProxyError without a valid header in time.
    """
    environment = client.environment
    with Timeout(environment.settings.limits.proxy_deadline, ProxyError("it did not arrive in time")):
        proxied = read_header(client.output.stream)
    client.proxied = True
    client.proxied_tls = proxied.secure
    if proxied.peer is None or proxied.local is None:
        return None
    client.peer, client.local = (plain_host(proxied.peer[0]), proxied.peer[1]), proxied.local
    client.trace = client.trace.renamed(name_of_session(client))
    client.summary.address, client.summary.port = client.peer
    return environment.move_client(client, client.peer[0])


def read_header(stream: Stream) -> Proxied:
    """Read the header and nothing more. Raises ProxyError, or another OSError if the peer resets the connection."""
    from proxyprotocol import ProxyProtocolIncompleteError
    from proxyprotocol.detect import ProxyProtocolDetect
    from proxyprotocol.result import is_ipv4, is_ipv6

    protocol = ProxyProtocolDetect()
    data = _read(stream, SIGNATURE_OCTETS)
    limit = V1_OCTETS if data.startswith(b"PROXY") else V2_OCTETS
    try:
        while True:
            try:
                result = protocol.unpack(data)
                break
            except ProxyProtocolIncompleteError as incomplete:
                wanted = incomplete.want_read.want_bytes or 1
                if len(data) + wanted > limit:
                    raise ProxyError("it is too long") from None
                data += _read(stream, wanted)
        if is_ipv4(result) or is_ipv6(result):
            (host, port), (our_host, our_port) = result.source, result.dest
            return Proxied((str(host), port), (str(our_host), our_port), result.tlv.ssl.has_ssl)
    except (ValueError, struct.error):
        # The contents stay out of the log. struct.error is raised for lengths that do not fit.
        raise ProxyError("it is malformed") from None
    # The specification's section 2.2, LOCAL: the receiver "must use the real connection endpoints and discard the
    # protocol block including the family which is ignored", so its TLS information is discarded too.
    return Proxied(None, None, secure=False)


def _read(stream: Stream, octets: int) -> bytes:
    data = b""
    while len(data) < octets:
        more = stream.recv(octets - len(data))
        if not more:
            raise ProxyError("the peer disconnected")
        data += more
    return data
