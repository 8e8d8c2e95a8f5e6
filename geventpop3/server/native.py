"""Native threads, whether or not the process is monkey-patched."""

from __future__ import annotations

import sys
from typing import Any

from gevent import monkey

_allocate_lock = monkey.get_original("_thread", "allocate_lock")
get_ident = monkey.get_original("_thread", "get_ident")
"""Return the number of the current native thread."""


class Signal:
    """Something that happens once, and that native threads wait for without a hub."""

    __slots__ = ("_happened", "_lock")

    def __init__(self) -> None:
        self._lock: Any = _allocate_lock()
        self._lock.acquire()
        self._happened = False

    def is_set(self) -> bool:
        """Return whether it has happened."""
        return self._happened

    def set(self) -> None:
        """Let it happen; a second call, in the same thread, changes nothing."""
        if not self._happened:
            self._happened = True
            self._lock.release()

    def wait(self, seconds: float | None = None) -> bool:
        """Block this native thread until it has happened, or for *seconds*; return whether it has."""
        happened: bool = self._lock.acquire(timeout=-1 if seconds is None else seconds)
        if happened:
            self._lock.release()
        return happened


def is_alive(ident: int) -> bool:
    """Return whether a native thread of this number runs."""
    return ident in sys._current_frames()
