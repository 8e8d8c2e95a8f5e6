"""What all hashed secrets have in common, and the bounds that keep a login bearable.

No text is guessed at, and no cost is accepted that would let one line of a file, or one password of a client, burn
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
"""The most memory one check may take."""

WORK_OCTETS = 1 << 30
"""The most memory traffic one check may cause (memory x passes): some seconds."""


class HashedSecret(PasswordSecret):
    """What is left of a password after a hash: a digest, and what is needed to make it again."""

    __slots__ = ()

    limit: ClassVar[int] = PASSWORD_OCTETS
    """The octets of the longest password that the scheme takes; a longer one is a wrong one."""

    digest: bytes

    @abstractmethod
    def derive(self, password: bytes) -> bytes:
        """The digest of *password*, which has no NUL and no more octets than ``limit``: the slow part."""

    def matches(self, password: bytes) -> bool:
        # NUL ends a password for crypt(3) and pads one for HMAC, so "x\0" would be as good as "x".
        taken = password[: self.limit].replace(b"\0", b"?")
        return hmac.compare_digest(self.derive(taken), self.digest) and taken == password


class WritableSecret(HashedSecret):
    """A hashed secret that is good enough to make new ones of."""

    __slots__ = ()

    label: ClassVar[str]
    """The label that is written; Dovecot knows it."""

    fresh: ClassVar[tuple[int, ...]]
    """The cost parameters of new secrets."""

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self:
        """The secret that *text* (what follows the label) is. Raises ConfigError, whose words hold none of it."""

    @classmethod
    @abstractmethod
    def create(cls, password: bytes) -> Self:
        """A new secret with a fresh salt and the parameters in ``fresh``."""

    @property
    @abstractmethod
    def text(self) -> str:
        """What ``parse`` reads."""

    @classmethod
    def field_of(cls, password: bytes) -> str:
        """``{label}text`` of a new secret. Raises ConfigError if the scheme does not take the password."""
        if len(password) > cls.limit:
            raise ConfigError(f"a password of {{{cls.label}}} has at most {cls.limit} octets")
        return f"{{{cls.label}}}{cls.create(password).text}"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SaltedSecret(WritableSecret):
    """A salt, which is hashed as its text stands, the digest, and the parameters that ``fresh`` has for new secrets."""

    salt: bytes
    digest: bytes

    @classmethod
    def create(cls, password: bytes) -> Self:
        blank = cls(itoa64.fresh_salt(), b"", *cls.fresh)
        return replace(blank, digest=blank.derive(password))


def check_cost(is_bearable: bool) -> None:
    """Raise ConfigError if a cost is not bearable."""
    if not is_bearable:
        raise ConfigError("the cost parameters are beyond what one login may take")
