"""Deadlines, bounds and fairness: a peer costs only itself."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from time import monotonic
from typing import get_type_hints

import gevent
import pytest
import required
from gevent import socket

from geventpop3 import POP3Server, err, multiline
from geventpop3.protocol.commands import State
from geventpop3.server import acceptor as accepting
from geventpop3.server.limits import SEGMENT_OCTETS, LimitOptions, Limits
from geventpop3.server.server import session_over
from geventpop3.server.sessions import LINGERING, ends_of
from geventpop3.testing.memory_stream import MemoryStream


def session_reasons(pop3d):
    reasons = []
    pop3d.on("session_finished")(lambda pop3d, event: reasons.append(event.args[0].reason))
    return reasons


def test_the_autologout_timer_is_ten_minutes_by_default():
    # RFC 1939 section 3: "Such a timer MUST be of at least 10 minutes' duration."
    assert Limits().autologout == 600


def test_autologout_closes_without_a_reply(app, dial):
    pop3d = app(autologout=1.0)  # time enough for two commands on any machine
    reasons = session_reasons(pop3d)
    pop3d.start()
    peer = dial(pop3d)
    peer.send(b"USER x\r\nPASS x\r\n")
    # RFC 1939 section 3: "the session does NOT enter the UPDATE state--the server should close the TCP connection
    # without removing any messages or sending any response to the client"
    assert peer.rest() == b"+OK pop.example.org POP3 server ready\r\n+OK yes\r\n+OK yes\r\n"
    assert reasons == ["autologout"]


def test_commands_put_autologout_off_but_not_the_login_deadline(app, dial):
    pop3d = app(login_deadline=0.2, autologout=None)
    reasons = session_reasons(pop3d)
    pop3d.start()
    peer = dial(pop3d)
    with gevent.Timeout(20):
        try:
            while peer.command(b"USER x"):
                continue
        except OSError:
            pass
    assert reasons == ["login deadline"]


def test_the_login_deadline_ends_a_client_that_pipelines_for_ever(app, dial, until):
    pop3d = app(login_deadline=0.2)
    reasons = session_reasons(pop3d)
    pop3d.start()
    peer = dial(pop3d)
    flood = gevent.spawn(_flood, peer, b"USER x\r\n" * 500)
    with gevent.Timeout(20):
        while not reasons:
            try:
                if not peer.sock.recv(65536):
                    break
            except OSError:
                break
    until(lambda: reasons)
    flood.kill()
    assert reasons == ["login deadline"]


def _flood(peer, data):
    try:
        while True:
            peer.send(data)
    except OSError:
        return


def test_after_login_only_idleness_ends_a_session(app, login):
    pop3d = app(login_deadline=60, autologout=600)
    pop3d.start()
    peer = login(pop3d)
    (client,) = pop3d.clients.values()
    client.check_deadlines(monotonic() + 500)
    assert peer.command(b"NOOP") == b"+OK yes"


def test_a_client_that_never_reads_is_dropped_and_costs_only_itself(app, login, until):
    pop3d = app(write_deadline=0.2)
    reasons = session_reasons(pop3d)

    @pop3d.on("cmd_list")
    def endless(pop3d, event):
        return multiline("for ever", iter(lambda: b"x" * 65536 + b"\n", None))

    pop3d.start()
    peer, other = login(pop3d), login(pop3d)
    peer.send(b"LIST\r\n")
    assert other.command(b"NOOP") == b"+OK yes"
    until(lambda: reasons)
    assert reasons == ["write deadline"]
    assert other.command(b"NOOP") == b"+OK yes"


def test_a_client_that_drips_is_dropped_like_one_that_never_reads(app, login, until):
    pop3d = app(write_deadline=0.2, write_rate=10_000_000)
    reasons = session_reasons(pop3d)

    @pop3d.on("cmd_list")
    def endless(pop3d, event):
        return multiline("for ever", iter(lambda: b"x" * 65536 + b"\n", None))

    pop3d.start()
    peer = login(pop3d)
    peer.send(b"LIST\r\n")

    def drip():
        try:
            while peer.sock.recv(100):
                gevent.sleep(0.01)
        except OSError:
            return

    dripping = gevent.spawn(drip)
    until(lambda: reasons)
    dripping.kill()
    assert reasons == ["write deadline"]


def test_over_the_session_limit_a_peer_hears_so(app, login, dial, until):
    pop3d = app(max_sessions=2)
    pop3d.start()
    first, _second = login(pop3d), login(pop3d)
    assert dial(pop3d).rest() == b"-ERR [SYS/TEMP] too many connections, try again later\r\n"
    first.close()
    until(lambda: len(pop3d.clients) == 1)
    assert login(pop3d).command(b"NOOP") == b"+OK yes"


def test_over_the_limit_for_one_address_only_that_address_is_turned_away(app, login, dial):
    pop3d = app(max_sessions_per_address=1)
    pop3d.start()
    login(pop3d)
    assert dial(pop3d).rest() == b"-ERR [SYS/TEMP] too many connections from your address\r\n"
    assert dial(pop3d, source_address=("127.0.0.2", 0)).line().startswith(b"+OK")


def test_no_more_sessions_are_let_in_than_there_are_descriptors_for(monkeypatch, caplog):
    from geventpop3.server import admission

    caplog.set_level("INFO")
    monkeypatch.setattr(admission.resource, "getrlimit", lambda which: (1600, 1600))
    assert admission.affordable(300) == 300
    assert not caplog.text
    assert admission.affordable(301) == 300
    assert admission.affordable(None) == 300
    assert "at most 300 sessions at once" in caplog.text
    monkeypatch.setattr(admission.resource, "getrlimit", lambda which: (admission.resource.RLIM_INFINITY,) * 2)
    assert admission.affordable(None) > 10**9
    assert admission.affordable(5) == 5


def test_who_is_turned_away_is_not_counted(app, login, dial, until):
    pop3d = app(max_sessions_per_address=1)
    pop3d.start()
    peer = login(pop3d)
    dial(pop3d).rest()
    peer.close()
    until(lambda: not pop3d.clients)
    login(pop3d)


def test_an_endless_line_is_answered_once_and_closed(pop3d, login):
    peer = login(pop3d)
    flood = gevent.spawn(_flood, peer, b"x" * 65536)
    assert peer.line().startswith(b"-ERR line too long")
    assert peer.rest() == b""
    flood.kill()


def test_a_browser_is_sent_away_after_three_lines(pop3d, dial):
    peer = dial(pop3d)
    peer.send(b"POST / HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\nUSER a\r\nPASS b\r\n")
    replies = peer.rest().splitlines()
    assert len(replies) == 4
    assert all(reply.startswith(b"-ERR") for reply in replies[1:])
    assert b"HTTP" not in b"".join(replies)


def test_a_hog_that_pipelines_does_not_keep_others_from_their_turn(pop3d, login, until):
    hog, other = login(pop3d), login(pop3d)
    flood = gevent.spawn(_flood, hog, b"NOOP\r\n" * 10_000)

    def swallow():
        while hog.sock.recv(1 << 20):
            pass

    reader = gevent.spawn(swallow)
    # In one hub the hog, the server and the others share one thread: that anybody else gets an answer at all shows
    # that the session of the hog gave way.
    for _ in range(20):
        assert other.command(b"NOOP") == b"+OK yes"
    flood.kill()
    reader.kill()


def test_a_session_that_never_waits_sleeps_a_real_tick(app, monkeypatch):
    from geventpop3.server import client as client_module
    from geventpop3.server import session as session_module
    from geventpop3.server.limits import PAUSE, SLICE

    pop3d = app()
    clock = [0.0]
    slept = []

    def now():
        clock[0] += SLICE / 10
        return clock[0]

    monkeypatch.setattr(client_module, "monotonic", now)
    monkeypatch.setattr(session_module, "monotonic", now)
    monkeypatch.setattr(session_module.gevent, "sleep", slept.append)
    stream = MemoryStream([b"USER x\r\nPASS x\r\n" + b"NOOP\r\n" * 100])
    session_over(pop3d, stream, ("127.0.0.1", 4), ("127.0.0.1", 110)).run()
    assert slept
    assert set(slept) == {PAUSE}


def test_a_bind_failure_is_told_and_raised(serve):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        pop3d = serve(port=taken.getsockname()[1])
        told = []
        pop3d.on("listener_failed")(lambda pop3d, event: told.append(event.args))
        with pytest.raises(OSError, match="in use"):
            pop3d.start()
        assert told == [["bind", errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)]]


def test_if_one_place_cannot_be_bound_none_is_left_open(serve, dial):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = free.getsockname()
        pop3d = serve(listen=[address, taken.getsockname()[:2]])
        with pytest.raises(OSError, match="in use"):
            pop3d.start()
        with pytest.raises(ConnectionRefusedError):
            dial(address)


def test_an_accept_failure_is_told_once_waited_out_and_does_not_end_the_server(serve, dial, until, monkeypatch):
    pop3d = serve()
    told = []
    pop3d.on("listener_failed")(lambda pop3d, event: told.append(event.args))
    pop3d.start()
    (acceptor,) = pop3d._listening.acceptors
    failures = [0]
    accept = accepting.StreamServer.do_read

    def failing(self):
        if failures[0] < 3:
            failures[0] += 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return accept(self)

    monkeypatch.setattr(accepting.StreamServer, "do_read", failing)
    # Each failed attempt sends one waiting peer away with a word; in the end one is served.
    for _ in range(3):
        assert dial(pop3d).line() == b"-ERR [SYS/TEMP] too many connections, try again later"
    assert dial(pop3d).line().startswith(b"+OK")
    assert told == [["accept", errno.EMFILE, os.strerror(errno.EMFILE)]]
    assert failures == [3]
    assert acceptor.started


def test_a_peer_that_went_before_it_was_accepted_is_nothing(serve, dial, monkeypatch):
    pop3d = serve()
    told = []
    pop3d.on("listener_failed")(lambda pop3d, event: told.append(event.args))
    pop3d.start()
    accept = accepting.StreamServer.do_read
    aborted = []

    def failing(self):
        if not aborted:
            aborted.append(True)
            raise OSError(errno.ECONNABORTED, "gone")
        return accept(self)

    monkeypatch.setattr(accepting.StreamServer, "do_read", failing)
    assert dial(pop3d).line().startswith(b"+OK")
    assert aborted
    assert not told


def test_a_peer_that_resets_at_once_is_served_by_nobody_and_hurts_nobody(pop3d, login, dial):
    for _ in range(20):
        peer = dial(pop3d)
        peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    assert login(pop3d).command(b"NOOP") == b"+OK yes"


def test_accepted_sockets_have_nodelay_and_keepalive(pop3d, login):
    login(pop3d)
    (client,) = pop3d.clients.values()
    assert client.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert client.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_the_last_words_reach_a_peer_that_is_still_sending(serve, dial):
    pop3d = serve()
    pop3d.on("connection")(lambda pop3d, event: "-ERR go away")
    pop3d.start()
    for _ in range(20):
        peer = dial(pop3d)
        peer.send(b"USER a\r\n" * 1000)
        assert peer.rest() == b"-ERR go away\r\n"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("autologuot", "autologout"),
        ("max_sesions", "max_sessions"),
        ("tls_listeners", "tls_listen"),
        ("host", "address"),
        ("bind", "listen"),
    ],
)
def test_a_misspelt_keyword_is_refused_with_the_nearest_that_there_is(name, nearest):
    with pytest.raises(TypeError, match=f"no keyword '{name}': did you mean '{nearest}'"):
        POP3Server(port=0, **{name: 3})


def test_the_keywords_that_a_type_checker_knows_are_the_limits():
    hints = get_type_hints(Limits)
    assert get_type_hints(LimitOptions) == hints
    assert list(hints) == [field.name for field in fields(Limits)]
    assert LimitOptions.__required_keys__ == frozenset()


@pytest.mark.slow
def test_a_type_checker_finds_a_misspelt_limit(tmp_path):
    required.module("mypy")
    good = "from geventpop3 import POP3Server\n\nPOP3Server(port=0, max_sessions=3, autologout=None)\n"
    (tmp_path / "good.py").write_text(good)
    (tmp_path / "misspelt.py").write_text(good.replace("max_sessions", "max_sesions"))
    (tmp_path / "text.py").write_text(good.replace("=3", "='3'"))
    root = Path(__file__).parents[2]
    options = ["--strict", "--config-file", root / "pyproject.toml", "--cache-dir", tmp_path / "cache"]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *sorted(tmp_path.glob("*.py"))],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    errors = [line for line in checked.stdout.splitlines() if ": error: " in line]
    assert ["good.py" in line for line in errors] == [False, False], checked.stdout
    assert 'Unexpected keyword argument "max_sesions"' in checked.stdout
    assert 'expected "int | None"' in checked.stdout


def test_everything_may_be_unbounded(app, login):
    pop3d = app(autologout=None, login_deadline=None, write_deadline=None, max_sessions=None)
    pop3d.start()
    assert login(pop3d).command(b"NOOP") == b"+OK yes"


def test_without_a_login_deadline_autologout_ends_who_does_not_log_in(app, dial):
    pop3d = app(login_deadline=None, autologout=0.05)
    reasons = session_reasons(pop3d)
    pop3d.start()
    peer = dial(pop3d)
    assert peer.rest() == b"+OK pop.example.org POP3 server ready\r\n"
    assert reasons == ["autologout"]


def test_a_long_reply_is_not_cut_by_autologout(app, login):
    pop3d = app()

    def body(client):
        client.check_deadlines(monotonic() + 3600)
        yield b"1 2\n"

    pop3d.on("cmd_list")(lambda pop3d, event: multiline("slowly", body(event.client)))
    pop3d.start()
    peer = login(pop3d)
    peer.send(b"LIST\r\n")
    assert peer.line() == b"+OK slowly"
    assert peer.body() == b"1 2\r\n"


def test_a_slow_but_fair_reader_lives(app, login, monkeypatch):
    clock = [0.0]
    for module in ("sessions", "output", "client", "session"):
        monkeypatch.setattr(f"geventpop3.server.{module}.monotonic", lambda: clock[0])
    pop3d = app(write_deadline=0.2)
    reasons = session_reasons(pop3d)
    blocks = iter([b"x" * 65536 + b"\n"] * 300)
    pop3d.on("cmd_list")(lambda pop3d, event: multiline("much", blocks))
    pop3d.start()
    peer = login(pop3d)
    (client,) = pop3d.clients.values()
    peer.send(b"LIST\r\n")
    octets = 0
    with gevent.Timeout(60):
        while octets < 300 * 65537:
            octets += len(peer.sock.recv(200_000))
            gevent.sleep(0.001)
            clock[0] += 0.01
            client.check_deadlines(clock[0])
    assert clock[0] > 0.5
    assert not reasons


def test_progress_is_what_the_peer_takes_not_what_our_system_buffers(app, dial, until):
    # Our socket buffer is full all the time, and asks for more only when a third of it is free.
    pop3d = app()
    pop3d.on("cmd_list")(lambda pop3d, event: multiline("much", iter([b"x" * 65536 + b"\n"] * 300)))
    pop3d.start()
    peer = dial(pop3d)
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    peer.line()
    peer.command(b"USER x")
    peer.command(b"PASS x")
    peer.send(b"LIST\r\n")
    (client,) = pop3d.clients.values()
    output = client.output
    until(lambda: output._sending)
    for _ in range(20):
        sent, before = client.output.stream.sent, client.output.stream.acknowledged()
        while client.output.stream.acknowledged() == before:
            peer.sock.recv(4096)
            gevent.sleep(0)
        if client.output.stream.sent == sent:
            break
    assert client.output.stream.sent == sent
    now = output._mark[0]
    segment = client.output.stream.segment()
    assert segment > SEGMENT_OCTETS  # on loopback; elsewhere some 1,400
    longest = 60 * segment / SEGMENT_OCTETS
    assert not output.is_stuck(now + longest + 1, Limits())
    assert output.is_stuck(now + 2 * longest + 2, Limits())


def test_an_acceptor_without_its_spare_descriptor_goes_on(monkeypatch):
    def none_left(*_):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    acceptor = accepting.Acceptor(accepting.listening_socket(("127.0.0.1", 0)), lambda *_: None, lambda *_: None)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", none_left)
        acceptor._turn_away()  # nobody is there
        acceptor._turn_away()
    acceptor.start()
    assert acceptor.do_read() is None
    acceptor.close()
    acceptor.close()


def test_a_failure_to_accept_that_is_no_exhaustion_is_told_and_turns_nobody_away(monkeypatch, until):
    def failing(_):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    told = []
    acceptor = accepting.Acceptor(accepting.listening_socket(("127.0.0.1", 0)), lambda *_: None, told.append)
    acceptor.start()
    monkeypatch.setattr(accepting.StreamServer, "do_read", failing)
    monkeypatch.setattr(acceptor, "_turn_away", lambda: told.append("turned away"))
    assert acceptor.do_read() is None
    until(lambda: told)
    assert [error.errno for error in told] == [errno.EINVAL]
    acceptor.close()


def test_a_socket_option_that_the_system_lacks_is_done_without(monkeypatch):
    monkeypatch.delattr(socket, "TCP_NOTSENT_LOWAT", raising=False)
    with accepting.listening_socket(("127.0.0.1", 0)) as sock:
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_who_is_turned_away_and_has_gone_or_is_one_too_many_is_not_waited_for(serve):
    class Lingers(MemoryStream):
        lingered = closed = False

        def linger(self):
            self.lingered = True

        def close(self):
            self.closed = True

    pop3d = serve()
    gone, late, other = (Lingers([]) for _ in range(3))
    gone.abort()
    pop3d._sessions.turn_away(gone, "192.0.2.1", err("no"))
    assert (gone.output, gone.lingered, gone.closed) == (b"", False, True)
    waiting = {MemoryStream([]): gevent.getcurrent() for _ in range(LINGERING)}
    pop3d._sessions._turned_away.update(waiting)
    pop3d._sessions.turn_away(late, "192.0.2.1", err("no"))
    assert (late.output, late.lingered, late.closed) == (b"-ERR no\r\n", False, True)
    pop3d._sessions._turned_away.popitem()
    pop3d._sessions.turn_away(other, "192.0.2.1", err("no"))
    assert (other.output, other.lingered, other.closed) == (b"-ERR no\r\n", True, True)
    assert len(pop3d._sessions._turned_away) == LINGERING - 1
    pop3d._sessions._turned_away.clear()


def test_a_peer_that_reset_before_we_looked_has_no_local_address():
    class Reset:
        family = socket.AF_INET

        def __init__(self, number):
            self.number = number

        def getsockname(self):
            raise OSError(self.number, os.strerror(self.number))

    assert ends_of(Reset(errno.ENOTCONN), ("192.0.2.1", 4)) == (("192.0.2.1", 4), ("", 0))
    with pytest.raises(OSError, match="Bad file"):
        ends_of(Reset(errno.EBADF), ("192.0.2.1", 4))


def test_the_login_deadline_is_kept_to_the_second_and_ends_with_the_login(app):
    def client_of(**options):
        stream = MemoryStream([])
        return session_over(
            app(autologout=None, write_deadline=None, **options), stream, ("127.0.0.1", 1), ("127.0.0.1", 2)
        ), stream

    client, stream = client_of(login_deadline=60)
    began = client._started_at
    client.check_deadlines(began + 60)
    assert (client.summary.reason, stream.aborted) == ("", False)
    client.check_deadlines(began + 60.5)
    assert (client.summary.reason, stream.aborted) == ("login deadline", True)
    client, stream = client_of(login_deadline=None)
    client.check_deadlines(began + 1e9)
    assert not stream.aborted
    client, stream = client_of(login_deadline=60)
    client.connection.state = State.TRANSACTION
    client.check_deadlines(began + 1e9)
    assert not stream.aborted
