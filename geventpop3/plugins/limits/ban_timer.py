"""Timer of the bans that this process has imposed, so that what acts on a ban is notified of its end."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import gevent

from geventpop3.forks import Registration, leave_to_parent
from geventpop3.server.greenlets import HomeGreenlet

REMEMBERED = 20_000
"""Maximum of bans whose end is reported; beyond it those that end first are dropped."""


class Bans:
    """Banned addresses with the end of each ban; *ended* is called with each address whose ban has ended."""

    def __init__(self, clock: Callable[[], float], ended: Callable[[str], object]) -> None:
        self._clock = clock
        self._ended = ended
        self._until: OrderedDict[str, float] = OrderedDict()
        self._watch: HomeGreenlet | None = None
        self._registration = Registration(self._disown)

    def __len__(self) -> int:
        return len(self._until)

    def add(self, address: str, seconds: float) -> None:
        """Add a ban of *address* from now on. All bans have the same length, so the first added is the first to end."""
        self._until[address] = self._clock() + seconds
        self._until.move_to_end(address)
        if len(self._until) > REMEMBERED:
            self._until.popitem(last=False)
        if self._watch is None or self._watch.ready():
            self._watch = HomeGreenlet.spawn(self._wait)

    def remove(self, address: str) -> None:
        """Remove a ban that was lifted."""
        self._until.pop(address, None)

    def end(self) -> None:
        """Report the bans that have ended."""
        now = self._clock()
        while self._until and next(iter(self._until.values())) <= now:
            self._ended(self._until.popitem(last=False)[0])

    def close(self) -> None:
        """Stop the timer and drop all bans."""
        self._until.clear()
        if self._watch is not None:
            # A listener that is notified of the end of a ban may call this, in that very greenlet.
            self._watch.kill(block=False)
            self._watch = None

    def _disown(self) -> None:
        """Leave the reports to a forked child's parent: the end of a ban must be reported once."""
        leave_to_parent(self._watch)
        self._until, self._watch = OrderedDict(), None

    def _wait(self) -> None:
        while self._until:
            gevent.sleep(max(0.0, next(iter(self._until.values())) - self._clock()))
            self.end()
