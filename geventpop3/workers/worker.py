"""One process of several, forked by gunicorn's arbiter; when asked to leave, it lets its sessions finish.

The listening sockets are shared. A worker that leaves closes its own descriptors and refuses no client: new connections
wait in the kernel's queue for the next worker. Nothing is monkey-patched.
"""

from __future__ import annotations

import logging
import os
import pwd
import signal
import sys
import traceback
from collections.abc import Iterator
from importlib import import_module
from types import FrameType
from typing import Any

import gevent
from gevent.event import Event
from gunicorn import arbiter
from gunicorn.app.wsgiapp import WSGIApplication
from gunicorn.errors import AppImportError
from gunicorn.workers import base

from geventpop3.errors import ConfigError
from geventpop3.server.fairness import tick
from geventpop3.server.program import SignalHandlers
from geventpop3.server.server import POP3Server

BEAT_SECONDS = 1.0
"""Maximum seconds between two signs of life; the arbiter kills a worker that has given none for its ``timeout``."""

LAST_SECONDS = 2.0
"""Seconds, besides ``shutdown_grace``, for the work after sessions were notified, before the arbiter kills."""

_IGNORED = (signal.SIGHUP, signal.SIGUSR2, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU)
"""Signals for the arbiter; sent to the whole process group, as by a terminal that closes, they must not end workers."""


class Worker(base.Worker):  # type: ignore[misc]  # gunicorn is untyped
    """The worker of ``gunicorn -k geventpop3.workers.Worker module:pop3d``: a POP3Server on gunicorn's sockets.

    The server's own addresses are not bound; its ``tls_listen`` only determines the ports with TLS before the greeting.
    *module:name* may also name a function without parameters, as ``module:name()``.
    """

    wsgi: POP3Server

    def init_process(self) -> None:
        # For an application that made a hub before the fork, which it should not; without a hub this does nothing.
        gevent.reinit()
        self._leaving = Event()
        self._stops_at_once = False
        self._is_serving = False
        self._drain_seconds = 0.0
        if os.geteuid() == 0 and self.cfg.uid != 0:
            _leave_groups(self.cfg.uid, self.cfg.gid, initgroups=self.cfg.initgroups)
        super().init_process()

    def init_signals(self) -> None:
        """Set signal handlers. TERM: leave after the sessions' end. INT, QUIT: leave now. USR1: reopen log files."""
        inherited = signal.getsignal(signal.SIGTERM)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Not a gevent handler: this signal comes when the event loop is stuck.
        signal.signal(signal.SIGABRT, self.handle_abort)
        handlers = {
            signal.SIGTERM: self._leaving.set,
            signal.SIGINT: self._stop_at_once,
            signal.SIGQUIT: self._stop_at_once,
            signal.SIGUSR1: self.log.reopen_files,
        }
        for number in handlers:
            signal.signal(number, signal.SIG_DFL)  # replaces the arbiter's inherited handler
        self._signal_handlers = SignalHandlers(handlers)
        # Since the fork the arbiter's handler has only queued signals in this process; act upon them now.
        for missed in _queued(inherited):
            if missed in handlers:
                handlers[signal.Signals(missed)]()

    def handle_abort(self, _sig: int, frame: FrameType | None) -> None:
        """Log where the worker hangs and exit: the arbiter got no sign of life. UPDATE survives a crash."""
        self.log.critical("the worker does not respond; it is at:\n%s", "".join(traceback.format_stack(frame)))
        self.cfg.worker_abort(self)
        os._exit(1)

    def load_wsgi(self) -> None:
        """Import the server; gunicorn's own import rejects objects that are not callable. Raises AppImportError."""
        app = self.app
        try:
            found = imported(app.app_uri) if isinstance(app, WSGIApplication) else app.wsgi()
        except ConfigError as error:
            # An operator's mistake is one line, not a traceback; at this status gunicorn gives up or tries again.
            self.log.error("the worker cannot start: %s", error)
            raise SystemExit(arbiter.Arbiter.WORKER_BOOT_ERROR) from None
        if not isinstance(found, POP3Server):
            raise AppImportError(f"the application is a {type(found).__name__}: this worker needs a POP3Server")
        self.wsgi = found
        self._drain_seconds = max(0.0, self.cfg.graceful_timeout - found.limits.shutdown_grace - LAST_SECONDS)
        log_as_gunicorn(self.log)

    def run(self) -> None:
        tick()  # for signals that arrived while the application was loaded
        if self._leaving.is_set():
            return  # no session to notify yet
        self.wsgi.start([one.sock for one in self.sockets], shared=True)
        self._is_serving = True
        # Greenlets of the server: a child that the application forks must not give this worker's sign of life.
        self.wsgi.spawn(self._beat)
        self.wsgi.spawn(self._leave)
        self.wsgi.serve_forever(handle_signals=False)

    def _beat(self) -> None:
        seconds = min(BEAT_SECONDS, self.timeout / 2) if self.timeout else BEAT_SECONDS
        while True:
            self.notify()
            # gunicorn's reloader clears `alive`; an arbiter that died can send no signal.
            if not self.alive or os.getppid() != self.ppid:
                self._leaving.set()
            gevent.sleep(seconds)

    def _leave(self) -> None:
        self._leaving.wait()
        self.wsgi.drain(0.0 if self._stops_at_once else self._drain_seconds)
        self.wsgi.shutdown()

    def _stop_at_once(self) -> None:
        self._stops_at_once = True
        self._leaving.set()
        if self._is_serving:
            self.wsgi.shutdown()


def _queued(handler: Any) -> Iterator[int]:
    """Yield the signals that *handler*, the arbiter's own, has queued in this process."""
    queue = getattr(getattr(handler, "__self__", None), "SIG_QUEUE", None)
    while queue is not None and not queue.empty():
        yield queue.get_nowait()


def _leave_groups(uid: int, gid: int, *, initgroups: bool) -> None:
    """Become *gid*, and leave all other groups; with *initgroups* join the user's own.

    gunicorn alone keeps root's other groups without *initgroups*, and root's group with it or if no group was given.
    If none was given, it is the user's own here, or the one of the user's number if the user has no account.
    """
    try:
        name, _, _, own, *_ = pwd.getpwuid(uid)
    except KeyError:
        name, own = None, uid
    if name is not None and initgroups:
        os.initgroups(name, gid or own)
    else:
        os.setgroups([gid or own])
    os.setgid(gid or own)


def log_as_gunicorn(log: Any) -> None:
    """Send our log lines to gunicorn's handlers, with the pid, unless the application has set up logging."""
    logger = logging.getLogger("geventpop3")
    if not logger.hasHandlers():
        logger.handlers = list(log.error_log.handlers)
        logger.setLevel(log.error_log.level)


def imported(uri: str) -> Any:
    """Return the object of ``module:name``, or the result of ``module:name()``; the default name is ``pop3d``.

    Raises AppImportError.
    """
    module, _, name = uri.partition(":")
    name, call, rest = (name or "pop3d").partition("()")
    if not name.isidentifier() or rest:
        raise AppImportError(f"{uri!r} is not the name of an application: give MODULE:NAME or MODULE:FUNCTION()")
    try:
        found: Any = getattr(import_module(module), name)
    except AttributeError:
        raise AppImportError(f"the module {sys.modules[module].__name__!r} has no {name!r}") from None
    return found() if call else found
