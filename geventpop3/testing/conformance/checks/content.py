"""RFC 1939 sections 3, 5 and 11: RETR sends the message, its size is right, lines are byte-stuffed."""

from __future__ import annotations

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.exchange import quoted
from geventpop3.testing.conformance.lab import Lab
from geventpop3.testing.conformance.messages import CONTENTS, common, sent
from geventpop3.testing.conformance.outcome import fail, require, skip
from geventpop3.testing.conformance.session import ProbeSession

MESSAGE = """the POP3 server sends the message corresponding to the given message-number, being careful to byte-stuff
the termination character (as with all multi-line responses)."""
STUFFED = """If any line of the multi-line response begins with the termination octet, the line is "byte-stuffed" by
pre-pending the termination octet to that line of the response."""
SIZE = "a single space and the exact size of the message in octets."
COUNTED = "the POP3 server simply counts each occurrence of this character in a message as two octets."
NOT_TWICE = """lines in the message which start with the termination octet need not (and must not) be counted twice"""
ENDED = "any additional lines are sent, each terminated by a CRLF pair."
DELETES = "The POP3 server does not actually delete the message until the POP3 session enters the UPDATE state."


def session_with(lab: Lab, message: bytes) -> ProbeSession:
    """Return a session with *message* alone in the maildrop, in UTF-8 mode where that is offered."""
    lab.fill(message)
    if not lab.offers("UTF8"):
        return lab.login()
    session = lab.connect()
    session.command(b"UTF8")
    if lab.try_login(session).ok:
        return session
    session.close()
    return lab.login()


def compare(lab: Lab, got: bytes, message: bytes) -> None:
    """Raise Failed unless *got* is *message*, as far as the delivery leaves it as it is."""
    wanted = sent(message)
    if got == wanted:
        return
    if lab.delivery is None or lab.delivery.exact:
        fail(difference(got, wanted))
    if wanted.startswith(b".") and not got.lstrip(b".").startswith(wanted[1:9]):
        skip("the delivery command added a header field before the message")
    if not _is_delivered(got, wanted):
        if any(each.fragile and each.message == message for each in CONTENTS) and not wanted.startswith(b"."):
            skip("the delivery may have changed the message on the way")
        fail(difference(got, wanted))


def difference(got: bytes, wanted: bytes) -> str:
    """Return where two messages differ, in one line."""
    got_lines, wanted_lines = got.split(b"\n"), wanted.split(b"\n")
    for number, (one, other) in enumerate(zip(got_lines, wanted_lines, strict=False), 1):
        if one != other:
            return f"line {number} is {_part(one)} instead of {_part(other)}"
    return f"the server sent {len(got)} octets instead of {len(wanted)} with CRLF line ends"


def _is_delivered(got: bytes, wanted: bytes) -> bool:
    """Return whether *got* is *wanted* with what a delivery and an mbox may change.

    These are more header fields, ``>`` before From, and empty lines at the end.
    """
    header, _, body = common(got).partition(b"\r\n\r\n")
    wanted_header, _, wanted_body = wanted.partition(b"\r\n\r\n")
    lines = iter(header.split(b"\r\n"))
    if not all(line in lines for line in wanted_header.rstrip(b"\r\n").split(b"\r\n")):
        return False
    return _unquoted(body) == _unquoted(wanted_body)


def _unquoted(body: bytes) -> list[bytes]:
    lines = body.rstrip(b"\r\n").split(b"\r\n")
    return [line.lstrip(b">") if line.lstrip(b">").startswith(b"From ") else line for line in lines]


for _content in CONTENTS:

    @check(
        "1939",
        "5",
        f"RETR sends a message with {_content.title}" if _content.slug != "plain" else "RETR sends an ordinary message",
        STUFFED if "dot" in _content.slug else MESSAGE,
        slug=f"retr-{_content.slug}",
        fill=True,
        strict=_content.strict,
    )
    def _retr(lab: Lab, message: bytes = _content.message) -> None:
        session = session_with(lab, message)
        compare(lab, session.retrieve(b"RETR 1"), message)
        session.in_step()


_SIZES = (
    "plain",
    "leading-dots",
    "no-final-line-end",
    "trailing-blank-lines",
    "eight-bit",
    "very-long-line",
    "bare-cr",
)

for _content in CONTENTS:
    if _content.slug not in _SIZES:
        continue

    @check(
        "1939",
        "11",
        f"LIST shows the size of a message with {_content.title}"
        if _content.slug != "plain"
        else "LIST shows the size of an ordinary message",
        NOT_TWICE if "dot" in _content.slug else COUNTED,
        slug=f"size-{_content.slug}",
        fill=True,
        strict=_content.strict or _content.slug in ("no-final-line-end", "dot-last"),
    )
    def _size(lab: Lab, message: bytes = _content.message) -> None:
        session = session_with(lab, message)
        size_is_right(session, 1)


def size_is_right(session: ProbeSession, number: int) -> None:
    """Raise Failed unless LIST tells how many octets RETR sends."""
    listed = int(session.ok(b"LIST %d" % number).text.split()[2])
    got = len(session.retrieve(b"RETR %d" % number))
    require(listed == got, f"LIST {number} shows {listed} octets, but RETR sends {got}")


@check("1939", "5", "LIST shows the size that RETR sends", SIZE, mail=1)
def _sizes(lab: Lab) -> None:
    session = lab.login()
    for number in range(1, min(len(session.lines(b"LIST")), 10) + 1):
        size_is_right(session, number)


@check("1939", "3", "All lines of a message end with CRLF", ENDED, mail=1)
def _crlf(lab: Lab) -> None:
    body = lab.login().retrieve_stuffed(b"RETR 1")
    require(body.count(b"\n") == body.count(b"\r\n"), "a line of the message ends with LF without CR")


@check("1939", "3", "A line that begins with a dot is byte-stuffed", STUFFED, fill=True)
def _stuffed(lab: Lab) -> None:
    message = next(each.message for each in CONTENTS if each.slug == "leading-dots")
    body = session_with(lab, message).retrieve_stuffed(b"RETR 1")
    require(
        b"\r\n..one\r\n...two\r\n....three\r\n.. four\r\n" in body, "the lines are not byte-stuffed by one dot each"
    )


@check("1939", "5", "RETR sends the same octets twice in a session", MESSAGE, mail=1)
def _retr_twice(lab: Lab) -> None:
    session = lab.login()
    require(session.retrieve(b"RETR 1") == session.retrieve(b"RETR 1"), "the second RETR sends other octets")


@check("1939", "5", "RETR deletes nothing", DELETES, mail=1)
def _retr_deletes_nothing(lab: Lab) -> None:
    session = lab.login()
    before = session.lines(b"LIST")
    session.retrieve(b"RETR 1")
    require(session.lines(b"LIST") == before, "LIST is different after RETR")


@check("1939", "5", "RETR sends the same octets in the next session", MESSAGE, mail=1)
def _retr_in_a_second_session(lab: Lab) -> None:
    session = lab.login()
    first = session.retrieve(b"RETR 1")
    session.close()
    require(lab.login().retrieve(b"RETR 1") == first, "RETR 1 sends other octets in the second session")


@check("1939", "5", "RETR retrieves every message", MESSAGE, fill=True)
def _retr_all(lab: Lab) -> None:
    messages = [
        content.message for content in CONTENTS if content.slug in ("plain", "leading-dots", "mime", "empty-body")
    ]
    lab.fill(*messages)
    session = lab.login()
    got = [session.retrieve(b"RETR %d" % number) for number in range(1, len(messages) + 1)]
    for message in messages:
        for one in got:
            if sent(message) == one or (lab.delivery and not lab.delivery.exact and _is_delivered(one, sent(message))):
                break
        else:
            fail(f"no RETR sends the message that begins with {quoted(message[:60])}")


@check("1939", "5", "RETR sends a message of 2 MB completely", MESSAGE, fill=True)
def _retr_large(lab: Lab) -> None:
    message = CONTENTS[0].message + b"".join(b".%07d %s\n" % (n, b"." * 60) for n in range(30_000))
    compare(lab, session_with(lab, message).retrieve(b"RETR 1"), message)


def _part(line: bytes) -> str:
    return quoted(line[:70] + b"\n")
