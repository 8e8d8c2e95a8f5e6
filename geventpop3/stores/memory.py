"""Maildrops in memory: for tests, demonstrations, and applications that deliver into them while they run.

No call waits, so none needs a thread. An owner without a delivery has an empty maildrop.
"""

from __future__ import annotations

import hashlib
import itertools
from array import array
from collections.abc import Iterable, Mapping
from email.message import Message as Email
from typing import NamedTuple

from geventpop3.errors import NoSuchMessage, StoreUnavailable
from geventpop3.owners import UsernameCase, canonical_name
from geventpop3.stores.contents import content_bytes
from geventpop3.stores.locks import OwnerLocks
from geventpop3.stores.store import Chunks, Maildrop, Snapshot, Store
from geventpop3.wire.stuffing import count_octets

CHUNK_OCTETS = 256 * 1024


class _Stored(NamedTuple):
    content: bytes
    octets: int


class MemoryStore(Store):
    """Messages in memory by owner, in order of delivery: octets with any line ends, str, or EmailMessage.

    A unique-id is made from the position in that order and from the content. So a program that delivers the same
    messages after a restart serves the same unique-ids, and never an old one for another message. *username_case*
    says which spellings are one owner; ``MaildropService`` has the same option.
    """

    def __init__(
        self,
        messages: Mapping[str, Iterable[bytes | str | Email]] | None = None,
        *,
        username_case: UsernameCase = "domain",
    ) -> None:
        self._username_case: UsernameCase = username_case
        self._maildrops: dict[str, dict[str, _Stored]] = {}
        self._serials = itertools.count(1)
        self._locks = OwnerLocks()
        given: object = messages
        if given is not None and not isinstance(given, Mapping):
            kind = type(given).__name__
            raise TypeError(f"messages must be a dict of lists by owner, not {kind}: write {{'alice': [message]}}")
        for owner, contents in (messages or {}).items():
            if isinstance(contents, (bytes, str, Email)):
                kind = type(contents).__name__
                raise TypeError(f"the messages of {owner!r} must be a list, not a {kind}: write [message]")
            for content in contents:
                self.deliver(owner, content)

    def deliver(self, owner: str, content: bytes | str | Email) -> str:
        """Add a message and return its unique-id. An open session does not see the message.

        A str becomes UTF-8. Raises TypeError if *content* is no message.
        """
        content = content_bytes(content)
        unique_id = self.unique_id(next(self._serials), content)
        self._maildrops.setdefault(self._key(owner), {})[unique_id] = _Stored(content, count_octets((content,)))
        return unique_id

    def unique_id(self, serial: int, content: bytes) -> str:
        """Return the unique-id of a message; *serial* counts the deliveries. For subclasses."""
        return f"{serial}.{hashlib.sha256(content).hexdigest()[:24]}"

    def messages(self, owner: str) -> list[bytes]:
        """Return the messages that the maildrop of *owner* holds now, oldest first."""
        return list(self.by_unique_id(owner).values())

    def by_unique_id(self, owner: str) -> dict[str, bytes]:
        """Return the messages that the maildrop of *owner* holds now by their unique-ids, oldest first."""
        stored = self._maildrops.get(self._key(owner), {}).copy()
        return {unique_id: each.content for unique_id, each in stored.items()}

    def clear(self, owner: str) -> None:
        """Remove all messages of a maildrop; an open session finds that they are gone."""
        self._maildrops.get(self._key(owner), {}).clear()

    def open(self, owner: str) -> Maildrop:
        """Return the maildrop of *owner*, locked. Raises MaildropLocked."""
        owner = self._key(owner)
        self._locks.acquire(owner)
        return _MemoryMaildrop(self._maildrops.get(owner, {}), self._locks, owner)

    def _key(self, owner: str) -> str:
        return canonical_name(owner, self._username_case)

    def opens_at_once(self, owner: str) -> bool:  # noqa: ARG002 (true for any owner)
        return True


class _MemoryMaildrop(Maildrop):
    blocking = frozenset()
    counted = True

    def __init__(self, messages: dict[str, _Stored], locks: OwnerLocks, owner: str) -> None:
        self._messages = messages
        self._locks = locks
        self._owner = owner
        self._scanned = messages.copy()

    def scan(self) -> Snapshot:
        octets = array("Q", (stored.octets for stored in self._scanned.values()))
        return Snapshot(list(self._scanned), octets, checked=True)

    def retrieve(self, unique_id: str) -> Chunks:
        if unique_id not in self._scanned:
            raise NoSuchMessage
        stored = self._messages.get(unique_id)
        if stored is None:
            raise StoreUnavailable("the message is gone")
        return _Slices(stored.content)

    def remove(self, unique_ids: Iterable[str]) -> None:
        wanted = list(unique_ids)
        if not self._scanned.keys() >= set(wanted):
            raise NoSuchMessage
        for unique_id in wanted:
            self._messages.pop(unique_id, None)

    def close(self) -> None:
        self._locks.release(self._owner)


class _Slices(Chunks):
    """A message in memory in slices, so that a large one does not keep its reader busy for long at once."""

    __slots__ = ("_content", "_offset", "complete")

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._offset = 0
        self.complete = False

    def ready(self) -> bytes:
        start = self._offset
        self._offset = start + CHUNK_OCTETS
        self.complete = self._offset >= len(self._content)
        return self._content[start : self._offset]

    def __next__(self) -> bytes:
        chunk = self.ready()
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        self._content = b""
