"""Open maildrops: message-numbers fixed for the session, marks in memory, listings, and the calls of their store.

RFC 1939 section 4: the server assigns a message-number to each message; the first is 1. Marks are kept only here; the
store does not know of them before UPDATE.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import cast

from geventpop3.errors import NoSuchMessage, Refusal, StoreBroken, StoreMistake
from geventpop3.pipeline.interfaces import ClientInterface, SessionSummary
from geventpop3.pipeline.plugin import callable_name
from geventpop3.service.body import Body, Content, close_if_possible
from geventpop3.service.threads import Call, StoreThreads
from geventpop3.stores.store import Chunks, Maildrop, Message, Snapshot, Store
from geventpop3.wire.stuffing import whole

log = logging.getLogger("geventpop3.service")

LISTING_LINES = 500
"""Lines of a listing that are made at once: few enough that 100,000 messages do not block the event loop."""


Present = Callable[[Content, Callable[[], object]], Content]
"""A function that makes the form of a message for clients without UTF-8 mode; it calls its last argument if that form
differs from the message."""


class Maildrops:
    """The maildrops of one store. Each call of the store runs in a thread if it may block.

    *threads*: number of threads for each place of the store (``Store.place``).
    """

    def __init__(self, store: Store, threads: int) -> None:
        self.store = store
        self._threads = StoreThreads(threads)

    def open(
        self, owner: str, client: ClientInterface, present: Present | None, *, removes_retrieved: bool
    ) -> Transaction:
        """Open, lock and scan the maildrop of *owner*; a call that still waits is given up once *client* has gone.

        *present* and *removes_retrieved* are as in ``Transaction``. Raises StoreBroken, and logs why, if the scan is
        no snapshot.
        """
        maildrop = self._opened(owner, client)
        try:
            snapshot = self._scanned(maildrop, owner, client)
            return Transaction(
                self,
                maildrop,
                snapshot,
                client.summary,
                owner=owner,
                present=present,
                removes_retrieved=removes_retrieved,
            )
        except BaseException:
            # RFC 1939 section 4: the lock must be released before a negative reply.
            self.close_maildrop(maildrop)
            raise

    def _opened(self, owner: str, client: ClientInterface) -> Maildrop:
        store = self.store
        if store.opens_at_once(owner):
            return store.open(owner)
        with self._threads.share(store.place(owner), owner) as threads:
            return threads.acquire_call(Call(client.has_gone), self.close_maildrop, store.open, owner)

    def _scanned(self, maildrop: Maildrop, owner: str, client: ClientInterface) -> Snapshot:
        try:
            if "scan" not in maildrop.blocking:
                return _scan(maildrop)
            with self._threads.share(maildrop.place, owner) as threads:
                return threads.run_call(Call(client.has_gone, maildrop.interrupt), _scan, maildrop)
        except StoreMistake as mistake:
            raise self.report_mistake(owner, mistake) from None

    def read(self, maildrop: Maildrop, owner: str, unique_id: str) -> tuple[bytes] | Body:
        """Open a message and read its first chunk; return a tuple of that chunk if it is the last, else a Body.

        Raises StoreBroken, and logs why, if it cannot be sent.
        """
        waits = "retrieve" in maildrop.blocking
        try:
            if waits:
                with self._threads.share(maildrop.place, owner) as threads:
                    chunks = threads.acquire(close_if_possible, maildrop.retrieve, unique_id)
            else:
                chunks = maildrop.retrieve(unique_id)
        except StoreMistake as mistake:
            raise self.report_mistake(owner, mistake, unique_id) from None
        if whole(chunks) is not None:
            return cast("tuple[bytes]", chunks)
        first = None
        given: object = chunks  # to a type checker, a value that is not iterable is impossible here
        if isinstance(chunks, Chunks):
            # Chunks release the message by themselves when they fail.
            first = chunks.ready()
            if type(first) is bytes and chunks.complete:
                return (first,)
        elif not isinstance(given, Iterable):
            kind = type(given).__name__
            raise self.report_mistake(owner, f"retrieve() must return an iterable of bytes, not a {kind}", unique_id)
        make_error = partial(self.report_mistake, owner, unique_id=unique_id)
        return Body(chunks, self._threads.of(maildrop.place), first=first, waits=waits, make_error=make_error)

    def close_maildrop(self, maildrop: Maildrop) -> None:
        """Close a maildrop; this releases the lock."""
        if "close" in maildrop.blocking:
            self._threads.of(maildrop.place).run_call(Call(is_needed=True), maildrop.close)
        else:
            maildrop.close()

    def remove(self, maildrop: Maildrop, unique_ids: list[str]) -> None:
        """Remove messages (UPDATE)."""
        if "remove" in maildrop.blocking:
            self._threads.of(maildrop.place).run_call(Call(is_needed=True), maildrop.remove, unique_ids)
        else:
            maildrop.remove(unique_ids)

    def report_mistake(self, owner: str, mistake: object, unique_id: str | None = None) -> StoreBroken:
        """Log a mistake of the store and return the error to raise."""
        message = "" if unique_id is None else f", message {unique_id!r}"
        log.error("error in the store %s, maildrop of %r%s: %s", callable_name(self.store), owner, message, mistake)
        return StoreBroken()

    def close(self) -> None:
        """End the threads of this hub."""
        self._threads.close()

    def disown(self) -> None:
        """Forget the threads in a forked child: they are the parent's."""
        self._threads.disown()


class Transaction:
    """A maildrop in the TRANSACTION state.

    Each command that changes something here is noted, by its number in the session, so that it can be undone if its
    ``+OK`` is not sent: ``unmark``, ``restore_marks``, ``uncount_retrieved``.

    *present* makes the form of a message that this client may have; None if it may have all. *removes_retrieved*:
    UPDATE removes the messages that RETR sent, marked or not (RFC 2449 section 6.7, EXPIRE 0).
    """

    __slots__ = (
        "_done_at",
        "_exempt",
        "_maildrops",
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
        maildrops: Maildrops,
        maildrop: Maildrop,
        snapshot: Snapshot,
        summary: SessionSummary,
        *,
        owner: str,
        present: Present | None,
        removes_retrieved: bool,
    ) -> None:
        self._maildrops = maildrops
        self.maildrop = maildrop
        self.owner = owner
        self.present = present
        self.removes_retrieved = removes_retrieved
        self._retrieved: set[int] = set()
        self._done_at = 0
        """Number, in this session, of the last command that changed something here."""
        self._exempt: set[int] = set()
        self._summary = summary
        self._snapshot = snapshot
        self._octets: int = sum(snapshot.octets)
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
        return self._unique_ids(self._retrieved - self._exempt - self._marks)

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
        """Mark a message as deleted. Raises NoSuchMessage as ``message`` does, Refusal if nothing can be removed."""
        if not self.maildrop.removes:
            raise Refusal("messages cannot be deleted here")
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

    def restore_marks(self) -> None:
        """Undo a RSET whose ``+OK`` was not sent."""
        if self._done_at == self._summary.commands:
            self._marks = self._unmarked
            self._octets -= sum(self._snapshot.octets[number - 1] for number in self._marks)

    def count_retrieved(self, number: int) -> None:
        """Count a message that is sent whole."""
        summary = self._summary
        summary.retrieved += 1
        self._done_at = summary.commands
        if self.removes_retrieved:
            self._retrieved.add(number)

    def count_if_sent(self, number: int, client: ClientInterface) -> None:
        """Count a message read to its end, if it is being sent: a plugin may read it and then replace it."""
        if client.writing:
            self.count_retrieved(number)

    def uncount_retrieved(self) -> None:
        """Undo the count of the message of the last RETR, which was not sent."""
        if self._done_at == self._summary.commands:
            self._summary.retrieved -= 1

    def is_verified(self, number: int) -> bool:
        """Return whether the octets of a message were counted in this session, and so are right."""
        return self._verified is not None and number in self._verified

    def read(self, unique_id: str) -> tuple[bytes] | Body:
        """Open a message and read its first chunk, as ``Maildrops.read`` does."""
        return self._maildrops.read(self.maildrop, self.owner, unique_id)

    def remove(self, unique_ids: list[str]) -> None:
        """Remove messages (UPDATE)."""
        self._maildrops.remove(self.maildrop, unique_ids)

    def close(self) -> None:
        """Close the maildrop; this releases the lock."""
        self._maildrops.close_maildrop(self.maildrop)

    def disown(self) -> None:
        """Close a forked child's copy of the maildrop, which is the parent's."""
        self.maildrop.disown()

    def verify(self, number: int, octets: int) -> None:
        """Correct the octets of a message for this session, and log an error if its store reported others."""
        if self._verified is None:
            self._verified = set()
        self._verified.add(number)
        snapshot = self._snapshot
        stated = snapshot[number - 1]
        if stated.octets != octets:
            # Other sessions may share the snapshot.
            self._snapshot = Snapshot(snapshot.unique_ids, snapshot.octets[:], checked=True)
            self._snapshot.octets[number - 1] = octets
            if number not in self._marks:
                self._octets += octets - stated.octets
            mistake = f"message {number} has {octets} octets, but scan() stated {stated.octets}"
            self._maildrops.report_mistake(self.owner, mistake, stated.unique_id)

    def exempt_from_expiry(self, number: int) -> None:
        """Exempt a message from expiry: this client cannot have the message itself."""
        self._exempt.add(number)

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


def _scan(maildrop: Maildrop) -> Snapshot:
    # Checked where it is made, in a thread if ``scan`` blocks: 100,000 messages take some milliseconds.
    return Snapshot.of(maildrop.scan())


def plural(count: int) -> str:
    """Return ``message`` or ``messages``."""
    return "message" if count == 1 else "messages"
