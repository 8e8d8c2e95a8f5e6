"""The base classes of hashed secrets, and the bounds on the cost of one login.

A text must match its format exactly. A cost is refused if one line of a file, or one password of a client, would take
minutes of processor time or gigabytes.
"""

from __future__ import annotations

import hmac
from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from geventpop3.auth.schemes import itoa64
from geventpop3.auth.secret import PASSWORD_OCTETS, PasswordSecret
from geventpop3.errors import ConfigError

MEMORY_OCTETS = 256 << 20
"""Maximum memory of one check, in octets."""

WORK_OCTETS = 1 << 30
"""Maximum memory traffic of one check, in octets (memory x passes): some seconds."""


class HashedSecret(PasswordSecret):
    """A hashed password: a digest, and the parameters to compute it again."""

    __slots__ = ()

    limit: ClassVar[int] = PASSWORD_OCTETS
    """Octets of the longest password that the scheme takes; a longer one never matches."""

    digest: bytes

    @abstractmethod
    def derive(self, password: bytes) -> bytes:
        """Return the digest of *password*, which has no NUL and at most ``limit`` octets. This is the slow step."""

    def matches(self, password: bytes) -> bool:
        # NUL ends a password for crypt(3) and pads one for HMAC, so "x\0" would match as "x" does.
        taken = password[: self.limit].replace(b"\0", b"?")
        return hmac.compare_digest(self.derive(taken), self.digest) and taken == password


class WritableSecret(HashedSecret):
    """A hashed secret of a scheme that is strong enough for new passwords."""

    __slots__ = ()

    label: ClassVar[str]
    """Label of the written text; Dovecot knows it."""

    new_parameters: ClassVar[tuple[int, ...]]
    """Cost parameters of new secrets."""

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self:
        """Return the secret of *text*, the part after the label. Raises ConfigError, whose message holds none of it."""

    @classmethod
    @abstractmethod
    def create(cls, password: bytes) -> Self:
        """Return a new secret with a new salt and the parameters in ``new_parameters``."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The text that ``parse`` reads."""

    @classmethod
    def field_of(cls, password: bytes) -> str:
        """Return ``{label}text`` of a new secret. Raises ConfigError if the scheme does not take the password."""
        if len(password) > cls.limit:
            raise ConfigError(f"a password of {{{cls.label}}} must have at most {cls.limit} octets")
        return f"{{{cls.label}}}{cls.create(password).text}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SaltedSecret(WritableSecret):
    """A secret with a salt, hashed as its text stands, a digest and parameters; new secrets have ``new_parameters``."""

    salt: bytes
    digest: bytes

    @classmethod
    def create(cls, password: bytes) -> Self:
        blank = cls(itoa64.fresh_salt(), b"", *cls.new_parameters)
        return replace(blank, digest=blank.derive(password))


def check_cost(is_bearable: bool) -> None:
    """Raise ConfigError if a cost is above the bounds."""
    if not is_bearable:
        raise ConfigError("the cost parameters are above the limits for one login")
