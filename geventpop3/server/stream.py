"""A stream is what a session needs of a peer: read, write, wake, close. A socket is one; a list of bytes is another.

Only the greenlet that runs the session reads, writes and closes; others may ``wake`` or ``abort`` it.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator

from gevent import socket, ssl
from gevent.timeout import Timeout

_LINGER_RESET = struct.pack("ii", 1, 0)
_LINGER_OCTETS = 65536
_LINGER_SECONDS = 1.0


class Stream(ABC):
    """The octets of one peer."""

    sent: int
    """Octets that were taken over for delivery so far."""

    sock: socket.socket | None = None
    """The socket underneath, if there is one."""

    secure = False
    """Whether TLS protects the octets."""

    @abstractmethod
    def recv(self, size: int) -> bytes:
        """At most *size* octets; ``b""`` at the end of input or once woken. Raises OSError."""

    @abstractmethod
    def send_all(self, data: bytes) -> None:
        """Send everything, waiting as long as the peer takes it. Raises OSError."""

    @abstractmethod
    def wake(self) -> None:
        """End a wait in ``recv``, now or the next one, as if the peer had ended its input."""

    @abstractmethod
    def abort(self) -> None:
        """Drop the peer: what waits in ``recv`` or ``send_all`` fails, what is not yet delivered is discarded."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the peer, after a last word where the stream has one."""

    @abstractmethod
    def linger(self) -> None:
        """End the output and read away what the peer still sends, so that it can read our last words.

        Closing with unread input makes the kernel send a reset, which may overtake the reply. Bounded in octets and
        seconds.
        """


class SocketStream(Stream):
    """A stream over a gevent socket."""

    __slots__ = ("_woken", "sent", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock: socket.socket = sock
        self.sent = 0
        self._woken = False

    def recv(self, size: int) -> bytes:
        try:
            return self.sock.recv(size)  # type: ignore[no-any-return]  # gevent is untyped
        except OSError:
            if self._woken:
                # gevent ends a wait in another greenlet by raising there.
                return b""
            raise

    def send_all(self, data: bytes) -> None:
        sent = self.sock.send(data)
        self.sent += sent
        if sent < len(data):
            rest = memoryview(data)[sent:]
            while rest:
                sent = self.sock.send(rest)
                self.sent += sent
                rest = rest[sent:]

    def wake(self) -> None:
        self._woken = True
        self._shutdown(socket.SHUT_RD)

    def abort(self) -> None:
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        except OSError:
            return  # closed already
        self._shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.sock.close()

    def linger(self) -> None:
        self._shutdown(socket.SHUT_WR)
        left = _LINGER_OCTETS
        with Timeout(_LINGER_SECONDS, False):
            try:
                while left > 0 and (data := self.sock.recv(min(left, 16384))):
                    left -= len(data)
            except OSError:
                return  # the peer has gone: nobody is left to read our last words

    def _shutdown(self, how: int) -> None:
        try:
            self.sock.shutdown(how)
        except OSError:
            return  # not connected any more: what was to be ended has ended


class TlsStream(SocketStream):
    """A stream over a TLS socket; its errors become what a plain socket's are."""

    __slots__ = ()

    secure = True

    def __init__(self, sock: ssl.SSLSocket, sent: int = 0) -> None:
        super().__init__(sock)
        self.sent = sent

    def recv(self, size: int) -> bytes:
        try:
            return super().recv(size)
        except ValueError as error:  # what ssl says of a socket that is closed meanwhile
            raise ConnectionResetError(str(error)) from error

    def send_all(self, data: bytes) -> None:
        try:
            super().send_all(data)
        except ValueError as error:
            raise ConnectionResetError(str(error)) from error

    def close(self) -> None:
        self._say_goodbye()
        super().close()

    def _say_goodbye(self) -> None:
        """RFC 8446 section 6.1: "Each party MUST send a "close_notify" alert before closing its write side"."""
        timeout = self.sock.gettimeout()
        self.sock.settimeout(0.0)
        try:
            self.sock.unwrap()
        except (OSError, ValueError):
            return  # sent, and the peer has not answered yet; or the peer has gone
        finally:
            self.sock.settimeout(timeout)

    def linger(self) -> None:
        self._say_goodbye()
        super().linger()

    def _shutdown(self, how: int) -> None:
        # An SSLSocket forgets its session at shutdown and would go on in clear text.
        try:
            socket.socket.shutdown(self.sock, how)
        except OSError:
            return


class MemoryStream(Stream):
    """A stream over a list of bytes: a session without a socket, for tests and tools.

    What the session sends is collected in ``output``. Each of *chunks* is one ``recv``; a lazily made one may look at
    ``output`` first, as a real client does.
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

    def send_all(self, data: bytes) -> None:
        if self.aborted:
            raise BrokenPipeError("the stream was aborted")
        self.output += data
        self.sent += len(data)

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
