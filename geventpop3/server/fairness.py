"""Fair scheduling: a session that has run for a time slice without waiting yields to the others.

gevent switches only where a call would block. A peer that always has input and always takes output would keep the hub
busy, and then not even timers would run.
"""

from __future__ import annotations

from typing import Any, Protocol

import gevent

from geventpop3.server.limits import PAUSE, SLICE

_MILLISECOND = 0.001
"""The shortest timer of libuv; gevent warns if a shorter one is requested."""


def tick() -> None:
    """Wait for a real timer, so that the event loop also handles sockets and other timers."""
    gevent.sleep(PAUSE if gevent.get_hub().loop.iteration >= 0 else _MILLISECOND)


class Counts(Protocol):
    """A number that changes at every poll of the event loop; if it has changed, other greenlets have run since."""

    @property
    def iteration(self) -> int:
        """Polls of the event loop so far."""


class Turns:
    """Fair scheduling for the sessions of one server.

    Each session remembers ``polls.iteration`` and the time when it last changed. A session that finds it unchanged
    after ``slice`` seconds calls ``yield_to_others``. Before ``start`` no poll is counted, which only costs a few
    needless calls of it.
    """

    __slots__ = ("_counter", "_pausing", "polls", "slice")

    def __init__(self) -> None:
        self._counter = PollCounter()
        self._pausing = 0
        self.polls: Counts = self._counter
        self.slice = SLICE
        """Seconds that a session may run; sessions that never wait share one slice."""

    def start(self, loop: Any) -> None:
        """Count the polls of this gevent loop, with its own counter if it has one: libev has, libuv reports -1."""
        if loop.iteration >= 0:
            self.polls = loop
        else:
            self._counter.start(loop)

    def stop(self) -> None:
        """Stop counting, and keep no reference to the loop."""
        self._counter.stop()
        self.polls = self._counter

    def yield_to_others(self) -> None:
        """Yield to timers, sockets and other sessions."""
        self._pausing += 1
        self.slice = SLICE / (1 + self._pausing)
        try:
            tick()
        finally:
            self._pausing -= 1
            self.slice = SLICE / (1 + self._pausing)


class PollCounter:
    """A poll counter for a loop without one of its own; its watcher does not keep the loop running."""

    __slots__ = ("_watcher", "iteration")

    def __init__(self) -> None:
        self.iteration = 0
        self._watcher: Any = None

    def start(self, loop: Any) -> None:
        """Begin to count; ``stop`` must come before another ``start``."""
        self._watcher = loop.check(ref=False)
        self._watcher.start(self._polled)

    def stop(self) -> None:
        """Stop counting; do nothing if it has not begun."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def _polled(self) -> None:
        self.iteration += 1
