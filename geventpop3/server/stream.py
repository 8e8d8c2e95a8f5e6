"""Streams: the operations that a session needs of a peer, over a socket or anything else, such as a list of bytes.

Only the session's greenlet reads, writes and closes; other greenlets may ``wake`` or ``abort`` the stream.
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
    """A connection to one peer."""

    sent: int
    """Octets accepted for delivery so far."""

    sock: socket.socket | None = None
    """The socket underneath, if there is one."""

    secure = False
    """True if TLS protects the octets."""

    tls: ssl.SSLObject | None = None
    """The TLS connection, for ``version()``, ``cipher()``, ``getpeercert()``, ..., if TLS is active."""

    @abstractmethod
    def recv(self, size: int) -> bytes:
        """Return at most *size* octets; ``b""`` at the end of input or once woken. Raises OSError."""

    def send_some(self, data: bytes) -> int:  # noqa: ARG002 (for subclasses that override it)
        """Send as much as is possible without waiting, and return the number of octets sent. Raises OSError."""
        return 0

    @abstractmethod
    def send_all(self, data: bytes | memoryview) -> None:
        """Send all of *data*, and wait for the peer as long as necessary. Raises OSError."""

    def acknowledged(self) -> int:
        """Return how many of the octets ``sent`` the peer's system has acknowledged, as far as is known."""
        return self.sent

    def segment(self) -> int:
        """Return the smallest step of ``acknowledged``, in octets, where the peer reads slowly; 0 if unknown."""
        return 0

    def has_ended(self) -> bool:
        """Return whether the peer has ended its input and all of it was read; False if this is unknown."""
        return False

    @abstractmethod
    def wake(self) -> None:
        """End the current or next wait in ``recv``, as if the peer had ended its input."""

    @abstractmethod
    def abort(self) -> None:
        """Drop the peer: a waiting ``recv`` or ``send_all`` fails, and undelivered output is discarded."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection, after a closing message where the stream has one (TLS)."""

    @abstractmethod
    def linger(self) -> None:
        """End the output and discard the peer's remaining input, so that the peer can read the last reply.

        Closing with unread input makes the kernel send a reset, which may overtake the reply. The wait is limited in
        octets and seconds.
        """

    def close_without_loop(self) -> None:  # noqa: B027  # for those that have a descriptor
        """Close the connection after the thread that used it, and its event loop, have ended."""

    def disown(self) -> None:  # noqa: B027  # for those that have a descriptor
        """Close a forked child's copy of the connection, unnoticed by the peer (see ``geventpop3.forks``)."""


class PlainStream(Stream):
    """A stream without TLS, over which TLS may begin."""

    @abstractmethod
    def offer(self, data: bytes) -> int:
        """Send as much as is possible without waiting, and return the number of octets sent. Raises nothing."""


class SocketStream(PlainStream):
    """A stream over a gevent socket."""

    __slots__ = ("_raw", "_woken", "sent", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock: socket.socket = sock
        self.sent = 0
        self._raw = sock._sock  # the socket under gevent's, for calls that are likely to succeed at once
        self._woken = False

    def recv(self, size: int) -> bytes:
        sock = self.sock
        while True:
            try:
                # Wait first: a peer that was just answered has usually sent nothing yet, and a read in vain costs a
                # system call and an exception. Input that is there is read in the hub's next round, after the others.
                sock._wait(sock._read_event)
                if self._woken:
                    return b""
                return self._raw.recv(size)  # type: ignore[no-any-return]  # gevent is untyped
            except BlockingIOError:
                continue  # the kernel announced data that it then found damaged
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
            return 0  # the peer has gone

    def acknowledged(self) -> int:
        try:
            (unsent,) = _INT.unpack(fcntl.ioctl(self._raw, termios.TIOCOUTQ, _INT.pack(0)))
        except OSError:
            return self.sent  # the socket has ended, or the system does not support this
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

    def close_without_loop(self) -> None:
        self._end()
        self._raw.close()

    def disown(self) -> None:
        # The watchers first: in the child, the descriptor's number may soon belong to another file.
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
                return  # the peer has gone, and reads no more

    def _end(self) -> None:
        """Shut the connection down: closing alone does not end it while another process has a copy of the socket."""
        try:
            self._raw.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the peer has ended it

    def _shutdown(self, how: int) -> None:
        try:
            self.sock.shutdown(how)
        except OSError:
            return  # not connected any more
