"""The clients of a server: how many there are from each address, as they come, move and go."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from geventpop3.server.admission import FULL_FOR_ADDRESS, Clients
from geventpop3.server.limits import Limits

HERE, THERE = "192.0.2.1", "192.0.2.2"

_ids = itertools.count(1)


class Stub:
    """A client, of which only its id matters here."""

    def __init__(self) -> None:
        self.id = next(_ids)


@pytest.fixture
def clients() -> Clients:
    """Three from one address at most."""
    return Clients(Limits(max_sessions_per_address=3))


def enter(clients: Clients, host: str | None, count: int = 1) -> list[Any]:
    new: list[Any] = [Stub() for _ in range(count)]
    for client in new:
        assert clients.refusal(host) is None
        clients.enter(client, host)
    return new


def free_places(clients: Clients, host: str) -> int:
    """How many more may come from there; all leave again."""
    come: list[Any] = []
    while clients.refusal(host) is None:
        come.append(Stub())
        clients.enter(come[-1], host)
    assert clients.refusal(host) is FULL_FOR_ADDRESS
    for client in come:
        clients.leave(client)
    return len(come)


def test_each_that_leaves_makes_room_for_one_and_no_more(clients: Clients) -> None:
    present = enter(clients, HERE, 3)
    enter(clients, THERE, 2)
    for left, client in enumerate(present):
        assert (free_places(clients, HERE), free_places(clients, THERE)) == (left, 1)
        clients.leave(client)
    assert (free_places(clients, HERE), free_places(clients, THERE)) == (3, 1)


def test_an_address_from_which_nobody_is_left_is_forgotten(clients: Clients) -> None:
    for client in enter(clients, HERE, 2):
        assert set(clients._per_address) == {HERE}
        clients.leave(client)
    assert not clients._per_address
    assert not clients._keys
    assert not clients.by_id()


def test_one_that_moves_counts_where_it_is_and_no_longer_where_it_was(clients: Clients) -> None:
    first, second = enter(clients, HERE, 2)
    assert clients.move(first, THERE) is None
    assert (free_places(clients, HERE), free_places(clients, THERE)) == (2, 2)
    clients.leave(first)
    assert (free_places(clients, HERE), free_places(clients, THERE)) == (2, 3)
    clients.leave(second)
    assert not clients._per_address


def test_one_whose_address_is_not_known_counts_nowhere_until_it_moves(clients: Clients) -> None:
    unknown, gone = enter(clients, None, 2)
    assert not clients._per_address
    clients.leave(gone)
    assert clients.move(unknown, HERE) is None
    assert free_places(clients, HERE) == 2
    clients.leave(unknown)
    assert not clients._per_address


def test_one_that_moves_to_where_too_many_are_is_refused_and_counts_until_it_leaves(clients: Clients) -> None:
    (late,) = enter(clients, None)
    there = enter(clients, HERE, 3)
    assert clients.move(late, HERE) is FULL_FOR_ADDRESS
    clients.leave(there[0])
    assert clients.refusal(HERE) is FULL_FOR_ADDRESS
    clients.leave(late)
    assert free_places(clients, HERE) == 1
