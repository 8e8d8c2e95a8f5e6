"""A listener that holds the event loop is named in the log; ``in_thread`` runs what blocks."""

from __future__ import annotations

import threading
import time

import gevent
import pytest

from geventpop3 import EAT_NONE, Refusal, ok
from geventpop3.server import blocking
from geventpop3.server.blocking import HandlerThreads


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "all sessions waited" in record.getMessage()]


@pytest.fixture(autouse=True)
def no_listener_is_blamed_for_a_busy_machine() -> None:
    """Nothing is kept out of caplog here: the warning is what these tests are about."""


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocking, "_QUIET_SECONDS", 0.0)


def test_a_listener_that_blocks_is_named_with_the_milliseconds(app, login, caplog):
    pop3d = app()

    @pop3d.on("cmd_xslow")
    def wait_natively(pop3d, event):
        time.sleep(0.15)
        return ok()

    @pop3d.plugin("cmd_xslow")
    def harmless(pop3d, event):
        return EAT_NONE

    pop3d.start()
    peer = login(pop3d)
    assert peer.command(b"NOOP") == b"+OK yes"
    assert warnings(caplog) == []
    for _ in range(2):
        assert peer.command(b"XSLOW") == b"+OK"
    peer.command(b"NOOP")
    first, second = warnings(caplog)
    # The first time it is known only who may have been it; from then on each call is looked at.
    assert "cmd_xslow (plugin 'harmless', listener" in first
    assert "wait_natively" in first
    assert "plugin" not in second
    assert "wait_natively at cmd_xslow: pop3d.in_thread runs what blocks" in second
    assert int(second.split(" ms")[0].rpartition(" ")[2]) >= 150


def test_a_plugin_that_blocks_is_named_and_the_one_around_it_is_not(app, login, caplog):
    pop3d = app()
    pop3d.on("connection")(lambda pop3d, event: time.sleep(0.15))

    @pop3d.on("cmd_noop", priority=-1)
    def around(pop3d, event):
        pop3d.send_event("authenticated", "alice", "USER", "alice", client=event.client)

    @pop3d.plugin("authenticated")
    def computes(pop3d, event):
        time.sleep(0.15)

    pop3d.start()
    peer = login(pop3d)
    assert "connection (listener" in warnings(caplog)[0]
    peer.command(b"NOOP")
    peer.command(b"NOOP")
    assert [text.partition(" ms for ")[2].partition(":")[0] for text in warnings(caplog)[1:]] == [
        "plugin 'computes' at authenticated"
    ] * 2


def test_a_listener_that_waits_as_gevent_does_is_not_named(app, login, caplog):
    pop3d = app()

    @pop3d.on("cmd_xslow", "cmd_xthread")
    def waits(pop3d, event):
        if event.name == "cmd_xthread":
            pop3d.in_thread(time.sleep, 0.15)
        else:
            gevent.sleep(0.15)
        return ok()

    pop3d.start()
    peer, other = login(pop3d), login(pop3d)
    for line in (b"XSLOW\r\n", b"XTHREAD\r\n"):
        peer.send(line)
        assert other.command(b"NOOP") == b"+OK yes"
        assert peer.line() == b"+OK"
    assert warnings(caplog) == []


def test_the_warnings_of_a_second_are_one(app, login, caplog, monkeypatch):
    monkeypatch.setattr(blocking, "_QUIET_SECONDS", 60.0)
    pop3d = app()
    pop3d.on("cmd_xslow")(lambda pop3d, event: time.sleep(0.15))
    pop3d.start()
    peer = login(pop3d)
    for _ in range(3):
        peer.command(b"XSLOW")
    assert len(warnings(caplog)) == 1


def test_what_a_function_returns_or_raises_comes_out_of_its_thread(app, login):
    pop3d = app()
    idents = []

    def work(divisor, *, plus=0):
        idents.append(threading.get_ident())
        if divisor == 7:
            raise Refusal("not seven")
        return 10 // divisor + plus

    @pop3d.on("cmd_xdivide")
    def divide(pop3d, event):
        return ok(str(pop3d.in_thread(work, int(event.args[0]), plus=1)))

    pop3d.start()
    peer = login(pop3d)
    assert peer.command(b"XDIVIDE 5") == b"+OK 3"
    assert peer.command(b"XDIVIDE 7") == b"-ERR not seven"
    assert peer.command(b"XDIVIDE 0").startswith(b"-ERR [SYS/TEMP] internal error")
    assert threading.get_ident() not in idents


def test_calls_that_would_wait_too_long_for_a_thread_are_refused(monkeypatch):
    monkeypatch.setattr(blocking, "THREADS", 1)
    monkeypatch.setattr(blocking, "CALLS_PER_THREAD", 2)
    threads = HandlerThreads()
    go = threading.Event()
    running = [gevent.spawn(threads.run, go.wait) for _ in range(2)]
    gevent.sleep(0)
    with pytest.raises(Refusal, match="busy") as refused:
        threads.run(int)
    assert refused.value.code == "SYS/TEMP"
    go.set()
    assert [each.get(timeout=20) for each in running] == [True, True]
    assert threads.run(int) == 0
    threads.close()
    threads.close()
