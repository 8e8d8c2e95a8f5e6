"""Exclusive-access locks in this process, for stores whose mail is kept where no other lock is."""

from __future__ import annotations

from geventpop3.errors import MaildropLocked


class OwnerLocks:
    """One lock for each owner (RFC 1939 section 4): ``acquire`` when a maildrop is opened, ``release`` when it closes.

    Threads may share it. It does not exclude other processes.
    """

    def __init__(self) -> None:
        self._held: dict[str, object] = {}

    def acquire(self, owner: str) -> None:
        """Take the lock of *owner*. Raises MaildropLocked."""
        mine = object()
        if self._held.setdefault(owner, mine) is not mine:  # one operation, which no thread can interrupt
            raise MaildropLocked

    def release(self, owner: str) -> None:
        """Release the lock of *owner*."""
        self._held.pop(owner, None)
