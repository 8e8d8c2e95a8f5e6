"""The capability list of CAPA (RFC 2449): a capability is announced only if it works for this client now.

RFC 2449 section 5: "Capabilities available in the AUTHORIZATION state MUST be announced in both states."
"""

from __future__ import annotations

from collections.abc import Mapping

from geventpop3.pipeline.events import Event
from geventpop3.service import sasl
from geventpop3.service.login import allows_clear_text
from geventpop3.service.session import Capability, Command, Host, Session
from geventpop3.version import __version__
from geventpop3.wire.arguments import expect
from geventpop3.wire.replies import Reply, multiline


def always(_session: Session, _pop3d: Host) -> str:
    """Return no argument, for a capability that is announced to every client."""
    return ""


def _user(session: Session, _pop3d: Host) -> str | None:
    return "" if allows_clear_text(session) and session.site.back_end.checks_passwords() else None


def _sasl(session: Session, pop3d: Host) -> str | None:
    # RFC 2449 section 6.3, RFC 5034 section 3: no mechanism, no line.
    return " ".join(sasl.mechanisms(session, pop3d)) or None


def _stls(session: Session, pop3d: Host) -> str | None:
    # RFC 2595 section 4: "The capability name "STLS" indicates this command is present and permitted in the current
    # state", and it is "Only permitted in AUTHORIZATION state".
    return "" if pop3d.offers_tls(session.client) and not session.utf8 else None


def _login_delay(session: Session, _pop3d: Host) -> str | None:
    delay, owner = session.site.login_delay, session.client.owner
    return delay.before_login() if owner is None else delay.after_login(owner)


def _expire(session: Session, _pop3d: Host) -> str | None:
    expiry, owner = session.site.expiry, session.client.owner
    return expiry.before_login() if owner is None else expiry.after_login(owner)


def _utf8(_session: Session, _pop3d: Host) -> str:
    # RFC 6856 section 2.2: "it indicates that the server accepts UTF-8 usernames and passwords".
    return "USER"


def _implementation(session: Session, _pop3d: Host) -> str | None:
    # RFC 2449 section 6.9 lets it be announced after login only, so a scanner does not learn the version.
    return f"geventpop3/{__version__}" if session.client.owner is not None else None


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


def capa(session: Session, pop3d: Host, event: Event) -> Reply:
    """Answer CAPA (RFC 2449 section 5)."""
    expect(event.args, 0)
    lines = []
    for tag, capability in session.site.capabilities.items():
        argument = capability(session, pop3d)
        if argument is not None:
            lines.append(f"{tag} {argument}\r\n" if argument else f"{tag}\r\n")
    return multiline("capabilities follow", "".join(lines).encode("ascii"))


COMMANDS: Mapping[str, Command] = {"cmd_capa": capa}
