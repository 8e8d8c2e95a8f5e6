"""SCRAM: the vectors of RFC 5802 and RFC 7677, an independent client as the oracle, channel binding, sameness."""

import base64
import hashlib
import hmac
import re

import pytest
import required
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mechanisms_back_end import BackEnd

from geventpop3.auth import ClearSecret, ScramSecret, Secret
from geventpop3.auth.mechanisms import (
    CLEAR_SECRETS,
    MECHANISMS,
    Compute,
    CredentialsRejected,
    FindOwner,
    LookUp,
    MayActAs,
    Mechanism,
    scram_secrets,
)
from geventpop3.auth.schemes import parse_secret
from geventpop3.errors import AuthenticationFailed, Refusal

BINDING = hashlib.sha256(b"a certificate").digest()
STORED = frozenset({scram_secrets("SHA-1"), scram_secrets("SHA-256")})
CLEAR = frozenset({CLEAR_SECRETS})
SALT = b"sixteen octets.."
TEXT = st.text('aZ0 ,=%"\u00ad\u00a0\u0308ü½ß\u2168\ufb01日', min_size=1, max_size=8)
QUICK_SECRETS = ScramSecret.of(b"pencil", "SHA-256", salt=SALT, iterations=1)


def b64(octets):
    return base64.b64encode(octets)


class Client:
    """A client of our own that can be made to err; ``steps`` are responses for ``BackEnd.play``."""

    def __init__(self, name=b"user", password=b"pencil", *, header=b"n,,", binding=b"", nonce=b"nonce", **faults):
        self.bare = faults.get("bare", b"n=%b,r=%b" % (name, nonce))
        self.header, self.binding, self.password = header, binding, password
        self.faults = faults

    @property
    def steps(self):
        return [self.header + self.bare, self.final, self.end]

    def final(self, server_first):
        found = re.fullmatch(rb"r=(nonce[!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]*)", server_first)
        nonce, salt, iterations = found.groups()
        salted = hashlib.pbkdf2_hmac("sha256", self.password, base64.b64decode(salt), int(iterations))
        client_key = hmac.digest(salted, b"Client Key", "sha256")
        bound = self.faults.get("c", b64(self.header + self.binding))
        without_proof = b"c=%b,r=%b" % (bound, self.faults.get("r", nonce)) + self.faults.get("extension", b"")
        self.message = b",".join((self.bare, server_first, without_proof))
        signature = hmac.digest(hashlib.sha256(client_key).digest(), self.message, "sha256")
        self.verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), self.message, "sha256")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return b"%b,p=%b" % (without_proof, self.faults.get("p", b64)(proof))

    def end(self, server_final):
        assert server_final == b"v=" + b64(self.verifier)
        return self.faults.get("end", b"")


@pytest.fixture
def back_end():
    return BackEnd(secrets={"user": QUICK_SECRETS})


def test_sha_1_example_of_the_rfc():
    # RFC 5802 section 5.
    secret = ScramSecret.of(b"pencil", "SHA-1", salt=base64.b64decode("QSXCR+Q6sek8bf92"), iterations=4096)
    back_end = BackEnd(secrets={"user": secret})
    final = b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
    responses = [b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL", final, b""]
    identity = back_end.play("SCRAM-SHA-1", responses, has=STORED, nonce=lambda: "3rfcNHYJY1ZVvWVs7j")
    assert identity == ("user", None, "<user>")
    assert back_end.sent == [
        b"",
        b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
    ]
    assert back_end.asked == [LookUp("user"), FindOwner("user")]


def test_sha_256_example_of_the_rfc():
    # RFC 7677 section 3.
    secret = ScramSecret.of(b"pencil", salt=base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), iterations=4096)
    back_end = BackEnd(secrets={"user": secret})
    final = (
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    )
    initial = b64(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO").decode()
    back_end.play("SCRAM-SHA-256", [final, b""], initial, has=STORED, nonce=lambda: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")
    assert back_end.sent == [
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    ]


def scramp_steps(mechanism, name, password, binding=None):
    scramp = required.module("scramp")
    channel = None if binding is None else ("tls-server-end-point", binding)
    client = scramp.ScramClient([mechanism], name, password, channel_binding=channel)

    def final(server_first):
        client.set_server_first(server_first.decode())
        return client.get_client_final().encode()

    def end(server_final):
        client.set_server_final(server_final.decode())
        return b""

    return [client.get_client_first().encode(), final, end]


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("binding", [None, BINDING])
@pytest.mark.parametrize("hash_name", ["SHA-1", "SHA-256"])
@pytest.mark.parametrize("name", ["user", "a=b,=2C", "jürgen@example.org"])
def test_independent_client_logs_in(hash_name, binding, stored, name):
    password = "pass wörd=,½"
    secret = ScramSecret.of(password.encode(), hash_name) if stored else ClearSecret(password.encode())
    back_end = BackEnd(secrets={name: secret})
    mechanism = f"SCRAM-{hash_name}{'-PLUS' if binding else ''}"
    has = STORED if stored else CLEAR
    steps = scramp_steps(mechanism, name, password, binding)
    assert back_end.play(mechanism, steps, has=has, binding=binding) == (name, None, f"<{name}>")
    with pytest.raises(CredentialsRejected, match=r"^authentication failed$"):
        back_end.play(mechanism, scramp_steps(mechanism, name, "wrong", binding), has=has, binding=binding)
    assert len(back_end.sent) == 2


@given(TEXT, TEXT)
@settings(max_examples=12, deadline=None)
def test_independent_client_logs_in_with_any_name_and_password_that_can_be_prepared(name, password):
    required.module("scramp")
    from scramp.utils import saslprep as oracle

    prepared = oracle(name)
    assume(prepared and oracle(password))
    steps = scramp_steps("SCRAM-SHA-256", name, password)
    back_end = BackEnd(secrets={prepared: ScramSecret.of(password.encode())})
    assert back_end.play("SCRAM-SHA-256", steps, has=STORED).owner == f"<{prepared}>"


def test_client_of_our_own_logs_in(back_end):
    client = Client(extension=b",x=1,y=a=b")
    assert back_end.play("SCRAM-SHA-256", client.steps, has=STORED) == ("user", None, "<user>")
    client = Client(bare=b"n=user,r=nonce,a=1,Z=z")
    assert back_end.play("SCRAM-SHA-256", client.steps, has=STORED).owner == "<user>"


def test_name_is_prepared_for_the_look_up_but_used_as_received_in_the_proof(back_end):
    client = Client(name="us\u00ader".encode())
    assert back_end.play("SCRAM-SHA-256", client.steps, has=STORED).owner == "<user>"


def test_authorization_identity_needs_the_policy(back_end):
    client = Client(header=b"n,a=bo=2Css,")
    with pytest.raises(AuthenticationFailed, match="do not open the maildrop of another user"):
        back_end.play("SCRAM-SHA-256", client.steps, has=STORED)
    assert len(back_end.sent) == 2
    back_end.may_act = {("user", "bo,ss")}
    assert back_end.play("SCRAM-SHA-256", client.steps, has=STORED) == ("user", "bo,ss", "<bo,ss>")
    assert back_end.asked == [LookUp("user"), FindOwner("user"), MayActAs("user", "bo,ss"), FindOwner("bo,ss")]
    client = Client(b"user", b"wrong", header=b"n,a=bo=2Css,")
    with pytest.raises(AuthenticationFailed, match=r"^authentication failed$"):
        back_end.play("SCRAM-SHA-256", client.steps, has=STORED)
    assert back_end.asked == [LookUp("user")]


def test_name_that_is_proven_and_has_no_maildrop_fails_before_the_server_proves_itself(back_end):
    back_end.strangers = {"user"}
    with pytest.raises(CredentialsRejected):
        back_end.play("SCRAM-SHA-256", Client().steps, has=STORED)
    assert len(back_end.sent) == 2


def test_last_response_must_be_empty_and_may_be_a_cancel(back_end):
    with pytest.raises(Refusal, match="malformed message of SCRAM"):
        back_end.play("SCRAM-SHA-256", Client(end=b"x").steps, has=STORED)
    with pytest.raises(Refusal, match="cancelled"):
        back_end.play("SCRAM-SHA-256", Client(end=None).steps, has=STORED)


@pytest.mark.parametrize(
    "client",
    [
        Client(password=b"wrong"),
        Client(r=b"nonce"),
        Client(r=b"other"),
        Client(c=b"eSws"),
        Client(c=b"biwsYQ=="),
        Client(c=b"===="),
        Client(p=lambda proof: b64(proof[:-1])),
        Client(p=lambda proof: b64(proof + b"x")),
        Client(p=lambda proof: b64(bytes(32))),
        Client(p=lambda proof: b64(proof[::-1])),
        Client(name=b"nobody"),
        Client(name=b"hashed"),
        Client(name=b"sha-1"),
    ],
)
def test_what_does_not_fit_fails_with_the_same_words_at_the_same_step(back_end, client):
    back_end.secrets["hashed"] = parse_secret("{PBKDF2}$1$salt$1$" + "00" * 20)
    back_end.secrets["sha-1"] = ScramSecret.of(b"pencil", "SHA-1", iterations=1)
    with pytest.raises(CredentialsRejected, match=r"^authentication failed$") as caught:
        back_end.play("SCRAM-SHA-256", client.steps, has=STORED)
    assert caught.value.code == "AUTH"
    assert len(back_end.sent) == 2
    assert back_end.asked == [LookUp(caught.value.name)]


MALFORMED_FIRST = [
    b"",
    b"n",
    b"n,",
    b"n,,",
    b"n,,n=user",
    b"n,,n=user,r=",
    b"n,,n=,r=nonce",
    b"n,,r=nonce,n=user",
    b"n,n=user,r=nonce",
    b"N,,n=user,r=nonce",
    b"x,,n=user,r=nonce",
    b"p,,n=user,r=nonce",
    b"p=,,n=user,r=nonce",
    b"p=a_b,,n=user,r=nonce",
    b"n,a=,n=user,r=nonce",
    b"n,b=x,n=user,r=nonce",
    b"n,,m=x,n=user,r=nonce",
    b"n,,n=user,r=nonce,m=x",
    b"n,,n=user,r=nonce,x",
    b"n,,n=user,r=nonce,",
    b"n,,n=user,r=nonce,x=",
    b"n,,n=user,r=non ce",
    b"n,,n=user,r=non\xc3\xa9",
    b"n,,n=user,r=nonce\n",
    b"n,,n=user,r=" + b"x" * 513,
    b"n,,n=us=2cer,r=nonce",
    b"n,,n=us=er,r=nonce",
    b"n,,n=user=,r=nonce",
    b"n,a==3,n=user,r=nonce",
    b"n,,n=us\0er,r=nonce",
    b"F,n,,n=user,r=nonce",
]


def test_first_messages_that_are_malformed(back_end):
    ends = {message: back_end.end("SCRAM-SHA-256", [message], has=STORED) for message in MALFORMED_FIRST}
    assert [message for message, end in ends.items() if not str(end).startswith("malformed ") or end.code] == []
    assert back_end.asked == []


def test_bad_names_are_refused_before_anybody_is_asked(back_end):
    for name in [b"us\ner", b"\xff", "\u00ad".encode(), b"x" * 321, b"\t", b"=2C" * 321]:
        for message in (b"n,,n=%b,r=nonce" % name, b"n,a=%b,n=user,r=nonce" % name):
            with pytest.raises(AuthenticationFailed, match=r"^the name"):
                back_end.play("SCRAM-SHA-256", [message], has=STORED)
            assert back_end.asked == []


MALFORMED_FINAL = [
    Client(p=lambda proof: b""),
    Client(p=lambda proof: b"===="),
    Client(p=lambda proof: b64(proof).rstrip(b"=")),
    Client(p=lambda proof: b64(proof) + b",x=1"),
    Client(p=lambda proof: b64(proof) + b"\n"),
    Client(c=b""),
    Client(c=b"bi ws"),
    Client(r=b""),
    Client(extension=b",m=1"),
    Client(extension=b",x"),
    Client(extension=b",p=AAAA"),
]


def test_final_messages_that_are_malformed(back_end):
    for client in MALFORMED_FINAL:
        end = back_end.end("SCRAM-SHA-256", client.steps, has=STORED)
        assert (str(end), client.faults) == ("malformed message of SCRAM", client.faults)
        assert len(back_end.sent) == 2


def test_nonce_is_fresh_each_time_and_follows_the_clients(back_end):
    seen = set()
    for _ in range(3):
        back_end.play("SCRAM-SHA-256", Client().steps, has=STORED)
        seen.add(back_end.sent[1])
    assert len(seen) == 3


# Channel binding, RFC 5802 section 6.

PLUS = {"has": STORED, "binding": BINDING}


def test_channel_binding_binds(back_end):
    client = Client(header=b"p=tls-server-end-point,,", binding=BINDING)
    assert back_end.play("SCRAM-SHA-256-PLUS", client.steps, **PLUS).owner == "<user>"


@pytest.mark.parametrize("binding", [b"", BINDING[:-1], hashlib.sha256(b"of somebody in the middle").digest()])
def test_other_channel_fails(back_end, binding):
    client = Client(header=b"p=tls-server-end-point,,", binding=binding)
    with pytest.raises(CredentialsRejected, match=r"^authentication failed$"):
        back_end.play("SCRAM-SHA-256-PLUS", client.steps, **PLUS)


def test_client_that_thinks_there_is_no_channel_binding_was_lied_to(back_end):
    client = Client(header=b"y,,")
    with pytest.raises(CredentialsRejected, match="possible downgrade attack") as caught:
        back_end.play("SCRAM-SHA-256", client.steps, **PLUS)
    assert (caught.value.name, caught.value.code) == ("user", "AUTH")
    assert len(back_end.sent) == 1
    assert back_end.play("SCRAM-SHA-256", client.steps, has=STORED).owner == "<user>"
    plain = {name: mechanism for name, mechanism in MECHANISMS.items() if not name.endswith("-PLUS")}
    assert back_end.play("SCRAM-SHA-256", client.steps, mechanisms=plain, **PLUS).owner == "<user>"


def test_client_that_knows_no_channel_binding_may_do_without(back_end):
    assert back_end.play("SCRAM-SHA-256", Client().steps, **PLUS).owner == "<user>"


@pytest.mark.parametrize("kind", [b"tls-unique", b"tls-exporter", b"TLS-SERVER-END-POINT", b"x"])
def test_unknown_channel_binding_type_fails(back_end, kind):
    client = Client(header=b"p=%b,," % kind, binding=BINDING)
    with pytest.raises(CredentialsRejected, match="type is not supported"):
        back_end.play("SCRAM-SHA-256-PLUS", client.steps, **PLUS)


@pytest.mark.parametrize(
    ("mechanism", "header"),
    [
        ("SCRAM-SHA-256", b"p=tls-server-end-point,,"),
        ("SCRAM-SHA-256-PLUS", b"n,,"),
        ("SCRAM-SHA-256-PLUS", b"y,,"),
    ],
)
def test_channel_binding_goes_with_plus_alone(back_end, mechanism, header):
    with pytest.raises(CredentialsRejected, match="channel binding requires a mechanism named -PLUS"):
        back_end.play(mechanism, Client(header=header, binding=BINDING).steps, **PLUS)


def test_plus_in_a_table_without_its_need_still_needs_a_channel(back_end):
    table = {"SCRAM-SHA-256-PLUS": Mechanism(MECHANISMS["SCRAM-SHA-256-PLUS"].run)}
    with pytest.raises(CredentialsRejected, match="type is not supported"):
        back_end.play("SCRAM-SHA-256-PLUS", Client(header=b"p=tls-server-end-point,,").steps, mechanisms=table)


# Sameness: unknown names, names without a fit secret, wrong passwords.


def fail(back_end, name, **context):
    """The server-first message without its nonce, and the requests by type."""
    with pytest.raises(CredentialsRejected, match=r"^authentication failed$"):
        back_end.play("SCRAM-SHA-256", Client(name, b"wrong").steps, **context)
    assert len(back_end.sent) == 2
    return back_end.sent[1].partition(b",")[2], [type(request) for request in back_end.asked]


def test_unknown_name_meets_the_same_salt_and_count_each_time(back_end):
    first, asked = fail(back_end, b"nobody", has=STORED)
    assert fail(back_end, b"nobody", has=STORED) == (first, asked)
    other, _ = fail(back_end, b"somebody", has=STORED)
    assert other != first
    assert fail(back_end, b"nobody", has=STORED, key=b"another server")[0] != first
    assert re.fullmatch(rb"s=[A-Za-z0-9+/]{22}==,i=4096", first)
    assert asked == [LookUp]


def test_salt_of_an_unknown_name_is_another_in_each_mechanism(back_end):
    salts = set()
    for name in ("SCRAM-SHA-1", "SCRAM-SHA-256"):
        with pytest.raises(Refusal, match="cancelled"):
            back_end.play(name, [b"n,,n=nobody,r=nonce", None], has=STORED)
        salts.add(back_end.sent[1].partition(b",")[2])
    assert len(salts) == 2


def test_iteration_counts_of_unknown_names_are_those_that_are_usual_here(back_end):
    counts = {fail(back_end, b"%d" % i, has=STORED, iterations=(1, 2))[0].rpartition(b"=")[2] for i in range(12)}
    assert counts == {b"1", b"2"}


@pytest.mark.parametrize(("has", "derives"), [(CLEAR, False), (CLEAR | STORED, False), (STORED, True)])
def test_where_some_secrets_are_clear_all_names_cost_the_same(has, derives):
    back_end = BackEnd(secrets={"user": QUICK_SECRETS, "clear": ClearSecret(b"pencil"), "bare": Secret()})
    context = {"has": has, "iterations": (1,), "derives": derives}
    shapes = {name: fail(back_end, name, **context) for name in (b"user", b"clear", b"bare", b"no")}
    assert {tuple(asked) for _, asked in shapes.values()} == {(LookUp, Compute)}
    assert shapes[b"user"][0] == b"s=%b,i=1" % b64(SALT)
    for name in (b"clear", b"bare", b"no"):
        assert fail(back_end, name, **context) == shapes[name]


def test_clear_secret_serves_scram():
    back_end = BackEnd(secrets={"user": ClearSecret(b"pencil")})
    identity = back_end.play("SCRAM-SHA-256", Client().steps, has=CLEAR, iterations=(1,))
    assert identity == ("user", None, "<user>")
    # Also where the back end did not tell of it.
    assert back_end.play("SCRAM-SHA-256", Client().steps, has=STORED, iterations=(1,)) == identity


@pytest.mark.parametrize("octets", [b"", b"p\xff", "\U0001f511".encode(), b"a\tb"])
def test_clear_secret_that_scram_cannot_use_fits_no_proof(octets):
    back_end = BackEnd(secrets={"user": ClearSecret(octets)})
    with pytest.raises(CredentialsRejected, match=r"^authentication failed$"):
        back_end.play("SCRAM-SHA-256", Client(password=octets).steps, has=CLEAR, iterations=(1,))


def test_usual_iteration_count_is_that_of_new_secrets():
    usual = ScramSecret.of(b"pencil").iterations
    assert fail(BackEnd(), b"nobody", has=STORED)[0].endswith(b",i=%d" % usual)
