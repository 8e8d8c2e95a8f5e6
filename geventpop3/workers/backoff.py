"""Backoff before a worker is replaced: none for a single exit, longer and longer if all workers exit early.

The delay is bounded, so that a client that can crash workers cannot keep the service down for long.
"""

from __future__ import annotations

STEADY_SECONDS = 60.0
"""Seconds after which an exit of a worker is no longer early."""

LONGEST_SECONDS = 8.0


class Backoff:
    """A counter of consecutive early exits of workers. All times are seconds of one clock, given by the caller."""

    def __init__(self) -> None:
        self._early_exits = 0
        self._until = 0.0

    def record_exit(self, lived: float, now: float, workers: int) -> float:
        """Count the exit of a worker that lived *lived* seconds; return the delay until the next start, or 0.

        The first *workers* early exits cause no delay: one cause may have ended all workers.
        """
        self._early_exits = self._early_exits + 1 if lived < STEADY_SECONDS else 0
        rounds = (self._early_exits - 1) // max(1, workers)
        if rounds < 1:
            return 0.0
        seconds = min(2.0 ** min(rounds - 1, 8), LONGEST_SECONDS)
        self._until = now + seconds
        return seconds

    def is_needed(self, now: float) -> bool:
        """Return whether a new worker must wait."""
        return now < self._until
