"""Password schemes: texts to secrets and back, and what is refused."""

import hashlib
import sys

import pytest
import required
from hypothesis import given, settings
from hypothesis import strategies as st

from geventpop3.auth import ClearSecret, ScramSecret, schemes
from geventpop3.auth.schemes import (
    Argon2idSecret,
    BlfCryptSecret,
    HashedSecret,
    Pbkdf2Secret,
    ScryptSecret,
    Sha256CryptSecret,
    Sha512CryptSecret,
    WritableSecret,
    YescryptSecret,
    hash_password,
    itoa64,
    parse_secret,
)
from geventpop3.errors import ConfigError

# The first made by Dovecot 2.3.19, the second verified by it with libxcrypt 4.4.33; the password is "x".
PBKDF2_OF_DOVECOT = "{PBKDF2}$1$8A81Wa.LZrXSfaot$5000$fe0bc1d9822f642abd6521f09353805c9b20396f"
SCRAM_OF_DOVECOT = (
    "{SCRAM-SHA-1}4096,RHts9rfcPOOv5kBAYGHJsw==,EHEdTH8NtogjChVLd9M3a4phJEk=,UGQTfonewkmss3gotSYUtT800Ts="
)
SCRYPT_OF_CRYPT3 = "{CRYPT}$7$26....0....OYp2MJqo3kkFZTz.$zMh9WPblFA0/CTbxPdKDH1kXSqMGLMsIAfudgqCFMY0"


@pytest.fixture
def cheap(monkeypatch):
    """New secrets cost next to nothing."""
    monkeypatch.setattr(Pbkdf2Secret, "new_parameters", (2,))
    monkeypatch.setattr(ScryptSecret, "new_parameters", (1, 1, 1))
    monkeypatch.setattr(Argon2idSecret, "new_parameters", (1, 8, 1))
    monkeypatch.setattr(BlfCryptSecret, "new_parameters", (4,))
    monkeypatch.setattr(Sha256CryptSecret, "new_parameters", (1000,))
    monkeypatch.setattr(Sha512CryptSecret, "new_parameters", (1000,))
    monkeypatch.setattr(YescryptSecret, "new_parameters", (2, 1))


def needs(name):
    """Skip the test if what the scheme needs is not there."""
    if "ARGON" in name:
        required.module("argon2")
    if "BLF" in name:
        required.module("bcrypt")


@pytest.fixture
def argon2():
    needs("ARGON2ID")


def test_pbkdf2_of_dovecot_is_verified():
    secret = parse_secret(PBKDF2_OF_DOVECOT)
    assert secret.matches(b"x")
    assert not secret.matches(b"y")


def test_scrypt_of_crypt3_is_verified():
    secret = parse_secret(SCRYPT_OF_CRYPT3)
    assert secret.matches(b"x")
    assert not secret.matches(b"y")


def test_scrypt_is_the_same_under_both_labels():
    assert parse_secret(SCRYPT_OF_CRYPT3.replace("{CRYPT}", "{SCRYPT}")).cost == parse_secret(SCRYPT_OF_CRYPT3).cost


@pytest.mark.parametrize("label", ["PLAIN", "plain", "CLEARTEXT", "Clear"])
def test_clear_text_has_three_labels_of_any_case(label):
    secret = parse_secret(f"{{{label}}}pä {{x}} ss ")
    assert isinstance(secret, ClearSecret)
    assert secret.matches("pä {x} ss ".encode())


@pytest.mark.parametrize("name", [*schemes.NAMES, "scrypt"])
def test_hashed_password_is_verified_by_what_it_became(name, cheap):
    needs(name)
    field = hash_password(b"p\xc3\xa4ss word", name)
    secret = parse_secret(field)
    assert secret.matches("päss word".encode())
    assert not secret.matches(b"pass word")
    assert repr(secret) == f"<{type(secret).__name__} ****>"
    if name != "PLAIN":
        assert ":" not in field  # which would end it in a password file
        assert hash_password(b"p\xc3\xa4ss word", name) != field  # another salt
    if isinstance(secret, WritableSecret):
        assert f"{{{secret.label}}}{secret.text}" == field


@pytest.mark.parametrize(
    ("scheme", "digest"),
    [
        (Argon2idSecret, bytes(32)),
        (BlfCryptSecret, b"." * 31),
        (YescryptSecret, b"." * 43),
        (ScryptSecret, b"." * 43),
        (Sha512CryptSecret, b"." * 86),
        (Sha256CryptSecret, b"." * 43),
        (Pbkdf2Secret, bytes(20)),
    ],
)
def test_new_secret_is_one_that_is_read_again(scheme, digest, monkeypatch):
    needs(scheme.label)
    monkeypatch.setattr(scheme, "derive", lambda self, password: digest)  # its true cost is not for these tests
    made = scheme.create(b"x")
    read = scheme.parse(made.text)
    assert (read.cost, read.digest, read.text) == (made.cost, digest, made.text)


@pytest.mark.parametrize("name", schemes.NAMES)
def test_password_with_nul_or_longer_than_the_scheme_takes_is_wrong_and_hashed_all_the_same(name, cheap, monkeypatch):
    needs(name)
    secret = parse_secret(hash_password(b"x" * 72, name))
    hashed = []
    if isinstance(secret, HashedSecret):
        derive = type(secret).derive
        monkeypatch.setattr(
            type(secret), "derive", lambda self, password: hashed.append(password) or derive(self, password)
        )
    wrong = [b"x" * 72 + b"\0", b"x" * 72 + b"\0y", b"\0", b"x" * 73, b"x" * 512, b"x" * 5000, b"\0" * 5000]
    for password in wrong:
        assert not secret.matches(password)
    if isinstance(secret, HashedSecret):
        assert [len(password) for password in hashed] == [min(len(password), secret.limit) for password in wrong]
        assert not any(b"\0" in password for password in hashed)


@pytest.mark.parametrize(
    "field",
    [
        PBKDF2_OF_DOVECOT,
        "{CRYPT}$7$/6..../....saltsalt$MSWnxXK6y4b8nOfi.LKuowXZbuspsdO02lhHWefztX4",
        "{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "{BLF-CRYPT}$2b$04$" + "." * 53,
        "{MD5-CRYPT}$1$salt$" + "." * 22,
        "{SHA256-CRYPT}$5$rounds=1000$salt$" + "." * 43,
        "{SHA512-CRYPT}$6$rounds=1000$salt$" + "." * 86,
        "{CRYPT}$y$j/.$salt$" + "." * 43,
        "{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=",
        "{SSHA256}DYERgha/TjqTZGJBPMQQBN1AGgiG9i15pfdyELnmWmsSJ3fZ",
        SCRAM_OF_DOVECOT,
        "{PLAIN}x",
    ],
)
def test_decoy_costs_the_same_and_matches_nothing(field):
    needs(field)
    secret = parse_secret(field)
    decoy = secret.decoy()
    assert type(decoy) is type(secret)
    assert decoy.cost == secret.cost
    assert not decoy.matches(b"x")


def test_cost_is_the_same_for_another_variant_salt_or_rounds_left_unsaid():
    needs("BLF-CRYPT")
    for one, other in [
        ("{BLF-CRYPT}$2a$04$" + "." * 53, "{CRYPT}$2y$04$" + "." * 21 + "O" + "." * 31),
        ("{SHA512-CRYPT}$6$salt$" + "." * 86, "{CRYPT}$6$rounds=5000$s@lt$" + "." * 86),
        ("{CRYPT}$y$j/.$salt$" + "." * 43, "{CRYPT}$y$j/.$$" + "." * 43),
        ("{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=", "{SSHA}SXi0Zot6yvySYONp7pTmmPYioqBgCws2"),
    ]:
        assert parse_secret(one).cost == parse_secret(other).cost


def test_cost_tells_parameters_apart():
    fields = [
        "{PBKDF2}$1$salt$1$" + "0" * 40,
        "{PBKDF2}$1$salt$2$" + "0" * 40,
        "{CRYPT}$7$/6..../....salt$" + "." * 43,
        "{CRYPT}$7$06..../....salt$" + "." * 43,
        "{CRYPT}$7$/7..../....salt$" + "." * 43,
        "{CRYPT}$7$/6....0....salt$" + "." * 43,
        "{PLAIN}x",
        "{BLF-CRYPT}$2b$04$" + "." * 53,
        "{BLF-CRYPT}$2b$05$" + "." * 53,
        "{MD5-CRYPT}$1$salt$" + "." * 22,
        "{MD5-CRYPT}$1$salts$" + "." * 22,
        "{SHA256-CRYPT}$5$salt$" + "." * 43,
        "{SHA512-CRYPT}$6$salt$" + "." * 86,
        "{SHA512-CRYPT}$6$salts$" + "." * 86,
        "{SHA512-CRYPT}$6$rounds=1000$salt$" + "." * 86,
        "{CRYPT}$y$j/.$salt$" + "." * 43,
        "{CRYPT}$y$j0.$salt$" + "." * 43,
        "{CRYPT}$y$j//$salt$" + "." * 43,
        "{SHA}EfatjsUqKYSrqv18O1FlA3hcIHI=",
        "{SHA256}2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
        SCRAM_OF_DOVECOT,
        SCRAM_OF_DOVECOT.replace("4096", "4097"),
    ]
    needs("BLF-CRYPT")
    assert len({parse_secret(field).cost for field in fields}) == len(fields)


A, S, D = "$argon2id$v=19$m=8,t=1,p=1$", "c2FsdHNhbHQ", "A" * 27


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("", "no {SCHEME}"),
        ("hunter2", "no {SCHEME}"),
        ("{PLAIN", "no {SCHEME}"),
        ("x{PLAIN}hunter2", "no {SCHEME}"),
        ("{}hunter2", "unknown scheme"),
        ("{hunter2}hunter2", "unknown scheme"),
        ("{MD5}hunter2", "unknown scheme"),
        ("{\u017fHA}hunter2", "bad base64"),
        ("{PLAIN}", "empty"),
        ("{PLAIN}" + "h" * 1025, "at most 1024 octets"),
        ("{PLAIN}hun\rter2", "NUL, CR or LF"),
        ("{PLAIN}hun\0ter2", "NUL, CR or LF"),
        ("{PBKDF2}hunter2", "not a {PBKDF2}"),
        ("{PBKDF2}$1$salt$0$" + "0" * 40, "not a {PBKDF2}"),
        ("{PBKDF2}$1$salt$1$" + "g" * 40, "not a {PBKDF2}"),
        ("{PBKDF2}$1$salt$1$" + "0" * 38, "not a {PBKDF2}"),
        ("{PBKDF2}$1$salt$\u0661$" + "0" * 40, "not a {PBKDF2}"),
        ("{PBKDF2}$1$salt$10000001$" + "0" * 40, "above the limit"),
        ("{PBKDF2}$1$salt$9999999999$" + "0" * 40, "above the limit"),
        ("{CRYPT}hunter2", "must begin with one of $y$"),
        ("{CRYPT}$9$salt$hunter2", "must begin with one of $y$"),
        ("{CRYPT}$hunter2", "must begin with one of $y$"),
        ("{CRYPT}", "must begin with one of $y$"),
        ("{SCRYPT}$6$rounds=5000$salt$hunter2", "not a scrypt secret"),
        ("{SCRAM-SHA-256}hunter2", "not a SCRAM secret"),
        ("{PLAIN.HEX}hunter2", "unknown scheme"),
        ("{SSHA256-CRYPT}hunter2", "unknown scheme"),
        ("{CRYPT}$7$/6..../....salt$" + "_" * 43, "not a scrypt secret"),
        ("{CRYPT}$7$/6..../....salt$" + "." * 42, "not a scrypt secret"),
        ("{CRYPT}$7$/6..../....salt$" + "z" * 43, "not a scrypt secret"),
        ("{CRYPT}$7$.6..../....salt$" + "." * 43, "invalid combination"),
        ("{CRYPT}$7$/...../....salt$" + "." * 43, "invalid combination"),
        ("{CRYPT}$7$/6.........salt$" + "." * 43, "invalid combination"),
        ("{CRYPT}$7$E/..../....salt$" + "." * 43, "invalid combination"),  # N = 2**16 with r = 1
        ("{CRYPT}$7$z6..../....salt$" + "." * 43, "above the limit"),
        ("{CRYPT}$7$U6..../....salt$" + "." * 43, "above the limit"),
        ("{CRYPT}$7$/zzzzz/....salt$" + "." * 43, "above the limit"),
        ("{CRYPT}$7$C6....zzzzzsalt$" + "." * 43, "above the limit"),
    ],
)
def test_field_that_is_not_exactly_a_secret_is_refused_and_not_quoted(field, words):
    with pytest.raises(ConfigError) as caught:
        parse_secret(field)
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hunter2", "not an {ARGON2ID}"),
        (f"$argon2i$v=19$m=8,t=1,p=1${S}${D}", "not an {ARGON2ID}"),
        (f"$argon2id$v=16$m=8,t=1,p=1${S}${D}", "not an {ARGON2ID}"),
        (f"$argon2id$v=19$m=8,t=0,p=1${S}${D}", "not an {ARGON2ID}"),
        (f"{A}c2Fs${D}", "not an {ARGON2ID}"),
        (f"{A}{S}${D}=", "not an {ARGON2ID}"),
        (f"{A}{S}${'A' * 25}", "bad base64"),
        (f"$argon2id$v=19$m=8,t=1,p=2${S}${D}", "at least 8 p"),
        (f"$argon2id$v=19$m=8388608,t=1,p=1${S}${D}", "above the limit"),
        (f"$argon2id$v=19$m=8,t=4000000000,p=1${S}${D}", "above the limit"),
        (f"$argon2id$v=19$m=4096,t=1,p=200${S}${D}", "above the limit"),
    ],
)
def test_argon2id_text_that_is_not_exactly_one_is_refused(text, words, argon2):
    with pytest.raises(ConfigError) as caught:
        parse_secret("{ARGON2ID}" + text)
    assert words in str(caught.value)


def test_argon2id_without_its_extra_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "argon2", None)
    for attempt in (lambda: parse_secret("{ARGON2ID}" + A + S + "$" + D), lambda: hash_password(b"x", "ARGON2ID")):
        with pytest.raises(ConfigError, match=r"pip install 'geventpop3\[argon2\]'"):
            attempt()


def test_default_scheme_is_argon2id_if_it_is_installed_and_scrypt_if_not(monkeypatch):
    monkeypatch.setattr(schemes.importlib.util, "find_spec", {"argon2": object()}.get)
    assert schemes.default_scheme() == "ARGON2ID"
    monkeypatch.setattr(schemes.importlib.util, "find_spec", {}.get)
    assert schemes.default_scheme() == "SCRYPT"


def test_password_is_hashed_with_the_default_scheme_if_none_is_named(monkeypatch, cheap):
    monkeypatch.setattr(schemes, "default_scheme", lambda: "PBKDF2")
    assert hash_password(b"x").startswith("{PBKDF2}$1$")


@pytest.mark.parametrize(
    ("password", "name", "words"),
    [
        (b"", "PBKDF2", "empty"),
        (b"x" * 1025, "PBKDF2", "at most 1024 octets"),
        (b"a\nb", "PBKDF2", "NUL, CR or LF"),
        (b"x" * 73, "BLF-CRYPT", "{BLF-CRYPT} must have at most 72 octets"),
        (b"x" * 512, "YESCRYPT", "{CRYPT} must have at most 511 octets"),
        (b"x" * 512, "SHA512-CRYPT", "{SHA512-CRYPT} must have at most 511 octets"),
        (b"x", "SSHA", "unknown scheme 'SSHA'"),
        (b"x", "MD5-CRYPT", "unknown scheme 'MD5-CRYPT'"),
        (b"a:b", "PLAIN", "colon"),
        (b"a\xff", "PLAIN", "UTF-8"),
        (b"x", "CRYPT3", "unknown scheme 'CRYPT3'"),
        (b"x", "\u2028\n", r"unknown scheme '\u2028\n'"),
    ],
)
def test_password_that_cannot_be_kept_is_refused(password, name, words):
    with pytest.raises(ConfigError) as caught:
        hash_password(password, name)
    assert words in str(caught.value)


def test_scram_keys_of_dovecot_check_a_password_too():
    secret = parse_secret(SCRAM_OF_DOVECOT)
    assert isinstance(secret, ScramSecret)
    assert secret.matches(b"x")
    assert not secret.matches(b"y")
    assert not secret.matches("\u2028".encode())  # prohibited by SASLprep


def test_password_that_saslprep_forbids_has_no_scram_keys():
    with pytest.raises(ConfigError, match="SASLprep"):
        hash_password("\u2028".encode(), "SCRAM-SHA-256")


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.integers(1, 63), st.integers(0, 2**30 - 1), st.integers(0, 2**30 - 1))
def test_text_of_scrypt_comes_back_as_it_was(digest, log_n, r, p):
    made = ScryptSecret(b"salt", itoa64.encoded(digest), log_n, r, p)
    try:
        secret = ScryptSecret.parse(made.text)
    except ConfigError as error:
        words = str(error)  # the parameters may be refused, the text may not
        assert "which is $7$" not in words
    else:
        assert (secret.digest, secret.cost, secret.text) == (made.digest, made.cost, made.text)


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(
        [
            "",
            "{PLAIN}",
            "{PBKDF2}$1$s$2$",
            "{CRYPT}",
            "{CRYPT}$7$/6..../....",
            "{CRYPT}$y$j/.$",
            "{CRYPT}$6$",
            "{BLF-CRYPT}$2b$04$",
            "{SSHA",
            "{SCRAM-SHA-1}",
            "{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$",
        ]
    ),
    st.text(st.sampled_from("$./09AZaz=,{}:\0\r\n é\u2028"), max_size=60),
)
def test_any_field_is_a_secret_or_a_config_error_of_one_line(start, text):
    try:
        words = repr(parse_secret(start + text))
    except ConfigError as error:
        words = str(error)
    assert words
    assert words.isprintable()


def test_scrypt_is_hashlibs():
    digest = itoa64.encoded(hashlib.scrypt(b"x", salt=b"salt", n=2, r=1, p=1, dklen=32))
    assert parse_secret("{SCRYPT}" + ScryptSecret(b"salt", digest, 1, 1, 1).text).matches(b"x")
