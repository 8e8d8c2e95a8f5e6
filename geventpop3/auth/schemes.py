"""Password schemes: ``{SCHEME}text`` to a secret and back, in the texts that Dovecot reads and writes.

    {PLAIN}, {CLEARTEXT}, {CLEAR}   the password itself; the only one that can serve APOP
    {ARGON2ID}                      $argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$salt$digest; needs geventpop3[argon2]
    {CRYPT}, {SCRYPT}               $7$... : scrypt as crypt(3) of libxcrypt has it; Dovecot knows it as {CRYPT}
    {PBKDF2}                        $1$salt$rounds$hex : HMAC-SHA1, Dovecot's own

A scheme is one class and its labels in ``SCHEMES``. A text is never guessed at: what is not exactly one of these is
refused, and so is a cost that would let one line of a file burn minutes of processor time or gigabytes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import os
import re
from abc import abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from types import ModuleType
from typing import ClassVar, Self

from geventpop3.auth.secret import ClearSecret, PasswordSecret
from geventpop3.errors import ConfigError

PASSWORD_OCTETS = 1024
"""The longest password that is hashed, so that no client decides how much work a check is."""

MEMORY_OCTETS = 256 << 20
"""The most memory one check may take."""

WORK_OCTETS = 1 << 30
"""The most memory traffic one check may cause (memory x passes): some seconds."""

PBKDF2_ROUNDS = 10_000_000
"""The most rounds of PBKDF2: some seconds."""

LANES = 16
"""The most threads one check of Argon2id may start."""

_ITOA64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class HashedSecret(PasswordSecret):
    """What is left of a password after a slow hash: a salt, a digest and the cost parameters."""

    __slots__ = ()

    label: ClassVar[str]
    """The label that is written; Dovecot knows it."""

    fresh: ClassVar[tuple[int, ...]]
    """The cost parameters of new secrets."""

    salt: bytes
    digest: bytes

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
        """What follows the label in a password file."""

    @abstractmethod
    def derive(self, password: bytes) -> bytes:
        """The digest of *password* with this salt and these parameters: the slow part."""

    def matches(self, password: bytes) -> bool:
        return hmac.compare_digest(self.derive(password), self.digest)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Pbkdf2Secret(HashedSecret):
    """PBKDF2 with HMAC-SHA1 (RFC 8018 section 5.2); the text of the salt is what is hashed, as in Dovecot."""

    label = "PBKDF2"
    fresh = (100_000,)  # 50 ms of one processor core in 2026; Dovecot's own default is 5,000

    salt: bytes
    digest: bytes
    rounds: int

    _TEXT: ClassVar = re.compile(r"\$1\$([!-#%-~]{1,64})\$([1-9][0-9]{0,9})\$([0-9A-Fa-f]{40})")

    @classmethod
    def parse(cls, text: str) -> Self:
        if (found := cls._TEXT.fullmatch(text)) is None:
            raise ConfigError("not a {PBKDF2} secret, which is $1$salt$rounds$hex")
        secret = cls(found[1].encode("ascii"), bytes.fromhex(found[3]), int(found[2]))
        _bound(secret.rounds <= PBKDF2_ROUNDS)
        return secret

    @classmethod
    def create(cls, password: bytes) -> Self:
        blank = cls(_salt(), b"", *cls.fresh)
        return replace(blank, digest=blank.derive(password))

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


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ScryptSecret(HashedSecret):
    """scrypt (RFC 7914) in the text of crypt(3): ``$7$``, log2(N), r and p of five characters each, salt, digest.

    Salt and digest are kept as they stand in that text.
    """

    label = "CRYPT"
    fresh = (14, 8, 1)  # 16 MiB and 50 ms of one processor core in 2026: the paper's choice for interactive logins

    salt: bytes
    digest: bytes
    log_n: int
    r: int
    p: int

    # 43 characters of 6 bits are 256 bits and two more, which are zero.
    _TEXT: ClassVar = re.compile(r"\$7\$(I)(I{5})(I{5})(I{1,64})\$(I{42}[./0-9A-D])".replace("I", "[./0-9A-Za-z]"))

    @classmethod
    def parse(cls, text: str) -> Self:
        if (found := cls._TEXT.fullmatch(text)) is None:
            raise ConfigError("not a secret of {CRYPT} that is known here, which is scrypt: $7$...$...")
        log_n, r, p = (_number64(found[i]) for i in (1, 2, 3))
        secret = cls(found[4].encode("ascii"), found[5].encode("ascii"), log_n, r, p)
        # RFC 7914 section 2: N "must be larger than 1, a power of 2, and less than 2^(128 * r / 8)".
        if not (0 < log_n < 16 * r and p):
            raise ConfigError("not a {CRYPT}$7$ secret: its cost parameters do not fit together")
        _bound(log_n < 32 and secret._memory <= MEMORY_OCTETS and secret._memory * p <= WORK_OCTETS)
        return secret

    @classmethod
    def create(cls, password: bytes) -> Self:
        blank = cls(_salt(), b"", *cls.fresh)
        return replace(blank, digest=blank.derive(password))

    @property
    def text(self) -> str:
        parameters = _ITOA64[self.log_n] + _text64(self.r, 5) + _text64(self.p, 5)
        return f"$7${parameters}{self.salt.decode('ascii')}${self.digest.decode('ascii')}"

    @property
    def cost(self) -> Hashable:
        return self.label, self.log_n, self.r, self.p

    @property
    def _memory(self) -> int:
        return 128 * self.r << self.log_n

    def derive(self, password: bytes) -> bytes:
        room = self._memory + 128 * self.r * (self.p + 2) + (1 << 20)
        return _octets64(
            hashlib.scrypt(password, salt=self.salt, n=1 << self.log_n, r=self.r, p=self.p, maxmem=room, dklen=32)
        )

    def decoy(self) -> Self:
        return replace(self, digest=_octets64(os.urandom(32)))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Argon2idSecret(HashedSecret):
    """Argon2id (RFC 9106) in the text of its reference implementation."""

    label = "ARGON2ID"
    # 19 MiB and 30 ms of one processor core in 2026: the least that OWASP recommends, because a POP3 client logs in
    # every few minutes and all day.
    fresh = (2, 19456, 1)

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
            raise ConfigError("not a whole {ARGON2ID} secret: bad base64") from None
        _bound(lanes <= LANES and kib << 10 <= MEMORY_OCTETS and (kib << 10) * passes <= WORK_OCTETS)
        if kib < 8 * lanes:
            raise ConfigError("not an {ARGON2ID} secret: RFC 9106 asks for m of at least 8 p")
        return cls(salt, digest, passes, kib, lanes)

    @classmethod
    def create(cls, password: bytes) -> Self:
        blank = cls(os.urandom(16), bytes(32), *cls.fresh)
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


SCHEMES: Mapping[str, type[HashedSecret]] = {
    "ARGON2ID": Argon2idSecret,
    "SCRYPT": ScryptSecret,
    "CRYPT": ScryptSecret,
    "PBKDF2": Pbkdf2Secret,
}
"""Label to scheme, for all that hash; labels are compared without case."""

CLEAR_LABELS = frozenset({"PLAIN", "CLEARTEXT", "CLEAR"})

NAMES = ("ARGON2ID", "SCRYPT", "PBKDF2", "PLAIN")
"""What ``hash_password`` offers, one name for each scheme."""

_FIELD = re.compile(r"\{([^{}]*)\}(.*)", re.DOTALL)


def parse_secret(field: str) -> PasswordSecret:
    """The secret of ``{SCHEME}text``. Raises ConfigError, whose words hold nothing of the field."""
    if (found := _FIELD.fullmatch(field)) is None:
        raise ConfigError("no {SCHEME} before the secret")
    label, text = found[1].upper(), found[2]
    if label in CLEAR_LABELS:
        octets = text.encode("utf-8")
        check_password(octets)
        return ClearSecret(octets)
    if (scheme := SCHEMES.get(label)) is None:
        raise ConfigError(f"unknown scheme, known are {', '.join(sorted(CLEAR_LABELS | SCHEMES.keys()))}")
    return scheme.parse(text)


def hash_password(password: bytes, name: str | None = None) -> str:
    """``{SCHEME}text`` of *password* for a password file, by default with ``default_scheme()``.

    Takes some ten milliseconds. Raises ConfigError for a scheme that is not known or not installed, and for a password
    that no client could send or that the file cannot hold.
    """
    name = default_scheme() if name is None else name.upper()
    check_password(password)
    if name in CLEAR_LABELS:
        if b":" in password:
            raise ConfigError("a clear-text password cannot hold a colon, which ends the field")
        try:
            return "{PLAIN}" + password.decode("utf-8")
        except UnicodeDecodeError:
            raise ConfigError("a clear-text password must be UTF-8") from None
    if (scheme := SCHEMES.get(name)) is None:
        raise ConfigError(f"unknown scheme {name!a}, known are {', '.join(NAMES)}")
    return f"{{{scheme.label}}}{scheme.create(password).text}"


def default_scheme() -> str:
    """ARGON2ID if its extra is installed, else SCRYPT.

    Of those in the standard library, scrypt is the one that costs an attacker memory too, and Dovecot reads it.
    """
    return "ARGON2ID" if importlib.util.find_spec("argon2") is not None else "SCRYPT"


def check_password(password: bytes) -> None:
    """Raise ConfigError if no client could log in with *password*: empty, too long, or with NUL, CR or LF."""
    if not password:
        raise ConfigError("an empty password is refused")
    if len(password) > PASSWORD_OCTETS:
        raise ConfigError(f"a password has at most {PASSWORD_OCTETS} octets")
    if any(octet in password for octet in (b"\0", b"\r", b"\n")):
        raise ConfigError("a password cannot hold NUL, CR or LF")


def _argon2() -> ModuleType:
    try:
        import argon2
    except ImportError:
        raise ConfigError("{ARGON2ID} needs an extra: pip install 'geventpop3[argon2]'") from None
    module: ModuleType = argon2
    return module


def _bound(is_bearable: bool) -> None:
    if not is_bearable:
        raise ConfigError("the cost parameters are beyond what one login may take")


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)


def _to_base64(octets: bytes) -> str:
    return base64.b64encode(octets).decode("ascii").rstrip("=")


def _salt() -> bytes:
    return "".join(_ITOA64[octet & 63] for octet in os.urandom(16)).encode("ascii")


def _number64(text: str) -> int:
    return sum(_ITOA64.index(character) << 6 * i for i, character in enumerate(text))


def _text64(number: int, length: int) -> str:
    return "".join(_ITOA64[number >> 6 * i & 63] for i in range(length))


def _octets64(octets: bytes) -> bytes:
    """Octets as crypt(3) writes them: each three as four characters, the lowest bits first."""
    pieces = (octets[i : i + 3] for i in range(0, len(octets), 3))
    return "".join(_text64(int.from_bytes(piece, "little"), len(piece) + 1) for piece in pieces).encode("ascii")
