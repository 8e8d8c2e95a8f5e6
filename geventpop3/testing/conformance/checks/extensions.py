"""RFC 2449 and RFC 3206: CAPA, what it announces, pipelining, response codes."""

from __future__ import annotations

import re

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.checks.login import NOBODY
from geventpop3.testing.conformance.exchange import quoted
from geventpop3.testing.conformance.lab import Capabilities, Lab, capabilities
from geventpop3.testing.conformance.outcome import expect, skip
from geventpop3.testing.conformance.session import Closed, Session, split, unstuffed

CRLF = b"\r\n"
IDENTIFY = """The argument to the IMPLEMENTATION capability consists of one or more tokens which identify the
server."""
BOTH = "Capabilities available in the AUTHORIZATION state MUST be announced in both states."
STATES = "It is available in both the AUTHORIZATION and TRANSACTION states."
LIST = """An +OK response is followed by a list of capabilities, one per line. Each capability name MAY be followed by a
single space and a space-separated list of parameters."""
LINE = "Each capability line is limited to 512 octets (including the CRLF)."
COMMANDS = "Servers which support the CAPA command MUST support commands up to 255 octets."
FIRST_LINE = """The maximum length of the first line of a command response (including the initial greeting) is unchanged
at 512 octets (including the terminating CRLF)."""
PIPELINING = "If a server supports PIPELINING, it MUST process each command in turn."
CODES = """any response text issued by this server which begins with an open square bracket ("[") is an extended
response code"""
IN_USE = """It indicates the authentication was successful, but the user's maildrop is currently in use (probably by
another POP3 client)."""
AUTH = "The AUTH response code informs the client that there is a problem with the user's credentials."


def announced(session: Session) -> Capabilities:
    """Return what CAPA announces. Raises Failed if it is refused."""
    found = capabilities(session)
    expect(found is not None, "CAPA is refused")
    assert found is not None
    return found


@check("2449", "5", "CAPA is answered before login", STATES, capability="CAPA")
def capa_before_login(lab: Lab) -> None:
    announced(lab.connect())


@check("2449", "5", "CAPA is answered after login", STATES, capability="CAPA")
def capa_after_login(lab: Lab) -> None:
    announced(lab.login())


@check("2449", "5", "CAPA after login announces what it announced before", BOTH, capability="CAPA")
def capa_both(lab: Lab) -> None:
    before = set(announced(lab.connect())) - {"STLS"}
    after = set(announced(lab.login()))
    missing = ", ".join(sorted(before - after))
    expect(before <= after, f"CAPA announces {missing} before login, and not after it")


@check("2449", "5", "CAPA announces before login what can be used before login", BOTH, capability="CAPA")
def capa_early(lab: Lab) -> None:
    known = {"TOP", "USER", "SASL", "RESP-CODES", "LOGIN-DELAY", "PIPELINING", "EXPIRE", "UIDL", "UTF8", "LANG"}
    before = set(announced(lab.connect()))
    after = set(announced(lab.login()))
    missing = ", ".join(sorted((after & known) - before))
    expect(not missing, f"CAPA announces {missing} after login, and not before it")


@check("2449", "3", "The lines of CAPA are capabilities", LIST, capability="CAPA")
def capa_lines(lab: Lab) -> None:
    session = lab.connect()
    session.ok(b"CAPA")
    for line in split(unstuffed(session.read_body())):
        legal = re.fullmatch(rb"[\x21-\x2d\x2f-\x7e]+( [\x21-\x7e]+)*", line) is not None
        expect(legal, f"a line of CAPA is {quoted(line + CRLF)}")


@check("2449", "5", "The lines of CAPA have at most 512 octets", LINE, capability="CAPA")
def capa_line_length(lab: Lab) -> None:
    session = lab.connect()
    session.ok(b"CAPA")
    longest = max(len(line) + 2 for line in split(unstuffed(session.read_body())))
    expect(longest <= 512, f"a line of CAPA has {longest} octets")


@check("2449", "5", "No capability is announced twice", LIST, capability="CAPA", strict=True)
def capa_once(lab: Lab) -> None:
    session = lab.connect()
    session.ok(b"CAPA")
    tags = [line.split(b" ")[0].upper() for line in split(unstuffed(session.read_body()))]
    twice = sorted({tag.decode("ascii", "replace") for tag in tags if tags.count(tag) > 1})
    expect(not twice, f"CAPA announces twice: {', '.join(twice)}")


@check("2449", "5", "CAPA with an argument is refused", "Arguments: none", capability="CAPA", strict=True)
def capa_argument(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"CAPA now")


@check(
    "2449",
    "6.1",
    "TOP works where it is announced",
    "The TOP capability indicates the optional TOP command is available.",
    capability="TOP",
    mail=1,
)
def top_works(lab: Lab) -> None:
    lab.login().retrieve(b"TOP 1 0")


@check(
    "2449",
    "6.8",
    "UIDL works where it is announced",
    "The UIDL capability indicates that the optional UIDL command is supported.",
    capability="UIDL",
)
def uidl_works(lab: Lab) -> None:
    lab.login().lines(b"UIDL")


@check(
    "2449",
    "6.5",
    "LOGIN-DELAY has a number of seconds",
    "The LOGIN-DELAY capability includes an integer argument which indicates the number of seconds",
    capability="LOGIN-DELAY",
)
def login_delay(lab: Lab) -> None:
    words = announced(lab.connect()).get("LOGIN-DELAY", [])
    kept = bool(words) and words[0].isdigit() and words[1:] in ([], ["USER"])
    expect(kept, f"the arguments of LOGIN-DELAY are {words}")


@check(
    "2449",
    "6.7",
    "EXPIRE has a number of days or NEVER",
    "server-guaranteed minimum retention days, or NEVER; optionally followed by USER in AUTHENTICATION state",
    capability="EXPIRE",
)
def expire(lab: Lab) -> None:
    words = announced(lab.login()).get("EXPIRE", [])
    kept = bool(words) and (words[0].isdigit() or words[0].upper() == "NEVER")
    expect(kept, f"the arguments of EXPIRE are {words}")


@check(
    "2449",
    "6.9",
    "IMPLEMENTATION names the server",
    IDENTIFY,
    capability="IMPLEMENTATION",
)
def implementation(lab: Lab) -> None:
    expect(bool(announced(lab.login()).get("IMPLEMENTATION")), "IMPLEMENTATION has no argument")


@check("2449", "4", "A command of 255 octets is answered once", COMMANDS, capability="CAPA")
def long_command(lab: Lab) -> None:
    session = lab.connect()
    session.command(b"USER " + b"a" * 248)
    session.ok(b"QUIT")


@check("2449", "4", "A command of 255 octets is answered once after login", COMMANDS, capability="CAPA")
def long_command_after_login(lab: Lab) -> None:
    session = lab.login()
    session.err(b"XYZZY " + b"a" * 247)
    session.in_step()


@check("2449", "4", "First lines have at most 512 octets", FIRST_LINE)
def first_line(lab: Lab) -> None:
    session = lab.login()
    for line in (b"XYZZY " + b"x" * 247, b"RETR " + b"9" * 248, b"STAT"):
        reply = session.command(line)
        expect(len(reply.line) <= 512, f"a reply has {len(reply.line)} octets")


@check("2449", "6.6", "Commands in one packet are answered in order", PIPELINING, capability="PIPELINING", mail=1)
def pipelined(lab: Lab) -> None:
    session = lab.login()
    wanted = [session.ok(b"STAT").line, session.ok(b"LIST 1").line]
    session.send(b"STAT\r\nLIST 1\r\nXYZZY\r\nSTAT\r\n")
    got = [session.read_reply().line for _ in range(4)]
    expect([got[0], got[1], got[3]] == [*wanted, wanted[0]], "the replies are not those of the commands one by one")
    expect(got[2].startswith(b"-ERR"), "an unknown command among others was not refused")


@check("2449", "6.6", "USER, PASS and STAT in one packet log in", PIPELINING, capability="PIPELINING")
def pipelined_login(lab: Lab) -> None:
    if lab.facts.login != "USER":
        skip("USER and PASS are not how this user logs in")
    session = lab.connect()
    name, secret = lab.target.name, lab.target.secret
    session.send(b"USER " + name + b"\r\nPASS " + secret + b"\r\nSTAT\r\n", secret)
    replies = [session.read_reply() for _ in range(3)]
    expect(all(reply.ok for reply in replies), "one of the three commands was refused")
    session.in_step()


@check("2449", "6.6", "Commands behind a login that fails are answered", PIPELINING, capability="PIPELINING")
def pipelined_failed_login(lab: Lab) -> None:
    session = lab.connect()
    session.send(b"USER " + lab.target.name + b"\r\nPASS wrong\r\nSTAT\r\nQUIT\r\n")
    session.read_reply()
    expect(not session.read_reply().ok, "a wrong password was not refused")
    try:
        expect(not session.read_reply().ok, "STAT was not refused after the login had failed")
        session.read_reply()
    except Closed:
        return  # a server may close after -ERR


@check("2449", "6.6", "200 commands in one packet are answered in order", PIPELINING, capability="PIPELINING")
def pipelined_many(lab: Lab) -> None:
    session = lab.login()
    session.send(b"NOOP\r\n" * 200)
    for _ in range(200):
        expect(session.read_reply().ok, "NOOP was refused")
    session.in_step()


@check("2449", "6.6", "Commands are taken while a message is sent", PIPELINING, capability="PIPELINING", mail=1)
def pipelined_retr(lab: Lab) -> None:
    session = lab.login()
    wanted = session.retrieve(b"RETR 1")
    session.send(b"RETR 1\r\nNOOP\r\nRETR 1\r\n")
    for index in range(2):
        expect(session.read_reply().ok, "RETR was refused")
        expect(unstuffed(session.read_body()) == wanted, "the message is another one than without pipelining")
        if index == 0:
            expect(session.read_reply().ok, "NOOP was refused")
    session.in_step()


@check(
    "2449",
    "6.6",
    "Nothing behind QUIT runs",
    "The TCP connection is then closed.",
    capability="PIPELINING",
    mail=1,
    delete=True,
)
def pipelined_quit(lab: Lab) -> None:
    count = lab.counted()
    session = lab.login()
    session.send(b"QUIT\r\nDELE 1\r\nQUIT\r\n")
    expect(session.read_reply().ok, "QUIT was refused")
    expect(session.at_end(), "the server answers what came behind QUIT")
    session.close()
    expect(lab.counted() == count, "DELE behind QUIT removed a message")


@check("2449", "8", "A text in brackets is a response code", CODES, capability="RESP-CODES")
def response_codes(lab: Lab) -> None:
    session = lab.connect()
    session.command(b"USER [x")
    session.command(b"XYZZY")
    session.command(b"[IN-USE] x")
    after = lab.login()
    for line in (b"RETR 99999", b"[x", b"NOOP", b"RSET"):
        after.command(line)
    for line in session.lines_seen + after.lines_seen:
        text = line.rstrip(b"\r\n").partition(b" ")[2]
        code = re.match(rb"\[[\x21-\x2e\x30-\x5c\x5e-\x7e]+(/[\x21-\x2e\x30-\x5c\x5e-\x7e]+)*\]( |$)", text)
        expect(not text.startswith(b"[") or code is not None, f"a text that is no response code: {quoted(line)}")


@check("2449", "8.1.2", "IN-USE is not told with a wrong password", IN_USE, capability="RESP-CODES")
def in_use(lab: Lab) -> None:
    lab.login()
    session = lab.connect()
    if session.command(b"USER " + lab.target.name).ok:
        reply = session.err(b"PASS wrong-" + lab.target.secret, lab.target.secret)
        expect(reply.code != b"IN-USE", "IN-USE was told to a client with a wrong password")


@check("2449", "8.1.2", "A maildrop in use is refused with IN-USE", IN_USE, capability="RESP-CODES", strict=True)
def in_use_code(lab: Lab) -> None:
    lab.login()
    session = lab.connect()
    reply = lab.try_login(session)
    expect(reply.ok or reply.code == b"IN-USE", f"the second login is refused with {quoted(reply.line)}")


for _who, _slug in (("a wrong password", "wrong-password"), ("an unknown user", "unknown-user")):

    @check("3206", "5", f"AUTH is told for {_who}", AUTH, slug=f"auth-{_slug}", capability="AUTH-RESP-CODE")
    def _auth(lab: Lab, slug: str = _slug) -> None:
        session = lab.connect()
        name = lab.target.name if slug == "wrong-password" else NOBODY
        reply = session.command(b"USER " + name)
        if reply.ok:
            secret = b"wrong-" + lab.target.secret
            reply = session.err(b"PASS " + secret, secret)
        expect(reply.code == b"AUTH", f"the reply is {quoted(reply.line)}")


@check("3206", "5", "AUTH is not told for an unknown command", AUTH, capability="AUTH-RESP-CODE")
def auth_is_for_credentials(lab: Lab) -> None:
    session = lab.login()
    for line in (b"XYZZY", b"RETR 99999"):
        reply = session.err(line)
        expect(reply.code != b"AUTH", f"the reply is {quoted(reply.line)}")
