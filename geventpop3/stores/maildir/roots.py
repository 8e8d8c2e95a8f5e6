"""The maildirs that are open in this process, each with its lock: a forked child closes its copies, whatever used them.

A lock lasts until each copy of its descriptor is closed. A child's copy would keep the maildrop locked after its parent
was killed, and no session may know of it yet: while a maildrop is scanned, for one.
"""

from __future__ import annotations

from collections.abc import Sequence

from geventpop3.forks import Registration
from geventpop3.stores.maildir import lock, system
from geventpop3.stores.maildir.opening import open_root


class Roots:
    """The open roots of one store.

    Each step is one operation on a set, atomic by itself, so threads and greenlets share it without a lock.
    """

    def __init__(self) -> None:
        self.known: set[int] = set()
        """Descriptors that are this process's to close. A forked child begins another set, and this one is empty."""
        self._forks = 0
        self._registration = Registration(self._disown, after=self._forked)

    def open(self, steps: Sequence[str], *, make: bool) -> int:
        """Do what ``open_root`` does; the descriptor is known from now on."""
        while True:
            forks = self._forks
            root = open_root(steps, make=make)
            self.known.add(root)
            if forks == self._forks:
                return root
            # A child may have a copy that it knows nothing of, so this one must not be locked.
            self.close(root, self.known, locked=False)

    @staticmethod
    def close(root: int, known: set[int], *, locked: bool) -> None:
        """Close *root* if it is still in *known*, which is that of its opening; *locked*: release the lock first."""
        if root not in known:
            return
        try:
            if locked:
                lock.release(root)  # it is free then, although a child that was forked may have a copy
        except OSError:
            return  # what is done below releases it
        finally:
            # Not after it is closed: another thread may have opened one of the same number.
            known.discard(root)
            system.close(root)

    def _forked(self) -> None:
        self._forks += 1

    def _disown(self) -> None:
        # What the child opens itself is none of this, even if it has the same number.
        known, self.known = self.known, set()
        while known:
            system.close(known.pop())
