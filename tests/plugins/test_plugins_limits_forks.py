"""A fork without exec: the limits of a server run in the process that made them, and in no child of it."""

from __future__ import annotations

import os
import socket
import sys
import warnings
from pathlib import Path

import gevent
import pytest
from gevent import subprocess as green
from patience import without_blame

from geventpop3.plugins.limits import LoginLimits, MemoryLedger, Rules
from geventpop3.plugins.limits.ban_timer import Bans
from geventpop3.server.greenlets import HomeGreenlet

QUIET = ["-W", "ignore:This process (pid=:DeprecationWarning"]
"""Python 3.12 and newer warn of each fork beside threads, which is what these programs are for."""

PROGRAM = Path(__file__).parent / "limits_forks_program.py"
RULES = Rules(user_sessions=1, user_delays=(5,))


class Peer:
    """A client of the program."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.file = self.sock.makefile("rb")
        self.file.readline()

    def say(self, line: bytes) -> bytes:
        self.sock.sendall(line + b"\r\n")
        return self.file.readline().rstrip()

    def close(self) -> None:
        self.file.close()
        self.sock.close()


@pytest.mark.service
@pytest.mark.parametrize("patched", ["patched", "unpatched"])
def test_a_child_renews_no_session_and_tells_of_no_ban(redis_server, patched):
    redis_server.flush()
    command = [sys.executable, *QUIET, str(PROGRAM), patched, redis_server.url]
    peers = []
    with green.Popen(command, stdin=green.PIPE, stdout=green.PIPE, stderr=green.PIPE) as process:
        try:
            port = int(process.stdout.readline())
            alice, other = Peer(port), Peer(port)
            assert alice.say(b"USER alice").startswith(b"+OK")
            assert alice.say(b"PASS x").startswith(b"+OK")
            peers += [alice, other]
            for _ in range(2):  # the second is one too many: there is a ban whose end is to be told
                last = Peer(port)
                peers.append(last)
                assert last.say(b"USER bob").startswith(b"+OK")
                assert last.say(b"PASS wrong").startswith(b"-ERR")
            assert other.say(b"XFORK") == b"+OK forked"
            assert alice.say(b"QUIT") == b"+OK goodbye"
            # The parent's session is over, and nobody renews it, although the child lives.
            assert other.say(b"XKEYS") == b"+OK none"
            with gevent.Timeout(30):
                process.stdin.close()
                assert without_blame(process.stderr.read()) == ""  # ends when the child has ended, too
                assert process.wait() == 0
        finally:
            process.kill()
            for peer in peers:
                peer.close()


def in_child(check):
    """Run *check* in a forked child; return its exit status, 0 if it raised nothing."""
    with warnings.catch_warnings():
        # Python 3.12 warns where there are other threads: pytest-xdist has one, which the child does not need.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        status = 1
        try:
            check()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_knows_no_sessions_and_no_tries_of_its_parent_and_what_it_was_told_of_addresses():
    ledger = MemoryLedger()
    ledger.standing(RULES, "192.0.2.7", "u", session="s")
    ledger.entered(RULES, "192.0.2.8", "u", "u", "t")
    ledger.failed(RULES, "192.0.2.7", "v", "")

    def check():
        assert ledger._sessions == ledger._tries_of == {}
        assert ledger.standing(RULES, "192.0.2.7", "").failures == 1

    assert in_child(check) == 0
    assert ledger._sessions == {"u": {"t"}}
    assert len(ledger._tries_of["u"]) == 1


def test_a_child_counts_its_sessions_under_another_name():
    limits = LoginLimits()
    token = limits._token

    def check():
        assert limits._token != token
        assert len(limits._gates) == len(limits._sessions) == 0

    assert in_child(check) == 0
    assert limits._token == token


def test_no_greenlet_of_the_limits_runs_in_a_child(make):
    ran = []
    bans = Bans(lambda: 0.0, ran.append)
    bans.add("192.0.2.7", 0.001)
    loose = [HomeGreenlet.spawn(ran.append, 1), HomeGreenlet.spawn(gevent.sleep, 0.001)]
    gevent.sleep(0)
    loose.append(HomeGreenlet.spawn(ran.append, 2))

    def check():
        gevent.reinit()
        loose[1].throw(ValueError("nobody hears it"))
        gevent.sleep(0.05)
        assert ran == [1]
        assert len(bans) == 0
        assert not loose[1].ready()

    assert in_child(check) == 0
    bans.close()
    gevent.joinall(loose, timeout=10)
    assert ran == [1, 2]
    assert all(greenlet.successful() for greenlet in loose)
