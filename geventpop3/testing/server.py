"""A server beside the test, in a native thread with its own hub, so that blocking clients can be tested.

The thread is native also in a monkey-patched process. After its end no thread, greenlet or descriptor is left.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import gevent
from gevent import monkey
from gevent.event import Event

from geventpop3.server.native import destroy_hub
from geventpop3.testing.errors import ErrorLog, get_native_ident
from geventpop3.testing.play import Application, made

STOP_SECONDS = 30.0
"""Maximum wait for the thread's end after a stop, including the server's own shutdown grace."""


class _HostAndPort(NamedTuple):
    host: str
    port: int


class Address(_HostAndPort):
    """The address at which the server listens; ``poplib.POP3(*address)`` connects to it."""

    errors: list[str]
    """Texts, with tracebacks, of the errors that the server logged, such as exceptions of handlers."""

    tls_ports: tuple[int, ...]
    """Ports with TLS before the greeting, in the order of the server's ``tls_listen``."""

    def __new__(cls, host: str, port: int) -> Self:
        address = super().__new__(cls, host, port)
        address.errors = []
        address.tls_ports = ()
        return address

    @property
    def tls_port(self) -> int:
        """The first of ``tls_ports``. Raises LookupError if there is none."""
        if not self.tls_ports:
            raise LookupError("the server has no tls_listen")
        return self.tls_ports[0]

    @property
    def url(self) -> str:
        """URL such as ``pop3://127.0.0.1:4711``; ``pop3s:`` if this port too has TLS before the greeting."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "pop3s" if self.port in self.tls_ports else "pop3"
        return f"{scheme}://{host}:{self.port}"


@contextmanager
def serve(app: Application, host: str = "127.0.0.1") -> Iterator[Address]:
    """Serve *app* on free ports of *host*, in a thread of its own, as long as the context lasts.

    A factory is called in that thread. A free port replaces each address of the server, with TLS before the greeting
    where that has it; all else is as the server was made. At the end the server is shut down, so it cannot be served
    twice. Raises errors of making or starting the server, OSError if it cannot bind, TimeoutError if it does not end.
    Errors that the server logs are in ``errors`` of the address and are not raised.
    """
    server = ServerThread(app, host)
    address = server.start()
    try:
        yield address
    finally:
        server.stop()


class ServerThread:
    """A server in a native thread: ``serve`` as two methods; call each once, from any thread.

    *ports* replace the first places of the server instead of free ones; 0 is a free one.
    """

    def __init__(self, app: Application, host: str = "127.0.0.1", ports: Sequence[int] = ()) -> None:
        self._app = app
        self._host = host
        self._ports = ports
        self._started = _Signal()
        self._ended = _Signal()
        self._guard = _allocate_lock()
        self._wake: Any = None  # watcher by which other threads wake the hub, while it runs
        self._calls: deque[Callable[[], object]] = deque()
        self._stop = Event()
        self._join: Callable[[float], object] = lambda _: None
        self._errors = ErrorLog()
        self._address: Address | None = None
        self._error: BaseException | None = None

    def start(self) -> Address:
        """Serve, and return the address once connections are accepted. Raises as ``serve`` does."""
        self._errors.open()
        self._join = _start_native_thread(self._run)
        self._started.wait(None)
        if self._address is None:
            self._finish()
        assert self._address is not None
        return self._address

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call *function*, which must not wait, in the server's thread; do nothing if the server has ended."""
        with self._guard:
            if self._wake is not None:
                self._calls.append(function)
                self._wake.send()

    def stop(self) -> None:
        """Shut down gracefully and wait for the end. Raises the error at which the server failed, TimeoutError."""
        self.call_soon(self._stop.set)
        self._finish()

    def _finish(self) -> None:
        if not self._ended.wait(STOP_SECONDS):
            raise TimeoutError(f"the server did not stop within {STOP_SECONDS:g} seconds")
        self._join(STOP_SECONDS)
        self._errors.close()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        self._errors.thread = get_native_ident()
        try:
            hub = gevent.get_hub()
            try:
                self._serve(hub.loop.async_())
            finally:
                destroy_hub()
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits
            self._error = error
        finally:
            self._started.set()
            self._ended.set()

    def _serve(self, wake: Any) -> None:
        wake.start(self._run_calls)
        try:
            pop3d = made(self._app)
            try:
                places = pop3d.start_at(self._host, self._ports)
                (host, port), _ = places[0]
                self._address = Address(host, port)
                self._address.errors = self._errors.errors
                self._address.tls_ports = tuple(name[1] for name, implicit_tls in places if implicit_tls)
                self._wake = wake
                self._started.set()
                self._stop.wait()
            finally:
                pop3d.shutdown()
        finally:
            with self._guard:
                self._wake = None
            wake.stop()
            wake.close()

    def _run_calls(self) -> None:
        while self._calls:
            self._calls.popleft()()


def _start_native_thread(run: Callable[[], None]) -> Callable[[float], object]:
    """Start the thread and return a function that waits for its end, at most the given seconds."""
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
    """A one-time signal for which threads wait without a hub."""

    def __init__(self) -> None:
        self._lock = _allocate_lock()
        self._lock.acquire()
        self._happened = False

    def set(self) -> None:
        """Set the signal; a second call, in the same thread, has no effect."""
        if not self._happened:
            self._happened = True
            self._lock.release()

    def wait(self, seconds: float | None) -> bool:
        """Wait at most *seconds* (None: without limit) and return whether the signal was set."""
        happened: bool = self._lock.acquire(timeout=-1 if seconds is None else seconds)
        if happened:
            self._lock.release()
        return happened
