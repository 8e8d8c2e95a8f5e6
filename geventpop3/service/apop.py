"""APOP (RFC 1939 section 7): the timestamp in the greeting, and the login by a digest of it and the password."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping

from geventpop3.auth.secret import ClearSecret
from geventpop3.errors import Refusal
from geventpop3.pipeline.events import Event
from geventpop3.service.login import log_in, log_out, prepared_name, reject
from geventpop3.service.session import Command, Host, Session
from geventpop3.wire.arguments import expect
from geventpop3.wire.replies import Reply

_DOMAIN = re.compile(r"[A-Za-z0-9.-]{1,255}")
_NO_ANGLES = str.maketrans("<>", "()")
_TEXT = 200
"""Maximum characters of the text: it must not push the timestamp off the line (RFC 2449 section 4, 512 octets)."""

_NOBODY = ClearSecret(secrets.token_bytes(16))


def greeting(text: str, hostname: str) -> tuple[str, str]:
    """Return the greeting with a fresh timestamp, and the timestamp (RFC 1939 section 7, APOP).

    The timestamp is a msg-id that "MUST be different each time the POP3 server issues a banner greeting". Clients look
    for the first "<", so the greeting has no other.
    """
    domain = hostname if _DOMAIN.fullmatch(hostname) else "localhost"
    timestamp = f"<{secrets.token_hex(12)}@{domain}>"
    return f"{text.translate(_NO_ANGLES)[:_TEXT]} {timestamp}", timestamp


def apop(session: Session, pop3d: Host, event: Event) -> Reply:
    """Answer APOP (RFC 1939 section 7)."""
    session.name = None
    if session.timestamp is None:
        raise Refusal("APOP is not available here: the greeting had no timestamp")
    expect(event.args, 2)
    digest = event.args[1]
    name = prepared_name(event.args[0], session)
    secret = session.site.back_end.look_up(name)
    known = secret if isinstance(secret, ClearSecret) else _NOBODY
    matches = known.matches_apop(session.timestamp.encode("ascii"), digest)
    owner = session.site.back_end.owner(name) if matches and known is secret else None
    if owner is None:
        raise reject(session, pop3d, name, "APOP")
    return log_in(session, pop3d, "APOP", owner, name)


def forget_timestamp(session: Session) -> None:
    """Forget the timestamp, which APOP needs, because the greeting with it was not sent."""
    session.timestamp = None


TAKE_BACK: Mapping[str, Callable[[Session], None]] = {"connection": forget_timestamp, "cmd_apop": log_out}

COMMANDS: Mapping[str, Command] = {"cmd_apop": apop}
