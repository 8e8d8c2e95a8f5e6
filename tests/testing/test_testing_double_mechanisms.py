"""The double lets a client log in by every mechanism."""

from __future__ import annotations

import base64
import hashlib
import hmac
import poplib
import ssl

import pytest
import required

from geventpop3.testing import Double


def b64(octets):
    return base64.b64encode(octets).decode("ascii")


@pytest.fixture
def double():
    with Double() as double:
        box = double.maildrop("alice", "secret", token="token-of-alice")
        box.deliver(b"one\n")
        yield double


def connect(double, certificate=None):
    context = ssl.create_default_context(cafile=double.ca)
    if certificate is not None:
        context.load_cert_chain(certificate)
    return poplib.POP3_SSL("localhost", double.tls_port, timeout=20, context=context)


def cram_md5(challenge):
    digest = hmac.new(b"secret", base64.b64decode(challenge), hashlib.md5).hexdigest()
    return f"alice {digest}".encode("ascii")


DIALOGUES = {
    "PLAIN": [b"\0alice\0secret"],
    "LOGIN": [b"alice", b"secret"],
    "CRAM-MD5": [cram_md5],
    "XOAUTH2": [b"user=alice\1auth=Bearer token-of-alice\1\1"],
    "OAUTHBEARER": [b"n,a=alice,\1auth=Bearer token-of-alice\1\1"],
    "EXTERNAL": [b""],
}


@pytest.mark.parametrize("mechanism", DIALOGUES)
def test_a_login_by_each_mechanism_is_recorded(double, mechanism):
    client = connect(double, double.client_certificate("alice") if mechanism == "EXTERNAL" else None)
    reply = client._shortcmd(f"AUTH {mechanism}")
    for answer in DIALOGUES[mechanism]:
        assert reply.startswith(b"+ ")
        octets = answer(reply[2:]) if callable(answer) else answer
        reply = client._shortcmd(b64(octets))
    assert reply == b"+OK 1 message (5 octets)"
    client.quit()
    double.wait_for(sessions=1)
    (session,) = double.sessions
    assert (session.user, session.mechanism, session.secure) == ("alice", mechanism, True)
    assert "secret" not in session.transcript
    assert "token-of-alice" not in session.transcript


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-1", "SCRAM-SHA-256"])
def test_a_login_by_scram(double, mechanism):
    scramp = required.module("scramp")
    client = connect(double)
    scram = scramp.ScramClient([mechanism], "alice", "secret")
    reply = client._shortcmd(f"AUTH {mechanism} {b64(scram.get_client_first().encode())}")
    scram.set_server_first(base64.b64decode(reply[2:]).decode())
    reply = client._shortcmd(b64(scram.get_client_final().encode()))
    scram.set_server_final(base64.b64decode(reply[2:]).decode())
    assert client._shortcmd("") == b"+OK 1 message (5 octets)"
    client.quit()
    double.wait_for(sessions=1)
    assert double.sessions[0].mechanism == mechanism


def test_all_of_them_are_announced(double):
    client = connect(double, double.client_certificate("alice"))
    announced = client.capa()["SASL"]
    client.quit()
    assert set(announced) >= {*DIALOGUES, "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}
