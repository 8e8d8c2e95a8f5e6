"""The service's state of one client, what the sessions of one service share, and the service's view of the server."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from geventpop3.auth.mechanisms import Mechanism
from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.service.backend import BackEnd
from geventpop3.service.language import Language
from geventpop3.service.open_maildrop import Maildrops, Present, Transaction
from geventpop3.service.policy import Expiry, LoginDelay
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


@dataclass(slots=True)
class Site:
    """The back ends and the policy of one service, shared by its sessions; ``MaildropService`` describes each."""

    back_end: BackEnd
    maildrops: Maildrops
    mechanisms: Mapping[str, Mechanism]
    may_act_as: Callable[[str, str], bool]
    fake_salt_key: bytes
    allow_plaintext: bool
    max_tries: int
    expiry: Expiry
    login_delay: LoginDelay
    present: Present | None
    """Makes the form of a message for clients without UTF-8 mode; None if they get messages as they are."""
    capabilities: dict[str, Capability]
    languages: dict[str, Language]
    language: str
    """Tag of the language that ``LANG *`` chooses."""
    offers: dict[Hashable, list[str]] = field(default_factory=dict)
    """Names of the mechanisms that are offered, by all that they depend on."""


class Session:
    """The service's state of one client."""

    __slots__ = (
        "abandoned",
        "client",
        "done_at",
        "goodbye",
        "name",
        "named_at",
        "site",
        "spoken",
        "timestamp",
        "transaction",
        "tries",
        "utf8",
    )

    def __init__(self, client: ClientInterface, site: Site) -> None:
        self.client = client
        self.site = site
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
        """The open maildrop; None outside the TRANSACTION state."""


Command = Callable[[Session, Host, Event], Reply | None]
"""A function that answers one command of a session; None leaves the answer to the server."""

Capability = Callable[[Session, Host], str | None]
"""A function that returns a capability's argument for a client: ``""`` for none, None to omit the capability."""
