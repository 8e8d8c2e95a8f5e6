"""The framework's own replies, to commands that no listener has answered."""

from __future__ import annotations

from geventpop3.pipeline.events import Event
from geventpop3.pipeline.failures import internal_error
from geventpop3.protocol.commands import CommandSpec
from geventpop3.server.client import Client
from geventpop3.wire.replies import Reply, err, multiline, ok

GOODBYE = ok("goodbye")
"""The reply to QUIT."""

NOT_SUPPORTED = err("not supported here")
"""The reply to any other command. With POE::Component::Server::POP3 the client would wait for ever."""

_NO_ARGUMENT = err("no argument is allowed")

_CAPABILITIES = {
    "TOP": ("cmd_top",),
    "USER": ("cmd_user", "cmd_pass"),
    "UIDL": ("cmd_uidl",),
    "RESP-CODES": (),
    "PIPELINING": (),
}
"""Capabilities in the answer to CAPA, each with the events that must have a listener."""


def default_reply(client: Client, event: Event, spec: CommandSpec) -> Reply:
    """Return the reply to a command that no listener has answered."""
    if event.reference is not None:
        return internal_error(event.reference)
    if spec.upgrades:
        return _NO_ARGUMENT if event.args else _reply_to_stls(client)
    if spec.closes:
        return GOODBYE
    if event.name == "cmd_capa":
        return _NO_ARGUMENT if event.args else multiline("capabilities follow", _capabilities(client))
    return NOT_SUPPORTED


def _capabilities(client: Client) -> bytes:
    """Return the capability lines of the framework and of the commands that the application answers (RFC 2449)."""
    environment = client.environment
    tags = [tag for tag, names in _CAPABILITIES.items() if all(map(environment.wanted, names))]
    if environment.settings.offers_tls(client):
        tags.append("STLS")
    return "".join(f"{tag}\r\n" for tag in tags).encode("ascii")


def _reply_to_stls(client: Client) -> Reply:
    """Return the reply to STLS (RFC 2595 section 4)."""
    if client.tls is not None:
        return err("TLS is active already")
    return ok("begin TLS") if client.environment.settings.offers_tls(client) else err("TLS is not available here")
