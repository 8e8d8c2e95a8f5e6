"""Native threads, whether or not the process is monkey-patched."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from typing import Any

import gevent
from gevent import monkey

allocate_lock = monkey.get_original("_thread", "allocate_lock")
"""Return a new lock for native threads."""

get_ident = monkey.get_original("_thread", "get_ident")
"""Return the number of the current native thread."""

_JOIN_SECONDS = 1.0
"""Seconds to wait, at the exit of the interpreter, until a thread has ended."""


class Signal:
    """A one-time event for which native threads can wait without a hub."""

    __slots__ = ("_happened", "_lock")

    def __init__(self) -> None:
        self._lock: Any = allocate_lock()
        self._lock.acquire()
        self._happened = False

    def is_set(self) -> bool:
        """Return whether ``set`` was called."""
        return self._happened

    def set(self) -> None:
        """Set the signal and wake all waiting threads; a second call, in the same thread, has no effect."""
        if not self._happened:
            self._happened = True
            self._lock.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Block this native thread until the signal is set, at most *seconds*; return whether it is set."""
        happened: bool = self._lock.acquire(timeout=-1 if seconds is None else seconds)
        if happened:
            self._lock.release()
        return happened


class _LifeSign:
    """An object that lives as long as the native thread that made it."""


_local = monkey.get_original("_thread", "_local")()


def sign_of_life() -> weakref.ref[Any]:
    """Return a weak reference that is dead once the current native thread has ended.

    A thread's number cannot serve for that: another thread may have it by then.
    """
    sign = getattr(_local, "sign", None)
    if sign is None:
        sign = _local.sign = _LifeSign()
    return weakref.ref(sign)


def destroy_hub() -> None:
    """Destroy the hub of this native thread, with its loop, so that nothing of it is left when the thread ends."""
    hub = gevent.get_hub()
    hub.destroy(destroy_loop=True)
    # gevent leaves the hub's greenlet suspended. Once its thread has ended, its frames could never be freed, nor what
    # they refer to: the whole server.
    hub.throw(gevent.GreenletExit)


class HubThread:
    """A native thread with its own event loop: it runs *start*, then *serve*, and then destroys the loop.

    It does not keep the program running: when the interpreter exits, *stop* is called and must make *serve* return. Use
    it only in a process that is not monkey-patched.
    """

    __slots__ = ("_error", "_serve", "_start", "_started", "_stop", "_thread")

    def __init__(self, start: Callable[[], object], serve: Callable[[], object], stop: Callable[[], object]) -> None:
        self._start = start
        self._serve = serve
        self._stop = stop
        self._started = Signal()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="geventpop3", daemon=True)

    def start(self) -> None:
        """Start the thread, and return once *start* has returned.

        Raises any exception of *start*; the thread has ended then.
        """
        # A daemon thread that is in the event loop while the interpreter exits could abort the process.
        atexit.register(self._at_exit)
        self._thread.start()
        self._started.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    def _run(self) -> None:
        try:
            try:
                self._start()
            except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits
                self._error = error
                return
            finally:
                self._started.set()
            self._serve()
        finally:
            destroy_hub()
            atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        self._stop()
        self._thread.join(_JOIN_SECONDS)
