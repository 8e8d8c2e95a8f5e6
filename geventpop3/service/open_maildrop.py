"""A session's view of its maildrop: message-numbers fixed for the session, marks in memory, listings.

RFC 1939 section 4: the server assigns a message-number to each message; the first is 1. Marks are kept only here; the
store does not know of them before UPDATE.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from geventpop3.errors import NoSuchMessage
from geventpop3.pipeline.interfaces import ClientInterface, SessionSummary
from geventpop3.stores.store import Maildrop, Message, Snapshot

if TYPE_CHECKING:
    from geventpop3.service.utf8 import Present

LISTING_LINES = 500
"""Lines of a listing that are made at once: few enough that 100,000 messages do not block the event loop."""


class Transaction:
    """A maildrop in the TRANSACTION state.

    Each command that changes something here notes its number in the session. So it can be undone if its ``+OK`` is not
    sent: ``unmark``, ``mark_again``, ``kept_back``.

    *present* makes the form of a message that this client may have; None if it may have all. *removes_retrieved*:
    UPDATE removes the messages that RETR sent, marked or not (RFC 2449 section 6.7, EXPIRE 0).
    """

    __slots__ = (
        "_done_at",
        "_kept",
        "_marked_last",
        "_marks",
        "_octets",
        "_retrieved",
        "_snapshot",
        "_summary",
        "_unmarked",
        "_verified",
        "maildrop",
        "owner",
        "present",
        "removes_retrieved",
    )

    def __init__(
        self,
        maildrop: Maildrop,
        messages: Sequence[Message],
        summary: SessionSummary,
        *,
        owner: str = "",
        present: Present | None = None,
        removes_retrieved: bool = False,
    ) -> None:
        self.maildrop = maildrop
        self.owner = owner
        self.present = present
        self.removes_retrieved = removes_retrieved
        self._retrieved: set[int] = set()
        self._done_at = 0
        """Number of the last command that changed something here."""
        self._kept: set[int] = set()
        self._summary = summary
        self._snapshot = Snapshot.of(messages)
        self._octets: int = sum(self._snapshot.octets)
        self._marks: set[int] = set()
        self._marked_last = 0
        self._unmarked: set[int] = set()
        self._verified: set[int] | None = None

    @property
    def count(self) -> int:
        """Messages that are not marked as deleted."""
        return len(self._snapshot) - len(self._marks)

    @property
    def octets(self) -> int:
        """Octets of the messages that are not marked as deleted."""
        return self._octets

    @property
    def marked(self) -> list[str]:
        """Unique-ids of the messages marked as deleted, in order of message-number."""
        return self._unique_ids(self._marks)

    @property
    def expired(self) -> list[str]:
        """Unique-ids of the messages that are to be removed although they are not marked."""
        return self._unique_ids(self._retrieved - self._kept - self._marks)

    def message(self, number: int) -> Message:
        """Return the message with this number. Raises NoSuchMessage if there is none or it is marked as deleted."""
        snapshot = self._snapshot
        octets = snapshot.octets
        if number > len(octets):
            there = len(octets)
            raise NoSuchMessage(f"no such message, only {there} {plural(there)} in the maildrop")
        if number in self._marks:
            raise NoSuchMessage(f"message {number} is marked as deleted")
        return Message(snapshot.unique_ids[number - 1], octets[number - 1])

    def mark(self, number: int) -> None:
        """Mark a message as deleted. Raises NoSuchMessage as ``message`` does."""
        self._octets -= self.message(number).octets
        self._marks.add(number)
        self._marked_last = number
        self._done_at = self._summary.commands

    def unmark(self) -> None:
        """Undo a DELE whose ``+OK`` was not sent."""
        if self._done_at == self._summary.commands:
            self._octets += self._snapshot.octets[self._marked_last - 1]
            self._marks.discard(self._marked_last)

    def unmark_all(self) -> None:
        """Unmark all messages (RSET)."""
        self._octets += sum(self._snapshot.octets[number - 1] for number in self._marks)
        self._unmarked, self._marks = self._marks, set()
        self._done_at = self._summary.commands

    def mark_again(self) -> None:
        """Undo a RSET whose ``+OK`` was not sent."""
        if self._done_at == self._summary.commands:
            self._marks = self._unmarked
            self._octets -= sum(self._snapshot.octets[number - 1] for number in self._marks)

    def retrieved(self, number: int) -> None:
        """Count a message that is sent whole."""
        summary = self._summary
        summary.retrieved += 1
        self._done_at = summary.commands
        if self.removes_retrieved:
            self._retrieved.add(number)

    def taken(self, number: int, client: ClientInterface) -> None:
        """Count a message read to its end, if it is being sent: a plugin may read it and then replace it."""
        if client.writing:
            self.retrieved(number)

    def kept_back(self) -> None:
        """Undo the count of the message of the last RETR, which was not sent."""
        if self._done_at == self._summary.commands:
            self._summary.retrieved -= 1

    def is_verified(self, number: int) -> bool:
        """Return whether the octets of a message were counted in this session, and so are right."""
        return self._verified is not None and number in self._verified

    def verify(self, number: int, octets: int) -> Message:
        """Correct the octets of a message for this session, if wrong; return the message as announced before."""
        if self._verified is None:
            self._verified = set()
        self._verified.add(number)
        snapshot = self._snapshot
        told = snapshot[number - 1]
        if told.octets != octets:
            # Other sessions may share the snapshot.
            self._snapshot = Snapshot(snapshot.unique_ids, snapshot.octets[:], checked=True)
            self._snapshot.octets[number - 1] = octets
            if number not in self._marks:
                self._octets += octets - told.octets
        return told

    def keep(self, number: int) -> None:
        """Exempt a message from expiry: this client cannot have the message itself."""
        self._kept.add(number)

    def scan_listings(self) -> Iterator[bytes]:
        """Return the body of LIST's reply: message-number and octets of each message that is not marked."""
        return self._listing(self._snapshot.octets)

    def unique_id_listings(self) -> Iterator[bytes]:
        """Return the body of UIDL's reply: message-number and unique-id of each message that is not marked."""
        return self._listing(self._snapshot.unique_ids)

    def _unique_ids(self, numbers: set[int]) -> list[str]:
        return [self._snapshot.unique_ids[number - 1] for number in sorted(numbers)]

    def _listing(self, column: Sequence[object]) -> Iterator[bytes]:
        marks = self._marks
        for start in range(0, len(column), LISTING_LINES):
            rows = enumerate(column[start : start + LISTING_LINES], start + 1)
            if marks:
                text = "".join([f"{number} {value}\r\n" for number, value in rows if number not in marks])
            else:
                text = "".join([f"{number} {value}\r\n" for number, value in rows])
            yield text.encode("ascii")


def plural(count: int) -> str:
    """Return ``message`` or ``messages``."""
    return "message" if count == 1 else "messages"
