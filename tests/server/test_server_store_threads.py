"""Logins beside slow scans: who needs the slow place waits, and a client that has gone gives its thread back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gevent
import pytest
from gevent import monkey

from geventpop3 import POP3Server
from geventpop3.service import MaildropService, threads
from geventpop3.stores import Message
from geventpop3.stores.store import Maildrop, Store

Event = monkey.get_original("threading", "Event")
SECONDS = 60


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SLOW_SECONDS", 0.02)


class Shelf(Store):
    """A store whose scans of owners that begin with "slow" wait until they are told to end, or interrupted."""

    def __init__(self) -> None:
        self.scans: dict[str, Any] = {}
        self.interrupted: list[str] = []
        self.closed: list[str] = []

    def open(self, owner: str) -> Maildrop:
        return ShelfMaildrop(self, owner)

    def place(self, owner: str) -> str:
        return owner.partition("@")[2]


class ShelfMaildrop(Maildrop):
    def __init__(self, shelf: Shelf, owner: str) -> None:
        self._shelf = shelf
        self._owner = owner
        self.place = shelf.place(owner)

    def scan(self) -> list[Message]:
        if self._owner.startswith("slow"):
            go = self._shelf.scans[self._owner] = Event()
            assert go.wait(SECONDS)
        return [Message("one", 6)]

    def interrupt(self) -> None:
        self._shelf.interrupted.append(self._owner)
        self._shelf.scans[self._owner].set()

    def retrieve(self, unique_id: str) -> tuple[bytes]:
        return (b"four\n",)

    def remove(self, unique_ids: Any) -> None:
        raise AssertionError("nothing was marked")

    def close(self) -> None:
        self._shelf.closed.append(self._owner)


@pytest.fixture
def shelf(serve: Callable[..., POP3Server]) -> tuple[POP3Server, Shelf]:
    store = Shelf()
    service = MaildropService(store, store_threads=2)
    service.authenticator(lambda name, password: True)
    pop3d = serve()
    pop3d.register(service)
    pop3d.start()
    return pop3d, store


def log_in(dial: Callable[..., Any], pop3d: POP3Server, owner: str) -> Any:
    peer = dial(pop3d)
    peer.line()
    assert peer.command(b"USER " + owner.encode()) == b"+OK send PASS"
    peer.send(b"PASS x\r\n")
    return peer


def test_slow_scans_cost_others_on_the_same_disk_a_moment_and_others_nothing(
    shelf: tuple[POP3Server, Shelf], dial: Callable[..., Any], until: Callable[..., None]
) -> None:
    pop3d, store = shelf
    peers = [log_in(dial, pop3d, f"slow{number}@disk") for number in range(8)]
    until(lambda: len(store.scans) == 8)
    assert log_in(dial, pop3d, "alice@disk").line() == b"+OK 1 message (6 octets)"
    assert log_in(dial, pop3d, "alice@other").line() == b"+OK 1 message (6 octets)"
    for go in store.scans.values():
        go.set()
    assert [peer.line() for peer in peers] == [b"+OK 1 message (6 octets)"] * 8


def test_a_scan_whose_client_has_gone_is_interrupted(
    shelf: tuple[POP3Server, Shelf], dial: Callable[..., Any], until: Callable[..., None]
) -> None:
    pop3d, store = shelf
    peer = log_in(dial, pop3d, "slow@disk")
    until(lambda: store.scans)
    peer.close()
    until(lambda: store.closed)
    assert store.interrupted == ["slow@disk"]


def test_a_client_that_has_more_to_say_has_not_gone(
    shelf: tuple[POP3Server, Shelf], dial: Callable[..., Any], until: Callable[..., None]
) -> None:
    pop3d, store = shelf
    peer = log_in(dial, pop3d, "slow@disk")
    peer.send(b"QUIT\r\n")
    peer.sock.shutdown(gevent.socket.SHUT_WR)
    until(lambda: store.scans)
    gevent.sleep(0.1)
    assert store.interrupted == []
    store.scans["slow@disk"].set()
    assert peer.line() == b"+OK 1 message (6 octets)"
    assert peer.line().startswith(b"+OK goodbye")
