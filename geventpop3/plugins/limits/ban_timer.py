"""The bans that this process has pronounced, until they end: so that what acts on a ban is told when to undo it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import gevent

from geventpop3.forks import Registration, leave_to_parent
from geventpop3.plugins.limits.home import HomeGreenlet

REMEMBERED = 20_000
"""Bans whose end is told; of more than these the first to end are not."""


class Bans:
    """Addresses with the time their ban ends; *ended* is called with each whose time has come."""

    def __init__(self, clock: Callable[[], float], ended: Callable[[str], object]) -> None:
        self._clock = clock
        self._ended = ended
        self._until: OrderedDict[str, float] = OrderedDict()
        self._watch: HomeGreenlet | None = None
        self._registration = Registration(self._disown)

    def __len__(self) -> int:
        return len(self._until)

    def add(self, address: str, seconds: float) -> None:
        """*address* is banned from now on. All bans are of one length, so the first to come is the first to go."""
        self._until[address] = self._clock() + seconds
        self._until.move_to_end(address)
        if len(self._until) > REMEMBERED:
            self._until.popitem(last=False)
        if self._watch is None or self._watch.ready():
            self._watch = HomeGreenlet.spawn(self._wait)

    def remove(self, address: str) -> None:
        """The ban was lifted."""
        self._until.pop(address, None)

    def end(self) -> None:
        """Tell of those whose time has come."""
        now = self._clock()
        while self._until and next(iter(self._until.values())) <= now:
            self._ended(self._until.popitem(last=False)[0])

    def close(self) -> None:
        """Watch no more."""
        self._until.clear()
        if self._watch is not None:
            # A listener that is told of the end of a ban may have brought this about.
            self._watch.kill(block=False)
            self._watch = None

    def _disown(self) -> None:
        """Leave the telling to a forked child's parent: who acts on a ban shall be told once."""
        leave_to_parent(self._watch)
        self._until, self._watch = OrderedDict(), None

    def _wait(self) -> None:
        while self._until:
            gevent.sleep(max(0.0, next(iter(self._until.values())) - self._clock()))
            self.end()
