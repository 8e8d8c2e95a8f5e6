"""Secrets compare and never show themselves."""

import hashlib

import pytest

from geventpop3.auth import Authenticator, ClearSecret, Secret, SecretAuthenticator


def test_repr_masks_what_a_secret_holds():
    assert repr(ClearSecret(b"tanstaaf")) == "<ClearSecret ****>"
    assert "tanstaaf" not in f"{ClearSecret(b'tanstaaf')}{[ClearSecret(b'tanstaaf')]!r}"
    assert repr(Secret()) == "<Secret ****>"


def test_apop_digest_of_the_rfc_matches():
    # RFC 1939 section 7.
    secret = ClearSecret(b"tanstaaf")
    timestamp = b"<1896.697170952@dbc.mtview.ca.us>"
    assert secret.matches_apop(timestamp, "c4c9334bac560ecc979e58001b3e22fb")


@pytest.mark.parametrize("digest", ["", "c4c9334bac560ecc979e58001b3e22fc", "\udcff", "é", "0" * 32, "C4" * 16])
def test_any_other_apop_digest_does_not_match(digest):
    assert not ClearSecret(b"tanstaaf").matches_apop(b"<1896.697170952@dbc.mtview.ca.us>", digest)


def test_upper_case_apop_digest_does_not_match():
    digest = hashlib.md5(b"<1@a>" + b"s").hexdigest().upper()
    assert not ClearSecret(b"s").matches_apop(b"<1@a>", digest)


def test_clear_secret_matches_its_password_alone():
    secret = ClearSecret("pässword ".encode())
    assert secret.matches("pässword ".encode())
    for other in (b"", "pässword".encode(), "pässword  ".encode(), b"\xff"):
        assert not secret.matches(other)


def test_decoy_of_a_clear_secret_costs_the_same_and_matches_nothing():
    secret = ClearSecret(b"x")
    assert secret.decoy().cost == secret.cost
    assert not secret.decoy().matches(b"x")


def test_authenticator_is_not_taken_to_answer_at_once():
    class Back(Authenticator):
        def authenticate(self, name, password):
            return name

    assert not Back().answers_at_once()


def test_secret_authenticator_is_taken_to_have_clear_secrets():
    class Back(SecretAuthenticator):
        def authenticate(self, name, password):
            return None

        def secret(self, name):
            return None

    assert Back().has_clear_secrets()
    assert not Back().has_scram_keys_alone()
