"""RFC 1939 sections 3 and 4: commands, replies, the greeting, the end of a session."""

from __future__ import annotations

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.exchange import quoted
from geventpop3.testing.conformance.lab import Lab, counted
from geventpop3.testing.conformance.outcome import expect, fail
from geventpop3.testing.conformance.session import Closed

INVALID = """A server MUST respond to an unrecognized, unimplemented, or syntactically invalid command by responding
with a negative status indicator."""
ENDED = "All responses are terminated by a CRLF pair."
LONGEST = "Responses may be up to 512 characters long, including the terminating CRLF."
CASE = "Commands in the POP3 consist of a case-insensitive keyword, possibly followed by one or more arguments."
TERMINATED = "All commands are terminated by a CRLF pair."
PRINTABLE = "Keywords and arguments consist of printable ASCII characters."
EACH = "After each command, the POP3 server issues a response."


@check("1939", "4", "The greeting is positive and ends with CRLF", "This can be any positive response.")
def greeting(lab: Lab) -> None:
    session = lab.connect()
    expect(session.greeting[:4] in (b"+OK ", b"+OK\r"), f"the greeting is {quoted(session.greeting)}")
    expect(session.greeting.endswith(b"\r\n"), "the greeting does not end with CRLF")


@check("1939", "4", "The greeting is one line", "the POP3 server issues a one line greeting.")
def greeting_is_one_line(lab: Lab) -> None:
    session = lab.connect()
    expect(not session.has_more(0.2), "the server sends more than the greeting without a command")


@check("1939", "3", "The greeting has at most 512 octets", LONGEST)
def greeting_length(lab: Lab) -> None:
    length = len(lab.connect().greeting)
    expect(length <= 512, f"the greeting has {length} octets")


@check("1939", "3", "Replies end with CRLF", ENDED)
def replies_end_with_crlf(lab: Lab) -> None:
    session = lab.login()
    for command in (b"STAT", b"NOOP", b"XYZZY", b"RSET", b"LIST 99999"):
        session.command(command)
    for line in session.lines_seen:
        expect(line.endswith(b"\r\n"), f"a reply ends with LF alone: {quoted(line)}")


@check("1939", "3", "The lines of a multi-line response end with CRLF", ENDED, mail=1)
def lines_end_with_crlf(lab: Lab) -> None:
    session = lab.login()
    session.ok(b"LIST")
    body = session.read_body()
    expect(body.count(b"\n") == body.count(b"\r\n"), "a line of LIST ends with LF alone")


@check("1939", "3", "A long unknown command gets a reply of at most 512 octets", LONGEST)
def reply_length(lab: Lab) -> None:
    session = lab.connect()
    reply = session.err(b"XYZZY " + b"x" * 240)
    expect(len(reply.line) <= 512, f"the reply has {len(reply.line)} octets")


@check("1939", "3", "A login in lower case succeeds", CASE)
def lower_case_login(lab: Lab) -> None:
    if lab.facts.login != "USER":
        session = lab.login()
        session.ok(b"noop")
        return
    session = lab.connect()
    session.ok(b"user " + lab.target.name)
    session.ok(b"pass " + lab.target.secret, lab.target.secret)


@check("1939", "3", "Commands in lower case and in a mix of cases succeed", CASE)
def mixed_case(lab: Lab) -> None:
    session = lab.login()
    for line in (b"sTaT", b"nOoP", b"rset"):
        session.ok(line)
    session.lines(b"list")
    session.ok(b"quit")


_UNKNOWN = (
    ("unknown", "An unknown command", b"XYZZY"),
    ("empty", "An empty line", b""),
    ("eight-bit", "A line of octets beyond ASCII", b"\xff\xfe\xe9"),
    ("prefix", "The beginning of a command", b"STA"),
    ("longer", "A command with a letter too many", b"STATS"),
    ("format", "A line of format characters", b"%s%n%x"),
)

for _slug, _title, _line in _UNKNOWN[:3]:

    @check("1939", "3", f"{_title} before login is refused", INVALID, slug=f"{_slug}-before-login")
    def _before(lab: Lab, line: bytes = _line) -> None:
        session = lab.connect()
        session.err(line)
        session.ok(b"QUIT")


for _slug, _title, _line in _UNKNOWN:

    @check("1939", "3", f"{_title} after login is refused", INVALID, slug=f"{_slug}-after-login")
    def _after(lab: Lab, line: bytes = _line) -> None:
        session = lab.login()
        session.err(line)
        session.in_step()


@check("1939", "3", "A command behind a NUL octet does not run", PRINTABLE, mail=1, strict=True)
def nul_in_a_command(lab: Lab) -> None:
    session = lab.login()
    session.err(b"LIST 1\0x")
    session.in_step()


@check("1939", "3", "A user's name that is followed by NUL is no name of that user", PRINTABLE)
def nul_in_a_name(lab: Lab) -> None:
    session = lab.connect()
    if not session.command(b"USER " + lab.target.name + b"\0x").ok:
        return
    reply = session.command(b"PASS " + lab.target.secret, lab.target.secret)
    expect(not reply.ok, "the name was cut at NUL, and the login succeeded")


@check("1939", "3", "A command that comes octet by octet is answered once", TERMINATED)
def octet_by_octet(lab: Lab) -> None:
    session = lab.login()
    for octet in b"NOOP\r\n":
        session.send(bytes([octet]))
        expect(octet == 0x0A or not session.has_more(0.02), "the server answered before the command ended")
    expect(session.read_reply().ok, "NOOP was refused")
    session.in_step()


@check("1939", "3", "A command that is split between CR and LF is answered once", TERMINATED)
def split_line_end(lab: Lab) -> None:
    session = lab.login()
    session.send(b"NOOP\r")
    expect(not session.has_more(0.1), "the server answered before the command ended")
    session.send(b"\n")
    expect(session.read_reply().ok, "NOOP was refused")
    session.in_step()


@check("1939", "3", "A command without its end is not answered", TERMINATED)
def unfinished_command(lab: Lab) -> None:
    session = lab.login()
    session.send(b"NOOP")
    expect(not session.has_more(0.2), "the server answered before the command ended")
    session.send(b"\r\n")
    expect(session.read_reply().ok, "NOOP was refused")


@check("1939", "3", "A command without its end does not run when the client ends", TERMINATED, mail=1, delete=True)
def unfinished_command_at_the_end(lab: Lab) -> None:
    session = lab.login()
    session.ok(b"DELE 1")
    count = counted(session)
    session.send(b"QUIT")
    session.end()
    session.at_end()
    session.close()
    expect(lab.counted() == count + 1, "QUIT without a line end removed what was marked")


for _command, _name in (
    (b"NOOP", "NOOP"),
    (b"RSET", "RSET"),
    (b"LIST 99999", "LIST"),
    (b"XYZZY", "an unknown command"),
):

    @check("1939", "5", f"There is one reply to {_name}", EACH, slug=f"one-reply-to-{_name.split()[-1].lower()}")
    def _one_reply(lab: Lab, command: bytes = _command) -> None:
        session = lab.login()
        session.command(command)
        session.in_step()
        expect(not session.has_more(0.1), "the server sends more than the replies to the commands")


@check("1939", "3", "A session of 300 commands is answered to the end", EACH)
def many_commands(lab: Lab) -> None:
    session = lab.login()
    for _ in range(300):
        session.ok(b"NOOP")
    session.in_step()


@check("1939", "3", "A connection that ends at once leaves the server in order", EACH)
def short_connections(lab: Lab) -> None:
    for _ in range(5):
        lab.connect().close()
    session = lab.connect()
    session.send(b"USER")
    session.end()
    session.at_end()
    session.close()
    lab.login().in_step()


@check("1939", "4", "QUIT before login is answered", "Possible Responses: +OK")
def quit_before_login(lab: Lab) -> None:
    lab.connect().ok(b"QUIT")


@check("1939", "3", "QUIT before login closes the connection", "The TCP connection is then closed.")
def quit_closes_before_login(lab: Lab) -> None:
    session = lab.connect()
    session.ok(b"QUIT")
    expect(session.at_end(), "the server does not close after QUIT")


@check("1939", "3", "QUIT after login closes the connection", "The TCP connection is then closed.")
def quit_closes(lab: Lab) -> None:
    session = lab.login()
    session.ok(b"QUIT")
    expect(session.at_end(), "the server does not close after QUIT")


@check(
    "1939",
    "7",
    "QUIT after USER ends the session",
    "then the client may issue either the PASS command to complete the authentication, or the QUIT command to terminate"
    " the POP3 session.",
)
def quit_after_user(lab: Lab) -> None:
    session = lab.connect()
    session.command(b"USER " + lab.target.name)
    session.ok(b"QUIT")
    expect(session.at_end(), "the server does not close after QUIT")


@check(
    "1939",
    "3",
    "The status indicators are in upper case",
    'Servers MUST send the "+OK" and "-ERR" in upper case.',
)
def status_in_upper_case(lab: Lab) -> None:
    session = lab.login()
    for line in (b"STAT", b"XYZZY", b"RETR 99999", b"NOOP"):
        try:
            session.command(line)
        except Closed:
            fail("the server closed the connection without a reply")


@check("1939", "3", "A line of 2,000 octets is answered or ends the connection", INVALID)
def very_long_line(lab: Lab) -> None:
    session = lab.connect()
    session.renew = None
    session.send(b"x" * 2000 + b"\r\n")
    try:
        while not session.read_reply().ok:
            if not session.has_more(0.3):
                break
        else:
            fail("an over-long line was not refused")
    except Closed:
        return
    lab.connect().ok(b"QUIT")
