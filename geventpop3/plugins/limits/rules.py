"""The numbers of the limits, with their reasons, and the sums that are made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from geventpop3.errors import ConfigError

MINUTE = 60.0

FAMILIAR_SECONDS = 7 * 24 * 3600.0
"""An address from which a user has logged in is exempt from the delays that others cause that user, for so long."""

FAMILIAR_ADDRESSES = 16
"""Such addresses of one user; the latest count."""

UNDER_WAY_SECONDS = 120.0
"""A try whose process died is under way for so long: longer than a login that was not refused lasts."""

WAITING_SECONDS = 10.0
"""A try that waits keeps its place for so long after the moment at which it was to ask again."""

TICK = 0.25
"""Seconds after which a try asks again where the one before it is about to go on."""

BLANK_SECONDS = 600.0
"""A try that came to nothing puts those of its address behind others for so long."""

BLANKS = 20
"""Such tries of one address; the latest count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What is allowed. Seconds and counts; None switches a limit off. Raises ConfigError for what makes no sense."""

    delays: Sequence[float] = (2.0, 4.0, 8.0, 15.0)
    """Seconds that a login waits before it is checked, after one failure of its address, two, ...; the last holds for
    all further ones (these are Dovecot's)."""

    user_delays: Sequence[float] = (0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0)
    """The same for failures of one user name from anywhere, and for the tries that are under way. Tries from several
    addresses take turns, each so long after the one before; an address that has failed less goes first. It does not
    hold where this user has logged in lately: anybody can fail in anybody's name. Keep it well below what clients
    wait."""

    user_patience: float = 30.0
    """Seconds that a try waits for those of the same user before it, until it is refused. An address has one that
    waits; further ones are refused."""

    window: float = 600.0
    """Seconds for which a failure counts, and for which a wrong password is known again."""

    ban_after: int | None = 20
    """So many failures of an address within the window, and it is banned."""

    ban_seconds: float = 3600.0
    """How long a banned address is turned away when it connects."""

    at_once: int = 4
    """Logins of one address that are checked at once; more wait for these, so that a flood waits for itself."""

    patience: float = 5.0
    """Seconds that a login waits so, until it is refused."""

    address_logins_per_minute: int | None = 120
    """Logins that one address may try in any minute, right or wrong: a check costs some 50 ms of a core."""

    user_logins_per_minute: int | None = None
    """Logins of one user that may succeed in any minute. Failures do not count: they may be anybody's."""

    user_sessions: int | None = 10
    """Sessions of one user at once."""

    trusted: Sequence[str] = ("127.0.0.0/8", "::1/128")
    """Networks that none of this holds for, such as those of a webmail. Unix sockets are trusted always."""

    def __post_init__(self) -> None:
        if not all(seconds >= 0 for seconds in (*self.delays, *self.user_delays, self.patience, self.user_patience)):
            raise ConfigError("limits: delays, user_delays, patience and user_patience are seconds, 0 or more")
        if not (self.window > 0 and self.ban_seconds > 0):
            raise ConfigError("limits: window and ban_seconds are seconds, more than 0")
        counts = {
            "ban_after": self.ban_after,
            "at_once": self.at_once,
            "address_logins_per_minute": self.address_logins_per_minute,
            "user_logins_per_minute": self.user_logins_per_minute,
            "user_sessions": self.user_sessions,
        }
        for name, count in counts.items():
            if count is not None and count < 1:
                raise ConfigError(f"limits: {name} is a number, 1 or more")

    @property
    def failures_kept(self) -> int:
        """How many failures of an address make a difference."""
        return max(len(self.delays), self.ban_after or 0)

    @property
    def user_failures_kept(self) -> int:
        """How many failures of a user name make a difference."""
        return len(self.user_delays)

    @property
    def longest_user_delay(self) -> float:
        """Seconds after which a turn matters to nobody."""
        return max(self.user_delays, default=0.0)

    def address_delay(self, failures: int) -> float:
        """Seconds to wait after so many failures of an address."""
        return _step(self.delays, failures)

    def user_delay(self, failures: int) -> float:
        """Seconds to wait after so many failures of a user name."""
        return _step(self.user_delays, failures)


def _step(delays: Sequence[float], failures: int) -> float:
    return delays[min(failures, len(delays)) - 1] if failures and delays else 0.0


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
