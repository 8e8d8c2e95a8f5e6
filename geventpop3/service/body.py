"""Message bodies between a store and the connection: ready chunks are taken at once, the others in a thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from geventpop3.errors import StoreMistake
from geventpop3.service.threads import Offload
from geventpop3.stores.store import Chunks
from geventpop3.wire.stuffing import Counter

_END = b""


class Body(Iterator[bytes]):
    """The octets of one message, the first chunk read ahead.

    The constructor reads that chunk, so an unreadable message is refused before ``+OK``; RFC 1939 section 3 has no way
    to report it afterwards. *first* is that chunk, if it was read already. *make_error* makes the error that is raised
    for a chunk that is not bytes.
    """

    __slots__ = ("_ahead", "_chunks", "_make_error", "_next")

    def __init__(
        self,
        chunks: Iterable[bytes],
        offload: Offload,
        *,
        waits: bool,
        first: bytes | None = None,
        make_error: Callable[[str], Exception] = StoreMistake,
    ) -> None:
        self._chunks = chunks
        self._next = _reader(chunks, offload, waits)
        self._make_error = make_error
        try:
            self._ahead: bytes | None = self._checked(self._next() if first is None else first)
        except BaseException:
            self.close()
            raise

    def __iter__(self) -> Body:
        return self

    def __next__(self) -> bytes:
        # Only the first chunk is read ahead: a peer that does not read keeps it in memory for as long as it likes.
        chunk, self._ahead = self._ahead, None
        if chunk is None:
            chunk = self._checked(self._next())
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Release the message, also when it was not read to the end."""
        close_if_possible(self._chunks)

    def _checked(self, chunk: object) -> bytes:
        if isinstance(chunk, bytes):
            return chunk
        given, gives = type(self._chunks).__name__, type(chunk).__name__
        raise self._make_error(
            f"retrieve() must return an iterable of bytes, not a {given} of {gives}: return (content,) for a message in"
            " one piece"
        )


class Part(Iterator[bytes]):
    """The octets made from a message, such as the part that TOP sends; closing it releases the message."""

    __slots__ = ("_part", "_whole")

    def __init__(self, part: Iterator[bytes], whole: Content) -> None:
        self._part = part
        self._whole = whole

    def __iter__(self) -> Part:
        return self

    def __next__(self) -> bytes:
        return next(self._part)

    def close(self) -> None:
        """Release the message."""
        close(self._whole)


class Watched(Iterator[bytes]):
    """A message that calls *at_end* once it was read to its end; closing it releases the message."""

    __slots__ = ("_at_end", "_chunks", "_content")

    def __init__(self, content: Content, at_end: Callable[[], object]) -> None:
        self._content = content
        self._chunks = iter(content)
        self._at_end: Callable[[], object] | None = at_end

    def __iter__(self) -> Watched:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks, None)
        if chunk is None:
            at_end, self._at_end = self._at_end, None
            if at_end is not None:
                at_end()
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Release the message."""
        close(self._content)


class Counted(Iterator[bytes]):
    """A message that calls *counted* with its octets, line ends as CRLF, once it was read to its end."""

    __slots__ = ("_chunks", "_content", "_counted", "_counter")

    def __init__(self, content: Body, counted: Callable[[int], object]) -> None:
        self._content = content
        self._chunks = iter(content)
        self._counter = Counter()
        self._counted: Callable[[int], object] | None = counted

    def __iter__(self) -> Counted:
        return self

    def __next__(self) -> bytes:
        chunk = next(self._chunks, None)
        if chunk is None:
            counted, self._counted = self._counted, None
            if counted is not None:
                counted(self._counter.octets)
            raise StopIteration
        self._counter.feed(chunk)
        return chunk

    def close(self) -> None:
        """Release the message."""
        self._content.close()


Content = tuple[bytes] | Body | Part | Watched | Counted
"""A message to be sent: in one piece, or an iterator of its pieces."""


def close(content: Content) -> None:
    """Release a message."""
    if not isinstance(content, tuple):
        content.close()


def close_if_possible(chunks: object) -> None:
    """Close what a store returned, if it can be closed."""
    close = getattr(chunks, "close", None)
    if close is not None:
        close()


def _reader(chunks: Iterable[bytes], offload: Offload, waits: bool) -> Callable[[], bytes]:
    """Return a function that returns the next chunk that is not empty, ``b""`` at the end."""
    if isinstance(chunks, Chunks):

        def ready_or_wait() -> bytes:
            chunk = chunks.ready()
            return offload.run(next, chunks, _END) if chunk is None else chunk

        return ready_or_wait

    source = iter(chunks)

    def take() -> bytes:
        for chunk in source:
            if chunk or not isinstance(chunk, bytes):
                return chunk
        return _END

    if waits:
        return lambda: offload.run(take)
    return take
