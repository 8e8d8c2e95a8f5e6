"""RFC 2449 and RFC 3206: CAPA, what it announces, pipelining, response codes."""

from __future__ import annotations

import re

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.checks.login import NOBODY
from geventpop3.testing.conformance.exchange import quoted
from geventpop3.testing.conformance.lab import Capabilities, Lab, capabilities
from geventpop3.testing.conformance.outcome import require, skip
from geventpop3.testing.conformance.session import Closed, ProbeSession, split, unstuffed

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


def announced(session: ProbeSession) -> Capabilities:
    """Return what CAPA announces. Raises Failed if it is refused."""
    found = capabilities(session)
    require(found is not None, "CAPA is refused")
    assert found is not None
    return found


@check("2449", "5", "CAPA is answered before login", STATES, capability="CAPA")
def _capa_before_login(lab: Lab) -> None:
    announced(lab.connect())


@check("2449", "5", "CAPA is answered after login", STATES, capability="CAPA")
def _capa_after_login(lab: Lab) -> None:
    announced(lab.login())


@check("2449", "5", "CAPA after login announces all capabilities from before login", BOTH, capability="CAPA")
def _capa_both(lab: Lab) -> None:
    before = set(announced(lab.connect())) - {"STLS"}
    after = set(announced(lab.login()))
    missing = ", ".join(sorted(before - after))
    require(before <= after, f"CAPA announces {missing} before login, but not after login")


@check("2449", "5", "CAPA before login announces all capabilities from after login", BOTH, capability="CAPA")
def _capa_early(lab: Lab) -> None:
    known = {"TOP", "USER", "SASL", "RESP-CODES", "LOGIN-DELAY", "PIPELINING", "EXPIRE", "UIDL", "UTF8", "LANG"}
    before = set(announced(lab.connect()))
    after = set(announced(lab.login()))
    missing = ", ".join(sorted((after & known) - before))
    require(not missing, f"CAPA announces {missing} after login, but not before login")


@check("2449", "3", "The lines of CAPA have the syntax of capabilities", LIST, capability="CAPA")
def _capa_lines(lab: Lab) -> None:
    session = lab.connect()
    session.ok(b"CAPA")
    for line in split(unstuffed(session.read_body())):
        legal = re.fullmatch(rb"[\x21-\x2d\x2f-\x7e]+( [\x21-\x7e]+)*", line) is not None
        require(legal, f"a line of CAPA is {quoted(line + CRLF)}")


@check("2449", "5", "The lines of CAPA have at most 512 octets", LINE, capability="CAPA")
def _capa_line_length(lab: Lab) -> None:
    session = lab.connect()
    session.ok(b"CAPA")
    longest = max(len(line) + 2 for line in split(unstuffed(session.read_body())))
    require(longest <= 512, f"a line of CAPA has {longest} octets")


@check("2449", "5", "No capability is announced twice", LIST, capability="CAPA", strict=True)
def _capa_once(lab: Lab) -> None:
    session = lab.connect()
    session.ok(b"CAPA")
    tags = [line.split(b" ")[0].upper() for line in split(unstuffed(session.read_body()))]
    twice = sorted({tag.decode("ascii", "replace") for tag in tags if tags.count(tag) > 1})
    require(not twice, f"CAPA announces twice: {', '.join(twice)}")


@check("2449", "5", "CAPA with an argument is refused", "Arguments: none", capability="CAPA", strict=True)
def _capa_argument(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"CAPA now")


@check(
    "2449",
    "6.1",
    "TOP works if CAPA announces it",
    "The TOP capability indicates the optional TOP command is available.",
    capability="TOP",
    mail=1,
)
def _top_works(lab: Lab) -> None:
    lab.login().retrieve(b"TOP 1 0")


@check(
    "2449",
    "6.8",
    "UIDL works if CAPA announces it",
    "The UIDL capability indicates that the optional UIDL command is supported.",
    capability="UIDL",
)
def _uidl_works(lab: Lab) -> None:
    lab.login().lines(b"UIDL")


@check(
    "2449",
    "6.5",
    "LOGIN-DELAY has a number of seconds as its argument",
    "The LOGIN-DELAY capability includes an integer argument which indicates the number of seconds",
    capability="LOGIN-DELAY",
)
def _login_delay(lab: Lab) -> None:
    words = announced(lab.connect()).get("LOGIN-DELAY", [])
    kept = bool(words) and words[0].isdigit() and words[1:] in ([], ["USER"])
    require(kept, f"the arguments of LOGIN-DELAY are {words}")


@check(
    "2449",
    "6.7",
    "EXPIRE has a number of days or NEVER as its argument",
    "server-guaranteed minimum retention days, or NEVER; optionally followed by USER in AUTHENTICATION state",
    capability="EXPIRE",
)
def _expire(lab: Lab) -> None:
    words = announced(lab.login()).get("EXPIRE", [])
    kept = bool(words) and (words[0].isdigit() or words[0].upper() == "NEVER")
    require(kept, f"the arguments of EXPIRE are {words}")


@check(
    "2449",
    "6.9",
    "IMPLEMENTATION names the server",
    IDENTIFY,
    capability="IMPLEMENTATION",
)
def _implementation(lab: Lab) -> None:
    require(bool(announced(lab.login()).get("IMPLEMENTATION")), "IMPLEMENTATION has no argument")


@check("2449", "4", "A command of 255 octets gets one reply", COMMANDS, capability="CAPA")
def _long_command(lab: Lab) -> None:
    session = lab.connect()
    session.command(b"USER " + b"a" * 248)
    session.ok(b"QUIT")


@check("2449", "4", "A command of 255 octets gets one reply after login", COMMANDS, capability="CAPA")
def _long_command_after_login(lab: Lab) -> None:
    session = lab.login()
    session.err(b"XYZZY " + b"a" * 247)
    session.in_step()


@check("2449", "4", "Status lines have at most 512 octets", FIRST_LINE)
def _first_line(lab: Lab) -> None:
    session = lab.login()
    for line in (b"XYZZY " + b"x" * 247, b"RETR " + b"9" * 248, b"STAT"):
        reply = session.command(line)
        require(len(reply.line) <= 512, f"a reply has {len(reply.line)} octets")


@check("2449", "6.6", "Commands in one packet get replies in sequence", PIPELINING, capability="PIPELINING", mail=1)
def _pipelined(lab: Lab) -> None:
    session = lab.login()
    wanted = [session.ok(b"STAT").line, session.ok(b"LIST 1").line]
    session.send(b"STAT\r\nLIST 1\r\nXYZZY\r\nSTAT\r\n")
    got = [session.read_reply().line for _ in range(4)]
    require([got[0], got[1], got[3]] == [*wanted, wanted[0]], "the replies differ from those without pipelining")
    require(got[2].startswith(b"-ERR"), "an unknown command among others was not refused")


@check("2449", "6.6", "USER, PASS and STAT in one packet log in", PIPELINING, capability="PIPELINING")
def _pipelined_login(lab: Lab) -> None:
    if lab.facts.login != "USER":
        skip("this user does not log in with USER and PASS")
    session = lab.connect()
    name, secret = lab.target.name, lab.target.secret
    session.send(b"USER " + name + b"\r\nPASS " + secret + b"\r\nSTAT\r\n", secret)
    replies = [session.read_reply() for _ in range(3)]
    require(all(reply.ok for reply in replies), "one of the three commands was refused")
    session.in_step()


@check("2449", "6.6", "Commands in one packet with a failed login get replies", PIPELINING, capability="PIPELINING")
def _pipelined_failed_login(lab: Lab) -> None:
    session = lab.connect()
    session.send(b"USER " + lab.target.name + b"\r\nPASS wrong\r\nSTAT\r\nQUIT\r\n")
    session.read_reply()
    require(not session.read_reply().ok, "a wrong password was not refused")
    try:
        require(not session.read_reply().ok, "STAT was not refused after the login had failed")
        session.read_reply()
    except Closed:
        return  # a server may close after -ERR


@check("2449", "6.6", "200 commands in one packet get 200 replies", PIPELINING, capability="PIPELINING")
def _pipelined_many(lab: Lab) -> None:
    session = lab.login()
    session.send(b"NOOP\r\n" * 200)
    for _ in range(200):
        require(session.read_reply().ok, "NOOP was refused")
    session.in_step()


@check("2449", "6.6", "Commands in one packet with RETR get replies", PIPELINING, capability="PIPELINING", mail=1)
def _pipelined_retr(lab: Lab) -> None:
    session = lab.login()
    wanted = session.retrieve(b"RETR 1")
    session.send(b"RETR 1\r\nNOOP\r\nRETR 1\r\n")
    for index in range(2):
        require(session.read_reply().ok, "RETR was refused")
        require(unstuffed(session.read_body()) == wanted, "the message differs from the one without pipelining")
        if index == 0:
            require(session.read_reply().ok, "NOOP was refused")
    session.in_step()


@check(
    "2449",
    "6.6",
    "Commands after QUIT do not run",
    PIPELINING,
    capability="PIPELINING",
    mail=1,
    delete=True,
)
def _pipelined_quit(lab: Lab) -> None:
    count = lab.counted()
    session = lab.login()
    session.send(b"QUIT\r\nDELE 1\r\nQUIT\r\n")
    require(session.read_reply().ok, "QUIT was refused")
    require(session.at_end(), "the server replied to a command after QUIT")
    session.close()
    require(lab.counted() == count, "DELE after QUIT removed a message")


@check("2449", "8", "Brackets at the beginning of a text hold a response code", CODES, capability="RESP-CODES")
def _response_codes(lab: Lab) -> None:
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
        require(
            not text.startswith(b"[") or code is not None,
            f"a text begins with [ and is not a response code: {quoted(line)}",
        )


@check("2449", "8.1.2", "IN-USE is not sent after a wrong password", IN_USE, capability="RESP-CODES")
def _in_use(lab: Lab) -> None:
    lab.login()
    session = lab.connect()
    if session.command(b"USER " + lab.target.name).ok:
        reply = session.err(b"PASS wrong-" + lab.target.secret, lab.target.secret)
        require(reply.code != b"IN-USE", "IN-USE was sent to a client with a wrong password")


@check("2449", "8.1.2", "A maildrop in use is refused with IN-USE", IN_USE, capability="RESP-CODES", strict=True)
def _in_use_code(lab: Lab) -> None:
    lab.login()
    session = lab.connect()
    reply = lab.try_login(session)
    require(reply.ok or reply.code == b"IN-USE", f"the second login is refused with {quoted(reply.line)}")


for _who, _slug in (("a wrong password", "wrong-password"), ("an unknown user", "unknown-user")):

    @check("3206", "5", f"AUTH is sent for {_who}", AUTH, slug=f"auth-{_slug}", capability="AUTH-RESP-CODE")
    def _auth(lab: Lab, slug: str = _slug) -> None:
        session = lab.connect()
        name = lab.target.name if slug == "wrong-password" else NOBODY
        reply = session.command(b"USER " + name)
        if reply.ok:
            secret = b"wrong-" + lab.target.secret
            reply = session.err(b"PASS " + secret, secret)
        require(reply.code == b"AUTH", f"the reply is {quoted(reply.line)}")


@check("3206", "5", "AUTH is not sent for an unknown command", AUTH, capability="AUTH-RESP-CODE")
def _auth_is_for_credentials(lab: Lab) -> None:
    session = lab.login()
    for line in (b"XYZZY", b"RETR 99999"):
        reply = session.err(line)
        require(reply.code != b"AUTH", f"the reply is {quoted(reply.line)}")
