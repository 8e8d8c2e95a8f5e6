"""Nothing blocks the hub: what may wait for a disk or burn a processor runs in a bounded pool of native threads.

One pool a kind of work, so that a slow directory server keeps no password from being hashed, hashing never stands in
the way of reading mail, nor any of them in the way of name look-ups, which use gevent's own pool. One pool a back end
that waits for others, so that a silent one costs those alone whom it knows. Hashing gets what the sessions leave of
the processor.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from copy import copy
from typing import Any, ParamSpec, TypeVar

import gevent
from gevent.threadpool import ThreadPool

from geventpop3.errors import StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")

WAITING_THREADS = 32
"""Calls of one back end to others that wait for an answer at once: they cost memory, and no processor."""

CALLS_PER_THREAD = 256
"""Calls that wait for each thread. With 50 ms a hash, who is last in the queue waits thirteen seconds."""

NICER = 10
"""By how much the niceness of hashing threads is above the hub's. On a core that both want, the scheduler lets the hub
go first and leaves them a tenth; all of it while the hub sleeps."""

_CLOSE_SECONDS = 1.0


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class _Pool:
    """The threads of one hub, and how many calls they have or wait for."""

    __slots__ = ("niceness", "threads", "under_way")

    def __init__(self, threads: int, hub: Any, nicer: int) -> None:
        self.threads = ThreadPool(threads, hub)
        self.niceness = min(os.getpriority(os.PRIO_PROCESS, 0) + nicer, 19) if nicer else None
        self.under_way = 0


class Offload:
    """Runs blocking calls for greenlets, at most *threads* at once and *queue* waiting.

    A pool belongs to a hub, and hubs to native threads; each hub that asks gets its own. A greenlet that is killed, or
    runs into a timeout, goes when its call has returned and not before: whatever it then lets go of, a lock or a file,
    is in nobody's use any more. *nicer* is added to the threads' niceness, where threads have one of their own (Linux).
    """

    def __init__(self, threads: int, queue: int, *, nicer: int = 0) -> None:
        self._threads = threads
        self._queue = queue
        self._nicer = nicer if sys.platform == "linux" else 0
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

    def disown(self) -> None:
        """Forget the threads, which are the parent's: this process is a forked child of theirs."""
        self._pools.clear()

    def _call(self, function: Callable[..., R], args: Any, kwargs: Any) -> tuple[R, BaseException | None]:
        """The result, and what was raised in this greenlet meanwhile, if anything was."""
        pool = self._pool()
        if pool.under_way >= self._threads + self._queue:
            raise StoreUnavailable("the server is busy, try again later", detail="too many calls wait for a thread")
        pool.under_way += 1
        try:
            outcome = pool.threads.spawn(_guarded, pool.niceness, function, args, kwargs)
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
            pool = self._pools[hub] = _Pool(self._threads, hub, self._nicer)
        return pool


class AuthThreads:
    """The threads that check who somebody is: *hashing* of them (as many as there are cores) and *waiting* ones.

    It is the ``Threads`` that a back end's slow parts are given to. Each back end of a chain has *waiting* ones of its
    own, which are made when they are needed.
    """

    def __init__(self, hashing: int | None = None, waiting: int = WAITING_THREADS) -> None:
        hashing = hashing or cores()
        self._hashing = Offload(hashing, hashing * CALLS_PER_THREAD, nicer=NICER)
        self._begin(waiting)

    def _begin(self, waiting: int) -> None:
        self._count = waiting
        self._waiting = Offload(waiting, waiting * CALLS_PER_THREAD)
        self._parts: list[AuthThreads] = []

    def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What takes a processor some milliseconds."""
        return self._hashing.run(function, *args, **kwargs)

    def wait(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What may wait, for a disk or a server."""
        return self._waiting.run(function, *args, **kwargs)

    def apart(self) -> AuthThreads:
        """Return the threads of one back end of several; they end with these."""
        part = copy(self)
        part._begin(self._count)
        self._parts.append(part)
        return part

    def close(self) -> None:
        """End the threads of this hub."""
        self._hashing.close()
        self._waiting.close()
        for part in self._parts:
            part.close()

    def disown(self) -> None:
        """Forget the threads, which are the parent's: this process is a forked child of theirs."""
        self._hashing.disown()
        self._waiting.disown()
        for part in self._parts:
            part.disown()


def _wait(outcome: Any) -> BaseException | None:
    """Wait until it is there, whatever is thrown into this greenlet; returns the first of that."""
    thrown: BaseException | None = None
    while not outcome.ready():
        try:
            outcome.wait()
        except BaseException as error:  # noqa: BLE001  # raised again once the call has returned
            thrown = thrown or error
    return thrown


def _guarded(
    niceness: int | None, function: Callable[..., Any], args: Any, kwargs: Any
) -> tuple[Any, BaseException | None]:
    """Errors travel as values: gevent prints what is raised in a thread, and a Refusal is no accident."""
    try:
        if niceness is not None:
            # Linux: 0 is the calling thread, and threads that it starts, as argon2 does, inherit its niceness. It
            # may be nicer already, and then must not be less so: that is all right.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, niceness)
        return function(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001  # raised again in the greenlet that asked
        return None, error
