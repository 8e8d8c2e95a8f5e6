"""scrypt in the format of libxcrypt's crypt(3), ``$7$...``, computed by hashlib, which every system has."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from geventpop3.auth.schemes import itoa64
from geventpop3.auth.schemes.hashed import MEMORY_OCTETS, WORK_OCTETS, SaltedSecret, check_cost
from geventpop3.errors import ConfigError


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ScryptSecret(SaltedSecret):
    """A scrypt secret (RFC 7914): ``$7$``, log2(N), r and p of five characters each, salt, ``$``, digest.

    Salt and digest are kept as in the text.
    """

    label = "CRYPT"
    new_parameters = (
        14,
        8,
        1,
    )  # 16 MiB and 50 ms of one processor core in 2026: the paper's choice for interactive logins

    log_n: int
    r: int
    p: int

    _TEXT: ClassVar = re.compile(
        r"\$7\$(I)(I{5})(I{5})(I{1,64})\$(I{42}L)".replace("I", itoa64.CHARACTER).replace("L", itoa64.LAST_OF_3)
    )

    @classmethod
    def parse(cls, text: str) -> Self:
        if (found := cls._TEXT.fullmatch(text)) is None:
            raise ConfigError("not a scrypt secret, which is $7$...$...")
        log_n, r, p = (itoa64.number_of(found[i]) for i in (1, 2, 3))
        secret = cls(found[4].encode("ascii"), found[5].encode("ascii"), log_n, r, p)
        # RFC 7914 section 2: N "must be larger than 1, a power of 2, and less than 2^(128 * r / 8)".
        if not (0 < log_n < 16 * r and p):
            raise ConfigError("not a scrypt secret: invalid combination of cost parameters")
        check_cost(log_n < 32 and secret._memory <= MEMORY_OCTETS and secret._memory * p <= WORK_OCTETS)
        return secret

    @property
    def text(self) -> str:
        parameters = itoa64.text_of(self.log_n, 1) + itoa64.text_of(self.r, 5) + itoa64.text_of(self.p, 5)
        return f"$7${parameters}{self.salt.decode('ascii')}${self.digest.decode('ascii')}"

    @property
    def cost(self) -> Hashable:
        return "scrypt", self.log_n, self.r, self.p

    @property
    def _memory(self) -> int:
        return 128 * self.r << self.log_n

    def derive(self, password: bytes) -> bytes:
        room = self._memory + 128 * self.r * (self.p + 2) + (1 << 20)
        return itoa64.encoded(
            hashlib.scrypt(password, salt=self.salt, n=1 << self.log_n, r=self.r, p=self.p, maxmem=room, dklen=32)
        )

    def decoy(self) -> Self:
        return replace(self, digest=itoa64.encoded(os.urandom(32)))
