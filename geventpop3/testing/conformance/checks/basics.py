"""RFC 1939 sections 3 and 4: commands, replies, the greeting, the end of a session."""

from __future__ import annotations

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.exchange import quoted
from geventpop3.testing.conformance.lab import Lab, counted
from geventpop3.testing.conformance.outcome import fail, require
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
def _greeting(lab: Lab) -> None:
    session = lab.connect()
    require(session.greeting[:4] in (b"+OK ", b"+OK\r"), f"the greeting is {quoted(session.greeting)}")
    require(session.greeting.endswith(b"\r\n"), "the greeting does not end with CRLF")


@check("1939", "4", "The greeting is one line", "the POP3 server issues a one line greeting.")
def _greeting_is_one_line(lab: Lab) -> None:
    session = lab.connect()
    require(not session.has_more(0.2), "the server sends more than the greeting without a command")


@check("1939", "3", "The greeting has at most 512 octets", LONGEST)
def _greeting_length(lab: Lab) -> None:
    length = len(lab.connect().greeting)
    require(length <= 512, f"the greeting has {length} octets")


@check("1939", "3", "Replies end with CRLF", ENDED)
def _replies_end_with_crlf(lab: Lab) -> None:
    session = lab.login()
    for command in (b"STAT", b"NOOP", b"XYZZY", b"RSET", b"LIST 99999"):
        session.command(command)
    for line in session.lines_seen:
        require(line.endswith(b"\r\n"), f"a reply ends with LF without CR: {quoted(line)}")


@check("1939", "3", "The lines of a multi-line response end with CRLF", ENDED, mail=1)
def _lines_end_with_crlf(lab: Lab) -> None:
    session = lab.login()
    session.ok(b"LIST")
    body = session.read_body()
    require(body.count(b"\n") == body.count(b"\r\n"), "a line of LIST ends with LF without CR")


@check("1939", "3", "A long unknown command gets a reply of at most 512 octets", LONGEST)
def _reply_length(lab: Lab) -> None:
    session = lab.connect()
    reply = session.err(b"XYZZY " + b"x" * 240)
    require(len(reply.line) <= 512, f"the reply has {len(reply.line)} octets")


@check("1939", "3", "A login in lower case succeeds", CASE)
def _lower_case_login(lab: Lab) -> None:
    if lab.facts.login != "USER":
        session = lab.login()
        session.ok(b"noop")
        return
    session = lab.connect()
    session.ok(b"user " + lab.target.name)
    session.ok(b"pass " + lab.target.secret, lab.target.secret)


@check("1939", "3", "Commands in lower case and in a mix of cases succeed", CASE)
def _mixed_case(lab: Lab) -> None:
    session = lab.login()
    for line in (b"sTaT", b"nOoP", b"rset"):
        session.ok(line)
    session.lines(b"list")
    session.ok(b"quit")


_UNKNOWN = (
    ("unknown", "An unknown command", b"XYZZY"),
    ("empty", "An empty line", b""),
    ("eight-bit", "A line of non-ASCII octets", b"\xff\xfe\xe9"),
    ("prefix", "A truncated command name", b"STA"),
    ("longer", "A command name with an extra letter", b"STATS"),
    ("format", "A line of printf directives", b"%s%n%x"),
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


@check("1939", "3", "A command with a NUL octet is refused", PRINTABLE, mail=1, strict=True)
def _nul_in_a_command(lab: Lab) -> None:
    session = lab.login()
    session.err(b"LIST 1\0x")
    session.in_step()


@check("1939", "3", "A user name with a NUL octet does not log in", PRINTABLE)
def _nul_in_a_name(lab: Lab) -> None:
    session = lab.connect()
    if not session.command(b"USER " + lab.target.name + b"\0x").ok:
        return
    reply = session.command(b"PASS " + lab.target.secret, lab.target.secret)
    require(not reply.ok, "the name was cut at NUL, and the login succeeded")


@check("1939", "3", "A command that arrives octet by octet gets one reply", TERMINATED)
def _octet_by_octet(lab: Lab) -> None:
    session = lab.login()
    for octet in b"NOOP\r\n":
        session.send(bytes([octet]))
        require(octet == 0x0A or not session.has_more(0.02), "the server answered before the command ended")
    require(session.read_reply().ok, "NOOP was refused")
    session.in_step()


@check("1939", "3", "A command that is split between CR and LF gets one reply", TERMINATED)
def _split_line_end(lab: Lab) -> None:
    session = lab.login()
    session.send(b"NOOP\r")
    require(not session.has_more(0.1), "the server answered before the command ended")
    session.send(b"\n")
    require(session.read_reply().ok, "NOOP was refused")
    session.in_step()


@check("1939", "3", "An incomplete command gets no reply", TERMINATED)
def _unfinished_command(lab: Lab) -> None:
    session = lab.login()
    session.send(b"NOOP")
    require(not session.has_more(0.2), "the server answered before the command ended")
    session.send(b"\r\n")
    require(session.read_reply().ok, "NOOP was refused")


@check("1939", "3", "An incomplete command does not run at the end of the input", TERMINATED, mail=1, delete=True)
def _unfinished_command_at_the_end(lab: Lab) -> None:
    session = lab.login()
    session.ok(b"DELE 1")
    count = counted(session)
    session.send(b"QUIT")
    session.end()
    session.at_end()
    session.close()
    require(lab.counted() == count + 1, "QUIT without a line end removed a marked message")


for _command, _name in (
    (b"NOOP", "NOOP"),
    (b"RSET", "RSET"),
    (b"LIST 99999", "LIST"),
    (b"XYZZY", "an unknown command"),
):

    @check("1939", "5", f"Exactly one reply follows {_name}", EACH, slug=f"one-reply-to-{_name.split()[-1].lower()}")
    def _one_reply(lab: Lab, command: bytes = _command) -> None:
        session = lab.login()
        session.command(command)
        session.in_step()
        require(not session.has_more(0.1), "the server sends more than the replies to the commands")


@check("1939", "3", "Each of 300 commands in a session gets a reply", EACH)
def _many_commands(lab: Lab) -> None:
    session = lab.login()
    for _ in range(300):
        session.ok(b"NOOP")
    session.in_step()


@check("1939", "3", "The server still works after connections that end at once", EACH)
def _short_connections(lab: Lab) -> None:
    for _ in range(5):
        lab.connect().close()
    session = lab.connect()
    session.send(b"USER")
    session.end()
    session.at_end()
    session.close()
    lab.login().in_step()


@check("1939", "4", "QUIT before login is answered", "Possible Responses: +OK")
def _quit_before_login(lab: Lab) -> None:
    lab.connect().ok(b"QUIT")


@check("1939", "3", "QUIT before login closes the connection", "The TCP connection is then closed.")
def _quit_closes_before_login(lab: Lab) -> None:
    session = lab.connect()
    session.ok(b"QUIT")
    require(session.at_end(), "the server does not close after QUIT")


@check("1939", "3", "QUIT after login closes the connection", "The TCP connection is then closed.")
def _quit_closes(lab: Lab) -> None:
    session = lab.login()
    session.ok(b"QUIT")
    require(session.at_end(), "the server does not close after QUIT")


@check(
    "1939",
    "7",
    "QUIT after USER ends the session",
    "then the client may issue either the PASS command to complete the authentication, or the QUIT command to terminate"
    " the POP3 session.",
)
def _quit_after_user(lab: Lab) -> None:
    session = lab.connect()
    session.command(b"USER " + lab.target.name)
    session.ok(b"QUIT")
    require(session.at_end(), "the server does not close after QUIT")


@check(
    "1939",
    "3",
    "The status indicators are in upper case",
    'Servers MUST send the "+OK" and "-ERR" in upper case.',
)
def _status_in_upper_case(lab: Lab) -> None:
    session = lab.login()
    for line in (b"STAT", b"XYZZY", b"RETR 99999", b"NOOP"):
        try:
            session.command(line)
        except Closed:
            fail("the server closed the connection without a reply")


@check("1939", "3", "A line of 2,000 octets is refused or ends the connection", INVALID)
def _very_long_line(lab: Lab) -> None:
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
