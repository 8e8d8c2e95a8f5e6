"""The exclusive-access lock: ``flock`` on the maildir's directory, released by the kernel when its holder dies.

It needs no file, so it works on a full or read-only disk too. Each open of a directory is a separate holder, so two
sessions of one process exclude each other like those of two processes. On network file systems it excludes only the
sessions of one host, so use one server per maildrop. An operator takes it with ``flock DIRECTORY COMMAND``.

A lock lasts until each copy of its descriptor is closed. A forked child's copy would keep the maildrop locked after its
parent was killed, so ``Roots`` closes it. Sometimes no session knows the descriptor yet, for example during a scan.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from geventpop3.errors import StoreUnavailable
from geventpop3.forks import Registration
from geventpop3.stores.maildir import system
from geventpop3.stores.maildir.opening import open_root

PAUSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.0, 1.0)
"""Seconds between the tries of ``held``: some four in all, longer than an UPDATE takes."""


def acquire(root: int) -> bool:
    """Take the lock until ``release`` or the close of *root*; return False if another holds it. Raises OSError."""
    try:
        system.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def release(root: int) -> None:
    """Release the lock before *root* is closed. Raises OSError."""
    system.flock(root, fcntl.LOCK_UN)


@contextmanager
def held(root: int) -> Iterator[None]:
    """Hold the lock for a short time; wait for other short holders first. Raises StoreUnavailable, OSError."""
    for pause in PAUSES:
        if acquire(root):
            break
        system.pause(pause)
    else:
        raise StoreUnavailable("another session is changing the maildrop, try again later")
    try:
        yield
    finally:
        release(root)


class Roots:
    """The open roots of one store; a forked child closes its copies of all of them.

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
                release(root)  # explicitly, because a forked child may have a copy
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
