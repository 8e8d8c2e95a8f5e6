"""The encoder of all multi-line bodies, in chunks: CRLF line ends, byte-stuffing, the termination octet.

The output does not depend on how the input is divided into chunks. A line ends with LF or CRLF; a CR without an LF
after it is data and is kept.

RFC 1939 section 3: "If any line of the multi-line response begins with the termination octet, the line is
"byte-stuffed" by pre-pending the termination octet to that line of the response."
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from geventpop3.errors import HandedOverError

_LF: Final = 0x0A
_CR: Final = 0x0D

_BLANK_LINE: Final = re.compile(rb"\n\r?\n")

_NEAR: Final = 256
"""Octets of the largest range in which lines are searched one by one."""


def encode_chunk_in_python(chunk: bytes, at_line_start: bool, after_cr: bool) -> tuple[bytes, int]:
    """Return one chunk of a body, encoded, and its octets before byte-stuffing.

    *at_line_start* and *after_cr* say how the previous chunk ended.
    """
    if after_cr and chunk[:1] == b"\n":
        # The CR of this line end was in the previous chunk.
        rest, octets = encode_chunk_in_python(chunk[1:], True, False)
        return b"\n" + rest, octets + 1
    stuff_first = at_line_start and chunk[:1] == b"."
    # A search for one octet is very cheap, so it precedes each search for a longer sequence.
    if b"\r" not in chunk:
        chunk = chunk.replace(b"\n", b"\r\n")
    elif chunk.count(b"\r\n") != chunk.count(b"\n"):
        chunk = chunk.replace(b"\n", b"\r\n").replace(b"\r\r\n", b"\r\n")
    octets = len(chunk)
    if b"." in chunk and b"\r\n." in chunk:
        chunk = chunk.replace(b"\r\n.", b"\r\n..")
    return (b"." + chunk if stuff_first else chunk), octets


def whole(body: object) -> bytes | None:
    """Return the piece of a body that is one piece, a tuple of one bytes; None for any other body.

    Most messages and all short answers are one piece. They take faster paths.
    """
    if type(body) is tuple and len(body) == 1 and type(body[0]) is bytes:
        return body[0]
    return None


def stuff_whole_in_python(content: bytes, before: bytes = b"", /) -> bytes:
    """Return a body given in one piece, encoded, with the termination octet: ``stuff`` in one call.

    *before*, the status line, is put in front of it.
    """
    encoded, _ = encode_chunk_in_python(content, True, False)
    return before + encoded + (b".\r\n" if not content or content[-1] == _LF else b"\r\n.\r\n")


class Whole(Protocol):
    """The type of ``stuff_whole``, in Python and in C."""

    def __call__(self, content: bytes, before: bytes = b"", /) -> bytes:
        """Return a body given in one piece, encoded, after *before* and with the termination octet."""


encode_chunk: Callable[[bytes, bool, bool], tuple[bytes, int]]
stuff_whole: Whole
try:
    from geventpop3.wire._speedups import encode_chunk, stuff_whole
except ImportError:
    encode_chunk, stuff_whole = encode_chunk_in_python, stuff_whole_in_python


def not_octets(chunk: object) -> HandedOverError:
    """Return the error for a chunk of a body that is not bytes; it shows no part of the chunk."""
    hint = "encode it" if isinstance(chunk, str) else "convert it to bytes"
    return HandedOverError(f"a chunk of a body must be bytes, not {type(chunk).__name__}: {hint}")


class Encoder:
    """The encoder of one body: call ``encode`` for each chunk, then ``finish`` once.

    *octets* is the size so far, as RFC 1939 section 11 counts it: CRLF line ends, before byte-stuffing.
    """

    __slots__ = ("_after_cr", "_at_line_start", "octets")

    def __init__(self) -> None:
        self.octets = 0
        self._at_line_start = True
        self._after_cr = False

    def encode(self, chunk: bytes) -> bytes:
        """Return the next chunk encoded; it may have any size and end anywhere.

        Raises HandedOverError if it is not bytes.
        """
        if not chunk:
            return b""
        try:
            encoded, octets = encode_chunk(chunk, self._at_line_start, self._after_cr)
        except TypeError:
            raise not_octets(chunk) from None
        last = chunk[-1]
        self._after_cr = last == _CR
        self._at_line_start = last == _LF
        self.octets += octets
        return encoded

    def finish(self) -> bytes:
        """Return the end of the body: a line end if the last line has none (it counts), then the termination octet."""
        if self._at_line_start:
            return b".\r\n"
        self.octets += 2
        return b"\r\n.\r\n"


class Counter:
    """A counter of the final ``Encoder.octets`` without encoding; call ``feed`` for each chunk."""

    __slots__ = ("_after_cr", "_at_line_start", "_octets")

    def __init__(self) -> None:
        self._octets = 0
        self._at_line_start = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> None:
        """Count the next chunk."""
        if not chunk:
            return
        self._octets += len(chunk) + chunk.count(b"\n")
        if b"\r" in chunk:
            self._octets -= chunk.count(b"\r\n")
        if self._after_cr and chunk[0] == _LF:
            self._octets -= 1
        self._after_cr = chunk[-1] == _CR
        self._at_line_start = chunk[-1] == _LF

    @property
    def octets(self) -> int:
        """Size if the message ends here, with the line end that its last line may lack."""
        return self._octets if self._at_line_start else self._octets + 2


def stuff(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield a body, encoded chunk by chunk; the last chunk includes the termination octet.

    An error in reading a chunk propagates, and then the termination octet is not sent.
    """
    encoder = Encoder()
    ready = b""
    for chunk in chunks:
        encoded = encoder.encode(chunk)
        del chunk  # the peer may take long to read the next output, and each session would hold a chunk for that time
        if encoded:
            if ready:
                yield ready
            ready = encoded
    yield ready + encoder.finish()


def count_octets(chunks: Iterable[bytes]) -> int:
    """Return the size of a message as sent, before byte-stuffing (RFC 1939 section 11)."""
    counter = Counter()
    for chunk in chunks:
        counter.feed(chunk)
    return counter.octets


def top_of(chunks: Iterable[bytes], lines: int) -> Iterator[bytes]:
    """Yield the beginning of a message: header, blank line, *lines* lines of its body (RFC 1939 section 7, TOP).

    The octets are not encoded and always a prefix of the message; a message without a blank line is all header. No
    chunk is read after the one in which the prefix ends.
    """
    seen = b"\n"  # the first line may be blank
    in_header = True
    for chunk in chunks:
        body = 0
        if in_header:
            window = seen + chunk
            blank = _BLANK_LINE.search(window)
            if blank is None:
                seen = window[-2:]
                yield chunk
                continue
            in_header = False
            body = blank.end() - len(seen)
        end, lines = _skip_lines(chunk, body, lines)
        yield chunk[:end]
        if not lines:
            return


def _skip_lines(chunk: bytes, start: int, lines: int) -> tuple[int, int]:
    """Return the index at which *lines* lines from *start* end in *chunk*, and the number of lines still missing."""
    end = len(chunk)
    # By halves: counting is a hundred times faster than a search for each line, and a chunk may be all line ends.
    while lines and end - start > _NEAR:
        middle = (start + end) // 2
        found = chunk.count(b"\n", start, middle)
        if found < lines:
            start, lines = middle, lines - found
        else:
            end = middle
    while lines:
        line_end = chunk.find(b"\n", start, end)
        if line_end < 0:
            return end, lines
        start, lines = line_end + 1, lines - 1
    return start, 0
