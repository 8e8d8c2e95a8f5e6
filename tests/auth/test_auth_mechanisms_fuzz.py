"""Whatever a client sends, a mechanism ends with a Refusal or an Identity, and asks with clean strings."""

import base64
import re

from hypothesis import given, settings
from hypothesis import strategies as st
from mechanisms_back_end import BackEnd

from geventpop3.auth import ClearSecret, ScramSecret
from geventpop3.auth.mechanisms import MECHANISMS, CheckPassword, CheckToken, LookUp
from geventpop3.errors import Refusal

PIECES = [
    *[bytes([octet]) for octet in b"\0\x01\r\n\t =,npya*\x7f\x80\xff"],
    *[
        b"n,,",
        b"p=tls-server-end-point,,",
        b"y,a=x,",
        b"n=user,r=nonce",
        b"c=biws,r=nonce",
        b"c=biws,r=noncex,p=AAAA",
        b",p=AAAA",
        b",m=1",
    ],
    *[b"user=", b"auth=Bearer ", b"\x01\x01", b"user", b"pencil", b"=2C", b"=3D", "ü\u00ad\u202e\u0627".encode()],
    *[b"user 00112233445566778899aabbccddeeff", b"\xed\xb2\x80", b"x" * 300],
]
response = st.none() | st.binary(max_size=40) | st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join)
ARGUMENTS = st.text(max_size=12)
SECRETS = {"user": ClearSecret(b"pencil"), "n": ScramSecret.of(b"pencil", "SHA-1", iterations=1)}


@given(
    st.sampled_from(list(MECHANISMS)), st.lists(response, min_size=4, max_size=4), st.sampled_from([b"y", b"x" * 32])
)
@settings(max_examples=100, deadline=None)
def test_any_octets_end_in_a_refusal_or_an_identity(name, responses, binding):
    back_end = BackEnd(passwords={"user": "pencil"}, secrets=SECRETS, tokens={"pencil": "user"})
    ended = back_end.end(name, responses, certificate="user", binding=binding, iterations=(1,), nonce=lambda: "x")
    if isinstance(ended, Refusal):
        assert ended.text.isascii()
        assert ended.text.isprintable()
    else:
        assert ended.owner == "<user>"
    assert len(back_end.sent) <= 3
    for request in back_end.asked:
        if isinstance(request, (CheckPassword, CheckToken, LookUp)):
            assert not re.search(r"[\0-\x1f\x7f]", request.name or "")
        if isinstance(request, CheckPassword):
            assert not re.search(r"[\0\r\n]", request.password)


@given(ARGUMENTS.filter(lambda name: name.upper() not in MECHANISMS), st.none() | ARGUMENTS)
@settings(max_examples=40, deadline=None)
def test_any_other_name_is_no_mechanism(name, initial):
    ended = BackEnd().end(name, [], initial)
    assert isinstance(ended, Refusal)
    assert ended.text == "no such authentication mechanism"


@given(ARGUMENTS | st.binary(max_size=12).map(base64.b64encode).map(bytes.decode))
@settings(max_examples=40, deadline=None)
def test_any_initial_response_is_decoded_or_refused(initial):
    back_end = BackEnd()
    ended = back_end.end("PLAIN", [], initial)
    assert isinstance(ended, Refusal)
    assert ended.text.isascii()
    assert back_end.sent == []
