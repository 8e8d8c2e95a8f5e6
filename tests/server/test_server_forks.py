"""A fork without exec: the child shares nothing with the server that was started before it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import gevent
import pytest
from authority import NAME
from gevent import subprocess as green
from patience import without_blame

from geventpop3 import forks
from geventpop3.forks import Registration

QUIET = ["-W", "ignore:This process (pid=:DeprecationWarning"]
"""Python 3.12 and newer warn of each fork beside threads, which is what these programs are for."""

PROGRAM = Path(__file__).parent / "forks_program.py"
MESSAGES = [b"Subject: %d\n\n%s" % (number, b"text\n" * 5000) for number in range(4)]

HOW = [
    ("patched", "process"),
    ("patched", "fork"),
    ("unpatched", "process"),
    ("unpatched", "fork"),
    ("unpatched", "yielding"),
    ("unpatched", "thread"),
]


class Program(NamedTuple):
    """The parent, and what it printed last."""

    process: Any
    pid: int
    address: tuple[str, int]

    def next(self) -> dict[str, Any]:
        """The next line that it, or its child, prints."""
        with gevent.Timeout(30):
            line: dict[str, Any] = json.loads(self.process.stdout.readline())
            return line


@pytest.fixture
def program(tmp_path: Path, authority: Any) -> Callable[[str, str], Any]:
    """Run the program; at the end it has said nothing on standard error, and its child has ended."""
    box = tmp_path / "mail/alice"
    for part in ("new", "cur", "tmp"):
        (box / part).mkdir(parents=True)
    for number, content in enumerate(MESSAGES):
        (box / f"new/{1_700_000_000 + number}.M{number}P1.host").write_bytes(content)
    pair = authority.pair(tmp_path)

    @contextmanager
    def run(patched: str, how: str) -> Iterator[Program]:
        command = [sys.executable, *QUIET, str(PROGRAM), patched, how, str(tmp_path / "mail"), *pair]
        with green.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            try:
                first = json.loads(process.stdout.readline())
                yield Program(process, first["pid"], tuple(first["address"]))
                process.stdin.close()
                assert without_blame(process.stderr.read()) == ""  # ends when the child has ended, too
                assert process.wait(30) == 0
            finally:
                process.kill()

    return run


def log_in(peer: Any) -> None:
    peer.line()
    assert peer.command(b"USER alice").startswith(b"+OK")
    assert peer.command(b"PASS x").startswith(b"+OK 4 messages")


@pytest.mark.parametrize(("patched", "how"), HOW)
def test_a_forked_child_neither_reads_nor_writes_nor_holds_a_session(program, dial, patched, how):
    with program(patched, how) as parent:
        idle, peer = dial(parent.address), dial(parent.address)
        idle.line()
        log_in(peer)
        for number in (1, 2, 3):
            assert peer.command(b"DELE %d" % number).startswith(b"+OK")
        assert peer.command(b"XFORK") == b"+OK forked"
        child = parent.next()
        # The child has nothing of it open, the alias is free, and a server that was made before serves there.
        assert child["open"] == []
        assert child["found"] == "None"
        assert dial(tuple(child["address"])).line().startswith(b"+OK")
        for _ in range(20):
            assert peer.command(b"XPID") == b"+OK %d" % parent.pid
            assert idle.command(b"XPID") == b"+OK %d" % parent.pid
        assert peer.command(b"RSET").startswith(b"+OK 4")
        assert peer.command(b"RETR 2").startswith(b"+OK")
        assert peer.body() == MESSAGES[1].replace(b"\n", b"\r\n")
        # Its end is seen at once, and the maildrop and the port are free although the child lives.
        assert peer.command(b"QUIT") == b"+OK goodbye"
        assert peer.rest() == b""
        again = dial(parent.address)
        log_in(again)
        assert again.command(b"QUIT") == b"+OK goodbye"


@pytest.mark.parametrize("patched", ["patched", "unpatched"])
def test_tls_goes_on_after_a_fork(program, dial, authority, patched):
    with program(patched, "process") as parent:
        peer = dial(parent.address)
        peer.line()
        assert peer.command(b"STLS").startswith(b"+OK")
        peer.sock = authority.context().wrap_socket(peer.sock, server_hostname=NAME)
        assert peer.command(b"USER alice").startswith(b"+OK")
        assert peer.command(b"PASS x").startswith(b"+OK 4 messages")
        assert peer.command(b"XFORK") == b"+OK forked"
        parent.next()
        for number in (1, 2, 3, 4):
            assert peer.command(b"RETR %d" % number).startswith(b"+OK")
            assert peer.body() == MESSAGES[number - 1].replace(b"\n", b"\r\n")
        assert peer.command(b"QUIT") == b"+OK goodbye"


@pytest.mark.parametrize("how", ["yielding", "waiting"])
def test_no_new_client_is_served_by_a_child_while_an_at_fork_handler_of_the_application_waits(program, dial, how):
    with program("unpatched", how) as parent:
        peer = dial(parent.address)
        log_in(peer)
        peer.send(b"XFORK\r\n")
        for _ in range(50):
            other = dial(parent.address)
            assert other.line().startswith(b"+OK")
            assert other.command(b"XPID") == b"+OK %d" % parent.pid
        assert peer.line() == b"+OK forked"
        parent.next()
        if how == "yielding":
            assert peer.command(b"XGREETINGS") == b"+OK 1"


def test_a_child_that_comes_back_from_a_handler_ends_the_session_without_a_trace(program, dial):
    with program("unpatched", "returns") as parent:
        peer = dial(parent.address)
        log_in(peer)
        peer.send(b"XFORK\r\nDELE 1\r\nXPID\r\n")
        assert [peer.line() for _ in range(3)] == [
            b"+OK forked",
            b"+OK message 1 marked as deleted",
            b"+OK %d" % parent.pid,
        ]
        assert peer.command(b"RSET").startswith(b"+OK 4")
        assert peer.command(b"QUIT") == b"+OK goodbye"
        assert peer.rest() == b""


def test_an_owner_that_fails_at_a_fork_keeps_no_other_from_letting_go():
    class Owner:
        def __init__(self, fails: bool) -> None:
            self.fails = fails
            self.called: list[str] = []
            self.registration = Registration(self.disown, before=self.before, after=self.after)

        def before(self) -> None:
            self.note("before")

        def after(self) -> None:
            self.note("after")

        def disown(self) -> None:
            self.note("disown")

        def note(self, what: str) -> None:
            self.called.append(what)
            if self.fails:
                raise OSError(what)

    owners = [Owner(True), Owner(False), Owner(True)]
    for step in (forks._before, forks._after_in_parent, forks._after_in_child):
        with pytest.raises(OSError, match=r"before|after|disown"):
            step()
    assert [owner.called for owner in owners] == [["before", "after", "disown"]] * 3
    for owner in owners:
        owner.registration.cancel()
