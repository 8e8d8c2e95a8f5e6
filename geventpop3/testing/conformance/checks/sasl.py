"""RFC 5034 and RFC 4616: AUTH and the mechanism PLAIN."""

from __future__ import annotations

import base64
import hmac

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.checks.extensions import announced
from geventpop3.testing.conformance.checks.login import NOBODY
from geventpop3.testing.conformance.exchange import quoted
from geventpop3.testing.conformance.lab import Lab
from geventpop3.testing.conformance.outcome import fail, require, skip
from geventpop3.testing.conformance.session import Closed, ProbeSession

MECHANISMS = "The argument to the SASL capability is a space-separated list of SASL mechanisms that are supported."
UNSUPPORTED = """If the requested authentication mechanism is not supported, the server rejects the AUTH command with
an -ERR reply."""
CANCEL = """If the client wishes to cancel the authentication exchange, it issues a line with a single "*". If the
server receives such a response, it MUST reject the AUTH command by sending an -ERR reply."""
CHALLENGE = """In POP3, an empty server challenge is defined as a line with only a "+", followed by a single space. It
MUST NOT contain any other data."""
TEXT = "This line MUST NOT contain any text other than the BASE64-encoded challenge."
BASE64 = "If the server cannot Base64 decode a client response, it MUST reject the AUTH command with an -ERR reply."
ALPHABET = """servers and clients MUST reject (and not ignore) any character not explicitly allowed by the Base64
alphabet"""
AFTER = "After a successful AUTH command completes, a server MUST reject any further AUTH commands with an -ERR reply."
UNABLE = "If the server is unable to authenticate the client, it MUST reject the AUTH command with an -ERR reply."
AS_IF = "the server MUST behave as if the client had not issued the AUTH command."
NO_INITIAL = """If the client uses an initial-response argument to the AUTH command with a SASL mechanism that does not
support an initial client send, the server MUST reject the AUTH command with an -ERR reply."""
CONTINUE = "implementations MUST continue to include the SASL capability even after a successful AUTH command"
CASE = "Implementations MUST accept these strings in a case-insensitive fashion."
LONG = "these BASE64 strings may be of arbitrary length, depending on the authentication mechanism in use."
PERMIT = """it will verify that the authentication credentials permit the client to act as the (presented or
derived) authorization identity"""
MESSAGE = "message = [authzid] UTF8NUL authcid UTF8NUL passwd"


def plain(name: bytes, secret: bytes, authorized: bytes = b"") -> bytes:
    """Return the message of PLAIN, as it is sent."""
    return base64.b64encode(authorized + b"\0" + name + b"\0" + secret)


def right(lab: Lab) -> bytes:
    """Return the message of PLAIN with the right password."""
    return plain(lab.target.name, lab.target.secret)


def challenged(session: ProbeSession, mechanism: bytes = b"PLAIN") -> bytes:
    """Send AUTH and return the challenge, a line. Raises Skipped if the mechanism is refused."""
    session.send(b"AUTH " + mechanism + b"\r\n")
    line = session.read_line()
    if line.startswith(b"-ERR"):
        skip(f"{mechanism.decode()} is refused here")
    if not line.startswith(b"+") or line.startswith(b"+OK"):
        fail(f"the challenge is {quoted(line)}")
    return line


@check("5034", "3", "SASL has mechanisms as its arguments", MECHANISMS, capability="SASL")
def _sasl_names(lab: Lab) -> None:
    words = announced(lab.connect()).get("SASL", [])
    require(bool(words), "CAPA announces SASL without a mechanism")


@check("5034", "4", "An unknown mechanism is refused", UNSUPPORTED, capability="SASL")
def _unknown_mechanism(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"AUTH XYZZY-5")
    session.ok(b"QUIT")


@check("5034", "4", "PLAIN with an initial response logs in", MECHANISMS, capability="SASL PLAIN")
def _plain_initial(lab: Lab) -> None:
    session = lab.connect()
    message = right(lab)
    require(session.command(b"AUTH PLAIN " + message, message).ok, "AUTH PLAIN was refused")
    session.in_step()


@check("5034", "4", "PLAIN without an initial response logs in", CHALLENGE, capability="SASL PLAIN")
def _plain_challenged(lab: Lab) -> None:
    session = lab.connect()
    challenged(session)
    message = right(lab)
    session.send(message + b"\r\n", message)
    require(session.read_reply().ok, "the response was refused")
    session.in_step()


@check("5034", "4", "An empty challenge is + and a space", CHALLENGE, capability="SASL PLAIN")
def _empty_challenge(lab: Lab) -> None:
    line = challenged(lab.connect())
    require(line == b"+ \r\n", f"the challenge is {quoted(line)}")


@check("5034", "5", "The mechanism's name is not case-sensitive", CASE, capability="SASL PLAIN")
def _mechanism_case(lab: Lab) -> None:
    session = lab.connect()
    message = right(lab)
    require(session.command(b"auth plain " + message, message).ok, "auth plain was refused")


@check("5034", "4", "A line with * cancels the exchange", CANCEL, capability="SASL PLAIN")
def _cancel(lab: Lab) -> None:
    session = lab.connect()
    challenged(session)
    session.send(b"*\r\n")
    require(not session.read_reply().ok, "the exchange was not cancelled")
    session.ok(b"QUIT")


@check("5034", "4", "A login succeeds after a cancelled exchange", AS_IF, capability="SASL PLAIN")
def _login_after_cancel(lab: Lab) -> None:
    session = lab.connect()
    challenged(session)
    session.send(b"*\r\n")
    require(not session.read_reply().ok, "the exchange was not cancelled")
    require(lab.try_login(session).ok, "the next login was refused")


@check("5034", "4", "A response that is not base64 is refused", BASE64, capability="SASL PLAIN")
def _no_base64(lab: Lab) -> None:
    session = lab.connect()
    for response in (b"AGFs!aWNl", b"=AAA", b"AAA=BBB=", b"AAAAA"):
        challenged(session)
        session.send(response + b"\r\n")
        require(not session.read_reply().ok, f"the response {response.decode()} was not refused")
        session.restore()


@check("5034", "4", "Base64 with other characters in it is refused", ALPHABET, capability="SASL PLAIN")
def _base64_of_the_password(lab: Lab) -> None:
    session = lab.connect()
    message = right(lab)
    challenged(session)
    session.send(message[:4] + b"!" + message[4:] + b"\r\n", message[4:])
    require(not session.read_reply().ok, "a character outside the base64 alphabet was ignored")


@check("5034", "4", "An empty initial response is refused", UNABLE, capability="SASL PLAIN")
def _empty_initial_response(lab: Lab) -> None:
    session = lab.connect()
    session.send(b"AUTH PLAIN =\r\n")
    line = session.read_line()
    require(not line.startswith(b"+ "), "the server sent a challenge despite the empty initial response")
    require(line.startswith(b"-ERR"), f"the reply is {quoted(line)}")


@check("5034", "4", "PLAIN with a wrong password is refused", UNABLE, capability="SASL PLAIN")
def _plain_wrong(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"AUTH PLAIN " + plain(lab.target.name, b"wrong-" + lab.target.secret))
    session.err(b"STAT")


@check("5034", "4", "A login succeeds after a failed AUTH", AS_IF, capability="SASL PLAIN")
def _login_after_failed_auth(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"AUTH PLAIN " + plain(lab.target.name, b"wrong-" + lab.target.secret))
    require(lab.try_login(session).ok, "the next login was refused")


@check("5034", "4", "AUTH after login is refused", AFTER, capability="SASL PLAIN")
def _auth_after_login(lab: Lab) -> None:
    session = lab.login()
    message = right(lab)
    session.err(b"AUTH PLAIN " + message, message)
    session.in_step()


@check("5034", "3", "SASL is announced after AUTH", CONTINUE, capability="SASL PLAIN")
def _sasl_after_auth(lab: Lab) -> None:
    session = lab.connect()
    message = right(lab)
    session.ok(b"AUTH PLAIN " + message, message)
    tags = [line.split(b" ")[0].upper() for line in session.lines(b"CAPA")]
    require(b"SASL" in tags, "CAPA does not announce SASL after AUTH")


@check("5034", "4", "A response that looks like a command is not run", BASE64, capability="SASL PLAIN")
def _command_as_response(lab: Lab) -> None:
    session = lab.connect()
    challenged(session)
    session.send(b"QUIT\r\n")
    reply = session.read_reply()
    require(not reply.ok, "QUIT was taken as a command in the middle of AUTH")


@check("5034", "4", "A response of 8,000 octets gets one reply", LONG, capability="SASL PLAIN")
def _long_response(lab: Lab) -> None:
    session = lab.connect()
    challenged(session)
    session.send(plain(lab.target.name, b"x" * 5900) + b"\r\n")
    try:
        require(not session.read_reply().ok, "a wrong password was not refused")
        session.ok(b"QUIT")
    except Closed:
        fail("the server closed the connection without a reply")


@check(
    "5034",
    "4",
    "Commands in one packet with AUTH get replies",
    "If a server supports PIPELINING, it MUST process each command in turn.",
    capability="SASL PLAIN",
    source="RFC 2449 section 6.6",
)
def _pipelined_auth(lab: Lab) -> None:
    if not lab.offers("PIPELINING"):
        skip("PIPELINING is not announced")
    session = lab.connect()
    message = right(lab)
    session.send(b"AUTH PLAIN " + message + b"\r\nSTAT\r\nNOOP\r\n", message)
    for name in ("AUTH", "STAT", "NOOP"):
        require(session.read_reply().ok, f"{name} was refused")


@check("5034", "4", "The challenge of CRAM-MD5 is base64", TEXT, capability="SASL CRAM-MD5")
def _cram_challenge(lab: Lab) -> None:
    line = challenged(lab.connect(), b"CRAM-MD5")
    try:
        challenge = base64.b64decode(line[2:].rstrip(b"\r\n"), validate=True)
    except ValueError:
        fail(f"the challenge is {quoted(line)}")
    require(line.startswith(b"+ ") and challenge.startswith(b"<"), f"the challenge is {quoted(line)}")


@check("5034", "4", "CRAM-MD5 with an initial response is refused", NO_INITIAL, capability="SASL CRAM-MD5", strict=True)
def _cram_initial(lab: Lab) -> None:
    session = lab.connect()
    session.send(b"AUTH CRAM-MD5 AAAA\r\n")
    line = session.read_line()
    require(line.startswith(b"-ERR"), f"the reply is {quoted(line)}")


@check("5034", "4", "CRAM-MD5 with a wrong digest is refused", UNABLE, capability="SASL CRAM-MD5")
def _cram_wrong(lab: Lab) -> None:
    session = lab.connect()
    challenge = base64.b64decode(challenged(session, b"CRAM-MD5")[2:])
    digest = hmac.new(b"wrong-" + lab.target.secret, challenge, "md5").hexdigest().encode()
    session.send(base64.b64encode(lab.target.name + b" " + digest) + b"\r\n")
    require(not session.read_reply().ok, "the digest of a wrong password was not refused")


@check("4616", "2", "PLAIN without its three fields is refused", MESSAGE, capability="SASL PLAIN")
def _plain_fields(lab: Lab) -> None:
    session = lab.connect()
    for message in (lab.target.name, lab.target.name + b"\0" + lab.target.secret):
        encoded = base64.b64encode(message)
        session.err(b"AUTH PLAIN " + encoded, encoded)


@check("4616", "2", "PLAIN for an unknown user is refused", MESSAGE, capability="SASL PLAIN")
def _plain_unknown(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"AUTH PLAIN " + plain(NOBODY, lab.target.secret))


@check("4616", "2", "PLAIN with an empty password is refused", MESSAGE, capability="SASL PLAIN")
def _plain_empty(lab: Lab) -> None:
    for name in (lab.target.name, NOBODY):
        lab.connect().err(b"AUTH PLAIN " + plain(name, b""))


@check(
    "4616",
    "2",
    "PLAIN with the authorization identity of an unknown user is refused",
    PERMIT,
    capability="SASL PLAIN",
    strict=True,
)
def _plain_authorization(lab: Lab) -> None:
    message = plain(lab.target.name, lab.target.secret, NOBODY)
    session = lab.connect()
    require(not session.command(b"AUTH PLAIN " + message, message).ok, "the login as another user succeeded")
