"""The short way: what is plain is cut and made at once, all else is left to the long way; in C and in Python alike."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from typing import Any

import pytest
import required
from hypothesis import given
from hypothesis import strategies as st
from table import each

from geventpop3.wire import fast_path
from geventpop3.wire.lines import LineBuffer
from geventpop3.wire.replies import STATUS_LINE_OCTETS, Reply

IN_C = fast_path.plain_command is not fast_path.plain_command_in_python

LINES = st.lists(
    st.sampled_from([b"NOOP", b"RETR", b"x", b"1", b" ", b"\t", b"\r", b"\n", b"\r\n", b"\0", b"\xff", b"V" * 39])
).map(b"".join)


@pytest.fixture(scope="module", params=["in Python", "in C"])
def ways(request: pytest.FixtureRequest) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Both functions; all that asks for them holds for both implementations."""
    if request.param == "in Python":
        return fast_path.plain_command_in_python, fast_path.plain_status_line_in_python
    if not IN_C:
        required.missing("the accelerator, for want of a C compiler,")
    return fast_path.plain_command, fast_path.plain_status_line


def test_without_the_accelerator_python_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "geventpop3.wire._speedups", None)
    spec = importlib.util.find_spec("geventpop3.wire.fast_path")
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again.plain_command is again.plain_command_in_python
    assert again.plain_status_line is again.plain_status_line_in_python


@each(
    ("octets", "expected"),
    [
        (b"NOOP\r\n", ("NOOP", [], b"NOOP", 6)),
        (b"NOOP\n", ("NOOP", [], b"NOOP", 5)),
        (b"RETR 12\r\nQUIT\r\n", ("RETR", ["12"], b"RETR 12", 9)),
        (b"V" * 40 + b" x\r\n", ("V" * 40, ["x"], b"V" * 40 + b" x", 44)),
        (b"V" * 41 + b"\r\n", None),
        (b"noop\r\n", None),
        (b"NOOP \r\n", None),
        (b"NOOP  1\r\n", None),
        (b"TOP 1 2\r\n", None),
        (b"RETR -1\r\n", None),
        (b"NOOP\r", None),
        (b"NOOP\r\r\n", None),
        (b"NOOP", None),
        (b"RETR 1\0\r\n", None),
        (b"\r\n", None),
        (b"", None),
    ],
)
def test_a_line_is_plain_or_it_is_none(
    ways: tuple[Callable[..., Any], Callable[..., Any]], octets: bytes, expected: tuple[Any, ...] | None
) -> None:
    assert ways[0](octets, 0, 100) == expected


def test_a_line_begins_where_it_is_said_to_and_keeps_to_its_limit(
    ways: tuple[Callable[..., Any], Callable[..., Any]],
) -> None:
    command, _ = ways
    octets = b"STAT\r\nRETR 1\r\n"
    assert command(octets, 6, 8) == ("RETR", ["1"], b"RETR 1", 14)
    assert command(octets, 6, 7) is None
    assert command(octets, 14, 7) is None


@given(LINES)
def test_what_is_plain_is_what_the_long_way_makes_of_it(octets: bytes) -> None:
    for command in (fast_path.plain_command, fast_path.plain_command_in_python):
        found = command(octets, 0, 1024)
        if found is not None:
            verb, args, line, end = found
            lines = LineBuffer()
            lines.feed(octets)
            assert lines.next_line() == line == " ".join([verb, *args]).encode()
            assert lines.octets == end


@each(
    ("text", "expected"),
    [
        ("2 320", b"+OK 2 320\r\n"),
        ("", None),
        ("[AUTH] no", None),
        ("a\rb", None),
        ("\x7f", None),
        ("é", None),
        ("x" * 506, b"+OK " + b"x" * 506 + b"\r\n"),
        ("x" * 507, None),
    ],
)
def test_a_text_is_plain_or_it_is_none(
    ways: tuple[Callable[..., Any], Callable[..., Any]], text: str, expected: bytes | None
) -> None:
    assert ways[1](True, text, STATUS_LINE_OCTETS) == expected


EDGES = [0, 1, -1, -(2**31), -(2**63), -(2**63) + 1]


@each("limit", EDGES)
def test_nothing_fits_into_a_limit_that_is_no_size(
    ways: tuple[Callable[..., Any], Callable[..., Any]], limit: int
) -> None:
    command, status_line = ways
    assert [status_line(positive, "text", limit) for positive in (True, False)] == [None, None]
    assert command(b"NOOP\r\n", 0, limit) is None


def test_the_largest_limit_is_a_limit(ways: tuple[Callable[..., Any], Callable[..., Any]]) -> None:
    command, status_line = ways
    assert status_line(True, "text", 2**63 - 1) == b"+OK text\r\n"
    assert command(b"NOOP\r\n", 0, 2**63 - 1) == ("NOOP", [], b"NOOP", 6)
    assert command(b"NOOP\r\n", 2**63 - 1, 2**63 - 1) is None


@given(st.booleans(), st.text(max_size=20))
def test_a_plain_status_line_is_the_one_of_the_reply(positive: bool, text: str) -> None:
    for status_line in (fast_path.plain_status_line, fast_path.plain_status_line_in_python):
        assert status_line(positive, text, STATUS_LINE_OCTETS) in (None, Reply(positive, text).status_line)
