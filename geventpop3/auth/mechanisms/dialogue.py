"""The dialogue of a mechanism: the requests that it yields, the identity that it returns, and its final steps.

A mechanism does no input or output; it yields one of these requests and continues with the answer.

    Challenge(data)                         the client's response, decoded
    FailureChallenge(data)                  the client's response, which is ignored
    CheckPassword(name, password)           the owner of the maildrop that they open, or None
    CheckToken(name, token)                 the owner of the maildrop that this OAuth token opens, or None
    LookUp(name)                            the secret stored for the name, or None
    FindOwner(name)                         the owner of the maildrop of a proven name, or None
    MayActAs(authentication, authorization) True if the first may open the maildrop of the second
    Compute(function)                       the function's result; it takes milliseconds and makes no requests

``answer = yield from LookUp(name)`` yields the request and has the type of its answer. Secrets are not shown in repr.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from geventpop3.auth.secret import Secret
from geventpop3.errors import AuthenticationFailed

A = TypeVar("A")


class Request(Generic[A]):
    """The base of all requests; ``A`` is the type of the answer."""

    __slots__ = ()

    def __iter__(self) -> Generator[Request[Any], Any, A]:
        answer: A = yield self
        return answer


@dataclass(frozen=True, slots=True)
class Challenge(Request[bytes]):
    """A request to send *data* and read a response (RFC 5034 section 4). If the client cancels, the dialogue ends."""

    data: bytes


@dataclass(frozen=True, slots=True)
class FailureChallenge(Challenge):
    """A challenge that reports a failure; no answer and no cancel of the client changes the failure."""


@dataclass(frozen=True, slots=True)
class CheckPassword(Request[str | None]):
    """A request to check a name and a password, and to return the owner.

    Octets of the password that are not UTF-8 are surrogate escapes, as in ``Authenticator.authenticate``.
    """

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckToken(Request[str | None]):
    """A request for the owner to whom a token belongs.

    The answer is an owner only if the token is valid, and valid for *name* unless that is None.
    """

    name: str | None
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LookUp(Request[Secret | None]):
    """A request for the stored secret of a name. The answer must take the same time for an unknown name."""

    name: str


@dataclass(frozen=True, slots=True)
class FindOwner(Request[str | None]):
    """A request for the owner of *name*, made after a secret or a certificate proved it or MayActAs granted it."""

    name: str


@dataclass(frozen=True, slots=True)
class MayActAs(Request[bool]):
    """A request to the policy on authorization identities (RFC 4422 section 3.4.1); without one the answer is False."""

    authentication: str
    authorization: str


@dataclass(frozen=True, slots=True)
class Compute(Request[A]):
    """A request to return ``function()``, best called in a hashing thread."""

    function: Callable[[], A] = field(repr=False)


class Identity(NamedTuple):
    """The result of a mechanism; *owner* is the owner of the maildrop to open.

    *authentication* is the name that the credentials belong to. *authorization* is the name that the client asked to
    act as, or None.
    """

    authentication: str
    authorization: str | None
    owner: str


Dialogue = Generator[Request[Any], Any, Identity]
"""A running mechanism."""


class CredentialsRejected(AuthenticationFailed):
    """An error for wrong credentials; *name* is the name that the client gave, for the log and for limits."""

    def __init__(self, name: str, text: str | None = None) -> None:
        self.name = name
        super().__init__(text)


class ClearTextRefused(AuthenticationFailed):
    """An error for a password or a token on a connection that does not allow it; nothing was checked, so no attempt."""

    default_text = "a clear-text login is not allowed on this connection"


def identity_of(name: str, authorization: str | None) -> Dialogue:
    """Return the Identity of a *name* that a secret or a certificate has proven. Raises CredentialsRejected."""
    return (yield from authorized_identity(name, (yield from FindOwner(name)), authorization))


def authorized_identity(name: str, owner: str | None, authorization: str | None) -> Dialogue:
    """Return the Identity of *name*, whose *owner* was found, or None. Raises CredentialsRejected.

    A client learns whether a name may act as another only after it has proven that name.
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
