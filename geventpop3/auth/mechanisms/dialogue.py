"""The dialogue of a mechanism: the requests that it yields, the identity that it returns, and the steps that end it.

A mechanism does nothing itself; it yields one of these and goes on with the answer.

    Challenge(data)                         the client's response, decoded
    LastWords(data)                         the client's response, which no longer matters
    CheckPassword(name, password)           whose maildrop these open, or None
    CheckToken(name, token)                 whose maildrop this OAuth token opens, or None
    LookUp(name)                            what is stored for that name, or None
    FindOwner(name)                         whose maildrop belongs to a name that was proven, or None
    MayActAs(authentication, authorization) whether the one may open the maildrop of the other
    Compute(function)                       what the function returns; it takes milliseconds and asks nobody

``answer = yield from LookUp(name)`` yields the request and has the type of its answer. Secrets do not show in repr.
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
    """Send *data* and read a response (RFC 5034 section 4). A client may cancel here, which ends the dialogue."""

    data: bytes


@dataclass(frozen=True, slots=True)
class LastWords(Challenge):
    """A challenge that tells of a failure: whatever the client answers, and if it cancels, the failure stands."""


@dataclass(frozen=True, slots=True)
class CheckPassword(Request[str | None]):
    """Octets of the password that are not UTF-8 are surrogate escapes, as in ``Authenticator.authenticate``."""

    name: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CheckToken(Request[str | None]):
    """The answer is an owner only if the token is good, and good for *name* if that is not None."""

    name: str | None
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LookUp(Request[Secret | None]):
    """The answer must take as long for a name that nobody has as for others."""

    name: str


@dataclass(frozen=True, slots=True)
class FindOwner(Request[str | None]):
    """Asked once a secret or a certificate has proven *name*, or once MayActAs was granted for it."""

    name: str


@dataclass(frozen=True, slots=True)
class MayActAs(Request[bool]):
    """The policy on authorization identities (RFC 4422 section 3.4.1); where there is none the answer is False."""

    authentication: str
    authorization: str


@dataclass(frozen=True, slots=True)
class Compute(Request[A]):
    """The answer is ``function()``, best called in a thread for hashing."""

    function: Callable[[], A] = field(repr=False)


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
