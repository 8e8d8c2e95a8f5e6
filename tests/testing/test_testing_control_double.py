"""The parts of Double that its control needs: listing and removing what was asked for, and fixed ports."""

from __future__ import annotations

import errno
import poplib
import socket
from collections.abc import Iterator

import pytest
from control_calls import reserved_ports

from geventpop3 import POP3Server
from geventpop3.testing import Double, DoubleFailed
from geventpop3.testing.server import ServerThread


@pytest.fixture
def double() -> Iterator[Double]:
    double = Double(tls="off").start()
    yield double
    double.stop()


def test_maildrops_are_listed_and_removed(double: Double) -> None:
    alice, bob = double.maildrop("alice"), double.maildrop("bob", token="bobs-token")
    alice.deliver("Subject: one")
    alice.fail("RETR")
    assert double.maildrops == {"alice": alice, "bob": bob}
    double.remove_maildrop("alice")
    double.remove_maildrop("bob")
    assert double.maildrops == {}
    assert double.faults == []
    assert double.maildrop("alice", "another").messages == []
    with pytest.raises(LookupError, match="there is no maildrop 'bob'"):
        double.remove_maildrop("bob")


def test_messages_by_their_unique_ids(double: Double) -> None:
    box = double.maildrop("alice")
    unique_ids = box.deliver(b"one", b"two")
    assert box.by_unique_id == dict(zip(unique_ids, [b"one", b"two"], strict=True))
    assert box.messages == [b"one", b"two"]


def test_equal_faults_are_removed_one_by_one(double: Double) -> None:
    box = double.maildrop("alice")
    faults = [box.fail("RETR"), box.fail("RETR"), double.fail("RETR")]
    assert faults[0] == faults[1]
    double.remove_fault(faults[1])
    assert double.faults[0] is faults[2]
    assert double.faults[1] is faults[0]
    with pytest.raises(LookupError, match="this fault was not asked for: error on RETR"):
        double.remove_fault(faults[1])


def test_failures_are_those_of_check(double: Double) -> None:
    assert double.failures == []
    double.check()
    double.fail("RETR", "close")
    double.fail("RETR", "close", optional=True)
    double.errors.append("a mistake")
    assert double.failures == ["never happened: close on RETR (nth=1): RETR occurred 0 times", "a mistake"]
    with pytest.raises(DoubleFailed) as caught:
        double.check()
    assert caught.value.failures == double.failures
    assert str(caught.value) == "never happened: close on RETR (nth=1): RETR occurred 0 times\na mistake\n\nno session"


def test_a_wait_in_vain_has_its_failure_and_the_transcript_apart(double: Double) -> None:
    poplib.POP3(double.host, double.port, timeout=60).quit()  # which closes it too
    double.wait_for(sessions=1)
    with pytest.raises(DoubleFailed) as caught:
        double.wait_for(sessions=2, timeout=0)
    assert caught.value.failures == ["waited 0 s in vain for: 2 sessions ended, not 1"]
    assert caught.value.transcript == double.transcript


def test_fixed_ports_are_used_and_one_that_is_taken_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for ports in ({"port": port}, {"tls_port": port}):
            with pytest.raises(OSError, match="in use") as caught:
                Double(**ports).start()
            assert caught.value.errno == errno.EADDRINUSE
            assert caught.value.filename == f"127.0.0.1:{port}"
    with reserved_ports(2) as (port, tls_port), Double(port=port, tls_port=tls_port) as double:
        assert (double.port, double.tls_port) == (port, tls_port)


def test_ports_of_any_server_beside_the_test() -> None:
    with reserved_ports(1) as ports:
        thread = ServerThread(lambda: POP3Server(listen=["127.0.0.1:1", "127.0.0.1:2"]), ports=ports)
        try:
            assert thread.start().port == ports[0]
        finally:
            thread.stop()
