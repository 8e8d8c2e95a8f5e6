"""UTF8 (RFC 6856 section 2): the command, names and passwords, and messages with other octets than ASCII."""

from __future__ import annotations

import hashlib
import itertools
import os
import sys
import threading

import gevent
import pytest

from geventpop3 import ok
from geventpop3.auth import ClearSecret, SecretAuthenticator
from geventpop3.errors import ConfigError, StoreUnavailable
from geventpop3.service import utf8
from geventpop3.service.downgrade import HEADER_OCTETS, rewrite_header
from geventpop3.service.threads import ADDED_NICENESS
from geventpop3.stores.memory import MemoryStore
from geventpop3.stores.store import Chunks
from geventpop3.testing.memory_stream import MemoryStream

FOREIGN = "From: Fréd <f@example.com>\r\nSubject: Grüße\r\n\r\nbödy\r\n.\r\nend\r\n".encode()
EIGHT_BIT = "Subject: plain\r\n\r\nbödy\r\n".encode()
PLAIN = b"Subject: plain\r\n\r\nbody\r\n"
SURROGATE = (
    b"From: =?UTF-8?B?RnLDqWQ=?=\r\n <f@example.com>\r\nSubject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n\r\n"
    + "bödy\r\n..\r\nend\r\n".encode()
)
ON = "+OK UTF-8 mode is on"
REFUSED = "-ERR [UTF8] the message is available only in UTF-8 mode"


def mail(*contents: bytes) -> MemoryStore:
    return MemoryStore({"alice": contents})


def retrieved(app, *before: str) -> bytes:
    """What RETR 1 answers, all of it."""
    stream = MemoryStream(["\r\n".join([*before, "USER alice", "PASS alice", "RETR 1", ""]).encode()])
    app.run(stream)
    return bytes(stream.output).split(b"\r\n", 3 + len(before))[3 + len(before)]


# The command


def test_utf8_is_said_before_login_and_as_often_as_one_likes(app):
    assert app.talk("UTF8", "utf8", "UTF8 x", "USER alice", "PASS alice", "UTF8") == [
        ON,
        ON,
        "-ERR no argument is allowed",
        "+OK send PASS",
        "+OK 3 messages (71 octets)",
        "-ERR not allowed in the TRANSACTION state",
    ]


def test_utf8_after_login_is_for_servers_without_states(make):
    app = make(mail(FOREIGN), utf8_messages="refuse")
    app.pop3d.strict = False
    assert app.login("TOP 1 0", "UTF8", "TOP 1 0")[:2] == [REFUSED, ON]


def test_pass_comes_right_after_user_and_not_after_utf8(app):
    assert app.talk("USER alice", "UTF8", "PASS alice")[2] == "-ERR say USER first"


def test_after_utf8_there_is_no_stls(app):
    app.pop3d.offers_tls = lambda client: True
    assert app.talk("CAPA").count("STLS") == 1
    assert app.talk("UTF8", "STLS")[1] == "-ERR STLS must come before UTF8"
    assert "STLS" not in app.talk("UTF8", "CAPA")


def test_before_utf8_stls_is_the_servers(app):
    assert app.talk("STLS") == ["-ERR TLS is not available here"]


def test_what_was_said_in_clear_text_is_forgotten_when_tls_starts(app):
    @app.pop3d.on("cmd_xtls")
    def pretend(pop3d, event):
        pop3d.send_event("tls_started", "TLSv1.3", "X", client=event.client)
        return ok("begin")

    heard = app.talk("USER alice", "UTF8", "LANG de", "XTLS", "PASS alice", "STLS")
    assert heard[3:] == ["+OK begin", "-ERR say USER first", "-ERR TLS is not available here"]
    assert app.talk("XTLS") == ["+OK begin"]
    app.pop3d.send_event("tls_started", "TLSv1.3", "X")


# Names and passwords


class Asked(SecretAuthenticator):
    """Remembers what it is asked."""

    def __init__(self):
        self.heard = []

    def authenticate(self, name, password):
        self.heard.append((name, password))
        return "alice"

    def secret(self, name):
        self.heard.append(name)
        return ClearSecret("pass\u00adwörd".encode())

    def owner(self, name):
        return "alice"

    def answers_at_once(self):
        return True


DECOMPOSED = "jo\u0308rg"
COMPOSED = "j\u00f6rg"


def test_in_utf8_mode_names_and_passwords_are_prepared(make):
    asked = Asked()
    replies = make(authenticator=asked).talk("UTF8", f"USER {DECOMPOSED}", f"PASS \u2168{DECOMPOSED} \u00ad")
    assert replies[2].startswith("+OK ")
    assert asked.heard == [(COMPOSED, f"IX{COMPOSED} ")]


def test_without_it_names_are_prepared_where_they_can_be_and_passwords_are_octets(make):
    asked = Asked()
    for name in (DECOMPOSED.encode(), b"j\xf6rg", "\u0007".encode(), ("é" * 200).encode()):
        make(authenticator=asked).talk(b"USER " + name, f"PASS {DECOMPOSED}")
    assert asked.heard == [
        (COMPOSED, DECOMPOSED),
        ("j\udcf6rg", DECOMPOSED),
        ("\u0007", DECOMPOSED),
        ("é" * 200, DECOMPOSED),
    ]


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"j\xf6rg", "is not UTF-8"),
        (b"\xed\xa0\x80", "is not UTF-8"),
        (b"a\x07", "holds what SASLprep forbids"),
        ("\ue000".encode(), "holds what SASLprep forbids"),
        ("\u00ad".encode(), "is empty"),
    ],
)
def test_in_utf8_mode_what_cannot_be_prepared_is_refused(make, octets, why):
    asked = Asked()
    app = make(authenticator=asked)
    failed = []
    app.pop3d.on("authentication_failed")(lambda pop3d, event: failed.append(event.args))
    replies = app.talk("UTF8", b"USER " + octets, "USER alice", b"PASS " + octets, b"APOP " + octets + b" 0")
    assert replies[1] == f"-ERR [AUTH] the name {why}"
    assert replies[3] == f"-ERR [AUTH] the password {why}"
    assert replies[4] == f"-ERR [AUTH] the name {why}"
    # USER and a name that is none are no try; a password is one.
    assert failed == [["alice", "USER"]]
    assert asked.heard == []


def test_a_password_that_cannot_be_prepared_is_a_try(make):
    replies = make(authenticator=Asked(), max_tries=2).talk("UTF8", *["USER alice", b"PASS \xff"] * 3)
    assert len(replies) == 5


def test_what_a_plugin_makes_of_a_name_is_prepared_too(make):
    asked = Asked()
    app = make(authenticator=asked)

    @app.pop3d.plugin("cmd_user")
    def rename(pop3d, event):
        event.args[0] = "\ud800" if event.args[0] == "odd" else DECOMPOSED

    assert app.talk("UTF8", "USER odd")[1] == "-ERR [AUTH] the name is not UTF-8"
    assert app.talk("USER odd") == ["+OK send PASS"]
    app.talk("UTF8", "USER x", "PASS y")
    assert asked.heard == [(COMPOSED, "y")]


class ApopClient(MemoryStream):
    """Makes the digest of the timestamp and a secret."""

    def __init__(self, secret):
        super().__init__(self._lines(secret))

    def _lines(self, secret):
        timestamp = bytes(self.output)[bytes(self.output).index(b"<") :].strip()
        digest = hashlib.md5(timestamp + secret, usedforsecurity=False).hexdigest()
        yield f"APOP {DECOMPOSED} {digest}\r\n".encode()


@pytest.mark.parametrize("secret", ["pass\u00adwörd", "passwörd"])
def test_apop_takes_the_prepared_secret_and_that_of_older_clients(make, secret):
    # RFC 6856 section 2.2: "MUST apply SASLprep ... to the username and password used to compute the APOP digest."
    asked = Asked()
    app = make(authenticator=asked)
    for octets, status in ((secret.encode(), b"+OK"), (b"wrong", b"-ERR")):
        stream = ApopClient(octets)
        app.run(stream)
        assert stream.output.split(b"\r\n")[1].startswith(status)
    assert asked.heard == [COMPOSED, COMPOSED]


# Messages


@pytest.mark.parametrize("policy", ["as-is", "refuse", "convert"])
@pytest.mark.parametrize("content", [PLAIN, EIGHT_BIT, b"", b"\r\n" + "é\r\n".encode()])
def test_a_message_with_an_ascii_header_is_everybodys(make, policy, content):
    app = make(mail(content), utf8_messages=policy)
    expected = f"+OK {len(content)} octets\r\n".encode() + content + b".\r\n"
    assert retrieved(app) == expected
    assert retrieved(app, "UTF8") == expected


@pytest.mark.parametrize("policy", ["as-is", "refuse", "convert"])
def test_in_utf8_mode_every_message_is_sent_as_it_is(make, policy):
    app = make(mail(FOREIGN), utf8_messages=policy)
    assert retrieved(app, "UTF8").endswith("\r\nbödy\r\n..\r\nend\r\n.\r\n".encode())
    assert FOREIGN[:50] in retrieved(app, "UTF8")


def test_as_it_is_is_the_default(make):
    assert FOREIGN[:50] in retrieved(make(mail(FOREIGN)))


def test_another_policy_is_a_mistake(make):
    with pytest.raises(ConfigError, match="as-is, refuse, convert"):
        make(utf8_messages="downgrade")


def test_a_message_that_needs_utf8_mode_is_refused(make):
    app = make(mail(FOREIGN, PLAIN), utf8_messages="refuse")
    replies = app.login("RETR 1", "TOP 1 0", "LIST 1", "TOP 2 0", "DELE 1", "QUIT")
    assert replies[:3] == [REFUSED, REFUSED, f"+OK 1 {len(FOREIGN)}"]
    assert replies[3:6] == ["+OK top of message follows", "Subject: plain", ""]
    assert replies[-1] == "+OK goodbye, 1 message removed"


def test_a_message_that_needs_utf8_mode_is_converted(make):
    app = make(mail(FOREIGN), utf8_messages="convert")
    # RFC 6858 section 4 lets the sizes be those of the message itself.
    assert retrieved(app) == f"+OK {len(FOREIGN)} octets\r\n".encode() + SURROGATE + b".\r\n"
    # ... and the lines that TOP counts are the surrogate's.
    head = SURROGATE.decode("latin-1").split("\r\n\r\n")[0].split("\r\n")
    assert app.login("TOP 1 1")[1:] == [*head, "", "b\xc3\xb6dy", "."]


class Pieces(MemoryStore):
    """Hands out messages in pieces, of which some are not at hand; remembers what is open."""

    def __init__(self, content, size, failing_at=None):
        super().__init__({"alice": [content]})
        self.content, self.size, self.failing_at = content, size, failing_at
        self.closed = 0
        self.chunks = 0

    def open(self, owner):
        maildrop = super().open(owner)
        maildrop.retrieve = lambda unique_id: _Chunks(self)
        return maildrop


class _Chunks(Chunks):
    def __init__(self, store):
        self.store, self.at = store, 0
        store.chunks = 0

    def __next__(self):
        store = self.store
        if store.chunks == store.failing_at:
            raise StoreUnavailable
        store.chunks += 1
        chunk = store.content[self.at : self.at + store.size]
        self.at += store.size
        if not chunk:
            raise StopIteration
        return chunk

    def ready(self):
        return None if self.store.chunks % 2 else next(self, b"")

    def close(self):
        self.store.closed += 1


@pytest.mark.parametrize("size", [1, 7, 40, 100000])
def test_a_message_in_pieces_is_looked_at_until_its_header_ends(make, size):
    long = FOREIGN + b"x" * 2000 + b"\r\n"
    store = Pieces(long, size)
    assert retrieved(make(store, utf8_messages="convert")).endswith(SURROGATE + b"x" * 2000 + b"\r\n.\r\n")
    store = Pieces(long, size)
    assert retrieved(make(store, utf8_messages="refuse")) == f"{REFUSED}\r\n".encode()
    assert store.closed == 1
    assert store.chunks <= len(FOREIGN) // size + 2
    store = Pieces(EIGHT_BIT, size)
    for policy in ("refuse", "convert"):
        assert retrieved(make(store, utf8_messages=policy)).endswith(b"\r\n" + EIGHT_BIT + b".\r\n")
    store = Pieces(FOREIGN, size)
    assert make(store, utf8_messages="convert").login("TOP 1 0")[-1] == "."
    assert store.closed == 1


@pytest.mark.parametrize("policy", ["refuse", "convert"])
def test_a_header_that_cannot_be_read_is_refused_before_ok(make, policy):
    store = Pieces(FOREIGN, 10, failing_at=3)
    assert retrieved(make(store, utf8_messages=policy)).startswith(b"-ERR [SYS/TEMP] ")
    assert store.closed >= 1


def test_a_body_that_cannot_be_read_ends_the_session_without_an_end_of_the_message(make):
    store = Pieces(FOREIGN + b"x" * 100, 80, failing_at=2)
    answer = retrieved(make(store, utf8_messages="convert"))
    assert answer.startswith(b"+OK ")
    assert not answer.endswith(b".\r\n")


def test_where_nothing_can_be_rewritten_now_the_client_hears_so_before_ok(make, monkeypatch):
    store = Pieces(FOREIGN, 10)
    app = make(store, utf8_messages="convert")

    def busy(function, *args):
        raise StoreUnavailable

    monkeypatch.setattr(app.service._converting, "run", busy)
    assert retrieved(app).startswith(b"-ERR [SYS/TEMP] ")
    assert store.closed == 1


ENDLESS = b"X: " + b"x" * HEADER_OCTETS + b"\r\n"


@pytest.mark.parametrize("size", [5000, 10**6])
def test_of_a_header_that_is_too_long_its_beginning_counts(make, size):
    for policy in ("refuse", "convert"):
        app = make(Pieces("X: é\r\n".encode() + ENDLESS + b"\r\nbody\r\n", size), utf8_messages=policy)
        assert retrieved(app) == f"{REFUSED}\r\n".encode()
        late = ENDLESS + "X: é\r\n\r\nbody\r\n".encode()
        app = make(Pieces(late, size), utf8_messages=policy)
        assert retrieved(app).endswith(b"\r\n" + late + b".\r\n")


def test_a_header_in_one_piece_that_is_too_long_is_refused_or_sent(make):
    for policy in ("refuse", "convert"):
        app = make(mail("X: é\r\n".encode() + ENDLESS + b"\r\n", ENDLESS + "\r\né\r\n".encode()), utf8_messages=policy)
        assert app.login("TOP 1 0")[0] == REFUSED
        assert app.login("TOP 2 0")[0].startswith("+OK ")


def test_headers_of_parts_are_converted_in_whatever_pieces_they_come(make):
    content = (
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        'Content-Type: text/plain; name="é"\r\n\r\né\r\n--b--\r\n'
    ).encode()
    for store in (mail(content), Pieces(content, 9)):
        expected = content.replace('; name="é"'.encode(), b"")
        assert retrieved(make(store, utf8_messages="convert")).endswith(b" octets\r\n" + expected + b".\r\n")


def test_one_message_is_converted_at_a_time_in_a_thread_that_gives_way(make, monkeypatch):
    app = make(mail(FOREIGN), utf8_messages="convert")
    at_once, most, niceness = [], [], []

    def rewrite(header):
        at_once.append(header)
        most.append(len(at_once))
        niceness.append(os.getpriority(os.PRIO_PROCESS, 0))
        seen.wait(0.01)  # time for another thread, if there were one
        at_once.pop()
        return rewrite_header(header)

    seen = threading.Event()
    monkeypatch.setattr(utf8, "rewrite_header", rewrite)
    streams = [MemoryStream([b"USER alice\r\nPASS alice\r\nRETR 1\r\n"]) for _ in range(4)]
    app.service.site.maildrops.store.open = lambda owner: mail(FOREIGN).open(owner)
    gevent.joinall([gevent.spawn(app.run, stream) for stream in streams], timeout=60, raise_error=True)
    assert all(SURROGATE in stream.output for stream in streams)
    assert most == [1] * 4
    if sys.platform == "linux":
        assert set(niceness) == {min(os.getpriority(os.PRIO_PROCESS, 0) + ADDED_NICENESS, 19)}


def test_a_long_conversion_rests_as_long_as_it_works(make, monkeypatch):
    rests = []
    now = itertools.count()
    monkeypatch.setattr(utf8, "_sleep", rests.append)
    monkeypatch.setattr(utf8, "monotonic", lambda: float(next(now)))
    content = "Content-Type: multipart/x; boundary=b\r\nSubject: é\r\n\r\n".encode() + b"x\r\n" * 100_000
    app = make(mail(content), utf8_messages="convert")
    maildrop = mail(content).open("alice")
    maildrop.retrieve = lambda unique_id: (content,)
    app.service.site.maildrops.store.open = lambda owner: maildrop
    assert retrieved(app).endswith(b"x\r\n" * 100_000 + b".\r\n")
    # a search holds the interpreter, so none has more than a slice of the message
    assert len(rests) >= len(content) // utf8.SLICE_OCTETS
    assert set(rests) == {1.0}
