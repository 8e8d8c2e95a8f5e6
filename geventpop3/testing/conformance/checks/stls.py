"""RFC 2595 section 4: STLS."""

from __future__ import annotations

import ssl

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.checks.login import AFTER_USER
from geventpop3.testing.conformance.lab import Lab, capabilities
from geventpop3.testing.conformance.outcome import fail, require
from geventpop3.testing.conformance.session import Closed, ProbeSession

BEGINS = "A TLS negotiation begins immediately after the CRLF at the end of the +OK response from the server."
ONLY = "Only permitted in AUTHORIZATION state."
REMAINS = """The STLS command is only permitted in AUTHORIZATION state and the server remains in AUTHORIZATION state"""


def begun(lab: Lab) -> ProbeSession:
    """Return a session with TLS by STLS, before login."""
    session = lab.connect(tls=False)
    session.ok(b"STLS")
    _handshake(lab, session)
    return session


def _handshake(lab: Lab, session: ProbeSession) -> None:
    try:
        session.start_tls(lab.tls_context())
    except (ssl.SSLError, OSError) as error:
        fail(f"no TLS after the +OK to STLS: {error}")


@check("2595", "4", "TLS begins after STLS", BEGINS, capability="STLS")
def _stls(lab: Lab) -> None:
    begun(lab).ok(b"QUIT")


@check("2595", "4", "A login succeeds after STLS", REMAINS, capability="STLS")
def _login_after_stls(lab: Lab) -> None:
    session = begun(lab)
    require(lab.try_login(session).ok, "the login was refused")
    session.in_step()


@check("2595", "4", "STAT is refused after STLS", REMAINS, capability="STLS")
def _state_after_stls(lab: Lab) -> None:
    session = begun(lab)
    session.renew = None
    session.err(b"STAT")


@check(
    "2595",
    "4",
    "CAPA is answered after STLS",
    "The server MAY advertise different capabilities after STLS.",
    capability="STLS",
)
def _capa_after_stls(lab: Lab) -> None:
    require(capabilities(begun(lab)) is not None, "CAPA is refused")


@check("2595", "4", "STLS is not announced within TLS", ONLY, capability="STLS", strict=True)
def _not_announced(lab: Lab) -> None:
    require("STLS" not in (capabilities(begun(lab)) or {}), "CAPA announces STLS although TLS is active")


@check("2595", "4", "STLS after login is refused", ONLY, capability="STLS")
def _stls_after_login(lab: Lab) -> None:
    session = lab.connect(tls=False)
    if lab.target.tls == "stls" or not lab.try_login(session).ok:
        session = lab.login()
    session.err(b"STLS")


@check("2595", "4", "STLS with an argument is refused", "Arguments: none", capability="STLS", strict=True)
def _stls_argument(lab: Lab) -> None:
    lab.connect(tls=False).err(b"STLS now")


@check("2595", "4", "A command in one packet with STLS does not run within TLS", BEGINS, capability="STLS")
def _injected(lab: Lab) -> None:
    session = lab.connect(tls=False)
    session.send(b"STLS\r\nXYZZY\r\n")
    if not session.read_reply().ok:
        return
    try:
        if session.has_more(0.2) and session.read_line().startswith(b"-ERR"):
            fail("the server replied in clear text after the +OK to STLS")
        session.start_tls(lab.tls_context())
    except (OSError, Closed):
        return  # what came along was taken as TLS, or the connection was closed
    try:
        require(session.command(b"QUIT").ok, "the server replied within TLS to a command from before TLS")
        require(not session.has_more(0.2), "the server sent more replies than commands within TLS")
    except Closed:
        return


@check("2595", "4", "Octets in one packet with STLS are discarded", BEGINS, capability="STLS")
def _injected_beginning(lab: Lab) -> None:
    session = lab.connect(tls=False)
    session.send(b"STLS\r\nXYZZY ")
    if not session.read_reply().ok:
        return
    try:
        session.start_tls(lab.tls_context())
        require(session.command(b"QUIT").ok, "octets from before TLS became part of a command within TLS")
    except (OSError, Closed):
        return


@check("1939", "7", "PASS is refused after STLS between USER and PASS", AFTER_USER, capability="STLS", strict=True)
def _name_is_forgotten(lab: Lab) -> None:
    if lab.facts.login != "USER":
        return
    session = lab.connect(tls=False)
    if not session.command(b"USER " + lab.target.name).ok or not session.command(b"STLS").ok:
        return  # that STLS is refused now is as good
    _handshake(lab, session)
    require(session.refuses(b"PASS " + lab.target.secret, lab.target.secret), "PASS took the name from before TLS")


@check("2595", "4", "A failed handshake does not return to clear text", BEGINS, capability="STLS", strict=True)
def _failed_handshake(lab: Lab) -> None:
    session = lab.connect(tls=False)
    session.ok(b"STLS")
    try:
        session.send(b"this is no handshake\r\n")
        while session.has_more(0.5):
            session.read_line()  # an alert, or -ERR: both tell of the failure
        session.send(b"NOOP\r\nQUIT\r\n")
        while line := session.read_line(2):
            require(not line.startswith(b"+OK"), "a command ran in clear text after the +OK to STLS")
    except Closed:
        return


@check("2595", "4", "The server still works after a failed handshake", BEGINS, capability="STLS")
def _after_failed_handshake(lab: Lab) -> None:
    session = lab.connect(tls=False)
    session.ok(b"STLS")
    session.send(b"\r\n\r\n")
    session.close()
    begun(lab).ok(b"QUIT")
