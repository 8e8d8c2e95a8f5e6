"""Whom a failure is counted for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventpop3.auth.saslprep import saslprep
from geventpop3.plugins.limits.keys import (
    NAME_CHARACTERS,
    Networks,
    address_key,
    canonical,
    fingerprint,
    parse_address,
    user_key,
)
from geventpop3.server.admission import address_key as server_address_key


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
    ],
)
def test_an_address_is_counted_by_itself_or_by_its_64_bit_network(host, key):
    address = parse_address(host)
    assert address is not None
    assert address_key(address) == key


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
def test_an_address_of_ipv4_is_one_in_every_spelling_and_everywhere(host):
    address = parse_address(host)
    assert address is not None
    assert address_key(address) == server_address_key(host) == "192.0.2.7"
    for network in ("192.0.2.0/24", "::ffff:192.0.2.0/120", "::FFFF:C000:200/120", "::ffff:0:0/96", "0.0.0.0/0"):
        assert address in Networks([network])
    for network in ("192.0.3.0/24", "::ffff:192.0.3.0/120", "::/0", "::fffe:0:0/95", "::/96", "2001:db8::/32"):
        assert (address in Networks([network])) is False


def test_a_network_of_ipv6_is_none_of_ipv4():
    assert parse_address("2001:db8::1") in Networks(["::/0"])
    assert parse_address("2001:db8::1") not in Networks(["::ffff:0:0/96"])
    assert parse_address("2001:db8::1") not in Networks(["0.0.0.0/0"])


@pytest.mark.parametrize("host", ["unix:/run/pop3.sock", "", "192.0.2.700", "pop.example.org", "\0"])
def test_what_is_no_address_is_none(host):
    assert parse_address(host) is None


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("alice", "alice"),
        ("ALICE@Example.ORG.", "alice@example.org"),
        (" al ice\t", "alice"),
        ("Straße", "strasse"),
        ("ﬁnn", "finn"),
        ("al\u200b\u00ad\u200dice\u202e", "alice"),
        ("e\u0301", "é"),
        ("a\u00ad\u0301", "á"),
        ("x" * 1000, "x" * NAME_CHARACTERS),
        ("\udcff\udcfe", "\udcff\udcfe"),
        ("", ""),
    ],
)
def test_a_name_has_one_form(name, form):
    assert canonical(name) == form


def test_a_user_is_known_by_a_digest_of_fixed_size_and_nobody_by_none():
    assert user_key("alice") == user_key(" ALICE") != user_key("bob")
    assert {len(user_key(name)) for name in ("a", "x" * 10_000, "\udcff", "*")} == {32}
    assert user_key("") == user_key(" \u200b") == ""


NAMES = st.text(st.characters(max_codepoint=0x24FF), max_size=12)


@settings(max_examples=60, deadline=None)
@given(NAMES)
def test_what_saslprep_takes_for_the_same_has_the_same_form(name):
    try:
        prepared = saslprep(name)
    except ValueError:
        return
    assert canonical(prepared) == canonical(name)


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(max_codepoint=127), max_size=12))
def test_the_case_of_ascii_makes_no_difference(name):
    assert canonical(name.swapcase()) == canonical(name)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_a_fingerprint_is_the_same_for_the_same_fields_alone(one, other):
    assert (fingerprint(b"key", *one) == fingerprint(b"key", *other)) is (one == other)
    assert fingerprint(b"key", *one) != fingerprint(b"another", *one)
