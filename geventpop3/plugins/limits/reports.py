"""Reports of each decision: the client's reply, an event for the application, a log line.

In a log line the address comes first. The client's own text comes last and holds no ``=``. So no client can make a rule
that bans by ``address=`` ban another address. No reply is ``[AUTH]``, which would make a client ask for another
password (RFC 3206 section 6).
"""

from __future__ import annotations

import logging

from geventpop3.errors import ResponseCode
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.pipeline.pluggable import Pluggable
from geventpop3.plugins.access_log import field
from geventpop3.plugins.limits.ledger import Reason
from geventpop3.wire.replies import err

log = logging.getLogger("geventpop3.limits")

EVENTS = ("login_delayed", "login_refused", "address_banned", "address_released")

REPLIES = {
    Reason.BANNED: err("too many failed logins from your address, try again later", ResponseCode.SYS_TEMP),
    Reason.ADDRESS_RATE: err("too many logins from your address, try again in a minute", ResponseCode.SYS_TEMP),
    Reason.ADDRESS_BUSY: err("too many logins from your address at once, try again later", ResponseCode.SYS_TEMP),
    Reason.USER_BUSY: err("too many logins with this name at once, try again later", ResponseCode.SYS_TEMP),
    # Only a client that has ended no more than its output can read this one.
    Reason.GONE: err("too many logins with this name at once, try again later", ResponseCode.SYS_TEMP),
    Reason.USER_RATE: err("logged in too often, try again in a minute", ResponseCode.LOGIN_DELAY),
    Reason.USER_SESSIONS: err("too many sessions are open", ResponseCode.IN_USE),
}


def delayed(pop3d: Pluggable, client: ClientInterface, address: str, name: str, seconds: float) -> None:
    """Report that a login waits."""
    log.info("login_delayed address=%s id=%d seconds=%g user=%s", field(address), client.id, seconds, _shown(name))
    pop3d.send_event("login_delayed", address, name, seconds, client=client)


def refused(pop3d: Pluggable, client: ClientInterface, address: str, name: str, reason: Reason) -> None:
    """Report that a login, or a connection, is refused."""
    log.info("login_refused address=%s id=%d reason=%s user=%s", field(address), client.id, reason, _shown(name))
    pop3d.send_event("login_refused", address, name, reason, client=client)


def banned(pop3d: Pluggable, client: ClientInterface, address: str, seconds: float) -> None:
    """Report that an address is banned from now on."""
    log.warning("address_banned address=%s id=%d seconds=%g", field(address), client.id, seconds)
    pop3d.send_event("address_banned", address, seconds, client=client)


def released(pop3d: Pluggable, address: str) -> None:
    """Report that the ban of an address has ended, or was lifted."""
    log.info("address_released address=%s", field(address))
    pop3d.send_event("address_released", address)


def _shown(name: str) -> str:
    return field(name).replace("=", r"\x3d")
