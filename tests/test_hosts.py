"""Addresses are recognised in every spelling, and names that look like addresses are not."""

from __future__ import annotations

import pytest

from geventpop3.hosts import Networks, address_key, is_loopback, parse_ip, plain_host


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


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("unix:/run/pop3", "unix:/run/pop3"),
    ],
)
def test_an_address_is_counted_by_itself_or_by_its_64_bit_network(host: str, key: str) -> None:
    assert address_key(host) == key


MAPPED = [
    "192.0.2.7",
    "::ffff:192.0.2.7",
    "::FFFF:192.0.2.7",
    "::ffff:c000:207",
    "0:0:0:0:0:ffff:192.0.2.7",
    "0000:0000:0000:0000:0000:ffff:c000:0207",
    "::ffff:192.0.2.7%eth0",
]


@pytest.mark.parametrize("host", MAPPED)
def test_an_address_of_ipv4_is_one_in_every_spelling(host: str) -> None:
    assert address_key(host) == "192.0.2.7"
    address = parse_ip(host)
    assert address is not None
    for network in ("192.0.2.0/24", "::ffff:192.0.2.0/120", "::FFFF:C000:200/120", "::ffff:0:0/96", "0.0.0.0/0"):
        assert address in Networks([network])
    for network in ("192.0.3.0/24", "::ffff:192.0.3.0/120", "::/0", "::fffe:0:0/95", "::/96", "2001:db8::/32"):
        assert (address in Networks([network])) is False


def test_a_network_of_ipv6_is_none_of_ipv4() -> None:
    address = parse_ip("2001:db8::1")
    assert address is not None
    assert address in Networks(["::/0"])
    assert address not in Networks(["::ffff:0:0/96"])
    assert address not in Networks(["0.0.0.0/0"])


@pytest.mark.parametrize(
    ("host", "plain"),
    [
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("::ffff:1", "::ffff:1"),
    ],
)
def test_a_peer_of_ipv4_is_shown_in_that_form(host: str, plain: str) -> None:
    assert plain_host(host) == plain


def test_what_is_no_network_is_refused() -> None:
    with pytest.raises(ValueError, match=r"192\.0\.2\.0/33"):
        Networks(["192.0.2.0/33"])
