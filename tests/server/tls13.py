"""A TLS 1.3 client that makes records by hand, for what no library would send: key updates without end.

The handshake is ssl's own; the keys come from its key log (RFC 8446 sections 5, 7.2 and 7.3).
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

HANDSHAKE = 22
APPLICATION_DATA = 23


class Records:
    """The client's side of a connection after its handshake; *key_log* is the file that its context logged keys to."""

    def __init__(self, cipher: str, key_log: Path) -> None:
        self._hash = "sha384" if cipher.endswith("SHA384") else "sha256"
        self._key_octets = 16 if "AES_128" in cipher else 32
        self._aead = ChaCha20Poly1305 if "CHACHA20" in cipher else AESGCM
        keys = dict(line.split()[::2] for line in key_log.read_text().splitlines() if not line.startswith("#"))
        self._use(bytes.fromhex(keys["CLIENT_TRAFFIC_SECRET_0"]))

    def content(self, octets: bytes) -> bytes:
        """A record of application data."""
        return self._record(octets, APPLICATION_DATA)

    def key_update(self, *, ask: bool = False) -> bytes:
        """A record that changes our keys, and asks the server to change its own."""
        record = self._record(b"\x18\0\0\1" + bytes([ask]), HANDSHAKE)
        self._use(self._expand(self._secret, b"traffic upd", hashlib.new(self._hash).digest_size))
        return record

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key = self._aead(self._expand(secret, b"key", self._key_octets))
        self._iv = int.from_bytes(self._expand(secret, b"iv", 12), "big")
        self._sequence = 0

    def _record(self, content: bytes, kind: int) -> bytes:
        head = b"\x17\x03\x03" + (len(content) + 1 + 16).to_bytes(2, "big")
        nonce = (self._iv ^ self._sequence).to_bytes(12, "big")
        self._sequence += 1
        return head + self._key.encrypt(nonce, content + bytes([kind]), head)

    def _expand(self, secret: bytes, label: bytes, octets: int) -> bytes:
        """HKDF-Expand-Label with an empty context; one block is enough."""
        info = octets.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + b"\0"
        return hmac.new(secret, info + b"\1", self._hash).digest()[:octets]


def handshake(incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, tls: ssl.SSLObject, exchange) -> None:
    """The client's side of a handshake; *exchange* sends octets and returns what comes."""
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            incoming.write(exchange(outgoing.read()))
