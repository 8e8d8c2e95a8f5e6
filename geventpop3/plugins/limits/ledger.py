"""What is remembered of addresses and users: the interface between the limits and where they are kept.

An address, a user and an owner are keys here (see ``subjects``), never what a client sent. No method raises: a ledger
that cannot answer lets logins pass.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from geventpop3.plugins.limits.rules import Rules


class Reason(enum.StrEnum):
    """Why a login is refused."""

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


class Standing(NamedTuple):
    """What is held against a login that is about to be checked."""

    banned: bool
    too_often: bool
    """Whether the address has tried as often as it may."""
    failures: int
    """Of the address, within the window."""
    user_failures: int
    """Of the user name, within the window, as far as they concern this address: see ``Ledger``."""
    turn: float = 0.0
    """Seconds until the turn of this try among those of the user, as it looks now; 0: this is its turn."""
    pause: float = 0.0
    """Seconds after which to ask again, because others may have gone or come; at most ``turn``."""
    crowded: bool = False
    """Whether too many tries of the user wait, so that this one got no turn."""
    busy: bool = False
    """Whether another try of the user from this address is under way, so that this one got no turn."""


class Failure(NamedTuple):
    """What became of a failure."""

    counted: bool
    """False if the same address has failed with the same before."""
    banned: bool
    """Whether this was the one too many."""
    user_failures: int
    """Of the user name, before this one."""


class Entry(NamedTuple):
    """What became of a login with the right password."""

    refused: Reason | None
    user_failures: int
    """Of the user name, before it."""


class Ledger(Protocol):
    """Counts failures, tries, logins and sessions; remembers bans.

    *user* is empty where no name is known: then nothing is counted for a user. *session* is a login's that is under
    way, and its session's when it has succeeded.

    Tries of one user take turns, whatever addresses they are from, each as long after the one before as the failures
    and the tries under way say: else many addresses would get in before the first of them has failed. The exception
    is an address from which this user has logged in lately: there only its own failures count.

    An address has one try of a user that waits. Tries of addresses with fewer failures, and fewer tries that came to
    nothing, go before others, so that few addresses cannot keep a user from a new one.
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
        """What is held against a login that has *waited* for so long.

        *trying* counts it as one try of the address, unless there were too many. *session* is in line for a turn
        among the tries of the user, unless the login is refused, has to wait for failures of its address, or too many
        wait. It is under way until ``failed``, ``entered`` or ``settled``. While ``turn`` is not 0 it asks again after
        ``pause``: who does not loses the place.
        """

    def settled(self, address: str, user: str, session: str) -> None:
        """A try is no longer in line or under way, and neither failed nor entered: its turn is for the next one."""

    def failed(self, rules: Rules, address: str, user: str, fingerprint: str, session: str = "") -> Failure:
        """Count a failed login, and ban the address if that was one too many.

        *fingerprint* stands for address, user and password; empty if it is not known.
        """

    def entered(self, rules: Rules, address: str, user: str, owner: str, session: str) -> Entry:
        """A login as *user* succeeded: count it and its session for *owner*, unless it is one too many.

        What this user failed at from this address is forgotten, and only that: whoever has one right password must not
        wash away with it what was tried on others. The address is one where the user has logged in lately.
        """

    def left(self, owner: str, session: str) -> None:
        """A session that had entered is over."""

    def release(self, address: str) -> bool:
        """Lift a ban and forget the failures before it; whether there was one."""

    def close(self) -> None:
        """Let go of threads and connections; what is asked later opens them again."""
