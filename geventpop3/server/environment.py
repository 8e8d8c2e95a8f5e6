"""The environment of a session: the parts of its server that it needs. Sessions know no other part of it."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from gevent import socket

from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.protocol.commands import CommandSpec
from geventpop3.server.fairness import Turns
from geventpop3.server.limits import Limits
from geventpop3.server.stream import PlainStream
from geventpop3.server.tls.certificates import Certificates
from geventpop3.wire.replies import Reply


class ServerSettings(Protocol):
    """The public settings of a server, read when a session needs them, so an application may change them meanwhile.

    The maximum numbers of sessions in ``limits`` are read only once, when the server is made.
    """

    limits: Limits
    strict: bool
    trace: bool
    greeting: str
    handle_connects: bool
    tls: Certificates | None

    @property
    def proxies(self) -> Container[str] | None:
        """Hosts whose connections begin with a PROXY header: ``TrustedProxies``."""

    def offers_tls(self, client: ClientInterface) -> bool:
        """Return whether STLS is possible for this client now."""


class SendEvent(Protocol):
    """The type of ``POP3Server.send_event``."""

    def __call__(self, name: str, *args: Any, client: ClientInterface | None = None) -> Event:
        """Emit an event with these arguments; return it when all receivers were called."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The parts of one server that all its sessions share."""

    settings: ServerSettings
    commands: Mapping[str, CommandSpec]
    """The table of commands by verb."""
    open_stream: Callable[[socket.socket, bool], PlainStream]
    """Return the stream of an accepted connection; the second argument is true where TLS comes before the greeting."""
    turns: Turns
    isolated: tuple[type[BaseException], ...]
    """Exceptions that plugins, listeners and bodies may raise without harm to other sessions."""
    emit: Callable[[Event], None]
    """Call the plugins and listeners of an event."""
    respond: Callable[[Event], Reply | None]
    """Return the reply to send for an event after the ``response`` hook, or None if it was eaten."""
    send_event: SendEvent
    wanted: Callable[[str], bool]
    """Return whether an event has a plugin or a listener."""
    report_blocking: Callable[[Event, float], None]
    """Warn that an event has kept all other sessions from running for so many seconds."""
    move_client: Callable[[ClientInterface, str], Reply | None]
    """Count a client under the address that a proxy reported; return the refusal if it is not admitted."""

    def trusts_proxy(self, host: str) -> bool:
        """Return whether connections from *host* begin with a PROXY header."""
        proxies = self.settings.proxies
        return proxies is not None and host in proxies
