"""The public keys of an issuer of tokens: a JWK Set (RFC 7517 section 5), given or fetched from its endpoint.

A key is found by its id and one algorithm, and serves no other. RFC 8725 section 3.1: "each key MUST be used with
exactly one algorithm". The rate of fetches is limited, whatever key a token names.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from geventpop3.auth.credentials import unavailable
from geventpop3.auth.oauth.json_endpoint import Endpoint, EndpointError

if TYPE_CHECKING:
    from jwt import PyJWK

log = logging.getLogger("geventpop3.auth")

ALGORITHMS: Mapping[str, tuple[str, str | None]] = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Signature algorithms (RFC 7518 section 3.1, RFC 8037), with type and curve of the keys; none has a shared secret."""

REFRESH_SECONDS = 900.0
"""Age in seconds from which keys are fetched again."""

PAUSE_SECONDS = 60.0
"""Seconds between two fetches that an unknown key may cause."""

RETRY_SECONDS = 10.0
"""Seconds between two fetches while they fail."""

KEEP_SECONDS = 86400.0
"""Seconds that keys stay in force if they cannot be fetched again: they may have been withdrawn."""

KEYS = 100
"""Maximum number of keys in one set; a larger set is refused."""

KeyTable = Mapping[tuple[str | None, str], "PyJWK"]
"""Keys by key id and algorithm; the only key of an algorithm also has the id None, for tokens that name none."""


class Keys(Protocol):
    """A verifier's source of keys."""

    def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        """Return the key, or None. Raises StoreUnavailable if keys could not be fetched."""


class GivenKeys:
    """Keys that do not change. Raises ValueError if the document is no JWK Set or none of its keys is usable."""

    def __init__(self, document: Mapping[str, Any], algorithms: Collection[str]) -> None:
        self._table = parse_keys(document, algorithms)

    def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        return self._table.get((key_id, algorithm))


class PublishedKeys:
    """Keys from an endpoint, fetched when first needed, then when they are old or a token names an unknown key."""

    def __init__(
        self, endpoint: Endpoint, algorithms: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._endpoint = endpoint
        self._algorithms = algorithms
        self._clock = clock
        self._table: KeyTable = {}
        self._trouble: str | None = None
        self._fetched = self._next = -float("inf")
        self._lock = threading.Lock()

    def find(self, key_id: str | None, algorithm: str) -> PyJWK | None:
        key = self._table.get((key_id, algorithm))
        is_old = self._clock() - self._fetched >= REFRESH_SECONDS
        # A thread that has a key uses it while another thread fetches; one without a key waits for the fetch.
        if (key is None or is_old) and self._lock.acquire(blocking=key is None):
            try:
                if self._clock() >= self._next:
                    self._fetch()
            finally:
                self._lock.release()
            key = self._table.get((key_id, algorithm))
        if key is None and self._trouble is not None:
            raise unavailable(self._trouble)
        return key

    def _fetch(self) -> None:
        try:
            table = parse_keys(self._endpoint.get(), self._algorithms)
        except EndpointError as error:
            self._fail(str(error))
        except ValueError as error:
            self._fail(f"{self._endpoint.url}: {error}")
        else:
            if self._trouble is not None:
                log.info("%s: the JWK Set can be fetched again", self._endpoint.url)
            self._table, self._trouble = table, None
            self._fetched = self._clock()
            self._next = self._fetched + PAUSE_SECONDS

    def _fail(self, trouble: str) -> None:
        if self._trouble is None:
            log.error("the JWK Set cannot be fetched: %s", trouble)
        self._trouble = trouble
        now = self._clock()
        if now - self._fetched >= KEEP_SECONDS:
            self._table = {}
        self._next = now + RETRY_SECONDS


def parse_keys(document: Mapping[str, Any], algorithms: Collection[str]) -> KeyTable:
    """Return the keys of a JWK Set that can verify; the others are skipped, as RFC 7517 section 5 asks.

    A key without an algorithm gets the first of *algorithms* that it can serve. Raises ValueError if the document is no
    JWK Set, has too many keys, or has no usable key.
    """
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    entries = document.get("keys")
    if not isinstance(entries, list) or len(entries) > KEYS:
        raise ValueError("not a JWK Set, or one with too many keys")
    table: dict[tuple[str | None, str], PyJWK] = {}
    counts = Counter[str]()
    for entry in entries:
        algorithm = next((each for each in algorithms if _serves(entry, each)), None)
        if algorithm is None:
            continue
        key_id = entry.get("kid")
        try:
            key = PyJWK(entry, algorithm)
        except PyJWTError as error:
            log.warning("the key %a of a JWK Set is skipped: %s", key_id, type(error).__name__)
            continue
        counts[algorithm] += 1
        table.setdefault((None, algorithm), key)
        if isinstance(key_id, str):
            table.setdefault((key_id, algorithm), key)
    for algorithm in algorithms:
        if counts[algorithm] > 1:
            del table[None, algorithm]
    if not counts:
        raise ValueError("no usable key")
    return table


def _serves(entry: object, algorithm: str) -> bool:
    """Return whether a JWK is meant for *algorithm* (RFC 7517 section 4, where only "kty" is not optional)."""
    if not isinstance(entry, dict):
        return False
    kind, curve = ALGORITHMS[algorithm]
    operations = entry.get("key_ops", ["verify"])
    return (
        entry.get("kty") == kind
        and (curve is None or entry.get("crv") == curve)
        and entry.get("use", "sig") == "sig"
        and entry.get("alg", algorithm) == algorithm
        and isinstance(operations, list)
        and "verify" in operations
    )
