"""The output of a session: replies are collected and written together; a peer that reads too slowly has a deadline.

The session's greenlet writes; another greenlet may write between two replies. They never write at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import monotonic

from gevent.lock import BoundedSemaphore

from geventpop3.protocol.commands import CommandSpec
from geventpop3.protocol.connection import Rejected
from geventpop3.server.limits import OUTPUT_OCTETS, SEGMENT_OCTETS, Limits
from geventpop3.server.stream import Stream
from geventpop3.wire.replies import Reply


class Output:
    """The octets to be sent to one peer."""

    __slots__ = ("_chunks", "_collected", "_ended", "_lock", "_mark", "_sending", "stream")

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        """The stream they are written to; a TLS handshake replaces it."""
        self._chunks: list[bytes] = []
        self._collected = 0
        """Octets in these chunks."""
        self._lock: BoundedSemaphore | None = None
        """The lock of those that write, made when another greenlet first does."""
        self._mark: tuple[float, int] | None = None
        """The time since which the peer has to make progress, and the octets that it had taken then."""
        self._ended = 0.0
        """The time when the last write ended."""
        self._sending = False

    @property
    def octets(self) -> int:
        """Octets put here so far, sent or not."""
        return self.stream.sent + self._collected

    def put(self, data: bytes) -> None:
        """Collect *data* to be sent later, and send it if ``OUTPUT_OCTETS`` are collected. Raises OSError."""
        self._chunks.append(data)
        self._collected += len(data)
        if self._collected >= OUTPUT_OCTETS:
            self.flush()

    def flush(self) -> bool:
        """Send the collected octets and wait until all are sent; return False if there were none. Raises OSError."""
        chunks = self._chunks
        if not chunks:
            return False
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        chunks.clear()
        self._collected = 0
        if self._lock is not None:
            with self._lock:
                self._send(data)
        else:
            sent = self.stream.send_some(data)
            if sent < len(data):
                self._send(memoryview(data)[sent:] if sent else data)
        return True

    def interject(self, notices: Iterable[bytes]) -> None:
        """Send each of *notices* at once, from a greenlet other than the session's. Raises OSError."""
        if self._lock is None:
            self._lock = BoundedSemaphore(1)
        with self._lock:
            for notice in notices:
                self._send(notice)

    def begin_turn(self) -> None:
        """Note that the session waits for the peer: later writes have a new deadline."""
        if not self._sending:
            self._mark = None

    def is_stuck(self, now: float, limits: Limits) -> bool:
        """Return whether the peer has taken too little for too long."""
        mark = self._mark
        if mark is None or limits.write_deadline is None or not self._sending:
            return False
        seconds = now - mark[0]
        if seconds <= limits.write_deadline:
            return False
        # Where segments are large, as on loopback, the progress of a slow reader shows later.
        if seconds <= limits.write_deadline * self.stream.segment() / SEGMENT_OCTETS:
            return False
        taken = self.stream.acknowledged()
        self._mark = (now, taken)
        return taken - mark[1] < max(1, limits.write_rate * limits.write_deadline)

    def _send(self, data: bytes | memoryview) -> None:
        """Send *data* under the write deadline."""
        now = monotonic()
        if self._mark is None:
            # Kept until the session waits for the peer, so that a further write does not start a new deadline.
            self._mark = (now, self.stream.acknowledged())
        else:
            # The server's own work since the last write, perhaps a slow removal, does not count against the peer.
            began, taken = self._mark
            self._mark = (began + now - self._ended, taken)
        self._sending = True
        try:
            self.stream.send_all(data)
        except BaseException:
            # Perhaps a timeout of the application. The peer would take the next octets for the rest of *data*.
            self.stream.abort()
            raise
        finally:
            self._sending = False
            self._ended = monotonic()


class Trace:
    """An observer of a session's dialogue that does nothing; ``LoggingTrace`` logs it.

    It is here and not in ``geventpop3.server.trace`` because each reply passes it on its way to the output, and the
    code that logs is not entered unless the trace is on.
    """

    __slots__ = ()

    def renamed(self, who: str) -> Trace:  # noqa: ARG002 (for subclasses that override it)
        """Return the trace of the same session under another name."""
        return self

    def command(self, spec: CommandSpec, args: Sequence[str]) -> None:
        """Log a command."""

    def rejected(self, rejected: Rejected) -> None:
        """Log a line that was not a command, or was not allowed; only its size if it may be a password."""

    def reply(self, reply: Reply, event: str = "") -> None:
        """Log a status line: the reply to the command of *event*, a greeting, a farewell or a notice."""

    def chunk(self, octets: bytes, start: int = 0) -> None:
        """Collect a part of a body, from the index *start* on; ``end_body`` logs it."""

    def end_body(self) -> None:
        """Log a body, or its size if it is not shown in full."""

    def challenge(self, data: bytes) -> None:
        """Log only the size of a challenge, because passwords can be guessed against SCRAM's last one (RFC 5802)."""

    def response(self, octets: int) -> None:
        """Log only the size of a client's response, because it may be the password itself."""


NO_TRACE = Trace()
