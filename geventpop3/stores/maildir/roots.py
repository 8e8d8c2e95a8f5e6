"""The maildirs that are open in this process, each with its lock. A forked child closes its copies of all of them.

A lock lasts until each copy of its descriptor is closed. A child's copy would keep the maildrop locked after its parent
was killed. Sometimes no session knows the descriptor yet, for example while a maildrop is scanned.
"""

from __future__ import annotations

from collections.abc import Sequence

from geventpop3.forks import Registration
from geventpop3.stores.maildir import lock, system
from geventpop3.stores.maildir.opening import open_root


class Roots:
    """The open roots of one store.

    Each step is one atomic operation on a set, so threads and greenlets share it without a lock.
    """

    def __init__(self) -> None:
        self.known: set[int] = set()
        """Descriptors that this process must close. A forked child begins a new set and empties this one."""
        self._forks = 0
        self._registration = Registration(self._disown, after=self._forked)

    def open(self, steps: Sequence[str], *, make: bool) -> int:
        """Open a maildir as ``open_root`` does, and add the descriptor to ``known``."""
        while True:
            forks = self._forks
            root = open_root(steps, make=make)
            self.known.add(root)
            if forks == self._forks:
                return root
            # A forked child may have a copy that it does not know, so this descriptor must not be locked.
            self.close(root, self.known, locked=False)

    @staticmethod
    def close(root: int, known: set[int], *, locked: bool) -> None:
        """Close *root* if it is still in *known*, the set of its opening; *locked*: release the lock first."""
        if root not in known:
            return
        try:
            if locked:
                lock.release(root)  # explicitly, because a forked child may have a copy
        except OSError:
            return  # the close below releases it
        finally:
            # Before the close: after it, another thread may open one of the same number.
            known.discard(root)
            system.close(root)

    def _forked(self) -> None:
        self._forks += 1

    def _disown(self) -> None:
        # A new set: the child's own descriptors must stay open, even with the same numbers.
        known, self.known = self.known, set()
        while known:
            system.close(known.pop())
