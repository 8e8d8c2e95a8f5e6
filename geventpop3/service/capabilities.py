"""What CAPA says (RFC 2449): one row a capability, and each says only what works for this client now.

RFC 2449 section 5: "Capabilities available in the AUTHORIZATION state MUST be announced in both states."
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.version import __version__

if TYPE_CHECKING:
    from geventpop3.service.service import MaildropService

Capability = Callable[["MaildropService", ClientInterface], str | None]
"""What stands behind the tag for this client: ``""`` for nothing, None to leave the capability out."""


def always(_service: MaildropService, _client: ClientInterface) -> str:
    """A capability that has no argument and needs no condition."""
    return ""


def _user(service: MaildropService, client: ClientInterface) -> str | None:
    return "" if service.allows_clear_text(client) else None


def _expire(service: MaildropService, _client: ClientInterface) -> str:
    return "NEVER" if service.expire is None else str(service.expire)


def _implementation(_service: MaildropService, client: ClientInterface) -> str | None:
    # RFC 2449 section 6.9 lets it be told after login only: no need to tell a scanner which version runs here.
    return f"geventpop3/{__version__}" if client.owner is not None else None


CAPABILITIES: Mapping[str, Capability] = {
    "TOP": always,
    "USER": _user,
    "UIDL": always,
    "RESP-CODES": always,
    "AUTH-RESP-CODE": always,
    "PIPELINING": always,
    "EXPIRE": _expire,
    "IMPLEMENTATION": _implementation,
}


def listing(service: MaildropService, client: ClientInterface) -> bytes:
    """The body of CAPA's reply."""
    lines = []
    for tag, capability in service.capabilities.items():
        argument = capability(service, client)
        if argument is not None:
            lines.append(f"{tag} {argument}\r\n" if argument else f"{tag}\r\n")
    return "".join(lines).encode("ascii")
