"""What the server's tests share: a server in this hub, and peers that speak to it in plain octets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import gevent
import pytest
from authority import Authority
from gevent import socket

from geventpop3 import POP3Server, multiline, ok
from geventpop3.auth import Authenticator
from geventpop3.service import MaildropService
from geventpop3.stores.memory import MemoryStore

SECONDS = 60
"""How long a test waits for what must come; none waits for what must not."""


class Peer:
    """A client that sends and reads octets."""

    def __init__(self, address: Any, **options: Any) -> None:
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            try:
                self.sock.connect(address)
            except OSError:
                self.sock.close()
                raise
        else:
            self.sock = socket.create_connection(address, **options)
        self.sock.settimeout(SECONDS)
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def line(self) -> bytes:
        """The next line without CRLF; b"" at the end of input."""
        while b"\r\n" not in self.buffer:
            data = self.sock.recv(65536)
            if not data:
                rest, self.buffer = self.buffer, b""
                return rest
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        return line

    def command(self, line: bytes) -> bytes:
        self.send(line + b"\r\n")
        return self.line()

    def body(self) -> bytes:
        """A multi-line response's body up to the termination octet, which is left out."""
        while not self.buffer.startswith(b".\r\n") and b"\r\n.\r\n" not in self.buffer:
            data = self.sock.recv(1 << 20)
            if not data:
                raise EOFError("the body has no end")
            self.buffer += data
        if self.buffer.startswith(b".\r\n"):
            body, self.buffer = b"", self.buffer[3:]
            return body
        body, _, self.buffer = self.buffer.partition(b"\r\n.\r\n")
        return body + b"\r\n"

    def rest(self) -> bytes:
        """Everything up to the end of input; what a reset cut off is lost."""
        data = self.buffer
        self.buffer = b""
        try:
            while chunk := self.sock.recv(65536):
                data += chunk
        except ConnectionResetError:
            pass
        return data

    def close(self) -> None:
        self.sock.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., POP3Server]]:
    """Makes servers, and shuts them down in the end."""
    with ExitStack() as stack:

        def make(**options: Any) -> POP3Server:
            options.setdefault("port", 0)
            options.setdefault("hostname", "pop.example.org")
            pop3d = POP3Server(**options)
            stack.callback(pop3d.shutdown, 0)
            return pop3d

        yield make


@pytest.fixture
def app(serve: Callable[..., POP3Server]) -> Callable[..., POP3Server]:
    """Makes servers that let everybody in and have one message."""

    def make(**options: Any) -> POP3Server:
        pop3d = serve(**options)
        answer(pop3d)
        return pop3d

    return make


@pytest.fixture
def pop3d(app: Callable[..., POP3Server]) -> POP3Server:
    """One of those, started."""
    pop3d = app()
    pop3d.start()
    return pop3d


def answer(pop3d: POP3Server) -> None:
    """The least application."""

    @pop3d.on("cmd_user", "cmd_pass", "cmd_noop", "cmd_quit", "cmd_dele")
    def yes(pop3d: POP3Server, event: Any) -> Any:
        return ok("yes")

    @pop3d.on("cmd_retr")
    def retr(pop3d: POP3Server, event: Any) -> Any:
        return multiline("here", b"Subject: x\n\n.dot\n")


@pytest.fixture
def dial() -> Iterator[Callable[..., Peer]]:
    """Makes peers, closed in the end."""
    with ExitStack() as stack:

        def connect(where: Any, **options: Any) -> Peer:
            peer = Peer(where.getsockname() if isinstance(where, POP3Server) else where, **options)
            stack.callback(peer.close)
            return peer

        yield connect


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[str]]]:
    """The lines on single sessions that were logged; nothing may be more than information, and nothing printed."""
    caplog.set_level("INFO", "geventpop3")
    yield lambda: [record.getMessage() for record in caplog.records if record.getMessage().startswith("session ")]
    assert [record.getMessage() for record in caplog.records if record.levelname not in ("INFO", "DEBUG")] == []
    assert capfd.readouterr().err == ""


class Book(Authenticator):
    """Name and password are the same."""

    def authenticate(self, name: str, password: str) -> str | None:
        return name if name == password else None

    def answers_at_once(self) -> bool:
        return True


@pytest.fixture
def maildrops() -> MaildropService:
    """The service with one user, alice, who has one message of 14 octets."""
    return MaildropService(MemoryStore({"alice": [b"Subject: one\n"]}), Book())


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Issues certificates that its clients trust."""
    return Authority()


@pytest.fixture
def until() -> Callable[[Callable[[], object]], None]:
    """Waits until a condition holds, which other greenlets bring about."""

    def wait(condition: Callable[[], object]) -> None:
        with gevent.Timeout(SECONDS):
            while not condition():
                gevent.sleep(0.001)

    return wait


@pytest.fixture
def shut_down(until: Callable[[Callable[[], object]], None]) -> Callable[..., gevent.Greenlet]:
    """Begins a shutdown, and returns its greenlet when all sessions have been told of it and nobody is let in."""

    def begin(pop3d: POP3Server, grace: float | None = None) -> gevent.Greenlet:
        address = pop3d.getsockname()

        def closed() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(address) != 0

        stopping = gevent.spawn(pop3d.shutdown, grace)
        until(closed)
        return stopping

    return begin


@pytest.fixture
def login(dial: Callable[..., Peer]) -> Callable[[POP3Server], Peer]:
    """A peer in the TRANSACTION state."""

    def connect(pop3d: POP3Server) -> Peer:
        peer = dial(pop3d)
        assert peer.line().startswith(b"+OK")
        assert peer.command(b"USER x").startswith(b"+OK")
        assert peer.command(b"PASS x").startswith(b"+OK")
        return peer

    return connect
