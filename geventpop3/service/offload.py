"""Nothing blocks the hub: what may wait for a disk or burn a processor runs in a bounded pool of native threads.

One pool a kind of work, so that password hashing never stands in the way of reading mail, nor either in the way of
name look-ups, which use gevent's own pool.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import gevent
from gevent.threadpool import ThreadPool

from geventpop3.errors import StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")

_CLOSE_SECONDS = 1.0


class Offload:
    """Runs blocking calls for greenlets, at most *threads* at once and *queue* waiting.

    A pool belongs to a hub, and hubs to native threads; each hub that asks gets its own.
    """

    def __init__(self, threads: int, queue: int | None = None) -> None:
        self.threads = threads
        self._queue = queue
        self._under_way = 0
        self._pools: WeakKeyDictionary[Any, ThreadPool] = WeakKeyDictionary()

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """What *function* returns or raises; the greenlet waits meanwhile, others run.

        Raises StoreUnavailable if too many are waiting already.
        """
        outcome = self._start(function, *args, **kwargs)
        result: R = _result(self._wait(outcome))
        return result

    def acquire(self, release: Callable[[R], object], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``run``, for what must be released: if the greenlet is killed meanwhile, *release* gets the result."""
        outcome = self._start(function, *args, **kwargs)
        try:
            result: R = _result(self._wait(outcome))
        except gevent.GreenletExit:
            outcome.rawlink(lambda done: _abandon(done, release))
            raise
        return result

    def close(self) -> None:
        """End the threads of this hub; what still waits for a disk after a moment is left to itself."""
        pool = self._pools.pop(gevent.get_hub(), None)
        if pool is not None:
            with gevent.Timeout(_CLOSE_SECONDS, False):
                pool.kill()

    def _start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self._queue is not None and self._under_way >= self.threads + self._queue:
            raise StoreUnavailable("the server is busy, try again later", detail="too many calls wait for a thread")
        hub = gevent.get_hub()
        pool = self._pools.get(hub)
        if pool is None:
            pool = self._pools[hub] = ThreadPool(self.threads, hub)
        self._under_way += 1
        try:
            return pool.spawn(_guarded, function, args, kwargs)
        except BaseException:
            self._under_way -= 1
            raise

    def _wait(self, outcome: Any) -> tuple[Any, BaseException | None]:
        try:
            return outcome.get()  # type: ignore[no-any-return]  # gevent is untyped
        finally:
            self._under_way -= 1


def _guarded(function: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, BaseException | None]:
    """Errors travel as values: gevent prints what is raised in a thread, and a Refusal is no accident."""
    try:
        return function(*args, **kwargs), None
    except Exception as error:  # noqa: BLE001  # raised again in the greenlet that asked
        return None, error


def _result(outcome: tuple[R, BaseException | None]) -> R:
    value, error = outcome
    if error is not None:
        raise error
    return value


def _abandon(done: Any, release: Callable[[Any], object]) -> None:
    value, error = done.value
    if error is None:
        release(value)
