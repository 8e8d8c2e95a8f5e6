"""What is stored about a user, as values that never show themselves: repr masks, comparison takes constant time."""

from __future__ import annotations

import hashlib
import hmac


class Secret:
    """The base of everything a SecretAuthenticator may hand out."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} ****>"


class ClearSecret(Secret):
    """A shared secret in clear text: what APOP and CRAM-MD5 need."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def matches_apop(self, timestamp: bytes, digest: str) -> bool:
        """Whether *digest* is APOP's for this secret (RFC 1939 section 7).

        "a 16-octet value which is sent in hexadecimal format, using lower-case ASCII characters"
        """
        expected = hashlib.md5(timestamp + self._octets, usedforsecurity=False).hexdigest()
        return hmac.compare_digest(expected.encode("ascii"), digest.encode("utf-8", "surrogateescape"))
