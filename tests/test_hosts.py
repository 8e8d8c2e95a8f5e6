"""Addresses are recognised in every spelling, and names that look like addresses are not."""

from __future__ import annotations

import pytest

from geventpop3.hosts import is_loopback, parse_ip


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.8.9.10", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::FFFF:7f00:1", "localhost"],
)
def test_this_machine_is_loopback_in_every_spelling(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1", "127.example.org", "127.0.0.1.example.org", "", "unix:/run/pop3"],
)
def test_other_machines_are_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize("host", ["unix:/run/pop3.sock", "", "192.0.2.700", "pop.example.org", "\0"])
def test_what_is_no_address_is_none(host: str) -> None:
    assert parse_ip(host) is None
