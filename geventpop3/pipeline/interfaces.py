"""What plugins and listeners may rely on of the other packages: a client, and the summaries that observers are told.

Shapes only: the server makes the clients, whoever counts fills the summaries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from geventpop3.wire.replies import Reply


class CommandSummary(NamedTuple):
    """One command, told once after its reply is out: ``event.args[0]`` of ``command_finished``."""

    verb: str
    argument: str
    """Redacted: whatever is secret is ``****``."""
    positive: bool | None
    """Whether the reply was +OK; None if the command or its reply was eaten."""
    octets_in: int
    octets_out: int
    seconds: float


@dataclass(slots=True)
class SessionSummary:
    """What a session comes to: ``client.summary`` while it runs, ``event.args[0]`` of ``session_finished``."""

    address: str = ""
    port: int = 0
    owner: str | None = None
    """Whose maildrop was opened; None if nobody logged in."""
    commands: int = 0
    octets_in: int = 0
    octets_out: int = 0
    retrieved: int = 0
    """Messages sent whole by RETR."""
    removed: int = 0
    """Messages removed in the UPDATE state."""
    seconds: float = 0.0
    reason: str = ""
    """Why the session ended, in a word or two."""


def name_of_session(client: ClientInterface) -> str:
    """Return what begins each log line of a session, whatever wrote it: ``address=127.0.0.1 id=3``."""
    return f"address={client.peer[0]} id={client.id}"


class ClientInterface(Protocol):
    """One client as applications see it: ``event.client``."""

    @property
    def id(self) -> int:
        """Unique in this server's life; what ``send_to_client`` and ``disconnect`` take."""

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the other end."""

    @property
    def local(self) -> tuple[str, int]:
        """Address and port of our end."""

    @property
    def sock(self) -> Any:
        """The socket, or None where a session has none."""

    @property
    def data(self) -> dict[str, Any]:
        """The application's own; the framework never looks into it."""

    @property
    def state(self) -> Any:
        """The session state (RFC 1939 section 3)."""

    proxied: bool
    """Whether a trusted proxy is in front: then what its header tells of the peer tells nothing of the way to it."""

    @property
    def secure(self) -> bool:
        """Whether nobody on the way can read along."""

    @property
    def tls(self) -> Any:
        """What is known of TLS (``version()``, ``cipher()``, ``getpeercert()``, ...), None without."""

    @property
    def summary(self) -> SessionSummary:
        """The counts so far."""

    owner: str | None
    """Whose maildrop is open; None before the TRANSACTION state."""

    writing: bool
    """True while the server reads the body of a reply in order to write it; false while a plugin reads it. It stays
    false for a body that is a tuple of one piece."""

    translate: Callable[[str], str] | None
    """What makes of a reply's text the client's language (RFC 6856 section 3); None leaves it. It must not raise."""

    def send(self, reply: Reply | str | bytes, /) -> None:
        """Send a reply of the application's own accord."""

    def challenge(self, data: bytes, /) -> bytes | None:
        """Send ``+ <base64>`` and return the decoded answer; None if the client cancelled (RFC 5034 section 4)."""

    def disconnect(self) -> None:
        """Close once the next reply is out."""

    def has_gone(self) -> bool:
        """Return whether the client has ended its input and nothing of it is left: then work for it is in vain."""

    def flush(self) -> None:
        """Write the replies so far, which else leave together, and wait until they are written. Raises OSError."""
