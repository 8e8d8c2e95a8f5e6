"""RFC 1939 sections 3 and 4: commands in the wrong state, and the lock on the maildrop."""

from __future__ import annotations

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.lab import Lab, counted
from geventpop3.testing.conformance.outcome import Failed, require, skip

STATE = """A server MUST respond to a command issued when the session is in an incorrect state by responding with a
negative status indicator."""
LOCK = """the POP3 server then acquires an exclusive-access lock on the maildrop, as necessary to prevent messages from
being modified or removed before the session enters the UPDATE state."""

for _command in ("STAT", "LIST", "LIST 1", "RETR 1", "DELE 1", "NOOP", "RSET", "TOP 1 0", "UIDL", "UIDL 1"):

    @check(
        "1939",
        "3",
        f"{_command} before login is refused",
        STATE,
        slug=f"{_command.lower().replace(' ', '-')}-before-login",
    )
    def _before(lab: Lab, command: bytes = _command.encode()) -> None:
        session = lab.connect()
        session.err(command)
        session.ok(b"QUIT")


@check("1939", "3", "LIST between USER and PASS is refused", STATE)
def _list_after_user(lab: Lab) -> None:
    session = lab.connect()
    session.command(b"USER " + lab.target.name)
    session.err(b"LIST")


@check("1939", "3", "USER after login is refused", STATE)
def _user_after_login(lab: Lab) -> None:
    session = lab.login()
    session.err(b"USER " + lab.target.name)
    session.in_step()


@check("1939", "3", "PASS after login is refused", STATE)
def _pass_after_login(lab: Lab) -> None:
    session = lab.login()
    session.err(b"PASS " + lab.target.secret, lab.target.secret)
    session.in_step()


@check("1939", "3", "APOP after login is refused", STATE)
def _apop_after_login(lab: Lab) -> None:
    session = lab.login()
    session.err(b"APOP " + lab.target.name + b" " + b"0" * 32)
    session.in_step()


@check("1939", "4", "STAT is refused after a failed login", STATE)
def _stat_after_a_failed_login(lab: Lab) -> None:
    session = lab.connect()
    session.command(b"USER " + lab.target.name)
    session.err(b"PASS wrong-" + lab.target.secret, lab.target.secret)
    session.err(b"STAT")


@check("1939", "4", "A session survives a second login to the maildrop", LOCK, mail=1)
def _second_login(lab: Lab) -> None:
    first = lab.login()
    count = len(first.lines(b"LIST"))
    second = lab.connect()
    lab.try_login(second)  # refused or not: both are common
    second.close()
    require(len(first.lines(b"LIST")) == count, "LIST shows other messages after the second login")
    first.retrieve(b"RETR 1")


@check("1939", "4", "A second session removes no message from the first", LOCK, mail=2, delete=True, strict=True)
def _second_session_removes_nothing(lab: Lab) -> None:
    first = lab.login()
    count = counted(first)
    second = lab.connect()
    if not lab.try_login(second).ok:
        return
    second.ok(b"DELE 1")
    if not second.command(b"QUIT").ok:
        return
    second.close()
    try:
        # All of them: the other session may number them otherwise.
        for number in range(1, count + 1):
            first.retrieve(b"RETR %d" % number)
    except Failed as failure:
        raise Failed(f"another session removed a message of an open session: {failure}") from None


@check(
    "1939",
    "6",
    "The maildrop is free after QUIT",
    "the server then releases any exclusive-access lock on the maildrop and closes the TCP connection.",
)
def _free_after_quit(lab: Lab) -> None:
    session = lab.login()
    session.ok(b"QUIT")
    session.at_end()
    again = lab.connect()
    require(lab.try_login(again).ok, "the login after QUIT was refused")


@check(
    "1939",
    "4",
    "The maildrop is free after a failed login",
    "If a lock was acquired but the POP3 server intends to respond with a negative status indicator, the POP3 server"
    " must release the lock prior to rejecting the command.",
)
def _free_after_a_failed_login(lab: Lab) -> None:
    failed = lab.connect()
    failed.command(b"USER " + lab.target.name)
    failed.err(b"PASS wrong-" + lab.target.secret, lab.target.secret)
    session = lab.connect()
    require(lab.try_login(session).ok, "the login was refused while the failed session was open")


@check(
    "1939",
    "4",
    "A login succeeds after a failed one in the same session",
    "If the server does not close the connection, the client may either issue a new authentication command and start"
    " again, or the client may issue the QUIT command.",
)
def _login_after_a_failed_one(lab: Lab) -> None:
    session = lab.connect()
    session.command(b"USER " + lab.target.name)
    session.err(b"PASS wrong-" + lab.target.secret, lab.target.secret)
    if lab.facts.login != "USER":
        skip("this user does not log in with USER and PASS")
    session.ok(b"USER " + lab.target.name)
    session.ok(b"PASS " + lab.target.secret, lab.target.secret)
