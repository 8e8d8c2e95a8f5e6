"""A session that has run for a slice of time without waiting gives way to the others, for a real timer tick.

gevent switches only where a call would block; a peer whose input is always there and whose output always fits would
keep the hub, and then not even timers run.
"""

from __future__ import annotations

from typing import Any, Protocol

import gevent

from geventpop3.server.limits import PAUSE, SLICE

_MILLISECOND = 0.001
"""The shortest tick that libuv has; asked for less, gevent warns."""


def tick() -> None:
    """Wait for a real timer, so that sockets and other timers come to their turn too."""
    gevent.sleep(PAUSE if gevent.get_hub().loop.iteration >= 0 else _MILLISECOND)


class Counts(Protocol):
    """What changes whenever the loop has polled: whoever finds it changed has waited since, and others have run."""

    @property
    def iteration(self) -> int:
        """How often it has polled."""


class Turns:
    """Shared by the sessions of one server, each of which remembers ``polls.iteration`` and since when it has been so.

    One that finds it unchanged after ``slice`` seconds calls ``give_way``. Until ``start`` no poll is counted, and all
    that is lost is a tick now and then.
    """

    __slots__ = ("_counter", "_pausing", "polls", "slice")

    def __init__(self) -> None:
        self._counter = PollCounter()
        self._pausing = 0
        self.polls: Counts = self._counter
        self.slice = SLICE
        """Seconds; sessions that never wait share one slice."""

    def start(self, loop: Any) -> None:
        """Count the polls of this gevent loop, at no cost where it does so itself: libev does, libuv says -1."""
        if loop.iteration >= 0:
            self.polls = loop
        else:
            self._counter.start(loop)

    def stop(self) -> None:
        """Count no more, and hold nothing of the loop."""
        self._counter.stop()
        self.polls = self._counter

    def give_way(self) -> None:
        """Let timers, sockets and other sessions come to their turn."""
        self._pausing += 1
        self.slice = SLICE / (1 + self._pausing)
        try:
            tick()
        finally:
            self._pausing -= 1
            self.slice = SLICE / (1 + self._pausing)


class PollCounter:
    """Counts the polls of a loop that does not, from a watcher that does not keep it running."""

    __slots__ = ("_watcher", "iteration")

    def __init__(self) -> None:
        self.iteration = 0
        self._watcher: Any = None

    def start(self, loop: Any) -> None:
        """Begin; once at a time."""
        self._watcher = loop.check(ref=False)
        self._watcher.start(self._polled)

    def stop(self) -> None:
        """End; nothing happens if it has not begun."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def _polled(self) -> None:
        self.iteration += 1
