"""Octets by chance and by grammar: never a traceback, one reply a line at most, no octet of the input in a reply."""

from __future__ import annotations

import errno
import logging
import random
import re
import select
import socket

import pytest
from faults_octets import CANARY, Fuzzer
from faults_pop import SECONDS
from faults_serve import PASSWORD, make_maildir, make_root, stored

from geventpop3 import POP3Server
from geventpop3.auth.passwd import PasswordFile
from geventpop3.server.server import session_over
from geventpop3.service import MaildropService
from geventpop3.stores.maildir import MaildirStore
from geventpop3.testing.memory_stream import MemoryStream

MAIL = [b"Subject: one\n\n.dot\nMail: x\n", b"Mail: y\n", b""]
LOGIN = b"USER anna\r\nPASS %s\r\n" % PASSWORD
_REPLY = re.compile(r"(\+OK|-ERR)( .*)?|\+ [A-Za-z0-9+/=]*")


def assert_clean(sent, got):
    """What came back is replies and bodies of ours, a reply a line at most, and nothing that was sent."""
    assert CANARY not in got
    *lines, rest = got.decode("utf-8").split("\r\n")
    assert rest == ""
    assert all(line.isprintable() and len(line.encode()) <= 510 for line in lines)
    # No line of a body begins as a reply does: listings, capabilities, languages, the mail.
    replies = sum(_REPLY.fullmatch(line) is not None for line in lines)
    # The greeting, a reply or a challenge for each line, and one for a line that is over-long and has no end.
    assert replies <= 1 + sent.count(b"\n") + 1


@pytest.fixture
def pop3d(tmp_path):
    make_root(tmp_path, ["anna"])
    pop3d = POP3Server(port=0, hostname="pop.example.org", options={"trace": True}, bad_before_login=50)
    store = MaildirStore(f"{tmp_path}/{{user}}")
    pop3d.register(MaildropService(store, PasswordFile(tmp_path / "passwords")))
    yield pop3d
    pop3d.shutdown()


def talk(pop3d, chunks):
    stream = MemoryStream(chunks)
    session_over(pop3d, stream, ("127.0.0.1", 40000), ("127.0.0.1", 110)).run()
    return bytes(stream.output)


def in_memory(pop3d, maildir, caplog, seed, sessions):
    chance = random.Random(seed)
    fuzzer = Fuzzer(chance)
    caplog.set_level(logging.DEBUG, "geventpop3")
    for number in range(sessions):
        if number % 20 == 0:
            make_maildir(maildir, MAIL)  # again: some sessions remove messages
        chunks = fuzzer.session(LOGIN if chance.random() < 0.6 else b"")
        assert_clean(b"".join(chunks), talk(pop3d, chunks))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]
    assert PASSWORD.decode() not in caplog.text
    assert talk(pop3d, [LOGIN, b"QUIT\r\n"]).count(b"+OK") == 4


def test_any_octets_leave_a_session_without_a_socket_well(pop3d, tmp_path, caplog):
    in_memory(pop3d, tmp_path / "anna", caplog, 1, 40)


@pytest.mark.slow
def test_many_more_octets_leave_a_session_without_a_socket_well(pop3d, tmp_path, caplog):
    in_memory(pop3d, tmp_path / "anna", caplog, 2, 1500)


def exchange(port, chunks):
    """Sends *chunks* and reads at the same time, so that neither side waits for the other; all that came."""
    got = bytearray()
    with socket.create_connection(("127.0.0.1", port), SECONDS) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        unsent = iter(chunks)
        now = next(unsent, b"")
        try:
            while True:
                readable, writable, _ = select.select([sock], [sock] if now else [], [], SECONDS)
                assert readable or writable, "the server neither reads nor answers"
                if readable:
                    octets = sock.recv(1 << 16)
                    if not octets:
                        break
                    got += octets
                elif now:
                    now = now[sock.send(now) :] or next(unsent, b"")
                    if not now:
                        sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            # The server has hung up on us: what it said before may be lost on the way.
            if error.errno not in (errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN):
                raise
            del got[got.rfind(b"\n") + 1 :]
    return bytes(got)


def over_sockets(serve, place, seed, sessions):
    make_root(place / "mail", ["anna"])
    maildir = place / "mail" / "anna"
    server = serve("--trace")
    fuzzer = Fuzzer(random.Random(seed))

    def rounds(count):
        for number in range(count):
            if number % 20 == 0:
                make_maildir(maildir, MAIL)
            chunks = fuzzer.session(LOGIN if number % 2 else b"")
            assert_clean(b"".join(chunks), exchange(server.port, chunks))
            if number % 20 == 19:
                with server.login("anna") as pop:
                    assert pop.command(b"QUIT").startswith(b"+OK")

    rounds(sessions // 3)
    with server.login("anna") as pop:
        descriptors = server.descriptors()
        memory = server.memory()
    rounds(sessions)
    with server.login("anna") as pop:
        assert pop.command(b"NOOP") == b"+OK"
        assert server.descriptors() <= descriptors + 1
        assert server.memory() < memory + 4 * 1024 * 1024
    assert "Traceback" not in server.written()
    assert PASSWORD.decode() not in server.written()
    assert set(stored(maildir)) <= set(MAIL)


def test_any_octets_over_a_socket_leave_the_server_well(serve, place):
    over_sockets(serve, place, 2, 60)


@pytest.mark.slow
def test_many_more_octets_over_a_socket_leave_the_server_as_large_as_it_was(serve, place):
    over_sockets(serve, place, 3, 1200)
