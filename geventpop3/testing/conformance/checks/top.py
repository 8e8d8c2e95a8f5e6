"""RFC 1939 section 7: TOP."""

from __future__ import annotations

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.checks.content import compare, difference, session_with
from geventpop3.testing.conformance.lab import Lab, counted
from geventpop3.testing.conformance.messages import CONTENTS, sample_mail, sent
from geventpop3.testing.conformance.outcome import require
from geventpop3.testing.conformance.session import ProbeSession

TOP = """the POP3 server sends the headers of the message, the blank line separating the headers from the body, and then
the number of lines of the indicated message's body"""
ALL = """if the number of lines requested by the POP3 client is greater than than the number of lines in the body, then
the POP3 server sends the entire message."""
STUFF = "being careful to byte-stuff the termination character (as with all multi-line responses)."
NUMBER = "a non-negative number of lines (required)"
INVALID = """A server MUST respond to an unrecognized, unimplemented, or syntactically invalid command by responding
with a negative status indicator."""

BODY = b"".join(b"line %d\n" % number for number in range(1, 11))
MESSAGE = sample_mail("top", BODY)


def parts(session: ProbeSession) -> tuple[bytes, list[bytes]]:
    """Return the header of message 1 with its empty line, and the lines of its body, as RETR sends them."""
    header, _, body = session.retrieve(b"RETR 1").partition(b"\r\n\r\n")
    return header + b"\r\n\r\n", body.splitlines(keepends=True)


for _lines in (0, 1, 3):

    @check(
        "1939",
        "7",
        f"TOP sends the header, the empty line and {_lines} line{'s' * (_lines != 1)} of the body",
        TOP,
        slug=f"top-{_lines}",
        capability="TOP",
        mail=1,
    )
    def _top(lab: Lab, lines: int = _lines) -> None:
        session = lab.login()
        header, body = parts(session)
        wanted = header + b"".join(body[:lines])
        got = session.retrieve(b"TOP 1 %d" % lines)
        require(got == wanted, f"TOP 1 {lines}: {difference(got, wanted)}")


@check("1939", "7", "TOP counts only lines of the body", TOP, capability="TOP", fill=True)
def _top_counts_the_body(lab: Lab) -> None:
    session = session_with(lab, MESSAGE)
    got = session.retrieve(b"TOP 1 2")
    body = got.partition(b"\r\n\r\n")[2]
    require(body == b"line 1\r\nline 2\r\n", f"TOP 1 2 sent {body.count(b'line')} lines of the body")


@check("1939", "7", "TOP with a large number of lines sends the whole message", ALL, capability="TOP", mail=1)
def _top_all(lab: Lab) -> None:
    session = lab.login()
    whole = session.retrieve(b"RETR 1")
    got = session.retrieve(b"TOP 1 99999")
    require(got == whole, f"TOP 1 99999: {difference(got, whole)}")


@check("1939", "7", "TOP byte-stuffs the body", STUFF, capability="TOP", fill=True)
def _top_stuffs(lab: Lab) -> None:
    message = next(each.message for each in CONTENTS if each.slug == "lone-dot")
    session = session_with(lab, message)
    compare(lab, session.retrieve(b"TOP 1 100"), message)
    session.in_step()


@check("1939", "7", "TOP byte-stuffs a dot as the first octet of the message", STUFF, capability="TOP", fill=True)
def _top_stuffs_the_first_octet(lab: Lab) -> None:
    message = next(each.message for each in CONTENTS if each.slug == "dot-first")
    session = session_with(lab, message)
    compare(lab, session.retrieve(b"TOP 1 100"), message)
    session.in_step()


@check("1939", "7", "TOP 1 0 of a message with an empty body sends its header", TOP, capability="TOP", fill=True)
def _top_of_an_empty_body(lab: Lab) -> None:
    message = next(each.message for each in CONTENTS if each.slug == "empty-body")
    session = session_with(lab, message)
    got = session.retrieve(b"TOP 1 0").rstrip(b"\r\n")
    compare(lab, got + b"\r\n\r\n", message)


@check("1939", "7", "TOP sends long lines of the body completely", TOP, capability="TOP", fill=True)
def _top_of_long_lines(lab: Lab) -> None:
    message = sample_mail("top-long", (b"x" * 998 + b"\n") * 4)
    session = session_with(lab, message)
    wanted = sent(message).partition(b"\r\n\r\n")[2][:2000]
    got = session.retrieve(b"TOP 1 2").partition(b"\r\n\r\n")[2]
    require(got == wanted, f"the body has {len(got)} octets instead of {len(wanted)}")


for _slug, _line, _what in (
    ("missing", b"TOP 1", "a missing number of lines"),
    ("negative", b"TOP 1 -1", "a negative number of lines"),
    ("word", b"TOP 1 x", "a number of lines that is not a number"),
):

    @check(
        "1939",
        "7",
        f"TOP with {_what} is refused",
        NUMBER,
        slug=f"top-lines-{_slug}",
        capability="TOP",
        mail=1,
    )
    def _refused(lab: Lab, line: bytes = _line) -> None:
        session = lab.login()
        session.err(line)
        session.in_step()


@check("1939", "7", "TOP marks nothing", TOP, capability="TOP", mail=1)
def _top_marks_nothing(lab: Lab) -> None:
    session = lab.login()
    count = counted(session)
    session.retrieve(b"TOP 1 0")
    require(counted(session) == count, "STAT counts other messages after TOP")
