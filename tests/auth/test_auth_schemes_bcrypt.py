"""bcrypt: its three names, its 72 octets, and what is refused."""

import sys

import pytest
import required

from geventpop3.auth.schemes import BlfCryptSecret, hash_password, parse_secret
from geventpop3.errors import ConfigError

required.module("bcrypt")

# Made by Dovecot 2.3.19; the password is "pässword".
TEXT = "$2y$04$EhFd722fDI9tIvWPpn6JPu/b81FeO/BY3YlY.T7CAWo/JU2ywe/nW"


@pytest.mark.parametrize("label", ["BLF-CRYPT", "BCRYPT", "CRYPT", "blf-crypt"])
@pytest.mark.parametrize("variant", "aby")
def test_three_variants_under_three_labels_are_one(label, variant):
    text = TEXT.replace("$2y$", f"$2{variant}$")
    secret = parse_secret(f"{{{label}}}{text}")
    assert secret.matches("pässword".encode())
    assert not secret.matches(b"password")
    assert not secret.matches(b"")
    assert repr(secret) == "<BlfCryptSecret ****>"
    assert secret.text == text


def test_password_is_wrong_if_only_its_first_72_octets_are_right():
    digest = BlfCryptSecret("b", 4, b"." * 22, b"").derive(b"x" * 72)
    secret = BlfCryptSecret("b", 4, b"." * 22, digest)
    assert secret.matches(b"x" * 72)
    assert not secret.matches(b"x" * 73)
    assert not secret.matches(b"x" * 71)


SALT, DIGEST = "." * 22, "." * 31


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hunter2", "not a {BLF-CRYPT}"),
        (f"$2x$04${SALT}{DIGEST}", "not a {BLF-CRYPT}"),
        (f"$2$04${SALT}{DIGEST}", "not a {BLF-CRYPT}"),
        (f"$2b$4${SALT}{DIGEST}", "not a {BLF-CRYPT}"),
        (f"$2b$03${SALT}{DIGEST}", "not a {BLF-CRYPT}"),
        (f"$2b$04${SALT[1:]}z{DIGEST}", "not a {BLF-CRYPT}"),  # bits left over are not zero
        (f"$2b$04${SALT}{DIGEST[1:]}z", "not a {BLF-CRYPT}"),
        (f"$2b$04${SALT}{DIGEST[1:]}", "not a {BLF-CRYPT}"),
        (f"$2b$04${SALT}{DIGEST}.", "not a {BLF-CRYPT}"),
        (f"$2b$04${SALT}{DIGEST}\n", "not a {BLF-CRYPT}"),
        (f"$2b$04${SALT}{DIGEST[1:]}_", "not a {BLF-CRYPT}"),
        (f"$2b$\u0660\u0664${SALT}{DIGEST}", "not a {BLF-CRYPT}"),
        (f"$2b$17${SALT}{DIGEST}", "above the limit"),
        (f"$2b$99${SALT}{DIGEST}", "above the limit"),
    ],
)
def test_text_that_is_not_exactly_one_or_costs_too_much_is_refused(text, words):
    with pytest.raises(ConfigError) as caught:
        parse_secret("{BLF-CRYPT}" + text)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    for attempt in (lambda: parse_secret("{BLF-CRYPT}" + TEXT), lambda: hash_password(b"x", "BLF-CRYPT")):
        with pytest.raises(ConfigError, match=r"pip install 'geventpop3\[bcrypt\]'"):
            attempt()
