"""Interfaces that plugins and listeners may rely on: a client, and the summaries of commands and sessions.

This module declares types only: the server creates the clients, and the code that counts fills the summaries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from geventpop3.wire.replies import Reply


class CommandSummary(NamedTuple):
    """Summary of one command, reported once after its reply is sent: ``event.args[0]`` of ``command_finished``."""

    verb: str
    argument: str
    """Argument of the command, with ``****`` in place of secrets."""
    positive: bool | None
    """True if the reply was +OK; None if the command or its reply was eaten."""
    octets_in: int
    octets_out: int
    seconds: float


@dataclass(slots=True)
class SessionSummary:
    """Summary of a session: ``client.summary`` while it runs, ``event.args[0]`` of ``session_finished``."""

    address: str = ""
    port: int = 0
    owner: str | None = None
    """Owner of the maildrop that was opened; None if nobody logged in."""
    commands: int = 0
    octets_in: int = 0
    octets_out: int = 0
    retrieved: int = 0
    """Messages sent whole by RETR."""
    removed: int = 0
    """Messages removed in the UPDATE state."""
    seconds: float = 0.0
    reason: str = ""
    """Reason why the session ended, in a word or two."""


def name_of_session(client: ClientInterface) -> str:
    """Return the beginning of each log line of a session: ``address=127.0.0.1 id=3``."""
    return f"address={client.peer[0]} id={client.id}"


class ClientInterface(Protocol):
    """One client as applications see it: ``event.client``."""

    @property
    def id(self) -> int:
        """Number that is unique in the server's lifetime; ``send_to_client`` and ``disconnect`` take it."""

    @property
    def peer(self) -> tuple[str, int]:
        """Address and port of the peer."""

    @property
    def local(self) -> tuple[str, int]:
        """Address and port of the server's end."""

    @property
    def sock(self) -> Any:
        """Socket of the session, or None if it has none."""

    @property
    def data(self) -> dict[str, Any]:
        """Data of the application; the framework never reads it."""

    @property
    def state(self) -> Any:
        """Session state (RFC 1939 section 3)."""

    proxied: bool
    """True if a trusted proxy is in front. Its header gives the peer's address, which says nothing about the path to
    the peer."""

    @property
    def secure(self) -> bool:
        """True if nobody on the path can read the traffic."""

    @property
    def tls(self) -> Any:
        """TLS information (``version()``, ``cipher()``, ``getpeercert()``, ...); None without TLS."""

    @property
    def summary(self) -> SessionSummary:
        """Counts so far."""

    owner: str | None
    """Owner of the open maildrop; None before the TRANSACTION state."""

    writing: bool
    """True while the server reads the body of a reply in order to write it; false while a plugin reads it. It stays
    false for a body that is a tuple of one piece."""

    translate: Callable[[str], str] | None
    """Function that translates a reply's text into the client's language (RFC 6856 section 3); None leaves the text
    unchanged. It must not raise."""

    def send(self, reply: Reply | str | bytes, /) -> None:
        """Send a reply on the application's own initiative."""

    def challenge(self, data: bytes, /) -> bytes | None:
        """Send ``+ <base64>`` and return the decoded response; None if the client cancelled (RFC 5034 section 4)."""

    def disconnect(self, *, now: bool = False) -> None:
        """Close the connection once the next reply is sent, or at once and without a reply if *now* is true."""

    def has_gone(self) -> bool:
        """Return whether the client has ended its input and all of it was read: more work for it is useless."""

    def flush(self) -> None:
        """Write the replies so far, which are otherwise sent together, and wait for that. Raises OSError."""
