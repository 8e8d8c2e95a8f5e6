"""The service's state of one client, and its interface to the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.service.open_maildrop import Transaction
from geventpop3.wire.replies import Reply


class Host(Protocol):
    """The parts of a server that a service registered with it needs."""

    hostname: str
    greeting: str
    handle_connects: bool

    def offers_tls(self, client: ClientInterface) -> bool:
        """Return whether STLS would work for this client now."""

    def tls_facts(self, client: ClientInterface) -> tuple[str | None, bytes | None]:
        """Return the name in the client's verified certificate and its TLS channel binding, each None if missing."""

    def send_event(self, name: str, /, *args: Any, client: ClientInterface | None = None) -> Event:
        """Send an event to plugins and listeners."""


class Session:
    """The service's state of one client."""

    __slots__ = (
        "abandoned",
        "client",
        "done_at",
        "goodbye",
        "name",
        "named_at",
        "spoken",
        "timestamp",
        "transaction",
        "tries",
        "utf8",
    )

    def __init__(self, client: ClientInterface) -> None:
        self.client = client
        self.name: str | None = None
        self.named_at = 0
        """Number of the command, in this session, that gave the name."""
        self.done_at = 0
        """Number of the last command that changed something here, so that it can be undone."""
        self.goodbye: Reply | None = None
        """Reply to QUIT once UPDATE is done."""
        self.spoken: Callable[[str], str] | None = None
        """Translation function of the language before the last LANG."""
        self.timestamp: str | None = None
        self.tries = 0
        self.abandoned = 0
        """AUTH commands that ended before any look-up, and so do not count as failed logins."""
        self.utf8 = False
        self.transaction: Transaction | None = None
