"""A stream without a socket: the client's octets are given in advance, the server's octets are recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from geventpop3.server.stream import PlainStream


class MemoryStream(PlainStream):
    """A stream over a list of bytes: a session without a socket, for tests and tools.

    The octets that the session sends are collected in ``output``. Each of *chunks* is one ``recv``; a generator may
    read ``output`` before it yields the next, as a real client does.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks: Iterator[bytes] = iter(chunks)
        self._held = b""
        self._ended = False
        self.output = bytearray()
        self.sent = 0
        self.aborted = False

    def recv(self, size: int) -> bytes:
        while not self._held and not self._ended:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._ended = True
            else:
                self._held = chunk
        data, self._held = self._held[:size], self._held[size:]
        return data

    def send_all(self, data: bytes | memoryview) -> None:
        if self.aborted:
            raise BrokenPipeError("the stream was aborted")
        self.output += data
        self.sent += len(data)

    def offer(self, data: bytes) -> int:
        if self.aborted:
            return 0
        self.send_all(data)
        return len(data)

    def wake(self) -> None:
        self._ended = True
        self._held = b""

    def abort(self) -> None:
        self.aborted = True
        self.wake()

    def close(self) -> None:
        self.wake()

    def linger(self) -> None:
        self.wake()
