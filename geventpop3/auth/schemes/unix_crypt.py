"""The schemes of /etc/shadow that crypt(3) computes: yescrypt, SHA-crypt, and MD5-crypt, which is only read.

The time of SHA-crypt and MD5-crypt also depends on the length of the salt, so their cost includes it. The longest
password takes about ten times as long as a usual one.
"""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from geventpop3.auth.schemes import itoa64, libcrypt
from geventpop3.auth.schemes.hashed import MEMORY_OCTETS, HashedSecret, WritableSecret, check_cost
from geventpop3.errors import ConfigError

SHA_ROUNDS = 1_000_000
"""Maximum number of rounds of SHA-crypt: half a second, and some seconds for the longest password."""

SHA_DEFAULT_ROUNDS = 5000
"""Rounds of a SHA-crypt text without ``rounds=``; the specification allows no fewer than 1,000."""


_C, _LAST_OF_2, _LAST_OF_3 = itoa64.CHARACTER, itoa64.LAST_OF_2, itoa64.LAST_OF_3

_SALT = r"[\"#%-)+-9<-\[\]-~]"
"""Regular expression of a salt character that libxcrypt allows: printable ASCII except ``$`` and ``! * : ; \\``."""


def _pattern(setting: str, digest: str) -> re.Pattern[str]:
    return re.compile(f"(?P<setting>{setting})(?P<digest>{digest})")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class CryptSecret(HashedSecret):
    """A secret of crypt(3): *setting* is the text up to its last ``$``, *digest* the rest.

    The time of a check depends on *parameters*.
    """

    limit = libcrypt.PASSWORD_OCTETS

    label: ClassVar[str]
    prefix: ClassVar[str]
    _TEXT: ClassVar[re.Pattern[str]]

    setting: bytes
    digest: bytes
    parameters: tuple[int, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        if (found := cls._TEXT.fullmatch(text)) is None:
            raise ConfigError(f"not a {{{cls.label}}} secret, which is {cls.prefix}...$...")
        setting = found["setting"].encode("ascii")
        if not libcrypt.knows(setting):
            raise ConfigError(f"crypt(3) of this system does not know {cls.prefix}")
        return cls(setting, found["digest"].encode("ascii"), cls._parameters(found))

    @classmethod
    @abstractmethod
    def _parameters(cls, found: re.Match[str]) -> tuple[int, ...]:
        """Return the parameters of the text. Raises ConfigError if the cost is above the bounds."""

    @property
    def text(self) -> str:
        return (self.setting + self.digest).decode("ascii")

    @property
    def cost(self) -> Hashable:
        return self.prefix, *self.parameters

    def derive(self, password: bytes) -> bytes:
        return libcrypt.crypt(password, self.setting).rpartition(b"$")[2]

    def decoy(self) -> Self:
        digest = "".join(itoa64.ALPHABET[octet & 63] for octet in os.urandom(len(self.digest)))
        return replace(self, digest=digest.encode("ascii"))

    @classmethod
    def _created(cls, setting: str, password: bytes, parameters: tuple[int, ...]) -> Self:
        blank = cls(setting.encode("ascii"), b"", parameters)
        return replace(blank, digest=blank.derive(password))


class Md5CryptSecret(CryptSecret):
    """A secret of MD5-crypt: too fast to be safe if a file is stolen, but common in old files."""

    __slots__ = ()

    label = "MD5-CRYPT"
    prefix = "$1$"
    _TEXT = _pattern(r"\$1\$(?P<salt>" + _SALT + r"{1,8})\$", _C + "{21}" + _LAST_OF_2)

    @classmethod
    def _parameters(cls, found: re.Match[str]) -> tuple[int, ...]:
        return (len(found["salt"]),)


class _ShaCryptSecret(CryptSecret, WritableSecret):
    """A secret of SHA-crypt as Ulrich Drepper specified it."""

    __slots__ = ()

    new_parameters = (100_000,)  # 30 ms of one processor core in 2026; Dovecot's default is 5,000

    @classmethod
    def _parameters(cls, found: re.Match[str]) -> tuple[int, ...]:
        rounds = int(found["rounds"] or SHA_DEFAULT_ROUNDS)
        check_cost(rounds <= SHA_ROUNDS)
        return rounds, len(found["salt"])

    @classmethod
    def create(cls, password: bytes) -> Self:
        (rounds,), salt = cls.new_parameters, itoa64.fresh_salt().decode("ascii")
        return cls._created(f"{cls.prefix}rounds={rounds}${salt}$", password, (rounds, len(salt)))


_SHA_SETTING = r"(?:rounds=(?P<rounds>[1-9][0-9]{3,8})\$)?(?!rounds=)(?P<salt>" + _SALT + r"{1,16})\$"


class Sha256CryptSecret(_ShaCryptSecret):
    """A secret of SHA-crypt with SHA-256."""

    __slots__ = ()

    label = "SHA256-CRYPT"
    prefix = "$5$"
    _TEXT = _pattern(r"\$5\$" + _SHA_SETTING, _C + "{42}" + _LAST_OF_3)


class Sha512CryptSecret(_ShaCryptSecret):
    """A secret of SHA-crypt with SHA-512, for many years the usual scheme of /etc/shadow."""

    __slots__ = ()

    label = "SHA512-CRYPT"
    prefix = "$6$"
    _TEXT = _pattern(r"\$6\$" + _SHA_SETTING, _C + "{85}" + _LAST_OF_2)


class YescryptSecret(CryptSecret, WritableSecret):
    """A secret of yescrypt, the usual scheme of /etc/shadow since Debian 11, in the variant that passwd(1) makes.

    This is ``j`` with N and r, one character each, without parallelism and growth of time.
    """

    __slots__ = ()

    label = "CRYPT"
    prefix = "$y$"
    new_parameters = (12, 32)  # log2(N) and r, as in Debian's passwd(1): 16 MiB and 25 ms of one processor core in 2026

    # A character is a number from 1 to 48; log2(N) is at least 2. The salt is whole octets, at most 62.
    _TEXT = _pattern(
        r"\$y\$j(?P<log_n>[/0-9A-Za-j])(?P<r>[./0-9A-Za-j])"
        rf"\$(?:{_C}{{4}}){{0,20}}(?:{_C}{_LAST_OF_2}|{_C}{_C}{_LAST_OF_3})?\$",
        _C + "{42}" + _LAST_OF_3,
    )

    @classmethod
    def _parameters(cls, found: re.Match[str]) -> tuple[int, ...]:
        log_n, r = (itoa64.number_of(found[name]) + 1 for name in ("log_n", "r"))
        check_cost(128 * r << log_n <= MEMORY_OCTETS)
        return log_n, r

    @classmethod
    def create(cls, password: bytes) -> Self:
        characters = "".join(itoa64.text_of(number - 1, 1) for number in cls.new_parameters)
        salt = itoa64.encoded(os.urandom(16)).decode("ascii")
        return cls._created(f"$y$j{characters}${salt}$", password, cls.new_parameters)
