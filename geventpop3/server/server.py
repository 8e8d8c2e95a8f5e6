"""The POP3 server: its listening sockets, its sessions and their limits, and a shutdown that lets replies finish.

It knows nothing of mail: the listeners that answer are registered with it (see ``geventpop3.service`` for the bundled
maildrop service).
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any, ClassVar, ParamSpec, TypeVar, Unpack

import gevent
from gevent import monkey, socket

from geventpop3.errors import ConfigError, PipelineError
from geventpop3.forks import Registration
from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.pipeline.pluggable import Pluggable
from geventpop3.protocol.commands import COMMANDS, CommandSpec, State
from geventpop3.server.admission import Clients
from geventpop3.server.blocking import HandlerThreads, Watch
from geventpop3.server.client import Client
from geventpop3.server.environment import Environment
from geventpop3.server.fairness import Turns, tick
from geventpop3.server.greenlets import hold, make_fork_safe, make_normal, spawn
from geventpop3.server.life import Life
from geventpop3.server.limits import LimitOptions, Limits, check_options
from geventpop3.server.listening import Listening, Place, check_host
from geventpop3.server.native import HubThread
from geventpop3.server.program import ending_by_signals, set_up_logging
from geventpop3.server.proxy import TrustedProxies
from geventpop3.server.session import ClientSession
from geventpop3.server.sessions import Sessions, seconds_to_end
from geventpop3.server.stream import PlainStream, SocketStream, Stream
from geventpop3.server.tls.certificates import Certificates, reload_in_thread
from geventpop3.server.tls.der import name_of_client
from geventpop3.wire.replies import Reply

log = logging.getLogger("geventpop3.server")

_ids = itertools.count(1)
_aliases: weakref.WeakValueDictionary[str, POP3Server] = weakref.WeakValueDictionary()

RELOAD_SECONDS = 5.0
"""Seconds between two checks of the certificate files."""

P = ParamSpec("P")
R = TypeVar("R")


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
        check_host(address)
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
            raise ConfigError(f"unknown option {sorted(unknown)[0]!r}: the only option is 'trace'")
        self._commands: dict[str, CommandSpec] = dict(COMMANDS)
        self.commands: Mapping[str, CommandSpec] = MappingProxyType(self._commands)
        """The table of commands by verb, read-only; ``add_command`` adds a row."""
        places = [(address, port)] if listen is None and not tls_listen else listen or ()
        if tls is None and tls_listen:
            raise ConfigError("tls_listen needs certificates: give tls as well")
        self._listening = Listening(places, tls_listen)
        self._turns = Turns()
        self._threads = HandlerThreads()
        self._life = Life(self._shut_down, self._close_without_loop)
        clients = Clients(self.limits)
        self._environment = Environment(
            settings=self,
            commands=self._commands,
            open_stream=self._open_stream,
            turns=self._turns,
            isolated=self._isolated,
            emit=self._emit,
            respond=self._respond,
            send_event=self.send_event,
            wanted=self.wanted,
            report_blocking=self._report_blocking,
            move_client=clients.move,
        )
        self._sessions = Sessions(self._environment, clients, self._life.stopping)
        self._watches: list[gevent.Greenlet] = []
        self._spawned: set[gevent.Greenlet] = set()
        self._disowned = False
        self._registration: Registration | None = None
        if alias is not None:
            if alias in _aliases:
                raise ConfigError(f"the alias {alias!r} is used by another server: choose another")
            _aliases[alias] = self

    def _open_stream(self, sock: socket.socket, _implicit_tls: bool) -> PlainStream:
        """Return the stream of an accepted connection. For subclasses."""
        return SocketStream(sock)

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
        has no authenticator, and RuntimeError if the server was shut down or is just being started.
        """
        if self._disowned:
            raise RuntimeError("the server was started before the fork: create a new one in this process")
        if self._is_started:
            return
        self._life.begin()
        try:
            self._start(listen, shared)
        except BaseException:
            self._life.undo_begin()
            raise

    @property
    def _is_started(self) -> bool:
        return bool(self._listening.acceptors) and not self._life.stopping.is_set()

    def _start(self, listen: Iterable[Place] | None, shared: bool) -> None:
        self._check_ready()
        listening, sessions = self._listening, self._sessions
        if listen is not None:
            listening.replace(listen)
        try:
            listening.bind(sessions.handle, sessions.handle_tls, self._accept_failed, shared=shared)
        except OSError as error:
            self.send_event("listener_failed", "bind", error.errno, error.strerror or str(error))
            if error.errno == errno.EADDRINUSE:
                error.add_note(
                    f"Another program listens at {error.filename}: stop it, or choose another address or port."
                )
            raise
        if self._life.stopping.is_set():  # while a name was looked up
            listening.close()
            listening.forget()
            return
        sessions.open()
        self._turns.start(self._life.hub.loop)
        self._watches = [spawn(sessions.watch_deadlines)]
        if self.tls is not None:
            self._watches.append(spawn(self._watch_certificates))
        self._registration = Registration(self._disown, before=self._before_fork, after=self._after_fork)
        listening.start()
        self.send_event("registered")

    def start_at(self, host: str, ports: Sequence[int] = ()) -> list[tuple[tuple[str, int], bool]]:
        """Start as ``start`` does, but replace each place by a free port of *host*, with TLS first as before.

        *ports*, in the order of the places, are used instead of free ones; 0 is a free one. Returns host and port of
        each, and whether TLS comes first there. It serves to test a complete application.
        """
        self._listening.use_ports(host, ports)
        self.start()
        return self._listening.named_ports()

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
                if self._life.stopping.is_set():
                    return  # another thread has called shutdown before
                raise
            self._wait()

    def serve_in_thread(self) -> None:
        """Serve in a native thread with its own event loop, for a program that blocks; return once it listens.

        ``shutdown``, from any thread, ends the server and the thread; it is also called when the program exits.
        Raises the errors of ``start``, and RuntimeError in a monkey-patched process or if the server is started.
        """
        if monkey.is_module_patched("threading"):
            raise RuntimeError("in this monkey-patched process threads are greenlets: call start() instead")
        if self._is_started:
            raise RuntimeError("the server is started already")
        set_up_logging()
        HubThread(self.start, self._wait, self.shutdown).start()

    def _wait(self) -> None:
        """Wait for the end. If an exception ends the wait, sessions are still notified and UPDATE is finished."""
        try:
            self._life.wait()
        finally:
            self.shutdown()

    def drain(self, seconds: float) -> bool:
        """Stop accepting and wait until all sessions have ended; return whether they have within *seconds*.

        Call ``shutdown`` after it. New connections are left to other processes that share the sockets.
        """
        self._listening.close()
        tick()  # so that a connection that was just accepted is a client
        return self._sessions.wait(seconds)

    def shutdown(self, grace: float | None = None) -> None:
        """Stop accepting, let running replies finish within *grace* seconds, send clients a farewell, and close.

        UPDATE is never interrupted. All listeners and plugins are unregistered. It may be called from any
        thread or signal handler, at any time and repeatedly, and returns when all is done. It returns at once where
        waiting could never end: in the event loop, and in a session of this server, which must end first.
        """
        if self._life.is_over or self._disowned:
            return
        seconds = self.limits.shutdown_grace if grace is None else grace
        self._life.end(seconds, seconds_to_end(seconds), self._sessions.includes)

    def _shut_down(self, grace: float) -> None:
        try:
            self._listening.end()
            self._sessions.end(grace)
            gevent.killall(self._watches)
            self._release_receivers()
            self._threads.close()
        finally:
            self._turns.stop()
            self._finished()

    def _close_without_loop(self) -> None:
        """Close all that the server owns, after its thread and with it its greenlets have ended."""
        self._listening.close_without_loop()
        self._sessions.close_without_loop()
        self._watches = []
        self._release_receivers()
        self._finished()

    def _release_receivers(self) -> None:
        self.send_event("unregistered")
        self._unregister_all()

    def _finished(self) -> None:
        if self._registration is not None:
            self._registration.cancel()
        self._forget_alias()
        self._life.finished()

    def _forget_alias(self) -> None:
        if self.alias is not None and _aliases.get(self.alias) is self:
            del _aliases[self.alias]

    # Forks

    def _greenlets(self) -> list[gevent.Greenlet]:
        """Return all running greenlets that this server has started."""
        ours = [*self._sessions.greenlets(), *self._watches, *self._spawned]
        return ours if self._life.ending is None else [*ours, self._life.ending]

    def _before_fork(self) -> None:
        make_fork_safe(self._greenlets())
        self._listening.accept_only_in(os.getpid())

    def _after_fork(self) -> None:
        make_normal(self._greenlets())
        self._listening.accept_only_in(None)

    def _disown(self) -> None:
        """Close a child's copies of what this server owns, and keep its greenlets from running there."""
        self._disowned = True
        if self._life.is_in_this_thread():
            gevent.reinit()  # the loop must not change the state that it shares with the parent's
        hold(self._greenlets())
        self._listening.disown()
        self._sessions.disown()
        self._turns.stop()
        self._threads.disown()
        self._watches, self._spawned = [], set()
        self._forget_alias()

    def reload_certificates(self) -> None:
        """Load the certificates again if their files have changed, as the server does every few seconds.

        Running sessions keep the old ones. The event ``certificates_reloaded`` reports a change or its failure.
        """
        if self.tls is None:
            return
        reloaded, error = reload_in_thread(self.tls)
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
        if self._listening.acceptors:
            self._emit_to(listener, Event("registered"))

    def getsockname(self) -> tuple[str, int] | str:
        """Return the first place the server listens at: ``(host, port)``, or the path of a unix socket."""
        names = self.getsocknames()
        if not names:
            raise RuntimeError("the server is not started")
        return names[0]

    def getsocknames(self) -> Sequence[tuple[str, int] | str]:
        """Return all places the server listens at."""
        return self._listening.names()

    @property
    def clients(self) -> Mapping[int, Client]:
        """The connected clients, by id."""
        return self._sessions.clients.by_id()

    def send_to_client(self, client_id: int, reply: Reply | str | bytes) -> bool:
        """Call ``client.send(reply)``; return False if the client is not connected."""
        client = self._sessions.clients.get(client_id)
        if client is None:
            return False
        client.send(reply)
        return True

    def disconnect(self, client_id: int, *, now: bool = False) -> bool:
        """Call ``client.disconnect(now=now)``; return False if the client is not connected."""
        client = self._sessions.clients.get(client_id)
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
            raise PipelineError(f"{spec.verb} is a standard command: listen to {spec.event!r} to answer it")
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
        ours = self._sessions.clients.get(client.id)
        if self.tls is None or ours is None or ours.tls is None:
            return None, None
        return name_of_client(ours.tls.getpeercert()), self.tls.end_point(ours.tls)

    # Used by sessions

    def _report_blocking(self, event: Event, seconds: float) -> None:
        """Warn that *event* has blocked all other sessions; later warnings name the listener."""
        if self._watch is None:
            self._watch = Watch(self._turns)
            self._watch.warn(self._described(event.name), seconds)

    def _event_declared(self, name: str) -> None:
        """Add the verb of a new ``cmd_`` event as a command that is valid in every state and changes none."""
        if name.startswith("cmd_"):
            verb = name.removeprefix("cmd_").upper()
            self._commands.setdefault(verb, CommandSpec(verb, frozenset(State)))

    def _accept_failed(self, error: OSError) -> None:
        if os.getpid() != self._sessions.home:
            return
        log.error("accepting failed: %s", error.strerror)
        self.send_event("listener_failed", "accept", error.errno, error.strerror or str(error))

    def _watch_certificates(self) -> None:
        while not self._life.stopping.wait(RELOAD_SECONDS):
            self.reload_certificates()


def session_over(pop3d: POP3Server, stream: Stream, peer: tuple[str, int], local: tuple[str, int]) -> ClientSession:
    """Return a session of *pop3d* over any stream, for tests and tools; its ``run`` serves it.

    It is not one of ``pop3d.clients``.
    """
    return ClientSession(pop3d._environment, stream, peer, local)
