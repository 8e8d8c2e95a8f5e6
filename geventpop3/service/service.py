"""The listener that makes a POP3 server of a store and an authenticator.

It has the lowest priority and answers only what nobody answered. What it keeps of a client ends with ``disconnected``,
and with it the exclusive-access lock, however the session ended.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from geventpop3.auth.authenticator import Authenticator, SecretAuthenticator
from geventpop3.auth.secret import Secret
from geventpop3.errors import Refusal
from geventpop3.pipeline.events import Event
from geventpop3.pipeline.interfaces import ClientInterface
from geventpop3.pipeline.plugin import handles
from geventpop3.service import authorization, transaction
from geventpop3.service.body import Body
from geventpop3.service.capabilities import CAPABILITIES, Capability, listing
from geventpop3.service.offload import Offload
from geventpop3.service.session import Session, plural
from geventpop3.stores.store import Chunks, Maildrop, Message, Store
from geventpop3.wire.arguments import expect
from geventpop3.wire.replies import Reply, multiline, ok

R = TypeVar("R")

PRIORITY = 1000
STORE_THREADS = 8
HASHES_WAITING_PER_THREAD = 16


class Host(Protocol):
    """What the service needs of the server that it is registered with."""

    hostname: str
    greeting: str
    handle_connects: bool

    def send_event(self, name: str, /, *args: Any, client: ClientInterface | None = None) -> Event:
        """Tell plugins and listeners."""


class Visitor:
    """What the service remembers of one client."""

    __slots__ = ("client", "name", "session", "timestamp", "tries")

    def __init__(self, client: ClientInterface) -> None:
        self.client = client
        self.name: str | None = None
        self.timestamp: str | None = None
        self.tries = 0
        self.session: Session | None = None


class MaildropService:
    """Answers RFC 1939 and CAPA out of *store*, for whom *authenticator* knows.

    *allow_plaintext* permits USER and PASS over connections that others may read; without it they work on loopback and
    unix sockets only. *expire*: days that the site keeps mail, as CAPA tells (RFC 2449 section 6.7); None is NEVER.
    After *max_tries* failed logins the connection is closed.

    Who else answers ``cmd_quit`` takes UPDATE over, too: then nothing is removed.
    """

    priority = PRIORITY

    def __init__(
        self,
        store: Store,
        authenticator: Authenticator,
        *,
        allow_plaintext: bool = False,
        expire: int | None = None,
        max_tries: int = 3,
    ) -> None:
        self.store = store
        self.authenticator = authenticator
        self.allow_plaintext = allow_plaintext
        self.expire = expire
        self.max_tries = max_tries
        self.capabilities: dict[str, Capability] = dict(CAPABILITIES)
        cores = os.cpu_count() or 1
        self._hashing = Offload(cores, cores * HASHES_WAITING_PER_THREAD)
        self._storing = Offload(STORE_THREADS)
        self._visitors: dict[int, Visitor] = {}

    def allows_clear_text(self, client: ClientInterface) -> bool:
        """Whether a password may be sent as it is: nobody but this machine can read along, or the site allows it."""
        return self.allow_plaintext or client.secure or _is_loopback(client.peer[0])

    # The listener

    @handles("connection")
    def greet(self, pop3d: Host, event: Event) -> Reply | None:
        """The greeting carries a timestamp if somebody could use it (RFC 1939 section 7, APOP)."""
        authenticator = self.authenticator
        if event.reply is not None or event.client is None or not pop3d.handle_connects:
            return None
        if not isinstance(authenticator, SecretAuthenticator) or not authenticator.has_clear_secrets():
            return None
        visitor = self._visitor(event.client)
        visitor.timestamp = authorization.timestamp(pop3d.hostname)
        return ok(f"{pop3d.greeting} {visitor.timestamp}")

    @handles(*authorization.COMMANDS)
    def authorize(self, pop3d: Host, event: Event) -> Reply | None:
        """The commands of the AUTHORIZATION state."""
        if event.reply is not None or event.client is None:
            return None
        return authorization.COMMANDS[event.name](self, pop3d, event, self._visitor(event.client))

    @handles(*transaction.COMMANDS)
    def transact(self, _pop3d: Host, event: Event) -> Reply | None:
        """The commands of the TRANSACTION state."""
        if event.reply is not None or event.client is None:
            return None
        visitor = self._visitors.get(event.client.id)
        if visitor is None or visitor.session is None:
            raise Refusal("log in first")
        return transaction.COMMANDS[event.name](self, visitor.session, event)

    @handles("cmd_capa")
    def capa(self, _pop3d: Host, event: Event) -> Reply | None:
        """CAPA (RFC 2449 section 5)."""
        if event.reply is not None or event.client is None:
            return None
        expect(event.args, 0)
        self._visitor(event.client).name = None  # PASS comes "immediately after a successful USER" (RFC 1939 section 7)
        return multiline("capabilities follow", listing(self, event.client))

    @handles("cmd_quit")
    def quit(self, _pop3d: Host, event: Event) -> Reply | None:
        """QUIT: from the TRANSACTION state this is UPDATE (RFC 1939 section 6), which is done before the reply."""
        if event.reply is not None or event.client is None:
            return None
        expect(event.args, 0)
        visitor = self._visitors.get(event.client.id)
        if visitor is None or visitor.session is None:
            return ok("goodbye")
        session, visitor.session = visitor.session, None
        marked = session.marked
        try:
            if marked:
                self._call(session.maildrop, "remove", session.maildrop.remove, marked)
                event.client.summary.removed = len(marked)
        finally:
            # Before the reply, so that a client that returns at once finds the maildrop free.
            self.close_maildrop(session.maildrop)
        if not marked:
            return ok("goodbye")
        return ok(f"goodbye, {len(marked)} {plural(len(marked))} removed")

    @handles("disconnected")
    def forget(self, _pop3d: Host, event: Event) -> None:
        """However the session ended: nothing more is removed, and the lock is released."""
        if event.client is None:
            return
        visitor = self._visitors.pop(event.client.id, None)
        if visitor is not None and visitor.session is not None:
            self.close_maildrop(visitor.session.maildrop)

    @handles("unregistered")
    def close(self, _pop3d: Host, _event: Event) -> None:
        """End the threads: gevent leaves them behind when their hub goes."""
        self._hashing.close()
        self._storing.close()

    def _visitor(self, client: ClientInterface) -> Visitor:
        visitor = self._visitors.get(client.id)
        if visitor is None:
            visitor = self._visitors[client.id] = Visitor(client)
        return visitor

    # Back ends, in a thread where they may wait

    def authenticate(self, name: str, password: str) -> str | None:
        """The owner that these credentials belong to, or None."""
        authenticator = self.authenticator
        if authenticator.answers_at_once():
            return authenticator.authenticate(name, password)
        return self._hashing.run(authenticator.authenticate, name, password)

    def look_up(self, authenticator: SecretAuthenticator, name: str) -> Secret | None:
        """What is stored for *name*."""
        if authenticator.answers_at_once():
            return authenticator.secret(name)
        return self._hashing.run(authenticator.secret, name)

    def open_maildrop(self, owner: str) -> Maildrop:
        """The maildrop of *owner*, locked."""
        if self.store.opens_at_once(owner):
            return self.store.open(owner)
        return self._storing.acquire(lambda maildrop: maildrop.close(), self.store.open, owner)

    def scan(self, maildrop: Maildrop) -> Sequence[Message]:
        """The snapshot of a maildrop."""
        return self._call(maildrop, "scan", maildrop.scan)

    def read(
        self, maildrop: Maildrop, unique_id: str, finished: Callable[[], object] | None = None
    ) -> tuple[bytes] | Body:
        """A message, opened and with its first chunk read: the chunk itself if that is all of it, else a Body."""
        chunks = self._call(maildrop, "retrieve", maildrop.retrieve, unique_id)
        first = None
        if isinstance(chunks, Chunks):
            # Chunks let go by themselves when they fail.
            first = chunks.ready()
            if first is not None and chunks.complete:
                if finished is not None:
                    finished()
                return (first,)
        return Body(chunks, self._storing, first=first, waits="retrieve" in maildrop.blocking, finished=finished)

    def close_maildrop(self, maildrop: Maildrop) -> None:
        """Release the lock and all else."""
        self._call(maildrop, "close", maildrop.close)

    def _call(self, maildrop: Maildrop, name: str, method: Callable[..., R], *args: object) -> R:
        return self._storing.run(method, *args) if name in maildrop.blocking else method(*args)


def _is_loopback(host: str) -> bool:
    return host.startswith("127.") or host in ("::1", "::ffff:127.0.0.1")
