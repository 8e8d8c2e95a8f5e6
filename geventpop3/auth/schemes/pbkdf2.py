"""PBKDF2 with HMAC-SHA1 in Dovecot's format: ``$1$salt$rounds$hex``."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from geventpop3.auth.schemes.hashed import SaltedSecret, check_cost
from geventpop3.errors import ConfigError

ROUNDS = 10_000_000
"""Maximum number of rounds: some seconds."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Pbkdf2Secret(SaltedSecret):
    """A PBKDF2 secret (RFC 8018 section 5.2); the text of the salt is hashed, as in Dovecot."""

    label = "PBKDF2"
    new_parameters = (100_000,)  # 50 ms of one processor core in 2026; Dovecot's default is 5,000

    rounds: int

    _TEXT: ClassVar = re.compile(r"\$1\$([!-#%-~]{1,64})\$([1-9][0-9]{0,9})\$([0-9A-Fa-f]{40})")

    @classmethod
    def parse(cls, text: str) -> Self:
        if (found := cls._TEXT.fullmatch(text)) is None:
            raise ConfigError("not a {PBKDF2} secret, which is $1$salt$rounds$hex")
        secret = cls(found[1].encode("ascii"), bytes.fromhex(found[3]), int(found[2]))
        check_cost(secret.rounds <= ROUNDS)
        return secret

    @property
    def text(self) -> str:
        return f"$1${self.salt.decode('ascii')}${self.rounds}${self.digest.hex()}"

    @property
    def cost(self) -> Hashable:
        return self.label, self.rounds

    def derive(self, password: bytes) -> bytes:
        return hashlib.pbkdf2_hmac("sha1", password, self.salt, self.rounds)

    def decoy(self) -> Self:
        return replace(self, digest=os.urandom(20))
