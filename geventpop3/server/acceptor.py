"""Listening sockets that survive errors: a failed accept is reported, and tried again after a pause.

``gevent.server.StreamServer`` accepts. This module adds the socket options that accepted sockets inherit, unix sockets,
and the handling of a lack of descriptors.
"""

from __future__ import annotations

import errno
import logging
import os
import posix
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from gevent import socket
from gevent.server import StreamServer

from geventpop3.errors import ResponseCode
from geventpop3.server.addresses import Address, format_address
from geventpop3.server.greenlets import spawn
from geventpop3.wire.replies import err

log = logging.getLogger("geventpop3.server")

BACKLOG = 1024
KEEPALIVE_SECONDS = 60
KEEPALIVE_PROBES = 3
"""Probes until a client is dropped. One that lost its link or its power is detected after 60 + 3 * 60 s, and its
maildrop is free."""

UNSENT_OCTETS = 128 * 1024
"""Octets that the kernel may hold unsent for one peer: a peer that never reads costs this much, not megabytes."""

PROBE_SECONDS = 1.0
"""Seconds to wait for the answer of an existing unix socket; one that takes longer is in use."""

_NOTHING = {errno.ECONNABORTED, errno.EPROTO, errno.EINTR, errno.EAGAIN, errno.EPERM}
"""Errors of a peer that had gone before it was accepted (accept(2)): no pause is needed."""

FULL = err("too many connections, try again later", ResponseCode.SYS_TEMP)

_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def listening_socket(address: Address, backlog: int = BACKLOG) -> socket.socket:
    """Return a listening gevent socket at *address*, a ``(host, port)`` pair or ``("unix", path)``.

    The socket file of a server that died is replaced; a socket that still answers, and any other file, is in use.
    Closing the socket removes the file again. Raises OSError, with the address as text in its filename.
    """
    host, port = address
    try:
        return _bind_unix(str(port), backlog) if host == "unix" else _bind_inet(host, port, backlog)
    except OSError as error:
        # A socket's error does not name its address, and the server may have several.
        error.filename = f"unix:{port}" if host == "unix" else format_address(address)
        raise


def take_over(descriptor: int) -> socket.socket:
    """Return a gevent socket for an inherited *descriptor*; closing it closes the descriptor."""
    os.set_inheritable(descriptor, False)
    return socket.socket(fileno=descriptor)


def _bind_inet(host: str, port: int | str, backlog: int) -> socket.socket:
    family, kind, protocol, _, sockaddr = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Makes it possible to serve [::]:110 and 0.0.0.0:110 side by side, by one server or by two.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(sockaddr)
        prepare(sock)
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def prepare(sock: socket.socket) -> None:
    """Set the options that accepted sockets inherit, so that they cost no system calls per connection."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", KEEPALIVE_SECONDS),
        ("TCP_KEEPINTVL", KEEPALIVE_SECONDS),
        ("TCP_KEEPCNT", KEEPALIVE_PROBES),
        ("TCP_NOTSENT_LOWAT", UNSENT_OCTETS),
    ):
        option = getattr(socket, name, None)  # not on every system
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def _bind_unix(path: str, backlog: int) -> socket.socket:
    _remove_stale(path)
    sock = BoundUnixSocket(path)
    try:
        sock.listen(backlog)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_stale(path: str) -> None:
    """Remove the socket file that a server left behind when it died.

    Only a socket that refuses a connection is removed. Any other file is reported as in use.
    """
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_SECONDS)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return


class BoundUnixSocket(socket.socket):  # type: ignore[misc]  # gevent is untyped
    """A unix socket that creates its file and removes it when it is closed.

    It does not remove a file that another server has put in its place meanwhile, nor does a forked child remove it.
    """

    def __init__(self, path: str) -> None:
        """Bind the socket to *path*. Raises OSError if something exists there already."""
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        self._made: tuple[int, str, tuple[int, int]] | None = None
        try:
            self.bind(path)
            made = os.path.abspath(path)  # valid also after a chdir
            self._made = os.getpid(), made, _identity(made)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        # First the file: another server that finds it after the socket is closed would take it for a stale one.
        self.remove_file()
        super().close()

    def remove_file(self) -> None:
        """Remove the socket's file if this process made it and it is still there."""
        made, self._made = self._made, None
        if made is None:
            return
        pid, path, identity = made
        try:
            if os.getpid() == pid and _identity(path) == identity:
                os.unlink(path)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("the socket file %s cannot be removed: %s", path, error.strerror)


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


class Acceptor(StreamServer):  # type: ignore[misc]  # gevent is untyped
    """An acceptor of connections on a listening socket; it calls *handle* with each in a greenlet of its own.

    *handle* receives the socket and the address. *failed* is called, in a greenlet of its own, with the OSError of a
    failed accept. *busy* is sent to a peer for which there is no descriptor. ``close`` closes the socket too.
    """

    min_delay = 0.05
    delay: float

    def __init__(
        self,
        sock: socket.socket,
        handle: Callable[[socket.socket, Any], None],
        failed: Callable[[OSError], None],
        *,
        busy: bytes = FULL.status_line,
    ) -> None:
        super().__init__(sock, handle, spawn=spawn)
        self.sockname = sock.getsockname()
        self._given = sock
        self._failed = failed
        self._busy = busy
        self.home: int | None = None
        """The only process that accepts, during a fork."""
        self._told: int | None = None
        self._spare: int | None = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def do_read(self) -> Any:
        if self.home is not None and self.home != os.getpid():
            return None
        try:
            accepted = super().do_read()
        except OSError as error:
            if error.errno in _NOTHING:
                return None
            if error.errno != self._told:
                # Reported once per exhaustion, not ten times a second while it lasts.
                self._told = error.errno
                spawn(self._failed, error)
            if error.errno in _EXHAUSTED:
                self._turn_away()
            self._pause()
            return None
        if accepted is not None:
            self._told = None
        return accepted

    def _pause(self) -> None:
        """Stop accepting for a moment; the kernel's queue keeps new connections meanwhile."""
        self.stop_accepting()
        self._timer = self.loop.timer(self.delay)
        self._timer.start(self._start_accepting_if_started)
        self.delay = min(self.max_delay, self.delay * 2)

    def _turn_away(self) -> None:
        """Use the spare descriptor to send *busy* to the first peer in the queue, or at least to close it."""
        if self._spare is None:
            return
        self._close_spare()
        try:
            fd, _ = self.socket._accept()
            with socket.socket(fileno=fd) as sock:
                sock.send(self._busy)
        except OSError:
            pass  # the queue was empty, or other code took the descriptor
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._spare = None

    def end(self) -> None:
        """Shut down and close a socket of this server alone, so that its address is free at once.

        A copy of the descriptor in another process would keep it listening otherwise.
        """
        with suppress(OSError):  # not listening any more
            self._given.shutdown(socket.SHUT_RDWR)
        self.close()

    def bury(self, *, ours: bool) -> None:
        """Close the socket after the event loop that watched it has ended; shut it down if it is *ours* alone."""
        raw = self._given._sock
        if isinstance(self._given, BoundUnixSocket):
            self._given.remove_file()
        if ours:
            with suppress(OSError):  # not listening any more
                raw.shutdown(socket.SHUT_RDWR)
        raw.close()
        self._close_spare()

    def disown(self) -> None:
        """Close a forked child's copies, unnoticed by others (see ``geventpop3.forks``)."""
        self.stop_accepting()
        self._given._sock.close()
        self._close_spare()

    def close(self) -> None:
        self.stop_accepting()
        self._given.close()  # once started, StreamServer knows only the socket underneath
        super().close()
        self._close_spare()

    def _close_spare(self) -> None:
        if self._spare is not None:
            posix.close(self._spare)  # os.close is gevent's in a patched process, and closes later
            self._spare = None
