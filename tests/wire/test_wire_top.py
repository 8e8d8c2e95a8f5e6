"""TOP: the header, the blank line and so many lines, however the message is cut, and no chunk read in vain."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from table import each
from wire_pieces import CUTS, MESSAGES, octet_by_octet, pieces_of

from geventpop3.wire.stuffing import top_of


def prefix(message: bytes, lines: int) -> bytes:
    """What TOP is to send, line by line."""
    out = b""
    body = False
    for line in re.findall(rb"[^\n]*\n|[^\n]+", message):
        if body:
            if not lines:
                break
            lines -= 1
        out += line
        body = body or line in (b"\n", b"\r\n")
    return out


@each("line_end", [b"\n", b"\r\n"])
@each(
    ("message", "lines", "expected"),
    [
        (b"A: 1|B: 2||one|two|three|", 0, b"A: 1|B: 2||"),
        (b"A: 1|B: 2||one|two|three|", 1, b"A: 1|B: 2||one|"),
        (b"A: 1|B: 2||one|two|three|", 2, b"A: 1|B: 2||one|two|"),
        (b"A: 1|B: 2||one|two|three|", 3, b"A: 1|B: 2||one|two|three|"),
        (b"A: 1|B: 2||one|two|three|", 9_999_999_999, b"A: 1|B: 2||one|two|three|"),
        (b"A: 1||one|two", 2, b"A: 1||one|two"),
        (b"A: 1||||two|", 2, b"A: 1||||"),
        (b"|one|two|", 1, b"|one|"),
        (b"|", 0, b"|"),
        (b"A: 1|no blank line|", 0, b"A: 1|no blank line|"),
        (b"A: 1", 5, b"A: 1"),
        (b"", 5, b""),
    ],
)
def test_top_is_the_header_the_blank_line_and_so_many_lines(
    message: bytes, lines: int, expected: bytes, line_end: bytes
) -> None:
    message, expected = message.replace(b"|", line_end), expected.replace(b"|", line_end)
    assert b"".join(top_of([message], lines)) == expected
    assert b"".join(top_of(octet_by_octet(message), lines)) == expected


@given(MESSAGES, CUTS, st.integers(0, 5))
def test_top_is_the_same_prefix_for_any_chunking(message: bytes, cuts: list[int], lines: int) -> None:
    expected = prefix(message, lines)
    assert message.startswith(expected)
    for pieces in ([message], pieces_of(message, cuts), octet_by_octet(message)):
        assert b"".join(top_of(pieces, lines)) == expected


@each("lines", [0, 1, 255, 256, 257, 99_998, 99_999, 100_000])
@each("line", [b"\n", b"\r\n", b"word\n"])
def test_top_finds_the_end_of_many_lines_in_one_chunk(line: bytes, lines: int) -> None:
    assert b"".join(top_of([b"\n" + line * 99_999 + b"rest", b"more\nno\n"], lines)) == (
        b"\n" + line * lines if lines < 100_000 else b"\n" + line * 99_999 + b"restmore\n"
    )


def test_top_looks_at_each_octet_of_a_chunk_of_line_ends_a_few_times_at_most() -> None:
    class Watched(bytes):
        """Notes the octets that are looked at, each search for itself."""

        looked_at = 0

        def count(self, part: bytes, start: int, end: int) -> int:  # type: ignore[override]  # the form that is used
            Watched.looked_at += end - start
            return super().count(part, start, end)

        def find(self, part: bytes, start: int, end: int) -> int:  # type: ignore[override]  # the form that is used
            Watched.looked_at += 100  # the call costs more than what it looks at
            return super().find(part, start, end)

    chunk = Watched(b"\n" * 262_144)
    assert b"".join(top_of([b"\n", chunk], 262_130)) == b"\n" * 262_131
    assert Watched.looked_at < 2 * len(chunk)


def test_top_reads_no_chunk_that_it_does_not_need() -> None:
    read = []

    def chunks() -> Iterator[bytes]:
        for chunk in (b"A: 1\r", b"\n\r\n", b"one\r\n", b"two\r\n"):
            read.append(chunk)
            yield chunk

    assert b"".join(top_of(chunks(), 0)) == b"A: 1\r\n\r\n"
    assert len(read) == 2
    read.clear()
    assert b"".join(top_of(chunks(), 1)) == b"A: 1\r\n\r\none\r\n"
    assert len(read) == 3
