"""The interface between the login path and a back end that knows users.

An authenticator says whose maildrop a name and a password open, or None; it never says why not. A back end that cannot
answer raises StoreUnavailable, which is ``[SYS/TEMP]`` and not ``[AUTH]`` (RFC 3206 section 4).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from geventpop3.auth.secret import Secret


class Authenticator(ABC):
    """Checks a name and a password, as USER and PASS or SASL PLAIN bring them."""

    @abstractmethod
    def authenticate(self, name: str, password: str) -> str | None:
        """The owner of the maildrop that these credentials open, or None.

        It takes the same time for an unknown name as for a wrong password. Octets that are not UTF-8 arrive as
        surrogate escapes. Raises StoreUnavailable if the back end is down.
        """

    def answers_at_once(self) -> bool:
        """Whether ``authenticate`` takes far less than a millisecond and never waits: no thread is used then."""
        return False


class SecretAuthenticator(Authenticator):
    """An authenticator that can hand out stored secrets, which enables the mechanisms that need them (APOP)."""

    @abstractmethod
    def secret(self, name: str) -> Secret | None:
        """What is stored for *name*, or None; it may say None for some users only."""

    def has_clear_secrets(self) -> bool:
        """Whether some user can use APOP, so that the greeting should carry a timestamp (RFC 1939 section 7)."""
        return True
