"""The service's memory of one client, and its view of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.service.open_maildrop import Transaction
from geventpop3.wire.replies import Reply


class Host(Protocol):
    """What the service needs of the server that it is registered with."""

    hostname: str
    greeting: str
    handle_connects: bool

    def offers_tls(self, client: ClientInterface) -> bool:
        """Whether STLS would work for this client now."""

    def tls_facts(self, client: ClientInterface) -> tuple[str | None, bytes | None]:
        """The name that the client's verified certificate is for, and the binding of its TLS channel; None without."""

    def send_event(self, name: str, /, *args: Any, client: ClientInterface | None = None) -> Event:
        """Tell plugins and listeners."""


class Session:
    """What the service remembers of one client."""

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
        """The number of the command, in this session, that gave the name."""
        self.done_at = 0
        """The number of the command that was the last to leave a trace here, so that it can be taken back."""
        self.goodbye: Reply | None = None
        """What QUIT says once UPDATE is done."""
        self.spoken: Callable[[str], str] | None = None
        """The client's language before it chose the present one."""
        self.timestamp: str | None = None
        self.tries = 0
        self.abandoned = 0
        """AUTH commands that came to nothing and were no tries."""
        self.utf8 = False
        self.transaction: Transaction | None = None
