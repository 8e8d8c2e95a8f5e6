"""A server with limits whose time passes only while somebody is made to wait, and sessions without sockets."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import gevent

from geventpop3 import POP3Server
from geventpop3.auth import ClearSecret, Secret, SecretAuthenticator
from geventpop3.plugins.limits import LoginLimits, MemoryLedger, Rules
from geventpop3.server.server import session_over
from geventpop3.service import MaildropService
from geventpop3.stores.memory import MemoryStore
from geventpop3.stores.store import Maildrop, Store
from geventpop3.testing.memory_stream import MemoryStream

HERE, THERE = "192.0.2.7", "198.51.100.1"
EVENTS = ("login_delayed", "login_refused", "address_banned", "address_released")


class Time:
    """A clock that ``sleep`` moves."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Book(SecretAuthenticator):
    """The password is the name in capitals; ``at`` is called when a password is being checked or a secret looked up."""

    def __init__(self) -> None:
        self.checked = 0
        self.at = lambda: None

    def authenticate(self, name: str, password: str) -> str | None:
        self.checked += 1
        self.at()
        return name.lower() if password == name.upper() else None

    def secret(self, name: str) -> Secret | None:
        self.checked += 1
        self.at()
        return ClearSecret(name.upper().encode()) if name.islower() else None

    def owner(self, name: str) -> str | None:
        return name

    def answers_at_once(self) -> bool:
        return True


class Unlocked(Store):
    """Empty maildrops without an exclusive-access lock, so that a user may have several sessions."""

    def open(self, owner: str) -> Maildrop:
        return MemoryStore().open(owner)

    def opens_at_once(self, owner: str) -> bool:
        return True


class Site:
    """The server and what is told of it."""

    def __init__(self, time: Time, ledger: Any = None, **rules: Any) -> None:
        self.time = time
        self.ledger = MemoryLedger(clock=time) if ledger is None else ledger
        self.limits = LoginLimits(Rules(**rules), self.ledger, clock=time, sleep=time.sleep)
        self.book = Book()
        self.pop3d = POP3Server(port=0, hostname="pop.example.org")
        self.service = MaildropService(Unlocked(), self.book, allow_plaintext=True, max_tries=100)
        self.pop3d.register(self.service)
        self.pop3d.plugin_add("limits", self.limits)
        self.told: list[tuple[Any, ...]] = []
        self.pop3d.register(lambda _, event: self.told.append((event.name, *event.args)), *EVENTS)
        self.errors: list[Any] = []
        """The exceptions that the plugin raised: its server only logs them."""
        self.pop3d.register(lambda _, event: self.errors.append(event.args), "plugin_error")

    def talk(self, *lines: str, peer: str = HERE) -> list[str]:
        """The lines that come back, greeting included, for these command lines."""
        return self.run([("\r\n".join(lines) + "\r\n").encode()], peer)

    def run(self, chunks: Iterable[bytes], peer: str = HERE) -> list[str]:
        stream = MemoryStream(chunks)
        session_over(self.pop3d, stream, (peer, 40000), ("192.0.2.1", 110)).run()
        return bytes(stream.output).decode("latin-1").split("\r\n")[:-1]

    def login(self, name: str, password: str, peer: str = HERE) -> str:
        """The reply to PASS."""
        return self.talk(f"USER {name}", f"PASS {password}", peer=peer)[-1]

    def fail(self, name: str = "alice", times: int = 1, peer: str = HERE) -> list[float]:
        """So many wrong passwords, each a new one, each over a connection of its own; returns the delays."""
        before = len(self.time.slept)
        for _ in range(times):
            assert self.login(name, f"wrong{self.book.checked}", peer) == "-ERR [AUTH] authentication failed"
        return self.time.slept[before:]

    def stay(self, name: str, peer: str = HERE) -> Stay:
        return Stay(self, name, peer)


class Waited:
    """A session that has said its lines and is waited for, until it is left."""

    def __init__(self, site: Site, *lines: str, peer: str = HERE) -> None:
        self._lines = lines
        self._go = gevent.event.Event()
        self._silent = gevent.event.Event()
        self.stream = MemoryStream(self._chunks())
        client = session_over(site.pop3d, self.stream, (peer, 40000), ("192.0.2.1", 110))
        self.greenlet = gevent.spawn(client.run)
        with gevent.Timeout(10):
            gevent.wait([self._silent, self.greenlet], count=1)

    @property
    def said(self) -> str:
        """The last line that it was sent."""
        return bytes(self.stream.output).decode("latin-1").split("\r\n")[-2]

    def leave(self) -> None:
        self._go.set()
        self.greenlet.join(10)
        assert self.greenlet.successful()

    def _chunks(self) -> Iterable[bytes]:
        for line in self._lines:
            yield f"{line}\r\n".encode()
        self._silent.set()
        self._go.wait(10)


class Stay:
    """A session that is logged in, or refused, and ends when it is left."""

    def __init__(self, site: Site, name: str, peer: str) -> None:
        self._go = gevent.event.Event()
        self._stream = MemoryStream(self._chunks(name))
        client = session_over(site.pop3d, self._stream, (peer, 40000), ("192.0.2.1", 110))
        self._greenlet = gevent.spawn(client.run)
        self._arrived = gevent.event.Event()
        with gevent.Timeout(10):
            gevent.wait([self._arrived, self._greenlet], count=1)

    @property
    def reply(self) -> str:
        return bytes(self._stream.output).decode().split("\r\n")[2]

    def leave(self) -> None:
        self._go.set()
        self._greenlet.join(10)
        assert self._greenlet.successful()

    def _chunks(self, name: str) -> Iterable[bytes]:
        yield f"USER {name}\r\nPASS {name.upper()}\r\n".encode()
        self._arrived.set()
        self._go.wait(10)


def plain(name: str, password: str) -> str:
    return base64.b64encode(f"\0{name}\0{password}".encode()).decode()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
