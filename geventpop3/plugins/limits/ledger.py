"""Ledger of addresses and users: the interface between the limits and the storage of what is known.

Addresses, users and owners are keys here (see ``keys``), never what a client sent. No method raises: a ledger that
cannot answer lets logins pass.

The ledger in this process is bounded, so that no flood of addresses or names makes it grow. Each of its tables drops
keys by age, and beyond its bound the key that was quiet longest. Bans, failures of addresses and failures of names have
separate tables. So made-up names displace only failures of names.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple, Protocol

from geventpop3.forks import Registration
from geventpop3.plugins.limits.rules import (
    ASK_AGAIN_SECONDS,
    FAMILIAR_ADDRESSES,
    FAMILIAR_SECONDS,
    MAX_UNCOUNTED,
    MINUTE,
    UNCOUNTED_SECONDS,
    UNDER_WAY_SECONDS,
    WAITING_SECONDS,
    Rules,
    Standing,
)


class Reason(enum.StrEnum):
    """Reason for the refusal of a login."""

    BANNED = "banned"
    """The address has failed too often."""
    ADDRESS_RATE = "address-rate"
    """The address tries too often."""
    ADDRESS_BUSY = "address-busy"
    """Too many logins of the address are being checked, or one of the same user waits for its turn."""
    USER_RATE = "user-rate"
    """The user logs in too often."""
    USER_BUSY = "user-busy"
    """Too many tries of the user, from other addresses, wait for their turn."""
    GONE = "gone"
    """The client has gone while its login waited."""
    USER_SESSIONS = "user-sessions"
    """The user has too many sessions."""


class Failure(NamedTuple):
    """Result of a failed login."""

    counted: bool
    """True unless the same address has failed with the same credentials before."""
    banned: bool
    """True if this failure made the address banned."""
    user_failures: int
    """Failures of the user name before this one."""


class Entry(NamedTuple):
    """Result of a login with the right password."""

    refused: Reason | None
    user_failures: int
    """Failures of the user name before this login."""


class Ledger(Protocol):
    """Counts of failures, tries, logins and sessions, and the bans.

    *user* is empty where no name is known: then nothing is counted for a user. *session* identifies a login that is
    under way, and its session when it has succeeded.

    Tries of one user take turns, whatever their addresses. Failures and the tries under way set the delay between two
    turns. Otherwise many addresses would be checked before the first of them has failed. An address from which this
    user has logged in lately is the exception: there only its own failures count.

    An address may have one waiting try of a user. Tries of addresses with fewer failures, and fewer tries that came to
    nothing, go before others. So a few addresses cannot keep a user at a new address from logging in.
    """

    def standing(
        self,
        rules: Rules,
        address: str,
        user: str,
        *,
        trying: bool = False,
        session: str = "",
        waited: float = 0.0,
    ) -> Standing:
        """Return what counts against a login that has waited *waited* seconds.

        *trying* counts it as one try of the address, unless there were too many. *session* is put in line for a turn
        among the tries of the user. It is not if the login is refused, has to wait for failures of its address, or too
        many wait. It is under way until ``failed``, ``entered`` or ``settled``. While ``turn`` is not 0 the caller must
        ask again after ``pause``; otherwise the try loses its place.
        """

    def settled(self, address: str, user: str, session: str) -> None:
        """End a try in line or under way that neither failed nor entered: its turn passes to the next one."""

    def failed(self, rules: Rules, address: str, user: str, fingerprint: str, session: str = "") -> Failure:
        """Count a failed login, and ban the address if it has failed too often.

        *fingerprint* stands for address, user and password; empty if it is not known.
        """

    def entered(self, rules: Rules, address: str, user: str, owner: str, session: str) -> Entry:
        """Count a successful login as *user*, and its session for *owner*, unless a limit is exceeded.

        Only the failures of this user from this address are forgotten: one right password must not erase the tries on
        other users. The address becomes one from which the user has logged in lately.
        """

    def left(self, owner: str, session: str) -> None:
        """End a session that had entered."""

    def release(self, address: str) -> bool:
        """Lift a ban and forget the failures before it; return whether there was one."""

    def close(self) -> None:
        """Release threads and connections; a later call opens them again."""


KEYS = 20_000
"""Maximum of keys in one table. Tables full of keys with one failure each take 11 MB, with all the failures that count
80 MB. Those of tries that came to nothing take as much as failures, those of familiar addresses 54 MB more."""


class Hits:
    """Times of recent hits by key, each with a tag."""

    def __init__(self, keys: int) -> None:
        self._keys = keys
        self._hits: OrderedDict[str, list[tuple[float, str]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._hits)

    def add(self, key: str, tag: str, now: float, window: float, most: int) -> None:
        """Add a hit; the last *most* of the key are kept."""
        hits = self._hits.setdefault(key, [])
        hits.append((now, tag))
        del hits[:-most]
        # The latest goes to the end, so the first key is the one that was quiet longest.
        self._hits.move_to_end(key)
        while len(self._hits) > self._keys or now - next(iter(self._hits.values()))[-1][0] >= window:
            self._hits.popitem(last=False)

    def count(self, key: str, now: float, window: float, tag: str | None = None) -> int:
        """Return the number of hits within the window, of those with the tag if there is one."""
        return sum(now - then < window and tag in (None, other) for then, other in self._hits.get(key, ()))

    def reached(self, key: str, now: float, window: float, most: int) -> bool:
        """Return whether there are *most* within the window."""
        hits = self._hits.get(key, ())
        return len(hits) >= most and now - hits[-most][0] < window

    def last(self, key: str) -> float | None:
        """Return the time of the last hit, or None."""
        hits = self._hits.get(key)
        return hits[-1][0] if hits else None

    def has(self, key: str, tag: str, now: float, window: float) -> bool:
        """Return whether there is a hit with the tag within the window."""
        return any(tag == other and now - then < window for then, other in self._hits.get(key, ()))

    def forget(self, key: str, tag: str | None = None) -> None:
        """Forget all hits of the key, or those with the tag."""
        hits = self._hits.get(key, [])
        hits[:] = [hit for hit in hits if tag is not None and hit[1] != tag]
        if not hits:
            self._hits.pop(key, None)


class Deadlines:
    """Deadlines by key."""

    def __init__(self, keys: int) -> None:
        self._keys = keys
        self._until: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def set(self, key: str, now: float, seconds: float) -> None:
        """Set the deadline of *key* to *seconds* after *now*."""
        self._until[key] = now + seconds
        self._until.move_to_end(key)
        while len(self._until) > self._keys or next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)

    def holds(self, key: str, now: float) -> bool:
        """Return whether the deadline of *key* has not passed."""
        return self._until.get(key, now) > now

    def drop(self, key: str) -> None:
        """Drop the deadline of *key*."""
        self._until.pop(key, None)


@dataclass(slots=True)
class Try:
    """A try of a user: it is in line for its turn, or has had it and is being checked."""

    address: str
    rank: int
    """Rank in the line: lower ones go first."""
    since: float
    until: float
    """Time at which its process counts as dead, if no call about the try has come before."""
    waits: bool = True


class Tries:
    """Tries of one user by session, in order of arrival."""

    __slots__ = ("_tries",)

    def __init__(self) -> None:
        self._tries: dict[str, Try] = {}

    def __len__(self) -> int:
        return len(self._tries)

    def __contains__(self, session: str) -> bool:
        return session in self._tries

    def drop(self, session: str) -> bool:
        """Forget the try of a session; return whether it was there."""
        return self._tries.pop(session, None) is not None

    def drop_lost(self, now: float) -> None:
        """Forget the tries whose process has died."""
        for session in [session for session, one in self._tries.items() if one.until <= now]:
            del self._tries[session]

    def checked(self) -> int:
        """Return the number of tries that have had their turn."""
        return sum(not one.waits for one in self._tries.values())

    def ask(self, session: str, address: str, rank: int, now: float) -> Try:
        """Return the try of a session; put it in line if it is new."""
        one = self._tries.setdefault(session, Try(address, rank, now, now))
        one.rank = rank
        return one

    def ahead(self, session: str) -> int:
        """Return the number of tries that go before this one."""
        mine, count, is_later = self._tries[session], 0, False
        for other, one in self._tries.items():
            if other == session:
                is_later = True
            elif one.waits and (one.rank < mine.rank or (one.rank == mine.rank and not is_later)):
                count += 1
        return count

    def has_other(self, session: str, address: str) -> bool:
        """Return whether another try is of this address."""
        return any(one.address == address for other, one in self._tries.items() if other != session)


class MemoryLedger:
    """The default ledger. *clock* returns seconds; *keys* is the maximum in one table."""

    def __init__(self, *, clock: Callable[[], float] = monotonic, keys: int = KEYS) -> None:
        self._clock = clock
        self._bans = Deadlines(keys)
        self._seen = Deadlines(keys)
        self._tries = Hits(keys)
        self._failures = Hits(keys)
        self._user_failures = Hits(keys)
        self._logins = Hits(keys)
        self._turns = Hits(keys)
        """Time at which a try of the user last got its turn."""
        self._uncounted = Hits(keys)
        """Tries of an address that came to nothing, or were the same as before."""
        self._familiar = Hits(keys)
        self._tries_of: dict[str, Tries] = {}
        self._sessions: dict[str, set[str]] = {}
        """Sessions by owner. Neither these nor the tries are bounded here: the server bounds its sessions, and none of
        them may be forgotten."""
        self._registration = Registration(self._disown)

    def standing(
        self,
        rules: Rules,
        address: str,
        user: str,
        *,
        trying: bool = False,
        session: str = "",
        waited: float = 0.0,
    ) -> Standing:
        now = self._clock()
        too_often, most = False, rules.address_logins_per_minute
        if trying and most is not None:
            too_often = self._tries.reached(address, now, MINUTE, most)
            if not too_often:
                self._tries.add(address, "", now, MINUTE, most)
        banned = self._bans.holds(address, now)
        failures = self._failures.count(address, now, rules.window)
        if self._familiar.has(user, address, now, FAMILIAR_SECONDS):
            self._drop(user, session)
            user_failures = self._user_failures.count(user, now, rules.window, address)
            turn = max(rules.user_delay(user_failures) - waited, 0.0)
            return Standing(banned, too_often, failures, user_failures, turn, turn)
        standing = Standing(banned, too_often, failures, self._user_failures.count(user, now, rules.window))
        is_refused = banned or too_often
        if not (user and session and rules.longest_user_delay) or is_refused or rules.address_delay(failures) > waited:
            return standing
        return self._take_turn(rules, address, user, session, standing, now)

    def _take_turn(
        self, rules: Rules, address: str, user: str, session: str, standing: Standing, now: float
    ) -> Standing:
        tries = self._tries_of.setdefault(user, Tries())
        tries.drop_lost(now)
        is_new = session not in tries
        mine = tries.ask(
            session, address, standing.failures + self._uncounted.count(address, now, UNCOUNTED_SECONDS), now
        )
        if not mine.waits:
            return standing
        ahead, before = tries.ahead(session), standing.user_failures + tries.checked()
        last_turn = self._turns.last(user)
        # The time at which the first in line may go on.
        slot = now if last_turn is None else max(last_turn + rules.user_delay(before), now)
        if not ahead and slot <= now:
            mine.waits, mine.until = False, now + UNDER_WAY_SECONDS
            self._turns.add(user, "", now, rules.longest_user_delay, 1)
            return standing
        last, turn = now, slot
        for place in range(1, ahead + 1):
            last, turn = turn, turn + rules.user_delay(before + place)
        busy = is_new and tries.has_other(session, address)
        if busy or (ahead and last - mine.since > rules.user_patience):
            self._drop(user, session)
            return standing._replace(busy=busy, crowded=not busy)
        pause = max(slot - now, ASK_AGAIN_SECONDS) if ahead else slot - now
        mine.until = now + pause + WAITING_SECONDS
        return standing._replace(turn=max(turn - now, pause), pause=pause)

    def _drop(self, user: str, session: str) -> bool:
        tries = self._tries_of.get(user)
        was_there = tries is not None and tries.drop(session)
        if tries is not None and not tries:
            del self._tries_of[user]
        return was_there

    def settled(self, address: str, user: str, session: str) -> None:
        if self._drop(user, session):
            self._add_uncounted(address, user, self._clock())

    def _add_uncounted(self, address: str, user: str, now: float) -> None:
        self._uncounted.add(address, user, now, UNCOUNTED_SECONDS, MAX_UNCOUNTED)

    def failed(self, rules: Rules, address: str, user: str, fingerprint: str, session: str = "") -> Failure:
        now = self._clock()
        self._drop(user, session)
        before = self._user_failures.count(user, now, rules.window)
        if fingerprint:
            known = self._seen.holds(fingerprint, now)
            self._seen.set(fingerprint, now, rules.window)
            if known:
                self._add_uncounted(address, user, now)
                return Failure(counted=False, banned=False, user_failures=before)
        if user and rules.user_failures_kept:
            self._user_failures.add(user, address, now, rules.window, rules.user_failures_kept)
        if rules.failures_kept:
            self._failures.add(address, user, now, rules.window, rules.failures_kept)
        if rules.ban_after is None or self._failures.count(address, now, rules.window) < rules.ban_after:
            return Failure(counted=True, banned=False, user_failures=before)
        self._bans.set(address, now, rules.ban_seconds)
        self._failures.forget(address)
        return Failure(counted=True, banned=True, user_failures=before)

    def entered(self, rules: Rules, address: str, user: str, owner: str, session: str) -> Entry:
        now = self._clock()
        before = self._user_failures.count(user, now, rules.window)
        self._failures.forget(address, user)
        self._user_failures.forget(user, address)
        self._uncounted.forget(address, user)
        self._drop(user, session)
        if user:
            self._familiar.forget(user, address)
            self._familiar.add(user, address, now, FAMILIAR_SECONDS, FAMILIAR_ADDRESSES)
        most, rate = rules.user_sessions, rules.user_logins_per_minute
        if most is not None and len(self._sessions.get(owner, ())) >= most:
            return Entry(Reason.USER_SESSIONS, before)
        if rate is not None:
            if self._logins.reached(owner, now, MINUTE, rate):
                return Entry(Reason.USER_RATE, before)
            self._logins.add(owner, "", now, MINUTE, rate)
        if most is not None:
            self._sessions.setdefault(owner, set()).add(session)
        return Entry(None, before)

    def left(self, owner: str, session: str) -> None:
        sessions = self._sessions.get(owner, set())
        sessions.discard(session)
        if not sessions:
            self._sessions.pop(owner, None)

    def release(self, address: str) -> bool:
        self._failures.forget(address)
        was_banned = self._bans.holds(address, self._clock())
        self._bans.drop(address)
        return was_banned

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def _disown(self) -> None:
        """Forget, in a forked child, what the parent has open: its sessions, and its tries that are under way."""
        self._sessions.clear()
        self._tries_of.clear()
