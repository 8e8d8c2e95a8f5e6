"""OAUTHBEARER and XOAUTH2: the examples of RFC 7628, the error that is a challenge, and what is refused."""

import base64
import json

import pytest
from mechanisms_back_end import BackEnd

from geventpop3.auth.mechanisms import CheckToken
from geventpop3.errors import AuthenticationFailed, Refusal, StoreUnavailable

TOKEN = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
USER = "user@example.com"


@pytest.fixture
def back_end():
    return BackEnd(tokens={TOKEN: USER, "t": "a,=b"})


def test_oauthbearer_example_of_the_rfc(back_end):
    # RFC 7628 section 4.1.
    initial = (
        "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9QmVhcmVyI"
        "HZGOWRmdDRxbVRjMk52YjNSbGNrQmhiSFJoZG1semRHRXVZMjl0Q2c9PQEB"
    )
    assert back_end.play("OAUTHBEARER", [], initial) == (USER, None, f"<{USER}>")
    assert back_end.asked == [CheckToken(USER, TOKEN)]
    assert back_end.sent == []


def test_oauthbearer_example_of_the_rfc_that_fails(back_end):
    # RFC 7628 section 4.3: the empty token asks what is needed; "AQ==" is the answer to that.
    initial = "bixhPXVzZXJAZXhhbXBsZS5jb20sAWhvc3Q9c2VydmVyLmV4YW1wbGUuY29tAXBvcnQ9MTQzAWF1dGg9AQE="
    url = "https://example.com/.well-known/openid-config"
    with pytest.raises(AuthenticationFailed, match=r"^authentication failed$") as caught:
        back_end.play("OAUTHBEARER", [b"\x01"], initial, scope="example_scope", openid_configuration=url)
    assert (caught.value.code, caught.value.name) == ("AUTH", USER)
    news = {"status": "invalid_token", "scope": "example_scope", "openid-configuration": url}
    assert [json.loads(sent) for sent in back_end.sent] == [news]
    assert back_end.asked == []


@pytest.mark.parametrize("response", [b"\x01", b"", b"anything \xff", None])
@pytest.mark.parametrize("name", ["OAUTHBEARER", "XOAUTH2"])
def test_bad_token_is_a_failure_whatever_the_client_says_to_the_bad_news(back_end, name, response):
    # Also if it cancels: else guesses of tokens would count as nothing.
    message = {
        "OAUTHBEARER": f"n,a={USER},\x01auth=Bearer wrong\x01\x01",
        "XOAUTH2": f"user={USER}\x01auth=Bearer wrong\x01\x01",
    }[name]
    with pytest.raises(AuthenticationFailed, match=r"^authentication failed$") as caught:
        back_end.play(name, [message.encode(), response])
    assert caught.value.name == USER
    assert back_end.asked == [CheckToken(USER, "wrong")]
    assert json.loads(back_end.sent[1]) == (
        {"status": "invalid_token"} if name == "OAUTHBEARER" else {"status": "401", "schemes": "bearer"}
    )


def test_bad_base64_after_the_bad_news_does_not_unmake_the_failure(back_end):
    def not_base64(_challenge):
        raise Refusal("the response is not valid base64")

    with pytest.raises(AuthenticationFailed, match=r"^authentication failed$"):
        back_end.play("XOAUTH2", [b"user=tim\1auth=Bearer wrong\1\1", not_base64])
    with pytest.raises(Refusal, match="not valid base64"):
        back_end.play("XOAUTH2", [not_base64])


def test_back_end_that_is_down_is_no_bad_token(back_end):
    back_end.tokens = None
    answer = back_end.answer

    def down(request):
        if isinstance(request, CheckToken):
            raise StoreUnavailable
        return answer(request)

    back_end.answer = down
    with pytest.raises(StoreUnavailable):
        back_end.play("XOAUTH2", [f"user={USER}\x01auth=Bearer {TOKEN}\x01\x01".encode()])
    assert back_end.sent == [b""]


@pytest.mark.parametrize(
    ("message", "identity"),
    [
        (f"n,,\x01auth=Bearer {TOKEN}\x01\x01", (f"<{USER}>", None, f"<{USER}>")),
        (f"y,a={USER},\x01auth=bEaReR  {TOKEN}\x01\x01", (USER, None, f"<{USER}>")),
        (f"n,a={USER},\x01unknown=a = b\x01auth=Bearer {TOKEN}\x01port=\x01\x01", (USER, None, f"<{USER}>")),
        ("n,a=a=2C=3Db,\x01auth=Bearer t\x01\x01", ("a,=b", None, "<a,=b>")),
    ],
)
def test_oauthbearer_messages_that_are_right(back_end, message, identity):
    assert back_end.play("OAUTHBEARER", [message.encode()]) == identity


MALFORMED_OAUTHBEARER = [
    b"",
    b"\x01",
    b"n,,\x01",
    b"n,,\x01auth=Bearer t\x01",
    b"n,,\x01auth=Bearer t",
    b"n,,\x01auth=Bearer t\x01\x01\x01",
    b"n,,auth=Bearer t\x01\x01",
    b"n,a=,\x01auth=Bearer t\x01\x01",
    b"n,user=someuser@example.com,\x01auth=Bearer t\x01\x01",
    b"p=tls-unique,,\x01auth=Bearer t\x01\x01",
    b"x,,\x01auth=Bearer t\x01\x01",
    b"n,,\x01auth=Bearer t\x01auth=Bearer u\x01\x01",
    b"n,,\x01auth=Bearer t\0\x01\x01",
    b"n,,\x01auth=Bearer \xff\x01\x01",
    b"n,a=a=2c,\x01auth=Bearer t\x01\x01",
    b"n,a==,\x01auth=Bearer t\x01\x01",
]


def test_oauthbearer_messages_that_are_malformed(back_end):
    ends = {message: back_end.end("OAUTHBEARER", [message]) for message in MALFORMED_OAUTHBEARER}
    assert [message for message, end in ends.items() if not str(end).startswith("malformed ") or end.code] == []
    assert back_end.asked == []


@pytest.mark.parametrize(
    "credentials",
    ["", "Bearer", "Bearer ", "Bearer a b", "Bearer a\r\nb", "Bearer a=b", "Basic dDp0", "Bearer\tt", "t"],
)
def test_credentials_that_are_no_bearer_token_are_answered_as_a_bad_one(back_end, credentials):
    for name, message in (("OAUTHBEARER", "n,,\x01auth={}\x01\x01"), ("XOAUTH2", "user=u\x01auth={}\x01\x01")):
        with pytest.raises(AuthenticationFailed, match=r"^authentication failed$"):
            back_end.play(name, [message.format(credentials).encode(), b"\x01"])
        assert back_end.asked == []
        assert len(back_end.sent) == 2


def test_oauthbearer_without_a_token_is_answered_as_a_bad_one(back_end):
    with pytest.raises(AuthenticationFailed) as caught:
        back_end.play("OAUTHBEARER", [b"n,,\x01host=a\x01\x01", b"\x01"])
    assert caught.value.name == ""


def test_xoauth2_as_google_documents_it(back_end):
    back_end.tokens = {"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg": "someuser@example.com"}
    initial = (
        "dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0"
        "Q2cBAQ=="
    )
    assert back_end.play("XOAUTH2", [], initial).owner == "<someuser@example.com>"


def test_xoauth2_scope_is_in_the_bad_news(back_end):
    with pytest.raises(AuthenticationFailed):
        back_end.play("XOAUTH2", [b"user=u\x01auth=Bearer x\x01\x01", b""], scope="https://mail.example.com/")
    assert json.loads(back_end.sent[1])["scope"] == "https://mail.example.com/"


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"user=u",
        b"user=u\x01auth=Bearer t\x01",
        b"user=u\x01auth=Bearer t\x01\x01\x01",
        b"auth=Bearer t\x01user=u\x01\x01",
    ],
)
def test_xoauth2_messages_that_are_malformed(back_end, message):
    with pytest.raises(Refusal, match=r"^malformed message of XOAUTH2"):
        back_end.play("XOAUTH2", [message])


@pytest.mark.parametrize("name", [b"", b"a\r\nb", b"\xff", b"a\0b", b"x" * 321])
def test_names_beside_a_token_are_checked_as_all_names(back_end, name):
    messages = {"XOAUTH2": b"user=%b\x01auth=Bearer t\x01\x01", "OAUTHBEARER": b"n,a=%b,\x01auth=Bearer t\x01\x01"}
    for mechanism, message in messages.items():
        with pytest.raises(Refusal, match=r"^the name|^malformed"):
            back_end.play(mechanism, [message % name])
        assert back_end.asked == []


def test_token_of_the_length_of_a_line_is_taken(back_end):
    token = base64.b64encode(b"x" * 12000).decode()
    back_end.tokens = {token: "u"}
    assert back_end.play("XOAUTH2", [f"user=u\x01auth=Bearer {token}\x01\x01".encode()]).owner == "<u>"
