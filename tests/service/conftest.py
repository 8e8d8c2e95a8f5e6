"""What the service's tests share: a service with maildrops in memory, and sessions without sockets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from geventpop3 import POP3Server
from geventpop3.auth import Authenticator
from geventpop3.server.server import session_over
from geventpop3.service import MaildropService
from geventpop3.stores.memory import MemoryStore
from geventpop3.testing.memory_stream import MemoryStream

MAIL = [
    b"Subject: one\n\nfirst\n",
    b"Subject: two\r\n\r\n.second\r\nthird line\r\nfourth",
    b".\n",
]
OCTETS = [23, 45, 3]


class Book(Authenticator):
    """Name and password are the same."""

    def authenticate(self, name: str, password: str) -> str | None:
        return name if name == password else None

    def answers_at_once(self) -> bool:
        return True


class Application:
    """A server with the service, and sessions with it."""

    def __init__(self, store: Any = None, authenticator: Any = None, **options: Any) -> None:
        self.store = MemoryStore({"alice": list(MAIL)}) if store is None else store
        self.service = MaildropService(self.store, authenticator or Book(), **options)
        self.pop3d = POP3Server(port=0, hostname="pop.example.org")
        self.pop3d.register(self.service)

    def talk(self, *lines: bytes | str, peer: str = "127.0.0.1") -> list[str]:
        """The reply lines to these command lines; the greeting is left out."""
        octets = b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n" for line in lines)
        stream = MemoryStream([octets])
        self.run(stream, peer)
        return bytes(stream.output).decode("latin-1").split("\r\n")[1:-1]

    def login(self, *lines: bytes | str) -> list[str]:
        """The replies to these command lines after a login."""
        return self.talk("USER alice", "PASS alice", *lines)[2:]

    def run(self, stream: MemoryStream, peer: str = "127.0.0.1") -> None:
        session_over(self.pop3d, stream, (peer, 40000), ("127.0.0.1", 110)).run()


@pytest.fixture
def make() -> Any:
    """Makes applications, shut down in the end."""
    made: list[Application] = []

    def application(*args: Any, **options: Any) -> Application:
        made.append(Application(*args, **options))
        return made[-1]

    yield application
    for one in made:
        one.pop3d.shutdown(0)


@pytest.fixture
def app(make: Callable[..., Application]) -> Application:
    """An application whose only user is alice, with three messages."""
    return make()
