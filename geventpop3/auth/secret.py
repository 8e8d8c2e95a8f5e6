"""What is stored about a user, as values that never show themselves: repr masks, comparison takes constant time."""

from __future__ import annotations

import hashlib
import hmac
import os
from abc import ABC, abstractmethod
from collections.abc import Hashable


class Secret:
    """The base of everything a SecretAuthenticator may hand out."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ****>"


class PasswordSecret(Secret, ABC):
    """A secret that a password can be checked against."""

    __slots__ = ()

    @property
    @abstractmethod
    def cost(self) -> Hashable:
        """What a check costs: secrets whose costs are equal take equal time."""

    @abstractmethod
    def matches(self, password: bytes) -> bool:
        """Whether *password* is the right one; it takes the same time either way."""

    @abstractmethod
    def decoy(self) -> PasswordSecret:
        """A secret of the same cost that no password matches; made without paying that cost."""


class ClearSecret(PasswordSecret):
    """A shared secret in clear text: what APOP and CRAM-MD5 need."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    @property
    def cost(self) -> Hashable:
        return "clear text"

    def matches(self, password: bytes) -> bool:
        # Digests have one length, so not even the length of the secret shows in the time.
        return hmac.compare_digest(hashlib.sha256(password).digest(), hashlib.sha256(self._octets).digest())

    def decoy(self) -> ClearSecret:
        return ClearSecret(os.urandom(32))

    def matches_apop(self, timestamp: bytes, digest: str) -> bool:
        """Whether *digest* is APOP's for this secret (RFC 1939 section 7).

        "a 16-octet value which is sent in hexadecimal format, using lower-case ASCII characters"
        """
        expected = hashlib.md5(timestamp + self._octets, usedforsecurity=False).hexdigest()
        return hmac.compare_digest(expected.encode("ascii"), digest.encode("utf-8", "surrogateescape"))
