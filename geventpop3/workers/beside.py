"""A POP3 server beside a WSGI application, in the workers of ``gunicorn -k gevent``.

Hooks in gunicorn's configuration file start and stop it. The arbiter binds before it forks, so that no worker finds the
address in use. It keeps the sockets as long as it lives: clients wait in the kernel's queue while workers change.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import gevent
from gevent import monkey
from gunicorn.arbiter import Arbiter
from gunicorn.errors import HaltServer

from geventpop3.errors import ConfigError
from geventpop3.server import acceptor
from geventpop3.server.addresses import parse_address
from geventpop3.server.server import POP3Server
from geventpop3.workers.arbiter import STOP_SECONDS
from geventpop3.workers.serving import bind
from geventpop3.workers.worker import LAST_SECONDS, imported, log_as_gunicorn

VARIABLE = "GUNICORN_POP3_FD"
"""The environment variable by which an arbiter passes its sockets to the one that replaces it (SIGUSR2)."""

POLL_SECONDS = 0.5
"""Seconds between two checks whether gunicorn has asked the worker to leave."""


class Beside:
    """The hooks that serve *app* at *listen* in each gevent worker of gunicorn; one for each configuration file.

    *app* is ``"module:name"`` or ``"module:function()"``, imported in each worker after the WSGI application, or a
    function that returns the server. *listen* are texts as ``POP3Server`` takes them. The server's own addresses are
    not bound, but an address at a port of its ``tls_listen`` has TLS from the start.

    Raises ConfigError.
    """

    def __init__(self, app: str | Callable[[], POP3Server], listen: Iterable[str]) -> None:
        if isinstance(listen, str):
            raise ConfigError(f"listen is the string {listen!r}: give a list, [{listen!r}]")
        self._app = app
        self._listen = list(dict.fromkeys(listen))
        for text in self._listen:
            parse_address(text)
        if not self._listen:
            raise ConfigError("listen is empty: give at least one address")
        self._serving: _Serving | None = None

    def pre_fork(self, server: Any, worker: Any) -> None:
        """Bind missing sockets in the arbiter. Raises HaltServer, at which gunicorn exits with the reason."""
        _check_worker_class(type(worker))
        _listeners.hold(self, server)

    def post_worker_init(self, worker: Any) -> None:
        """Serve in this worker, which is already monkey-patched and has its event loop."""
        self._serving = _Serving(worker, self._made(worker), _listeners.hand_over())

    def worker_exit(self, _server: Any, _worker: Any) -> None:
        """Stop the server of this worker, if one was started in this process."""
        if self._serving is not None:
            self._serving.end()

    def _made(self, worker: Any) -> POP3Server:
        try:
            found = imported(self._app) if isinstance(self._app, str) else self._app()
            if not isinstance(found, POP3Server):
                raise ConfigError(f"Beside serves a POP3Server, but {self._app!r} is a {type(found).__name__}")
            if found.getsocknames():
                raise ConfigError("the server is started already: do not start it, Beside does")
        except ConfigError as error:
            raise _cannot_begin(worker, str(error)) from None
        return found


class _Listeners:
    """The listening sockets of this arbiter, by address.

    They outlive a ``Beside``: gunicorn executes the configuration file again at SIGHUP.
    """

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}
        self._holder: tuple[Beside, Any] | None = None

    def hold(self, beside: Beside, server: Any) -> None:
        """Bind the addresses of *beside* that are not bound, and close those that it no longer has."""
        if self._holder is not None and self._holder[0] is not beside and self._holder[1] is server.cfg:
            raise HaltServer("gunicorn has a Beside already: give that one several addresses", 1)
        begins = self._holder is None
        self._holder = beside, server.cfg
        self._descriptors.update(json.loads(os.environ.pop(VARIABLE, "{}")))
        for text in self._descriptors.keys() - set(beside._listen):
            os.close(self._descriptors.pop(text))
        for text in beside._listen:
            if text not in self._descriptors:
                self._bind(text, server, begins=begins)
        # gunicorn passes this environment to the arbiter that replaces this one.
        server.cfg.env_orig[VARIABLE] = json.dumps(self._descriptors)

    def _bind(self, text: str, server: Any, *, begins: bool) -> None:
        try:
            # A patched arbiter has an event loop already, and gunicorn's worker makes its own.
            patched = monkey.is_module_patched("threading")
            found = acceptor.listening_socket(parse_address(text)).detach() if patched else bind([text])[0]
        except OSError as error:
            reason = f"POP3 cannot listen at {error.filename}: {error.strerror}"
            if begins:
                raise HaltServer(reason, 1) from None
            server.log.error("%s; the next worker tries again", reason)
            return
        os.set_inheritable(found, True)
        self._descriptors[text] = found

    def hand_over(self) -> list[Any]:
        """Return the sockets; from now on this process, a worker, owns them."""
        sockets = [acceptor.take_over(descriptor) for descriptor in self._descriptors.values()]
        self._descriptors.clear()
        return sockets


_listeners = _Listeners()


class _Serving:
    """A server started in a worker; it stops when gunicorn asks the worker to leave.

    It stops at the same time as the HTTP server: the arbiter kills a worker whose HTTP requests have used all its time.
    """

    def __init__(self, worker: Any, pop3d: POP3Server, sockets: list[Any]) -> None:
        if not sockets:
            raise _cannot_begin(worker, "no listening socket was opened: add pre_fork = pop3.pre_fork to the same file")
        log_as_gunicorn(worker.log)
        self._worker = worker
        self._pop3d = pop3d
        left = max(0.0, worker.cfg.graceful_timeout - LAST_SECONDS)
        self._grace = min(pop3d.limits.shutdown_grace, left)
        self._drain_seconds = min(STOP_SECONDS, left - self._grace)
        pop3d.start(sockets, shared=True)
        self._leaving = gevent.spawn(self._leave)

    def _leave(self) -> None:
        while self._worker.alive:
            gevent.sleep(POLL_SECONDS)
        self._pop3d.drain(self._drain_seconds)
        self._pop3d.shutdown(self._grace)

    def end(self) -> None:
        """Wait until the server has stopped; return at once in a forked child of this worker, which serves nothing."""
        self._worker.alive = False  # still true if its parent is gone, or an exception ends it
        self._leaving.join()


def _check_worker_class(found: type) -> None:
    from gunicorn.workers.ggevent import GeventWorker

    if not issubclass(found, GeventWorker):
        raise HaltServer(
            f"POP3 needs workers of the class gevent, not {found.__name__}: start gunicorn with -k gevent", 1
        )


def _cannot_begin(worker: Any, text: str) -> SystemExit:
    """Log the operator's mistake in one line; return the exit with the status at which gunicorn gives up."""
    worker.log.error("the worker cannot start: %s", text)
    return SystemExit(Arbiter.WORKER_BOOT_ERROR)
