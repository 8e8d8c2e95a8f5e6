"""Blocking code: native threads that run blocking functions, and a warning for listeners that block the event loop.

All sessions of a server share one thread and its event loop. A listener stops every session if it computes for long,
or if it waits outside gevent (``time.sleep`` unpatched, a database driver in C).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from time import monotonic
from typing import Any, ParamSpec, TypeVar

import gevent
from gevent.threadpool import ThreadPool

from geventpop3.errors import Refusal, ResponseCode
from geventpop3.server.fairness import Turns

log = logging.getLogger("geventpop3.server")

P = ParamSpec("P")
R = TypeVar("R")

HELD_SECONDS = 0.1
"""Seconds without a poll of the event loop after which a warning names the listener."""

_QUIET_SECONDS = 1.0
"""Seconds between two of these warnings."""

THREADS = 16
CALLS_PER_THREAD = 64


class HandlerThreads:
    """A bounded pool of native threads for the functions of an application."""

    __slots__ = ("_calls", "_pool")

    def __init__(self) -> None:
        self._pool: Any = None
        self._calls = 0

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run *function* in a thread and return its result or raise its exception; other greenlets run meanwhile.

        Raises Refusal if too many calls already wait for a thread.
        """
        if self._calls >= THREADS * CALLS_PER_THREAD:
            raise Refusal("the server is busy, try again later", ResponseCode.SYS_TEMP)
        if self._pool is None:
            self._pool = ThreadPool(THREADS, gevent.get_hub())
        self._calls += 1
        try:
            result, error = self._pool.apply(_outcome, (function, args, kwargs))
        finally:
            self._calls -= 1
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]  # gevent is untyped

    def close(self) -> None:
        """End the threads; a call that still runs after a second is abandoned."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with gevent.Timeout(_QUIET_SECONDS, False):
                pool.kill()

    def disown(self) -> None:
        """Forget the threads, in a forked child: they belong to the parent."""
        self._pool = None
        self._calls = 0


def _outcome(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, BaseException | None]:
    """Return the result and the error as values, because gevent prints errors raised in a thread, even a Refusal."""
    try:
        return function(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001  # raised again in the greenlet that asked
        return None, error


class Watch:
    """A caller of listeners and plugins that logs a warning for those that block the event loop.

    It reads the clock twice a call, so a server uses one only after its event loop was blocked for the first time.
    """

    __slots__ = ("_named", "_turns", "_warned_at")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._named = -1
        self._warned_at = 0.0

    def call(self, who: object, function: Callable[[Any, Any], Any], pop3d: Any, event: Any) -> Any:
        """Return the result of ``function(pop3d, event)``; *who* is its name in a warning."""
        polls = self._turns.polls
        turn, began = polls.iteration, monotonic()
        try:
            return function(pop3d, event)
        finally:
            seconds = monotonic() - began
            if seconds > HELD_SECONDS and polls.iteration == turn != self._named:
                self._named = turn  # no second warning for the caller around it, such as the service at PASS
                self.warn(f"{who} at {event.name}", seconds)

    def warn(self, who: str, seconds: float) -> None:
        """Log that *who* blocked the event loop, at most once a second."""
        now = monotonic()
        if now - self._warned_at >= _QUIET_SECONDS:
            self._warned_at = now
            log.warning("all sessions waited %.0f ms for %s: pop3d.in_thread runs what blocks", seconds * 1000, who)
