"""Many at once, slow, greedy or impatient: the honest client is served, and each of the others costs only itself.

How quick the honest one stays is measured by ``benchmarks/hostile.py``; here stands what no machine's speed changes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic, perf_counter

import pytest
from faults_pop import SECONDS
from faults_serve import PASSWORD, make_maildir, make_root, stored, until

from geventpop3.auth.schemes import hash_password
from geventpop3.stores.maildir.chunks import CHUNK_OCTETS

ATTACKERS = Path(__file__).parents[2] / "benchmarks" / "attackers.py"
ATTACKERS_PASSWORD = b"secret"
CROWD = 500
LARGE = 8 * 1024 * 1024  # more than the kernel takes for a peer that does not read
KIBIBYTE = 1024


@pytest.fixture
def crowd(place):
    """Maildrops for a crowd, each with the same large message, and for the honest client."""
    root = place / "mail"
    names = ["honest", *(f"crowd{number}" for number in range(CROWD))]
    make_root(root, names)
    lines = [b"%s:{PLAIN}%s\n" % (name.encode(), ATTACKERS_PASSWORD) for name in names]
    (root / "passwords").write_bytes(b"".join(lines))
    large = place / "large"
    large.write_bytes(b"Subject: large\n\n" + (b"x" * 63 + b"\n") * (LARGE // 64))
    octets = large.stat().st_size
    for name in names[1:]:
        name = root / name / "cur" / f"1700000000.M1P1.example,S={octets},W={octets + LARGE // 64 + 2}:2,S"
        os.link(large, name)
    return root


@contextmanager
def attacking(server, sort, count, seconds=60):
    """The attackers, all of them at it; yields what ends them and tells what became of them."""
    command = [sys.executable, str(ATTACKERS), sort, str(server.port), str(count), "crowd%d", str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            yield lambda: json.loads(process.communicate(timeout=SECONDS)[0])
        finally:
            process.kill()


def honest_logins(server, count):
    for _ in range(count):
        with server.login("honest", ATTACKERS_PASSWORD) as pop:
            assert pop.command(b"NOOP") == b"+OK"
            assert pop.command(b"QUIT").startswith(b"+OK")


def sessions_are_over(server, descriptors):
    """Whether nothing of a crowd is left, waiting for it."""
    end = monotonic() + SECONDS
    while server.descriptors() > descriptors:
        if monotonic() > end:
            return False
        honest_logins(server, 1)
    return True


@pytest.mark.slow
@pytest.mark.parametrize("sort", ["never", "sip"])
def test_t31_five_hundred_who_do_not_read_are_dropped_and_cost_little_and_nobody_else(crowd, serve, report, sort):
    # Who reads a little goes on unless a rate is asked for; and the segments of loopback make the deadline longer.
    server = serve(limits={"write_deadline": 0.5, "write_rate": 1024 if sort == "sip" else 0})
    honest_logins(server, 5)
    before = server.memory()
    descriptors = server.descriptors()
    with attacking(server, sort, CROWD) as end:
        each = (server.memory() - before) / CROWD
        honest_logins(server, 50)
        assert sessions_are_over(server, descriptors)
        answer = end()
    report(f"{CROWD} of sort {sort}: {each / KIBIBYTE:.0f} KiB of memory each")
    assert answer["alive"] == 0
    # Some chunks on their way: what was read, what is encoded, what is being sent; never the message.
    assert each < 6 * CHUNK_OCTETS
    assert server.written().count('reason="write deadline"') == CROWD
    honest_logins(server, 5)
    assert "Traceback" not in server.written()


@pytest.mark.slow
def test_t30_five_hundred_who_drip_are_dropped_at_the_login_deadline_and_cost_nobody_else(crowd, serve, report):
    server = serve(limits={"login_deadline": 6.0})
    honest_logins(server, 5)
    before = server.memory()
    descriptors = server.descriptors()
    with attacking(server, "drip", CROWD) as end:
        each = (server.memory() - before) / CROWD
        honest_logins(server, 50)
        assert sessions_are_over(server, descriptors)
        answer = end()
    report(f"{CROWD} of sort drip: {each / KIBIBYTE:.0f} KiB of memory each")
    assert answer["alive"] == 0
    assert each < 64 * KIBIBYTE
    assert server.written().count('reason="login deadline"') == CROWD
    assert "Traceback" not in server.written()


@pytest.mark.parametrize("habit", [None, b"CAPA\r\n", b"USER honest\r\n", b"a"], ids=["silent", "CAPA", "USER", "drip"])
def test_t30_what_is_said_before_the_login_does_not_extend_its_deadline(place, serve, habit):
    make_root(place / "mail", ["honest"])
    server = serve(limits={"login_deadline": 0.5})
    with server.dial() as pop:
        pop.sock.settimeout(0.02)
        started = monotonic()
        got = b""
        while monotonic() < started + SECONDS:
            try:
                if habit is not None:
                    pop.send(habit)
                octets = pop.sock.recv(1 << 16)
                if not octets:
                    break
                got += octets
            except TimeoutError:
                continue
            except ConnectionError:
                break
        assert monotonic() < started + SECONDS
        assert b"PASS" not in got or habit == b"USER honest\r\n"
    until(lambda: 'reason="login deadline"' in server.written())


@pytest.mark.slow
def test_t29_beside_two_who_pipeline_without_a_pause_everybody_else_logs_in(crowd, serve):
    server = serve(limits={"login_deadline": 5.0})
    with attacking(server, "hog", 2) as end, server.dial() as silent:
        honest_logins(server, 30)
        # Timers come to their turn, too: a deadline passes in time.
        silent.line()
        assert silent.is_closed()
        assert end()["replies"] > 10_000
    assert server.written().count('reason="login deadline"') == 1


def test_t28_of_thirty_logins_at_once_one_has_the_maildrop_and_the_others_hear_so(place, serve):
    make_root(place / "mail", ["anna"])
    server = serve()
    with ExitStack() as stack:
        pops = [stack.enter_context(server.dial()) for _ in range(30)]
        for pop in pops:
            assert pop.line().startswith(b"+OK")
            assert pop.command(b"USER anna").startswith(b"+OK")
        for pop in pops:
            pop.send(b"PASS " + PASSWORD + b"\r\n")
        # The winner keeps its session meanwhile: the others did not have to wait for it.
        replies = [pop.line() for pop in pops]
        assert sorted(set(replies)) == [
            b"+OK 0 messages (0 octets)",
            b"-ERR [IN-USE] the maildrop is in use by another session",
        ]
        assert sum(reply.startswith(b"+OK") for reply in replies) == 1
        # A wrong password hears nothing of the lock.
        loser = pops[(replies.index(b"+OK 0 messages (0 octets)") + 1) % 30]
        assert loser.login("anna", b"wrong") == b"-ERR [AUTH] authentication failed"


def tries_until_login(server, count=2_000):
    """How often a login had to be tried until the maildrop was free."""
    for number in range(count):
        with server.dial() as pop:
            pop.line()
            if pop.login("anna", PASSWORD).startswith(b"+OK"):
                return number
    raise AssertionError("the maildrop stayed locked")


def test_t28_the_lock_is_free_when_the_client_that_held_it_is_killed(place, serve, report):
    make_root(place / "mail", ["anna"])
    make_maildir(place / "mail" / "anna", [b"x\n"])
    server = serve()
    holder = (
        "import socket, sys, time\n"
        f"sock = socket.create_connection(('127.0.0.1', {server.port}))\n"
        "lines = sock.makefile('rb')\n"
        f"sock.sendall(b'USER anna\\r\\nPASS ' + {PASSWORD!r} + b'\\r\\nDELE 1\\r\\n')\n"
        "for _ in range(4): assert lines.readline().startswith(b'+OK')\n"
        "print('held', flush=True)\n"
        f"time.sleep({SECONDS})\n"
    )
    with subprocess.Popen([sys.executable, "-c", holder], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == b"held\n"
            with server.dial() as pop:
                pop.line()
                assert pop.login("anna", PASSWORD).startswith(b"-ERR [IN-USE]")
            process.send_signal(signal.SIGKILL)
            killed = perf_counter()
            tries = tries_until_login(server)
            report(
                f"maildrop of a killed client: free after {(perf_counter() - killed) * 1000:.1f} ms, {tries} in vain"
            )
        finally:
            process.kill()
    assert stored(place / "mail" / "anna") == [b"x\n"]


def test_t28_the_lock_is_free_when_the_server_that_held_it_is_killed(place, serve):
    make_root(place / "mail", ["anna"])
    first = serve()
    with first.login("anna"):
        second = serve()
        with second.dial() as pop:
            pop.line()
            assert pop.login("anna", PASSWORD).startswith(b"-ERR [IN-USE]")
            first.kill()
            # The kernel has taken the lock from the dead before it is reaped: no second try is needed.
            assert pop.login("anna", PASSWORD).startswith(b"+OK")


@pytest.mark.slow
def test_t36_a_flood_of_wrong_passwords_keeps_nobody_waiting_who_is_inside(place, serve):
    root = place / "mail"
    make_root(root, ["anna", "victim"])
    with (root / "passwords").open("ab") as file:
        file.write(b"hashed:" + hash_password(b"right", "SCRYPT").encode() + b"\n")
    make_maildir(root / "hashed")
    server = serve()
    replies = []

    def flood():
        for _ in range(3):
            with server.dial() as pop:
                pop.line()
                pop.login("victim", b"wrong")
                replies.append(pop.login("hashed", b"wrong"))

    with server.login("anna") as pop:
        threads = [threading.Thread(target=flood) for _ in range(16)]
        for thread in threads:
            thread.start()
        rounds = 0
        while any(thread.is_alive() for thread in threads):
            assert pop.command(b"NOOP") == b"+OK"
            rounds += 1
        for thread in threads:
            thread.join()
    # Each try costs a hash: who is inside was answered many times meanwhile, or the flood would have been over.
    assert rounds > 100
    assert len(replies) == 48
    assert set(replies) <= {
        b"-ERR [AUTH] authentication failed",
        b"-ERR [SYS/TEMP] the server is busy, try again later",
    }
    with server.login("hashed", b"right") as pop:
        assert pop.command(b"NOOP") == b"+OK"
    assert "Traceback" not in server.written()
