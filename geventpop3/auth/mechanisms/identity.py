"""Who somebody turned out to be, and the steps that end every mechanism: an owner, and the right to act as another."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

from geventpop3.auth.mechanisms.requests import FindOwner, MayActAs, Request
from geventpop3.errors import AuthenticationFailed


class Identity(NamedTuple):
    """What a mechanism returns: *owner* is whose maildrop opens.

    *authentication* is whose credentials they were, *authorization* whom the client asked to act as, if it did.
    """

    authentication: str
    authorization: str | None
    owner: str


Dialogue = Generator[Request[Any], Any, Identity]
"""A mechanism at work."""


class CredentialsRejected(AuthenticationFailed):
    """The credentials are wrong; *name* is whom the client said it was, for the log and for limits."""

    def __init__(self, name: str, text: str | None = None) -> None:
        self.name = name
        super().__init__(text)


class ClearTextRefused(AuthenticationFailed):
    """A password or a token may not cross this connection; no try, because nothing was checked."""

    default_text = "a clear-text login is not allowed on this connection"


def proven(name: str, authorization: str | None) -> Dialogue:
    """The end of a mechanism in which a secret or a certificate has proven *name*. Raises CredentialsRejected."""
    return (yield from acting(name, (yield from FindOwner(name)), authorization))


def acting(name: str, owner: str | None, authorization: str | None) -> Dialogue:
    """The end of a mechanism that found the *owner* of *name*, if any. Raises CredentialsRejected.

    Only who has proven a name learns whether it may act as another.
    """
    if owner is None:
        raise CredentialsRejected(name)
    if authorization is None or authorization == name:
        return Identity(name, authorization, owner)
    allowed = yield from MayActAs(name, authorization)
    other = (yield from FindOwner(authorization)) if allowed else None
    if other is None:
        raise CredentialsRejected(name, "these credentials do not open the maildrop of another user")
    return Identity(name, authorization, other)
