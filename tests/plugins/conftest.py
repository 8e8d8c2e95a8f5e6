"""Sites with limits, ended when their test is, and a Redis server for those that share one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import required
from limits_site import Site, Time

from geventpop3.plugins.limits import plugin, redis

SHIPPED = {name: getattr(redis, name) for name in ("CALL_SECONDS", "SOCKET_SECONDS")}
"""The deadlines as they are, which no test but those about them has."""


@pytest.fixture
def shipped_deadlines(monkeypatch: pytest.MonkeyPatch, patience_with_slow_machines: None) -> None:
    """The deadlines as they are."""
    for name, seconds in SHIPPED.items():
        monkeypatch.setattr(redis, name, seconds)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def make(time: Time) -> Iterator[Any]:
    """Makes sites, by rules."""
    made: list[Site] = []

    def site(ledger: Any = None, **rules: Any) -> Site:
        made.append(Site(time, ledger, **rules))
        return made[-1]

    yield site
    for one in made:
        one.pop3d.shutdown(0)
    assert [error for one in made for error in one.errors] == []


@pytest.fixture
def site(make: Any) -> Site:
    """A site with the default rules."""
    return make()


@pytest.fixture(autouse=True)
def patience_with_slow_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """No deadline of ours may pass because a machine is busy."""
    monkeypatch.setattr(redis, "CALL_SECONDS", 60.0)
    monkeypatch.setattr(redis, "SOCKET_SECONDS", 60.0)


@pytest.fixture(autouse=True)
def one_sleep_for_one_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting tries do not ask again meanwhile, so that a test sees how long they had to wait."""
    monkeypatch.setattr(plugin, "POLL_SECONDS", float("inf"))


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running redis-server; a test that stops it starts it again."""
    required.module("redis")
    from limits_redis import RedisServer

    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()
