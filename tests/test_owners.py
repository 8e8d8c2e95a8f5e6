"""Names and owners: one form for all spellings of one name, another for each that is another name."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from geventpop3.errors import HandedOverError, StoreBroken
from geventpop3.owners import USERNAME_CASES, canonical_name, canonical_owner

COMPOSED, DECOMPOSED = "zo\u00eb", "zoe\u0308"


@pytest.mark.parametrize(
    ("name", "domain", "lower"),
    [
        ("alice", "alice", "alice"),
        ("Alice", "Alice", "alice"),
        ("Alice@Example.ORG", "Alice@example.org", "alice@example.org"),
        ("A@B@Example.ORG", "A@B@example.org", "a@b@example.org"),
        ("@Example", "@example", "@example"),
        ("Alice@", "Alice@", "alice@"),
        ("", "", ""),
        (f"{DECOMPOSED.title()}@Z.org", f"{COMPOSED.title()}@z.org", f"{COMPOSED}@z.org"),
        (f"{DECOMPOSED.title()}", f"{COMPOSED.title()}", COMPOSED),
        ("A@\u00c4.org", "A@\u00e4.org", "a@\u00e4.org"),
        # Other domains (IDNA2008), which case folding would make one.
        ("a@stra\u00dfe.de", "a@stra\u00dfe.de", "a@stra\u00dfe.de"),
        ("a@\u03b1\u03c2.gr", "a@\u03b1\u03c2.gr", "a@\u03b1\u03c2.gr"),
        ("a@\u0391\u03a3.gr", "a@\u03b1\u03c3.gr", "a@\u03b1\u03c3.gr"),
    ],
)
def test_what_the_setting_folds_is_one_name(name: str, domain: str, lower: str) -> None:
    assert canonical_name(name, "domain") == domain
    assert canonical_name(name, "lower") == lower
    assert canonical_name(name, "keep") == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize("case", USERNAME_CASES)
def test_the_form_has_itself_as_its_form(case: str) -> None:
    for code in range(sys.maxunicode + 1):
        if chr(code).lower() == chr(code) == unicodedata.normalize("NFC", chr(code)):
            continue  # is its own form
        once = canonical_name(f"a@{chr(code)}", case)  # type: ignore[arg-type]
        assert canonical_name(once, case) == once  # type: ignore[arg-type]


def test_an_owner_has_the_same_form() -> None:
    assert canonical_owner(f"{DECOMPOSED}@X.org", "domain") == f"{COMPOSED}@x.org"
    assert canonical_owner("Alice Smith", "lower") == "alice smith"


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        ("", "empty"),
        ("a\nb", "control characters"),
        ("a\x7f", "control characters"),
        ("\udce9", "not UTF-8"),
        ("\u00e9\x00", "control characters"),
        ("\u2028" * 2, "control characters"),
    ],
)
def test_an_owner_that_can_have_no_maildrop_is_refused(owner: str, words: str) -> None:
    with pytest.raises(StoreBroken, match="no maildrop can have this name") as caught:
        canonical_owner(owner, "domain")
    assert caught.value.detail is not None
    assert words in caught.value.detail
    assert caught.value.detail.isprintable()


@pytest.mark.parametrize("owner", [True, 7, b"alice"])
def test_an_owner_that_is_no_text_is_the_authors_mistake(owner: object) -> None:
    with pytest.raises(HandedOverError, match=f"returned a {type(owner).__name__}"):
        canonical_owner(owner, "domain")  # type: ignore[arg-type]
