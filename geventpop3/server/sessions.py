"""The sessions of a server: an accepted connection becomes one or is turned away, and all end with the server."""

from __future__ import annotations

import errno
import os
from time import monotonic
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event as GreenEvent

from geventpop3.errors import ResponseCode
from geventpop3.hosts import plain_host
from geventpop3.server.addresses import format_address
from geventpop3.server.admission import Clients
from geventpop3.server.environment import Environment
from geventpop3.server.limits import TICK
from geventpop3.server.session import ClientSession
from geventpop3.server.stream import PlainStream
from geventpop3.server.trace import LoggingTrace
from geventpop3.wire.replies import Reply, err

_CLOSING = err("the server is shutting down, try again later", ResponseCode.SYS_TEMP)

LINGERING = 16
"""Maximum number of refused peers that get a second to read the reply; further ones are closed at once."""

KILL_SECONDS = 1.0
"""Seconds in which a session that was dropped, or killed, may end."""

UPDATE_SECONDS = 60.0
"""Seconds in which QUIT may remove messages when the server shuts down."""

_clients_of_parent: list[Clients] = []
"""The clients of the process that forked this one: freeing their greenlets would run them."""


def seconds_to_end(grace: float) -> float:
    """Return the maximum of seconds that ``Sessions.end`` takes."""
    return grace + 2 * KILL_SECONDS + UPDATE_SECONDS


class Sessions:
    """The sessions of one server. New connections are refused once *stopping* is set."""

    def __init__(self, environment: Environment, clients: Clients, stopping: GreenEvent) -> None:
        self.clients = clients
        self.home = os.getpid()
        """The process that serves: only there is an accepted connection a session."""
        self._environment = environment
        self._stopping = stopping
        self._turned_away: dict[PlainStream, gevent.Greenlet] = {}
        self._disowned = False

    def open(self) -> None:
        """Prepare for sessions in this process."""
        self.home = os.getpid()
        self.clients.open()

    def handle(self, sock: socket.socket, address: Any) -> None:
        """Serve an accepted connection in its greenlet; the acceptor closes the socket afterwards."""
        self._serve(sock, address, implicit_tls=False)

    def handle_tls(self, sock: socket.socket, address: Any) -> None:
        """Serve a connection as ``handle`` does, with TLS before the greeting."""
        self._serve(sock, address, implicit_tls=True)

    def _serve(self, sock: socket.socket, address: Any, *, implicit_tls: bool) -> None:
        if os.getpid() != self.home:
            return  # accepted by the process that forked this one; only this copy of the socket is closed
        peer, local = addresses_of(sock, address)
        environment = self._environment
        stream = environment.open_stream(sock, implicit_tls)
        clients = self.clients
        # The address of a client behind a proxy is not known yet.
        host = None if environment.trusts_proxy(peer[0]) else peer[0]
        refusal = _CLOSING if self._stopping.is_set() else clients.refusal(host)
        if refusal is not None:
            if not implicit_tls:  # a client that begins with TLS cannot read a reply in clear text
                self.turn_away(stream, peer[0], refusal)
            return
        client = ClientSession(environment, stream, peer, local, implicit_tls=implicit_tls)
        clients.enter(client, host)
        try:
            client.run()
        finally:
            if not self._disowned:  # in a forked child, it is not in the list
                clients.leave(client)

    def turn_away(self, stream: PlainStream, host: str, refusal: Reply) -> None:
        """Send *refusal* to a peer that becomes no session, and close its connection."""
        if self._environment.settings.trace:
            LoggingTrace(f"address={host}").reply(refusal)
        lingers = len(self._turned_away) < LINGERING
        self._turned_away[stream] = gevent.getcurrent()
        try:
            stream.send_all(refusal.status_line)
            if lingers:
                stream.linger()
        except OSError:
            return  # the peer has gone already
        finally:
            self._turned_away.pop(stream, None)
            stream.close()

    def greenlets(self) -> list[gevent.Greenlet]:
        """Return the greenlets of all sessions and of the peers that are being turned away."""
        return [*self._running(), *self._turned_away.values()]

    def includes(self, greenlet: object) -> bool:
        """Return whether *greenlet* runs a session."""
        return any(client.greenlet is greenlet for client in self.clients)

    def _running(self) -> list[gevent.Greenlet]:
        return [client.greenlet for client in self.clients if client.greenlet is not None]

    def watch_deadlines(self) -> None:
        """End the sessions whose deadlines have passed, for ever."""
        limits = self._environment.settings.limits
        deadlines = [d for d in (limits.autologout, limits.login_deadline, limits.write_deadline) if d is not None]
        tick = min([TICK, *(d / 4 for d in deadlines)])
        while True:
            gevent.sleep(tick)
            now = monotonic()
            for client in self.clients:
                client.check_deadlines(now)

    def wait(self, seconds: float) -> bool:
        """Wait until all sessions have ended, at most *seconds*; return whether they have."""
        end = monotonic() + seconds
        while any(self.clients) and monotonic() < end:
            self._join(end - monotonic())
        return not any(self.clients)

    def end(self, grace: float) -> None:
        """Let running replies finish within *grace* seconds, send a farewell and close; never interrupt an UPDATE."""
        for client in self.clients:
            client.finish(_CLOSING, "shutdown")
        self._join(grace)
        for client in self.clients:
            if not client.updating:
                client.abort("shutdown")
        self._join(KILL_SECONDS)
        late = [client for client in self.clients if not client.updating]
        gevent.killall([c.greenlet for c in late if c.greenlet is not None], timeout=KILL_SECONDS)
        self._join(UPDATE_SECONDS)

    def _join(self, seconds: float) -> None:
        gevent.joinall(self._running(), timeout=seconds)

    def close_without_loop(self) -> None:
        """Close all connections, after the thread that ran the sessions has ended."""
        for client in self.clients:
            client.close_without_loop("shutdown")
            self.clients.leave(client)
        for stream in self._turned_away:
            stream.close_without_loop()
        self._turned_away = {}

    def disown(self) -> None:
        """Close a forked child's copies of the connections, and have no sessions there."""
        self._disowned = True
        for client in self.clients:
            client.disown()
        for stream in self._turned_away:
            stream.disown()
        _clients_of_parent.append(self.clients)
        self.clients = Clients(self._environment.settings.limits)
        self._turned_away = {}


def addresses_of(sock: socket.socket, address: Any) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return the peer and local address as ``(text, port)``; for a unix socket both are ``("unix:path", 0)``."""
    if sock.family == socket.AF_UNIX:
        path = format_address(sock.getsockname())
        return (path, 0), (path, 0)
    try:
        local = sock.getsockname()[:2]
    except OSError as error:  # the peer has reset the connection meanwhile
        if error.errno not in (errno.ENOTCONN, errno.EINVAL, errno.ECONNRESET):
            raise
        local = ("", 0)
    return (plain_host(address[0]), address[1]), local
