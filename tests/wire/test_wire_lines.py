"""The line buffer: same lines however the input is cut, bounded in memory, every octet searched once."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from table import each
from wire_pieces import pieces_of

from geventpop3.wire.lines import DRAIN_OCTETS, LINE_OCTETS, TOO_LONG, LineBuffer, TooLong

Line = bytes | TooLong

OCTETS = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b"a", b"bc", b"\0", b"\xff", b"xxxxxxxx"])).map(b"".join)


def read(buffer: LineBuffer, limit: int | None = None) -> list[tuple[Line, int]]:
    lines = []
    while (line := buffer.next_line(limit)) is not None:
        lines.append((line, buffer.octets))
    return lines


def fed(buffer: LineBuffer, *pieces: bytes) -> list[tuple[Line, int]]:
    lines = []
    for piece in pieces:
        buffer.feed(piece)
        lines += read(buffer)
    return lines


def model(data: bytes, limit: int, drain: int) -> tuple[list[tuple[Line, int]], bool]:
    """What must come out, from the whole input at once."""
    *whole, rest = data.split(b"\n")
    lines: list[tuple[Line, int]] = []
    for line in whole:
        octets = len(line) + 1
        if octets > limit:
            if octets > drain:
                return lines, True
            lines.append((TOO_LONG, octets))
        else:
            lines.append((line.removesuffix(b"\r"), octets))
    return lines, len(rest) > max(limit, drain)


@each(
    ("data", "lines"),
    [
        (b"NOOP\r\n", [b"NOOP"]),
        (b"NOOP\n", [b"NOOP"]),
        (b"\r\n\n", [b"", b""]),
        (b"a\rb\r\n", [b"a\rb"]),
        (b"a\r\r\n", [b"a\r"]),
        (b"\n\r", [b""]),
        (b"\n\r\n", [b"", b""]),
        (b"STAT\r\nQUIT\r\nunfinished", [b"STAT", b"QUIT"]),
        (b"a\0b\xff\r\n", [b"a\0b\xff"]),
        (b"", []),
    ],
)
def test_lines_end_with_crlf_or_lf_and_every_other_cr_is_data(data: bytes, lines: list[bytes]) -> None:
    assert [line for line, _ in fed(LineBuffer(), data)] == lines
    assert [line for line, _ in fed(LineBuffer(), *(bytes([octet]) for octet in data))] == lines


@each("line_end", [b"\n", b"\r\n"])
def test_a_line_of_exactly_the_limit_with_its_line_end_is_a_line(line_end: bytes) -> None:
    line = b"x" * (LINE_OCTETS - len(line_end))
    assert fed(LineBuffer(), line + line_end) == [(line, LINE_OCTETS)]
    assert fed(LineBuffer(), b"x" + line + line_end) == [(TOO_LONG, LINE_OCTETS + 1)]
    assert fed(LineBuffer(), b"x", line, line_end) == [(TOO_LONG, LINE_OCTETS + 1)]


@each("octets", [LINE_OCTETS + 1, 2000, 4096, DRAIN_OCTETS])
def test_an_over_long_line_is_told_of_once_and_the_next_line_is_whole(octets: int) -> None:
    data = b"USER " + b"x" * (octets - 7) + b"\r\nNOOP\r\n"
    for size in (1000, 4096, len(data)):
        buffer = LineBuffer()
        lines = fed(buffer, *(data[at : at + size] for at in range(0, len(data), size)))
        assert lines == [(TOO_LONG, octets), (b"NOOP", 6)]
        assert not buffer.hopeless


@each("size", [1000, 4096, DRAIN_OCTETS * 2])
@each("end", [b"", b"\r\nNOOP\r\n"])
def test_a_line_past_the_drain_limit_is_hopeless_wherever_it_ends(size: int, end: bytes) -> None:
    data = b"STAT\r\n" + b"x" * (DRAIN_OCTETS + 1) + end
    buffer = LineBuffer()
    assert fed(buffer, *(data[at : at + size] for at in range(0, len(data), size))) == [(b"STAT", 6)]
    assert buffer.hopeless
    assert buffer.octets == DRAIN_OCTETS + 1
    assert buffer.pending == 0


def test_each_line_is_judged_by_the_limit_of_its_call() -> None:
    buffer = LineBuffer()
    response = b"x" * 12286
    buffer.feed(b"AUTH PLAIN\r\n" + response + b"\r\nNOOP\r\n")
    assert buffer.next_line() == b"AUTH PLAIN"
    assert buffer.next_line(12288) == response
    assert buffer.next_line() == b"NOOP"
    assert buffer.next_line() is None


def test_what_was_dropped_stays_dropped_when_the_limit_rises() -> None:
    buffer = LineBuffer(limit=4)
    buffer.feed(b"12345")
    assert buffer.next_line() is None
    buffer.feed(b"6\r\n")
    assert buffer.next_line(100) is TOO_LONG
    assert buffer.octets == 8


def test_what_is_held_begins_with_a_word_in_any_case() -> None:
    buffer = LineBuffer()
    for data, begins in [(b"", False), (b"au", False), (b"TH ", True), (b"x", True)]:
        buffer.feed(data)
        assert buffer.begins(b"AUTH ") is begins


def test_clear_forgets_lines_and_the_beginning_of_an_over_long_one() -> None:
    buffer = LineBuffer(limit=4, drain=8)
    buffer.feed(b"ab\r\nUSER")
    assert buffer.pending == 8
    buffer.clear()
    assert buffer.pending == 0
    assert fed(buffer, b"cd\r\n") == [(b"cd", 4)]
    assert fed(buffer, b"too long") == []
    buffer.clear()
    assert fed(buffer, b"ef\r\n") == [(b"ef", 4)]
    assert fed(buffer, b"hopelessly") == []
    assert buffer.hopeless
    buffer.clear()
    assert fed(buffer, b"gh\r\n") == [(b"gh", 4)]
    assert not buffer.hopeless


class Counted(bytes):
    """A chunk that counts its octets that are searched."""

    searched = 0

    def find(self, sub, start=0, end=None):
        found = super().find(sub, start, end)
        Counted.searched += (found + 1 if found >= 0 else len(self)) - start
        return found


@each("line_end_every", [6, 1000, 100_000])
def test_drip_fed_octets_are_searched_once_each(line_end_every: int) -> None:
    data = (b"x" * (line_end_every - 1) + b"\n") * (3_000 // line_end_every + 1)
    data = data[:3_000]
    buffer = LineBuffer(limit=16384)
    Counted.searched = 0
    lines = 0
    for at in range(len(data)):
        buffer.feed(Counted(data[at : at + 1]))
        lines += buffer.next_line() is not None
    assert lines == data.count(b"\n")
    assert Counted.searched == len(data)


def test_thirty_two_mebibytes_without_a_line_end_are_neither_kept_nor_searched() -> None:
    buffer = LineBuffer()
    Counted.searched = 0
    chunk = Counted(b"x" * 4096)
    most = 0
    for _ in range(8192):
        buffer.feed(chunk)
        most = max(most, buffer.pending)
        assert buffer.next_line() is None
        assert buffer.pending <= LINE_OCTETS
    assert most <= LINE_OCTETS + len(chunk)
    assert 0 < Counted.searched <= DRAIN_OCTETS + len(chunk)
    assert buffer.hopeless


@given(OCTETS, st.lists(st.integers(0, 10_000), max_size=8), st.integers(1, 20), st.integers(1, 40))
@example(b"xxxx\n", [], 4, 4)
@example(b"xxxxx", [], 4, 5)
def test_lines_are_the_same_however_the_input_is_cut(data: bytes, cuts: list[int], limit: int, drain: int) -> None:
    expected, hopeless = model(data, limit, drain)
    for pieces in ([data], pieces_of(data, cuts), [data[at : at + 1] for at in range(len(data))]):
        buffer = LineBuffer(limit, drain)
        assert fed(buffer, *pieces) == expected
        assert buffer.hopeless is hopeless
