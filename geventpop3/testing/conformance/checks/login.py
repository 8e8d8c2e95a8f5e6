"""RFC 1939 section 7: USER, PASS and APOP."""

from __future__ import annotations

import re

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.exchange import quoted
from geventpop3.testing.conformance.lab import Lab, apop_digest
from geventpop3.testing.conformance.outcome import require, skip
from geventpop3.testing.conformance.session import ProbeSession, StatusLine

ACCESS = """the POP3 server uses the argument pair from the USER and PASS commands to determine if the client should be
given access to the appropriate maildrop."""
AFTER_USER = "may only be given in the AUTHORIZATION state immediately after a successful USER command"
INVALID_PASSWORD = "-ERR invalid password"  # noqa: S105  # the RFC's words
NAME = "a string identifying a mailbox (required), which is of significance ONLY to the server"
CLUES = "Servers that answer -ERR to the USER command are giving potential attackers clues about which names are valid."
DIGEST = """If the digest is correct, the POP3 server issues a positive response, and the POP3 session enters the
TRANSACTION state. Otherwise, a negative response is issued and the POP3 session remains in the AUTHORIZATION state."""
TIMESTAMP = """The syntax of the timestamp corresponds to the `msg-id' in [RFC822], and MUST be different each time the
POP3 server issues a banner greeting."""

NOBODY = b"nobody-of-this-name-7f3a"


def send_user(lab: Lab, session: ProbeSession, name: bytes | None = None) -> bool:
    """Say USER; return whether PASS can follow."""
    if lab.facts.login != "USER" and name is None:
        skip("this user does not log in with USER and PASS")
    return session.command(b"USER " + (lab.target.name if name is None else name)).ok


def send_pass(session: ProbeSession, secret: bytes) -> StatusLine:
    """Say PASS."""
    return session.command(b"PASS " + secret, secret)


@check("1939", "7", "The right name and password open the maildrop", ACCESS)
def _user_and_pass(lab: Lab) -> None:
    session = lab.connect()
    send_user(lab, session)
    require(send_pass(session, lab.target.secret).ok, "PASS was refused")
    session.in_step()


@check("1939", "7", "A wrong password is refused", INVALID_PASSWORD)
def _wrong_password(lab: Lab) -> None:
    session = lab.connect()
    send_user(lab, session)
    require(not send_pass(session, b"wrong-" + lab.target.secret).ok, "PASS with a wrong password was not refused")


@check("1939", "7", "A password without its last character is refused", INVALID_PASSWORD)
def _password_cut(lab: Lab) -> None:
    if len(lab.target.secret) < 2:
        skip("the password is too short")
    session = lab.connect()
    send_user(lab, session)
    require(not send_pass(session, lab.target.secret[:-1]).ok, "PASS without the last octet of the password succeeded")


@check("1939", "7", "A password with an extra character is refused", INVALID_PASSWORD)
def _password_longer(lab: Lab) -> None:
    session = lab.connect()
    send_user(lab, session)
    require(
        not send_pass(session, lab.target.secret + b"x").ok, "PASS with an extra octet after the password succeeded"
    )


@check("1939", "7", "A password in the wrong case is refused", INVALID_PASSWORD)
def _password_case(lab: Lab) -> None:
    other = lab.target.secret.swapcase()
    if other == lab.target.secret:
        skip("the password has no letters")
    session = lab.connect()
    send_user(lab, session)
    require(not send_pass(session, other).ok, "PASS with the password in other case succeeded")


@check(
    "1939",
    "7",
    "A password with an extra word is refused",
    "a POP3 server may treat spaces in the argument as part of the password, instead of as argument separators.",
    strict=True,
)
def _password_and_word(lab: Lab) -> None:
    session = lab.connect()
    send_user(lab, session)
    require(not send_pass(session, lab.target.secret + b" more").ok, "PASS ignored the extra word after the password")


@check("1939", "7", "PASS without an argument is refused", "a server/mailbox-specific password (required)")
def _no_password(lab: Lab) -> None:
    session = lab.connect()
    send_user(lab, session)
    session.err(b"PASS")


@check("1939", "7", "An empty password is refused", INVALID_PASSWORD)
def _empty_password(lab: Lab) -> None:
    session = lab.connect()
    send_user(lab, session)
    session.err(b"PASS ")


@check("1939", "7", "An unknown user is refused", ACCESS)
def _unknown_user(lab: Lab) -> None:
    session = lab.connect()
    if send_user(lab, session, NOBODY):
        require(not send_pass(session, lab.target.secret).ok, "an unknown user logged in")


@check("1939", "7", "An unknown user with an empty password is refused", ACCESS)
def _unknown_user_without_password(lab: Lab) -> None:
    for line in (b"PASS ", b"PASS"):
        session = lab.connect()
        if send_user(lab, session, NOBODY):
            session.err(line)


@check("1939", "13", "USER has the same reply for known and unknown names", CLUES, strict=True)
def _no_clues(lab: Lab) -> None:
    known = lab.connect().command(b"USER " + lab.target.name)
    unknown = lab.connect().command(b"USER " + NOBODY)
    kept = known.ok == unknown.ok and known.text.replace(lab.target.name, NOBODY) == unknown.text
    require(kept, f"the reply is {quoted(known.line)} for the user and {quoted(unknown.line)} for an unknown name")


@check("1939", "7", "USER without a name is refused", NAME)
def _user_without_name(lab: Lab) -> None:
    session = lab.connect()
    if session.command(b"USER").ok:
        require(not send_pass(session, lab.target.secret).ok, "USER without a name and PASS logged in")
        require(False, "USER without a name was not refused")


@check("1939", "7", "PASS before USER is refused", AFTER_USER)
def _pass_first(lab: Lab) -> None:
    session = lab.connect()
    require(not send_pass(session, lab.target.secret).ok, "PASS without USER succeeded")


@check("1939", "7", "PASS is refused after a failed PASS without a new USER", AFTER_USER, strict=True)
def _pass_again(lab: Lab) -> None:
    session = lab.connect()
    send_user(lab, session)
    send_pass(session, b"wrong-" + lab.target.secret)
    line = b"PASS " + lab.target.secret
    require(session.refuses(line, lab.target.secret), "PASS succeeded without a USER immediately before it")


@check("1939", "7", "PASS is refused after another command between USER and PASS", AFTER_USER, strict=True)
def _pass_later(lab: Lab) -> None:
    session = lab.connect()
    send_user(lab, session)
    session.err(b"NOOP")
    line = b"PASS " + lab.target.secret
    require(session.refuses(line, lab.target.secret), "PASS succeeded without a USER immediately before it")


@check("1939", "7", "The timestamp is a msg-id", TIMESTAMP, capability="APOP")
def _apop_timestamp(lab: Lab) -> None:
    found = re.findall(rb"<[^<>]*>", lab.connect().greeting)
    kept = len(found) == 1 and re.fullmatch(rb"<[^<>@\s]+@[^<>@\s]+>", found[0]) is not None
    require(kept, f"the timestamp is {b' '.join(found).decode('ascii', 'backslashreplace')}")


@check("1939", "7", "The timestamp differs in each greeting", TIMESTAMP, capability="APOP")
def _apop_timestamp_is_new(lab: Lab) -> None:
    found = {re.findall(rb"<[^<>]*>", lab.connect().greeting)[0] for _ in range(3)}
    require(len(found) == 3, "two greetings have the same timestamp")


def _logs_in_by_apop(lab: Lab) -> ProbeSession:
    session = lab.connect()
    if not lab.try_login(session, method="APOP").ok:
        skip("this user cannot log in with APOP")
    return session


@check("1939", "7", "APOP with the right digest opens the maildrop", DIGEST, capability="APOP")
def _apop(lab: Lab) -> None:
    _logs_in_by_apop(lab).in_step()


@check("1939", "7", "APOP with a wrong digest is refused", DIGEST, capability="APOP")
def _apop_wrong(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"APOP " + lab.target.name + b" " + apop_digest(session.greeting, b"wrong-" + lab.target.secret))
    session.err(b"STAT")


@check("1939", "7", "APOP with the digest of another greeting is refused", DIGEST, capability="APOP")
def _apop_replayed(lab: Lab) -> None:
    old = lab.connect()
    digest = apop_digest(old.greeting, lab.target.secret)
    old.close()
    session = lab.connect()
    require(
        not session.command(b"APOP " + lab.target.name + b" " + digest, digest).ok,
        "the digest of another session was accepted",
    )


@check("1939", "7", "APOP for an unknown user is refused", DIGEST, capability="APOP")
def _apop_unknown(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"APOP " + NOBODY + b" " + apop_digest(session.greeting, lab.target.secret))


@check("1939", "7", "APOP without a digest is refused", "(both required)", capability="APOP")
def _apop_arguments(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"APOP " + lab.target.name)
    session.err(b"APOP")
