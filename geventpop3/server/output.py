"""What a session writes: replies are collected until they are due, and leave together; slow readers have a deadline.

The session's greenlet writes, and another one between two replies; never both at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic

from gevent.lock import BoundedSemaphore

from geventpop3.server.limits import OUTPUT_OCTETS, SEGMENT_OCTETS, Limits
from geventpop3.server.stream import Stream


class Output:
    """The octets on their way to one peer."""

    __slots__ = ("_chunks", "_ended", "_lock", "_mark", "_sending", "_waiting", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        """Where they go; another one once TLS has begun."""
        self._chunks: list[bytes] = []
        self._waiting = 0
        self._lock: BoundedSemaphore | None = None
        self._mark: tuple[float, int] | None = None
        self._ended = 0.0
        self._sending = False

    @property
    def octets(self) -> int:
        """Octets that were put here so far, sent or not."""
        return self.stream.sent + self._waiting

    def put(self, data: bytes) -> None:
        """Send *data* with what comes next. Raises OSError."""
        self._chunks.append(data)
        self._waiting += len(data)
        if self._waiting >= OUTPUT_OCTETS:
            self.flush()

    def flush(self) -> bool:
        """Send what there is, waiting as long as the peer takes it; False if there was nothing. Raises OSError."""
        chunks = self._chunks
        if not chunks:
            return False
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._waiting = 0
        if self._lock is not None:
            with self._lock:
                self._send(data)
        else:
            sent = self.stream.send_some(data)
            if sent < len(data):
                self._send(memoryview(data)[sent:] if sent else data)
        return True

    def interject(self, notices: Iterable[bytes]) -> None:
        """Send each of *notices* at once, from another greenlet than the session's. Raises OSError."""
        if self._lock is None:
            self._lock = BoundedSemaphore(1)
        with self._lock:
            for notice in notices:
                self._send(notice)

    def begin_turn(self) -> None:
        """The peer is waited for: what comes afterwards has a deadline of its own."""
        if not self._sending:
            self._mark = None

    def is_stuck(self, now: float, limits: Limits) -> bool:
        """Whether the peer has taken too little for too long."""
        mark = self._mark
        if mark is None or limits.write_deadline is None or not self._sending:
            return False
        seconds = now - mark[0]
        if seconds <= limits.write_deadline:
            return False
        # Where segments are large, as on loopback, a slow reader shows its progress the later.
        if seconds <= limits.write_deadline * self.stream.segment() / SEGMENT_OCTETS:
            return False
        taken = self.stream.acknowledged()
        self._mark = (now, taken)
        return taken - mark[1] < max(1, limits.write_rate * limits.write_deadline)

    def _send(self, data: bytes | memoryview) -> None:
        """Send what the peer does not take at once."""
        now = monotonic()
        if self._mark is None:
            # Kept until the peer is waited for, so that each write does not give it a new deadline.
            self._mark = (now, self.stream.acknowledged())
        else:
            # What we did since the last write ended, a slow removal perhaps, is no time that the peer took.
            began, taken = self._mark
            self._mark = (began + now - self._ended, taken)
        self._sending = True
        try:
            self.stream.send_all(data)
        except BaseException:
            # A deadline of the application's, perhaps. The peer would take what comes next for the rest of this.
            self.stream.abort()
            raise
        finally:
            self._sending = False
            self._ended = monotonic()
