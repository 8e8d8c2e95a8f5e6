"""What was delivered and what clients were told, and so what a maildrop may and must hold.

A message is known by its own octets, never by its unique-id; a QUIT that a crash cut off is settled by what a session
after the restart is shown, never by what lies on the disk.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Iterable, Sequence
from enum import Enum

_IDENTITY = re.compile(rb"X-Identity: (\S+)")
_TEXT = b"The quick brown fox jumps over the lazy dog, 0123456789 times.\n.leading full stop\n"


def message(identity: str) -> bytes:
    """The octets of the message with this identity, LF line ends: always the same ones, of 300 to 9,000 octets."""
    octets = 300 + random.Random(identity).randrange(8_700)
    head = f"Subject: {identity}\nX-Identity: {identity}\n\n".encode()
    return (head + _TEXT * (octets // len(_TEXT) + 1))[: octets - 1] + b"\n"


class Outcome(Enum):
    """What became of a QUIT."""

    UNANSWERED = "unanswered"
    DONE = "done"
    REFUSED = "refused"


class Update:
    """One QUIT of one session: the messages that it was to remove."""

    def __init__(self, owner: str, identities: frozenset[str]) -> None:
        self.owner = owner
        self.identities = identities
        self.outcome = Outcome.UNANSWERED


class Ledger:
    """Kept by all who deliver, remove and look; may be used from several threads."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._lock = threading.Lock()
        self._announced: dict[str, set[str]] = {}  # delivered, or being delivered
        self._delivered: dict[str, set[str]] = {}
        self._removed: dict[str, set[str]] = {}
        self._unsettled: dict[str, list[Update]] = {}
        self._unique_ids: dict[tuple[str, str], str] = {}  # by owner and identity
        self._identities: dict[tuple[str, str], str] = {}  # by owner and unique-id

    def violation(self, text: str) -> None:
        self.violations.append(text)

    # What deliverers and clients say

    def announce(self, owner: str, identity: str) -> None:
        """From now on the message may be there."""
        with self._lock:
            self._announced.setdefault(owner, set()).add(identity)

    def deliver(self, owner: str, identity: str) -> None:
        """From now on the message must be there."""
        with self._lock:
            self._announced.setdefault(owner, set()).add(identity)
            self._delivered.setdefault(owner, set()).add(identity)

    def begin(self, owner: str, identities: Iterable[str]) -> Update:
        """A QUIT that removes these is about to be sent."""
        update = Update(owner, frozenset(identities))
        with self._lock:
            self._unsettled.setdefault(owner, []).append(update)
        return update

    def answered(self, update: Update, reply: bytes) -> None:
        """QUIT was answered: with +OK all are gone for ever, with -ERR none is."""
        with self._lock:
            self._unsettled[update.owner].remove(update)
            if reply.startswith(b"+OK"):
                update.outcome = Outcome.DONE
                self._removed.setdefault(update.owner, set()).update(update.identities)
            else:
                update.outcome = Outcome.REFUSED

    # What must be so

    def unsettled(self, owner: str) -> list[Update]:
        """The QUITs that were never answered."""
        with self._lock:
            return list(self._unsettled.get(owner, ()))

    def expected(self, owner: str) -> set[str]:
        """What is in the maildrop for certain, as far as is known."""
        with self._lock:
            doubtful = set().union(*(update.identities for update in self._unsettled.get(owner, ())))
            return self._delivered.get(owner, set()) - self._removed.get(owner, set()) - doubtful

    def identify(self, owner: str, unique_id: str, octets: bytes) -> str | None:
        """Which message this is; None, and a violation, if it is none that was delivered, or not as it was."""
        found = _IDENTITY.search(octets)
        identity = found[1].decode() if found else ""
        with self._lock:
            if identity not in self._announced.get(owner, ()):
                self.violation(f"{owner}: {unique_id} is no message that was delivered: {octets[:60]!r}")
                return None
            if octets.replace(b"\r\n", b"\n") != message(identity):
                self.violation(f"{owner}: torn: {identity} has {len(octets)} octets and not its own")
                return None
            if self._unique_ids.setdefault((owner, identity), unique_id) != unique_id:
                self.violation(f"{owner}: {identity} has another unique-id now: {unique_id}")
            if self._identities.setdefault((owner, unique_id), identity) != identity:
                self.violation(f"{owner}: {unique_id} is another message now: {identity}")
        return identity

    def settle(self, owner: str, before: set[str], shown: Sequence[tuple[str, bytes]]) -> list[Update]:
        """A session after a restart was shown these messages, by unique-id and octets, and no other one is going on.

        *before* is what was ``expected`` before it began. Returns the updates that it settled.
        """
        named = [self.identify(owner, unique_id, octets) for unique_id, octets in shown]
        seen = {identity for identity in named if identity is not None}
        with self._lock:
            if len(seen) < len(named) - named.count(None):
                twice = sorted({each for each in named if each is not None and named.count(each) > 1})
                self.violation(f"{owner}: doubled: {twice}")
            removed = self._removed.setdefault(owner, set())
            if lost := before - seen:
                self.violation(f"{owner}: lost, though nobody removed it: {sorted(lost)}")
            if risen := seen & removed:
                self.violation(f"{owner}: there again, though its removal was acknowledged: {sorted(risen)}")
            settled = self._unsettled.pop(owner, [])
            for update in settled:
                gone = update.identities - seen
                if gone and gone != update.identities:
                    self.violation(f"{owner}: a QUIT half done: {len(gone)} of {len(update.identities)} removed")
                update.outcome = Outcome.DONE if gone else Outcome.REFUSED
                removed |= gone
        return settled
