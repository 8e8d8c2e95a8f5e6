"""The encoder: same octets for any chunking, a client gets back the message, and the counter agrees to the octet."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator

import pytest
import required
from hypothesis import given
from table import each
from wire_pieces import CUTS, MESSAGES, octet_by_octet, pieces_of

from geventpop3.wire import stuffing
from geventpop3.wire.stuffing import Counter, Encoder, count_octets, stuff, whole

IN_C = stuffing.encode_chunk is not stuffing.encode_chunk_in_python


@pytest.fixture(scope="module", params=["in Python", "in C"], autouse=True)
def implementation(request: pytest.FixtureRequest) -> Iterator[None]:
    """All that follows holds for both."""
    if request.param == "in C":
        if not IN_C:
            required.missing("the accelerator, for want of a C compiler,")
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
def test_a_body_in_one_piece_needs_no_steps(message: bytes) -> None:
    assert stuffing.stuff_whole(message) == b"".join(stuff([message]))


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


def encoded(pieces: list[bytes]) -> tuple[bytes, int]:
    encoder = Encoder()
    out = b"".join([encoder.encode(piece) for piece in pieces]) + encoder.finish()
    return out, encoder.octets


@each(
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
    text = b"".join(b"%s line %d.\n" % (b"." * (n % 4), n) for n in range(300))
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


def test_a_tuple_of_one_bytes_is_a_whole_body_and_nothing_else_is() -> None:
    piece = b"a\n"
    assert whole((piece,)) is piece
    assert whole((b"",)) == b""
    for body in (None, (), (b"a", b"b"), [b"a"], (bytearray(b"a"),), ("a",), b"a", iter((b"a",))):
        assert whole(body) is None
