"""Site policy for logins and for mail left on the server: LOGIN-DELAY and EXPIRE (RFC 2449 sections 6.5, 6.7).

The policy keeps what CAPA announces: a value that differs by user stays within the one announced before login.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from time import monotonic
from typing import Final, Literal, NamedTuple

from geventpop3.errors import ConfigError, PipelineError, Refusal, ResponseCode
from geventpop3.pipeline.plugin import plain_function

LOGINS = 100_000
"""Maximum logins that are remembered, whatever the delay: about 20 MB. Beyond it the oldest are forgotten."""


NEVER: Final = "never"
"""Value for mail that never expires; section 6.7 has a word of its own for it."""

Value = int | Literal["never"]


class PerUser(NamedTuple):
    """A value that differs by user.

    *before_login* is announced to all clients: the largest delay, or the shortest time that mail is kept. *of* returns
    the value for an owner. None means no delay, or the same time as *before_login*. *of* must not block.
    """

    before_login: Value
    of: Callable[[str], Value | None]


class Expiry:
    """Days that the site keeps mail (EXPIRE). With None CAPA announces nothing, which promises nothing.

    This server removes mail only at 0, where "the client is not permitted to leave mail on the server": UPDATE then
    removes the messages that RETR sent. Any other number is a promise of the site, whose own job removes mail. A store
    knows neither the age of a message nor when it was first seen. A server that removes nothing keeps any such promise.
    """

    __slots__ = ("_days", "_of")

    def __init__(self, days: Value | PerUser | None) -> None:
        self._days: Value | None = None
        self._of: Callable[[str], Value | None] | None = None
        if days is not None:
            self._days, self._of = _read("expire", days)

    def before_login(self) -> str | None:
        """Return EXPIRE's argument before login, with ``USER`` if it may differ later; None to announce nothing."""
        if self._days is None:
            return None
        return _days(self._days) + (" USER" if self._of is not None else "")

    def after_login(self, owner: str) -> str | None:
        """Return EXPIRE's argument for *owner*, or None to announce nothing."""
        days = self._days_of(owner)
        return None if days is None else _days(days)

    def removes_retrieved(self, owner: str) -> bool:
        """Return whether UPDATE removes the messages that RETR sent to *owner*."""
        return self._days_of(owner) == 0

    def _days_of(self, owner: str) -> Value | None:
        if self._of is None or self._days is None or self._days == NEVER:
            return self._days
        days = self._of(owner)
        if days is None:
            return self._days
        if days == NEVER:
            return NEVER
        # Section 6.7: before login "the smallest value which could be set for any user".
        return max(days, self._days)


class LoginDelay:
    """Seconds that must pass between two logins of one user; 0 for no delay.

    Each process remembers only its own logins. *clock* returns seconds.
    """

    __slots__ = ("_clock", "_logins", "_of", "_seconds")

    def __init__(self, seconds: int | PerUser, clock: Callable[[], float] = monotonic) -> None:
        longest, self._of = _read("login_delay", seconds)
        if longest == NEVER:
            raise ConfigError("login_delay must be a number of seconds, 0 for no delay")
        self._seconds = longest
        self._clock = clock
        self._logins: dict[str, float] = {}

    def before_login(self) -> str | None:
        """Return LOGIN-DELAY's argument before login, with ``USER`` if it may differ later; None without a delay."""
        if self._seconds == 0:
            return None
        return f"{self._seconds} USER" if self._of is not None else str(self._seconds)

    def after_login(self, owner: str) -> str | None:
        """Return LOGIN-DELAY's argument for *owner*; None without a delay."""
        return None if self._seconds == 0 else str(self._seconds_of(owner))

    def check(self, owner: str) -> None:
        """Raise the Refusal of section 8.1.1 if *owner*, whose credentials were right, logs in too soon."""
        last = self._logins.get(owner)
        if last is not None:
            left = last + self._seconds_of(owner) - self._clock()
            if left > 0:
                raise Refusal(f"too soon after the last login, wait {math.ceil(left)} s", ResponseCode.LOGIN_DELAY)

    def note(self, owner: str) -> None:
        """Record a login of *owner* now."""
        if self._seconds == 0:
            return
        logins, now = self._logins, self._clock()
        logins.pop(owner, None)
        # The logins are in order of time, so checking the oldest two at each login is enough to remove expired ones.
        for oldest in list(itertools.islice(logins, 2)):
            if len(logins) >= LOGINS or now - logins.get(oldest, now) >= self._seconds:
                logins.pop(oldest, None)
        logins[owner] = now

    def forget(self, owner: str) -> None:
        """Forget the last recorded login, whose +OK was not sent."""
        self._logins.pop(owner, None)

    def _seconds_of(self, owner: str) -> int:
        if self._of is None:
            return self._seconds
        # Section 6.5: before login "the largest value which could be set for any user".
        own = self._of(owner)
        return max(min(own if isinstance(own, int) else 0, self._seconds), 0)


def _read(name: str, value: Value | PerUser) -> tuple[Value, Callable[[str], Value | None] | None]:
    before_login, of = value if isinstance(value, PerUser) else (value, None)
    try:
        if of is not None:
            plain_function(of)
    except PipelineError as mistake:
        raise ConfigError(f"{name}: {mistake}") from None
    if before_login != NEVER and (not isinstance(before_login, int) or before_login < 0):
        raise ConfigError(f"{name}: {before_login!r} is not a whole number, 0 or more")
    return before_login, of


def _days(days: Value) -> str:
    return "NEVER" if days == NEVER else str(days)
