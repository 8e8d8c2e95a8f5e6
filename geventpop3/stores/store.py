"""The interface between the maildrop service and a mail store.

A store opens maildrops by owner. A maildrop is a snapshot: it is scanned once, read, and changed only by one call of
``remove`` in UPDATE. Message-numbers, marks and formats belong to the service, never to a store.

Drivers are plain blocking code. The service calls them in a bounded thread pool, except where a driver declares that a
call does not wait (``opens_at_once``, ``blocking``). It never calls one maildrop from two threads at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from array import array
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import NamedTuple, overload

from geventpop3.errors import StoreMistake

UNIQUE_ID_OCTETS = 70
"""RFC 1939 section 7: "The unique-id of a message is an arbitrary server-determined string, consisting of one to 70
characters in the range 0x21 to 0x7E"."""

_SHOWN = 80
"""Characters of an illegal unique-id that an error shows."""


class Message(NamedTuple):
    """One message of a maildrop.

    *unique_id*: 1 to 70 octets of 0x21-0x7E, permanent and never reused (RFC 1939 section 7, UIDL).
    *octets*: the size as sent, with CRLF line ends and a final line end, before byte-stuffing (RFC 1939 section 11).
    """

    unique_id: str
    octets: int


class Snapshot(Sequence[Message]):
    """A sequence of messages kept in columns: 100,000 messages cost two arrays, not 100,000 objects.

    It is immutable by agreement, so sessions may share one. A store that makes the unique-ids and counts the octets
    itself sets *checked*: then nothing is checked again.
    """

    __slots__ = ("checked", "octets", "unique_ids")

    def __init__(self, unique_ids: Sequence[str], octets: array[int], *, checked: bool = False) -> None:
        self.unique_ids = unique_ids
        self.octets = octets
        self.checked = checked

    @classmethod
    def of(cls, scanned: object) -> Snapshot:
        """Return the result of ``scan`` as a snapshot. A Snapshot is returned itself if its octets are an array of "Q".

        A snapshot is checked once. Raises StoreMistake if *scanned* is no sequence of messages. Raises it also if a
        unique-id is illegal or used twice, or if a number of octets is invalid.
        """
        if not isinstance(scanned, Snapshot):
            scanned = cls(*_columns(scanned))
        elif scanned.checked:
            return scanned
        elif not (isinstance(scanned.octets, array) and scanned.octets.typecode == "Q"):
            scanned = cls(scanned.unique_ids, _octets(scanned.octets))
        _check(scanned)
        scanned.checked = True
        return scanned

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


def _columns(scanned: object) -> tuple[list[str], array[int]]:
    if not isinstance(scanned, Sequence) or isinstance(scanned, (str, bytes, bytearray)):
        raise StoreMistake(f"scan() returned a {type(scanned).__name__}, not a sequence of messages such as a list")
    for number, each in enumerate(scanned, 1):
        if not isinstance(each, Message):
            raise StoreMistake(f"message {number} is a {type(each).__name__}, not a Message")
    return [m.unique_id for m in scanned], _octets([m.octets for m in scanned])


def _octets(column: Iterable[object]) -> array[int]:
    octets = array("Q")
    for number, each in enumerate(column, 1):
        if not isinstance(each, int) or isinstance(each, bool) or not 0 <= each < 1 << 63:
            raise StoreMistake(f"message {number} has {each!r:.{_SHOWN}} octets: give an int, 0 or more")
        octets.append(each)
    return octets


def _check(snapshot: Snapshot) -> None:
    """Raise StoreMistake unless each message has one legal unique-id and no two are equal."""
    unique_ids = snapshot.unique_ids
    if len(unique_ids) != len(snapshot.octets):
        raise StoreMistake(
            f"the snapshot has {len(unique_ids)} unique-ids and octets of {len(snapshot.octets)} messages"
        )
    if _are_fine(unique_ids):
        return
    numbers: dict[str, int] = {}
    for number, unique_id in enumerate(unique_ids, 1):
        if not isinstance(unique_id, str):
            raise StoreMistake(f"message {number} has a unique-id that is a {type(unique_id).__name__}, not a str")
        if not is_unique_id(unique_id):
            raise StoreMistake(
                f"message {number} has the unique-id {unique_id[:_SHOWN]!r} of {len(unique_id)} characters:"
                f" a unique-id must have 1 to {UNIQUE_ID_OCTETS} characters from '!' to '~'"
            )
        if unique_id in numbers:
            raise StoreMistake(f"messages {numbers[unique_id]} and {number} have the same unique-id, {unique_id!r}")
        numbers[unique_id] = number


def _are_fine(unique_ids: Sequence[str]) -> bool:
    """Return whether all unique-ids are legal and unique; False may be wrong. 100,000 take some milliseconds."""
    if set(map(type, unique_ids)) - {str}:
        return False
    joined = "".join(unique_ids)
    return (
        joined.isascii()
        and joined.isprintable()
        and " " not in joined
        and all(unique_ids)
        and max(map(len, unique_ids), default=0) <= UNIQUE_ID_OCTETS
        and len(set(unique_ids)) == len(unique_ids)
    )


def is_unique_id(text: str) -> bool:
    """Return whether *text* is legal as a unique-id (RFC 1939 section 7)."""
    return 0 < len(text) <= UNIQUE_ID_OCTETS and text.isascii() and text.isprintable() and " " not in text


class Chunks(ABC, Iterator[bytes]):
    """The content of a message as an iterator that can also return its next chunk without waiting.

    ``next(chunks)`` may wait for a disk; ``ready()`` never does. Either releases its open resources when it raises.
    """

    complete = False
    """True if the chunk returned last was the final one: nothing is open any more."""

    @abstractmethod
    def ready(self) -> bytes | None:
        """Return the next chunk if that needs no waiting, ``b""`` at the end, None if ``next`` must be used."""

    @abstractmethod
    def close(self) -> None:
        """Release what is open; may be called more than once."""


class Maildrop(ABC):
    """One owner's mail during one session, from login to close."""

    counted: bool = False
    """True if the store counts the octets of ``scan``, so that they equal those of ``retrieve``. If False, the service
    counts the octets it sends; if they differ, it corrects the number for this session and logs an error."""

    removes: bool = True
    """False if no message can be removed: then DELE is refused."""

    place: Hashable = None
    """The resource that blocking calls wait for; see ``Store.place``."""

    blocking: frozenset[str] = frozenset({"scan", "retrieve", "remove", "close"})
    """The methods that may wait; the others are called without a thread. An instance may declare fewer."""

    @abstractmethod
    def scan(self) -> Sequence[Message]:
        """Return a snapshot of the messages, oldest first; called once. Raises StoreUnavailable or StoreBroken.

        The result must be a sequence with legal, unique unique-ids and valid octets. Otherwise the service logs an
        error and the client receives ``-ERR [SYS/PERM]``.
        """

    @abstractmethod
    def retrieve(self, unique_id: str) -> Iterable[bytes]:
        """Return the raw octets of a message, with any line ends, in chunks of bytes; ``(content,)`` is a single chunk.

        The message is already open on return, so that an unreadable one is refused before ``+OK``. Raises
        NoSuchMessage or StoreUnavailable. A failure during iteration must raise, never end the iteration early.
        """

    @abstractmethod
    def remove(self, unique_ids: Iterable[str]) -> None:
        """Remove these messages (the UPDATE state); called once, all or nothing across a crash.

        On return they are removed for ever. Raises RemovalIncomplete if some are left. Raises StoreUnavailable if all
        are left or if the result is not certain; its text must be true at every later login.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the exclusive-access lock and all other resources; called exactly once, whatever happened.

        It must unlock explicitly: a forked child may have a copy of the descriptor, which would keep the lock.
        """

    def interrupt(self) -> None:  # noqa: B027  # optional
        """Make a ``scan`` in another thread raise StoreUnavailable soon, because nobody waits for it any more."""

    def disown(self) -> None:  # noqa: B027  # optional
        """Close this process's copies of descriptors in a forked child, without an unlock or a message to a server.

        It is called instead of ``close``, which only the parent calls. It must not wait.
        """


class Store(ABC):
    """A collection of maildrops, opened by owner."""

    @abstractmethod
    def open(self, owner: str) -> Maildrop:
        """Return the maildrop of *owner*, locked. Raises MaildropLocked, StoreUnavailable or StoreBroken."""

    def place(self, owner: str) -> Hashable:  # noqa: ARG002 (for overriding methods)
        """Return the resource that calls for *owner* may wait for: a file system, a server. This call never waits.

        Each place has threads of its own, so that a slow one delays only its own users.
        """
        return None

    def opens_at_once(self, owner: str) -> bool:  # noqa: ARG002 (for overriding methods)
        """Return whether ``open(owner)`` is known not to wait, so that it may be called without a thread."""
        return False
