"""OAuth tokens: signed ones against keys of a real issuer that rotates, fails and lies, and introspected ones."""

import base64
import json
import logging
import sys
import threading
import time
from functools import partial

import jwt
import pytest
from backends_issuer import Issuer, Key
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from geventpop3.auth.oauth import IntrospectionVerifier, JwtVerifier, jwks, verifiers
from geventpop3.auth.oauth.json_endpoint import Endpoint
from geventpop3.auth.oauth.jwks import GivenKeys, parse_keys
from geventpop3.errors import ConfigError, StoreUnavailable

ALICE = "alice@example.org"

RSA = Key("rsa-1", "RS256")
EC = Key("ec-1", "ES256")
NEXT = Key("ec-2", "ES256")
EC384 = Key("ec-384", "ES384")
ED = Key("ed-1", "EdDSA")
SET = {"keys": [RSA.public(), EC.public(), EC384.public(), ED.public()]}
ALL = tuple(jwks.ALGORITHMS)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(scope="module")
def the_issuer():
    issuer = Issuer()
    yield issuer
    issuer.close()


@pytest.fixture
def issuer(the_issuer):
    the_issuer.keys = [RSA, EC]
    the_issuer.active = {}
    the_issuer.answer = None
    the_issuer.asked.clear()
    the_issuer.forms.clear()
    return the_issuer


@pytest.fixture
def verifier(issuer, clock):
    return JwtVerifier(issuer.url, "pop3", f"{issuer.url}/jwks", clock=clock)


@pytest.fixture
def given_keys(issuer):
    """Makes verifiers that need no server."""

    def given_keys(**options):
        return JwtVerifier(issuer.url, "pop3", SET, **{"algorithms": ALL, **options})

    return given_keys


def reasons(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


# Signed tokens


@pytest.mark.parametrize("key", [RSA, EC], ids=lambda key: key.algorithm)
def test_a_good_token_opens_its_owners_maildrop(issuer, verifier, key):
    token = key.sign(issuer.claims())
    assert verifier.check_token(ALICE, token) == ALICE
    assert verifier.check_token(None, token) == ALICE


@pytest.mark.parametrize("key", [RSA, EC, EC384, ED], ids=lambda key: key.algorithm)
def test_keys_may_be_given_instead_of_published(issuer, given_keys, key):
    assert given_keys().check_token(ALICE, key.sign(issuer.claims())) == ALICE
    assert issuer.asked == []


@pytest.mark.parametrize("name", ["bob@example.org", "Alice@example.org", "", "alice"])
def test_a_token_opens_no_maildrop_by_another_name(issuer, verifier, name):
    assert verifier.check_token(name, EC.sign(issuer.claims())) is None


def test_a_policy_may_know_of_shared_maildrops(issuer, given_keys):
    shared = {(ALICE, "sales@example.org"): "sales"}
    verifier = given_keys(policy=lambda owner, name: owner if owner == name else shared.get((owner, name)))
    token = EC.sign(issuer.claims())
    assert verifier.check_token("sales@example.org", token) == "sales"
    assert verifier.check_token("boss@example.org", token) is None
    assert verifier.check_token(ALICE, token) == ALICE


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": 1}, "ExpiredSignatureError"),
        ({"exp": None}, "MissingRequiredClaimError"),
        ({"exp": "soon"}, "DecodeError"),
        ({"nbf": 1 << 40}, "ImmatureSignatureError"),
        ({"iss": "https://evil.example.org"}, "the issuer is not the expected one"),
        ({"iss": None}, "the issuer is not the expected one"),
        ({"iss": ["x"]}, "the issuer is not the expected one"),
        ({"aud": "imap"}, "InvalidAudienceError"),
        ({"aud": None}, "MissingRequiredClaimError"),
        ({"aud": ["imap", "smtp"]}, "InvalidAudienceError"),
        ({"aud": {"pop3": 1}}, "InvalidAudienceError"),
        ({"email": None}, "the claim email is missing or not a user name"),
        ({"email": ""}, "the claim email is missing or not a user name"),
        ({"email": ["alice@example.org"]}, "the claim email is missing or not a user name"),
        ({"email": "alice\n"}, "the claim email is missing or not a user name"),
        ({"email_verified": False}, "the email address is not verified"),
        ({"email_verified": "true"}, "the email address is not verified"),
    ],
)
def test_a_token_whose_claims_are_not_good_is_refused(issuer, verifier, caplog, claims, reason):
    caplog.set_level(logging.INFO, "geventpop3.auth")
    token = EC.sign(issuer.claims(**claims)) if claims.get("iss") != ["x"] else hand_signed(issuer.claims(**claims))
    assert verifier.check_token(None, token) is None
    assert reasons(caplog) == [f"token refused: {reason}"]


def hand_signed(claims):
    """A token whose claims PyJWT would not sign."""
    text = f"{encoded({'alg': 'ES256', 'kid': EC.key_id})}.{encoded(claims)}"
    signature = jwt.get_algorithm_by_name("ES256").sign(text.encode(), EC.private)
    return f"{text}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_an_audience_may_be_one_of_several(issuer, verifier):
    assert verifier.check_token(ALICE, EC.sign(issuer.claims(aud=["imap", "pop3"]))) == ALICE


def test_a_clock_may_be_a_little_late(issuer, given_keys):
    token = EC.sign(issuer.claims(exp=int(time.time()) - 60))
    assert given_keys().check_token(ALICE, token) is None
    assert given_keys(leeway=3600).check_token(ALICE, token) == ALICE


def test_another_claim_may_be_the_owner(issuer, given_keys):
    token = EC.sign(issuer.claims(email_verified=False))
    assert given_keys(owner_claim="sub").check_token("1234", token) == "1234"


@pytest.mark.parametrize(
    ("claims", "owner"),
    [
        ({"scope": "openid mail"}, ALICE),
        ({"scope": ["openid", "mail"]}, ALICE),
        ({"scp": "mail"}, ALICE),
        ({"scope": "openid", "scp": ["mail", 7]}, ALICE),
        ({"scope": "mail2 xmail"}, None),
        ({"scope": {"mail": 1}}, None),
        ({}, None),
    ],
)
def test_a_scope_may_be_needed(issuer, given_keys, claims, owner):
    assert given_keys(scope="mail").check_token(None, EC.sign(issuer.claims(**claims))) == owner


@pytest.mark.parametrize(
    ("header", "owner"), [({"typ": "at+jwt"}, ALICE), ({"typ": "application/AT+JWT"}, ALICE), ({"typ": "JWT"}, None)]
)
def test_a_type_may_be_needed(issuer, given_keys, header, owner):
    token = EC.sign(issuer.claims(), **header)
    assert given_keys(token_type="at+jwt").check_token(None, token) == owner


# Forged tokens (RFC 8725 section 2)


def forged(issuer):
    claims = issuer.claims()
    good = EC.sign(claims)
    header, payload, signature = good.split(".")
    public = RSA.private.public_key()
    yield "none", f"{encoded({'alg': 'none'})}.{payload}."
    yield "none-with-kid", f"{encoded({'alg': 'nOnE', 'kid': 'ec-1'})}.{payload}."
    yield "unsigned", f"{header}.{payload}."
    # The public key as if it were a shared secret.
    secret = json.dumps(RSA.public()).encode()
    yield "hs256", jwt.encode(claims, secret + bytes(32), "HS256", {"kid": "rsa-1"})
    modulus = public.public_numbers().n.to_bytes(256, "big")
    yield "hs256-modulus", jwt.encode(claims, modulus, "HS256", {"kid": "rsa-1"})
    # A key that the attacker brought along.
    own = Key("ec-1", "ES256")
    yield "other-key", own.sign(claims)
    yield "jwk-header", own.sign(claims, jwk=own.public())
    yield "jku-header", own.sign(claims, jku="http://127.0.0.1:9/jwks")
    yield "kid-of-another-algorithm", Key("rsa-1", "ES256").sign(claims)
    yield "other-hash", jwt.encode(claims, RSA.private, "RS512", {"kid": "rsa-1"})
    yield "kid-path", own.sign(claims, kid="../../dev/null")
    yield "kid-sql", own.sign(claims, kid="x' UNION SELECT 'key'--")
    yield "claims-changed", f"{header}.{encoded({**claims, 'email': 'boss@example.org'})}.{signature}"
    yield "crit", EC.sign(claims, crit=["exp"])
    yield "b64", f"{encoded({'alg': 'ES256', 'kid': 'ec-1', 'b64': False, 'crit': ['b64']})}..{signature}"
    yield "kid-number", f"{encoded({'alg': 'ES256', 'kid': 7})}.{payload}.{signature}"
    yield "kid-list", f"{encoded({'alg': 'ES256', 'kid': ['ec-1']})}.{payload}.{signature}"
    yield "alg-list", f"{encoded({'alg': ['ES256'], 'kid': 'ec-1'})}.{payload}.{signature}"
    yield "no-header", f".{payload}.{signature}"
    yield "list", f"{encoded([])}.{payload}.{signature}"
    yield "claims-list", hand_signed([])
    yield "five-parts", "a.b.c.d.e"
    yield "json", json.dumps(claims)
    yield "deep", f"{header}.{base64.urlsafe_b64encode(b'[' * 9000).decode()}.{signature}"
    yield "empty", ""
    yield "non-ascii", "é" + good
    yield "surrogate", "\udcff" + good
    yield "long", good + "A" * 17_000


def test_no_forged_token_opens_anything(issuer, verifier):
    opened = [what for what, token in forged(issuer) if verifier.check_token(None, token) is not None]
    assert opened == []
    assert issuer.asked == [("GET", "/jwks")]
    assert verifier.check_token(ALICE, EC.sign(issuer.claims())) == ALICE


VERIFIER = JwtVerifier("https://x", "y", SET)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.text(max_size=3), values, max_size=2),
    max_leaves=4,
)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40) | st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_no_text_is_a_token_and_none_is_an_accident(text):
    if not isinstance(text, str):
        text = ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in text)
    assert VERIFIER.check_token(None, text) is None


@settings(max_examples=50, deadline=None)
@given(
    JSON,
    st.sampled_from(["iss", "aud", "exp", "nbf", "iat", "email", "email_verified", "scope", "sub", "jti", "kid"]),
)
def test_no_claim_of_the_issuers_own_is_an_accident(value, claim):
    claims = {"iss": "https://x", "aud": "y", "email": "a", "exp": 1 << 40, claim: value}
    owner = VERIFIER.check_token(None, hand_signed(claims))
    assert owner is None or isinstance(owner, str)


# Keys


def jwks_of(*keys):
    return {"keys": list(keys)}


@pytest.mark.parametrize(
    "members",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "ES384"},
        {"kty": "RSA"},
        {"crv": "P-384"},
        {"crv": None},
        {"kty": None},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"x": None},
        {"x": 7},
        {"x": "!"},
        {"x": "AAAA"},
    ],
)
def test_a_key_that_is_for_something_else_or_broken_is_not_used(members):
    good = NEXT.public()
    table = parse_keys(jwks_of(EC.public(**members), good), ALL)
    assert ("ec-1", "ES256") not in table
    assert ("ec-2", "ES256") in table


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from([RSA, EC, ED]),
    st.dictionaries(st.sampled_from(["kty", "crv", "x", "y", "n", "e", "kid", "alg", "use", "key_ops", "d"]), JSON),
)
def test_no_key_of_the_issuers_is_an_accident(key, members):
    assert ("ec-2", "ES256") in parse_keys(jwks_of(key.public(**members), NEXT.public()), ALL)


@pytest.mark.parametrize("entry", [None, 7, "x", [], {}])
def test_what_is_no_key_is_passed_over(entry):
    assert len(parse_keys(jwks_of(entry, EC.public()), ALL)) == 2


def test_a_key_that_does_not_say_its_algorithm_serves_one_only():
    bare = RSA.public(alg=None, use=None, key_ops=None)
    assert set(parse_keys(jwks_of(bare), ("PS256", "RS256"))) == {("rsa-1", "PS256"), (None, "PS256")}


def test_a_token_without_a_key_id_is_checked_if_there_is_one_key_only(issuer):
    token = jwt.encode(issuer.claims(), EC.private, "ES256")
    one = JwtVerifier(issuer.url, "pop3", jwks_of(EC.public(kid=None)))
    two = JwtVerifier(issuer.url, "pop3", jwks_of(EC.public(), NEXT.public()))
    assert one.check_token(ALICE, token) == ALICE
    assert two.check_token(ALICE, token) is None


def test_a_key_that_is_too_short_is_not_believed(issuer):
    short = Key("short", "RS256", rsa.generate_private_key(65537, 1024))
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = short.sign(issuer.claims())
    assert JwtVerifier(issuer.url, "pop3", jwks_of(short.public())).check_token(ALICE, token) is None


@pytest.mark.parametrize(
    "document", [{}, {"keys": {}}, {"keys": [EC.public()] * 101}, {"keys": []}, {"keys": [{"kty": "oct", "k": "AA"}]}]
)
def test_a_set_without_a_usable_key_is_refused(document):
    with pytest.raises(ConfigError, match="OAuth: the JWK Set: "):
        JwtVerifier("https://x", "y", document)


def test_keys_are_fetched_once_for_many_tokens(issuer, verifier):
    for _ in range(5):
        assert verifier.check_token(ALICE, EC.sign(issuer.claims())) == ALICE
        assert verifier.check_token(ALICE, RSA.sign(issuer.claims())) == ALICE
    assert len(issuer.asked) == 1


def test_a_new_key_is_fetched_when_a_token_names_it(issuer, verifier, clock):
    verifier.check_token(ALICE, EC.sign(issuer.claims()))
    issuer.keys = [NEXT]
    clock.now += jwks.PAUSE_SECONDS
    assert verifier.check_token(ALICE, NEXT.sign(issuer.claims())) == ALICE
    assert verifier.check_token(ALICE, EC.sign(issuer.claims())) is None
    assert len(issuer.asked) == 2


def test_unknown_keys_cause_one_fetch_in_a_while(issuer, verifier, clock):
    for _ in range(3):
        for number in range(20):
            assert verifier.check_token(None, Key(f"x{number}", "ES256", NEXT.private).sign(issuer.claims())) is None
        clock.now += jwks.PAUSE_SECONDS
    assert len(issuer.asked) == 3


def test_a_token_of_another_issuer_causes_no_fetch(issuer, verifier):
    assert verifier.check_token(None, EC.sign(issuer.claims(iss="https://elsewhere"))) is None
    assert issuer.asked == []


def test_old_keys_are_fetched_again(issuer, verifier, clock):
    verifier.check_token(ALICE, EC.sign(issuer.claims()))
    issuer.keys = [RSA]
    clock.now += jwks.REFRESH_SECONDS - 1
    assert verifier.check_token(ALICE, EC.sign(issuer.claims())) == ALICE
    clock.now += 1
    assert verifier.check_token(ALICE, EC.sign(issuer.claims())) is None


def test_an_issuer_that_is_down_at_first_is_an_outage_that_is_retried_soon(issuer, verifier, clock, caplog):
    issuer.answer = b"HTTP/1.1 503 no\r\n\r\n"
    token = EC.sign(issuer.claims())
    for _ in range(3):
        with pytest.raises(StoreUnavailable) as caught:
            verifier.check_token(ALICE, token)
        assert caught.value.detail == f"{issuer.url}/jwks: status 503"
    assert len(issuer.asked) == 1
    clock.now += jwks.RETRY_SECONDS
    with pytest.raises(StoreUnavailable):
        verifier.check_token(ALICE, token)
    issuer.answer = None
    clock.now += jwks.RETRY_SECONDS
    assert verifier.check_token(ALICE, token) == ALICE
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_keys_stay_in_force_while_the_issuer_is_down_but_not_for_ever(issuer, verifier, clock):
    token = EC.sign(issuer.claims())
    assert verifier.check_token(ALICE, token) == ALICE
    issuer.answer = b""
    clock.now += jwks.REFRESH_SECONDS
    assert verifier.check_token(ALICE, token) == ALICE
    clock.now += jwks.RETRY_SECONDS
    assert verifier.check_token(ALICE, token) == ALICE
    with pytest.raises(StoreUnavailable):
        # It may be a new one.
        verifier.check_token(ALICE, NEXT.sign(issuer.claims()))
    clock.now += jwks.KEEP_SECONDS
    with pytest.raises(StoreUnavailable):
        verifier.check_token(ALICE, token)


@pytest.mark.parametrize("answer", [b"garbage", b"HTTP/1.1 200 OK\r\n\r\n{}", b'HTTP/1.1 200 OK\r\n\r\n{"keys": []}'])
def test_an_issuer_that_publishes_nonsense_is_an_outage_and_keys_stay(issuer, verifier, clock, answer):
    token = EC.sign(issuer.claims())
    issuer.answer = answer
    with pytest.raises(StoreUnavailable):
        verifier.check_token(ALICE, token)
    issuer.answer = None
    clock.now += jwks.RETRY_SECONDS
    assert verifier.check_token(ALICE, token) == ALICE
    issuer.answer = answer
    clock.now += jwks.REFRESH_SECONDS
    assert verifier.check_token(ALICE, token) == ALICE


def test_who_needs_an_unknown_key_waits_for_the_fetch_of_another_and_who_has_one_does_not(issuer, verifier, clock):
    known, new = EC.sign(issuer.claims()), NEXT.sign(issuer.claims())
    verifier.check_token(ALICE, known)
    clock.now += jwks.REFRESH_SECONDS
    began, go_on = threading.Event(), threading.Event()

    def answer():
        began.set()
        go_on.wait()
        yield b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(jwks_of(EC.public(), NEXT.public())).encode()

    issuer.answer = answer()
    owners = []
    threads = [threading.Thread(target=lambda: owners.append(verifier.check_token(ALICE, new))) for _ in range(3)]
    for thread in threads:
        thread.start()
    began.wait()
    assert verifier.check_token(ALICE, known) == ALICE
    assert owners == []
    go_on.set()
    for thread in threads:
        thread.join()
    assert owners == [ALICE] * 3
    assert len(issuer.asked) == 2


# The operator's mistakes


@pytest.mark.parametrize("algorithms", [(), ("HS256",), ("RS256", "none"), ("ES256", "HS512"), ("rs256",)])
def test_an_algorithm_that_is_no_public_signature_is_refused(algorithms):
    with pytest.raises(ConfigError, match="an algorithm of signatures must be one of RS256"):
        JwtVerifier("https://x", "y", SET, algorithms=algorithms)


@pytest.mark.parametrize(("issuer", "audience"), [("", "y"), ("https://x", "")])
def test_an_issuer_and_an_audience_are_needed(issuer, audience):
    with pytest.raises(ConfigError, match="give the expected issuer and audience"):
        JwtVerifier(issuer, audience, SET)


def test_keys_come_by_https_only():
    with pytest.raises(ConfigError, match="does not begin with https://, which is required except for this machine"):
        JwtVerifier("https://x", "y", "http://idp.example.org/jwks")


def test_without_pyjwt_the_error_names_the_extra(monkeypatch):
    for module in ["jwt", "jwt.algorithms"]:
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, module, None)
            with pytest.raises(ConfigError, match=r"OAuth needs an extra: pip install 'geventpop3\[oauth\]'"):
                JwtVerifier("https://x", "y", SET)
    monkeypatch.setattr("jwt.algorithms.has_crypto", False)
    with pytest.raises(ConfigError, match="OAuth needs an extra"):
        JwtVerifier("https://x", "y", SET)


def test_given_keys_are_those_of_the_accepted_algorithms():
    keys = GivenKeys(SET, ("ES256",))
    assert keys.find("ec-1", "ES256") is not None
    assert keys.find("rsa-1", "RS256") is None


# Introspection


@pytest.fixture
def asking(issuer, clock):
    """Makes verifiers that ask the issuer."""

    def asking(**options):
        return IntrospectionVerifier(f"{issuer.url}/introspect", *issuer.client, **{"clock": clock, **options})

    return asking


def active(**claims):
    return {"active": True, "username": "alice", **claims}


def test_a_token_that_is_active_opens_its_owners_maildrop(issuer, asking):
    issuer.active["t&=1"] = active()
    verifier = asking()
    assert verifier.check_token("alice", "t&=1") == "alice"
    assert verifier.check_token(None, "t&=1") == "alice"
    assert verifier.check_token("bob", "t&=1") is None
    assert issuer.forms == [{"token": "t&=1", "token_type_hint": "access_token"}]


@pytest.mark.parametrize(
    "answer",
    [
        {"active": False, "username": "alice"},
        {"username": "alice"},
        {"active": "true", "username": "alice"},
        {"active": 1, "username": "alice"},
        {"active": True},
        active(exp=999),
        active(exp=1000),
        active(exp="2000"),
        active(exp=True),
        active(exp=None),
        active(exp=float("nan")),
        active(username=7),
    ],
)
def test_a_token_that_is_not_is_refused(issuer, asking, answer):
    issuer.active["t"] = answer
    assert asking().check_token(None, "t") is None


@pytest.mark.parametrize(
    ("options", "claims", "owner"),
    [
        ({"audience": "pop3"}, {"aud": "pop3"}, "alice"),
        ({"audience": "pop3"}, {"aud": ["imap", "pop3"]}, "alice"),
        ({"audience": "pop3"}, {"aud": "pop3 imap"}, None),
        ({"audience": "pop3"}, {}, None),
        ({"issuer": "https://x"}, {"iss": "https://x"}, "alice"),
        ({"issuer": "https://x"}, {"iss": "https://y"}, None),
        ({"issuer": "https://x"}, {}, None),
        ({"scope": "mail"}, {"scope": "openid mail"}, "alice"),
        ({"scope": "mail"}, {"scope": "openid"}, None),
        ({"owner_claim": "email"}, {"email": "a@b", "email_verified": True}, "a@b"),
        ({"owner_claim": "email"}, {"email": "a@b", "email_verified": False}, None),
    ],
)
def test_what_a_token_is_good_for_is_checked_each_time(issuer, asking, options, claims, owner):
    issuer.active["t"] = active(**claims)
    verifier = asking(**options)
    assert [verifier.check_token(None, "t") for _ in range(2)] == [owner, owner]


def test_an_active_token_is_remembered_for_a_while_and_no_longer_than_it_lives(issuer, asking, clock):
    issuer.active = {"long": active(exp=9999), "short": active(exp=1010)}
    verifier = asking(cache_seconds=30)
    for token in ["long", "short", "long", "short"]:
        assert verifier.check_token("alice", token) == "alice"
    assert len(issuer.forms) == 2
    issuer.active = {}
    clock.now = 1010
    assert verifier.check_token("alice", "short") is None
    assert verifier.check_token("alice", "long") == "alice"
    clock.now = 1030
    assert verifier.check_token("alice", "long") is None


@pytest.mark.parametrize("token", ["", "t" * 16_385, "té"])
def test_what_cannot_be_a_token_is_asked_of_nobody(issuer, asking, token):
    issuer.active[token] = active()
    assert asking().check_token("alice", token) is None
    assert issuer.asked == []


def test_a_refused_token_is_not_remembered(issuer, asking):
    verifier = asking()
    assert verifier.check_token("alice", "t") is None
    issuer.active["t"] = active()
    assert verifier.check_token("alice", "t") == "alice"


def test_what_is_remembered_is_bounded_and_holds_no_token(issuer, asking, monkeypatch):
    monkeypatch.setattr(verifiers, "MAX_CACHED_TOKENS", 3)
    verifier = asking()
    for number in range(5):
        issuer.active[f"token-{number}"] = active(secret="x" * 1000)
        verifier.check_token("alice", f"token-{number}")
    assert len(verifier._cache) == 3
    assert "token-4" not in repr(vars(verifier))
    assert "xxx" not in repr(vars(verifier))
    verifier.check_token("alice", "token-4")
    assert len(issuer.forms) == 5


def test_an_issuer_that_does_not_know_this_client_is_an_outage(issuer):
    verifier = IntrospectionVerifier(f"{issuer.url}/introspect", "pop3", "wrong")
    with pytest.raises(StoreUnavailable) as caught:
        verifier.check_token("alice", "t")
    assert caught.value.detail == f"OAuth: {issuer.url}/introspect: status 401"


@pytest.mark.parametrize("answer", [b"", b"garbage", b"HTTP/1.1 200 OK\r\n\r\n[]"])
def test_an_issuer_that_talks_nonsense_is_an_outage(issuer, asking, answer):
    issuer.answer = answer
    with pytest.raises(StoreUnavailable):
        asking().check_token("alice", "t")


def test_an_issuer_that_is_slow_is_an_outage_in_bounded_time(issuer):
    given_up = threading.Event()
    issuer.answer = (given_up.wait() or b"" for _ in range(1))
    try:
        verifier = IntrospectionVerifier(Endpoint(f"{issuer.url}/introspect", seconds=0.05), "a", "b")
        with pytest.raises(StoreUnavailable):
            verifier.check_token("alice", "t")
    finally:
        given_up.set()


def test_tokens_are_no_passwords(issuer, asking, verifier):
    issuer.active["t"] = active()
    for each in [asking(), verifier]:
        assert each.authenticate("alice", "t") is None
        assert not each.checks_passwords()
        assert each.checks_tokens()
        assert not each.answers_at_once()


# What a check finds

OK = b"HTTP/1.0 200 OK\r\n\r\n"


def test_a_check_fetches_the_keys(verifier, issuer, given_keys):
    verifier.check()
    assert issuer.asked == [("GET", "/jwks")]
    given_keys().check()


@pytest.mark.parametrize("answer", [b"not JSON", b'{"keys": []}'])
def test_a_check_tells_that_there_are_no_keys(verifier, issuer, answer):
    issuer.answer = OK + answer
    with pytest.raises(ConfigError, match=f"OAuth: {issuer.url}/jwks: "):
        verifier.check()


def test_a_check_asks_about_a_token_that_nobody_has(issuer):
    introspection = IntrospectionVerifier(f"{issuer.url}/introspect", *issuer.client)
    introspection.check()
    issuer.answer = OK + b'{"error": "no"}'
    with pytest.raises(ConfigError, match="the response does not contain active, true or false"):
        introspection.check()
    issuer.answer = None
    with pytest.raises(ConfigError, match=r"OAuth: .*: status 401") as caught:
        IntrospectionVerifier(f"{issuer.url}/introspect", "pop3 server", "canary").check()
    assert "canary" not in str(caught.value)


def test_an_owner_has_one_form_before_a_policy_compares_it(given_keys, issuer):
    spelt = {"email": "zoe\u0308@Example.ORG"}
    token = RSA.sign(issuer.claims(**spelt))
    assert given_keys().check_token("zo\u00eb@example.org", token) == "zo\u00eb@Example.ORG"
    assert given_keys().check_token(None, token) == "zo\u00eb@Example.ORG"
    assert given_keys().check_token("Zo\u00eb@example.org", token) is None
    keep = given_keys(policy=partial(verifiers.same_name, username_case="keep"))
    assert keep.check_token("zo\u00eb@example.org", token) is None
    asked = []
    given_keys(policy=lambda owner, name: asked.append((owner, name))).check_token("x", token)
    assert asked == [("zo\u00eb@Example.ORG", "x")]
