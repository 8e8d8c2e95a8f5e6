"""What blocks: threads for functions that must, and a warning for listeners that do so in the event loop.

All sessions of a server share one thread and its event loop. A listener that waits in a way that gevent does not know
(``time.sleep`` unpatched, a database driver in C) stops every session, and so does one that computes.
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


class Threads:
    """A bounded pool of native threads for the functions of an application."""

    __slots__ = ("_calls", "_pool")

    def __init__(self) -> None:
        self._pool: Any = None
        self._calls = 0

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what *function* returns or raises; this greenlet waits for it and others run.

        Raises Refusal if too many calls wait for a thread already.
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
        """End the threads; a call that still runs is left to itself."""
        pool, self._pool = self._pool, None
        if pool is not None:
            with gevent.Timeout(_QUIET_SECONDS, False):
                pool.kill()

    def disown(self) -> None:
        """Forget the threads, which are the parent's: this process is a forked child of theirs."""
        self._pool = None
        self._calls = 0


def _outcome(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, BaseException | None]:
    """Return errors as values: gevent prints what is raised in a thread, and a Refusal is no accident."""
    try:
        return function(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001  # raised again in the greenlet that asked
        return None, error


class Watch:
    """Calls listeners and plugins, and warns of those that hold the event loop.

    It costs two looks at the clock a call, so a server has one only after its event loop was held for the first time.
    """

    __slots__ = ("_named", "_turns", "_warned_at")

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._named = -1
        self._warned_at = 0.0

    def call(self, who: object, function: Callable[[Any, Any], Any], pop3d: Any, event: Any) -> Any:
        """Return what ``function(pop3d, event)`` returns; *who* is its name in a warning."""
        polls = self._turns.polls
        turn, began = polls.iteration, monotonic()
        try:
            return function(pop3d, event)
        finally:
            seconds = monotonic() - began
            if seconds > HELD_SECONDS and polls.iteration == turn != self._named:
                self._named = turn  # not again for the one around it, such as the service at PASS
                self.warn(f"{who} at {event.name}", seconds)

    def warn(self, who: str, seconds: float) -> None:
        """Log that *who* held the event loop, at most once in a second."""
        now = monotonic()
        if now - self._warned_at >= _QUIET_SECONDS:
            self._warned_at = now
            log.warning("all sessions waited %.0f ms for %s: pop3d.in_thread runs what blocks", seconds * 1000, who)
