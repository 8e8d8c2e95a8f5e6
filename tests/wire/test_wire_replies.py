"""Replies: one status line, whatever the text; a response code only where one was meant."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from table import each

from geventpop3.wire.replies import STATUS_LINE_OCTETS, Reply, err, multiline, ok

TEXTS = st.text(st.characters(min_codepoint=0, max_codepoint=0x10FFFF, exclude_categories=()), max_size=40)


@each(
    ("reply", "line"),
    [
        (ok(), b"+OK\r\n"),
        (ok("2 320"), b"+OK 2 320\r\n"),
        (err("no such message"), b"-ERR no such message\r\n"),
        (err(""), b"-ERR\r\n"),
        (err("try again", "SYS/TEMP"), b"-ERR [SYS/TEMP] try again\r\n"),
        (err("", "IN-USE"), b"-ERR [IN-USE] \r\n"),
        (ok("welcome", code="X"), b"+OK [X] welcome\r\n"),
        (ok("[not a code] text"), b"+OK \\[not a code] text\r\n"),
        (ok("[really] text", code="X"), b"+OK [X] [really] text\r\n"),
        (err("a\r\nb\0c\x7fd\te"), b"-ERR a??b?c?d?e\r\n"),
        (err("x", code="A\r\n"), b"-ERR [A??] x\r\n"),
        (ok("gr\u00fc\u00dfe"), "+OK gr\u00fc\u00dfe\r\n".encode()),
        (ok("\udcff octets kept"), b"+OK \xff octets kept\r\n"),
        (ok("\ud800 is no octet"), b"+OK ? is no octet\r\n"),
    ],
)
def test_a_reply_has_one_status_line(reply: Reply, line: bytes) -> None:
    assert reply.status_line == line


@each("filler", ["x", "\u00e9", "\u20ac", "\U0001f4e7"])
def test_a_long_text_is_cut_at_a_whole_character(filler: str) -> None:
    for shift in range(4):
        line = ok("x" * shift + filler * 600).status_line
        assert STATUS_LINE_OCTETS - 4 < len(line) <= STATUS_LINE_OCTETS
        assert line.endswith(b"\r\n")
        assert line[4:-2].decode("utf-8").strip("x" + filler) == ""


def test_a_long_text_of_stray_octets_is_cut_too() -> None:
    assert len(ok("\udc80" * 600).status_line) == STATUS_LINE_OCTETS
    # 0xFF at the cut might have begun a character, so it goes.
    assert ok("x" * 504 + "\udcff" * 10).status_line == b"+OK " + b"x" * 504 + b"\xff\r\n"


def test_a_text_of_exactly_the_limit_is_not_cut() -> None:
    assert ok("x" * 506).status_line == b"+OK " + b"x" * 506 + b"\r\n"
    assert ok("x" * 507).status_line == b"+OK " + b"x" * 506 + b"\r\n"


@given(st.booleans(), TEXTS, st.none() | TEXTS, st.integers(1, 30))
def test_no_text_makes_a_second_line_or_a_long_one(positive: bool, text: str, code: str | None, times: int) -> None:
    line = Reply(positive, text * times, code).status_line
    assert line.startswith(b"+OK" if positive else b"-ERR")
    assert line.endswith(b"\r\n")
    assert len(line) <= STATUS_LINE_OCTETS
    assert not any(octet < 0x20 or octet == 0x7F for octet in line[:-2])
    if code is None:
        assert not line.startswith((b"+OK [", b"-ERR ["))


@each(
    ("line", "reply"),
    [
        ("+OK", ok()),
        ("+OK ", ok()),
        ("+OK ready\r\n", ok("ready")),
        (b"-ERR [AUTH] go away\r\n", err("go away", "AUTH")),
        ("-ERR [AUTH]go away", err("go away", "AUTH")),
        ("-ERR [no end", err("[no end")),
        (b"+OK \xff", ok("\udcff")),
        ("+OK a\nb", ok("a\nb")),
    ],
)
def test_a_line_is_parsed_to_the_reply_it_means(line: str | bytes, reply: Reply) -> None:
    assert Reply.parse(line) == reply


@each("line", ["", "ok", "+ok ready", "+OKAY", "-ERROR", " +OK", "+ ", b"\xff"])
def test_what_is_no_reply_is_not_parsed(line: str | bytes) -> None:
    with pytest.raises(ValueError, match="must begin with"):
        Reply.parse(line)


@each(
    ("line", "words"),
    [
        ("OK 2 320", "+OK or -ERR, not with 'OK'"),
        (b"+err no", "+OK or -ERR, not with '+err'"),
        ("open sesame", "+OK or -ERR, and these 11 characters do not"),  # what it is must not get into a log
    ],
)
def test_only_what_nearly_is_a_status_is_shown(line: str | bytes, words: str) -> None:
    with pytest.raises(ValueError, match="must begin") as caught:
        Reply.parse(line)
    assert str(caught.value) == f"a reply must begin with {words}: use ok(), err() or multiline()"


@given(st.booleans(), st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="[]\x7f")))
def test_a_parsed_reply_goes_out_as_it_came(positive: bool, text: str) -> None:
    reply = Reply(positive, text[:200])
    assert Reply.parse(reply.status_line) == reply


def test_a_multi_line_reply_takes_octets_or_chunks() -> None:
    assert multiline("2 messages", b"1 100\n2 200\n").body == (b"1 100\n2 200\n",)
    chunks = [b"1 100\n", b"2 200\n"]
    assert multiline("2 messages", chunks).body is chunks
    assert multiline("", chunks).positive
    octets = bytearray(b"1 100\n")
    for one_chunk in (octets, memoryview(octets)):
        assert multiline("1 message", one_chunk).body == (b"1 100\n",)
    assert type(next(iter(multiline("1 message", octets).body or ()))) is bytes


def test_a_str_is_no_body() -> None:
    with pytest.raises(TypeError, match="not str: encode it"):
        multiline("here", "1 100\n")


def test_a_changed_reply_is_a_new_one() -> None:
    reply = ok("ready")
    assert reply._replace(text="not yet", positive=False).status_line == b"-ERR not yet\r\n"
    assert reply.status_line == b"+OK ready\r\n"


@pytest.mark.parametrize("make", [ok, err, lambda text: multiline(text, b"")])
def test_the_text_of_a_reply_is_a_str(make: Any) -> None:
    class Text(str):
        __slots__ = ()

    assert make(Text("fine")).text == "fine"
    with pytest.raises(TypeError, match=r"the text of a reply must be a str, not bytes: decode it"):
        make(b"x")
    for wrong in (None, 7, err("no")):
        with pytest.raises(TypeError, match=f"the text of a reply must be a str, not {type(wrong).__name__}"):
            make(wrong)


@pytest.mark.parametrize("make", [ok, err])
def test_the_code_of_a_reply_is_a_str(make: Any) -> None:
    assert make("x", "X-MINE").code == "X-MINE"
    with pytest.raises(TypeError, match=r"the response code of a reply must be a str such as 'AUTH', not bytes"):
        make("x", b"AUTH")


@pytest.mark.parametrize("wrong", [None, 7])
def test_a_body_is_octets_or_an_iterable(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(wrong).__name__}"):
        multiline("x", wrong)
