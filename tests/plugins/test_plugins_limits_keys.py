"""Whom a failure is counted for."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geventpop3.auth.credentials import NAME_OCTETS
from geventpop3.auth.saslprep import saslprep
from geventpop3.plugins.limits.keys import (
    canonical,
    fingerprint,
    user_key,
)


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
        ("x" * 1000, "x" * NAME_OCTETS),
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
