"""How long to wait before a worker is replaced: not at all for one that dies, longer and longer if all die young.

A client that can crash a worker must not keep the service down for long by it, so the wait is bounded.
"""

from __future__ import annotations

STEADY_SECONDS = 60.0
"""A worker that has lived for so long was in order."""

LONGEST_SECONDS = 8.0


class Patience:
    """Counts workers that died young, one after the other. Time is what it is told, in seconds of one clock."""

    def __init__(self) -> None:
        self._lost = 0
        self._until = 0.0

    def lost(self, lived: float, now: float, workers: int) -> float:
        """A worker that lived so long, one of so many *workers*, is gone; seconds until the next should begin, or 0.

        As many as there are workers are replaced at once: what took one may have taken all of them.
        """
        self._lost = self._lost + 1 if lived < STEADY_SECONDS else 0
        rounds = (self._lost - 1) // max(1, workers)
        if rounds < 1:
            return 0.0
        seconds = min(2.0 ** min(rounds - 1, 8), LONGEST_SECONDS)
        self._until = now + seconds
        return seconds

    def is_needed(self, now: float) -> bool:
        """Whether none should begin yet."""
        return now < self._until
