"""One AUTH command: its arguments, the initial response, cancelling, and what is offered to whom."""

import base64

import pytest
from mechanisms_back_end import BackEnd, make_context

from geventpop3.auth.mechanisms import (
    CLEAR_SECRETS,
    MECHANISMS,
    PASSWORDS,
    TOKENS,
    Challenge,
    CheckPassword,
    CheckToken,
    ClearTextRefused,
    Compute,
    CredentialsRejected,
    Identity,
    LookUp,
    Mechanism,
    available,
    exchange,
    scram_secrets,
)
from geventpop3.errors import Refusal, StoreUnavailable

TIM = b"\0tim\0tanstaaftanstaaf"
IDENTITY = Identity("tim", None, "<tim>")


@pytest.fixture
def back_end():
    return BackEnd(passwords={"tim": "tanstaaftanstaaf"})


def test_absent_initial_response_is_asked_for_with_an_empty_challenge(back_end):
    # RFC 5034 section 4: "the server MUST proceed by issuing an empty challenge".
    assert back_end.play("PLAIN", [TIM]) == IDENTITY
    assert back_end.sent == [b""]


def test_initial_response_saves_the_challenge(back_end):
    assert back_end.play("PLAIN", [], base64.b64encode(TIM).decode()) == IDENTITY
    assert back_end.sent == []


def test_equals_sign_is_an_empty_initial_response(back_end):
    with pytest.raises(Refusal, match="malformed message of PLAIN"):
        back_end.play("PLAIN", [], "=")
    assert back_end.sent == []
    assert back_end.play("EXTERNAL", [], "=", certificate="tim") == IDENTITY


def test_initial_response_that_is_not_base64_is_refused(back_end):
    # RFC 5034 section 4: "servers and clients MUST reject (and not ignore) any character not explicitly allowed".
    for initial in ["====", "=AAA", "AAA=BBB", "AAA", "A A=", "!!!!", "é", "\udcff", "*", "AAAA\n"]:
        end = back_end.end("PLAIN", [], initial)
        assert (str(end), end.code) == ("the initial response is not valid base64", None), initial


def test_server_first_mechanism_refuses_an_initial_response(back_end):
    for initial in ("=", "dGlt"):
        with pytest.raises(Refusal, match="takes no initial response"):
            back_end.play("CRAM-MD5", [], initial)
    assert back_end.sent == []


def test_mechanism_is_found_without_regard_to_case(back_end):
    assert back_end.play("pLaIn", [TIM]) == IDENTITY


@pytest.mark.parametrize("name", ["", "X", "PLAIN ", "\u017fcram-\u017fha-1", "\udcff", "scram-sha-256-plus"])
def test_unknown_mechanism_is_refused(back_end, name):
    with pytest.raises(Refusal, match="no such authentication mechanism") as caught:
        back_end.play(name, [])
    assert caught.value.code is None


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"])
def test_clear_text_mechanism_is_refused_where_it_is_not_allowed(back_end, name):
    with pytest.raises(ClearTextRefused, match="not allowed on this connection") as caught:
        back_end.play(name, [], clear_text=False)
    assert caught.value.code == "AUTH"
    assert back_end.sent == []


@pytest.mark.parametrize("name", [name for name in MECHANISMS if name != "LOGIN"])
def test_cancelling_any_first_challenge_is_a_refusal_that_asked_nobody(name):
    back_end = BackEnd()
    with pytest.raises(Refusal, match="cancelled") as caught:
        back_end.play(name, [None], certificate="tim", binding=b"x" * 32)
    assert caught.value.code is None
    assert back_end.asked == []


def test_login_can_be_cancelled_at_either_challenge():
    for responses in ([None], [b"tim", None]):
        back_end = BackEnd()
        with pytest.raises(Refusal, match="cancelled"):
            back_end.play("LOGIN", responses)
        assert back_end.asked == []


def test_dialogue_is_closed_however_it_ends():
    ends = []

    def run(_context):
        try:
            yield from Challenge(b"one")
            yield from Challenge(b"two")
            return Identity("a", None, "b")
        finally:
            ends.append("closed")

    def answer(request):
        if request == Challenge(b"one"):
            return b""
        raise StoreUnavailable

    table = {"X-TWO": Mechanism(run)}
    with pytest.raises(StoreUnavailable):
        exchange("X-TWO", None, make_context(mechanisms=table), answer)
    assert ends == ["closed"]
    with pytest.raises(Refusal, match="cancelled"):
        exchange("X-TWO", None, make_context(mechanisms=table), lambda request: None)
    assert ends == ["closed"] * 2
    assert BackEnd().play("X-TWO", [b"", b""], mechanisms=table).owner == "b"
    assert ends == ["closed"] * 3


def test_stop_iteration_of_the_answering_side_is_not_taken_for_the_end():
    def answer(request):
        raise StopIteration(Identity("mallory", None, "mallory"))

    with pytest.raises(StopIteration):
        exchange("PLAIN", None, make_context(), answer)


def test_third_party_adds_a_mechanism_by_a_row_of_the_table():
    def run(_context):
        name = (yield from Challenge(b"who?")).decode()
        secret = yield from LookUp(name)
        return Identity(name, None, f"{secret}")

    table = {**MECHANISMS, "X-WHO": Mechanism(run, needs=(frozenset({"trust"}),))}
    assert "X-WHO" not in available(make_context(mechanisms=table))
    assert list(available(make_context(mechanisms=table, has=frozenset({"trust"})))) == ["X-WHO"]
    back_end = BackEnd(secrets={"tim": "deep"})
    assert back_end.play("x-who", [], "dGlt", mechanisms=table, has=frozenset({"trust"})) == ("tim", None, "deep")


def names(**fields):
    return list(available(make_context(**fields)))


def test_everything_is_offered_in_order_of_preference():
    assert names(certificate="tim", binding=b"x") == list(MECHANISMS)
    assert list(MECHANISMS)[:3] == ["EXTERNAL", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]


def test_nothing_is_offered_for_nothing():
    assert names(has=frozenset()) == []


@pytest.mark.parametrize(
    ("need", "offered"),
    [
        (PASSWORDS, ["PLAIN", "LOGIN"]),
        (TOKENS, ["OAUTHBEARER", "XOAUTH2"]),
        (CLEAR_SECRETS, ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"]),
        (scram_secrets("SHA-1"), ["SCRAM-SHA-1"]),
        (scram_secrets("SHA-256"), ["SCRAM-SHA-256"]),
    ],
)
def test_mechanisms_are_offered_by_what_the_back_end_has(need, offered):
    assert names(has=frozenset({need})) == offered


def test_mechanisms_are_offered_by_what_the_connection_is():
    assert names(has=frozenset(), certificate="tim") == ["EXTERNAL"]
    assert names(has=frozenset(), binding=b"x") == []
    assert names(has=frozenset({scram_secrets("SHA-256")}), binding=b"x") == ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]
    assert names(clear_text=False) == ["SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5"]


def test_names_of_the_table_are_mechanism_names():
    # RFC 4422 section 3.1: 1 to 20 upper-case letters, digits, hyphens and underscores.
    assert all(1 <= len(name) <= 20 and name == name.upper() and name.isascii() for name in MECHANISMS)


def test_secrets_do_not_show_in_requests_and_contexts():
    secret = "tanstaaf"
    shown = repr(
        [
            CheckPassword("tim", secret),
            CheckToken("tim", secret),
            Compute(lambda: secret),
            make_context(key=secret.encode(), nonce=lambda: secret),
        ]
    )
    assert secret not in shown
    assert "tim" in shown


def test_rejected_credentials_tell_whose_they_were_said_to_be(back_end):
    with pytest.raises(CredentialsRejected, match=r"^authentication failed$") as caught:
        back_end.play("PLAIN", [b"\0tim\0wrong"])
    assert (caught.value.name, caught.value.code) == ("tim", "AUTH")
