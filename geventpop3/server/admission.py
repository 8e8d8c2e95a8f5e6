"""Connected clients, and the admission of new ones."""

from __future__ import annotations

import logging
import resource
import sys
from collections.abc import Iterator

from geventpop3.errors import ResponseCode
from geventpop3.hosts import address_key
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.server.acceptor import FULL
from geventpop3.server.client import Client
from geventpop3.server.limits import Limits
from geventpop3.wire.replies import Reply, err

log = logging.getLogger("geventpop3.server")

FULL_FOR_ADDRESS = err("too many connections from your address", ResponseCode.SYS_TEMP)

DESCRIPTORS_PER_SESSION = 5
"""Descriptors of a busy session: a socket, a maildrop with its ``new`` and ``cur``, and a message that is being read.
An idle session has two or more."""

RESERVED_DESCRIPTORS = 100


class Clients:
    """Connected clients of one server, by id, counted by address."""

    def __init__(self, limits: Limits) -> None:
        self._by_id: dict[int, Client] = {}
        self._limits = limits
        self._most = sys.maxsize
        self._most_per_address = limits.max_sessions_per_address
        self._keys: dict[int, str] = {}
        self._per_address: dict[str, int] = {}

    def __iter__(self) -> Iterator[Client]:
        """Iterate over a copy, so that clients may be added and removed meanwhile."""
        return iter(tuple(self._by_id.values()))

    def get(self, client_id: int) -> Client | None:
        """Return the client with this id, None if it is not connected."""
        return self._by_id.get(client_id)

    def by_id(self) -> dict[int, Client]:
        """Return a copy of the clients by id."""
        return dict(self._by_id)

    def open(self) -> None:
        """Compute the maximum of clients; not earlier, because the limit of descriptors may have been raised since."""
        self._most = affordable(self._limits.max_sessions)

    def refusal(self, host: str | None) -> Reply | None:
        """Return the reply that refuses one more peer, None if it is admitted.

        *host* is None while only a proxy knows it.
        """
        if len(self._by_id) >= self._most:
            return FULL
        return None if host is None else self._refusal_for(host)

    def enter(self, client: Client, host: str | None) -> None:
        """Add an admitted client."""
        self._by_id[client.id] = client
        if host is not None:
            self._count(client, host)

    def move(self, client: ClientInterface, host: str) -> Reply | None:
        """Count a client under *host*, as reported by a proxy; return a refusal if that address has too many."""
        self._uncount(client)
        refusal = self._refusal_for(host)
        self._count(client, host)
        return refusal

    def leave(self, client: Client) -> None:
        """Remove a client."""
        del self._by_id[client.id]
        self._uncount(client)

    def _refusal_for(self, host: str) -> Reply | None:
        most = self._most_per_address
        return FULL_FOR_ADDRESS if most is not None and self._per_address.get(address_key(host), 0) >= most else None

    def _count(self, client: ClientInterface, host: str) -> None:
        key = self._keys[client.id] = address_key(host)
        self._per_address[key] = self._per_address.get(key, 0) + 1

    def _uncount(self, client: ClientInterface) -> None:
        key = self._keys.pop(client.id, None)
        if key is None:
            return
        left = self._per_address[key] - 1
        if left:
            self._per_address[key] = left
        else:
            del self._per_address[key]


def affordable(wanted: int | None) -> int:
    """Return the maximum of sessions: *wanted*, or fewer if the limit of descriptors does not allow so many."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return sys.maxsize if wanted is None else wanted
    most = max(1, (soft - RESERVED_DESCRIPTORS) // DESCRIPTORS_PER_SESSION)
    if wanted is not None and wanted <= most:
        return wanted
    log.info("the maximum of concurrent sessions is %d, because the process may open %d files", most, soft)
    return most
