"""The SHA digests of LDAP and Dovecot, plain and salted: only read, because an attacker can try passwords too fast.

    {SHA} {SHA1} {SHA256} {SHA512}      digest
    {SSHA} {SSHA256} {SSHA512}          digest, then salt

The text is base64; ``.HEX`` after the name means hexadecimal, ``.B64`` or ``.BASE64`` always base64. Without a suffix,
a plain digest with the length of hexadecimal is hexadecimal, as in Dovecot.
"""

from __future__ import annotations

import binascii
import hashlib
import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, Self

from geventpop3.auth.schemes.hashed import HashedSecret
from geventpop3.errors import ConfigError

SALT_OCTETS = 64
"""Octets of the longest salt; LDAP servers write 4 to 16."""


class Digest(NamedTuple):
    """The meaning of a label: hashlib's name of the hash function, and if a salt is hashed after the password."""

    algorithm: str
    is_salted: bool


DIGESTS: Mapping[str, Digest] = {
    "SHA": Digest("sha1", False),
    "SHA1": Digest("sha1", False),
    "SHA256": Digest("sha256", False),
    "SHA512": Digest("sha512", False),
    "SSHA": Digest("sha1", True),
    "SSHA256": Digest("sha256", True),
    "SSHA512": Digest("sha512", True),
}


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DigestSecret(HashedSecret):
    """One digest of the password and the salt, which may be empty; it takes microseconds."""

    algorithm: str
    digest: bytes
    salt: bytes

    @classmethod
    def parse(cls, label: str, encoding: str | None, text: str) -> Self:
        """Return the secret of ``{label}text`` or ``{label.encoding}text``; *label*, of ``DIGESTS``, is in capitals.

        *encoding* is in capitals too. Raises ConfigError, whose message holds no part of the text.
        """
        algorithm, is_salted = DIGESTS[label]
        size = hashlib.new(algorithm, usedforsecurity=False).digest_size
        if encoding is None:
            encoding = "HEX" if not is_salted and len(text) == 2 * size else "BASE64"
        if (decode := _ENCODINGS.get(encoding)) is None:
            raise ConfigError(f"unknown encoding of {{{label}}}: give one of {', '.join(_ENCODINGS)}")
        try:
            octets = decode(text)
        except ValueError:
            raise ConfigError(f"not a {{{label}}} secret: bad {encoding.lower()}") from None
        digest, salt = octets[:size], octets[size:]
        if len(digest) < size or not (0 < len(salt) <= SALT_OCTETS if is_salted else not salt):
            what = "a digest and a salt" if is_salted else "a digest and no salt"
            raise ConfigError(f"not a {{{label}}} secret, which is {what}")
        return cls(algorithm, digest, salt)

    @property
    def cost(self) -> Hashable:
        return "digest", self.algorithm

    def derive(self, password: bytes) -> bytes:
        return hashlib.new(self.algorithm, password + self.salt, usedforsecurity=False).digest()

    def decoy(self) -> Self:
        return replace(self, digest=os.urandom(len(self.digest)))


_strict_base64 = partial(binascii.a2b_base64, strict_mode=True)

_ENCODINGS: Mapping[str, Callable[[str], bytes]] = {
    "HEX": binascii.a2b_hex,
    "B64": _strict_base64,
    "BASE64": _strict_base64,
}
