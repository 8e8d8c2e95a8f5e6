"""Semaphores by key: a limited number of holders of one key at a time. Others wait for these alone."""

from __future__ import annotations

from gevent.lock import BoundedSemaphore


class Gates:
    """Semaphores by key, each kept while it is held or waited for. *most* may hold one, others wait *seconds*."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._gates: dict[str, BoundedSemaphore] = {}
        self._users: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._gates)

    def enter(self, key: str) -> bool:
        """Acquire the semaphore of *key*; return False if that took too long."""
        gate = self._gates.get(key)
        if gate is None:
            gate = self._gates[key] = BoundedSemaphore(self._most)
        self._users[key] = self._users.get(key, 0) + 1
        entered = False
        try:
            entered = bool(gate.acquire(timeout=self._seconds))
        finally:
            if not entered:
                self._forget(key)
        return entered

    def leave(self, key: str) -> None:
        """Release the semaphore of *key*."""
        self._gates[key].release()
        self._forget(key)

    def _forget(self, key: str) -> None:
        self._users[key] -= 1
        if not self._users[key]:
            del self._users[key], self._gates[key]
