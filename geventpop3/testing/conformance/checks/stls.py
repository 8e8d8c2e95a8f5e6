"""RFC 2595 section 4: STLS."""

from __future__ import annotations

import ssl

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.checks.login import AFTER_USER
from geventpop3.testing.conformance.lab import Lab, capabilities
from geventpop3.testing.conformance.outcome import expect, fail
from geventpop3.testing.conformance.session import Closed, Session

BEGINS = "A TLS negotiation begins immediately after the CRLF at the end of the +OK response from the server."
ONLY = "Only permitted in AUTHORIZATION state."
REMAINS = """The STLS command is only permitted in AUTHORIZATION state and the server remains in AUTHORIZATION state"""


def begun(lab: Lab) -> Session:
    """Return a session with TLS by STLS, before login."""
    session = lab.connect(tls=False)
    session.ok(b"STLS")
    _handshake(lab, session)
    return session


def _handshake(lab: Lab, session: Session) -> None:
    try:
        session.start_tls(lab.tls_context())
    except (ssl.SSLError, OSError) as error:
        fail(f"no TLS after the +OK to STLS: {error}")


@check("2595", "4", "TLS begins after STLS", BEGINS, capability="STLS")
def stls(lab: Lab) -> None:
    begun(lab).ok(b"QUIT")


@check("2595", "4", "A login succeeds after STLS", REMAINS, capability="STLS")
def login_after_stls(lab: Lab) -> None:
    session = begun(lab)
    expect(lab.try_login(session).ok, "the login was refused")
    session.in_step()


@check("2595", "4", "A command of the TRANSACTION state is refused after STLS", REMAINS, capability="STLS")
def state_after_stls(lab: Lab) -> None:
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
def capa_after_stls(lab: Lab) -> None:
    expect(capabilities(begun(lab)) is not None, "CAPA is refused")


@check("2595", "4", "STLS is not announced within TLS", ONLY, capability="STLS", strict=True)
def not_announced(lab: Lab) -> None:
    expect("STLS" not in (capabilities(begun(lab)) or {}), "CAPA announces STLS although TLS is active")


@check("2595", "4", "STLS after login is refused", ONLY, capability="STLS")
def stls_after_login(lab: Lab) -> None:
    session = lab.connect(tls=False)
    if lab.target.tls == "stls" or not lab.try_login(session).ok:
        session = lab.login()
    session.err(b"STLS")


@check("2595", "4", "STLS with an argument is refused", "Arguments: none", capability="STLS", strict=True)
def stls_argument(lab: Lab) -> None:
    lab.connect(tls=False).err(b"STLS now")


@check("2595", "4", "A command that comes along with STLS does not run within TLS", BEGINS, capability="STLS")
def injected(lab: Lab) -> None:
    session = lab.connect(tls=False)
    session.send(b"STLS\r\nXYZZY\r\n")
    if not session.read_reply().ok:
        return
    try:
        if session.has_more(0.2) and session.read_line().startswith(b"-ERR"):
            fail("the command was answered in clear text after the +OK to STLS")
        session.start_tls(lab.tls_context())
    except (OSError, Closed):
        return  # what came along was taken as TLS, or the connection was closed
    try:
        expect(session.command(b"QUIT").ok, "a command that was sent before TLS was answered within TLS")
        expect(not session.has_more(0.2), "there is a reply more than commands within TLS")
    except Closed:
        return


@check("2595", "4", "The beginning of a command that comes along with STLS is not kept", BEGINS, capability="STLS")
def injected_beginning(lab: Lab) -> None:
    session = lab.connect(tls=False)
    session.send(b"STLS\r\nXYZZY ")
    if not session.read_reply().ok:
        return
    try:
        session.start_tls(lab.tls_context())
        expect(session.command(b"QUIT").ok, "octets that were sent before TLS became part of a command within TLS")
    except (OSError, Closed):
        return


@check("1939", "7", "PASS is refused when STLS stands between it and USER", AFTER_USER, capability="STLS", strict=True)
def name_is_forgotten(lab: Lab) -> None:
    if lab.facts.login != "USER":
        return
    session = lab.connect(tls=False)
    if not session.command(b"USER " + lab.target.name).ok or not session.command(b"STLS").ok:
        return  # that STLS is refused now is as good
    _handshake(lab, session)
    expect(session.refuses(b"PASS " + lab.target.secret, lab.target.secret), "PASS took the name from before TLS")


@check("2595", "4", "A handshake that fails does not lead back to clear text", BEGINS, capability="STLS", strict=True)
def failed_handshake(lab: Lab) -> None:
    session = lab.connect(tls=False)
    session.ok(b"STLS")
    try:
        session.send(b"this is no handshake\r\n")
        while session.has_more(0.5):
            session.read_line()  # an alert, or -ERR: both tell of the failure
        session.send(b"NOOP\r\nQUIT\r\n")
        while line := session.read_line(2):
            expect(not line.startswith(b"+OK"), "a command ran in clear text after the +OK to STLS")
    except Closed:
        return


@check("2595", "4", "The server is in order after a handshake that fails", BEGINS, capability="STLS")
def after_failed_handshake(lab: Lab) -> None:
    session = lab.connect(tls=False)
    session.ok(b"STLS")
    session.send(b"\r\n\r\n")
    session.close()
    begun(lab).ok(b"QUIT")
