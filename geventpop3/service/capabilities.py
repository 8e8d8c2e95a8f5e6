"""The capability list of CAPA (RFC 2449): a capability is announced only if it works for this client now.

RFC 2449 section 5: "Capabilities available in the AUTHORIZATION state MUST be announced in both states."
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.service import sasl
from geventpop3.service.session import Host
from geventpop3.version import __version__

if TYPE_CHECKING:
    from geventpop3.service.service import MaildropService

Capability = Callable[["MaildropService", Host, ClientInterface], str | None]
"""A function that returns a capability's argument for this client: ``""`` for none, None to omit the capability."""


def always(_service: MaildropService, _pop3d: Host, _client: ClientInterface) -> str:
    """Return no argument, for a capability that is announced to every client."""
    return ""


def _user(service: MaildropService, _pop3d: Host, client: ClientInterface) -> str | None:
    return "" if service.allows_clear_text(client) and service.back_end.checks_passwords() else None


def _sasl(service: MaildropService, pop3d: Host, client: ClientInterface) -> str | None:
    # RFC 2449 section 6.3, RFC 5034 section 3: no mechanism, no line.
    return " ".join(sasl.mechanisms(service, pop3d, client)) or None


def _stls(service: MaildropService, pop3d: Host, client: ClientInterface) -> str | None:
    # RFC 2595 section 4: "The capability name "STLS" indicates this command is present and permitted in the current
    # state", and it is "Only permitted in AUTHORIZATION state".
    return "" if pop3d.offers_tls(client) and not service.is_in_utf8_mode(client) else None


def _login_delay(service: MaildropService, _pop3d: Host, client: ClientInterface) -> str | None:
    delay = service.login_delay
    return delay.before_login() if client.owner is None else delay.after_login(client.owner)


def _expire(service: MaildropService, _pop3d: Host, client: ClientInterface) -> str | None:
    expiry = service.expiry
    return expiry.before_login() if client.owner is None else expiry.after_login(client.owner)


def _utf8(_service: MaildropService, _pop3d: Host, _client: ClientInterface) -> str:
    # RFC 6856 section 2.2: "it indicates that the server accepts UTF-8 usernames and passwords".
    return "USER"


def _implementation(_service: MaildropService, _pop3d: Host, client: ClientInterface) -> str | None:
    # RFC 2449 section 6.9 lets it be announced after login only, so a scanner does not learn the version.
    return f"geventpop3/{__version__}" if client.owner is not None else None


CAPABILITIES: Mapping[str, Capability] = {
    "TOP": always,
    "USER": _user,
    "SASL": _sasl,
    "STLS": _stls,
    "UIDL": always,
    "RESP-CODES": always,
    "AUTH-RESP-CODE": always,
    "PIPELINING": always,
    "LOGIN-DELAY": _login_delay,
    "EXPIRE": _expire,
    "UTF8": _utf8,
    "LANG": always,
    "IMPLEMENTATION": _implementation,
}


def listing(service: MaildropService, pop3d: Host, client: ClientInterface) -> bytes:
    """Return the body of the reply to CAPA."""
    lines = []
    for tag, capability in service.capabilities.items():
        argument = capability(service, pop3d, client)
        if argument is not None:
            lines.append(f"{tag} {argument}\r\n" if argument else f"{tag}\r\n")
    return "".join(lines).encode("ascii")
