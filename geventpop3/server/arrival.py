"""The steps around the greeting: the PROXY header of a trusted proxy, TLS from the start or after STLS, a refusal."""

from __future__ import annotations

import logging

from geventpop3.pipeline.interfaces import name_of_session
from geventpop3.server.client import Client
from geventpop3.server.proxy import replace_address
from geventpop3.server.stream import PlainStream
from geventpop3.server.tls.certificates import accept
from geventpop3.server.tls.stream import TlsError, TlsStream
from geventpop3.wire.replies import Reply

log = logging.getLogger("geventpop3.server")


def identify(client: Client) -> Reply | None:
    """Read the PROXY header of a trusted proxy, and start TLS on a port that has it before the greeting.

    Returns the refusal if this client is not admitted. Raises OSError.
    """
    refusal = _learn_address(client) if client.environment.trusts_proxy(client.peer[0]) else None
    if refusal is None and client.implicit_tls:
        _start_tls(client)
    return refusal


def turn_away(client: Client, refusal: Reply) -> None:
    """Send *refusal* in place of the greeting. Raises OSError."""
    client.summary.reason = "refused"
    if client.implicit_tls:
        return  # a client that begins with TLS cannot read a reply in clear text
    client.output.put(refusal.status_line)
    client.trace.reply(refusal)
    client.output.flush()
    client.output.stream.linger()


def upgrade(client: Client) -> None:
    """Start TLS after STLS was answered: the handshake begins after the CRLF of +OK (RFC 2595 section 4).

    Raises OSError.
    """
    client.output.flush()
    if client.connection.has_data:
        # An attacker may have injected these octets before the client's: they are not executed, the session ends.
        injected = TlsError("clear text came behind it")
        _note_failure(client, "no TLS after STLS", injected)
        client.output.stream.linger()
        raise injected
    _start_tls(client)
    client.connection.upgraded()


def _learn_address(client: Client) -> Reply | None:
    client.waiting = True
    try:
        return replace_address(client)
    except OSError as error:
        _note_failure(client, "no PROXY header", error)
        raise
    finally:
        client.waiting = False


def _start_tls(client: Client) -> None:
    stream = client.output.stream
    client.waiting = True
    try:
        client.output.stream = secured = _handshake(client, stream)
    except OSError as error:
        _note_failure(client, "TLS handshake failed", error)
        stream.linger()  # so that the alert is read
        raise
    finally:
        client.waiting = False
    cipher = secured.tls.cipher()
    client.environment.send_event("tls_started", secured.tls.version(), cipher and cipher[0], client=client)


def _handshake(client: Client, stream: object) -> TlsStream:
    settings = client.environment.settings
    if not isinstance(stream, PlainStream):
        raise TlsError("TLS is active already")
    if settings.tls is None:
        raise TlsError("there are no certificates")
    return accept(stream, settings.tls, settings.limits.handshake_deadline)


def _note_failure(client: Client, what: str, error: OSError) -> None:
    """Log one line for a peer that fails before its first command, unless the server ended the session."""
    if client.summary.reason == "disconnected":
        client.summary.reason = f"{what}: {error.strerror or error}"
        log.info("session %s: %s", name_of_session(client), client.summary.reason)
