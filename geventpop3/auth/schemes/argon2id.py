"""Argon2id in the text format of its reference implementation; needs geventpop3[argon2]."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import ClassVar, Self

from geventpop3.auth.schemes.hashed import MEMORY_OCTETS, WORK_OCTETS, WritableSecret, check_cost
from geventpop3.errors import ConfigError

LANES = 16
"""Maximum number of threads that one check may start."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Argon2idSecret(WritableSecret):
    """Argon2id (RFC 9106): ``$argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$salt$digest``."""

    label = "ARGON2ID"
    # 19 MiB and 30 ms of one processor core in 2026: the minimum that OWASP recommends, because a POP3 client logs in
    # every few minutes, all day.
    new_parameters = (2, 19456, 1)

    salt: bytes
    digest: bytes
    passes: int
    kib: int
    lanes: int

    _TEXT: ClassVar = re.compile(
        r"\$argon2id\$v=19\$m=([1-9][0-9]{0,9}),t=([1-9][0-9]{0,9}),p=([1-9][0-9]{0,2})"
        r"\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,86})"
    )

    @classmethod
    def parse(cls, text: str) -> Self:
        _argon2()
        if (found := cls._TEXT.fullmatch(text)) is None:
            raise ConfigError("not an {ARGON2ID} secret, which is $argon2id$v=19$m=...,t=...,p=...$salt$digest")
        kib, passes, lanes = (int(found[i]) for i in (1, 2, 3))
        try:
            salt, digest = _from_base64(found[4]), _from_base64(found[5])
        except ValueError:
            raise ConfigError("not an {ARGON2ID} secret: bad base64") from None
        check_cost(lanes <= LANES and kib << 10 <= MEMORY_OCTETS and (kib << 10) * passes <= WORK_OCTETS)
        if kib < 8 * lanes:
            raise ConfigError("not an {ARGON2ID} secret: RFC 9106 requires m to be at least 8 p")
        return cls(salt, digest, passes, kib, lanes)

    @classmethod
    def create(cls, password: bytes) -> Self:
        blank = cls(os.urandom(16), bytes(32), *cls.new_parameters)
        return replace(blank, digest=blank.derive(password))

    @property
    def text(self) -> str:
        cost = f"m={self.kib},t={self.passes},p={self.lanes}"
        return f"$argon2id$v=19${cost}${_to_base64(self.salt)}${_to_base64(self.digest)}"

    @property
    def cost(self) -> Hashable:
        return self.label, self.passes, self.kib, self.lanes, len(self.digest)

    def derive(self, password: bytes) -> bytes:
        low_level = _argon2().low_level
        digest: bytes = low_level.hash_secret_raw(
            password, self.salt, self.passes, self.kib, self.lanes, len(self.digest), low_level.Type.ID
        )
        return digest

    def decoy(self) -> Self:
        return replace(self, digest=os.urandom(len(self.digest)))


def _argon2() -> ModuleType:
    try:
        import argon2
    except ImportError:
        raise ConfigError("{ARGON2ID} needs an extra: pip install 'geventpop3[argon2]'") from None
    module: ModuleType = argon2
    return module


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _to_base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii").rstrip("=")
