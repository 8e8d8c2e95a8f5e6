"""``shutdown`` returns, whoever calls it, whenever the process was patched, whatever the sessions do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import gevent
import pytest
from gevent import subprocess as green
from gevent.threadpool import ThreadPool

from geventpop3 import POP3Server
from geventpop3.server import life, sessions
from geventpop3.server.native import Signal

PROGRAM = Path(__file__).parent / "shutdown_program.py"
FAREWELL = b"-ERR [SYS/TEMP] the server is shutting down, try again later"
SIGNALS = {"signal": signal.SIGTERM, "unhandled-signal": signal.SIGTERM, "finally": signal.SIGINT}


def line_of(process) -> list[str]:
    with gevent.Timeout(20):
        return process.stdout.readline().decode().split()


@pytest.mark.slow
@pytest.mark.parametrize("patched", ["early", "late", "never"])
@pytest.mark.parametrize("caller", ["thread", "greenlet", "signal", "unhandled-signal", "atexit", "finally"])
@pytest.mark.parametrize("doing", ["nothing", "idle", "RETR", "UPDATE"])
def test_shutdown_returns_and_tells_the_sessions(dial, caller, patched, doing):
    with green.Popen(
        [sys.executable, "-W", "ignore", str(PROGRAM), caller, patched],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONDEVMODE": ""},
    ) as process:
        try:
            host, port = line_of(process)
            if doing != "nothing":
                peer = dial((host, int(port)))
                peer.line()
                assert peer.command(b"USER x") == b"+OK"
                assert peer.command(b"PASS x") == b"+OK"
            if doing == "RETR":
                assert peer.command(b"RETR 1").startswith(b"+OK")
            if doing == "UPDATE":
                peer.send(b"QUIT\r\n")
                assert line_of(process) == ["updating"]
            if caller in SIGNALS:
                process.send_signal(SIGNALS[caller])
            else:
                process.stdin.write(b"now\n")
                process.stdin.flush()
            if caller == "finally":
                # Python raises KeyboardInterrupt where it runs at that moment, which may be in this very session.
                with gevent.Timeout(20):
                    assert process.stdout.read().splitlines()[-1] == b"down"
                assert process.wait(20) == -signal.SIGINT
                return
            if doing == "idle":
                assert peer.rest() == FAREWELL + b"\r\n"
            if doing == "UPDATE":
                assert line_of(process) == ["updated"]
                assert peer.line() == b"+OK"
            assert line_of(process) == ["down"]
            assert process.stdout.read() == b""
            assert process.wait(20) == 0
            assert b"Traceback" not in process.stderr.read()
        finally:
            process.kill()


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_program_at_once(dial, second):
    with green.Popen(
        [sys.executable, str(PROGRAM), "unhandled-signal", "never"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONDEVMODE": ""},
    ) as process:
        try:
            host, port = line_of(process)
            peer = dial((host, int(port)))
            peer.line()
            assert peer.command(b"USER x") == b"+OK"
            assert peer.command(b"PASS x") == b"+OK"
            peer.send(b"QUIT\r\n")
            assert line_of(process) == ["updating"]
            process.send_signal(signal.SIGINT)
            while b"SIGINT: shutting down" not in process.stderr.readline():
                pass
            process.send_signal(second)
            assert process.wait(20) == -second
            assert process.stdout.read() == b""
        finally:
            process.kill()


def test_a_server_whose_thread_has_ended_is_shut_down_all_the_same(serve, dial):
    pop3d = serve()
    told = []
    pop3d.on("connection", "disconnected", "unregistered")(lambda pop3d, event: told.append(event.name))
    started, ended = Signal(), Signal()

    def run() -> None:
        pop3d.start()
        started.set()
        while "connection" not in told:
            gevent.sleep(0.001)
        gevent.get_hub().destroy(destroy_loop=True)
        ended.set()

    threading.Thread(target=run).start()
    assert started.wait(20)
    peer = dial(pop3d)
    peer.line()
    assert ended.wait(20)
    pop3d.shutdown()
    assert peer.rest() == b""
    assert told == ["connection", "disconnected", "unregistered"]
    assert pop3d.clients == {}


def test_a_peer_that_was_being_turned_away_when_the_thread_ended_is_closed_too(serve, dial):
    pop3d = serve(max_sessions=0)
    started, ended = Signal(), Signal()

    def run() -> None:
        pop3d.start()
        started.set()
        while not pop3d._sessions.greenlets():
            gevent.sleep(0.001)
        gevent.get_hub().destroy(destroy_loop=True)
        ended.set()

    threading.Thread(target=run).start()
    assert started.wait(20)
    peer = dial(pop3d)
    assert ended.wait(20)
    assert peer.line() == b"-ERR [SYS/TEMP] too many connections, try again later"
    pop3d.shutdown()
    assert peer.rest() == b""
    assert pop3d._sessions.greenlets() == []


def test_a_server_whose_thread_has_ended_is_closed_once_whoever_asks_meanwhile(serve):
    pop3d = serve()
    told = []

    def run() -> None:
        pop3d.start()
        gevent.get_hub().destroy(destroy_loop=True)

    def shut_down() -> None:
        pop3d.shutdown()
        told.append("returned")

    others = [threading.Thread(target=shut_down) for _ in range(2)]

    @pop3d.on("unregistered")
    def closing(pop3d, event):
        told.append("closing")
        for other in others:
            other.start()
        pop3d.shutdown()  # of a listener, in the middle of it: it waits for nothing and closes nothing
        told.append("closed")

    serving = threading.Thread(target=run)
    serving.start()
    serving.join()
    shut_down()
    for other in others:
        other.join()
    assert told == ["closing", "closed", *["returned"] * 3]


def test_a_thread_that_has_ended_is_known_to_have_although_another_has_its_number(dial):
    pop3d = POP3Server(port=0)
    hubs = []

    def run() -> None:
        pop3d.start()
        hubs.append(gevent.get_hub())
        gevent.killall(pop3d._watches)  # else the watchers of a loop that nobody runs keep them for ever
        gevent.get_hub().threadpool.kill()  # else its thread looks only every 5 seconds whether this one has ended

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    address = pop3d.getsockname()
    release = Signal()
    # The system gives the number of a thread that has ended to the next: then it lives, and is another.
    others = [threading.Thread(target=release.wait, args=(60,)) for _ in range(9)]
    for other in others:
        other.start()
    try:
        pop3d.shutdown()
        with pytest.raises(ConnectionRefusedError):
            dial(address)
    finally:
        release.set()
        for other in others:
            other.join()
        hubs[0].loop.destroy()


def test_shutdown_returns_also_where_something_that_it_waits_for_waits_for_it(serve, monkeypatch, caplog):
    monkeypatch.setattr(sessions, "UPDATE_SECONDS", 0.1)
    monkeypatch.setattr(sessions, "KILL_SECONDS", 0.1)
    monkeypatch.setattr(life, "LOOP_TURN_SECONDS", 0.1)
    pop3d = serve(shutdown_grace=0.1)
    pop3d.on("unregistered")(lambda pop3d, event: pop3d.in_thread(pop3d.shutdown))
    pop3d.start()
    pop3d.shutdown()
    assert "a greenlet or thread that it waits for does not end" in caplog.text


def test_a_shutdown_while_another_thread_starts_the_server_ends_it_without_an_error(serve):
    raised = []

    def run(pop3d: POP3Server) -> None:
        try:
            pop3d.serve_forever()
        except BaseException as error:
            raised.append(error)
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    for number in range(60):
        pop3d = POP3Server(port=0)
        serving = threading.Thread(target=run, args=(pop3d,))
        serving.start()
        threading.Event().wait(number % 6 / 1000)
        pop3d.shutdown()
        serving.join(60)
        assert not serving.is_alive()
    assert raised == []


def test_shutdown_gives_up_where_the_thread_that_serves_never_runs_its_event_loop(serve, monkeypatch, caplog):
    monkeypatch.setattr(life, "LOOP_TURN_SECONDS", 0.2)
    pop3d = serve()
    pop3d.start()
    thread = threading.Thread(target=pop3d.shutdown)
    thread.start()
    thread.join()  # natively: this thread, which serves, is kept busy until that one has given up
    assert "has not run its event loop" in caplog.text
    pop3d.shutdown()
    assert caplog.text.count("shutdown is pending") == 1


def test_a_server_that_was_never_started_is_shut_down_at_once_and_from_any_thread(serve):
    pool = ThreadPool(1)
    for call in (lambda pop3d: pop3d.shutdown(), lambda pop3d: pool.apply(pop3d.shutdown)):
        pop3d = serve(alias="unstarted")
        told = []
        pop3d.on("unregistered")(lambda pop3d, event, told=told: told.append(event.name))
        call(pop3d)
        assert told == ["unregistered"]
        assert POP3Server.find("unstarted") is None
    pool.kill()  # else its thread waits 5 seconds for more work before it ends, and its hub with it
