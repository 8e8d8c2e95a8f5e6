"""The indexes that this process has used lately, in bounded memory.

Two generations of a plain dict: what is used moves to the younger, and when that is half of the limit the elder is
dropped. Each step is one dict operation, atomic by itself, so threads and greenlets share it without a lock.
"""

from __future__ import annotations

from geventpop3.stores.maildir.index import Index

LIMIT = 400_000
"""Messages in all; each takes some 150 octets, twice that once it was read."""

_OVERHEAD = 16
"""What an index takes besides its messages, in messages."""


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
        """The index last put for *path*, if it is still here."""
        index = self._young.get(path)
        if index is None:
            index = self._old.get(path)
            if index is not None:
                self.put(path, index)
        return index

    def put(self, path: str, index: Index) -> None:
        """Keep *index*; one that is larger than half of the limit is not kept."""
        weight = len(index) + _OVERHEAD
        if weight > self._half:
            self.drop(path)
            return
        if self._weight + weight > self._half:
            # Two threads may both come here, and the cache then forgets more than it must.
            self._old, self._young, self._weight = self._young, {}, 0
        self._young[path] = index
        self._weight += weight

    def drop(self, path: str) -> None:
        """Forget the index of *path*, if it is here."""
        self._young.pop(path, None)
        self._old.pop(path, None)
