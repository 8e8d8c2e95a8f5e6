"""The SHA family, plain and salted, in base64 and in hexadecimal."""

import base64
import hashlib

import pytest

from geventpop3.auth.schemes import DigestSecret, parse_secret
from geventpop3.errors import ConfigError

# Made by Dovecot 2.3.19; the password is "pässword".
OF_DOVECOT = [
    "{SSHA512}+OGs2abtYlooaBgAz6fIR+g0Fj+e1jBN8YlFnlwOosNSnYHHOKvtjxO4stws1Z9+16T6kBoqDT9UnDYeHAxoMsR/mvg=",
    "{SSHA}XBEJBsHpWXejbgcb6MKrUxA5idq4BJ4F",
    "{SHA512}KF3icbSeAO9oGc8Ku/AxXpfCXLo2FhZ8dw78Umxki03hH0sA3HH67TOjEse6g2kNPtFKqq32tiKqSJlv8H7IpA==",
    "{SHA256.HEX}3478267b5612791b40988906b3a7897eb6ab501e04b95ed32f99d0afdf669d9c",
    "{SHA1}I7dElEdfX4dJgLdnbVEeI9iG2mQ=",
    "{SSHA256.HEX}97cfb351067d8a1caf4103b97c220c1fef413fe84ec31ae60014fc6ed7bb6b7ac05cf20e",
    "{SSHA.B64}BeO7z6XzNLbqVt668Sw//p6dpt+n0njl",
    # and verified by it
    "{SHA256}3478267b5612791b40988906b3a7897eb6ab501e04b95ed32f99d0afdf669d9c",
    "{sha.base64}I7dElEdfX4dJgLdnbVEeI9iG2mQ=",
    "{Ssha256.Hex}97CFB351067D8A1CAF4103B97C220C1FEF413FE84EC31AE60014FC6ED7BB6B7AC05CF20E",
]


@pytest.mark.parametrize("field", OF_DOVECOT)
def test_digest_of_dovecot_is_verified(field):
    secret = parse_secret(field)
    assert isinstance(secret, DigestSecret)
    assert secret.matches("pässword".encode())
    assert not secret.matches(b"password")
    assert repr(secret) == "<DigestSecret ****>"


@pytest.mark.parametrize("octets", [1, 4, 8, 16, 64])
def test_salt_of_any_usual_length_is_taken(octets):
    salt = bytes(range(octets))
    text = base64.b64encode(hashlib.sha1(b"x" + salt).digest() + salt).decode()
    assert parse_secret("{SSHA}" + text).matches(b"x")


def test_salted_digest_is_base64_even_if_it_looks_like_hexadecimal():
    digest = base64.b64decode("0" * 48)
    assert parse_secret("{SSHA}" + "0" * 48).derive(b"x") == hashlib.sha1(b"x" + digest[20:]).digest()
    assert parse_secret("{SSHA.HEX}" + "0" * 48).derive(b"x") == hashlib.sha1(b"x" + bytes(4)).digest()


def base64_of(octets):
    return base64.b64encode(bytes(octets)).decode()


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("{SHA}", "a digest and no salt"),
        ("{SSHA}", "a digest and a salt"),
        ("{SHA}" + base64_of(19), "a digest and no salt"),
        ("{SHA}" + base64_of(21), "a digest and no salt"),
        ("{SHA256}" + "0" * 40, "a digest and no salt"),
        ("{SHA256.HEX}" + "0" * 40, "a digest and no salt"),
        ("{SSHA}" + base64_of(19), "a digest and a salt"),
        ("{SSHA}" + base64_of(20), "a digest and a salt"),
        ("{SSHA}" + base64_of(20 + 65), "a digest and a salt"),
        ("{SSHA}hunter2", "bad base64"),
        ("{SSHA}" + base64_of(24) + "\n", "bad base64"),
        ("{SSHA}" + "ä" * 32, "bad base64"),
        ("{SHA}" + "g" * 40, "bad hex"),
        ("{SSHA.HEX}hunter2", "bad hex"),
        ("{SSHA.HEX}" + "00 " * 24, "bad hex"),
        ("{SSHA.B64}" + "0" * 47, "bad b64"),
        ("{SHA.}" + base64_of(20), "unknown encoding"),
        ("{SHA.ROT13}hunter2", "unknown encoding"),
        ("{SHA.HEX.HEX}hunter2", "unknown encoding"),
    ],
)
def test_text_that_is_no_digest_is_refused_and_not_quoted(field, words):
    with pytest.raises(ConfigError) as caught:
        parse_secret(field)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)
