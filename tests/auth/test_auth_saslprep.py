"""SASLprep: the examples of RFC 4013 section 3, each table, and an oracle."""

import pytest
import required
from hypothesis import given, settings
from hypothesis import strategies as st

from geventpop3.auth.saslprep import saslprep


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
    ],
)
def test_examples_of_the_rfc(text, prepared):
    assert saslprep(text) == saslprep(text, stored=True) == prepared


@pytest.mark.parametrize("text", ["\u0007", "\u0627\u0031"])
def test_examples_of_the_rfc_that_fail(text):
    with pytest.raises(ValueError, match=r"a prohibited character|a mix of left-to-right and right-to-left text"):
        saslprep(text)


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("", ""),
        ("\u00ad\ufeff", ""),
        ("a\u00a0b\u3000c", "a b c"),
        ("a\u200bb", "ab"),
        ("u\u0308", "ü"),
        ("½", "1\u20442"),
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
        ("pässwörd", "pässwörd"),
    ],
)
def test_mapping_and_normalisation(text, prepared):
    assert saslprep(text) == prepared


def test_octets_that_were_not_utf_8_are_prohibited():
    with pytest.raises(ValueError, match="prohibited"):
        saslprep(b"a\xff".decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    "text",
    [
        "a\0",  # C.2.1
        "a\x7f",
        "a\x85",  # C.2.2
        "a\ue000",  # C.3
        "a\ufdd0",  # C.4
        "a\ufffd",  # C.6
        "a\u2ff0",  # C.7
        "a\u200e",  # C.8
        "a\U000e0001",  # C.9
        "\u0627a\u0627",  # D.2 within D.1
        "\u0627\u0628\u0031",  # the end is not of D.1
        "\u0031\u0627",  # nor the beginning
    ],
)
def test_prohibited_text_is_refused_with_words_that_hold_nothing_of_it(text):
    with pytest.raises(ValueError, match=r"^(a prohibited character|a mix of left-to-right and right-to-left text)$"):
        saslprep(text)


def test_code_points_that_unicode_3_2_does_not_know_are_for_queries_alone():
    assert saslprep("\U0001f511") == "\U0001f511"
    with pytest.raises(ValueError, match=r"Unicode 3\.2"):
        saslprep("\U0001f511", stored=True)


@given(st.text(max_size=12))
@settings(max_examples=50, deadline=None)
def test_what_is_prepared_is_what_the_oracle_prepares(text):
    scramp = required.module("scramp")
    from scramp.utils import saslprep as oracle

    try:
        expected = oracle(text)
    except scramp.ScramException:
        with pytest.raises(ValueError, match=r"."):
            saslprep(text, stored=True)
    else:
        assert saslprep(text, stored=True) == expected
