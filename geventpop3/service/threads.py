"""Bounded pools of native threads for calls that block or use much processor time, so the event loop never blocks.

Each kind of work has its own pool. A slow directory server does not delay hashing, and hashing does not delay reading
mail. None of them delays name look-ups, which use gevent's own pool. Each back end that waits for others has its own
pool, so a silent one affects only its own users. Hashing gets the processor time that the sessions leave.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Hashable, Iterator
from copy import copy
from time import monotonic
from typing import Any, NamedTuple, ParamSpec, TypeVar

import gevent
from gevent.lock import Semaphore
from gevent.threadpool import ThreadPool

from geventpop3.errors import StoreUnavailable

P = ParamSpec("P")
R = TypeVar("R")

WAITING_THREADS = 32
"""Concurrent calls of one back end that wait for others to answer: they cost memory, but no processor time."""

CALLS_PER_THREAD = 256
"""Calls that may wait for each thread. With 50 ms a hash, the last in the queue waits thirteen seconds."""

ADDED_NICENESS = 10
"""Niceness of hashing threads above that of the event loop. On a core that both want, the scheduler prefers the event
loop and leaves them a tenth; they get the whole core while the event loop sleeps."""

SLOW_SECONDS = 1.0
"""Seconds after which a call counts as slow, and between two checks whether its client is still connected."""

EXTRA_CALLS = 56
"""Slow calls of one place that other calls may replace. They cost memory; besides them, eight calls can run at once."""

SHARES_PER_PLACE = 4
"""Shares of a place's threads; the calls of one owner use at most one share."""

_CLOSE_SECONDS = 1.0


def _is_never_gone() -> bool:
    return False


def _do_nothing() -> None:
    """Do nothing."""


class Call(NamedTuple):
    """Properties of a call: whether its client *has_gone*, how to *interrupt* it, and whether it *is_needed*.

    A call that releases something is needed, and never refused.
    """

    has_gone: Callable[[], bool] = _is_never_gone
    interrupt: Callable[[], None] = _do_nothing
    is_needed: bool = False


def cores() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class _Pool:
    """The threads of one hub, and the calls that have one or wait for one."""

    __slots__ = ("_replaced", "_running", "niceness", "places", "threads", "waiting")

    def __init__(self, threads: int, extra: int, hub: Any, added_niceness: int) -> None:
        self.threads = ThreadPool(threads + extra, hub)
        self.niceness = min(os.getpriority(os.PRIO_PROCESS, 0) + added_niceness, 19) if added_niceness else None
        self.places = Semaphore(threads, hub)
        self.waiting = 0
        self._running: dict[object, float] = {}
        self._replaced: set[object] = set()

    def begin(self) -> object:
        """Record that a call has got a place; return the key that ``end`` needs."""
        call = object()
        self._running[call] = monotonic()
        return call

    def end(self, call: object) -> None:
        """Record the end of a call; release its place unless another call took it over."""
        del self._running[call]
        if call in self._replaced:
            self._replaced.remove(call)
        else:
            self.places.release()

    def replace_slow(self, extra: int) -> None:
        """Let another call begin in place of a slow one, at most for *extra* slow calls at once."""
        now = monotonic()
        for call, since in self._running.items():
            if len(self._replaced) >= extra:
                return
            if now - since >= SLOW_SECONDS and call not in self._replaced:
                self._replaced.add(call)
                self.places.release()
                return


class Offload:
    """Native threads that run blocking calls for greenlets, at most *threads* at once with *queue* waiting.

    A pool belongs to a hub, and a hub to a native thread; each hub gets its own pool. A greenlet that is killed or
    times out ends only after its call has returned. So a lock or file that it then releases is no longer in use.
    *added_niceness* is added to the threads' niceness, where each thread has its own (Linux). *extra*: number of calls
    that may take over ``SLOW_SECONDS`` seconds before other calls wait for them.
    """

    def __init__(self, threads: int, queue: int, *, added_niceness: int = 0, extra: int = 0) -> None:
        self._threads = threads
        self._queue = queue
        self._extra = extra
        self._added_niceness = added_niceness if sys.platform == "linux" else 0
        self._pools: dict[Any, _Pool] = {}

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run *function* in a thread, and return or raise what it does; other greenlets run meanwhile.

        Raises StoreUnavailable if too many calls are waiting already.
        """
        result, killed = self._call(Call(), function, args, kwargs)
        if killed is not None:
            raise killed
        return result

    def run_call(self, call: Call, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function as ``run`` does, with the properties in *call*.

        Raises StoreUnavailable, too, once the call's client has gone.
        """
        result, killed = self._call(call, function, args, kwargs)
        if killed is not None:
            raise killed
        return result

    def acquire(
        self,
        release: Callable[[R], object],
        function: Callable[P, R],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Run a function as ``run`` does; if the greenlet was killed meanwhile, pass the result to *release*."""
        return self.acquire_call(Call(), release, function, *args, **kwargs)

    def acquire_call(
        self, call: Call, release: Callable[[R], object], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run a function as ``acquire`` does, with the properties in *call*."""
        result, killed = self._call(call, function, args, kwargs)
        if killed is not None:
            release(result)
            raise killed
        return result

    def close(self) -> None:
        """End the threads of this hub; abandon those that still wait for a disk after ``_CLOSE_SECONDS``."""
        pool = self._pools.pop(gevent.get_hub(), None)
        if pool is not None:
            with gevent.Timeout(_CLOSE_SECONDS, False):
                pool.threads.kill()

    def disown(self) -> None:
        """Forget the threads in a forked child: they are the parent's."""
        self._pools.clear()

    def _call(self, call: Call, function: Callable[..., R], args: Any, kwargs: Any) -> tuple[R, BaseException | None]:
        """Return the result, and the exception raised in this greenlet meanwhile, or None."""
        pool = self._pool()
        killed = None
        if not pool.places.acquire(blocking=False):
            killed = self._wait_for_place(pool, call)
        running = pool.begin()
        try:
            outcome = pool.threads.spawn(_guarded, pool.niceness, function, args, kwargs)
            killed = _wait(outcome, call, killed)
        finally:
            pool.end(running)
        result, error = outcome.get()
        if error is not None:
            raise killed or error
        return result, killed

    def _wait_for_place(self, pool: _Pool, call: Call) -> BaseException | None:
        """Return the exception raised in this greenlet meanwhile if the call *is_needed*; raise it otherwise."""
        if pool.waiting >= self._queue and not call.is_needed:
            raise StoreUnavailable("the server is busy, try again later", detail="too many calls wait for a thread")
        thrown: BaseException | None = None
        pool.waiting += 1
        try:
            while True:
                try:
                    if pool.places.acquire(timeout=SLOW_SECONDS):
                        return thrown
                except BaseException as error:
                    if not call.is_needed:
                        raise
                    thrown = thrown or error
                if not call.is_needed and call.has_gone():
                    raise StoreUnavailable(detail="the client disconnected, its call was cancelled")
                pool.replace_slow(self._extra)
        finally:
            pool.waiting -= 1

    def _pool(self) -> _Pool:
        hub = gevent.get_hub()
        pool = self._pools.get(hub)
        if pool is None:
            for other in [other for other in self._pools if other.dead]:
                self._pools.pop(other, None)
            pool = self._pools[hub] = _Pool(self._threads, self._extra, hub, self._added_niceness)
        return pool


class StoreThreads:
    """Threads that wait for stores: a pool for each place, of which each owner has a share.

    Calls of one place may wait for the same thing (``Store.place``), so a slow place delays only its own users. The
    calls of one owner use at most a quarter of a pool. Another call may replace a call that takes over ``SLOW_SECONDS``
    seconds, for up to ``EXTRA_CALLS`` at once.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pools: dict[Hashable, Offload] = {}
        self._shares: dict[tuple[Hashable, str], _Share] = {}

    def of(self, place: Hashable) -> Offload:
        """Return the threads of a place."""
        pool = self._pools.get(place)
        if pool is None:
            pool = self._pools[place] = Offload(self._threads, self._threads * CALLS_PER_THREAD, extra=EXTRA_CALLS)
        return pool

    @contextlib.contextmanager
    def share(self, place: Hashable, owner: str) -> Iterator[Offload]:
        """Wait until *owner* uses less than its share of the place's threads; calls in the context count towards it."""
        key = place, owner
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = _Share(max(1, self._threads // SHARES_PER_PLACE))
        share.users += 1
        try:
            with share.places:
                yield self.of(place)
        finally:
            share.users -= 1
            if not share.users:
                del self._shares[key]

    def close(self) -> None:
        """End the threads of this hub."""
        for pool in self._pools.values():
            pool.close()

    def disown(self) -> None:
        """Forget the threads in a forked child: they are the parent's."""
        self._pools.clear()
        self._shares.clear()


class _Share:
    """The places of one owner, and the number of calls that have one or wait for one."""

    __slots__ = ("places", "users")

    def __init__(self, places: int) -> None:
        self.places = Semaphore(places)
        self.users = 0


class AuthThreads:
    """Threads for authentication: *hashing* ones (by default one for each core) and *waiting* ones.

    The class implements ``Threads``, which runs a back end's slow parts. Each back end of a chain has *waiting* threads
    of its own, which are made when needed.
    """

    def __init__(self, hashing: int | None = None, waiting: int = WAITING_THREADS) -> None:
        hashing = hashing or cores()
        self._hashing = Offload(hashing, hashing * CALLS_PER_THREAD, added_niceness=ADDED_NICENESS)
        self._begin(waiting)

    def _begin(self, waiting: int) -> None:
        self._count = waiting
        self._waiting = Offload(waiting, waiting * CALLS_PER_THREAD)
        self._parts: list[AuthThreads] = []

    def compute(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that takes some milliseconds of processor time in a hashing thread."""
        return self._hashing.run(function, *args, **kwargs)

    def wait(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a function that may wait, for a disk or a server, in a waiting thread."""
        return self._waiting.run(function, *args, **kwargs)

    def apart(self) -> AuthThreads:
        """Return threads for one back end of several; they end with these."""
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
        """Forget the threads in a forked child: they are the parent's."""
        self._hashing.disown()
        self._waiting.disown()
        for part in self._parts:
            part.disown()


def _wait(outcome: Any, call: Call, thrown: BaseException | None) -> BaseException | None:
    """Wait for *outcome* despite exceptions in this greenlet; return *thrown*, else the first of these, or None."""
    while not outcome.ready():
        try:
            outcome.wait(SLOW_SECONDS)
        except BaseException as error:  # noqa: BLE001  # raised again once the call has returned
            thrown = thrown or error
        if not outcome.ready() and (thrown is not None or call.has_gone()):
            call.interrupt()
    return thrown


def _guarded(
    niceness: int | None, function: Callable[..., Any], args: Any, kwargs: Any
) -> tuple[Any, BaseException | None]:
    """Return the result and the error: gevent prints an exception raised in a thread, and a Refusal is no fault."""
    try:
        if niceness is not None:
            # Linux: 0 is the calling thread, and threads that it starts, as argon2 does, inherit its niceness. A
            # thread that is nicer already may not lower its niceness; that error is ignored.
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, 0, niceness)
        return function(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001  # raised again in the greenlet that asked
        return None, error
