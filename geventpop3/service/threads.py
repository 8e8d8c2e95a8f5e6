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
"""Calls of one back end to others that wait for an answer at once: they cost memory, and no processor."""

CALLS_PER_THREAD = 256
"""Calls that wait for each thread. With 50 ms a hash, who is last in the queue waits thirteen seconds."""

NICER = 10
"""By how much the niceness of hashing threads is above the hub's. On a core that both want, the scheduler lets the hub
go first and leaves them a tenth; all of it while the hub sleeps."""

PATIENCE = 1.0
"""Seconds after which a call counts as slow, and between two looks whether its client is still there."""

EXTRA = 56
"""Slow calls of one place in whose stead others may begin. They cost memory; eight at once can be none of them."""

SHARES = 4
"""One owner's calls take this part of a place's threads at most."""

_CLOSE_SECONDS = 1.0


def _never() -> bool:
    return False


def _nothing() -> None:
    """Go on."""


class Call(NamedTuple):
    """What is known of a call: whether its client has *gone*, how to *interrupt* it, and whether it *is_needed*.

    One that lets go of something is needed, and never refused.
    """

    gone: Callable[[], bool] = _never
    interrupt: Callable[[], None] = _nothing
    is_needed: bool = False


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


class _Pool:
    """The threads of one hub, and the calls that have one or wait for one."""

    __slots__ = ("_replaced", "_running", "niceness", "places", "threads", "waiting")

    def __init__(self, threads: int, extra: int, hub: Any, nicer: int) -> None:
        self.threads = ThreadPool(threads + extra, hub)
        self.niceness = min(os.getpriority(os.PRIO_PROCESS, 0) + nicer, 19) if nicer else None
        self.places = Semaphore(threads, hub)
        self.waiting = 0
        self._running: dict[object, float] = {}
        self._replaced: set[object] = set()

    def begin(self) -> object:
        """A call has got a place; return what ``end`` needs."""
        call = object()
        self._running[call] = monotonic()
        return call

    def end(self, call: object) -> None:
        """The call is over, and gives its place back unless another took it over."""
        del self._running[call]
        if call in self._replaced:
            self._replaced.remove(call)
        else:
            self.places.release()

    def replace_slow(self, extra: int) -> None:
        """Let another call begin in place of one that has run for long, at most for *extra* of them at once."""
        now = monotonic()
        for call, since in self._running.items():
            if len(self._replaced) >= extra:
                return
            if now - since >= PATIENCE and call not in self._replaced:
                self._replaced.add(call)
                self.places.release()
                return


class Offload:
    """Runs blocking calls for greenlets, at most *threads* at once and *queue* waiting.

    A pool belongs to a hub, and hubs to native threads; each hub that asks gets its own. A greenlet that is killed, or
    runs into a timeout, goes when its call has returned and not before: whatever it then lets go of, a lock or a file,
    is in nobody's use any more. *nicer* is added to the threads' niceness, where threads have one of their own (Linux).
    *extra*: so many calls may take over ``PATIENCE`` seconds before others wait for them.
    """

    def __init__(self, threads: int, queue: int, *, nicer: int = 0, extra: int = 0) -> None:
        self._threads = threads
        self._queue = queue
        self._extra = extra
        self._nicer = nicer if sys.platform == "linux" else 0
        self._pools: dict[Any, _Pool] = {}

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return what *function* returns or raises; the greenlet waits meanwhile, others run.

        Raises StoreUnavailable if too many are waiting already.
        """
        result, killed = self._call(Call(), function, args, kwargs)
        if killed is not None:
            raise killed
        return result

    def run_call(self, call: Call, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As ``run``, with what *call* says of it. Raises StoreUnavailable once its client has gone, too."""
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
        """As ``run``, for what must be released: if the greenlet was killed meanwhile, *release* gets the result."""
        return self.acquire_call(Call(), release, function, *args, **kwargs)

    def acquire_call(
        self, call: Call, release: Callable[[R], object], function: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """As ``acquire``, with what *call* says of it."""
        result, killed = self._call(call, function, args, kwargs)
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

    def _call(self, call: Call, function: Callable[..., R], args: Any, kwargs: Any) -> tuple[R, BaseException | None]:
        """Return the result, and what was raised in this greenlet meanwhile, if anything was."""
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
        """Return what was raised in this greenlet meanwhile, if the call *is_needed*; raise it otherwise."""
        if pool.waiting >= self._queue and not call.is_needed:
            raise StoreUnavailable("the server is busy, try again later", detail="too many calls wait for a thread")
        thrown: BaseException | None = None
        pool.waiting += 1
        try:
            while True:
                try:
                    if pool.places.acquire(timeout=PATIENCE):
                        return thrown
                except BaseException as error:
                    if not call.is_needed:
                        raise
                    thrown = thrown or error
                if not call.is_needed and call.gone():
                    raise StoreUnavailable(detail="the client has gone, and its call was given up")
                pool.replace_slow(self._extra)
        finally:
            pool.waiting -= 1

    def _pool(self) -> _Pool:
        hub = gevent.get_hub()
        pool = self._pools.get(hub)
        if pool is None:
            for other in [other for other in self._pools if other.dead]:
                self._pools.pop(other, None)
            pool = self._pools[hub] = _Pool(self._threads, self._extra, hub, self._nicer)
        return pool


class StoreThreads:
    """The threads that wait for stores: a pool for each place, of which each owner has a share.

    A place is what calls may have to wait for (``Store.place``), so one that is slow costs those alone who need it. One
    owner's calls take a quarter of a pool at most. A call that takes over ``PATIENCE`` seconds has another begin in its
    stead, up to ``EXTRA`` at once.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._pools: dict[Hashable, Offload] = {}
        self._shares: dict[tuple[Hashable, str], _Share] = {}

    def of(self, place: Hashable) -> Offload:
        """Return the threads of a place."""
        pool = self._pools.get(place)
        if pool is None:
            pool = self._pools[place] = Offload(self._threads, self._threads * CALLS_PER_THREAD, extra=EXTRA)
        return pool

    @contextlib.contextmanager
    def share(self, place: Hashable, owner: str) -> Iterator[Offload]:
        """Wait until *owner* has less than its share of the place's threads; within it, the calls count."""
        key = place, owner
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = _Share(max(1, self._threads // SHARES))
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
        """Forget the threads, which are the parent's: this process is a forked child of theirs."""
        self._pools.clear()
        self._shares.clear()


class _Share:
    """The places of one owner, and how many calls have one or wait for one."""

    __slots__ = ("places", "users")

    def __init__(self, places: int) -> None:
        self.places = Semaphore(places)
        self.users = 0


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


def _wait(outcome: Any, call: Call, thrown: BaseException | None) -> BaseException | None:
    """Wait until it is there, whatever is thrown into this greenlet; return the first of that, or *thrown*."""
    while not outcome.ready():
        try:
            outcome.wait(PATIENCE)
        except BaseException as error:  # noqa: BLE001  # raised again once the call has returned
            thrown = thrown or error
        if not outcome.ready() and (thrown is not None or call.gone()):
            call.interrupt()
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
