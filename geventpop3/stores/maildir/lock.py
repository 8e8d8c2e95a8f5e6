"""The exclusive-access lock: ``flock`` on the maildir's directory, released by the kernel when its holder dies.

It needs no file, so it works on a full or read-only disk too. Each open of a directory is a separate holder, so two
sessions of one process exclude each other like those of two processes. On network file systems it excludes only the
sessions of one host, so use one server per maildrop. An operator takes it with ``flock DIRECTORY COMMAND``.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from geventpop3.errors import StoreUnavailable
from geventpop3.stores.maildir import system

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
