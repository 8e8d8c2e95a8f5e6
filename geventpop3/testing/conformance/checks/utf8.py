"""RFC 6856: UTF8 and LANG."""

from __future__ import annotations

import re

from geventpop3.testing.conformance.check import check
from geventpop3.testing.conformance.exchange import quoted
from geventpop3.testing.conformance.lab import Lab
from geventpop3.testing.conformance.messages import CONTENTS
from geventpop3.testing.conformance.outcome import require, skip
from geventpop3.testing.conformance.session import unstuffed

CRLF = b"\r\n"
UTF8 = 'The "UTF8" command has no parameters.'
AUTHORIZATION = "Commands valid in states: AUTHORIZATION"
AS_IS = """When UTF-8 mode has not been enabled, character strings outside the ASCII repertoire MUST NOT be sent to the
client as is."""
SURROGATE = """the server MUST either send the client a surrogate message that complies with unextended POP and Internet
Mail Format without UTF-8 mode support, or fail the request with an -ERR response."""
INVALID = "The server MUST reject UTF-8 usernames or passwords that fail to comply with the formal syntax in UTF-8"
LISTING = """A language listing consists of the language tag [RFC5646] of the message, optionally followed by a single
space and a human-readable description of the language in the language itself"""
SELECTED = """the server returns a +OK response followed by a single space, the exact language tag selected, and another
space."""
FAILS = """If the command fails, the server returns an -ERR response and subsequent human-readable response text
continues to use the language that was previously used."""
PREFERRED = """If the client issues a "LANG" command with the special "*" language range argument, it indicates a
request to use a language designated as preferred by the server administrator."""
STATES = "Commands valid in states: AUTHORIZATION, TRANSACTION"


@check(
    "6856",
    "2.1",
    "UTF8 does not change LIST for ASCII messages",
    "UTF-8 mode has no effect on messages in an ASCII-only maildrop.",
    capability="UTF8",
    mail=1,
)
def _utf8(lab: Lab) -> None:
    session = lab.login()
    wanted = session.lines(b"LIST")
    session.close()
    session = lab.connect()
    session.command(b"UTF8")
    require(lab.try_login(session).ok, "the login after UTF8 was refused")
    require(session.lines(b"LIST") == wanted, "LIST shows other sizes in UTF-8 mode")


@check("6856", "2.1", "UTF8 with an argument is refused", UTF8, capability="UTF8", strict=True)
def _utf8_argument(lab: Lab) -> None:
    lab.connect().err(b"UTF8 x")


@check("6856", "2", "UTF8 after login is refused", AUTHORIZATION, capability="UTF8", strict=True)
def _utf8_after_login(lab: Lab) -> None:
    session = lab.login()
    session.err(b"UTF8")
    session.in_step()


@check(
    "6856",
    "2.1",
    "RETR does not send UTF-8 headers without UTF8",
    SURROGATE,
    capability="UTF8",
    fill=True,
    strict=True,
)
def _surrogate(lab: Lab) -> None:
    message = next(each.message for each in CONTENTS if each.slug == "eight-bit-header")
    lab.fill(message)
    session = lab.login()
    if session.command(b"RETR 1").ok:
        header = unstuffed(session.read_body()).partition(b"\r\n\r\n")[0]
        require(header.isascii(), "the header of the message was sent with non-ASCII octets")


@check("6856", "2.2", "A name that is not UTF-8 is refused", INVALID, capability="UTF8")
def _invalid_name(lab: Lab) -> None:
    words = (lab.facts.before or {}).get("UTF8", [])
    if "USER" not in words:
        skip("UTF8 USER is not announced")
    session = lab.connect()
    session.command(b"UTF8")
    if session.command(b"USER " + lab.target.name + b"\xff\xfe").ok:
        session.err(b"PASS " + lab.target.secret, lab.target.secret)


@check("6856", "3.2", "LANG lists languages", LISTING, capability="LANG")
def _lang_list(lab: Lab) -> None:
    session = lab.connect()
    if not session.command(b"LANG").ok:
        return  # "A request for a language listing might fail."
    for line in unstuffed(session.read_body()).split(b"\r\n")[:-1]:
        legal = re.fullmatch(rb"[A-Za-z0-9-]+( .+)?", line) is not None
        require(legal, f"a line of LANG is {quoted(line + CRLF)}")


@check("6856", "3.2", "LANG names the selected language", SELECTED, capability="LANG")
def _lang_selects(lab: Lab) -> None:
    session = lab.connect()
    if not session.command(b"LANG").ok:
        skip("the server lists no languages")
    tag = unstuffed(session.read_body()).split(b"\r\n")[0].split(b" ")[0]
    reply = session.ok(b"LANG " + tag)
    words = reply.text.split(b" ")
    require(len(words) > 1 and words[1].lower() == tag.lower(), f"the reply is {quoted(reply.line)}")


@check("6856", "3.2", "LANG with an unknown language is refused", FAILS, capability="LANG")
def _lang_unknown(lab: Lab) -> None:
    session = lab.connect()
    session.err(b"LANG xx-nowhere")
    session.ok(b"QUIT")


@check("6856", "3.2", "LANG * selects a language", PREFERRED, capability="LANG")
def _lang_star(lab: Lab) -> None:
    session = lab.connect()
    reply = session.ok(b"LANG *")
    words = reply.text.split(b" ")
    legal = len(words) > 1 and re.fullmatch(rb"[A-Za-z0-9-]+", words[1]) is not None
    require(legal, f"the reply is {quoted(reply.line)}")


@check("6856", "3.1", "LANG succeeds after login", STATES, capability="LANG")
def _lang_after_login(lab: Lab) -> None:
    session = lab.login()
    session.ok(b"LANG *")
    session.in_step()
