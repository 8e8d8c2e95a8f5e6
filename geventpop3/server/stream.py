"""A stream is what a session needs of a peer: read, write, wake, close. A socket is one; a list of bytes is another.

Only the greenlet that runs the session reads, writes and closes; others may ``wake`` or ``abort`` it.
"""

from __future__ import annotations

import fcntl
import ssl
import struct
import termios
from abc import ABC, abstractmethod

from gevent import socket
from gevent.timeout import Timeout

_INT = struct.Struct("i")
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

    tls: ssl.SSLObject | None = None
    """What is known of that TLS: ``version()``, ``cipher()``, ``getpeercert()``, ..."""

    @abstractmethod
    def recv(self, size: int) -> bytes:
        """At most *size* octets; ``b""`` at the end of input or once woken. Raises OSError."""

    def send_some(self, data: bytes) -> int:  # noqa: ARG002 (for those who override it)
        """Send what the peer takes without our waiting; returns how many octets that is. Raises OSError."""
        return 0

    @abstractmethod
    def send_all(self, data: bytes | memoryview) -> None:
        """Send everything, waiting as long as the peer takes it. Raises OSError."""

    def acknowledged(self) -> int:
        """Return how many of the octets ``sent`` the peer's system has taken, as far as can be told."""
        return self.sent

    def segment(self) -> int:
        """Return the octets by which ``acknowledged`` moves at least, where the peer reads slowly."""
        return 0

    def has_ended(self) -> bool:
        """Return whether the peer has ended its input, and all of it was read; False where that cannot be told."""
        return False

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

    def bury(self) -> None:  # noqa: B027  # for those that have a descriptor
        """Close the connection where the thread that used it is gone, with its event loop."""

    def disown(self) -> None:  # noqa: B027  # for those that have a descriptor
        """Close this process's copy of the connection without a trace: a forked child's (see ``geventpop3.forks``)."""


class PlainStream(Stream):
    """A stream without TLS, which may come to carry it."""

    @abstractmethod
    def offer(self, data: bytes) -> int:
        """Send what the peer takes without our waiting; returns how many octets that is. Raises nothing."""


class SocketStream(PlainStream):
    """A stream over a gevent socket."""

    __slots__ = ("_raw", "_woken", "sent", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock: socket.socket = sock
        self.sent = 0
        self._raw = sock._sock  # what gevent's own methods call; for what is likely to succeed at once
        self._woken = False

    def recv(self, size: int) -> bytes:
        sock = self.sock
        while True:
            try:
                # Wait first: who has just been answered has sent nothing yet, and asking the kernel in vain costs a
                # call and an exception. Who has sent something is heard in the hub's next round, after the others.
                sock._wait(sock._read_event)
                if self._woken:
                    return b""
                return self._raw.recv(size)  # type: ignore[no-any-return]  # gevent is untyped
            except BlockingIOError:
                continue  # the kernel announced what it then found damaged
            except OSError:
                if self._woken:
                    # gevent ends a wait in another greenlet by raising there.
                    return b""
                raise

    def send_some(self, data: bytes) -> int:
        try:
            sent: int = self._raw.send(data)
        except BlockingIOError:
            return 0
        self.sent += sent
        return sent

    def send_all(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            sent = self.sock.send(rest)
            self.sent += sent
            rest = rest[sent:]

    def offer(self, data: bytes) -> int:
        try:
            return self.send_some(data)
        except OSError:
            return 0  # it has gone

    def acknowledged(self) -> int:
        try:
            (unsent,) = _INT.unpack(fcntl.ioctl(self._raw, termios.TIOCOUTQ, _INT.pack(0)))
        except OSError:
            return self.sent  # a socket that has ended, or a system that cannot tell
        return self.sent - int(unsent)

    def segment(self) -> int:
        # RFC 1122 section 4.2.3.3: a closed window opens by a whole segment, or not at all.
        try:
            return int(self._raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
        except OSError:
            return 0  # a unix socket

    def has_ended(self) -> bool:
        try:
            return not self._raw.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

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
        self._end()
        self.sock.close()

    def bury(self) -> None:
        self._end()
        self._raw.close()

    def disown(self) -> None:
        # The watchers first: in the child, the number may soon be another file's.
        for watcher in (self.sock._read_event, self.sock._write_event):
            if watcher is not None:
                watcher.stop()
        self._raw.close()

    def linger(self) -> None:
        self._shutdown(socket.SHUT_WR)
        left = _LINGER_OCTETS
        with Timeout(_LINGER_SECONDS, False):
            try:
                while left > 0 and (data := self.sock.recv(min(left, 16384))):
                    left -= len(data)
            except OSError:
                return  # the peer has gone: nobody is left to read our last words

    def _end(self) -> None:
        """End the connection: a close alone does not while another process has a copy of the descriptor."""
        try:
            self._raw.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the peer has ended it

    def _shutdown(self, how: int) -> None:
        try:
            self.sock.shutdown(how)
        except OSError:
            return  # not connected any more: what was to be ended has ended
