"""Stored secrets of users, as values that stay hidden: repr masks them, and comparison takes constant time."""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping
from functools import partial
from typing import Self

from geventpop3.auth.saslprep import saslprep
from geventpop3.errors import ConfigError

SCRAM_HASHES: Mapping[str, str] = {"SHA-1": "sha1", "SHA-256": "sha256"}
"""Hash functions of SCRAM: hashlib's names by those of RFC 5802 and RFC 7677."""

SCRAM_ITERATIONS = 4096
"""Default iteration count, Dovecot's too. RFC 7677 section 4: "the hash iteration-count SHOULD be at least 4096"."""

SCRAM_ITERATIONS_MOST = 10_000_000
"""Maximum iteration count: more would take the client, or a check of a password here, more than some seconds."""

SCRAM_SALT_OCTETS = 16
"""Octets of a new salt, as in Dovecot."""


PASSWORD_OCTETS = 1024
"""Maximum octets of a password; a longer one is always refused, and takes as long to check as any other."""


class Secret:
    """The base of every secret that a SecretAuthenticator may return."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ****>"


class PasswordSecret(Secret, ABC):
    """A secret that a password can be checked against."""

    __slots__ = ()

    @property
    @abstractmethod
    def cost(self) -> Hashable:
        """Cost of a check: secrets whose costs are equal take equal time."""

    @abstractmethod
    def matches(self, password: bytes) -> bool:
        """Return whether *password* is the right one; take the same time either way."""

    @abstractmethod
    def decoy(self) -> PasswordSecret:
        """Return a secret of the same cost that no password matches, without paying that cost."""


class ClearSecret(PasswordSecret):
    """A shared secret in clear text: APOP and CRAM-MD5 need it, and SCRAM can use it."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    @property
    def cost(self) -> Hashable:
        return "clear text"

    def matches(self, password: bytes) -> bool:
        """Return whether *password* is the secret as stored, or prepared by SASLprep, as most mechanisms send it."""
        prepared = _prepared(self._octets)
        spellings = (self._octets, self._octets if prepared is None else prepared)
        # Digests have one length, so not even the length of the secret shows in the time.
        given = hashlib.sha256(password).digest()
        return any(hmac.compare_digest(given, hashlib.sha256(octets).digest()) for octets in spellings)

    def decoy(self) -> ClearSecret:
        return ClearSecret(os.urandom(32))

    def matches_apop(self, timestamp: bytes, digest: str) -> bool:
        """Return whether *digest* is APOP's for this secret (RFC 1939 section 7).

        "a 16-octet value which is sent in hexadecimal format, using lower-case ASCII characters". The client may have
        prepared the secret first, as RFC 6856 section 2.2 describes; older clients do not.
        """
        prepared = _prepared(self._octets)
        spellings = (self._octets, self._octets if prepared is None else prepared)
        md5 = partial(hashlib.md5, usedforsecurity=False)
        given = digest.encode("utf-8", "surrogateescape")
        return any(hmac.compare_digest(md5(timestamp + octets).hexdigest().encode(), given) for octets in spellings)

    def matches_cram_md5(self, challenge: bytes, digest: bytes) -> bool:
        """Return whether *digest*, in lower-case hexadecimal, is CRAM-MD5's for this secret (RFC 2195 section 2)."""
        md5 = partial(hashlib.md5, usedforsecurity=False)
        expected = hmac.new(self._octets, challenge, md5).hexdigest()
        return hmac.compare_digest(expected.encode("ascii"), digest)

    def scram(self, hash_name: str, salt: bytes, iterations: int) -> ScramSecret:
        """Return the keys that SCRAM would have stored for this secret; this takes some milliseconds.

        No proof fits them if this secret cannot be prepared, because then SCRAM cannot use it (RFC 5802 section 2.2).
        """
        prepared = _prepared(self._octets)
        keys = _scram_keys(hash_name, self._octets if prepared is None else prepared, salt, iterations)
        secret = ScramSecret(hash_name, salt, iterations, *keys)
        return secret.decoy() if prepared is None else secret


class ScramSecret(PasswordSecret):
    """The stored keys of SCRAM (RFC 5802 section 3): they can check a proof or a password but produce neither.

    *hash_name* is one of ``SCRAM_HASHES``; salt and keys are octets.
    """

    __slots__ = ("_server_key", "_stored_key", "hash_name", "iterations", "salt")

    def __init__(self, hash_name: str, salt: bytes, iterations: int, stored_key: bytes, server_key: bytes) -> None:
        self.hash_name = hash_name
        self.salt = salt
        self.iterations = iterations
        self._stored_key = stored_key
        self._server_key = server_key

    @classmethod
    def of(
        cls,
        password: bytes,
        hash_name: str = "SHA-256",
        *,
        salt: bytes | None = None,
        iterations: int = SCRAM_ITERATIONS,
    ) -> Self:
        """Return the secret to store for *password*, by default with a new salt; this takes some milliseconds.

        Raises ConfigError if the password cannot be prepared (RFC 5802 section 2.2): no client could use it.
        """
        prepared = _prepared(password)
        if prepared is None:
            raise ConfigError(
                "SCRAM cannot use this password: it is empty, not UTF-8, or contains a character that SASLprep forbids"
            )
        salt = os.urandom(SCRAM_SALT_OCTETS) if salt is None else salt
        return cls(hash_name, salt, iterations, *_scram_keys(hash_name, prepared, salt, iterations))

    @classmethod
    def parse(cls, field: str) -> Self:
        """Return the secret of ``{SCRAM-SHA-256}iterations,salt,stored key,server key`` (base64), as Dovecot writes it.

        Raises ConfigError, whose text holds nothing of the field.
        """
        if (found := _SCRAM_FIELD.fullmatch(field)) is None:
            raise ConfigError("not a SCRAM secret, which is {SCRAM-SHA-256}iterations,salt,stored key,server key")
        hash_name, iterations = found[1].upper(), int(found[2])
        try:
            salt, stored_key, server_key = (binascii.a2b_base64(found[i], strict_mode=True) for i in (3, 4, 5))
        except ValueError:
            raise ConfigError("not a SCRAM secret: bad base64") from None
        size = hashlib.new(SCRAM_HASHES[hash_name]).digest_size
        if len(stored_key) != size or len(server_key) != size:
            raise ConfigError("not a SCRAM secret: the length of its keys is not that of its hash function")
        if iterations > SCRAM_ITERATIONS_MOST:
            raise ConfigError("the iteration count is above the limit for one login")
        return cls(hash_name, salt, iterations, stored_key, server_key)

    @property
    def field(self) -> str:
        """Text that ``parse`` reads."""
        keys = (self.salt, self._stored_key, self._server_key)
        texts = ",".join(binascii.b2a_base64(key, newline=False).decode("ascii") for key in keys)
        return f"{{SCRAM-{self.hash_name}}}{self.iterations},{texts}"

    @property
    def cost(self) -> Hashable:
        return "SCRAM", self.hash_name, self.iterations

    def matches(self, password: bytes) -> bool:
        prepared = _prepared(password)
        octets = password if prepared is None else prepared
        stored_key, _ = _scram_keys(self.hash_name, octets, self.salt, self.iterations)
        return hmac.compare_digest(stored_key, self._stored_key) and prepared is not None

    def decoy(self) -> Self:
        size = len(self._stored_key)
        return type(self)(self.hash_name, self.salt, self.iterations, os.urandom(size), os.urandom(size))

    def server_signature(self, message: bytes, proof: bytes) -> bytes | None:
        """Return the ServerSignature of the AuthMessage *message* if *proof* is the ClientProof of it, else None.

        RFC 5802 section 3 defines them. This takes microseconds, and as long for a wrong proof as for the right one.
        """
        name = SCRAM_HASHES[self.hash_name]
        signature = hmac.digest(self._stored_key, message, name)
        client_key = bytes(a ^ b for a, b in zip(signature, proof, strict=False))
        is_right = hmac.compare_digest(hashlib.new(name, client_key).digest(), self._stored_key)
        verifier = hmac.digest(self._server_key, message, name)
        return verifier if is_right and len(proof) == len(signature) else None


_SCRAM_FIELD = re.compile(
    r"\{SCRAM-(SHA-1|SHA-256)\}([1-9][0-9]{0,9}),([A-Za-z0-9+/=]{4,88}),([A-Za-z0-9+/=]{28,44}),([A-Za-z0-9+/=]{28,44})",
    re.IGNORECASE | re.ASCII,
)


def _prepared(password: bytes) -> bytes | None:
    """Return Normalize(password) of RFC 5802 section 2.2 ("treated as a "stored strings""), or None if that fails."""
    try:
        return saslprep(password.decode("utf-8"), stored=True).encode("utf-8") or None
    except ValueError:
        return None


def _scram_keys(hash_name: str, password: bytes, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """Return StoredKey and ServerKey (RFC 5802 section 3) of a prepared password; this is SCRAM's slow part."""
    name = SCRAM_HASHES[hash_name]
    salted = hashlib.pbkdf2_hmac(name, password, salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", name)
    return hashlib.new(name, client_key).digest(), hmac.digest(salted, b"Server Key", name)


# Checks of all users of a back end: one secret of each kind stands for the others. A mechanism that some user cannot
# use is not offered, because a client that can use it would try no other.


def all_are_clear(kinds: Iterable[Secret]) -> bool:
    """Return whether there are users, and each has a clear-text secret."""
    kinds = list(kinds)
    return bool(kinds) and all(isinstance(kind, ClearSecret) for kind in kinds)


def none_is_clear(kinds: Iterable[Secret]) -> bool:
    """Return whether no user has a clear-text secret."""
    return not any(isinstance(kind, ClearSecret) for kind in kinds)


def scram_iterations(kinds: Iterable[Secret], hash_name: str) -> tuple[int, ...]:
    """Return the different iteration counts of SCRAM keys; () if a user has neither these nor a clear-text secret."""
    counts = []
    for kind in kinds:
        if isinstance(kind, ScramSecret) and kind.hash_name == hash_name:
            counts.append(kind.iterations)
        elif not isinstance(kind, ClearSecret):
            return ()
    return tuple(counts)
