"""Login in the AUTHORIZATION state: USER and PASS, and ``log_in``, which completes every login.

An unknown user and a wrong password get the same reply. A locked maildrop is reported only after the right password
(RFC 2449 section 8.1.2); otherwise the reply would reveal which users exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from geventpop3.auth.mechanisms import ClearTextRefused, text
from geventpop3.errors import AuthenticationFailed, Refusal
from geventpop3.hosts import is_loopback
from geventpop3.pipeline.events import Event
from geventpop3.service.open_maildrop import plural
from geventpop3.service.session import Command, Host, Session
from geventpop3.wire.arguments import expect
from geventpop3.wire.replies import Reply, ok

_SEND_PASS = ok("send PASS")


def user(session: Session, _pop3d: Host, event: Event) -> Reply:
    """Answer USER (RFC 1939 section 7): +OK also for an unknown name."""
    session.name = None
    client = session.client
    if not allows_clear_text(session):
        # Refused before PASS, so that the client does not send the password.
        raise ClearTextRefused
    if not session.site.back_end.checks_passwords():
        raise Refusal("password logins are not available, use AUTH")
    if len(event.args) != 1:
        expect(event.args, 1)
    session.name = prepared_name(event.args[0], session)
    session.named_at = session.done_at = client.summary.commands
    return _SEND_PASS


def password(session: Session, pop3d: Host, event: Event) -> Reply:
    """Answer PASS (RFC 1939 section 7). A server "may treat spaces in the argument as part of the password"."""
    name, session.name = session.name, None
    # RFC 1939 section 7: PASS may be given "immediately after a successful USER command".
    if name is None or session.client.summary.commands != session.named_at + 1:
        raise Refusal("say USER first")
    if not event.args:
        raise Refusal("PASS needs a password")
    given = event.args[0] if len(event.args) == 1 else event.argument
    try:
        given = prepared_password(given, session)
    except AuthenticationFailed:
        reject(session, pop3d, name, "USER")
        raise
    owner = session.site.back_end.authenticate(name, given)
    if owner is None:
        raise reject(session, pop3d, name, "USER")
    return log_in(session, pop3d, "USER", owner, name)


def allows_clear_text(session: Session) -> bool:
    """Return whether a password may be sent in clear text: no other host can read it, or the site allows it.

    Behind a proxy no client counts as loopback: "127.0.0.1" may be the far end of another proxy. A proxy on this
    machine that gives no address may have clients anywhere.
    """
    client = session.client
    return session.site.allow_plaintext or client.secure or (not client.proxied and is_loopback(client.peer[0]))


def reject(session: Session, pop3d: Host, name: str, mechanism: str) -> AuthenticationFailed:
    """Count and report a failed login of *name*; return the error to raise. The last one closes the connection."""
    session.tries += 1
    pop3d.send_event(
        "authentication_failed", session.site.back_end.canonical_name(name), mechanism, client=session.client
    )
    if session.tries >= session.site.max_tries:
        session.client.disconnect()
    return AuthenticationFailed()


def log_in(session: Session, pop3d: Host, mechanism: str, owner: str, name: str) -> Reply:
    """Open and scan the maildrop of *owner*; return the reply that begins the TRANSACTION state.

    *name* is the authenticated name. From here on the owner has its canonical form. Raises StoreBroken for an owner
    that has none.
    """
    client, site = session.client, session.site
    owner, name = site.back_end.canonical_owner(owner), site.back_end.canonical_name(name)
    site.login_delay.check(owner)
    if session.transaction is not None:
        # A plugin changed the reply to an earlier login into -ERR, so the client does not know that it is logged in.
        transaction, session.transaction = session.transaction, None
        transaction.close()
    session.transaction = transaction = site.maildrops.open(
        owner,
        client,
        None if session.utf8 else site.present,
        removes_retrieved=site.expiry.removes_retrieved(owner),
    )
    site.login_delay.note(owner)
    session.done_at = client.summary.commands
    client.owner = owner
    pop3d.send_event("authenticated", owner, mechanism, name, client=client)
    count = transaction.count
    return Reply(True, f"{count} {plural(count)} ({transaction.octets} octets)")


def log_out(session: Session) -> None:
    """Undo a login whose ``+OK`` was not sent: the lock must be released before the client gets the reply."""
    transaction, session.transaction = session.transaction, None
    client = session.client
    owner, client.owner = client.owner, None
    session.site.login_delay.forget(owner or "")
    if transaction is not None:
        transaction.close()


def forget_name(session: Session) -> None:
    """Undo a USER whose ``+OK`` was not sent: PASS then finds no name."""
    session.name = None


TAKE_BACK: Mapping[str, Callable[[Session], None]] = {
    "cmd_user": forget_name,
    "cmd_pass": log_out,
    "cmd_auth": log_out,
}

COMMANDS: Mapping[str, Command] = {
    "cmd_user": user,
    "cmd_pass": password,
}


# Names and passwords (RFC 6856 section 2.2)


def prepared_name(name: str, session: Session) -> str:
    """Return a client's name as all mechanisms use it: prepared (SASLprep, RFC 4013).

    In UTF-8 mode, raises AuthenticationFailed for a name that is not UTF-8 or cannot be prepared. Without that mode,
    such a name stays as it is.
    """
    try:
        return text.decoded_name(_octets(name))
    except AuthenticationFailed:
        if session.utf8:
            raise
        return name


def prepared_password(password: str, session: Session) -> str:
    """Return a client's password, prepared in UTF-8 mode. Raises AuthenticationFailed as ``prepared_name`` does.

    Without UTF-8 mode a password is octets (RFC 1939). SASLprep changes a password such as "m²", which may have been
    hashed as typed; users whose clients do not know UTF8 must still be able to log in.
    """
    return text.decoded_password(_octets(password)) if session.utf8 else password


def _octets(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # surrogates from a plugin, which stand for no octets; the result is not UTF-8
        return text.encode("utf-8", "surrogatepass")
