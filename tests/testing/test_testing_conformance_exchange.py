"""What a failure shows: lines as in dialogues, no secret, and no more than can be read."""

from __future__ import annotations

import base64

import pytest

from geventpop3.testing.conformance import Target
from geventpop3.testing.conformance.exchange import SHOWN_LINES, ExchangeRecord, quoted, shown


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (b"+OK ready\r\n", ": +OK ready"),
        (b"\r\n", ":"),
        (b"+OK \r\n", '! "+OK \\r\\n"'),
        (b"a\n", '! "a\\n"'),
        (b'\0\t\\"\xe9\r\n', '! "\\0\\t\\\\\\"\\xe9\\r\\n"'),
        (b"x" * 170 + b"\r\n", f": {'x' * 160} (10 more octets)"),
    ],
)
def test_lines_are_shown_as_in_dialogues(line: bytes, text: str) -> None:
    assert shown(line) == text


def test_lines_in_a_sentence_are_in_quotes() -> None:
    assert quoted(b"+OK\r\n") == '"+OK"'
    assert quoted(b"\r\n") == '""'
    assert quoted(b"a\n") == '"a\\n"'


def test_the_password_is_in_no_form_of_it_in_the_record() -> None:
    target = Target("localhost", 110, "bob", "open sesame")
    exchange = ExchangeRecord(target.secrets)
    plain = base64.b64encode(b"\0bob\0open sesame")
    exchange.sent(b"PASS open sesame\r\n")
    exchange.sent(b"AUTH PLAIN " + plain + b"\r\n")
    exchange.sent(b"APOP bob 0123\r\n", b"0123")
    exchange.received(b"-ERR open sesame is wrong\r\n")
    exchange.received(b"-ERR " + base64.b64encode(b"open sesame") + b" is wrong\r\n")
    assert exchange.lines() == [
        "C: PASS ****",
        "C: AUTH PLAIN ****",
        "C: APOP bob ****",
        "S: -ERR **** is wrong",
        "S: -ERR **** is wrong",
    ]
    assert "sesame" not in repr(target)


def test_a_short_password_is_masked_where_it_is_sent() -> None:
    exchange = ExchangeRecord([b"o"])
    exchange.sent(b"PASS o\r\n", b"o")
    exchange.received(b"+OK hello\r\n")
    assert exchange.lines() == ["C: PASS ****", "S: +OK hello"]


def test_of_a_long_record_the_beginning_and_the_end_are_shown() -> None:
    exchange = ExchangeRecord()
    for number in range(1000):
        exchange.received(b"%d\r\n" % number)
    lines = exchange.lines()
    assert len(lines) == SHOWN_LINES + 1
    assert lines[0] == "S: 0"
    assert f"-- {1000 - SHOWN_LINES} lines omitted" in lines
    assert lines[-1] == "S: 999"
