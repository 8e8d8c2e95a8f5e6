"""One process of several: gunicorn's arbiter forks it, it serves, and when told to leave it lets its sessions finish.

The listening sockets are shared, so a worker that leaves closes its own descriptors and refuses nobody: who comes then
waits in the kernel's queue for the next worker. Nothing is monkey-patched.
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
"""Between two signs of life, at most; the arbiter kills a worker that has given none for its ``timeout``."""

LAST_SECONDS = 2.0
"""Before the arbiter kills what is left, besides ``shutdown_grace``: for what remains after sessions were told."""

_IGNORED = (signal.SIGHUP, signal.SIGUSR2, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU)
"""What the arbiter acts upon; sent to the whole group, by a terminal that closes for one, it must not end workers."""


class Worker(base.Worker):  # type: ignore[misc]  # gunicorn is untyped
    """What ``gunicorn -k geventpop3.workers.Worker module:pop3d`` runs: a POP3Server on gunicorn's sockets.

    The server's own places are not bound; those of its ``tls_listen`` say at which ports TLS comes first. *module:name*
    may also name a function without parameters, as ``module:name()``.
    """

    wsgi: POP3Server

    def init_process(self) -> None:
        # For an application that made a hub before the fork; where nobody did, as is right, there is nothing to do.
        gevent.reinit()
        self._leaving = Event()
        self._in_a_hurry = False
        self._is_serving = False
        self._patience = 0.0
        if os.geteuid() == 0 and self.cfg.uid != 0:
            _leave_groups(self.cfg.uid, self.cfg.gid, initgroups=self.cfg.initgroups)
        super().init_process()

    def init_signals(self) -> None:
        """TERM: leave when the sessions have ended. INT, QUIT: leave now. USR1: open log files anew."""
        inherited = signal.getsignal(signal.SIGTERM)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        # Not gevent's: it comes when the hub no longer turns.
        signal.signal(signal.SIGABRT, self.handle_abort)
        handlers = {
            signal.SIGTERM: self._leaving.set,
            signal.SIGINT: self._hurry,
            signal.SIGQUIT: self._hurry,
            signal.SIGUSR1: self.log.reopen_files,
        }
        for number in handlers:
            signal.signal(number, signal.SIG_DFL)  # not the arbiter's, which this process has inherited
        self._signal_handlers = SignalHandlers(handlers)
        # Since the fork the arbiter's handler has run here, which only queues: nobody else would act upon these.
        for missed in _queued(inherited):
            if missed in handlers:
                handlers[signal.Signals(missed)]()

    def handle_abort(self, _sig: int, frame: FrameType | None) -> None:
        """The arbiter has waited in vain for a sign of life: say where it hangs, and die. UPDATE survives a crash."""
        self.log.critical("stuck in:\n%s", "".join(traceback.format_stack(frame)))
        self.cfg.worker_abort(self)
        os._exit(1)

    def load_wsgi(self) -> None:
        """The server, as gunicorn's own import refuses what cannot be called. Raises AppImportError."""
        app = self.app
        try:
            found = imported(app.app_uri) if isinstance(app, WSGIApplication) else app.wsgi()
        except ConfigError as error:
            # The operator's mistake is a line, not a traceback; with this status gunicorn gives up or tries again.
            self.log.error("a worker cannot begin: %s", error)
            raise SystemExit(arbiter.Arbiter.WORKER_BOOT_ERROR) from None
        if not isinstance(found, POP3Server):
            raise AppImportError(f"this worker serves a POP3Server, not a {type(found).__name__}")
        self.wsgi = found
        self._patience = max(0.0, self.cfg.graceful_timeout - found.limits.shutdown_grace - LAST_SECONDS)
        log_as_gunicorn(self.log)

    def run(self) -> None:
        tick()  # for signals that came while the application was loaded
        if self._leaving.is_set():
            return  # without a word to anybody: it has no session yet
        self.wsgi.start([one.sock for one in self.sockets], shared=True)
        self._is_serving = True
        # Of the server: a child that an application forks gives no sign of life in this worker's name.
        self.wsgi.spawn(self._beat)
        self.wsgi.spawn(self._leave)
        self.wsgi.serve_forever(handle_signals=False)

    def _beat(self) -> None:
        seconds = min(BEAT_SECONDS, self.timeout / 2) if self.timeout else BEAT_SECONDS
        while True:
            self.notify()
            # gunicorn's reloader says so by `alive`; an arbiter that died can tell us nothing any more.
            if not self.alive or os.getppid() != self.ppid:
                self._leaving.set()
            gevent.sleep(seconds)

    def _leave(self) -> None:
        self._leaving.wait()
        self.wsgi.drain(0.0 if self._in_a_hurry else self._patience)
        self.wsgi.shutdown()

    def _hurry(self) -> None:
        self._in_a_hurry = True
        self._leaving.set()
        if self._is_serving:
            self.wsgi.shutdown()


def _queued(handler: Any) -> Iterator[int]:
    """Yield the signals that *handler*, the arbiter's own, has queued in this process."""
    queue = getattr(getattr(handler, "__self__", None), "SIG_QUEUE", None)
    while queue is not None and not queue.empty():
        yield queue.get_nowait()


def _leave_groups(uid: int, gid: int, *, initgroups: bool) -> None:
    """Become *gid*, and a member of no other groups than it or, with *initgroups*, the user's own.

    gunicorn itself leaves us root's other groups without *initgroups*, and root's group with it, or if none was given;
    then it is the user's own here, or the one of the same number if the user has no account.
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
    """Write our lines where gunicorn's go, with the pid, unless the application has set up logging."""
    logger = logging.getLogger("geventpop3")
    if not logger.hasHandlers():
        logger.handlers = list(log.error_log.handlers)
        logger.setLevel(log.error_log.level)


def imported(uri: str) -> Any:
    """Return what ``module:name`` or ``module:name()`` stands for; the name is ``pop3d`` if there is none.

    Raises AppImportError.
    """
    module, _, name = uri.partition(":")
    name, call, rest = (name or "pop3d").partition("()")
    if not name.isidentifier() or rest:
        raise AppImportError(f"{uri!r} is neither MODULE:NAME nor MODULE:FUNCTION()")
    try:
        found: Any = getattr(import_module(module), name)
    except AttributeError:
        raise AppImportError(f"there is no {name!r} in {sys.modules[module].__name__!r}") from None
    return found() if call else found
