"""RFC 1939 section 5: STAT, LIST, DELE, RSET and NOOP."""

from __future__ import annotations

import re

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.exchange import quoted
from geventpop3.testing.conformance.lab import Lab, counted
from geventpop3.testing.conformance.messages import PLAIN, sent
from geventpop3.testing.conformance.outcome import require, skip
from geventpop3.testing.conformance.session import ProbeSession

DROP = """The positive response consists of "+OK" followed by a single space, the number of messages in the maildrop, a
single space, and the size of the maildrop in octets."""
PLAIN_DROP = """This memo STRONGLY discourages implementations from supplying additional information in the drop
listing."""
SCAN = """A scan listing consists of the message-number of the message, followed by a single space and the exact size of
the message in octets."""
PLAIN_SCAN = """This memo STRONGLY discourages implementations from supplying additional information in the scan
listing."""
EMPTY = """If there are no messages in the maildrop, then the POP3 server responds with no scan listings--it issues a
positive response followed by a line containing a termination octet and a CRLF pair."""
NUMBERED = """The first message in the maildrop is assigned a message-number of "1", the second is assigned "2", and so
on, so that the nth message in a maildrop is assigned a message-number of "n"."""
MARKED = """Any future reference to the message-number associated with the message in a POP3 command generates an
error."""
NOT_COUNTED = "Note that messages marked as deleted are not counted in either total."
NOT_LISTED = "Note that messages marked as deleted are not listed."
UNMARKED = "If any messages have been marked as deleted by the POP3 server, they are unmarked."
CRLF = b"\r\n"
NOOP = "The POP3 server does nothing, it merely replies with a positive response."


def scan(session: ProbeSession) -> dict[int, int]:
    """Return what LIST shows: octets by message-number. Raises Failed if a line is no scan listing."""
    found: dict[int, int] = {}
    for line in session.lines(b"LIST"):
        match = re.match(rb"([0-9]+) ([0-9]+)(?: |$)", line)
        require(match is not None, f"a line of LIST is {quoted(line + CRLF)}")
        assert match is not None
        found[int(match[1])] = int(match[2])
    return found


def drop(session: ProbeSession) -> tuple[int, int]:
    """Return the two numbers of STAT. Raises Failed if it is no drop listing."""
    reply = session.ok(b"STAT")
    match = re.match(rb"\+OK ([0-9]+) ([0-9]+)(?: |\r\n)", reply.line)
    require(match is not None, f"the reply to STAT is {quoted(reply.line)}")
    assert match is not None
    return int(match[1]), int(match[2])


@check("1939", "5", "STAT shows +OK, the number of messages and their size", DROP)
def _stat_format(lab: Lab) -> None:
    drop(lab.login())


@check("1939", "5", "STAT shows nothing after the size", PLAIN_DROP, strict=True)
def _stat_plain(lab: Lab) -> None:
    reply = lab.login().ok(b"STAT")
    require(re.fullmatch(rb"\+OK [0-9]+ [0-9]+\r\n", reply.line) is not None, f"the reply is {quoted(reply.line)}")


@check("1939", "5", "STAT counts the messages that LIST shows", DROP, mail=1)
def _stat_counts(lab: Lab) -> None:
    session = lab.login()
    count, listed = drop(session)[0], len(scan(session))
    require(count == listed, f"STAT counts {count} messages, but LIST shows {listed}")


@check("1939", "5", "STAT shows the sum of the sizes that LIST shows", DROP, mail=1)
def _stat_adds(lab: Lab) -> None:
    session = lab.login()
    octets, listed = drop(session)[1], sum(scan(session).values())
    require(octets == listed, f"STAT shows {octets} octets, but the sum of LIST is {listed}")


@check("1939", "5", "LIST shows message-number and size on each line", SCAN, mail=1)
def _list_format(lab: Lab) -> None:
    scan(lab.login())


@check("1939", "5", "LIST shows nothing after the size", PLAIN_SCAN, mail=1, strict=True)
def _list_plain(lab: Lab) -> None:
    for line in lab.login().lines(b"LIST"):
        require(re.fullmatch(rb"[0-9]+ [0-9]+", line) is not None, f"a line of LIST is {quoted(line + CRLF)}")


@check("1939", "5", "LIST numbers the messages from 1", NUMBERED, mail=1)
def _list_numbers(lab: Lab) -> None:
    found = list(scan(lab.login()))
    require(found == list(range(1, len(found) + 1)), f"LIST shows the message-numbers {found[:20]}")


@check("1939", "5", "LIST with a message-number shows the same line as LIST", SCAN, mail=1)
def _list_one(lab: Lab) -> None:
    session = lab.login()
    for number, octets in list(scan(session).items())[:5]:
        reply = session.ok(b"LIST %d" % number)
        wanted = b"+OK %d %d" % (number, octets)
        kept = reply.text == wanted or reply.text.startswith(wanted + b" ")
        require(kept, f"LIST shows {octets} octets for message {number}, but LIST {number} is {quoted(reply.line)}")


@check("1939", "5", "STAT of an empty maildrop is 0 0", DROP, fill=True)
def _stat_empty(lab: Lab) -> None:
    lab.fill()
    found = drop(lab.login())
    require(found == (0, 0), f"STAT of an empty maildrop shows {found[0]} messages and {found[1]} octets")


@check("1939", "5", "LIST of an empty maildrop is positive and empty", EMPTY, fill=True)
def _list_empty(lab: Lab) -> None:
    lab.fill()
    require(not lab.login().lines(b"LIST"), "LIST of an empty maildrop is not empty")


@check("1939", "5", "RETR 1 of an empty maildrop is refused", "-ERR no such message", fill=True)
def _retr_empty(lab: Lab) -> None:
    lab.fill()
    session = lab.login()
    session.err(b"RETR 1")
    session.err(b"LIST 1")
    session.in_step()


@check("1939", "5", "LIST shows the sizes of ordinary messages", SCAN, fill=True)
def _list_sizes(lab: Lab) -> None:
    lab.fill(*PLAIN)
    if lab.delivery is None or not lab.delivery.exact:
        skip("a delivery command may add header fields, so the size is unknown")
    found = sorted(scan(lab.login()).values())
    wanted = sorted(len(sent(message)) for message in PLAIN)
    require(found == wanted, f"LIST shows the sizes {found}, but with CRLF line ends they are {wanted}")


@check("1939", "5", "DELE marks a message", "The POP3 server marks the message as deleted.", mail=1, delete=True)
def _dele(lab: Lab) -> None:
    lab.login().ok(b"DELE 1")


for _command, _needed in (("RETR 1", ""), ("DELE 1", ""), ("LIST 1", ""), ("TOP 1 0", "TOP"), ("UIDL 1", "UIDL")):
    _name = _command.split()[0]

    @check(
        "1939",
        "7" if _needed else "5",
        f"{_name} refuses a marked message",
        MARKED,
        slug=f"{_name.lower()}-marked",
        capability=_needed,
        mail=1,
        delete=True,
    )
    def _marked(lab: Lab, command: bytes = _command.encode()) -> None:
        session = lab.login()
        session.ok(b"DELE 1")
        session.err(command)
        session.in_step()


@check("1939", "5", "STAT leaves out marked messages", NOT_COUNTED, mail=2, delete=True)
def _stat_leaves_out(lab: Lab) -> None:
    session = lab.login()
    listed = scan(session)
    session.ok(b"DELE 1")
    wanted = len(listed) - 1, sum(listed.values()) - listed[1]
    found = drop(session)
    require(found == wanted, f"STAT shows {found} after DELE 1 instead of {wanted}")


@check("1939", "5", "LIST leaves out marked messages", NOT_LISTED, mail=2, delete=True)
def _list_leaves_out(lab: Lab) -> None:
    session = lab.login()
    session.ok(b"DELE 1")
    require(1 not in scan(session), "LIST shows message 1 after DELE 1")


@check("1939", "5", "The other messages keep their numbers after DELE", NUMBERED, mail=3, delete=True)
def _numbers_stay(lab: Lab) -> None:
    session = lab.login()
    before = scan(session)
    session.ok(b"DELE 2")
    after = scan(session)
    del before[2]
    require(after == before, f"LIST shows {after} after DELE 2 instead of {before}")


@check("1939", "5", "LIST is positive and empty if all messages are marked", NOT_LISTED, mail=1, delete=True)
def _all_marked(lab: Lab) -> None:
    session = lab.login()
    for number in range(1, counted(session) + 1):
        session.ok(b"DELE %d" % number)
    require(not session.lines(b"LIST"), "LIST is not empty")
    require(drop(session) == (0, 0), "STAT does not show 0 0")


@check("1939", "5", "RSET unmarks the messages", UNMARKED, mail=2, delete=True)
def _rset(lab: Lab) -> None:
    session = lab.login()
    before = scan(session)
    session.ok(b"DELE 1")
    session.ok(b"DELE 2")
    session.ok(b"RSET")
    require(scan(session) == before, "LIST after RSET differs from LIST before DELE")
    session.ok(b"LIST 1")


@check("1939", "5", "RETR succeeds after RSET", UNMARKED, mail=1, delete=True)
def _retr_after_rset(lab: Lab) -> None:
    session = lab.login()
    session.ok(b"DELE 1")
    session.ok(b"RSET")
    session.retrieve(b"RETR 1")


@check("1939", "5", "RSET without marks is positive", "The POP3 server then replies with a positive response.")
def _rset_without_marks(lab: Lab) -> None:
    lab.login().ok(b"RSET")


@check("1939", "5", "NOOP is positive", NOOP)
def _noop(lab: Lab) -> None:
    lab.login().ok(b"NOOP")


@check("1939", "5", "NOOP unmarks nothing", NOOP, mail=1, delete=True)
def _noop_does_nothing(lab: Lab) -> None:
    session = lab.login()
    session.ok(b"DELE 1")
    session.ok(b"NOOP")
    session.err(b"RETR 1")


@check("1939", "5", "A new session has no marks", "with no messages marked as deleted.", mail=1, delete=True)
def _no_marks_at_login(lab: Lab) -> None:
    session = lab.login()
    count = counted(session)
    session.ok(b"DELE 1")
    session.close()
    again = lab.login()
    require(counted(again) == count, "a message that was marked in a session without QUIT is missing")
    again.ok(b"LIST 1")
