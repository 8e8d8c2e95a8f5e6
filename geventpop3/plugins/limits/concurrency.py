"""At most so many of one key at a time; the others wait for these, and for nobody else."""

from __future__ import annotations

from gevent.lock import BoundedSemaphore


class Gates:
    """Gates by key, which exist while somebody is in one or before it. *most* get in, others wait *seconds*."""

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._gates: dict[str, BoundedSemaphore] = {}
        self._users: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._gates)

    def enter(self, key: str) -> bool:
        """Wait to be let in; False if that took too long."""
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
        """Let the next one in."""
        self._gates[key].release()
        self._forget(key)

    def _forget(self, key: str) -> None:
        self._users[key] -= 1
        if not self._users[key]:
            del self._users[key], self._gates[key]
