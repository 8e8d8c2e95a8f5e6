"""Real parents and workers: who serves, who leaves, who comes, and that no session notices."""

from __future__ import annotations

import os
import signal

import pytest
from workers_site import SECONDS, Site, until


def test_two_workers_serve_on_one_socket_and_each_says_that_it_does(site: Site, kind: str) -> None:
    site.start(site.command(kind))
    pids = site.settled(2)
    for pid in pids:
        with site.dial_worker(pid) as pop:
            assert pop.login("alice").startswith("+OK")
            assert pop.say("RETR 1").startswith("+OK")
            assert pop.body()[-1] == "bye"
            assert pop.say("QUIT").startswith("+OK")
    assert site.end() == 0
    told = (site.root / "events").read_text().split("\n")
    assert sorted(filter(None, told)) == sorted(
        f"{name} {pid}" for pid in pids for name in ("registered", "unregistered")
    )
    logged = [line for line in site.written().splitlines() if "session user=alice" in line]
    assert {pid for pid in pids for line in logged if f"[{pid}]" in line} == pids


def test_one_session_has_a_maildrop_in_whatever_worker(site: Site, kind: str) -> None:
    site.start(site.command(kind))
    first, second = site.settled(2)
    with site.dial_worker(first) as here, site.dial_worker(second) as there:
        assert here.login("alice").startswith("+OK")
        assert there.login("alice").startswith("-ERR [IN-USE]")
        assert there.login("bob").startswith("+OK")
        assert here.say("QUIT").startswith("+OK")
    with site.dial_worker(second) as again:
        assert again.login("alice").startswith("+OK")


def test_a_killed_worker_is_replaced_and_the_others_serve_on(site: Site, kind: str) -> None:
    site.start(site.command(kind))
    victim, other = site.settled(2)
    with site.dial_worker(other) as pop, site.dial_worker(victim) as lost:
        assert lost.login("alice").startswith("+OK")
        site.send(signal.SIGKILL, victim)
        assert lost.sock.recv(1) == b""
        pids = until(lambda: site.serving() & site.workers() - {victim, other}, "another worker")
        assert pop.who()[0] == other
        with site.dial_worker(pids.pop()) as heir:
            assert heir.login("alice").startswith("+OK")  # its lock died with its holder


def test_when_one_of_four_workers_is_killed_the_other_three_stay(site: Site) -> None:
    site.start(site.command("serve", workers=4))
    pids = site.settled(4)
    victim = min(pids)
    site.send(signal.SIGKILL, victim)
    until(lambda: victim not in site.workers(), "its end")
    found = site.settled(4)
    assert pids - found == {victim}
    assert not site.told("unregistered")


def test_of_workers_that_are_too_many_only_those_leave_the_oldest_first(site: Site) -> None:
    site.start(site.command("serve", workers=3))
    old = site.settled(3)
    site.send(signal.SIGTTIN)
    (newest,) = site.settled(4) - old
    for count in (3, 2, 1):
        site.send(signal.SIGTTOU)
        found = site.settled(count)
        assert newest in found
        assert len(site.told("unregistered")) == 4 - count


def test_workers_that_die_young_are_waited_for_a_while_and_then_replaced(site: Site) -> None:
    site.start(site.command("serve", workers=1))
    waited = "workers exit soon after their start; the next one starts in 1 seconds"
    for _ in range(2):
        (victim,) = site.settled(1)
        site.send(signal.SIGKILL, victim)
        until(lambda victim=victim: victim not in site.workers(), "its end")
    until(lambda: waited in site.written(), "a word")
    assert site.written().count("workers exit soon") == 1
    site.settled(1)


def test_at_hup_old_sessions_go_on_and_new_ones_have_the_new_configuration(site: Site, kind: str) -> None:
    site.start(site.command(kind))
    old = site.settled(2)
    with site.dial() as before:
        mine = before.who()[0]
        assert before.login("alice").startswith("+OK")
        site.configure("second")
        site.send(signal.SIGHUP)
        # The one without a session goes at once, the one with mine stays for it.
        until(lambda: site.workers() & old == {mine} and len(site.workers() & site.serving()) == 3, "new workers")
        with site.dial() as after:
            pid, generation = after.who()
            assert pid not in old
            assert generation == "second"
        assert before.who() == (mine, "first")
        assert before.say("QUIT").startswith("+OK")
    until(lambda: not site.workers() & old, "the end of the old worker")
    assert len(site.workers()) == 2


def test_a_session_that_outlasts_the_grace_is_told(site: Site, kind: str) -> None:
    site.start(site.command(kind, graceful_timeout=4))
    site.settled(2)
    with site.dial() as pop:
        assert pop.login("alice").startswith("+OK")
        assert pop.say("DELE 1").startswith("+OK")
        site.send(signal.SIGHUP)
        assert pop.line().startswith("-ERR [SYS/TEMP]")
        assert pop.sock.recv(1) == b""
    assert list((site.root / "alice" / "new").iterdir())  # nobody said QUIT


def test_ttin_and_ttou_change_how_many_there_are(site: Site, kind: str) -> None:
    site.start(site.command(kind))
    site.settled(2)
    site.send(signal.SIGTTIN)
    site.settled(3)
    site.send(signal.SIGTTOU)
    site.settled(2)
    site.send(signal.SIGTTOU)
    site.settled(1)


def test_term_lets_sessions_finish(site: Site, kind: str) -> None:
    site.start(site.command(kind))
    site.settled(2)
    with site.dial() as pop:
        assert pop.login("alice").startswith("+OK")
        site.send(signal.SIGTERM)
        until(lambda: _is_refused(site), "the end of accepting")
        assert pop.say("DELE 1").startswith("+OK")
        assert pop.say("QUIT").startswith("+OK")
    assert site.process is not None
    assert site.process.wait(SECONDS) == 0
    assert not list((site.root / "alice" / "new").iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_int_and_quit_end_sessions_at_once(site: Site, kind: str, number: signal.Signals) -> None:
    site.start(site.command(kind, graceful_timeout=600))
    site.settled(2)
    with site.dial() as pop:
        assert pop.login("alice").startswith("+OK")
        site.send(number)
        assert pop.line().startswith("-ERR [SYS/TEMP]")
    assert site.process is not None
    assert site.process.wait(SECONDS) == 0


ENDING = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])

HELD_AFTER_FORK = """
import time
from workers_server import root, tell

def post_fork(server, worker):
    tell("forked")
    while not (root() / "open").exists():
        time.sleep(0.005)
"""


@ENDING
def test_a_signal_that_reaches_a_worker_before_it_has_its_handlers_ends_it(site: Site, number: signal.Signals) -> None:
    """Else its parent, which sends each signal once, would wait for it for all of the graceful timeout."""
    config = site.root / "held.py"
    config.write_text(HELD_AFTER_FORK)
    site.run(site.command("gunicorn", workers=1, config=config))
    (pid,) = until(lambda: site.told("forked"), "a fork")
    _end_before_it_serves(site, pid, number)


@ENDING
def test_a_signal_that_reaches_a_worker_while_its_server_is_made_ends_it(
    site: Site, kind: str, number: signal.Signals
) -> None:
    site.environment["WORKERS_GATE"] = "yes"
    site.run(site.command(kind, workers=1))
    (pid,) = until(lambda: site.told("loading"), "a worker that makes its server")
    _end_before_it_serves(site, pid, number)


def _end_before_it_serves(site: Site, pid: int, number: signal.Signals) -> None:
    site.send(number, pid)
    (site.root / "open").touch()
    until(lambda: pid not in site.workers() or pid in site.serving(), "its end")
    assert pid not in site.told("registered")
    assert "Traceback" not in site.written()
    site.settled(1)
    assert site.end() == 0


def test_what_is_meant_for_the_parent_does_not_end_a_worker(site: Site, kind: str) -> None:
    site.start(site.command(kind))
    pids = site.settled(2)
    pid = min(pids)
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH, signal.SIGTTIN, signal.SIGTTOU):
        site.send(number, pid)
    with site.dial_worker(pid) as pop:
        assert pop.who()[0] == pid
    assert site.workers() == pids


def test_workers_leave_when_their_parent_died(site: Site, kind: str) -> None:
    site.start(site.command(kind))
    pids = site.settled(2)
    with site.dial() as pop:
        mine = pop.who()[0]
        site.send(signal.SIGKILL)
        until(lambda: not _alive(pids - {mine}), "the end of the idle worker")
        assert pop.say("QUIT").startswith("+OK")
    until(lambda: not _alive({mine}), "the end of the other")


def test_a_server_that_ends_itself_is_replaced(site: Site, kind: str) -> None:
    site.start(site.command(kind))
    first, second = site.settled(2)
    with site.dial_worker(first) as pop:
        assert pop.say("XEND").startswith("+OK")
    until(lambda: second in (found := site.settled(2)) and first not in found, "another worker")


@pytest.mark.slow
def test_a_worker_whose_hub_hangs_says_where_and_is_replaced(site: Site, kind: str) -> None:
    site.start(site.command(kind, timeout=6))  # also the time that a worker may stand still, held by a test or by load
    stuck, other = site.settled(2)
    with site.dial_worker(stuck) as pop:
        pop.sock.sendall(b"XHANG\r\n")
        pids = until(lambda: site.serving() & site.workers() - {stuck, other}, "another worker")
    assert pids
    written = site.written()
    assert "the worker does not respond; it is at:" in written
    assert "in hang" in written


@pytest.mark.slow
def test_a_new_parent_takes_over_at_usr2_and_nobody_is_refused(site: Site, kind: str) -> None:
    site.start(site.command(kind))
    old = site.settled(2)
    with site.dial() as before:
        assert before.login("alice").startswith("+OK")
        site.configure("second")
        site.send(signal.SIGUSR2)
        (heir,) = until(lambda: site.workers() - old, "the new parent")
        until(lambda: len(site.workers(heir) & site.serving()) == 2, "its workers")
        site.send(signal.SIGTERM)
        with site.dial() as after:
            pid, generation = until(lambda: _who_else(site, old), "an answer of a new worker")
            assert pid in site.workers(heir)
            assert generation == "second"
            assert after.say("QUIT").startswith("+OK")
        assert before.say("QUIT").startswith("+OK")
    assert site.process is not None
    assert site.process.wait(SECONDS) == 0
    with site.dial() as last:
        assert last.who()[0] in site.workers(heir)
    os.kill(heir, signal.SIGTERM)
    until(lambda: not _alive({heir}), "the end")


def _who_else(site: Site, old: set[int]) -> tuple[int, str] | None:
    with site.dial() as pop:
        found = pop.who()
    return None if found[0] in old else found


def _is_refused(site: Site) -> bool:
    try:
        site.dial().close()
    except (ConnectionRefusedError, ConnectionResetError, EOFError, AssertionError):
        return True
    return False


def _alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if _is_alive(pid)}


def _is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):  # it may also end between opening and reading
        return False
