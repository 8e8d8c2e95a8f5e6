"""The life of a server: begun in one thread's event loop, and ended from any thread, also after that one has ended."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event as GreenEvent

from geventpop3.server.greenlets import spawn
from geventpop3.server.native import Signal, allocate_lock, get_ident, sign_of_life

log = logging.getLogger("geventpop3.server")

_POLL_SECONDS = 0.1
"""Seconds between two checks that the serving thread still runs, while another thread waits for the shutdown."""

LOOP_TURN_SECONDS = 10.0
"""Seconds within which the serving thread must run its event loop; after them, another thread stops waiting."""


class Life:
    """The life of one server.

    *shut_down* is called once, in a greenlet of the event loop, with the seconds of grace. *close_without_loop* is
    called instead, in another thread, if the event loop has ended.
    """

    __slots__ = (
        "_close_without_loop",
        "_closer",
        "_done",
        "_ended",
        "_lock",
        "_loop_ran",
        "_shut_down",
        "_thread",
        "ending",
        "hub",
        "stopping",
    )

    def __init__(self, shut_down: Callable[[float], None], close_without_loop: Callable[[], None]) -> None:
        self._shut_down = shut_down
        self._close_without_loop = close_without_loop
        self._closer: int | None = None
        """The thread that closes without the event loop, or has done so."""
        self.hub: Any = None
        self.ending: gevent.Greenlet | None = None
        """The greenlet that shuts down."""
        self.stopping = GreenEvent()
        """An event, set once the end has begun."""
        self._ended = GreenEvent()
        """An event, set once the end is complete, for greenlets that wait in the event loop."""
        self._loop_ran = Signal()
        """A signal that the event loop has run since another thread called for the end."""
        self._done = Signal()
        """A signal that the end is complete, for native threads."""
        self._lock = allocate_lock()
        """A lock, held while the server is assigned to the event loop of a thread, or to none."""
        self._thread: Callable[[], object] = _no_thread

    @property
    def is_over(self) -> bool:
        """True if the end is complete."""
        return self._done.is_set()

    def begin(self) -> None:
        """Assign the server to the event loop of this thread. Raises RuntimeError if it was begun or ended before."""
        with self._lock:
            if self.stopping.is_set():
                raise RuntimeError("the server was shut down: create a new one instead of starting it again")
            if self.hub is not None:  # it looks up a name, in this thread or another
                raise RuntimeError("the server is being started: call start() once")
            self.hub, self._thread = gevent.get_hub(), sign_of_life()

    def undo_begin(self) -> None:
        """Undo ``begin``, so that any thread may start the server; do nothing if the end has begun."""
        with self._lock:
            if not self.stopping.is_set():
                self.hub = None

    def is_in_this_thread(self) -> bool:
        """Return whether the server was begun in the event loop of this thread."""
        return self.hub is not None and self.hub.thread_ident == get_ident()

    def wait(self) -> None:
        """Wait for the end, in the event loop."""
        self._ended.wait()

    def end(self, grace: float, most: float, is_session: Callable[[object], bool]) -> None:
        """Shut down and return when all is done, from another thread after *most* seconds at the latest.

        Returns at once where waiting could never end: in the event loop, in the greenlet that shuts down, and in a
        session, as *is_session* tells of a greenlet.
        """
        with self._lock:
            hub = self.hub
            if hub is None:
                self.stopping.set()  # it cannot be started any more
        if hub is not None and (self._thread() is None or hub.thread_ident != get_ident()):
            self._end_in(hub, grace, most)
            return
        self._begin_to_end(grace)
        current = gevent.getcurrent()
        if current is gevent.get_hub() or current is self.ending:
            return
        if not is_session(current):
            self._ended.wait()

    def finished(self) -> None:
        """Wake all that wait for the end."""
        self._done.set()
        self._ended.set()

    def _begin_to_end(self, grace: float) -> None:
        self._loop_ran.set()
        if self.ending is None and not self._done.is_set():
            self.stopping.set()
            self.ending = spawn(self._shut_down, grace)

    def _end_in(self, hub: Any, grace: float, most: float) -> None:
        """Make the thread of *hub* shut down, and wait for it while it runs, up to the time that this may take."""
        try:
            hub.loop.run_callback_threadsafe(self._begin_to_end, grace)
        except Exception as error:  # noqa: BLE001  # any error of a loop that has ended
            log.debug("the event loop of the server has ended: %s", error)
        waited = 0.0
        while not self._done.wait(_POLL_SECONDS):
            if hub.loop is None or self._thread() is None:
                self._end_without_loop(most)
                return
            waited += _POLL_SECONDS
            if waited >= LOOP_TURN_SECONDS and not self._loop_ran.is_set():
                log.warning("shutdown is pending: the serving thread has not run its event loop for %g s", waited)
                return
            if waited >= most + LOOP_TURN_SECONDS:  # perhaps a listener of `unregistered` waits for this call
                log.warning(
                    "shutdown has not finished after %g s: a greenlet or thread that it waits for does not end", waited
                )
                return

    def _end_without_loop(self, most: float) -> None:
        """Close without the event loop, once for all threads; another one waits for that, up to *most* seconds."""
        this = get_ident()
        with self._lock:
            first = self._closer is None and not self._done.is_set()
            if first:
                self._closer = this
        if first:
            self.stopping.set()
            try:
                self._close_without_loop()
            finally:
                self.finished()
        elif self._closer != this:  # else a listener of `unregistered`, say, has called in the middle of it
            self._done.wait(most)


def _no_thread() -> None:
    """Return None: no thread has started the server."""
