"""The POP3 server: its listening sockets, its sessions and their limits, and a shutdown that lets replies finish.

It knows nothing of mail: the listeners that answer are registered with it (see ``geventpop3.service`` for the bundled
maildrop service).
"""

from __future__ import annotations

import _socket
import errno
import itertools
import logging
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from time import monotonic
from types import MappingProxyType
from typing import Any, ClassVar, ParamSpec, TypeAlias, TypeVar, Unpack

import gevent
from gevent import monkey, socket
from gevent.event import Event as GreenEvent

from geventpop3.errors import ConfigError, PipelineError
from geventpop3.forks import Registration
from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.pipeline.pluggable import Pluggable
from geventpop3.protocol.commands import COMMANDS, CommandSpec, State
from geventpop3.server.acceptor import BUSY, Acceptor, bind, prepare
from geventpop3.server.addresses import (
    Address,
    check_distinct,
    check_place,
    format_address,
    parse_address,
    plain_host,
    unix_path,
)
from geventpop3.server.admission import Clients
from geventpop3.server.blocking import Threads, Watch
from geventpop3.server.client import Client
from geventpop3.server.fairness import Turns, tick
from geventpop3.server.greenlets import hold, make_normal, make_wary, spawn
from geventpop3.server.limits import TICK, LimitOptions, Limits, check_options
from geventpop3.server.native import HubThread, Signal, allocate_lock, get_ident, sign_of_life
from geventpop3.server.program import ending_by_signals, set_up_logging
from geventpop3.server.proxy import TrustedProxies
from geventpop3.server.stream import PlainStream, SocketStream
from geventpop3.server.tls.certificates import Certificates, accept
from geventpop3.server.tls.der import name_of_client
from geventpop3.server.tls.stream import TlsError, TlsStream
from geventpop3.server.trace import Trace
from geventpop3.wire.replies import Reply, err

log = logging.getLogger("geventpop3.server")

_ids = itertools.count(1)
_aliases: weakref.WeakValueDictionary[str, POP3Server] = weakref.WeakValueDictionary()

_CLOSING = err("the server is shutting down, try again later", "SYS/TEMP")

LINGERING = 16
"""Maximum number of refused peers that get a second to read the reply; further ones are closed at once."""

RELOAD_SECONDS = 5.0
"""Seconds between two checks of the certificate files."""

_LOOK_SECONDS = 0.1
"""Seconds between two checks that the serving thread still runs, while another thread waits for the shutdown."""

_HEARD_SECONDS = 10.0
"""Seconds within which the serving thread must run its event loop; after them, another thread stops waiting."""

_left_by_fork: list[Clients] = []
"""The clients of the process that forked this one: freeing their greenlets would run them."""

P = ParamSpec("P")
R = TypeVar("R")

_KILL_SECONDS = 1.0
_UPDATE_SECONDS = 60.0

Place: TypeAlias = str | tuple[str, int | str] | socket.socket
"""A place to listen at: ``"127.0.0.1:1110"``, ``"[::1]:1110"``, ``"unix:/run/pop3.sock"``, ``(host, port)``, or a
listening socket, which the server takes over and finally closes. The server removes the file of a unix socket only if
it has created it."""


class POP3Server(Pluggable):
    """A POP3 server. Plugins and listeners can receive, answer, change and eat every event.

    *address*, *port*: the place to listen at; port 0 picks a free one (``getsockname``). *listen* replaces them by
    several places (``Place``). *hostname* and *version* go into the greeting. ``POP3Server.find`` finds the server by
    its *alias*. With *handle_connects* false, no greeting is sent unless a listener gives one. *options*:
    ``{"trace": True}`` logs the dialogue, with secrets masked, to the logger ``geventpop3.trace``. With *strict* false,
    the listeners receive every command in every state. *tls*: the certificates for STLS, and for *tls_listen*, places
    where TLS comes before the greeting (RFC 8314 section 3.3). *proxies*: the networks whose PROXY headers are trusted.
    All other keywords are fields of ``Limits``.
    """

    _isolated: ClassVar[tuple[type[BaseException], ...]] = (*Pluggable._isolated, gevent.Timeout)

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
        listen: Iterable[Place] | None = None,
        strict: bool = True,
        tls: Certificates | None = None,
        tls_listen: Iterable[Place] = (),
        proxies: TrustedProxies | None = None,
        **limits: Unpack[LimitOptions],
    ) -> None:
        check_options(limits, POP3Server)
        _check_host(address)
        super().__init__()
        self.server_id: int = next(_ids)
        self.hostname = hostname or socket.gethostname()
        self.greeting = f"{self.hostname} {version or 'POP3 server'} ready"
        self.alias = alias
        self.handle_connects = handle_connects
        self.strict = strict
        self.tls = tls
        self.proxies = proxies
        self.limits = Limits(**limits)
        self.trace = bool((options or {}).get("trace", False))
        unknown = set(options or {}) - {"trace"}
        if unknown:
            raise ConfigError(f"unknown option {sorted(unknown)[0]!r}; there is 'trace'")
        self._commands: dict[str, CommandSpec] = dict(COMMANDS)
        self.commands: Mapping[str, CommandSpec] = MappingProxyType(self._commands)
        """The table of commands by verb, read-only; ``add_command`` adds a row."""
        places = [(address, port)] if listen is None and not tls_listen else listen or ()
        if tls is None and tls_listen:
            raise ConfigError("TLS before the greeting needs certificates")
        self._places: list[tuple[Address | socket.socket, bool]] = [
            *((place, False) for place in _listed(places)),
            *((place, True) for place in _listed(tls_listen)),
        ]
        self._check_places()
        self._acceptors: list[Acceptor] = []
        self._clients = Clients(self.limits)
        self._turns = Turns()
        self._threads = Threads()
        self._turned_away: dict[SocketStream, gevent.Greenlet] = {}
        self._hub: Any = None
        self._watches: list[gevent.Greenlet] = []
        self._bound_here: list[Acceptor] = []
        self._stopping = GreenEvent()
        self._ending: gevent.Greenlet | None = None
        self._ended = GreenEvent()
        self._heard = Signal()
        self._done = Signal()
        self._life = allocate_lock()
        """A lock, held while the server is assigned to the event loop of a thread, or to none."""
        self._thread: Callable[[], object] = _nobody
        self._spawned: set[gevent.Greenlet] = set()
        self._disowned = False
        self._home = os.getpid()
        """The process that started this server."""
        self._registration: Registration | None = None
        if alias is not None:
            if alias in _aliases:
                raise ConfigError(f"there is a server with the alias {alias!r} already")
            _aliases[alias] = self

    @staticmethod
    def find(alias: str) -> POP3Server | None:
        """Return the server with this alias, or None."""
        return _aliases.get(alias)

    def __repr__(self) -> str:
        where = ", ".join(map(str, self.getsocknames())) or "not started"
        return f"<POP3Server {self.server_id} {where}>"

    # Start and shutdown

    def start(self, listen: Iterable[Place] | None = None, *, shared: bool = False) -> None:
        """Bind all places and start accepting; return at once. *listen*, if given, replaces the server's places.

        A place in *listen* with the port or path of one in ``tls_listen`` also has TLS before the greeting. *shared*:
        other processes accept from the same sockets, so each takes one connection at a time.

        Raises OSError, with the address as its filename, if a place cannot be bound. The event ``listener_failed`` with
        operation, errno and text comes before it. Raises ConfigError if a registered service cannot serve because it
        has no authenticator.
        """
        if self._disowned:
            raise RuntimeError("the process that forked this one has started this server: make a new one here")
        if self._acceptors and not self._stopping.is_set():
            return
        with self._life:
            if self._stopping.is_set():
                raise RuntimeError("a server that was shut down is not started again: make a new one")
            self._hub, self._thread = gevent.get_hub(), sign_of_life()
        try:
            self._start(listen, shared)
        except BaseException:
            with self._life:
                if not self._stopping.is_set():
                    self._hub = None  # it may be started again, by any thread
            raise

    def _start(self, listen: Iterable[Place] | None, shared: bool) -> None:
        self._check_ready()
        self._clients.open()
        bound: list[Acceptor] = []
        own: list[Acceptor] = []
        if listen is not None:
            secured = {_port(place) for place, implicit_tls in self._places if implicit_tls} - {"0"}
            self._places = [(place, _port(place) in secured) for place in _listed(listen)]
            self._check_places()
        for place, implicit_tls in self._places:
            try:
                sock = place if isinstance(place, socket.socket) else bind(place)
            except OSError as error:
                for one in bound:
                    one.close()
                self.send_event("listener_failed", "bind", error.errno, error.strerror or str(error))
                if error.errno == errno.EADDRINUSE:
                    error.add_note(
                        f"Another program listens at {error.filename}: stop it, or choose another address or port."
                    )
                raise
            handle = self._handle_tls if implicit_tls else self._handle
            acceptor = Acceptor(sock, handle, self._accept_failed, busy=b"" if implicit_tls else BUSY)
            if shared:
                prepare(sock)
                acceptor.max_accept = 1
            bound.append(acceptor)
            if sock is not place:
                own.append(acceptor)
        if self._stopping.is_set():  # while a name was looked up
            for one in bound:
                one.close()
            return
        self._acceptors = bound
        self._bound_here = own
        self._home = os.getpid()
        self._turns.start(self._hub.loop)
        self._watches = [spawn(self._watch_deadlines)]
        if self.tls is not None:
            self._watches.append(spawn(self._watch_certificates))
        self._registration = Registration(self._disown, before=self._before_fork, after=self._after_fork)
        for one, (_, implicit_tls) in zip(bound, self._places, strict=True):
            one.start()
            log.info("listening on %s%s", format_address(one.sockname), ", TLS from the start" if implicit_tls else "")
        self.send_event("registered")

    def _check_places(self) -> None:
        named = [(place, tls) for place, tls in self._places if not isinstance(place, socket.socket)]
        check_distinct((place for place, tls in named if not tls), (place for place, tls in named if tls))

    def start_at(self, host: str) -> list[tuple[tuple[str, int], bool]]:
        """Start as ``start`` does, but replace each place by a free port of *host*, with TLS first as before.

        Returns host and port of each, and whether TLS comes first there. It serves to test a complete application.
        """
        self._places = [((host, 0), implicit_tls) for _, implicit_tls in self._places]
        self.start()
        return [
            ((str(name[0]), int(name[1])), implicit_tls)
            for name, (_, implicit_tls) in zip(self.getsocknames(), self._places, strict=True)
        ]

    def serve_forever(self, *, handle_signals: bool = True) -> None:
        """Start if necessary, and return after ``shutdown`` was called and has finished.

        In the main greenlet of the main thread, SIGINT (Ctrl-C) and SIGTERM call ``shutdown``, unless the program
        handles them itself or *handle_signals* is false. A second signal ends the process at once.
        If the program has not set up logging, the log of ``geventpop3`` is written to standard error.
        """
        set_up_logging()
        with ending_by_signals(self.shutdown) if handle_signals else nullcontext():
            try:
                self.start()
            except RuntimeError:
                if self._stopping.is_set():
                    return  # another thread has called shutdown before
                raise
            self._wait()

    def serve_in_thread(self) -> None:
        """Serve in a native thread with its own event loop, for a program that blocks; return once it listens.

        ``shutdown``, from any thread, ends the server and the thread; it is also called when the program exits.
        Raises the errors of ``start``, and RuntimeError in a monkey-patched process or if the server is started.
        """
        if monkey.is_module_patched("threading"):
            raise RuntimeError("threads are greenlets in this monkey-patched process: call start(), and it serves")
        if self._acceptors and not self._stopping.is_set():
            raise RuntimeError("this server is started already")
        set_up_logging()
        HubThread(self.start, self._wait, self.shutdown).start()

    def _wait(self) -> None:
        """Wait for the end. If an exception ends the wait, sessions are still notified and UPDATE is finished."""
        try:
            self._ended.wait()
        finally:
            self.shutdown()

    def drain(self, seconds: float) -> bool:
        """Stop accepting and wait until all sessions have ended; return whether they have within *seconds*.

        Call ``shutdown`` after it. New connections are left to other processes that share the sockets.
        """
        for one in self._acceptors:
            one.close()
        tick()  # so that a connection that was just accepted is a client
        end = monotonic() + seconds
        while any(self._clients) and monotonic() < end:
            self._join(end - monotonic())
        return not any(self._clients)

    def shutdown(self, grace: float | None = None) -> None:
        """Stop accepting, let running replies finish within *grace* seconds, send clients a farewell, and close.

        UPDATE is never interrupted. All listeners and plugins are unregistered. It may be called from any
        thread or signal handler, at any time and repeatedly, and returns when all is done. It returns at once where
        waiting could never end: in the event loop, and in a session of this server, which must end first.
        """
        if self._done.is_set() or self._disowned:
            return
        with self._life:
            hub = self._hub
            if hub is None:
                self._stopping.set()  # it cannot be started any more
        if hub is not None and (self._thread() is None or hub.thread_ident != get_ident()):
            self._shut_down_in(hub, grace)
            return
        self._begin_shutdown(grace)
        current = gevent.getcurrent()
        if current is gevent.get_hub() or current is self._ending:
            return
        if all(client.greenlet is not current for client in self._clients):
            self._ended.wait()

    def _begin_shutdown(self, grace: float | None) -> None:
        self._heard.set()
        if self._ending is None and not self._done.is_set():
            self._stopping.set()
            self._ending = spawn(self._shut_down, self._grace(grace))

    def _grace(self, grace: float | None) -> float:
        return self.limits.shutdown_grace if grace is None else grace

    def _shut_down_in(self, hub: Any, grace: float | None) -> None:
        """Make the thread of *hub* shut down, and wait for it while it runs, up to the time that this may take."""
        most = self._grace(grace) + 2 * _KILL_SECONDS + _UPDATE_SECONDS + _HEARD_SECONDS
        try:
            hub.loop.run_callback_threadsafe(self._begin_shutdown, grace)
        except Exception as error:  # noqa: BLE001  # any error of a loop that has ended
            log.debug("the event loop of the server is gone: %s", error)
        waited = 0.0
        while not self._done.wait(_LOOK_SECONDS):
            if hub.loop is None or self._thread() is None:
                self._bury()
                return
            waited += _LOOK_SECONDS
            if waited >= _HEARD_SECONDS and not self._heard.is_set():
                log.warning("not shut down yet: the thread that serves has not run its event loop for %g s", waited)
                return
            if waited >= most:  # perhaps a listener of `unregistered` waits for this call
                log.warning("not shut down yet, after %g s: something that it waits for does not end", waited)
                return

    def _shut_down(self, grace: float) -> None:
        try:
            self._close_acceptors()
            self._end_sessions(grace)
            gevent.killall(self._watches)
            self._part()
            self._threads.close()
        finally:
            self._turns.stop()
            self._finished()

    def _bury(self) -> None:
        """Close all that the server owns, after its thread and with it its greenlets have ended."""
        if self._done.is_set():
            return
        self._stopping.set()
        for one in self._acceptors:
            one.bury(ours=one in self._bound_here)
        for client in self._clients:
            client.bury("shutdown")
            self._clients.leave(client)
        self._watches = []
        self._part()
        self._finished()

    def _close_acceptors(self) -> None:
        for one in self._acceptors:
            if one in self._bound_here:
                one.end()
            else:
                one.close()  # other processes may accept from it too

    def _part(self) -> None:
        self.send_event("unregistered")
        self._unregister_all()

    def _finished(self) -> None:
        if self._registration is not None:
            self._registration.cancel()
        if self.alias is not None and _aliases.get(self.alias) is self:
            del _aliases[self.alias]
        self._done.set()
        self._ended.set()

    def _end_sessions(self, grace: float) -> None:
        for client in self._clients:
            client.finish(_CLOSING, "shutdown")
        self._join(grace)
        for client in self._clients:
            if not client.updating:
                client.abort("shutdown")
        self._join(_KILL_SECONDS)
        late = [client for client in self._clients if not client.updating]
        gevent.killall([c.greenlet for c in late if c.greenlet is not None], timeout=_KILL_SECONDS)
        self._join(_UPDATE_SECONDS)

    def _join(self, seconds: float) -> None:
        gevent.joinall([c.greenlet for c in self._clients if c.greenlet is not None], timeout=seconds)

    # Forks

    def _greenlets(self) -> list[gevent.Greenlet]:
        """Return all running greenlets that this server has started."""
        sessions = (client.greenlet for client in self._clients)
        ours = (*sessions, *self._turned_away.values(), *self._watches, *self._spawned, self._ending)
        return [greenlet for greenlet in ours if greenlet is not None]

    def _before_fork(self) -> None:
        make_wary(self._greenlets())
        for one in self._acceptors:
            one.home = os.getpid()

    def _after_fork(self) -> None:
        make_normal(self._greenlets())
        for one in self._acceptors:
            one.home = None

    def _disown(self) -> None:
        """Close a child's copies of what this server owns, and keep its greenlets from running there."""
        self._disowned = True
        hub = self._hub
        if hub is not None and hub.thread_ident == get_ident():
            gevent.reinit()  # the loop must not change the state that it shares with the parent's
        hold(self._greenlets())
        for one in self._acceptors:
            one.disown()
        for client in self._clients:
            client.disown()
        for stream in self._turned_away:
            stream.disown()
        self._turns.stop()
        self._threads.disown()
        _left_by_fork.append(self._clients)
        self._acceptors, self._bound_here, self._watches = [], [], []
        self._turned_away, self._spawned = {}, set()
        self._clients = Clients(self.limits)
        if self.alias is not None and _aliases.get(self.alias) is self:
            del _aliases[self.alias]

    def reload_certificates(self) -> None:
        """Load the certificates again if their files have changed, as the server does every few seconds.

        Running sessions keep the old ones. The event ``certificates_reloaded`` reports a change or its failure.
        """
        if self.tls is None:
            return
        # In a thread: reading and testing certificates takes milliseconds, and longer on a network file system.
        reloaded, error = gevent.get_hub().threadpool.apply(_reload, (self.tls,))
        if error is not None:
            log.error("certificates not reloaded, the old ones stay in force: %s", error)
            self.send_event("certificates_reloaded", error)
        elif reloaded:
            log.info("certificates reloaded")
            self.send_event("certificates_reloaded", None)

    # Used by applications

    def register(self, listener: Any, *names: str, priority: int | None = None) -> None:
        """Register as ``Pluggable.register`` does; a started server calls a listener for ``registered`` at once."""
        super().register(listener, *names, priority=priority)
        if self._acceptors:
            self._emit_to(listener, Event("registered"))

    def getsockname(self) -> tuple[str, int] | str:
        """Return the first place the server listens at: ``(host, port)``, or the path of a unix socket."""
        names = self.getsocknames()
        if not names:
            raise RuntimeError("the server is not started")
        return names[0]

    def getsocknames(self) -> Sequence[tuple[str, int] | str]:
        """Return all places the server listens at."""
        return [_name(one.sockname) for one in self._acceptors]

    @property
    def clients(self) -> Mapping[int, Client]:
        """The connected clients, by id."""
        return self._clients.by_id()

    def send_to_client(self, client_id: int, reply: Reply | str | bytes) -> bool:
        """Call ``client.send(reply)``; return False if the client is not connected."""
        client = self._clients.get(client_id)
        if client is None:
            return False
        client.send(reply)
        return True

    def disconnect(self, client_id: int, *, now: bool = False) -> bool:
        """Call ``client.disconnect(now=now)``; return False if the client is not connected."""
        client = self._clients.get(client_id)
        if client is None:
            return False
        client.disconnect(now=now)
        return True

    def add_command(self, spec: CommandSpec) -> None:
        """Add a verb of the application to the table, with its states and its secrets, and declare its event.

        A simple verb needs no row: a listener for ``cmd_xfoo`` makes it a command in every state. Raises PipelineError
        for a verb of POP3, whose row cannot be replaced.
        """
        if spec.verb in COMMANDS:
            raise PipelineError(f"{spec.verb} is a command of POP3 already: listen to {spec.event!r} to answer it")
        self._commands[spec.verb] = spec
        self.add_event(spec.event)

    def spawn(self, function: Callable[..., Any], *args: Any) -> gevent.Greenlet:
        """Run *function* in a greenlet beside the sessions, and never in a forked child; return the greenlet.

        It serves plugins with periodic work. ``shutdown`` does not end the greenlet.
        """
        greenlet = spawn(function, *args)
        self._spawned.add(greenlet)
        greenlet.rawlink(self._spawned.discard)
        return greenlet

    def in_thread(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run *function* in a native thread and return its result or raise its exception; other sessions run meanwhile.

        It serves listeners that must block or compute. Raises Refusal if too many calls wait for a thread.
        """
        return self._threads.run(function, *args, **kwargs)

    # Used by services

    def offers_tls(self, client: ClientInterface) -> bool:
        """Return whether STLS is possible for this client now.

        RFC 2595 section 4: "Only permitted in AUTHORIZATION state".
        """
        return self.tls is not None and not client.secure and client.state is State.AUTHORIZATION

    def tls_facts(self, client: ClientInterface) -> tuple[str | None, bytes | None]:
        """Return the name in the client's verified certificate and the TLS channel binding, each None if missing."""
        ours = self._clients.get(client.id)
        if self.tls is None or ours is None or ours.tls is None:
            return None, None
        return name_of_client(ours.tls.getpeercert()), self.tls.end_point(ours.tls)

    # Used by sessions

    def _loop_was_held(self, event: Event, seconds: float) -> None:
        """Warn that *event* has blocked all other sessions; later warnings name the listener."""
        if self._watch is None:
            self._watch = Watch(self._turns)
            self._watch.warn(self._described(event.name), seconds)

    def _start_tls(self, stream: PlainStream) -> TlsStream:
        """Return the TLS stream after its handshake. Raises OSError."""
        if self.tls is None:
            raise TlsError("there are no certificates")
        return accept(stream, self.tls, self.limits.handshake_deadline)

    def _is_proxy(self, host: str) -> bool:
        """Return whether connections from *host* begin with a PROXY header."""
        return self.proxies is not None and host in self.proxies

    def _move_client(self, client: Client, peer: tuple[str, int]) -> Reply | None:
        """Count *client* under the address that a proxy reported; return the refusal if it is not admitted."""
        return self._clients.move(client, peer[0])

    def _event_declared(self, name: str) -> None:
        """Add the verb of a new ``cmd_`` event as a command that is valid in every state and changes none."""
        if name.startswith("cmd_"):
            verb = name.removeprefix("cmd_").upper()
            self._commands.setdefault(verb, CommandSpec(verb, frozenset(State)))

    # Sessions

    def _handle(self, sock: socket.socket, address: Any) -> None:
        """Serve an accepted connection in its greenlet; the acceptor closes the socket afterwards."""
        self._serve(sock, address, implicit_tls=False)

    def _handle_tls(self, sock: socket.socket, address: Any) -> None:
        self._serve(sock, address, implicit_tls=True)

    def _serve(self, sock: socket.socket, address: Any, *, implicit_tls: bool) -> None:
        if os.getpid() != self._home:
            return  # accepted by the process that forked this one; only this copy of the socket is closed
        peer, local = _ends(sock, address)
        stream = SocketStream(sock)
        # The address of a client behind a proxy is not known yet.
        host = None if self._is_proxy(peer[0]) else peer[0]
        refusal = _CLOSING if self._stopping.is_set() else self._clients.refusal(host)
        if refusal is not None:
            if not implicit_tls:  # a client that begins with TLS cannot read a reply in clear text
                self._turn_away(stream, peer[0], refusal)
            return
        client = Client(self, stream, peer, local, implicit_tls=implicit_tls)
        client.greenlet = gevent.getcurrent()
        self._clients.enter(client, host)
        try:
            client.run()
        finally:
            if not self._disowned:  # in a forked child, it is not in the list
                self._clients.leave(client)

    def _turn_away(self, stream: SocketStream, host: str, refusal: Reply) -> None:
        if self.trace:
            Trace(f"address={host}").reply(refusal)
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

    def _accept_failed(self, error: OSError) -> None:
        if os.getpid() != self._home:
            return
        log.error("accepting failed: %s", error.strerror)
        self.send_event("listener_failed", "accept", error.errno, error.strerror or str(error))

    def _watch_deadlines(self) -> None:
        limits = self.limits
        deadlines = [d for d in (limits.autologout, limits.login_deadline, limits.write_deadline) if d is not None]
        tick = min([TICK, *(d / 4 for d in deadlines)])
        while True:
            gevent.sleep(tick)
            now = monotonic()
            for client in self._clients:
                client.check_deadlines(now)

    def _watch_certificates(self) -> None:
        while not self._stopping.wait(RELOAD_SECONDS):
            self.reload_certificates()


def _nobody() -> None:
    """Return None: no thread has started the server."""


def _reload(certificates: Certificates) -> tuple[bool, str | None]:
    """Return whether new certificates are in force, and an error as text, because gevent prints errors of threads."""
    try:
        return certificates.reload(), None
    except Exception as error:  # noqa: BLE001  # after any error the old ones are in force
        return False, str(error) or type(error).__name__


def _listed(places: Iterable[Place]) -> list[Address | socket.socket]:
    if isinstance(places, str):  # a str is an iterable of texts too
        raise ConfigError(f"{places!r} is one place: a list of them is wanted, [{places!r}]")
    return [_place(one) for one in places]


def _check_host(host: object) -> None:
    if not isinstance(host, str):
        hint = f": the port is a keyword, POP3Server(port={host})" if isinstance(host, int) else ""
        raise TypeError(f"address is the host to listen at, a str, not {type(host).__name__}{hint}")


def _place(place: Place) -> Address | socket.socket:
    if isinstance(place, str):
        return parse_address(place)
    if isinstance(place, _socket.socket) and not isinstance(place, socket.socket):
        # A socket of the standard library, in a process that is not patched: gevent's takes it over.
        return socket.socket(place.family, place.type, place.proto, fileno=place.detach())
    if isinstance(place, tuple):
        check_place(*place)
    return place


def _port(place: Address | socket.socket) -> str:
    """Return the port, or the path of a unix socket."""
    name = _name(place.getsockname()) if isinstance(place, socket.socket) else place
    return name if isinstance(name, str) else str(name[1])


def _name(sockname: Any) -> tuple[str, int] | str:
    return unix_path(sockname) if isinstance(sockname, (str, bytes)) else sockname[:2]


def _ends(sock: socket.socket, address: Any) -> tuple[tuple[str, int], tuple[str, int]]:
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
