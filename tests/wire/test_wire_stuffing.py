"""The encoder: same octets for any chunking, a client gets back the message, and the counter agrees to the octet."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventpop3.wire import stuffing
from geventpop3.wire.stuffing import Counter, Encoder, count_octets, stuff, top

IN_C = stuffing.encode_chunk is not stuffing.encode_chunk_in_python

MESSAGES = st.lists(st.sampled_from([b"\n", b"\r", b"\r\n", b".", b"..", b"a", b"\0\xff", b"\n.", b"\r\n.\r\n"])).map(
    b"".join
)
CUTS = st.lists(st.integers(0, 10_000), max_size=8)


@pytest.fixture(scope="module", params=["in Python", "in C"], autouse=True)
def implementation(request: pytest.FixtureRequest) -> Iterator[None]:
    """All that follows holds for both."""
    if request.param == "in C":
        if not IN_C:
            pytest.skip("the accelerator was not built: there is no C compiler")
        yield
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stuffing, "encode_chunk", stuffing.encode_chunk_in_python)
        patch.setattr(stuffing, "stuff_whole", stuffing.stuff_whole_in_python)
        yield


def test_without_the_accelerator_python_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "geventpop3.wire._speedups", None)
    spec = importlib.util.find_spec("geventpop3.wire.stuffing")
    assert spec is not None
    assert spec.loader is not None
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again.encode_chunk is again.encode_chunk_in_python


@given(MESSAGES)
@settings(max_examples=50, deadline=None)
def test_a_body_in_one_piece_needs_no_steps(message: bytes) -> None:
    assert stuffing.stuff_whole(message) == b"".join(stuff([message]))


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def octet_by_octet(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def normalise(message: bytes) -> bytes:
    """CRLF line ends and a final line end, written as slowly as can be."""
    message = re.sub(rb"(?<!\r)\n", b"\r\n", message)
    return message if not message or message.endswith(b"\n") else message + b"\r\n"


def decode(body: bytes) -> bytes:
    """What a client makes of a multi-line body (RFC 1939 section 3)."""
    lines = body.split(b"\r\n")
    assert lines[-2:] == [b".", b""]
    assert b"." not in lines[:-2], "the client would stop reading here"
    return b"".join((line[1:] if line.startswith(b".") else line) + b"\r\n" for line in lines[:-2])


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


def encoded(pieces: list[bytes]) -> tuple[bytes, int]:
    encoder = Encoder()
    out = b"".join([encoder.encode(piece) for piece in pieces]) + encoder.finish()
    return out, encoder.octets


@pytest.mark.parametrize(
    ("message", "body", "octets"),
    [
        (b"", b".\r\n", 0),
        (b"a", b"a\r\n.\r\n", 3),
        (b"a\n", b"a\r\n.\r\n", 3),
        (b"a\r\n", b"a\r\n.\r\n", 3),
        (b".", b"..\r\n.\r\n", 3),
        (b".\n", b"..\r\n.\r\n", 3),
        (b"..\r\n", b"...\r\n.\r\n", 4),
        (b"a\n.\nb", b"a\r\n..\r\nb\r\n.\r\n", 9),
        (b"a\r\n.\r\nb", b"a\r\n..\r\nb\r\n.\r\n", 9),
        (b".\n.\n.", b"..\r\n..\r\n..\r\n.\r\n", 9),
        (b"a.b\nc.", b"a.b\r\nc.\r\n.\r\n", 9),
        (b"\n", b"\r\n.\r\n", 2),
        (b"\n\n", b"\r\n\r\n.\r\n", 4),
        (b"\n.", b"\r\n..\r\n.\r\n", 5),
        (b"abc\r", b"abc\r\r\n.\r\n", 6),
        (b"\r", b"\r\r\n.\r\n", 3),
        (b"\r.\r", b"\r.\r\r\n.\r\n", 5),
        (b"a\r\r\n.", b"a\r\r\n..\r\n.\r\n", 7),
        (b"a\r\r\nb\n", b"a\r\r\nb\r\n.\r\n", 7),
        (b"a\n\rb", b"a\r\n\rb\r\n.\r\n", 7),
        (b"a\nb\r\nc\n", b"a\r\nb\r\nc\r\n.\r\n", 9),
        (b"\0\xff\n", b"\0\xff\r\n.\r\n", 4),
    ],
)
def test_line_ends_become_crlf_and_leading_dots_are_stuffed(message: bytes, body: bytes, octets: int) -> None:
    assert encoded([message]) == (body, octets)
    assert encoded(octet_by_octet(message)) == (body, octets)
    assert b"".join(stuff([message])) == body
    assert count_octets([message]) == octets


@settings(max_examples=40, deadline=None)
@given(MESSAGES, CUTS)
def test_any_chunking_gives_the_same_octets_and_the_client_gets_the_message(message: bytes, cuts: list[int]) -> None:
    whole, octets = encoded([message])
    assert decode(whole) == normalise(message)
    assert octets == len(normalise(message))
    for pieces in (pieces_of(message, cuts), octet_by_octet(message)):
        assert encoded(pieces) == (whole, octets)
        assert b"".join(stuff(pieces)) == whole
        assert count_octets(pieces) == octets


def test_a_large_message_in_every_line_end_survives_awkward_chunks() -> None:
    text = b"".join(b"%s line %d.\n" % (b"." * (n % 4), n) for n in range(1000))
    crlf = text.replace(b"\n", b"\r\n")
    for message in (text, crlf, text + crlf, crlf + text):
        for size in (7, 1021, 1 << 20):
            body, octets = encoded([message[at : at + size] for at in range(0, len(message), size)])
            assert decode(body) == normalise(message)
            assert octets == len(normalise(message))


def test_the_encoder_counts_while_it_encodes() -> None:
    encoder = Encoder()
    encoder.encode(b"a\n.")
    assert encoder.octets == 4
    encoder.encode(b"")
    assert encoder.octets == 4
    encoder.finish()
    assert encoder.octets == 6


def test_the_counter_may_be_asked_at_any_time() -> None:
    counter = Counter()
    assert counter.octets == 0
    counter.feed(b"a\r")
    assert counter.octets == 4
    counter.feed(b"\n")
    assert counter.octets == 3
    counter.feed(b"")
    assert counter.octets == 3


def test_a_chunk_that_needs_nothing_is_not_copied() -> None:
    chunk = b"already fine.\r\n" * 10
    assert Encoder().encode(chunk) is chunk


def test_the_termination_octet_leaves_with_the_last_chunk() -> None:
    assert list(stuff([])) == [b".\r\n"]
    assert list(stuff([b"", b""])) == [b".\r\n"]
    assert list(stuff([b"a\n", b"", b"b\n", b""])) == [b"a\r\n", b"b\r\n.\r\n"]


def test_a_body_that_cannot_be_read_to_its_end_gets_no_termination_octet() -> None:
    def torn() -> Iterator[bytes]:
        yield b"a\n"
        yield b"b\n"
        raise OSError("disk gone")

    body = stuff(torn())
    assert next(body) == b"a\r\n"
    with pytest.raises(OSError, match="disk gone"):
        next(body)


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize(
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
    assert b"".join(top([message], lines)) == expected
    assert b"".join(top(octet_by_octet(message), lines)) == expected


@settings(max_examples=40, deadline=None)
@given(MESSAGES, CUTS, st.integers(0, 5))
def test_top_is_the_same_prefix_for_any_chunking(message: bytes, cuts: list[int], lines: int) -> None:
    expected = prefix(message, lines)
    assert message.startswith(expected)
    for pieces in ([message], pieces_of(message, cuts), octet_by_octet(message)):
        assert b"".join(top(pieces, lines)) == expected


@pytest.mark.parametrize("lines", [0, 1, 255, 256, 257, 99_998, 99_999, 100_000])
@pytest.mark.parametrize("line", [b"\n", b"\r\n", b"word\n"])
def test_top_finds_the_end_of_many_lines_in_one_chunk(line: bytes, lines: int) -> None:
    assert b"".join(top([b"\n" + line * 99_999 + b"rest", b"more\nno\n"], lines)) == (
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
    assert b"".join(top([b"\n", chunk], 262_130)) == b"\n" * 262_131
    assert Watched.looked_at < 2 * len(chunk)


def test_top_reads_no_chunk_that_it_does_not_need() -> None:
    read = []

    def chunks() -> Iterator[bytes]:
        for chunk in (b"A: 1\r", b"\n\r\n", b"one\r\n", b"two\r\n"):
            read.append(chunk)
            yield chunk

    assert b"".join(top(chunks(), 0)) == b"A: 1\r\n\r\n"
    assert len(read) == 2
    read.clear()
    assert b"".join(top(chunks(), 1)) == b"A: 1\r\n\r\none\r\n"
    assert len(read) == 3
