"""TLS: from the start and by STLS, what is injected before it, what goes wrong in it, what it costs others."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
import textwrap
import warnings
from contextlib import suppress
from pathlib import Path

import gevent
import pytest
import required
import tls13
from authority import NAME, Authority
from gevent import socket
from gevent import subprocess as green_subprocess
from gevent.event import Event as GreenEvent
from patience import without_blame

from geventpop3 import EAT_ALL, err, multiline, ok
from geventpop3.errors import ConfigError
from geventpop3.protocol.commands import State
from geventpop3.server import server as server_module
from geventpop3.server.server import session_over
from geventpop3.server.tls import Certificates
from geventpop3.server.tls import stream as stream_module
from geventpop3.server.tls.certificates import accept
from geventpop3.server.tls.stream import TlsError
from geventpop3.testing.memory_stream import MemoryStream

BOTH_WAYS = pytest.mark.parametrize("how", ["implicit", "stls"])
GREETING = b"+OK pop.example.org POP3 server ready\r\n"
CLOSING = b"-ERR [SYS/TEMP] the server is shutting down, try again later\r\n"


@pytest.fixture
def secured(app, authority, tmp_path):
    """Makes started servers with TLS, plain at their first address, with TLS from the start at the second."""

    def make(*, started=True, make=app, **options):
        if "tls" not in options:
            options["tls"] = Certificates([authority.pair(tmp_path)])
        options.setdefault("listen", ["127.0.0.1:0"])
        options.setdefault("tls_listen", ["127.0.0.1:0"])
        pop3d = make(**options)
        if started:
            pop3d.start()
        return pop3d

    return make


@pytest.fixture
def dial_tls(dial, authority):
    """Makes peers that speak TLS, and that want a close_notify in the end."""

    def connect(pop3d, how="implicit", context=None, name=NAME):
        plain, implicit = pop3d.getsocknames()
        peer = dial(implicit if how == "implicit" else plain)
        if how == "stls":
            peer.line()
            assert peer.command(b"STLS") == b"+OK begin TLS"
        context = context or authority.context()
        try:
            peer.sock = context.wrap_socket(peer.sock, server_hostname=name, suppress_ragged_eofs=False)
            if how == "implicit":
                assert peer.line().startswith(b"+OK")
        except ssl.SSLError:
            peer.close()
            raise
        return peer

    return connect


def hello_of(authority, name=NAME):
    """The octets with which a handshake begins."""
    outgoing = ssl.MemoryBIO()
    tls = authority.blocking_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def reasons_of(pop3d):
    reasons = []
    pop3d.on("session_finished")(lambda pop3d, event: reasons.append(event.args[0].reason))
    return reasons


@pytest.fixture
def end_of(until):
    """Waits until the one session of a server has ended, and says why; to be asked for before it begins."""

    def watch(pop3d):
        reasons = reasons_of(pop3d)

        def reason():
            until(lambda: reasons)
            (why,) = reasons
            return why

        return reason

    return watch


def login(peer):
    assert peer.command(b"USER x").startswith(b"+OK")
    assert peer.command(b"PASS x").startswith(b"+OK")


# A session


@BOTH_WAYS
def test_a_session_over_tls(secured, dial_tls, how):
    pop3d = secured()
    mail = b"Subject: long\r\n\r\n" + b".line\r\n" * 100_000
    seen = []

    @pop3d.on("tls_started", "connection")
    def look(pop3d, event):
        seen.append((event.name, event.client.secure, event.args[0] if event.name == "tls_started" else None))

    pop3d.on("cmd_top")(lambda pop3d, event: multiline("long", mail))
    peer = dial_tls(pop3d, how)
    login(peer)
    assert peer.command(b"TOP 1 2").startswith(b"+OK")
    assert peer.body() == mail.replace(b"\r\n.", b"\r\n..")
    peer.send(b"NOOP\r\nNOOP\r\nQUIT\r\n")
    assert peer.rest() == b"+OK yes\r\n" * 3  # and a close_notify, without which this raises
    expected = [("tls_started", True, "TLSv1.3"), ("connection", True, None)]
    assert seen == (expected if how == "implicit" else [("connection", False, None), expected[0]])


@BOTH_WAYS
def test_an_application_sees_what_is_known_of_tls(secured, dial_tls, how):
    pop3d = secured()
    seen = []

    @pop3d.on("cmd_list")
    def look(pop3d, event):
        client = event.client
        seen.append((client.tls.version(), client.tls.getpeercert(), client.sock.getpeername()))

    peer = dial_tls(pop3d, how)
    login(peer)
    peer.command(b"LIST")
    assert seen == [("TLSv1.3", None, peer.sock.getsockname())]


def test_without_tls_nothing_is_known_of_it(secured, dial):
    pop3d = secured()
    seen = []
    pop3d.on("connection")(lambda pop3d, event: seen.append((event.client.tls, event.client.secure)))
    dial(pop3d).line()
    assert seen == [(None, False)]


def test_there_is_one_greeting_and_the_session_goes_on_where_it_was(secured, dial, authority):
    pop3d = secured()
    pop3d.on("cmd_list", "cmd_user")(lambda pop3d, event: event.client.data.setdefault("names", []).append(event.name))
    peer = dial(pop3d)
    peer.line()
    assert peer.command(b"USER x") == b"+OK yes"
    before = list(pop3d.clients.values())
    assert peer.command(b"STLS") == b"+OK begin TLS"
    peer.sock = authority.context().wrap_socket(peer.sock, server_hostname=NAME)
    assert peer.command(b"USER x") == b"+OK yes"
    assert list(pop3d.clients.values()) == before
    assert before[0].data == {"names": ["cmd_user", "cmd_user"]}


@BOTH_WAYS
def test_octets_are_counted_as_pop3_has_them(secured, dial_tls, how):
    pop3d = secured()
    summaries = []
    pop3d.on("session_finished")(lambda pop3d, event: summaries.append(event.args[0]))
    peer = dial_tls(pop3d, how)
    peer.send(b"QUIT\r\n")
    assert peer.rest() == b"+OK yes\r\n"
    clear = len(GREETING) + len(b"+OK yes\r\n"), len(b"QUIT\r\n")
    begun = (len(b"+OK begin TLS\r\n"), len(b"STLS\r\n")) if how == "stls" else (0, 0)
    assert (summaries[0].octets_out, summaries[0].octets_in) == tuple(map(sum, zip(clear, begun, strict=True)))


@BOTH_WAYS
def test_what_an_application_says_unasked_goes_out_over_tls(secured, dial_tls, how):
    pop3d = secured()
    peer = dial_tls(pop3d, how)
    login(peer)
    (client,) = pop3d.clients.values()
    gevent.spawn(client.send, ok("by the way")).join()
    assert peer.line() == b"+OK by the way"
    assert peer.command(b"NOOP") == b"+OK yes"


def test_what_an_application_says_during_a_handshake_waits_for_its_end(secured, dial, authority, until):
    pop3d = secured()
    for number, address in enumerate(pop3d.getsocknames()):
        peer = dial(address)
        if not number:
            peer.line()
            peer.command(b"STLS")
        until(lambda: pop3d.clients)
        (client,) = pop3d.clients.values()
        gevent.spawn(client.send, ok("by the way")).join()
        peer.sock = authority.context().wrap_socket(peer.sock, server_hostname=NAME)
        said = [peer.line(), peer.line()] if number else [peer.line()]
        assert said == ([GREETING.strip()] if number else []) + [b"+OK by the way"]
        peer.close()
        until(lambda: not pop3d.clients)


# STLS


def test_stls_that_cannot_be_is_refused_and_the_session_goes_on(secured, dial_tls):
    pop3d = secured()
    plain = dial_tls(pop3d, "stls")
    assert plain.command(b"STLS") == b"-ERR TLS is active already"
    login(plain)
    assert plain.command(b"STLS") == b"-ERR not allowed in the TRANSACTION state"
    assert plain.command(b"NOOP") == b"+OK yes"
    implicit = dial_tls(pop3d)
    assert implicit.command(b"STLS") == b"-ERR TLS is active already"
    assert implicit.command(b"STLS now") == b"-ERR no argument is allowed"
    login(implicit)


def test_stls_without_certificates_is_refused(app, dial):
    pop3d = app()
    pop3d.start()
    peer = dial(pop3d)
    peer.line()
    assert peer.command(b"STLS") == b"-ERR TLS is not available here"
    login(peer)


def test_a_server_that_is_not_strict_begins_no_tls_after_login(secured, dial, login):
    pop3d = secured(strict=False)
    peer = dial(pop3d)
    peer.line()
    assert peer.command(b"PASS x") == b"+OK yes"
    assert pop3d.clients
    assert peer.command(b"STLS") == b"-ERR TLS is not available here"


def test_a_unix_socket_needs_no_tls(secured, dial, tmp_path):
    path = str(tmp_path / "pop3.sock")
    peer = dial(secured(listen=[f"unix:{path}"]))
    peer.line()
    assert peer.command(b"STLS") == b"-ERR TLS is not available here"


def test_a_listener_may_refuse_stls_or_allow_it(secured, dial, authority):
    pop3d = secured()
    answers = [err("not now"), ok("come in")]
    pop3d.on("cmd_stls")(lambda pop3d, event: answers.pop(0))
    peer = dial(pop3d)
    peer.line()
    assert peer.command(b"STLS") == b"-ERR not now"
    assert peer.command(b"USER x") == b"+OK yes"
    assert peer.command(b"STLS") == b"+OK come in"
    peer.sock = authority.context().wrap_socket(peer.sock, server_hostname=NAME)
    login(peer)


def test_where_the_answer_to_stls_is_eaten_no_tls_begins(secured, dial):
    pop3d = secured()

    @pop3d.plugin("response")
    def eat(pop3d, event):
        return EAT_ALL if event.args == ["cmd_stls"] else None

    peer = dial(pop3d)
    peer.line()
    peer.send(b"STLS\r\nUSER x\r\n")
    assert peer.line() == b"+OK yes"


def test_a_listener_that_promises_tls_which_cannot_be_closes(secured, app, dial, dial_tls, quiet, until):
    pop3d = secured()
    pop3d.on("cmd_stls")(lambda pop3d, event: ok("again"))
    reasons = reasons_of(pop3d)
    implicit = dial_tls(pop3d)
    assert implicit.command(b"STLS") == b"+OK again"
    assert implicit.rest() == b""
    bare = app()
    bare.on("cmd_stls")(lambda pop3d, event: ok("begin TLS"))
    bare_reasons = reasons_of(bare)
    bare.start()
    plain = dial(bare)
    plain.line()
    assert plain.command(b"STLS") == b"+OK begin TLS"
    assert plain.rest() == b""
    for peer in (implicit, plain):
        peer.close()
    until(lambda: reasons and bare_reasons)
    assert reasons == ["TLS handshake failed: TLS is active already"]
    assert bare_reasons == ["TLS handshake failed: there are no certificates"]
    assert len(quiet()) == 2


# With the maildrop service


@pytest.fixture
def postoffice(secured, serve, maildrops):
    def make(**options):
        pop3d = secured(make=serve, started=False, **options)
        pop3d.register(maildrops)
        pop3d.start()
        return pop3d

    return make


def capabilities(peer):
    assert peer.command(b"CAPA").startswith(b"+OK")
    return set(peer.body().split(b"\r\n"))


def test_stls_is_listed_only_while_it_would_work(postoffice, dial, dial_tls):
    pop3d = postoffice()
    plain = dial(pop3d)
    plain.line()
    assert b"STLS" in capabilities(plain)
    assert plain.command(b"USER alice").startswith(b"+OK")
    assert plain.command(b"PASS alice").startswith(b"+OK")
    assert b"STLS" not in capabilities(plain)
    for how in ("implicit", "stls"):
        assert b"STLS" not in capabilities(dial_tls(pop3d, how))


def test_a_name_that_was_given_before_tls_is_forgotten(postoffice, dial, authority):
    pop3d = postoffice()
    peer = dial(pop3d)
    peer.line()
    assert peer.command(b"USER alice").startswith(b"+OK")
    assert peer.command(b"STLS").startswith(b"+OK")
    peer.sock = authority.context().wrap_socket(peer.sock, server_hostname=NAME)
    assert peer.command(b"PASS alice") == b"-ERR say USER first"
    assert peer.command(b"USER alice").startswith(b"+OK")
    assert peer.command(b"PASS alice").startswith(b"+OK 1 message")


class TlsSession:
    """A session without a socket: some lines in the clear, then STLS, then lines over TLS, each once its reply came."""

    def __init__(self, pop3d, context, clear, secure, peer=("192.0.2.1", 40000)):
        self.replies = []
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=NAME)
        self._stream = MemoryStream(self._client(clear, secure))
        self._at = 0
        session_over(pop3d, self._stream, peer, ("192.0.2.2", 110)).run()

    def _heard(self):
        at, self._at = self._at, len(self._stream.output)
        return bytes(self._stream.output[at:])

    def _client(self, clear, secure):
        for line in (*clear, b"STLS"):
            self._heard()
            yield line + b"\r\n"
            self.replies.append(self._heard())
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                yield self._outgoing.read()
                self._incoming.write(self._heard())
        yield self._outgoing.read()
        for line in secure:
            self._tls.write(line + b"\r\n")
            yield self._outgoing.read()
            self._incoming.write(self._heard())
            self.replies.append(self._tls.read())


def test_a_clear_text_login_from_elsewhere_is_refused_without_tls_and_allowed_with_it(postoffice, authority):
    session = TlsSession(
        postoffice(), authority.blocking_context(), [b"CAPA", b"USER alice"], [b"USER alice", b"PASS alice"]
    )
    capa, user, stls, *secure = session.replies
    assert b"\r\nUSER\r\n" not in capa
    assert user.startswith(b"-ERR [AUTH] ")
    assert stls == b"+OK begin TLS\r\n"
    assert secure == [b"+OK send PASS\r\n", b"+OK 1 message (14 octets)\r\n"]


# What comes before TLS and is not of it

INJECTED = b"STLS\r\nUSER x\r\nPASS x\r\nDELE 1\r\nQUIT\r\n"


def commands_of(pop3d):
    heard = []

    @pop3d.on("cmd_user", "cmd_pass", "cmd_dele", "cmd_quit", "cmd_stls", priority=-1)
    def hear(pop3d, event):
        heard.append(event.name)

    return heard


def test_what_is_sent_behind_stls_never_runs_however_it_is_cut(secured, quiet):
    pop3d = secured(started=False)
    heard, reasons = commands_of(pop3d), reasons_of(pop3d)
    cuts = [[INJECTED[:at], INJECTED[at:]] for at in range(1, len(INJECTED))]
    octets = [INJECTED[at : at + 1] for at in range(len(INJECTED))]
    for chunks in ([INJECTED], *cuts, octets):
        heard.clear()
        stream = MemoryStream(chunks)
        client = session_over(pop3d, stream, ("127.0.0.1", 40000), ("127.0.0.1", 110))
        client.run()
        assert heard == ["cmd_stls"]
        assert client.state is State.AUTHORIZATION
        replies, begun, alert = bytes(stream.output).partition(b"+OK begin TLS\r\n")
        assert (replies, begun) == (GREETING, b"+OK begin TLS\r\n")
        assert alert == b"" or alert[:1] == b"\x15"
    assert {reason.partition(":")[0] for reason in reasons} == {"no TLS after STLS", "TLS handshake failed"}
    assert len(quiet()) == len(reasons) == len(INJECTED) + 1


@pytest.mark.parametrize("at", [1, 4, 6, 7, 12, 14, 20])
def test_what_is_sent_behind_stls_closes_the_connection(secured, dial, quiet, until, at):
    pop3d = secured()
    heard, reasons = commands_of(pop3d), reasons_of(pop3d)
    peer = dial(pop3d)
    peer.line()
    peer.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.send(INJECTED[:at])
    gevent.sleep(0)
    peer.send(INJECTED[at:])
    line, _, rest = peer.rest().partition(b"\r\n")
    assert line == b"+OK begin TLS"
    assert rest == b"" or rest[:1] == b"\x15"
    peer.close()
    until(lambda: reasons)
    assert heard == ["cmd_stls"]
    assert len(quiet()) == 1


def test_a_handshake_that_does_not_wait_for_its_turn_closes(secured, end_of, dial, authority):
    pop3d = secured()
    reason = end_of(pop3d)
    hello = hello_of(authority)
    peer = dial(pop3d)
    peer.line()
    peer.send(b"STLS\r\n" + hello)
    assert peer.rest() == b"+OK begin TLS\r\n"
    peer.close()
    assert reason() == "no TLS after STLS: clear text came behind it"


# Handshakes that fail


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x16\x03\x01",
        b"\x16\x03\x01\x00\x05\x01\x00\x00\xff",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"USER x\r\n",
        b"\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03",
        b"\0" * 100,
        b"\x80\x2e\x01\x00\x02" + b"\0" * 44,
    ],
    ids=["nothing", "a beginning", "half", "HTTP", "POP3", "a hello cut short", "NUL", "SSL 2"],
)
@BOTH_WAYS
def test_a_failed_handshake_closes_with_one_quiet_line(secured, end_of, dial, quiet, octets, how):
    pop3d = secured()
    reason = end_of(pop3d)
    plain, implicit = pop3d.getsocknames()
    peer = dial(implicit if how == "implicit" else plain)
    if how == "stls":
        peer.line()
        assert peer.command(b"STLS") == b"+OK begin TLS"
    peer.send(octets)
    peer.sock.shutdown(socket.SHUT_WR)
    alert = peer.rest()
    assert alert == b"" or alert[:1] == b"\x15"
    why = reason()
    assert re.fullmatch(r"TLS handshake failed: [a-z0-9 ]+", why)  # what exactly, OpenSSL says
    (line,) = quiet()
    assert re.fullmatch(rf"session address=127\.0\.0\.1 id=\d+: {re.escape(why)}", line)
    assert not pop3d.clients


def test_a_reset_in_the_middle_of_a_handshake_is_quiet(secured, end_of, dial, quiet, until):
    pop3d = secured()
    reason = end_of(pop3d)
    peer = dial(pop3d.getsocknames()[1])
    peer.send(b"\x16\x03\x01\x02")
    until(lambda: pop3d.clients)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    assert reason() == "TLS handshake failed: Connection reset by peer"
    assert len(quiet()) == 1


def test_a_client_that_distrusts_the_certificate_says_so_and_is_closed(secured, dial_tls, quiet, until):
    pop3d = secured()
    reasons = reasons_of(pop3d)
    with pytest.raises(ssl.SSLCertVerificationError):
        dial_tls(pop3d, context=Authority().context())
    until(lambda: reasons)
    assert len(quiet()) <= 1


def test_an_application_hears_of_the_end_only_of_what_it_heard_the_beginning(secured, dial, until):
    pop3d = secured()
    heard, reasons = [], reasons_of(pop3d)
    pop3d.on("connection", "disconnected")(lambda pop3d, event: heard.append(event.name))
    peer = dial(pop3d.getsocknames()[1])
    peer.send(b"GET /\r\n")
    peer.rest()
    peer.close()
    until(lambda: reasons)
    assert heard == []
    peer = dial(pop3d)
    peer.line()
    peer.send(b"STLS\r\nX")
    peer.rest()
    peer.close()
    until(lambda: len(reasons) > 1)
    assert heard == ["connection", "disconnected"]


def old_context(authority):
    context = authority.context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@BOTH_WAYS
def test_tls_1_1_is_refused_with_an_alert(secured, end_of, dial_tls, authority, quiet, how):
    pop3d = secured()
    reason = end_of(pop3d)
    with pytest.raises(ssl.SSLError, match="ALERT_PROTOCOL_VERSION"):
        dial_tls(pop3d, how, old_context(authority))
    assert reason() == "TLS handshake failed: unsupported protocol"
    assert len(quiet()) == 1


@BOTH_WAYS
def test_tls_1_2_is_allowed(secured, dial_tls, authority, how):
    context = authority.context(maximum_version=ssl.TLSVersion.TLSv1_2)
    peer = dial_tls(secured(), how, context)
    assert peer.sock.version() == "TLSv1.2"
    login(peer)
    peer.send(b"QUIT\r\n")
    assert peer.rest() == b"+OK yes\r\n"


def s_client(pop3d, *arguments, says=b"QUIT\n"):
    host, port = pop3d.getsocknames()[0 if "-starttls" in arguments else 1]
    done = green_subprocess.run(
        [
            required.program("openssl"),
            "s_client",
            "-connect",
            f"{host}:{port}",
            "-servername",
            NAME,
            "-ign_eof",
            *arguments,
        ],
        input=says,
        stdout=green_subprocess.PIPE,
        stderr=green_subprocess.STDOUT,
        timeout=60,
        check=False,
    )
    return done.stdout.decode("utf-8", "replace")


@pytest.mark.client
@pytest.mark.parametrize("way", [(), ("-starttls", "pop3")], ids=["implicit", "stls"])
def test_openssl_sees_the_version_the_protocol_and_a_proper_end(secured, quiet, way):
    pop3d = secured()
    told = s_client(pop3d, *way, "-alpn", "pop3")
    assert "ALPN protocol: pop3" in told
    assert "New, TLSv1.3" in told
    assert "+OK yes" in told
    assert "unexpected eof" not in told
    told = s_client(pop3d, *way, "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0")
    assert "alert protocol version" in told
    told = s_client(pop3d, *way, "-tls1_2", "-no_ign_eof", says=b"R\n")
    assert "New, TLSv1.2" in told
    assert "RENEGOTIATING" in told  # to which the answer is an alert, and the session ends quietly


# What the client asks for


@BOTH_WAYS
@pytest.mark.parametrize(
    ("offered", "selected"), [([], None), (["pop3"], "pop3"), (["imap", "pop3", "h2"], "pop3")], ids=repr
)
def test_alpn_selects_pop3_and_may_be_absent(secured, dial_tls, authority, how, offered, selected):
    context = authority.context()
    if offered:
        context.set_alpn_protocols(offered)
    peer = dial_tls(secured(), how, context)
    assert peer.sock.selected_alpn_protocol() == selected
    login(peer)


@BOTH_WAYS
def test_a_client_of_another_protocol_is_refused(secured, end_of, dial_tls, authority, quiet, how):
    # RFC 7301 section 3.2. A browser that was led here must not take our words for those of a web server.
    pop3d = secured()
    reason = end_of(pop3d)
    context = authority.context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        dial_tls(pop3d, how, context)
    assert reason() == "TLS handshake failed: the peer wants another protocol"
    assert len(quiet()) == 1


@BOTH_WAYS
def test_the_name_that_a_client_asks_for_chooses_the_certificate(secured, dial_tls, authority, tmp_path, how):
    default = authority.pair(tmp_path, NAME, stem="default")
    wild = authority.pair(tmp_path, "*.example.net", stem="wild")
    pop3d = secured(tls=Certificates([default, wild]))
    loose = authority.context(check_hostname=False)

    def names(name, context=None):
        certificate = dial_tls(pop3d, how, context, name).sock.getpeercert()
        return [value for _, value in certificate["subjectAltName"]]

    assert names(NAME) == [NAME]
    assert names("mail.example.net") == ["*.example.net"]
    assert names("Mail.EXAMPLE.net") == ["*.example.net"]
    assert names("unknown.example.com", loose) == [NAME]
    assert names(None, loose) == [NAME]
    with pytest.raises(ssl.SSLCertVerificationError):
        names("unknown.example.com")


def test_a_hostile_name_gets_the_default_and_leaves_no_trace(secured, dial, authority, tmp_path, quiet):
    pairs = [authority.pair(tmp_path, NAME), authority.pair(tmp_path, "a.example.net", stem="other")]
    pop3d = secured(tls=Certificates(pairs))
    hello = hello_of(authority, "aaaaaaaa.example.net")
    peer = dial(pop3d.getsocknames()[1])
    peer.send(hello.replace(b"aaaaaaaa.", b"\xff\n\x1b]\\%s{}"))
    assert peer.sock.recv(1) == b"\x16"  # a ServerHello
    peer.close()


def test_client_certificates_are_optional_and_verified(secured, dial_tls, authority, tmp_path, quiet, until):
    pop3d = secured(tls=Certificates([authority.pair(tmp_path)], client_ca=authority.file(tmp_path)))
    seen, reasons = [], reasons_of(pop3d)
    pop3d.on("cmd_user")(lambda pop3d, event: seen.append(event.client.tls.getpeercert()))
    for how in ("implicit", "stls"):
        login(dial_tls(pop3d, how))
        login(dial_tls(pop3d, how, authority.context(authority.pair(tmp_path, "alice@example.org", stem="alice"))))
    assert seen[0] is seen[2] is None
    assert seen[1]["subjectAltName"] == seen[3]["subjectAltName"] == (("email", "alice@example.org"),)
    foreign = authority.context(Authority().pair(tmp_path, "alice@example.org", stem="mallory"))
    # In TLS 1.3 the client has done its part when the server finds out.
    with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA"):
        dial_tls(pop3d, context=foreign)
    until(lambda: len(reasons) > 0)
    assert reasons == ["TLS handshake failed: certificate verify failed"]
    assert len(quiet()) == 1


def test_an_alert_is_read_also_by_a_client_that_has_gone_on_to_speak(secured, dial_tls, authority, tmp_path):
    pop3d = secured(tls=Certificates([authority.pair(tmp_path)], client_ca=authority.file(tmp_path)))
    foreign = authority.context(Authority().pair(tmp_path, stem="mallory"))
    peer = dial_tls(pop3d, "stls", foreign)
    peer.send(b"CAPA\r\n")
    with pytest.raises(ssl.SSLError, match="ALERT_UNKNOWN_CA"):
        peer.line()


# Peers that stall


@pytest.mark.parametrize("octets", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "a beginning"])
@BOTH_WAYS
def test_a_stalled_handshake_is_ended_at_its_deadline(secured, end_of, dial, quiet, octets, how):
    pop3d = secured(handshake_deadline=0.05)
    reason = end_of(pop3d)
    plain, implicit = pop3d.getsocknames()
    peer = dial(implicit if how == "implicit" else plain)
    if how == "stls":
        peer.line()
        peer.command(b"STLS")
    peer.send(octets)
    assert peer.rest() == b""
    peer.close()
    assert reason() == "TLS handshake failed: it took too long"
    assert len(quiet()) == 1


def test_the_deadline_of_a_handshake_is_for_all_of_it(secured, end_of, dial, authority):
    pop3d = secured(handshake_deadline=0.2)
    reason = end_of(pop3d)
    hello = hello_of(authority)
    peer = dial(pop3d.getsocknames()[1])

    def drip():
        with suppress(OSError):  # the server has closed
            for at in range(len(hello) - 1):
                peer.send(hello[at : at + 1])
                gevent.sleep(0.01)

    dripping = gevent.spawn(drip)
    assert peer.rest() == b""
    dripping.kill()
    peer.close()
    assert reason() == "TLS handshake failed: it took too long"


def test_a_peer_that_stalls_after_our_flight_is_ended_too(secured, end_of, dial, authority):
    pop3d = secured(handshake_deadline=1.0)
    reason = end_of(pop3d)
    peer = dial(pop3d.getsocknames()[1])
    peer.send(hello_of(authority))
    assert peer.rest()[:1] == b"\x16"
    peer.close()
    assert reason() == "TLS handshake failed: it took too long"


def test_a_handshake_counts_to_the_login_deadline(secured, dial, until):
    pop3d = secured(login_deadline=0.1)
    reasons = reasons_of(pop3d)
    for address in pop3d.getsocknames():
        peer = dial(address)
        if address == pop3d.getsockname():
            peer.send(b"STLS\r\n")
        assert (GREETING + b"+OK begin TLS\r\n").startswith(peer.rest())
    until(lambda: len(reasons) == 2)
    assert reasons == ["login deadline"] * 2


def test_an_endless_handshake_is_cut_off(secured, end_of, dial, authority, monkeypatch):
    monkeypatch.setattr(stream_module, "_HANDSHAKE_OCTETS", 5000)
    pop3d = secured()
    reason = end_of(pop3d)
    peer = dial(pop3d.getsocknames()[1])
    # RFC 8446 appendix D.4: change_cipher_spec is ignored until the handshake is done.
    peer.send(hello_of(authority) + b"\x14\x03\x03\x00\x01\x01")
    peer.sock.recv(1)
    peer.send(b"\x17\x03\x03\x40\x00" + b"\0" * 10_000)
    peer.rest()
    peer.close()
    assert reason() == "TLS handshake failed: the handshake is too long"


@pytest.mark.slow
def test_a_thousand_stalled_handshakes_do_not_stand_in_the_way(secured, dial, dial_tls, until):
    count = 1000
    pop3d = secured(handshake_deadline=600, login_deadline=600)
    plain, implicit = pop3d.getsocknames()
    for number in range(count):
        if number % 2:
            dial(plain).send(b"STLS\r\n")
        else:
            dial(implicit).send(b"\x16\x03\x01\x02\x00\x01"[: number % 7])
    until(lambda: len(pop3d.clients) == count)
    for _ in range(20):
        for how in ("implicit", "stls"):
            peer = dial_tls(pop3d, how)
            login(peer)
            peer.send(b"RETR 1\r\nQUIT\r\n")
            assert peer.rest().endswith(b"\r\n.\r\n+OK yes\r\n")
    until(lambda: len(pop3d.clients) == count)
    pop3d.shutdown(0)


# How sessions end


@BOTH_WAYS
def test_a_farewell_arrives_encrypted(secured, dial_tls, how):
    pop3d = secured()
    peer, early = dial_tls(pop3d, how), dial_tls(pop3d, how)
    login(peer)
    pop3d.shutdown()
    assert peer.rest() == CLOSING
    assert early.rest() == CLOSING


@BOTH_WAYS
def test_shutdown_does_not_wait_for_handshakes(secured, dial, quiet, until, how):
    pop3d = secured(handshake_deadline=3600)
    reasons = reasons_of(pop3d)
    peer = dial(pop3d.getsocknames()[how == "implicit"])
    if how == "stls":
        peer.line()
        peer.command(b"STLS")
    until(lambda: pop3d.clients)
    with gevent.Timeout(20):
        pop3d.shutdown(grace=3600)
    assert peer.rest() == b""
    assert reasons == ["shutdown"]
    assert quiet() == []


def test_a_shutdown_while_stls_is_answered_is_told_over_tls_or_not_at_all(secured, dial, authority, shut_down):
    pop3d = secured()
    go, begun = GreenEvent(), GreenEvent()

    @pop3d.on("cmd_stls")
    def slow(pop3d, event):
        begun.set()
        go.wait()

    peer = dial(pop3d)
    peer.line()
    peer.send(b"STLS\r\n")
    begun.wait()
    stopping = shut_down(pop3d)
    go.set()
    assert peer.line() == b"+OK begin TLS"
    peer.sock = authority.context().wrap_socket(peer.sock, server_hostname=NAME)
    assert peer.rest() == CLOSING
    peer.close()
    stopping.get(timeout=20)


@BOTH_WAYS
def test_autologout_closes_without_a_word_but_with_a_close_notify(secured, dial_tls, how):
    pop3d = secured(autologout=1.0)
    reasons = reasons_of(pop3d)
    peer = dial_tls(pop3d, how)
    login(peer)
    assert peer.rest() == b""  # an end without close_notify would raise
    assert reasons == ["autologout"]


@BOTH_WAYS
def test_a_peer_that_never_reads_is_dropped_at_the_write_deadline(secured, end_of, dial_tls, how):
    pop3d = secured(write_deadline=0.2)
    reason = end_of(pop3d)
    pop3d.on("cmd_list")(lambda pop3d, event: multiline("endless", (b"x" * 65536 for _ in range(100_000))))
    peer = dial_tls(pop3d, how)
    login(peer)
    peer.send(b"LIST\r\n")
    assert reason() == "write deadline"


def goes_without_close_notify(peer):
    peer.send(b"NOOP\r\nNOO")
    socket.socket.shutdown(peer.sock, socket.SHUT_WR)
    assert peer.rest() == b"+OK yes\r\n"  # what came before is answered


def says_close_notify(peer):
    peer.sock.unwrap()  # returns once the server's close_notify has come


def sends_records_that_are_none(peer):
    socket.socket.send(peer.sock, b"\x17\x03\x03\x00\x20" + b"\0" * 32)
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        peer.rest()


def resets(peer):
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()


@BOTH_WAYS
@pytest.mark.parametrize(
    ("end", "why"),
    [
        (goes_without_close_notify, "disconnected"),
        (says_close_notify, "disconnected"),
        (sends_records_that_are_none, "decryption failed or bad record mac"),
        (resets, "Connection reset by peer"),
    ],
)
def test_however_a_peer_ends_its_session_over_tls_it_ends_quietly(secured, end_of, dial_tls, quiet, end, why, how):
    pop3d = secured()
    reason = end_of(pop3d)
    peer = dial_tls(pop3d, how)
    login(peer)
    end(peer)
    assert reason() == why
    assert len(quiet()) == 0


def test_last_words_are_read_also_by_a_client_that_goes_on_speaking(secured, dial_tls):
    pop3d = secured()
    peer = dial_tls(pop3d)
    peer.send(b"BOGUS\r\n" * 3)
    peer.send(b"USER x\r\n" * 1000)
    assert peer.rest() == b"-ERR unknown command\r\n" * 2 + b"-ERR unknown command, too many bad commands\r\n"


# TLS's own messages


@pytest.fixture
def handmade(secured, dial, authority, tmp_path):
    """A server, and a peer of it that makes its records by hand."""
    pop3d = secured()
    key_log = tmp_path / "keys"
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = authority.blocking_context(keylog_filename=str(key_log))
    tls = context.wrap_bio(incoming, outgoing, server_hostname=NAME)
    peer = dial(pop3d.getsocknames()[1])

    def exchange(octets):
        peer.send(octets)
        return peer.sock.recv(65536)

    tls13.handshake(incoming, outgoing, tls, exchange)
    peer.send(outgoing.read())
    context.keylog_filename = None  # which closes it

    def read():
        while True:
            try:
                return tls.read()
            except ssl.SSLWantReadError:
                incoming.write(peer.sock.recv(65536))

    assert read() == GREETING
    return pop3d, peer, tls13.Records(tls.cipher()[0], key_log), read


def test_keys_may_be_updated(handmade):
    _, peer, records, read = handmade
    for ask in (False, True, True):
        peer.send(records.key_update(ask=ask) + records.content(b"USER x\r\n"))
        assert read() == b"+OK yes\r\n"
    peer.send(records.content(b"US") + records.key_update() + records.content(b"ER x\r\n"))
    assert read() == b"+OK yes\r\n"


def test_key_updates_without_end_keep_nobody_else_waiting_and_are_cut_off(handmade, dial_tls, until, quiet):
    # OpenSSL on a socket reads them as long as more are there: 16 MiB of them stopped the hub for 13 seconds.
    pop3d, peer, records, _ = handmade
    reasons = reasons_of(pop3d)
    turns = 0

    def others():
        nonlocal turns
        while not reasons:
            turns += 1
            gevent.sleep(0)

    other = gevent.spawn(others)
    sending = gevent.spawn(peer.send, b"".join(records.key_update() for _ in range(5000)))
    until(lambda: reasons)
    assert reasons == ["too much TLS and nothing in it"]
    gevent.joinall([other, sending], timeout=20)
    assert turns > 16
    login(dial_tls(pop3d))


def test_key_updates_between_single_octets_leave_turns_to_others(handmade, until):
    _, peer, records, read = handmade
    line = b"USER x\r\n"
    data = b"".join(
        b"".join(records.key_update() for _ in range(300)) + records.content(line[at : at + 1])
        for at in range(len(line))
    )
    sending = gevent.spawn(peer.send, data)
    assert read() == b"+OK yes\r\n"
    sending.join(20)


class InMemory(MemoryStream):
    """A stream whose peer does a TLS handshake, and then sends what *then* makes of its records.

    Once *deaf*, it takes nothing that would not be waited for.
    """

    def __init__(self, authority, folder, then):
        self.deaf = False
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        key_log = folder / "keys"
        context = authority.blocking_context(keylog_filename=str(key_log))
        self.tls_of_client = context.wrap_bio(self.incoming, self.outgoing, server_hostname=NAME)
        self._heard = 0
        super().__init__(self._client(context, key_log, then))

    def hear(self):
        self.incoming.write(bytes(self.output[self._heard :]))
        self._heard = len(self.output)

    def _client(self, context, key_log, then):
        while True:
            try:
                self.tls_of_client.do_handshake()
                break
            except ssl.SSLWantReadError:
                yield self.outgoing.read()
                self.hear()
        yield self.outgoing.read()
        context.keylog_filename = None  # which closes it
        yield from then(tls13.Records(self.tls_of_client.cipher()[0], key_log))

    def offer(self, data):
        return 0 if self.deaf else super().offer(data)


@pytest.fixture
def in_memory(authority, tmp_path):
    certificates = Certificates([authority.pair(tmp_path)])

    def make(then):
        under = InMemory(authority, tmp_path, then)
        return under, accept(under, certificates, 20)

    return make


def test_tls_over_tls_s_own_failure_is_a_failure_for_who_writes_too(in_memory):
    _, secured = in_memory(lambda records: [b"\x17\x03\x03\x00\x20" + b"\0" * 32])
    with pytest.raises(TlsError, match="bad record mac"):
        secured.recv(100)
    with pytest.raises(TlsError):
        secured.send_all(b"+OK\r\n")
    secured.linger()
    secured.close()


def test_what_tls_says_goes_out_between_the_records_of_a_reply_and_not_in_them(in_memory):
    under, secured = in_memory(lambda records: [records.key_update(ask=True) + records.content(b"NOOP\r\n")])
    send_all = under.send_all

    def slowly(data):
        under.send_all = send_all
        send_all(data[:10])
        assert secured.recv(100) == b"NOOP\r\n"  # another greenlet, which answers the key update
        send_all(data[10:])

    under.send_all = slowly
    secured.send_all(b"+OK one\r\n")
    secured.send_all(b"+OK two\r\n")
    under.hear()
    assert under.tls_of_client.read(9) + under.tls_of_client.read(9) == b"+OK one\r\n+OK two\r\n"


def test_what_is_not_taken_at_once_goes_in_front_of_what_is_sent_next(in_memory):
    under, secured = in_memory(lambda records: [records.key_update(ask=True) + records.content(b"NOOP\r\n")])
    under.deaf = True
    assert secured.recv(100) == b"NOOP\r\n"
    assert secured.recv(100) == b""
    secured.send_all(b"+OK one\r\n")
    under.hear()
    assert under.tls_of_client.read(100) == b"+OK one\r\n"


def test_a_stream_in_memory_that_was_aborted_takes_nothing():
    stream = MemoryStream([b"USER x"])
    stream.abort()
    assert stream.recv(10) == b""
    assert stream.offer(b"+OK") == 0
    with pytest.raises(BrokenPipeError):
        stream.send_all(b"+OK")
    assert stream.output == b""


def test_a_peer_that_makes_tls_talk_and_does_not_listen_is_cut_off(in_memory, monkeypatch):
    def talk(records):
        while True:  # an octet in between, so that there is something in it
            yield records.key_update(ask=True) + records.content(b"x")

    under, secured = in_memory(talk)
    under.deaf = True
    monkeypatch.setattr(stream_module, "_FRUITLESS_OCTETS", 1000)
    with pytest.raises(TlsError, match="does not listen"):
        all(secured.recv(100) for _ in range(1000))


# Full


def test_a_server_that_is_full_says_nothing_in_clear_text_where_tls_is_expected(secured, dial, dial_tls):
    pop3d = secured(max_sessions=1)
    plain, implicit = pop3d.getsocknames()
    inside = dial_tls(pop3d)
    assert dial(plain).rest() == b"-ERR [SYS/TEMP] too many connections, try again later\r\n"
    assert dial(implicit).rest() == b""
    login(inside)


def test_a_place_with_tls_needs_certificates(serve):
    with pytest.raises(ConfigError, match="needs certificates"):
        serve(tls_listen=["127.0.0.1:0"])


def test_tls_may_be_all_there_is(app, dial, authority, tmp_path):
    pop3d = app(tls=Certificates([authority.pair(tmp_path)]), tls_listen=["127.0.0.1:0"])
    pop3d.start()
    (name,) = pop3d.getsocknames()
    peer = dial(name)
    peer.sock = authority.context().wrap_socket(peer.sock, server_hostname=NAME)
    assert peer.line() + b"\r\n" == GREETING


# Certificates are replaced


def reloads_of(pop3d):
    told = []
    pop3d.on("certificates_reloaded")(lambda pop3d, event: told.append(event.args[0]))
    return told


def test_files_that_change_are_noticed_and_no_session_is_dropped(
    secured, dial_tls, authority, tmp_path, until, monkeypatch
):
    monkeypatch.setattr(server_module, "RELOAD_SECONDS", 0.01)
    pop3d = secured()
    told = reloads_of(pop3d)
    before = dial_tls(pop3d)
    login(before)
    authority.pair(tmp_path)
    until(lambda: None in told)
    after = dial_tls(pop3d, "stls")
    assert after.sock.getpeercert(True) != before.sock.getpeercert(True)
    assert before.command(b"NOOP") == b"+OK yes"
    login(after)


def test_a_broken_pair_is_told_once_and_the_old_one_stays(secured, dial_tls, authority, tmp_path, caplog):
    caplog.set_level("INFO", "geventpop3")
    pop3d = secured()
    told = reloads_of(pop3d)
    pop3d.reload_certificates()
    assert told == []
    before = dial_tls(pop3d).sock.getpeercert(True)
    (tmp_path / "server.key").unlink()
    for _ in range(3):
        pop3d.reload_certificates()
    assert told == [f"TLS private key {tmp_path / 'server.key'}: No such file or directory"]
    assert [record.levelname for record in caplog.records if told[0] in record.getMessage()] == ["ERROR"]
    assert dial_tls(pop3d).sock.getpeercert(True) == before
    authority.pair(tmp_path)
    pop3d.reload_certificates()
    assert told[1:] == [None]
    assert dial_tls(pop3d).sock.getpeercert(True) != before


def test_whatever_fails_when_certificates_are_read_leaves_the_old_ones(secured, dial_tls, monkeypatch, capfd):
    pop3d = secured()
    told = reloads_of(pop3d)

    def fail():
        raise MemoryError

    monkeypatch.setattr(pop3d.tls, "reload", fail)
    pop3d.reload_certificates()
    assert told == ["MemoryError"]
    assert capfd.readouterr().err == ""
    login(dial_tls(pop3d))


def test_a_server_without_certificates_has_none_to_read(app):
    pop3d = app()
    told = reloads_of(pop3d)
    pop3d.reload_certificates()
    assert told == []


def test_a_listener_of_the_reload_may_shut_the_server_down(secured, authority, tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "RELOAD_SECONDS", 0.01)
    pop3d = secured()
    pop3d.on("certificates_reloaded")(lambda pop3d, event: pop3d.shutdown(0))
    authority.pair(tmp_path)
    with gevent.Timeout(20):
        pop3d.serve_forever()


def test_certificates_are_replaced_under_load_and_no_handshake_fails(secured, authority, until, tmp_path):
    pop3d = secured()
    told = reloads_of(pop3d)
    context = authority.context()
    running, shown = True, []

    def clients(address, says):
        while running:
            with socket.create_connection(address) as sock:
                if says:
                    assert sock.recv(1000).startswith(b"+OK")
                    sock.sendall(says)
                    assert sock.recv(1000) == b"+OK begin TLS\r\n"
                with context.wrap_socket(sock, server_hostname=NAME, suppress_ragged_eofs=False) as tls:
                    tls.settimeout(20)
                    shown.append(tls.getpeercert(True))
                    tls.sendall(b"QUIT\r\n")
                    heard = b""
                    while data := tls.recv(1000):
                        heard += data
                    assert heard.endswith(b"+OK yes\r\n")

    plain, implicit = pop3d.getsocknames()
    greenlets = [gevent.spawn(clients, *way) for way in [(plain, b"STLS\r\n"), (implicit, b"")] * 3]
    for turn in range(12):
        seen = len(shown)
        if turn % 3:
            authority.pair(tmp_path)
        elif turn % 2:
            Path(tmp_path / "server.pem").write_bytes(b"-----BEGIN CERTIFICATE-----\nhalf of i")
        else:
            (tmp_path / "server.key").unlink()
        pop3d.reload_certificates()
        until(lambda seen=seen: len(shown) >= seen + 10 or any(greenlet.ready() for greenlet in greenlets))
    running = False
    gevent.joinall(greenlets, timeout=20, raise_error=True)
    assert [text is None for text in told] == [bool(turn % 3) for turn in range(12)]
    new = ssl.PEM_cert_to_DER_cert(
        (tmp_path / "server.pem").read_text().partition("-----END")[0] + "-----END CERTIFICATE-----"
    )
    assert shown[-1] == new
    assert len(set(shown)) > 2


# Processes

PROGRAM = """
    {first}
    import ssl, sys, trustme
    import gevent
    from gevent import socket
    from gevent.ssl import SSLContext
    from geventpop3 import POP3Server, ok
    from geventpop3.server.tls import Certificates
    certificate, key, authority = sys.argv[1:]
    pop3d = POP3Server(tls=Certificates([(certificate, key)]), tls_listen=["127.0.0.1:0"])
    pop3d.on("cmd_user")(lambda pop3d, event: ok("hello " + event.client.tls.version()))
    pop3d.start()
    context = SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority)
    with context.wrap_socket(socket.create_connection(pop3d.getsockname()), server_hostname="pop.example.org") as peer:
        file = peer.makefile("rb")
        assert file.readline().startswith(b"+OK")
        peer.sendall(b"USER alice\\r\\n")
        print(file.readline().decode().strip())
        file.close()
    pop3d.shutdown()
"""


@pytest.mark.parametrize("first", ["", "from gevent import monkey; monkey.patch_all()"], ids=["not patched", "patched"])
def test_it_works_in_a_process_that_is_monkey_patched_and_in_one_that_is_not(authority, tmp_path, first):
    done = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM).format(first=first)),
            *authority.pair(tmp_path),
            authority.file(tmp_path),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONDEVMODE": ""},
    )
    assert (done.stdout.strip(), without_blame(done.stderr)) == ("+OK hello TLSv1.3", "")
