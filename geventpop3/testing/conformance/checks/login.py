"""RFC 1939 section 7: USER, PASS and APOP."""

from __future__ import annotations

import re

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.exchange import quoted
from geventpop3.testing.conformance.lab import Lab, apop_digest
from geventpop3.testing.conformance.outcome import expect, skip
from geventpop3.testing.conformance.session import Reply, Session

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


def user(lab: Lab, session: Session, name: bytes | None = None) -> bool:
    """Say USER; return whether PASS can follow."""
    if lab.facts.login != "USER" and name is None:
        skip("USER and PASS are not how this user logs in")
    return session.command(b"USER " + (lab.target.name if name is None else name)).ok


def password(session: Session, secret: bytes) -> Reply:
    """Say PASS."""
    return session.command(b"PASS " + secret, secret)


@check("1939", "7", "The right name and password open the maildrop", ACCESS)
def user_and_pass(lab: Lab) -> None:
    session = lab.connect()
    user(lab, session)
    expect(password(session, lab.target.secret).ok, "PASS was refused")
    session.in_step()


@check("1939", "7", "A wrong password is refused", INVALID_PASSWORD)
def wrong_password(lab: Lab) -> None:
    session = lab.connect()
    user(lab, session)
    expect(not password(session, b"wrong-" + lab.target.secret).ok, "PASS with a wrong password was not refused")


@check("1939", "7", "The beginning of the password is refused", INVALID_PASSWORD)
def password_cut(lab: Lab) -> None:
    if len(lab.target.secret) < 2:
        skip("the password is too short")
    session = lab.connect()
    user(lab, session)
    expect(not password(session, lab.target.secret[:-1]).ok, "PASS without the last octet of the password succeeded")


@check("1939", "7", "The password with more behind it is refused", INVALID_PASSWORD)
def password_longer(lab: Lab) -> None:
    session = lab.connect()
    user(lab, session)
    expect(not password(session, lab.target.secret + b"x").ok, "PASS with an octet more than the password succeeded")


@check("1939", "7", "The password in other case is refused", INVALID_PASSWORD)
def password_case(lab: Lab) -> None:
    other = lab.target.secret.swapcase()
    if other == lab.target.secret:
        skip("the password has no letters")
    session = lab.connect()
    user(lab, session)
    expect(not password(session, other).ok, "PASS with the password in other case succeeded")


@check(
    "1939",
    "7",
    "A blank behind the password belongs to it or is a mistake",
    "a POP3 server may treat spaces in the argument as part of the password, instead of as argument separators.",
    strict=True,
)
def password_and_word(lab: Lab) -> None:
    session = lab.connect()
    user(lab, session)
    expect(not password(session, lab.target.secret + b" more").ok, "PASS took the first word as the password")


@check("1939", "7", "PASS without an argument is refused", "a server/mailbox-specific password (required)")
def no_password(lab: Lab) -> None:
    session = lab.connect()
    user(lab, session)
    session.err(b"PASS")


@check("1939", "7", "An empty password is refused", INVALID_PASSWORD)
def empty_password(lab: Lab) -> None:
    session = lab.connect()
    user(lab, session)
    session.err(b"PASS ")


@check("1939", "7", "An unknown user is refused", ACCESS)
def unknown_user(lab: Lab) -> None:
    session = lab.connect()
    if user(lab, session, NOBODY):
        expect(not password(session, lab.target.secret).ok, "an unknown user logged in")


@check("1939", "7", "An unknown user with an empty password is refused", ACCESS)
def unknown_user_without_password(lab: Lab) -> None:
    for line in (b"PASS ", b"PASS"):
        session = lab.connect()
        if user(lab, session, NOBODY):
            session.err(line)


@check("1939", "13", "USER is answered alike for an unknown name", CLUES, strict=True)
def no_clues(lab: Lab) -> None:
    known = lab.connect().command(b"USER " + lab.target.name)
    unknown = lab.connect().command(b"USER " + NOBODY)
    kept = known.ok == unknown.ok and known.text.replace(lab.target.name, NOBODY) == unknown.text
    expect(kept, f"the reply is {quoted(known.line)} for the user and {quoted(unknown.line)} for an unknown name")


@check("1939", "7", "USER without a name is refused", NAME)
def user_without_name(lab: Lab) -> None:
    session = lab.connect()
    if session.command(b"USER").ok:
        expect(not password(session, lab.target.secret).ok, "USER without a name and PASS logged in")
        expect(False, "USER without a name was not refused")


@check("1939", "7", "PASS before USER is refused", AFTER_USER)
def pass_first(lab: Lab) -> None:
    session = lab.connect()
    expect(not password(session, lab.target.secret).ok, "PASS without USER succeeded")


@check("1939", "7", "PASS after a refused PASS needs a new USER", AFTER_USER, strict=True)
def pass_again(lab: Lab) -> None:
    session = lab.connect()
    user(lab, session)
    password(session, b"wrong-" + lab.target.secret)
    line = b"PASS " + lab.target.secret
    expect(session.refuses(line, lab.target.secret), "PASS succeeded without a USER immediately before it")


@check("1939", "7", "PASS is refused when another command stands between it and USER", AFTER_USER, strict=True)
def pass_later(lab: Lab) -> None:
    session = lab.connect()
    user(lab, session)
    session.err(b"NOOP")
    line = b"PASS " + lab.target.secret
    expect(session.refuses(line, lab.target.secret), "PASS succeeded without a USER immediately before it")


@check("1939", "7", "A timestamp is a msg-id", TIMESTAMP, capability="APOP")
def apop_timestamp(lab: Lab) -> None:
    found = re.findall(rb"<[^<>]*>", lab.connect().greeting)
    kept = len(found) == 1 and re.fullmatch(rb"<[^<>@\s]+@[^<>@\s]+>", found[0]) is not None
    expect(kept, f"the timestamp is {b' '.join(found).decode('ascii', 'backslashreplace')}")


@check("1939", "7", "Each greeting has another timestamp", TIMESTAMP, capability="APOP")
def apop_timestamp_is_new(lab: Lab) -> None:
    found = {re.findall(rb"<[^<>]*>", lab.connect().greeting)[0] for _ in range(3)}
    expect(len(found) == 3, "a timestamp came in two greetings")


def _logs_in_by_apop(lab: Lab) -> Session:
    session = lab.connect()
    if not lab.try_login(session, method="APOP").ok:
        skip("this user may not log in by APOP")
    return session


@check("1939", "7", "APOP with the right digest opens the maildrop", DIGEST, capability="APOP")
def apop(lab: Lab) -> None:
    _logs_in_by_apop(lab).in_step()


@check("1939", "7", "APOP with a wrong digest is refused", DIGEST, capability="APOP")
def apop_wrong(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"APOP " + lab.target.name + b" " + apop_digest(session.greeting, b"wrong-" + lab.target.secret))
    session.err(b"STAT")


@check("1939", "7", "APOP with the digest for another greeting is refused", DIGEST, capability="APOP")
def apop_replayed(lab: Lab) -> None:
    old = lab.connect()
    digest = apop_digest(old.greeting, lab.target.secret)
    old.close()
    session = lab.connect()
    expect(not session.command(b"APOP " + lab.target.name + b" " + digest, digest).ok, "a digest could be replayed")


@check("1939", "7", "APOP for an unknown user is refused", DIGEST, capability="APOP")
def apop_unknown(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"APOP " + NOBODY + b" " + apop_digest(session.greeting, lab.target.secret))


@check("1939", "7", "APOP without a digest is refused", "(both required)", capability="APOP")
def apop_arguments(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"APOP " + lab.target.name)
    session.err(b"APOP")
