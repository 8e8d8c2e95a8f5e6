"""Nothing blocks the hub: what may wait for a disk or burn a processor runs in a bounded pool of native threads.

One pool a kind of work, so that password hashing never stands in the way of reading mail, nor either in the way of
name look-ups, which use gevent's own pool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import gevent
from gevent.threadpool import ThreadPool

from geventpop3.errors import StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")

_CLOSE_SECONDS = 1.0


class _Pool:
    """The threads of one hub, and how many calls they have or wait for."""

    __slots__ = ("threads", "under_way")

    def __init__(self, threads: int, hub: Any) -> None:
        self.threads = ThreadPool(threads, hub)
        self.under_way = 0


class Offload:
    """Runs blocking calls for greenlets, at most *threads* at once and *queue* waiting.

    A pool belongs to a hub, and hubs to native threads; each hub that asks gets its own. A greenlet that is killed, or
    runs into a timeout, goes when its call has returned and not before: whatever it then lets go of, a lock or a file,
    is in nobody's use any more.
    """

    def __init__(self, threads: int, queue: int) -> None:
        self._threads = threads
        self._queue = queue
        self._pools: dict[Any, _Pool] = {}

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What *function* returns or raises; the greenlet waits meanwhile, others run.

        Raises StoreUnavailable if too many are waiting already.
        """
        result, killed = self._call(function, args, kwargs)
        if killed is not None:
            raise killed
        return result

    def acquire(self, release: Callable[[R], object], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``run``, for what must be released: if the greenlet was killed meanwhile, *release* gets the result."""
        result, killed = self._call(function, args, kwargs)
        if killed is not None:
            release(result)
            raise killed
        return result

    def close(self) -> None:
        """End the threads of this hub; what still waits for a disk after a moment is left to itself."""
        pool = self._pools.pop(gevent.get_hub(), None)
        if pool is not None:
            with gevent.Timeout(_CLOSE_SECONDS, False):
                pool.threads.kill()

    def _call(self, function: Callable[..., R], args: Any, kwargs: Any) -> tuple[R, BaseException | None]:
        """The result, and what was raised in this greenlet meanwhile, if anything was."""
        pool = self._pool()
        if pool.under_way >= self._threads + self._queue:
            raise StoreUnavailable("the server is busy, try again later", detail="too many calls wait for a thread")
        pool.under_way += 1
        try:
            outcome = pool.threads.spawn(_guarded, function, args, kwargs)
            killed = _wait(outcome)
        finally:
            pool.under_way -= 1
        result, error = outcome.get()
        if error is not None:
            raise killed or error
        return result, killed

    def _pool(self) -> _Pool:
        hub = gevent.get_hub()
        pool = self._pools.get(hub)
        if pool is None:
            for other in [other for other in self._pools if other.dead]:
                self._pools.pop(other, None)
            pool = self._pools[hub] = _Pool(self._threads, hub)
        return pool


def _wait(outcome: Any) -> BaseException | None:
    """Wait until it is there, whatever is thrown into this greenlet; returns the first of that."""
    thrown: BaseException | None = None
    while not outcome.ready():
        try:
            outcome.wait()
        except BaseException as error:  # noqa: BLE001  # raised again once the call has returned
            thrown = thrown or error
    return thrown


def _guarded(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, BaseException | None]:
    """Errors travel as values: gevent prints what is raised in a thread, and a Refusal is no accident."""
    try:
        return function(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001  # raised again in the greenlet that asked
        return None, error
