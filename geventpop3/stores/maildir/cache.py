"""The indexes that this process used recently, in bounded memory.

The cache is two dicts, a younger and an older. A used index moves to the younger. When that reaches half of the limit,
the older is dropped. Each step is one atomic dict operation, so threads and greenlets share it without a lock.
"""

from __future__ import annotations

from geventpop3.stores.maildir.index import Index

LIMIT = 400_000
"""Messages in the cache; each takes some 150 octets, twice that after it was read."""

_OVERHEAD = 16
"""Cost of an index itself, as a number of messages."""


class Cache:
    """Indexes by the path of their maildir."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._half = limit // 2
        self._young: dict[str, Index] = {}
        self._old: dict[str, Index] = {}
        self._weight = 0

    def __contains__(self, path: str) -> bool:
        return path in self._young or path in self._old

    def get(self, path: str) -> Index | None:
        """Return the index last put for *path*, or None if it is no longer in the cache."""
        index = self._young.get(path)
        if index is None:
            index = self._old.get(path)
            if index is not None:
                self.put(path, index)
        return index

    def put(self, path: str, index: Index) -> None:
        """Keep *index*, unless it is larger than half of the limit."""
        weight = len(index) + _OVERHEAD
        if weight > self._half:
            self.drop(path)
            return
        if self._weight + weight > self._half:
            # If two threads do this together, the cache drops more than it must.
            self._old, self._young, self._weight = self._young, {}, 0
        self._young[path] = index
        self._weight += weight

    def drop(self, path: str) -> None:
        """Drop the index of *path*, if there is one."""
        self._young.pop(path, None)
        self._old.pop(path, None)
