"""The schemes that crypt(3) of libxcrypt is asked for: SHA-crypt, MD5-crypt and yescrypt."""

import errno
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import required
from hypothesis import given, settings
from hypothesis import strategies as st

from geventpop3.auth.schemes import (
    Sha512CryptSecret,
    YescryptSecret,
    hash_password,
    itoa64,
    libcrypt,
    parse_secret,
)
from geventpop3.errors import ConfigError

# The password is "pässword". Made by OpenSSL 3.0.19, whose code is its own,
OF_OPENSSL = [
    "{SHA256-CRYPT}$5$saltstring$cRBhKSfYzTy7ht1J5qVPFV0KZImJ0U5L5Ezw0UdIOW4",
    "{SHA256-CRYPT}$5$rounds=1000$ab$rEznwbor2fhfSMsa9dVVFyTjHc2MqHaCELiGbYBrCr4",
    "{SHA512-CRYPT}$6$saltstring$CSTM8ggie.dU5m6eoS07/LZ2D/r4hrX.jxMSo1fYZexnehwOFJu1o2u1p.BZSnrxIhERrHnuxI8ONbt/kSPvF0",
    "{CRYPT}$6$rounds=1400$anotherlongsalts$VErtXf9TYxOhRYK7qXD.lPRABVcxYtuzoSiqlIgL9F0GlVPhCtl/N60mKAl05IwXArePJpkE7qYb"
    "w1lYqbLiy1",
    "{MD5-CRYPT}$1$saltsalt$QgbQ7EUpcKNQTLgSVL4qr/",
    "{CRYPT}$1$s$7cqm/h3tzdU0McPWpFGPu0",
]
# by libxcrypt 4.4.33.
OF_LIBXCRYPT = ["{CRYPT}$y$j75$LdJMENpBABJJ3hIHjB1Bi.$9tfqPn0RiDF5bwe3gIwvCIX9N4IhOjrvZWnJqpFLXjA"]


@pytest.fixture
def elsewhere(monkeypatch):
    """A function that makes libcrypt another library than it is."""

    def become(*names):
        monkeypatch.setattr(libcrypt, "NAMES", names)
        libcrypt._library.cache_clear()

    yield become
    libcrypt._library.cache_clear()


@pytest.mark.parametrize("field", OF_OPENSSL + OF_LIBXCRYPT)
def test_secret_that_others_made_is_verified(field):
    secret = parse_secret(field)
    assert secret.matches("pässword".encode())
    assert not secret.matches(b"password")
    assert not secret.matches(b"")
    assert repr(secret) == f"<{type(secret).__name__} ****>"
    assert secret.text == field.partition("}")[2]


def test_longest_password_of_crypt3_has_511_octets():
    secret = parse_secret("{CRYPT}" + _crypted(b"x" * 511, "$1$salt$"))
    assert secret.matches(b"x" * 511)
    assert not secret.matches(b"x" * 512)
    assert not secret.matches(b"x" * 510)


def _crypted(password, setting):
    return libcrypt.crypt(password, setting.encode()).decode()


TEXTS = {
    "MD5-CRYPT": ("$1$salt$", "." * 22),
    "SHA256-CRYPT": ("$5$salt$", "." * 43),
    "SHA512-CRYPT": ("$6$salt$", "." * 86),
    "CRYPT": ("$y$j/.$salt$", "." * 43),
}


@pytest.mark.parametrize("label", TEXTS)
def test_text_is_of_exactly_one_length_and_has_no_bits_left_over(label):
    setting, digest = TEXTS[label]
    assert parse_secret(f"{{{label}}}{setting}{digest}").text == setting + digest
    for bad in (digest[:-1], digest + ".", digest[:-1] + "z", digest[:-1] + "_", digest + "\n", ""):
        with pytest.raises(ConfigError, match=r"^not a "):
            parse_secret(f"{{{label}}}{setting}{bad}")


@pytest.mark.parametrize(
    ("label", "setting", "words"),
    [
        ("MD5-CRYPT", "$5$salt$", "not a {MD5-CRYPT}"),
        ("MD5-CRYPT", "$1$saltsalts$", "not a {MD5-CRYPT}"),
        ("MD5-CRYPT", "$1$$", "not a {MD5-CRYPT}"),
        ("SHA512-CRYPT", "$5$salt$", "not a {SHA512-CRYPT}"),
        ("SHA512-CRYPT", "$6$$", "not a {SHA512-CRYPT}"),
        ("SHA512-CRYPT", "$6$saltsaltsaltsalts$", "not a {SHA512-CRYPT}"),
        ("SHA512-CRYPT", "$6$sa:lt$", "not a {SHA512-CRYPT}"),
        ("SHA512-CRYPT", "$6$s lt$", "not a {SHA512-CRYPT}"),
        ("SHA512-CRYPT", "$6$s\u00e4lt$", "not a {SHA512-CRYPT}"),
        ("SHA512-CRYPT", "$6$rounds=999$salt$", "not a {SHA512-CRYPT}"),
        ("SHA512-CRYPT", "$6$rounds=01000$salt$", "not a {SHA512-CRYPT}"),
        ("SHA512-CRYPT", "$6$rounds=1000$", "not a {SHA512-CRYPT}"),
        ("SHA512-CRYPT", "$6$rounds=x$", "not a {SHA512-CRYPT}"),
        ("SHA512-CRYPT", "$6$rounds=10000000000$salt$", "not a {SHA512-CRYPT}"),
        ("SHA512-CRYPT", "$6$rounds=1000001$salt$", "above the limit"),
        ("SHA256-CRYPT", "$5$rounds=999999999$salt$", "above the limit"),
        ("CRYPT", "$y$j.5$salt$", "not a {CRYPT} secret, which is $y$"),  # N would be 2
        ("CRYPT", "$y$k/.$salt$", "not a {CRYPT} secret, which is $y$"),
        ("CRYPT", "$y$j/./$salt$", "not a {CRYPT} secret, which is $y$"),
        ("CRYPT", "$y$j/.$s$", "not a {CRYPT} secret, which is $y$"),
        ("CRYPT", "$y$j/.$s2$", "not a {CRYPT} secret, which is $y$"),
        ("CRYPT", "$y$j/.$" + "s" * 84 + "$", "not a {CRYPT} secret, which is $y$"),
        ("CRYPT", "$y$jET$salt$", "above the limit"),
        ("CRYPT", "$y$jjj$salt$", "above the limit"),
    ],
)
def test_setting_that_crypt3_would_refuse_or_that_costs_too_much_is_refused(label, setting, words):
    with pytest.raises(ConfigError) as caught:
        parse_secret(f"{{{label}}}{setting}{TEXTS[label][1]}")
    assert words in str(caught.value)
    assert "salt$" not in str(caught.value)


SALT = st.sampled_from([chr(n) for n in range(0x21, 0x7F) if chr(n) not in "$!*:;\\"])


@settings(max_examples=30, deadline=None)
@given(
    st.one_of(
        st.builds("$1${}$".format, st.text(SALT, min_size=1, max_size=8)),
        st.builds("$5$rounds=1000${}$".format, st.text(SALT, min_size=1, max_size=16)),
        st.builds("$6$rounds=1000${}$".format, st.text(SALT, min_size=1, max_size=16)),
        st.builds(
            "$y$j{}{}${}$".format,
            st.sampled_from("/01234"),
            st.sampled_from("./01234"),
            st.binary(max_size=62).map(lambda octets: itoa64.encoded(octets).decode()),
        ),
    ),
    st.binary(max_size=520).filter(lambda password: b"\0" not in password),
)
def test_every_setting_that_is_accepted_is_one_for_crypt3(setting, password):
    digest = {"$1$": 22, "$5$": 43, "$6$": 86, "$y$": 43}[setting[:3]] * "."
    secret = parse_secret(f"{{CRYPT}}{setting}{digest}")
    assert not secret.matches(password)
    made = parse_secret("{CRYPT}" + _crypted(password[:511], setting))
    assert made.matches(password) == (len(password) <= 511)
    assert made.setting == setting.encode()


def test_parameters_of_yescrypt_are_those_of_libxcrypt():
    field = hash_password(b"x", "YESCRYPT")
    assert field.startswith("{CRYPT}$y$j9T$")  # what crypt_gensalt of libxcrypt makes by default
    secret = parse_secret(field)
    assert secret.parameters == YescryptSecret.new_parameters
    assert secret.matches(b"x")


def test_many_threads_may_hash_at_once():
    fields = [*OF_OPENSSL, *OF_LIBXCRYPT] * 5
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda field: parse_secret(field).matches("pässword".encode()), fields))
    assert verdicts == [True] * len(fields)


def test_crypt3_that_is_out_of_memory_is_no_wrong_password(monkeypatch):
    secret = parse_secret(OF_OPENSSL[0])

    class Exhausted:
        def crypt_rn(self, *args):
            libcrypt.ctypes.set_errno(errno.ENOMEM)

    monkeypatch.setattr(libcrypt, "_library", Exhausted)
    with pytest.raises(OSError, match=os.strerror(errno.ENOMEM)) as caught:
        secret.matches(b"x")
    assert caught.value.errno == errno.ENOMEM


def test_setting_that_is_none_is_an_error_of_crypt3():
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)) as caught:
        libcrypt.crypt(b"x", b"$6$rounds=1$salt$")
    assert caught.value.errno == errno.EINVAL


def test_method_that_crypt3_does_not_know_is_refused(monkeypatch):
    monkeypatch.setattr(libcrypt, "knows", lambda setting: False)
    with pytest.raises(ConfigError, match=r"does not know \$6\$"):
        Sha512CryptSecret.parse("$6$salt$" + "." * 86)


def test_crypt3_says_what_it_knows():
    assert libcrypt.knows(b"$6$salt$")
    assert libcrypt.knows(b"$1$salt$")
    assert not libcrypt.knows(b"$nonsense$salt$")


@pytest.mark.parametrize("names", [(), ("libnonesuch.so.0",), ("libc.so.6", "libnonesuch.so.0")])
def test_system_without_libxcrypt_is_a_config_error(names, elsewhere):
    elsewhere(*names)
    attempts = [lambda field=field: parse_secret(field) for field in OF_OPENSSL + OF_LIBXCRYPT]
    for attempt in [*attempts, lambda: hash_password(b"x", "YESCRYPT")]:
        with pytest.raises(ConfigError, match="needs crypt"):
            attempt()
    assert parse_secret("{CRYPT}$7$/6..../....salt$" + "." * 43).cost


@pytest.mark.client
@pytest.mark.parametrize("salt", ["-1 salt", "-5 saltstring", "-5 rounds=1000$x", "-6 a", "-6 rounds=2000$-_-"])
def test_what_openssl_makes_is_verified_here(salt):
    openssl = required.program("openssl")
    option, salt = salt.split()
    command = [openssl, "passwd", option, "-salt", salt, "-stdin"]
    made = subprocess.run(command, input="pässword\n", capture_output=True, text=True, check=True)
    secret = parse_secret("{CRYPT}" + made.stdout.strip())
    assert secret.matches("pässword".encode())
    assert not secret.matches(b"password")


@pytest.mark.client
@pytest.mark.parametrize("method", ["md5crypt", "sha256crypt", "sha512crypt", "yescrypt", "bcrypt", "scrypt"])
def test_what_mkpasswd_makes_is_verified_here(method):
    mkpasswd = required.program("mkpasswd")
    command = [mkpasswd, "-s", "-m", method]
    made = subprocess.run(command, input="pässword\n", capture_output=True, text=True, check=True)
    secret = parse_secret("{CRYPT}" + made.stdout.strip())
    assert secret.matches("pässword".encode())
    assert not secret.matches(b"password")
