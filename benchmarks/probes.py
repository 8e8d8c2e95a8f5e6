"""Measurements that need a server of their own in each round, for goals that the interleaved scenarios cannot measure.

Each probe returns the figures of one round for its goals, and leaves nothing running.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import descriptors
import goals
import hashing
import load
import mail
import tls
from noops import Session, noops_beside
from peers import OURS, PEERS, RIVAL, Peer, Place, Running, available, free_port, on_cores, ours, running
from scenarios import Scenario
from usage import cpu_of_children

INDEX = "geventpop3.index"
HUGE = "h00000"
SMALL = "s00000"
IDLE_LETTER = "i"
IDLE_FORMAT = IDLE_LETTER + "%05d"
IDLE_SESSIONS = 10_000
ANSWERED_WITHIN = 120.0  # maximum seconds of a measuring program
WARMING = 64  # sessions that load the code before memory is measured

Measured = Mapping[str, float]  # by the name of a goal, or of a figure in its remark


class Setting(NamedTuple):
    place: Place
    server_cores: set[int] | None
    load_cores: set[int] | None
    quick: bool


@contextmanager
def fresh(setting: Setting, peer: Peer) -> Iterator[tuple[Place, int, int]]:
    """Start *peer* with an empty scratch folder; yield address, port and process."""
    with tempfile.TemporaryDirectory(prefix="fresh-", dir=setting.place.scratch) as scratch:
        os.chmod(scratch, 0o755)  # Dovecot's processes are not root
        place = setting.place._replace(scratch=Path(scratch))
        with running(peer, place, setting.server_cores) as server, on_cores(setting.load_cores):
            yield place, server.port, server.pid


def _rival() -> Peer:
    return next(peer for peer in PEERS if peer.name == RIVAL)


def huge(setting: Setting) -> Measured:
    """Measure the first login into the huge maildrop, without an index: effect on others, and duration alone."""
    # The first run brings the mail into the page cache for the measured ones.
    found = dict(_beside_huge(setting))
    found["cold ms"] = cold_login(setting, ours()) * 1e3
    rival = _rival()
    if rival.missing(setting.place) is None:
        found["cold ms, rival"] = cold_login(setting, rival) * 1e3
        found[goals.COLD.name] = found["cold ms, rival"] / found["cold ms"]
    return found


def _beside_huge(setting: Setting) -> Measured:
    """Measure NOOP of another session beside the first login, and then beside the listings."""
    forget_index(setting.place, HUGE)
    with fresh(setting, ours()) as (_, port, _), Session(port, SMALL, mail.PASSWORD) as asking:
        kept: list[Session] = []

        def first() -> None:
            kept.append(Session(port, HUGE, mail.PASSWORD))
            kept[0].say("STAT")

        beside = noops_beside(asking, first)

        def listings() -> None:
            for _ in range(4 if setting.quick else 10):
                kept[0].say("STAT")
                for command in ("LIST", "UIDL"):
                    kept[0].say(command, end=b"\r\n.\r\n")

        with kept[0]:
            return {
                goals.BESIDE_COLD.name: beside.p99,
                goals.HELD.name: noops_beside(asking, listings).longest,
            }


def cold_login(setting: Setting, peer: Peer) -> float:
    """Return the seconds from connect to the reply to STAT for the first client of a new *peer*, without an index."""
    forget_index(setting.place, HUGE)  # Dovecot's is in its scratch folder, which is new
    with fresh(setting, peer) as (_, port, _):
        started = time.monotonic()
        with Session(port, HUGE, mail.PASSWORD) as session:
            session.say("STAT")
            return time.monotonic() - started


def forget_index(place: Place, owner: str) -> None:
    (place.maildirs / owner / INDEX).unlink(missing_ok=True)


def argon2(setting: Setting) -> Measured:
    wanted = next(one for one in hashing.LOADS if one.name == "rate")
    with tempfile.TemporaryDirectory(prefix="hashing-", dir=setting.place.scratch) as scratch:
        place = hashing.make_place(Path(scratch), wanted.cost)
        with running(ours(), place, setting.server_cores) as server, on_cores(setting.load_cores):
            row = hashing.measure(server, wanted, 4.0 if setting.quick else 10.0, 0.5)
    return {goals.BESIDE_HASHING.name: row.loaded.p99 * 1000} if row.outcomes.get("in") else {}


def idle(setting: Setting) -> Measured:
    """Measure the memory of each of many concurrent sessions, each in a maildrop of its own with 10 messages."""
    sessions = descriptors.sessions(IDLE_SESSIONS)
    owners = idle_owners(setting.place, sessions)
    place = setting.place._replace(passwords=passwords_for(setting.place, owners, "idle-passwords"))
    with fresh(setting._replace(place=place), ours(*crowded(sessions))) as (_, port, pid):
        generator = load.LoadGenerator(place.binaries, setting.load_cores, {"small": sessions})
        peer = Running(OURS, port, pid)
        scenario = Scenario("idle", "", "idle", "small", WARMING, "", "", options=("--user-format", IDLE_FORMAT))
        generator.measure(scenario, peer, 0.2)
        answer = generator.measure(scenario._replace(clients=sessions), peer, 0.5)
    if answer["alive"] < sessions:
        return {}
    return {
        goals.IDLE.name: answer["idle_pss_kb_per_session"],
        "idle sessions": sessions,
        "idle sessions wanted": IDLE_SESSIONS,
        "idle octets": answer["srv_pss_kb"] * 1024,
    }


def crowded(sessions: int) -> tuple[str, ...]:
    """Return options of a server that accepts a number of sessions and some more."""
    return "--max-sessions", str(sessions + descriptors.BESIDE), "--log-level", "warning"


def idle_owners(place: Place, count: int) -> list[str]:
    owners = [f"{IDLE_LETTER}{number:05d}" for number in range(count)]
    for owner in owners:
        mail.build_of_links(place.maildirs / owner, 10, place.mail_user)
    return owners


def passwords_for(place: Place, owners: list[str], name: str) -> Path:
    passwords = place.scratch / name
    passwords.write_text("".join(f"{owner}:{{PLAIN}}{mail.PASSWORD}\n" for owner in owners))
    os.utime(passwords, (time.time() - 60,) * 2)
    return passwords


def workers(setting: Setting) -> Measured:
    """Measure the gain of two workers on two cores over one worker on one.

    If the load generator shares the cores, the rates depend on it and are only shown. The result uses the CPU
    time for a session and the distribution of the sessions: the busiest worker is the limit.
    """
    cores = set(sorted(os.sched_getaffinity(0))[:2])
    if len(cores) < 2:
        return {}
    scenario = Scenario("poll", "", "poll", "small", 64, "", "")
    seconds = 2.0 if setting.quick else 5.0
    found: dict[str, float] = {}
    costs, share = [], 1.0
    for count, words in ((1, "1 worker"), (2, "2 workers")):
        where = setting._replace(server_cores=cores if count == 2 else setting.server_cores)
        with fresh(where, ours("--workers", str(count))) as (place, port, pid):
            generator = load.LoadGenerator(place.binaries, setting.load_cores, {"small": 200})
            peer = Running(OURS, port, pid)
            generator.measure(scenario, peer, 0.5)
            before = cpu_of_children(pid)
            answer = generator.measure(scenario, peer, seconds)
            used = [after - before.get(child, 0.0) for child, after in cpu_of_children(pid).items()]
        costs.append(answer["srv_cpu_s"] / answer["sessions"])
        share = max(used) / sum(used)
        found |= {f"sessions/s, {words}": answer["sessions_s"], f"CPU us, {words}": costs[-1] * 1e6}
    return found | {"share of the busier": share, goals.WORKERS.name: costs[0] / costs[1] / share}


def encryption(setting: Setting) -> Measured:
    if not available("openssl"):
        return {}
    certificate = tls.make_certificate(setting.place.scratch)
    port = free_port()
    options = ("--tls-listen", f"127.0.0.1:{port}", "--tls-cert", str(certificate))
    with fresh(setting, ours(*options)) as (_, _, pid):
        mine = tls.retrieve(port, pid, certificate, mail.PASSWORD)
        resumed = tls.resumed(port, certificate)
    with (
        on_cores(setting.server_cores),
        tls.s_server(setting.place, certificate) as (port, pid),
        on_cores(setting.load_cores),
    ):
        theirs = tls.download(port, pid, certificate)
    return {goals.TLS.name: theirs / mine, goals.RESUMED.name: resumed}


def bystanders(setting: Setting) -> Measured:
    with on_cores(setting.server_cores):
        done = subprocess.run(
            [sys.executable, str(load.HERE / "listeners.py")],
            capture_output=True,
            text=True,
            check=True,
            timeout=ANSWERED_WITHIN,
        )
    return {goals.LISTENERS.name: float(json.loads(done.stdout))}


PROBES: Mapping[str, Callable[[Setting], Measured]] = {
    "huge": huge,
    "argon2": argon2,
    "idle": idle,
    "workers": workers,
    "tls": encryption,
    "listeners": bystanders,
}
ONCE = frozenset({"idle"})  # memory does not vary as time does
ONCE_IF_QUICK = ONCE | {
    "argon2",
    "workers",
}  # the longest ones; they measure CPU time and hundreds of NOOPs, which vary little
