"""PLAIN, LOGIN, CRAM-MD5 and EXTERNAL: the vectors of their papers, and what is refused."""

import hashlib
import hmac
import unicodedata

import pytest
from mechanisms_back_end import BackEnd

from geventpop3.auth import ClearSecret, ScramSecret
from geventpop3.auth.mechanisms import (
    MECHANISMS,
    CheckPassword,
    CredentialsRejected,
    FindOwner,
    LookUp,
    MayActAs,
    Mechanism,
)
from geventpop3.errors import AuthenticationFailed, Refusal

PASSWORD = "tanstaaftanstaaf"

# Octets that no name may be, and why.
BAD_NAMES = [
    (b"", "the name is empty"),
    (b"tim\r", "NUL, CR or LF"),
    (b"t\nim", "NUL, CR or LF"),
    (b"root\tskip_password_check=", "SASLprep forbids"),
    (b"\x7f", "SASLprep forbids"),
    (b"\xff", "the name is not UTF-8"),
    (b"\xed\xb2\x80", "the name is not UTF-8"),
    ("\u202eadmin".encode(), "SASLprep forbids"),
    ("\u00ad".encode(), "the name is empty"),
    (b"x" * 321, "the name is longer than 320 octets"),
]
WITH_NUL = (b"t\0m", "NUL, CR or LF")


@pytest.fixture
def back_end():
    return BackEnd(passwords={"tim": PASSWORD, "Kurt": "xipj3plmq"}, secrets={"tim": ClearSecret(PASSWORD.encode())})


def fails(match):
    return pytest.raises(AuthenticationFailed, match=match)


# PLAIN


def test_plain_example_of_the_rfc(back_end):
    # RFC 4616 section 4.
    assert back_end.play("PLAIN", [b"\0tim\0tanstaaftanstaaf"]) == ("tim", None, "<tim>")
    assert back_end.asked == [CheckPassword("tim", PASSWORD)]


def test_plain_example_of_the_rfc_in_which_kurt_acts_as_ursel(back_end):
    message = b"Ursel\0Kurt\0xipj3plmq"
    with fails("do not open the maildrop of another user") as caught:
        back_end.play("PLAIN", [message])
    assert (caught.value.name, caught.value.code) == ("Kurt", "AUTH")
    back_end.may_act = {("Kurt", "Ursel")}
    assert back_end.play("PLAIN", [message]) == ("Kurt", "Ursel", "<Ursel>")
    assert back_end.asked == [CheckPassword("Kurt", "xipj3plmq"), MayActAs("Kurt", "Ursel"), FindOwner("Ursel")]


def test_who_may_act_as_another_still_cannot_be_nobody(back_end):
    back_end.may_act = {("Kurt", "Ursel")}
    back_end.strangers = {"Ursel"}
    with fails("do not open the maildrop of another user"):
        back_end.play("PLAIN", [b"Ursel\0Kurt\0xipj3plmq"])


def test_wrong_password_does_not_tell_who_may_act_as_whom(back_end):
    back_end.may_act = {("Kurt", "Ursel")}
    for message in (b"Ursel\0Kurt\0wrong", b"Ursel\0nobody\0wrong", b"\0nobody\0wrong"):
        with fails("^authentication failed$"):
            back_end.play("PLAIN", [message])
        assert [type(request) for request in back_end.asked] == [CheckPassword]


def test_authorization_identity_that_is_the_authentication_identity_needs_no_policy(back_end):
    assert back_end.play("PLAIN", [b"tim\0tim\0tanstaaftanstaaf"]) == ("tim", "tim", "<tim>")
    assert back_end.play("PLAIN", ["t\u00adim\0tim\0tanstaaftanstaaf".encode()]) == ("tim", "tim", "<tim>")


@pytest.mark.parametrize("message", [b"", b"tim", b"tim\0x", b"\0tim\0x\0", b"\0\0\0", b"\0tim\0tan\0staaf"])
def test_plain_message_without_three_fields_is_malformed(back_end, message):
    with pytest.raises(Refusal, match="malformed message of PLAIN") as caught:
        back_end.play("PLAIN", [message])
    assert caught.value.code is None


def test_plain_refuses_bad_names_before_anybody_is_asked(back_end):
    for name, why in BAD_NAMES:
        assert why in str(back_end.end("PLAIN", [b"\0%b\0x" % name]))
        assert not name or why in str(back_end.end("PLAIN", [b"%b\0tim\0tanstaaftanstaaf" % name]))
        assert back_end.asked == []


@pytest.mark.parametrize(
    ("password", "why"),
    [
        (b"", "the password is empty"),
        (b"x\r\n+OK", "NUL, CR or LF"),
        (b"\xe4", "the password is not UTF-8"),
        (b"x\ty", "SASLprep forbids"),
        ("\ufeff".encode(), "the password is empty"),
        (b"x" * 1025, "the password is longer than 1024 octets"),
    ],
)
def test_plain_refuses_bad_passwords_before_anybody_is_asked(back_end, password, why):
    with fails(why) as caught:
        back_end.play("PLAIN", [b"\0tim\0" + password])
    assert caught.value.code == "AUTH"
    assert back_end.asked == []


def test_plain_prepares_both_strings(back_end):
    back_end.passwords = {"IX": "pässwort 1\u20442 \U0001f511"}
    decomposed = unicodedata.normalize("NFD", "pässwort")
    assert back_end.play("PLAIN", [f"\0\u2168\0{decomposed}\u00a0½ \U0001f511".encode()]).owner == "<IX>"


@pytest.mark.parametrize("length", [255, 320])
def test_plain_takes_names_and_passwords_as_long_as_the_rfc_asks_and_as_an_address_can_be(length):
    # RFC 4616 section 2: "up to and including 255 octets". An address may have 320 (RFC 5321 section 4.5.3.1).
    name, other, password = "n" * length, "o" * length, "p" * length
    back_end = BackEnd(passwords={name: password}, may_act={(name, other)})
    assert back_end.play("PLAIN", [f"{other}\0{name}\0{password}".encode()]).owner == f"<{other}>"


# LOGIN


def test_login_asks_for_the_name_and_then_for_the_password(back_end):
    assert back_end.play("LOGIN", [b"tim", PASSWORD.encode()]) == ("tim", None, "<tim>")
    assert back_end.sent == [b"Username:", b"Password:"]


def test_login_takes_an_initial_response_as_the_name(back_end):
    assert back_end.play("LOGIN", [PASSWORD.encode()], "dGlt").owner == "<tim>"
    assert back_end.sent == [b"Password:"]


def test_login_has_passwords_as_pass_has_them(back_end):
    back_end.passwords = {"tim": " \udce4½\t"}
    assert back_end.play("LOGIN", [b"tim", " \udce4½\t".encode("utf-8", "surrogateescape")]).owner == "<tim>"


def test_login_fails_with_a_wrong_password_as_with_an_unknown_name(back_end):
    for name in ("tim", "tom"):
        with fails("^authentication failed$") as caught:
            back_end.play("LOGIN", [name.encode(), b"x"])
        assert caught.value.name == name


def test_login_refuses_bad_names_before_the_password_is_sent(back_end):
    for name, why in [*BAD_NAMES, WITH_NUL]:
        assert why in str(back_end.end("LOGIN", [name]))
        assert back_end.sent == [b"Username:"]


@pytest.mark.parametrize("password", [b"", b"a\0b", b"a\rb", b"a\nb", b"x" * 1025])
def test_login_refuses_bad_passwords(back_end, password):
    with fails("^the password"):
        back_end.play("LOGIN", [b"tim", password])
    assert back_end.asked == []


# CRAM-MD5


def test_cram_md5_example_of_the_rfc(back_end):
    # RFC 2195 section 2.
    identity = back_end.play(
        "CRAM-MD5",
        [b"tim b913a602c7eda7a495b4e6e7334d3890"],
        nonce=lambda: "1896.697170952",
        hostname="postoffice.reston.mci.net",
    )
    assert identity == ("tim", None, "<tim>")
    assert back_end.sent == [b"<1896.697170952@postoffice.reston.mci.net>"]
    assert back_end.asked == [LookUp("tim"), FindOwner("tim")]


def cram_md5(name, secret):
    return lambda challenge: b"%b %b" % (name, hmac.new(secret, challenge, hashlib.md5).hexdigest().encode())


def test_cram_md5_challenge_is_fresh_each_time(back_end):
    seen = set()
    for _ in range(3):
        back_end.play("CRAM-MD5", [cram_md5(b"tim", PASSWORD.encode())])
        seen.update(back_end.sent)
    assert len(seen) == 3


def test_cram_md5_takes_a_name_with_blanks(back_end):
    back_end.secrets["a b"] = ClearSecret(b"x" * 100)
    assert back_end.play("CRAM-MD5", [cram_md5(b"a b", b"x" * 100)]).owner == "<a b>"


@pytest.mark.parametrize(
    "response",
    [
        cram_md5(b"tim", b"wrong"),
        cram_md5(b"nobody", b""),
        cram_md5(b"hashed", b"x"),
        lambda challenge: cram_md5(b"tim", PASSWORD.encode())(challenge).upper().replace(b"TIM", b"tim"),
        b"tim ",
        b"tim \xff",
    ],
)
def test_cram_md5_fails_with_the_same_words(back_end, response):
    back_end.secrets["hashed"] = ScramSecret.of(b"x", iterations=1)
    with fails("^authentication failed$") as caught:
        back_end.play("CRAM-MD5", [response])
    assert caught.value.code == "AUTH"
    assert [type(request) for request in back_end.asked] == [LookUp]


def test_cram_md5_without_a_space_is_malformed(back_end):
    for message in (b"", b"tim"):
        with pytest.raises(Refusal, match="malformed message of CRAM-MD5"):
            back_end.play("CRAM-MD5", [message])


def test_cram_md5_refuses_bad_names(back_end):
    for name, why in [*BAD_NAMES, WITH_NUL]:
        assert why in str(back_end.end("CRAM-MD5", [cram_md5(name, b"x")]))
        assert back_end.asked == []


def test_proven_name_without_a_maildrop_fails(back_end):
    back_end.strangers = {"tim"}
    with pytest.raises(CredentialsRejected, match=r"^authentication failed$"):
        back_end.play("CRAM-MD5", [cram_md5(b"tim", PASSWORD.encode())])


# EXTERNAL


def test_external_is_who_the_certificate_says(back_end):
    assert back_end.play("EXTERNAL", [b""], certificate="tim") == ("tim", None, "<tim>")
    assert back_end.sent == [b""]
    assert back_end.asked == [FindOwner("tim")]


def test_external_may_name_whom_to_act_as(back_end):
    assert back_end.play("EXTERNAL", [b"tim"], certificate="tim") == ("tim", "tim", "<tim>")
    with fails("do not open the maildrop of another user"):
        back_end.play("EXTERNAL", [b"Ursel"], certificate="tim")
    back_end.may_act = {("tim", "Ursel")}
    assert back_end.play("EXTERNAL", [b"Ursel"], certificate="tim") == ("tim", "Ursel", "<Ursel>")


def test_external_needs_a_certificate_whose_name_can_be_one(back_end):
    with pytest.raises(Refusal, match="no such authentication mechanism"):
        back_end.play("EXTERNAL", [b""])
    for certificate in ("", "t\nim", "\udcff", "x" * 321):
        with fails("^the name"):
            back_end.play("EXTERNAL", [b""], certificate=certificate)
    assert back_end.asked == []


def test_external_that_stands_in_a_table_without_its_need_still_needs_a_certificate(back_end):
    table = {"EXTERNAL": Mechanism(MECHANISMS["EXTERNAL"].run)}
    with fails("there is no client certificate"):
        back_end.play("EXTERNAL", [b""], mechanisms=table)


def test_external_refuses_bad_authorization_identities(back_end):
    for name, why in [*BAD_NAMES[1:], WITH_NUL]:
        assert why in str(back_end.end("EXTERNAL", [name], certificate="tim"))
        assert back_end.asked == []
