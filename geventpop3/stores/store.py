"""The interface between the maildrop service and a place where mail is kept.

A store opens maildrops by owner; a maildrop is a snapshot that is scanned once, read, and changed only by one call of
``remove`` in UPDATE. Message-numbers, marks and formats belong to the service, never to a store.

Drivers are plain blocking code. The service calls them in a bounded thread pool, except where a driver says that a call
does not wait (``opens_at_once``, ``blocking``), and never calls one maildrop from two threads at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload


class Message(NamedTuple):
    """One message of a maildrop.

    *unique_id*: 1 to 70 octets of 0x21-0x7E, the same for ever and never used again (RFC 1939 section 7, UIDL).
    *octets*: the size as sent, with CRLF line ends and a final line end, before byte-stuffing (RFC 1939 section 11).
    """

    unique_id: str
    octets: int


class Snapshot(Sequence[Message]):
    """A sequence of messages kept in columns: 100,000 of them cost two arrays, not 100,000 objects.

    It is immutable by agreement, so sessions may share one.
    """

    __slots__ = ("octets", "unique_ids")

    def __init__(self, unique_ids: Sequence[str], octets: array[int]) -> None:
        self.unique_ids = unique_ids
        self.octets = octets

    @classmethod
    def of(cls, messages: Sequence[Message]) -> Snapshot:
        """The snapshot of any sequence of messages; a Snapshot is its own."""
        if isinstance(messages, Snapshot):
            return messages
        return cls([m.unique_id for m in messages], array("Q", (m.octets for m in messages)))

    def __len__(self) -> int:
        return len(self.octets)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        if isinstance(index, slice):
            return Snapshot(self.unique_ids[index], self.octets[index])
        return Message(self.unique_ids[index], self.octets[index])


class Chunks(ABC, Iterator[bytes]):
    """A message being read, which can say whether its next chunk is at hand.

    ``next(chunks)`` may wait for a disk; ``ready()`` never does. Either lets go of what is open when it raises.
    """

    complete = False
    """Whether the chunk that was handed out last was the last one: nothing is open any more."""

    @abstractmethod
    def ready(self) -> bytes | None:
        """The next chunk if it can be had without waiting, ``b""`` at the end, None if ``next`` must be used."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open; may be called more than once."""


class Maildrop(ABC):
    """One owner's mail during one session, from login to close."""

    blocking: frozenset[str] = frozenset({"scan", "retrieve", "remove", "close"})
    """The methods that may wait; the others are called without a thread. May be narrowed by an instance."""

    @abstractmethod
    def scan(self) -> Sequence[Message]:
        """The messages, oldest first: a snapshot, called once. Raises StoreUnavailable or StoreBroken."""

    @abstractmethod
    def retrieve(self, unique_id: str) -> Iterable[bytes]:
        """The raw octets of a message, any line ends, in chunks.

        The message is opened when this returns, so that what cannot be read is refused before ``+OK``. Raises
        NoSuchMessage or StoreUnavailable; a failure while iterating must raise, never end early.
        """

    @abstractmethod
    def remove(self, unique_ids: Iterable[str]) -> None:
        """UPDATE: remove these messages, once, all or nothing across a crash.

        On return they are gone for good. Raises RemovalIncomplete if some are left, StoreUnavailable if all are, or if
        that is not certain: its text must be true at every later login.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the exclusive-access lock and all else; called exactly once, whatever happened.

        The lock is released, not only let go of with its descriptor, of which a forked child may have a copy.
        """

    def disown(self) -> None:  # noqa: B027  # for those that have a descriptor
        """Close this process's copies of descriptors in a forked child: no unlock, and no word to a server.

        Called instead of ``close``, which is the parent's to call. It must not wait.
        """


class Store(ABC):
    """A place where maildrops are kept."""

    @abstractmethod
    def open(self, owner: str) -> Maildrop:
        """The maildrop of *owner*, locked. Raises MaildropLocked, StoreUnavailable or StoreBroken."""

    def opens_at_once(self, owner: str) -> bool:  # noqa: ARG002 (for those who override it)
        """Whether ``open(owner)`` is known not to wait, so that it may be called without a thread."""
        return False
