"""The secrets behind the mechanisms: SCRAM's stored keys as a value and as a text, CRAM-MD5's digest."""

import subprocess

import pytest
import required

from geventpop3.auth import ClearSecret, ScramSecret
from geventpop3.errors import ConfigError

# Made by Dovecot 2.3.19; the password is "x".
SHA_256_OF_DOVECOT = (
    "{SCRAM-SHA-256}4096,UDZ3o3ilkkkSpCgTHOTFwA==,8skdWsA04Cw1aGNCDWX65T7+LxWhrUmgQDKX+FnpVTM=,"
    "smfg/emJLdAbEzK0IouvoYK20LiUCzHdwccycwITF+g="
)
SHA_1_OF_DOVECOT = (
    "{SCRAM-SHA-1}4096,u9H4N3KulS6CM/xyaTBkqw==,ISNJatDyWzhAPWX16AL4X7wTXCo=,6oafKizM4MRvneHIqLAg4eMIWLU="
)


@pytest.mark.parametrize("field", [SHA_256_OF_DOVECOT, SHA_1_OF_DOVECOT])
def test_secret_of_dovecot_is_read_and_written_again(field):
    secret = ScramSecret.parse(field)
    assert secret.field == field
    assert secret.matches(b"x")
    assert not secret.matches(b"y")
    again = ScramSecret.of(b"x", secret.hash_name, salt=secret.salt, iterations=secret.iterations)
    assert again.field == field


@pytest.mark.client
@pytest.mark.parametrize("name", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_dovecot_and_we_verify_what_the_other_made(name):
    doveadm = required.program("doveadm")
    password = "pässword"
    made = subprocess.run([doveadm, "pw", "-s", name, "-p", password], capture_output=True, text=True, check=True)
    assert ScramSecret.parse(made.stdout.strip()).matches(password.encode())
    field = ScramSecret.of(password.encode(), name.removeprefix("SCRAM-")).field
    for given, is_right in ((password, True), ("password", False)):
        verdict = subprocess.run([doveadm, "pw", "-t", field, "-p", given], capture_output=True, text=True)
        assert ("(verified)" in verdict.stdout) == is_right, verdict.stderr


def test_label_is_read_without_regard_to_case():
    assert ScramSecret.parse(SHA_1_OF_DOVECOT.replace("SCRAM-SHA", "scram-Sha")).field == SHA_1_OF_DOVECOT


KEYS = ",ISNJatDyWzhAPWX16AL4X7wTXCo=,6oafKizM4MRvneHIqLAg4eMIWLU="


@pytest.mark.parametrize(
    ("field", "why"),
    [
        ("", "not a SCRAM secret"),
        ("x", "not a SCRAM secret"),
        ("{SCRAM-MD5}4096,c2FsdA==" + KEYS, "not a SCRAM secret"),
        ("{SCRAM-SHA-1}0,c2FsdA==" + KEYS, "not a SCRAM secret"),
        ("{SCRAM-SHA-1}-1,c2FsdA==" + KEYS, "not a SCRAM secret"),
        ("{SCRAM-SHA-1}1,c2FsdA==" + KEYS + ",x", "not a SCRAM secret"),
        ("{SCRAM-SHA-1}1,c2FsdA==" + KEYS + "\n", "not a SCRAM secret"),
        ("{SCRAM-SHA-1}1," + KEYS, "not a SCRAM secret"),
        ("{SCRAM-SHA-1}\u0661,c2FsdA==" + KEYS, "not a SCRAM secret"),
        ("{SCRAM-SHA-1}1,c2Fs=A==" + KEYS, "bad base64"),
        ("{SCRAM-SHA-1}1,====" + KEYS, "bad base64"),
        ("{SCRAM-SHA-1}1,c2FsdA==" + KEYS.replace("=", "A"), "the length of its keys"),
        ("{SCRAM-SHA-256}1,c2FsdA==" + KEYS, "the length of its keys"),
        ("{SCRAM-SHA-1}1,c2FsdA==,ISNJatDyWzhAPWX16AL4X7wTXCo=," + "A" * 44, "the length of its keys"),
        ("{SCRAM-SHA-1}9999999999,c2FsdA==" + KEYS, "above the limit"),
    ],
)
def test_what_is_not_such_a_text_is_refused_with_words_that_hold_nothing_of_it(field, why):
    with pytest.raises(ConfigError, match=why) as caught:
        ScramSecret.parse(field)
    assert "ISNJ" not in str(caught.value)


def test_new_secret_has_a_fresh_salt_and_as_many_iterations_as_the_rfc_asks():
    one, other = ScramSecret.of(b"x"), ScramSecret.of(b"x")
    assert one.salt != other.salt
    assert (one.hash_name, len(one.salt), one.iterations) == ("SHA-256", 16, 4096)
    assert ScramSecret.parse(one.field).matches(b"x")


def test_password_is_prepared():
    secret = ScramSecret.of("I\u00adX".encode(), iterations=1)
    assert secret.matches(b"IX")
    assert secret.matches("\u2168".encode())
    assert not secret.matches(b"ix")


@pytest.mark.parametrize("password", [b"", b"\xff", b"a\0b", "\u00ad".encode(), "\U0001f511".encode()])
def test_password_that_cannot_be_prepared_is_none(password):
    with pytest.raises(ConfigError, match="SCRAM cannot use this password"):
        ScramSecret.of(password)
    secret = ScramSecret.of(b"x", iterations=1)
    assert not secret.matches(password)
    # Not even where the keys were made without preparing it.
    unprepared = ClearSecret(password).scram("SHA-256", secret.salt, 1)
    assert not unprepared.matches(password)


def test_decoy_costs_the_same_and_matches_nothing():
    secret = ScramSecret.of(b"x", iterations=1)
    decoy = secret.decoy()
    assert (decoy.cost, decoy.salt) == (secret.cost, secret.salt)
    assert not decoy.matches(b"x")
    assert ScramSecret.of(b"x", "SHA-1", iterations=1).cost != secret.cost != ScramSecret.of(b"x", iterations=2).cost


def test_secret_does_not_show_itself():
    assert f"{ScramSecret.parse(SHA_1_OF_DOVECOT)}" == "<ScramSecret ****>"


def test_cram_md5_digest_of_the_rfc_matches_and_no_other():
    secret = ClearSecret(b"tanstaaftanstaaf")
    challenge = b"<1896.697170952@postoffice.reston.mci.net>"
    assert secret.matches_cram_md5(challenge, b"b913a602c7eda7a495b4e6e7334d3890")
    for digest in (b"", b"\xff", b"B913A602C7EDA7A495B4E6E7334D3890", b"b913a602c7eda7a495b4e6e7334d3891"):
        assert not secret.matches_cram_md5(challenge, digest)
