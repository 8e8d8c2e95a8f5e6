"""The server: listeners, sessions, their bounds, and an end that cuts nobody off in the middle of a reply.

It owns no knowledge of mail: what answers is registered with it (see ``geventpop3.service`` for the bundled maildrop
service).
"""

from __future__ import annotations

import errno
import itertools
import logging
import resource
import sys
import weakref
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv6Address
from time import monotonic
from typing import Any

import gevent
from gevent import socket
from gevent.event import Event as GreenEvent

from geventpop3.errors import ConfigError
from geventpop3.pipeline.pluggable import Pluggable
from geventpop3.protocol.commands import COMMANDS, CommandSpec, State
from geventpop3.server import listener
from geventpop3.server.addresses import Address, parse_listener
from geventpop3.server.client import Client
from geventpop3.server.limits import TICK, Limits
from geventpop3.server.stream import SocketStream
from geventpop3.wire.replies import Reply, err

log = logging.getLogger("geventpop3.server")

_ids = itertools.count(1)
_aliases: weakref.WeakValueDictionary[str, POP3Server] = weakref.WeakValueDictionary()

_CLOSING = err("the server is shutting down, try again later", "SYS/TEMP")
_FULL = err("too many connections, try again later", "SYS/TEMP")
_FULL_FOR_YOU = err("too many connections from your address", "SYS/TEMP")

DESCRIPTORS_PER_SESSION = 3
"""A socket, a maildrop, a message that is being read."""

OTHER_DESCRIPTORS = 100

_KILL_SECONDS = 1.0
_UPDATE_SECONDS = 60.0


class POP3Server(Pluggable):
    """A POP3 server whose every event can be heard, answered, changed and swallowed.

    *address*, *port*: where to listen; port 0 picks a free one (``getsockname``). *listeners* replaces them by several:
    ``"127.0.0.1:1110"``, ``"[::1]:1110"``, ``"unix:/run/pop3.sock"``, ``(host, port)`` or a listening socket.
    *hostname* and *version* go into the greeting, *alias* is a name by which ``POP3Server.find`` finds this server.
    With *handle_connects* false no greeting is sent unless a listener gives one. *options*: ``{"trace": True}`` logs
    the dialogue to the logger ``geventpop3.trace``, secrets masked. *strict* false hands every command to the
    listeners in every state. The rest are fields of ``Limits``.
    """

    def __init__(
        self,
        address: str = "127.0.0.1",
        port: int = 1110,
        hostname: str | None = None,
        version: str | None = None,
        alias: str | None = None,
        handle_connects: bool = True,
        options: Mapping[str, Any] | None = None,
        *,
        listeners: Iterable[str | tuple[str, int | str] | socket.socket] | None = None,
        strict: bool = True,
        **limits: Any,
    ) -> None:
        super().__init__()
        self.server_id: int = next(_ids)
        self.hostname = hostname or socket.gethostname()
        self.greeting = f"{self.hostname} {version or 'POP3 server'} ready"
        self.alias = alias
        self.handle_connects = handle_connects
        self.strict = strict
        self.limits = Limits(**limits)
        self.trace = bool((options or {}).get("trace", False))
        unknown = set(options or {}) - {"trace"}
        if unknown:
            raise ConfigError(f"unknown option {sorted(unknown)[0]!r}; there is 'trace'")
        self.commands: dict[str, CommandSpec] = dict(COMMANDS)
        self._wanted_listeners: list[Address | socket.socket] = [
            _listener(wanted) for wanted in ([(address, port)] if listeners is None else listeners)
        ]
        self._listeners: list[listener.Listener] = []
        self._clients: dict[int, Client] = {}
        self._per_address: Counter[str] = Counter()
        self._ended = GreenEvent()
        self._watch: gevent.Greenlet | None = None
        self._stopping = GreenEvent()
        self._max_sessions = 0
        if alias is not None:
            if alias in _aliases:
                raise ConfigError(f"there is a server with the alias {alias!r} already")
            _aliases[alias] = self

    @staticmethod
    def find(alias: str) -> POP3Server | None:
        """The server with this alias, or None."""
        return _aliases.get(alias)

    def __repr__(self) -> str:
        where = ", ".join(map(str, self.getsocknames())) or "not started"
        return f"<POP3Server {self.server_id} {where}>"

    # Life

    def start(self, listeners: Iterable[str | tuple[str, int | str] | socket.socket] | None = None) -> None:
        """Bind all listeners and accept; returns at once. *listeners*, if given, take the place of the server's own.

        Raises OSError if one cannot be bound, after the event ``listener_failed`` with operation, errno and text.
        """
        if self._stopping.is_set():
            raise RuntimeError("a server that was shut down is not started again: make a new one")
        if self._listeners:
            return
        self._max_sessions = _affordable(self.limits.max_sessions)
        bound: list[listener.Listener] = []
        if listeners is not None:
            self._wanted_listeners = [_listener(wanted) for wanted in listeners]
        for wanted in self._wanted_listeners:
            try:
                sock = wanted if isinstance(wanted, socket.socket) else listener.bind(wanted)
            except OSError as error:
                for one in bound:
                    one.close()
                self.send_event("listener_failed", "bind", error.errno, error.strerror or str(error))
                raise
            bound.append(listener.Listener(sock, self._handle, self._accept_failed))
        if self._stopping.is_set():  # while a name was looked up
            for one in bound:
                one.close()
            return
        self._listeners = bound
        self._watch = gevent.spawn(self._watch_deadlines)
        for one in bound:
            one.start()
            log.info("listening on %s", format_address(one.sockname))
        self.send_event("registered")

    def serve_forever(self) -> None:
        """``start`` if need be, and return once ``shutdown`` has been called and is done."""
        self.start()
        self._ended.wait()

    def shutdown(self, grace: float | None = None) -> None:
        """Stop: accept no more, let running replies finish within *grace* seconds, tell the others and close.

        UPDATE is never cut short. All listeners and plugins are unregistered; a second call waits for the first.
        """
        if self._stopping.is_set():
            self._ended.wait()
            return
        self._stopping.set()
        grace = self.limits.shutdown_grace if grace is None else grace
        for one in self._listeners:
            one.close()
        for client in list(self._clients.values()):
            client.finish(_CLOSING, "shutdown")
        self._join(grace)
        for client in list(self._clients.values()):
            if not client.updating:
                client.abort("shutdown")
        self._join(_KILL_SECONDS)
        late = [client for client in self._clients.values() if not client.updating]
        gevent.killall([c.greenlet for c in late if c.greenlet is not None], timeout=_KILL_SECONDS)
        self._join(_UPDATE_SECONDS)
        if self._watch is not None:
            self._watch.kill()
        self.send_event("unregistered")
        self.disconnect_all()
        if self.alias is not None:
            _aliases.pop(self.alias, None)
        self._ended.set()

    def _join(self, seconds: float) -> None:
        greenlets = [c.greenlet for c in self._clients.values() if c.greenlet is not None]
        gevent.joinall([g for g in greenlets if g is not gevent.getcurrent()], timeout=seconds)

    # What an application asks and says

    def getsockname(self) -> tuple[str, int] | str:
        """Where the first listener listens: ``(host, port)``, or the path of a unix socket."""
        names = self.getsocknames()
        if not names:
            raise RuntimeError("the server is not started")
        return names[0]

    def getsocknames(self) -> Sequence[tuple[str, int] | str]:
        """Where all listeners listen."""
        return [one.sockname if isinstance(one.sockname, str) else one.sockname[:2] for one in self._listeners]

    @property
    def clients(self) -> Mapping[int, Client]:
        """The clients of the sessions that are going on, by id."""
        return self._clients

    def send_to_client(self, client_id: int, reply: Reply | str | bytes) -> bool:
        """``client.send(reply)``; False if there is no such client (any more)."""
        client = self._clients.get(client_id)
        if client is None:
            return False
        client.send(reply)
        return True

    def disconnect(self, client_id: int) -> bool:
        """``client.disconnect()``: close once the next reply is out; False if there is no such client (any more)."""
        client = self._clients.get(client_id)
        if client is None:
            return False
        client.disconnect()
        return True

    def event_declared(self, name: str) -> None:
        """A verb that an application adds is a command in every state and leads nowhere."""
        if name.startswith("cmd_"):
            verb = name.removeprefix("cmd_").upper()
            self.commands.setdefault(verb, CommandSpec(verb, frozenset(State)))

    # Sessions

    def _handle(self, sock: socket.socket, address: Any) -> None:
        """What each accepted connection's greenlet runs; the listener closes the socket afterwards."""
        peer, local = _ends(sock, address)
        stream = SocketStream(sock)
        key = _address_key(peer[0])
        limits = self.limits
        refusal = None
        if self._stopping.is_set():
            refusal = _CLOSING
        elif len(self._clients) >= self._max_sessions:
            refusal = _FULL
        elif limits.max_sessions_per_address is not None and self._per_address[key] >= limits.max_sessions_per_address:
            refusal = _FULL_FOR_YOU
        if refusal is not None:
            self._turn_away(stream, refusal)
            return
        client = Client(self, stream, peer, local)
        client.greenlet = gevent.getcurrent()
        self._clients[client.id] = client
        self._per_address[key] += 1
        try:
            client.run()
        finally:
            del self._clients[client.id]
            self._per_address[key] -= 1
            if not self._per_address[key]:
                del self._per_address[key]

    def _turn_away(self, stream: SocketStream, refusal: Reply) -> None:
        try:
            stream.send_all(refusal.status_line)
        except OSError:
            return  # gone already
        stream.linger()

    def _accept_failed(self, error: OSError) -> None:
        log.error("accepting failed: %s", error.strerror)
        self.send_event("listener_failed", "accept", error.errno, error.strerror or str(error))

    def _watch_deadlines(self) -> None:
        limits = self.limits
        deadlines = [d for d in (limits.autologout, limits.login_deadline, limits.write_deadline) if d is not None]
        tick = min([TICK, *(d / 4 for d in deadlines)])
        while True:
            gevent.sleep(tick)
            now = monotonic()
            for client in list(self._clients.values()):
                client.check_deadlines(now)


def format_address(sockname: Any) -> str:
    """``127.0.0.1:110``, ``[::1]:110`` or ``unix:/path``."""
    if isinstance(sockname, str):
        return f"unix:{sockname}"
    host, port = sockname[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _affordable(wanted: int | None) -> int:
    """As many sessions as are *wanted* and as descriptors last for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize if wanted is None else wanted
    affordable = max(1, (soft - OTHER_DESCRIPTORS) // DESCRIPTORS_PER_SESSION)
    if wanted is not None and wanted <= affordable:
        return wanted
    log.info("at most %d sessions at once, because this process may open %d files", affordable, soft)
    return affordable


def _listener(wanted: str | tuple[str, int | str] | socket.socket) -> Address | socket.socket:
    return parse_listener(wanted) if isinstance(wanted, str) else wanted


def _ends(sock: socket.socket, address: Any) -> tuple[tuple[str, int], tuple[str, int]]:
    """Peer and local address as ``(text, port)``; a unix socket's are ``("unix:path", 0)``."""
    if sock.family == socket.AF_UNIX:
        path = f"unix:{sock.getsockname()}"
        return (path, 0), (path, 0)
    try:
        local = sock.getsockname()[:2]
    except OSError as error:  # the peer reset before we looked
        if error.errno not in (errno.ENOTCONN, errno.EINVAL, errno.ECONNRESET):
            raise
        local = ("", 0)
    return address[:2], local


def _address_key(host: str) -> str:
    """What counts as one address: an IPv4 address, an IPv6 /64."""
    if ":" not in host or host.startswith("unix:"):
        return host
    address = IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(IPv6Address(int(address) >> 64 << 64))
