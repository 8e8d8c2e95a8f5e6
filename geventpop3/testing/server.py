"""A server beside the test: it runs in a native thread with a hub of its own, so clients that block can be tested.

The thread is a native one also in a process that is monkey-patched. Once it has ended nothing of it is left: no thread,
no greenlet, no descriptor.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import gevent
from gevent import monkey
from gevent.event import Event

from geventpop3.server.server import POP3Server
from geventpop3.testing.play import Application

STOP_SECONDS = 30.0
"""How long a thread that was told to stop is waited for; the server's own shutdown grace is part of it."""


class Address(NamedTuple):
    """Where the server listens; ``poplib.POP3(*address)`` connects to it."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """``pop3://127.0.0.1:4711``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"pop3://{host}:{self.port}"


@contextmanager
def serve(app: Application, host: str = "127.0.0.1") -> Iterator[Address]:
    """Serve *app* on a free port of *host*, from a thread of its own, as long as the context lasts.

    A factory is called in that thread. Where a server itself wants to listen is passed over; it is shut down in the
    end, and so cannot be served twice. Raises what making or starting the server raises, OSError if it cannot bind;
    TimeoutError if it does not end.
    """
    server = ServerThread(app, host)
    address = server.start()
    try:
        yield address
    finally:
        server.stop()


class ServerThread:
    """What ``serve`` does, in two halves; call each once, from any thread."""

    def __init__(self, app: Application, host: str = "127.0.0.1") -> None:
        self._app = app
        self._host = host
        self._started = _Signal()
        self._ended = _Signal()
        self._guard = _allocate_lock()
        self._wake: Any = None  # the watcher through which other threads reach the hub, while it runs
        self._join: Callable[[float], object] = lambda _: None
        self._address: Address | None = None
        self._error: BaseException | None = None

    def start(self) -> Address:
        """Serve, and return where once connections are accepted. Raises as ``serve`` does."""
        self._join = _start_native_thread(self._run)
        self._started.wait(None)
        if self._address is None:
            self._finish()
        assert self._address is not None
        return self._address

    def stop(self) -> None:
        """Shut down gracefully and wait for the end. Raises what the server failed with meanwhile, TimeoutError."""
        with self._guard:
            if self._wake is not None:
                self._wake.send()
        self._finish()

    def _finish(self) -> None:
        if not self._ended.wait(STOP_SECONDS):
            raise TimeoutError(f"the server did not stop within {STOP_SECONDS:g} seconds")
        self._join(STOP_SECONDS)
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            hub = gevent.get_hub()
            try:
                self._serve(hub.loop.async_())
            finally:
                hub.destroy(destroy_loop=True)
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits
            self._error = error
        finally:
            self._started.set()
            self._ended.set()

    def _serve(self, wake: Any) -> None:
        stop = Event()
        wake.start(stop.set)
        try:
            pop3d = self._app if isinstance(self._app, POP3Server) else self._app()
            try:
                pop3d.start([(self._host, 0)])
                name = pop3d.getsockname()
                self._address = Address(str(name[0]), int(name[1]))
                self._wake = wake
                self._started.set()
                stop.wait()
            finally:
                pop3d.shutdown()
        finally:
            with self._guard:
                self._wake = None
            wake.stop()
            wake.close()


def _start_native_thread(run: Callable[[], None]) -> Callable[[float], object]:
    """Start it; what is returned waits for its end, at most so many seconds."""
    if not monkey.is_module_patched("threading"):
        thread = threading.Thread(target=run, name="geventpop3.testing", daemon=True)
        thread.start()
        return thread.join
    # A patched threading.Thread is a greenlet.
    start_new_thread = monkey.get_original("_thread", "start_new_thread")
    start_new_thread(run, ())
    return lambda _: None


def _allocate_lock() -> Any:
    return monkey.get_original("_thread", "allocate_lock")()


class _Signal:
    """Something that happens once, and that threads wait for without any hub."""

    def __init__(self) -> None:
        self._lock = _allocate_lock()
        self._lock.acquire()
        self._happened = False

    def set(self) -> None:
        """It has happened; saying so again, in the same thread, changes nothing."""
        if not self._happened:
            self._happened = True
            self._lock.release()

    def wait(self, seconds: float | None) -> bool:
        """Whether it has happened, within these seconds."""
        happened: bool = self._lock.acquire(timeout=-1 if seconds is None else seconds)
        if happened:
            self._lock.release()
        return happened
