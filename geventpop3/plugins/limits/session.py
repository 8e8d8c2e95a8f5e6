"""What the limits remember of one client for as long as it is here."""

from __future__ import annotations

from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.plugins.limits.ledger import Reason
from geventpop3.plugins.limits.subjects import Networks, address_key, parse_address


class Session:
    """One client, and its login that is under way."""

    __slots__ = (
        "address",
        "at_gate",
        "client",
        "fingerprint",
        "in_line",
        "name",
        "owner",
        "refused",
        "tried",
        "under_way",
        "user",
        "waited",
    )

    def __init__(self, client: ClientInterface, address: str) -> None:
        self.client = client
        self.address = address
        self.name = ""
        """What USER said last."""
        self.owner: str | None = None
        """Whose session this is, once the ledger counts it."""
        self.at_gate = False
        """Whether a login of this client is being checked."""
        self.under_way = False
        """Whether the ledger may count a try of the user, of which it has not been told the outcome."""
        self.begin("", "")

    def disown(self) -> None:
        """Hold nothing: this is a forked child's copy."""
        self.owner, self.at_gate, self.under_way = None, False, False

    def begin(self, user: str, fingerprint: str) -> None:
        """A login begins; *user* is the key of its name, if that is known before it is checked."""
        self.user = user
        self.fingerprint = fingerprint
        self.tried = False
        """Whether it is counted as a try of the address."""
        self.waited = 0.0
        """Seconds that it has been made to wait."""
        self.in_line = False
        """Whether it was told that it waits for its turn."""
        self.refused: Reason | None = None
        """Why it fails although the password was right."""


class Sessions:
    """The clients by id; None for those that no limit holds for: of trusted networks, and without an address."""

    def __init__(self, trusted: Networks) -> None:
        self._trusted = trusted
        self._sessions: dict[int, Session | None] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def of(self, client: ClientInterface | None) -> Session | None:
        """What is known of a client."""
        if client is None:
            return None
        if client.id not in self._sessions:
            address = parse_address(client.peer[0])
            free = address is None or address in self._trusted
            self._sessions[client.id] = None if free or address is None else Session(client, address_key(address))
        return self._sessions[client.id]

    def knows(self, session: Session) -> bool:
        """Whether this is what is known of its client now."""
        return self._sessions.get(session.client.id) is session

    def gone(self, client: ClientInterface | None) -> Session | None:
        """Forget a client; returns what was known of it."""
        return None if client is None else self._sessions.pop(client.id, None)

    def all_gone(self) -> list[Session]:
        """Forget them all; returns those that limits held for."""
        sessions = [session for session in self._sessions.values() if session is not None]
        self._sessions.clear()
        return sessions
