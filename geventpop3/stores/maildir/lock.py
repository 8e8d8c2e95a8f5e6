"""The exclusive-access lock: ``flock`` on the maildir's directory, freed by the kernel when its holder dies.

It needs no file, so it works on a full or read-only disk too. Each open of a directory is a holder of its own, so that
two sessions of one process exclude each other as those of two processes do. On network file systems it holds for the
sessions of one host: one server per maildrop. An operator takes it with ``flock DIRECTORY COMMAND``.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from geventpop3.errors import StoreUnavailable
from geventpop3.stores.maildir import system

PAUSES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 1.0, 1.0)
"""Seconds between tries of ``held``: some four in all, which is longer than an UPDATE takes."""


def acquire(root: int) -> bool:
    """Takes the lock until *root* is closed or ``release``; False if another holds it. Raises OSError."""
    try:
        system.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def release(root: int) -> None:
    """Lets go of the lock before *root* is closed. Raises OSError."""
    system.flock(root, fcntl.LOCK_UN)


@contextmanager
def held(root: int) -> Iterator[None]:
    """Holds the lock for a short while, waiting for those who do the same. Raises StoreUnavailable, OSError."""
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
