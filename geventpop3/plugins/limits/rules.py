"""The numbers of the limits, with their reasons, and the delays computed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from geventpop3.errors import ConfigError

MINUTE = 60.0

FAMILIAR_SECONDS = 7 * 24 * 3600.0
"""Seconds for which an address where a user has logged in is exempt from the delays that others cause that user."""

FAMILIAR_ADDRESSES = 16
"""Maximum of such addresses of one user; the latest count."""

UNDER_WAY_SECONDS = 120.0
"""Seconds for which a try is under way after its process died: longer than a login that was not refused lasts."""

WAITING_SECONDS = 10.0
"""Seconds for which a waiting try keeps its place after the time at which it was to ask again."""

ASK_AGAIN_SECONDS = 0.25
"""Seconds after which a try asks again if the one before it is about to go on."""

UNCOUNTED_SECONDS = 600.0
"""Seconds for which a try that came to nothing puts those of its address behind others."""

MAX_UNCOUNTED = 20
"""Maximum of such tries of one address; the latest count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Limits on logins, in seconds and counts; None switches a limit off. Raises ConfigError for invalid values."""

    delays: Sequence[float] = (2.0, 4.0, 8.0, 15.0)
    """Seconds that a login waits before it is checked, after one failure of its address, two, ...; the last holds for
    all further ones (these are Dovecot's)."""

    user_delays: Sequence[float] = (0.0, 0.0, 0.0, 0.0, 1.0, 2.0, 4.0, 8.0)
    """Seconds for failures of one user name from anywhere, and for the tries that are under way. Tries from several
    addresses take turns, each so long after the one before; an address that has failed less goes first. These delays do
    not hold where this user has logged in lately: anybody can fail in anybody's name. Keep them well below the timeouts
    of clients."""

    user_patience: float = 30.0
    """Seconds that a try waits for those of the same user before it, until it is refused. An address may have one that
    waits; further ones are refused."""

    window: float = 600.0
    """Seconds for which a failure counts, and for which a wrong password is known again."""

    ban_after: int | None = 20
    """Failures of an address within the window after which it is banned."""

    ban_seconds: float = 3600.0
    """Seconds for which a banned address is refused when it connects."""

    at_once: int = 4
    """Maximum of logins of one address that are checked at once. More wait for these, so that a flood delays itself."""

    patience: float = 5.0
    """Seconds that a login waits for that, until it is refused."""

    address_logins_per_minute: int | None = 120
    """Maximum of logins, right or wrong, that one address may try in any minute: a check costs some 50 ms of a core."""

    user_logins_per_minute: int | None = None
    """Maximum of successful logins of one user in any minute. Failures do not count: they may be anybody's."""

    user_sessions: int | None = 10
    """Maximum of concurrent sessions of one user."""

    trusted: Sequence[str] = ("127.0.0.0/8", "::1/128")
    """Networks exempt from all limits, such as those of a webmail. Unix sockets are always trusted."""

    def __post_init__(self) -> None:
        if not all(seconds >= 0 for seconds in (*self.delays, *self.user_delays, self.patience, self.user_patience)):
            raise ConfigError("limits: delays, user_delays, patience and user_patience must be seconds, 0 or more")
        if not (self.window > 0 and self.ban_seconds > 0):
            raise ConfigError("limits: window and ban_seconds must be seconds, more than 0")
        counts = {
            "ban_after": self.ban_after,
            "at_once": self.at_once,
            "address_logins_per_minute": self.address_logins_per_minute,
            "user_logins_per_minute": self.user_logins_per_minute,
            "user_sessions": self.user_sessions,
        }
        for name, count in counts.items():
            if count is not None and count < 1:
                raise ConfigError(f"limits: {name} must be a whole number, 1 or more")

    @property
    def failures_kept(self) -> int:
        """Number of failures of an address that make a difference."""
        return max(len(self.delays), self.ban_after or 0)

    @property
    def user_failures_kept(self) -> int:
        """Number of failures of a user name that make a difference."""
        return len(self.user_delays)

    @property
    def longest_user_delay(self) -> float:
        """Seconds after which a turn delays no other."""
        return max(self.user_delays, default=0.0)

    def address_delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures of an address."""
        return _step(self.delays, failures)

    def user_delay(self, failures: int) -> float:
        """Return the seconds to wait after so many failures of a user name."""
        return _step(self.user_delays, failures)


def _step(delays: Sequence[float], failures: int) -> float:
    return delays[min(failures, len(delays)) - 1] if failures and delays else 0.0


class Standing(NamedTuple):
    """State of the counts and bans for a login that is about to be checked."""

    banned: bool
    too_often: bool
    """True if the address has tried as often as it may."""
    failures: int
    """Failures of the address within the window."""
    user_failures: int
    """Failures of the user name within the window, as far as they concern this address: see ``Ledger``."""
    turn: float = 0.0
    """Seconds until the turn of this try among those of the user, as estimated now; 0: this is its turn."""
    pause: float = 0.0
    """Seconds after which to ask again, because others may have gone or come; at most ``turn``."""
    crowded: bool = False
    """True if too many tries of the user wait, so that this one got no turn."""
    busy: bool = False
    """True if another try of the user from this address is under way, so that this one got no turn."""
