"""The AUTHORIZATION state: who is it, and is the maildrop free. USER and PASS, APOP and what follows end in ``log_in``.

An unknown user and a wrong password have one answer. Whether the maildrop is locked is said only after the right
password (RFC 2449 section 8.1.2), else it would tell who exists.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from geventpop3.auth.authenticator import SecretAuthenticator
from geventpop3.auth.secret import ClearSecret
from geventpop3.errors import AuthenticationFailed, Refusal
from geventpop3.pipeline.events import Event
from geventpop3.service.session import Session, plural
from geventpop3.wire.arguments import expect
from geventpop3.wire.replies import Reply, ok

if TYPE_CHECKING:
    from geventpop3.service.service import Host, MaildropService, Visitor

_NOBODY = ClearSecret(secrets.token_bytes(16))


def user(service: MaildropService, _pop3d: Host, event: Event, visitor: Visitor) -> Reply:
    """USER name (RFC 1939 section 7): +OK whether or not the name is known."""
    visitor.name = None
    client = visitor.client
    if not service.allows_clear_text(client):
        # Refused here already, so that the password is not sent at all.
        raise AuthenticationFailed("a clear-text login is not allowed on this connection")
    name = event.argument
    if not name:
        raise Refusal("USER needs a name")
    visitor.name = name
    return ok("send PASS")


def password(service: MaildropService, pop3d: Host, event: Event, visitor: Visitor) -> Reply:
    """PASS string (RFC 1939 section 7): "may treat spaces in the argument as part of the password"."""
    name, visitor.name = visitor.name, None
    if name is None:
        raise Refusal("say USER first")
    if not event.args:
        raise Refusal("PASS needs a password")
    given = event.args[0] if len(event.args) == 1 else event.argument
    return log_in(service, pop3d, visitor, name, "USER", service.authenticate(name, given))


def apop(service: MaildropService, pop3d: Host, event: Event, visitor: Visitor) -> Reply:
    """APOP name digest (RFC 1939 section 7)."""
    visitor.name = None
    authenticator = service.authenticator
    if visitor.timestamp is None or not isinstance(authenticator, SecretAuthenticator):
        raise Refusal("APOP is not available here: the greeting had no timestamp")
    expect(event.args, 2)
    name, digest = event.args
    secret = service.look_up(authenticator, name)
    known = secret if isinstance(secret, ClearSecret) else _NOBODY
    matches = known.matches_apop(visitor.timestamp.encode("ascii"), digest)
    return log_in(service, pop3d, visitor, name, "APOP", name if matches and known is secret else None)


def log_in(
    service: MaildropService,
    pop3d: Host,
    visitor: Visitor,
    name: str,
    mechanism: str,
    owner: str | None,
) -> Reply:
    """The one way in: *owner* is who the credentials belong to, or None if they are wrong."""
    client = visitor.client
    if owner is None:
        visitor.tries += 1
        pop3d.send_event("authentication_failed", name, mechanism, client=client)
        if visitor.tries >= service.max_tries:
            client.disconnect()
        raise AuthenticationFailed
    if visitor.session is not None:
        # A plugin made an -ERR of the reply to an earlier login, so the client does not know that it is in.
        session, visitor.session = visitor.session, None
        service.close_maildrop(session.maildrop)
    maildrop = service.open_maildrop(owner)
    try:
        visitor.session = session = Session(maildrop, service.scan(maildrop), client.summary)
    except BaseException:
        # RFC 1939 section 4: the lock must be released before a negative reply.
        service.close_maildrop(maildrop)
        raise
    client.owner = owner
    pop3d.send_event("authenticated", owner, mechanism, client=client)
    return ok(f"{session.count} {plural(session.count)} ({session.octets} octets)")


def timestamp(hostname: str) -> str:
    """A fresh APOP timestamp (RFC 1939 section 7: "MUST be different each time the POP3 server issues a banner")."""
    return f"<{secrets.token_hex(12)}@{hostname}>"


COMMANDS: Mapping[str, Callable[[MaildropService, Host, Event, Visitor], Reply]] = {
    "cmd_user": user,
    "cmd_pass": password,
    "cmd_apop": apop,
}
