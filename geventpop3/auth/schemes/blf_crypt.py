"""bcrypt, which Dovecot calls BLF-CRYPT: ``$2b$``, two digits, ``$``, salt and digest; needs geventpop3[bcrypt].

``$2a$`` and ``$2y$`` are older names of the same scheme.
"""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import ClassVar, Self

from geventpop3.auth.schemes.hashed import WritableSecret, check_cost
from geventpop3.errors import ConfigError

ROUNDS = 16
"""Maximum number of rounds, as a power of two: some seconds."""

_DIGEST = 31
"""Characters of a digest at the end of a text."""

_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class BlfCryptSecret(WritableSecret):
    """A bcrypt secret; *variant* is the letter after ``$2``. Salt and digest are kept as in the text.

    A password of more than 72 octets never matches: bcrypt ignores the rest, which its owner did not expect.
    """

    label = "BLF-CRYPT"
    new_parameters = (
        10,
    )  # 60 ms of one processor core in 2026: the minimum that OWASP recommends; Dovecot's default is 5
    limit = 72

    variant: str
    rounds: int
    salt: bytes
    digest: bytes

    # 22 characters of 6 bits are 16 octets and four more bits; 31 are 23 octets and two more. The extra bits are zero.
    _TEXT: ClassVar = re.compile(
        r"\$2([aby])\$([0-9]{2})\$([./A-Za-z0-9]{21}[.Oeu])([./A-Za-z0-9]{30}[.CGKOSWaeimquy26])"
    )

    @classmethod
    def parse(cls, text: str) -> Self:
        _bcrypt()
        if (found := cls._TEXT.fullmatch(text)) is None or (rounds := int(found[2])) < 4:
            raise ConfigError("not a {BLF-CRYPT} secret, which is $2b$ or $2y$ or $2a$, two digits, $, 53 characters")
        check_cost(rounds <= ROUNDS)
        return cls(found[1], rounds, found[3].encode("ascii"), found[4].encode("ascii"))

    @classmethod
    def create(cls, password: bytes) -> Self:
        # The letter that Dovecot writes.
        salt = _bcrypt().gensalt(*cls.new_parameters)[-22:]
        blank = cls("y", *cls.new_parameters, salt, b"")
        return replace(blank, digest=blank.derive(password))

    @property
    def text(self) -> str:
        return f"$2{self.variant}${self.rounds:02}${self.salt.decode('ascii')}{self.digest.decode('ascii')}"

    @property
    def cost(self) -> Hashable:
        return self.label, self.rounds

    def derive(self, password: bytes) -> bytes:
        setting = b"$2b$%02d$%b" % (self.rounds, self.salt)
        hashed: bytes = _bcrypt().hashpw(password, setting)
        return hashed[-_DIGEST:]

    def decoy(self) -> Self:
        digest = "".join(_ALPHABET[octet & 63] for octet in os.urandom(_DIGEST))
        return replace(self, digest=digest.encode("ascii"))


def _bcrypt() -> ModuleType:
    try:
        import bcrypt
    except ImportError:
        raise ConfigError("{BLF-CRYPT} needs an extra: pip install 'geventpop3[bcrypt]'") from None
    module: ModuleType = bcrypt
    return module
