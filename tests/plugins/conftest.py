"""Sites with limits, ended when their test is, and a Redis server for those that share one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import required
from limits_site import Site, Time

from geventpop3.plugins.limits import shared


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


@pytest.fixture
def site(make: Any) -> Site:
    """A site with the default rules."""
    return make()


@pytest.fixture(autouse=True)
def patience_with_slow_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """No deadline of ours may pass because a machine is busy."""
    monkeypatch.setattr(shared, "CALL_SECONDS", 60.0)
    monkeypatch.setattr(shared, "SOCKET_SECONDS", 60.0)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A running redis-server; a test that stops it starts it again."""
    required.module("redis")
    from limits_redis import RedisServer

    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()
