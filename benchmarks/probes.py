"""What is measured with a server of its own for each round: goals that the interleaved scenarios cannot tell.

Each probe gives its goals' figures of one round, and leaves nothing running.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import goals
import hashing
import load
import mail
import tls
from noops import Session, noops_beside
from peers import OURS, PEERS, RIVAL, Peer, Place, Running, available, descendants, free_port, on_cores, ours, running
from scenarios import Scenario

INDEX = "geventpop3.index"
HUGE = "h00000"
SMALL = "s00000"
IDLE_LETTER = "i"
ANSWERED_WITHIN = 120.0  # seconds, of a program that measures by itself
WARMING = 64  # sessions that bring in the code before memory is measured

Measured = Mapping[str, float]  # by the name of a goal


class Setting(NamedTuple):
    place: Place
    server_cores: set[int] | None
    load_cores: set[int] | None
    quick: bool


@contextmanager
def fresh(setting: Setting, peer: Peer) -> Iterator[tuple[Place, int, int]]:
    """*peer*, new and with nothing of an earlier run in its scratch folder: place, port and process."""
    with tempfile.TemporaryDirectory(prefix="fresh-", dir=setting.place.scratch) as scratch:
        os.chmod(scratch, 0o755)  # Dovecot's processes are not root
        place = setting.place._replace(scratch=Path(scratch))
        with running(peer, place, setting.server_cores) as server, on_cores(setting.load_cores):
            yield place, server.port, server.pid


def _rival() -> Peer:
    return next(peer for peer in PEERS if peer.name == RIVAL)


def huge(setting: Setting) -> Measured:
    """The first login into the huge maildrop, without an index, ours and Dovecot's; then what it keeps others from."""
    found: dict[str, float] = {}
    (setting.place.maildirs / HUGE / INDEX).unlink(missing_ok=True)
    with fresh(setting, ours()) as (_, port, _), Session(port, SMALL, mail.PASSWORD) as asking:
        cold: list[float] = []
        kept: list[Session] = []

        def first() -> None:
            started = time.monotonic()
            kept.append(Session(port, HUGE, mail.PASSWORD))
            kept[0].say("STAT")
            cold.append(time.monotonic() - started)

        beside = noops_beside(asking, first)
        found[goals.BESIDE_COLD.name] = beside.p99

        def listings() -> None:
            for _ in range(4 if setting.quick else 10):
                kept[0].say("STAT")
                for command in ("LIST", "UIDL"):
                    kept[0].say(command, end=b"\r\n.\r\n")

        with kept[0]:
            found[goals.HELD.name] = noops_beside(asking, listings).longest
    rival = _rival()
    if rival.missing(setting.place) is None:
        with fresh(setting, rival) as (_, port, _):
            started = time.monotonic()
            with Session(port, HUGE, mail.PASSWORD) as session:
                session.say("STAT")
                found[goals.COLD.name] = (time.monotonic() - started) / cold[0]
    return found


def argon2(setting: Setting) -> Measured:
    wanted = next(one for one in hashing.LOADS if one.name == "rate")
    with tempfile.TemporaryDirectory(prefix="hashing-", dir=setting.place.scratch) as scratch:
        place = hashing.make_place(Path(scratch), wanted.cost)
        with running(ours(), place, setting.server_cores) as server, on_cores(setting.load_cores):
            row = hashing.measure(server, wanted, 4.0 if setting.quick else 10.0)
    return {goals.BESIDE_HASHING.name: row.loaded.p99 * 1000} if row.outcomes.get("in") else {}


def idle(setting: Setting) -> Measured:
    """Memory of each of many sessions that are there at once, each in a maildrop of its own with 10 messages."""
    sessions = min(1000 if setting.quick else 10_000, room())
    owners = idle_owners(setting.place, sessions)
    place = setting.place._replace(passwords=passwords_for(setting.place, owners, "idle-passwords"))
    options = ("--max-sessions", str(2 * sessions), "--log-level", "warning")
    with fresh(setting._replace(place=place), ours(*options)) as (_, port, pid):
        generator = load.LoadGenerator(place.binaries, setting.load_cores, {"small": sessions})
        peer = Running(OURS, port, pid)
        scenario = Scenario("idle", "", "idle", "small", WARMING, "", "")
        generator.measure(scenario._replace(options=("--user-format", "i%05d")), peer, 0.2)
        many = scenario._replace(clients=sessions, options=("--user-format", "i%05d"))
        answer = generator.measure(many, peer, 0.5)
    return {goals.IDLE.name: answer["idle_pss_kb_per_session"]} if answer["alive"] == sessions else {}


def room() -> int:
    """Sessions that one process may have: a connection and a maildrop's lock each."""
    return (resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 500) // 2


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
    """What two cores of their own would do with two workers, for what one does with one.

    Where the load generator shares the cores, the rates would say what it leaves; so this goes by the CPU time for a
    session, and by how evenly the workers share the sessions: the busiest is the first to be full.
    """
    cores = set(sorted(os.sched_getaffinity(0))[:2])
    if len(cores) < 2:
        return {}
    scenario = Scenario("poll", "", "poll", "small", 64, "", "")
    seconds = 2.0 if setting.quick else 5.0
    costs, share = [], 1.0
    for count in (1, 2):
        where = setting._replace(server_cores=cores if count == 2 else setting.server_cores)
        with fresh(where, ours("--workers", str(count))) as (place, port, pid):
            generator = load.LoadGenerator(place.binaries, setting.load_cores, {"small": 200})
            peer = Running(OURS, port, pid)
            generator.measure(scenario, peer, 0.5)
            before = _cpu_of_children(pid)
            answer = generator.measure(scenario, peer, seconds)
            used = [after - before.get(child, 0.0) for child, after in _cpu_of_children(pid).items()]
        costs.append(answer["srv_cpu_s"] / answer["sessions"])
        share = max(used) / sum(used)
    return {goals.WORKERS.name: costs[0] / costs[1] / share}


def _cpu_of_children(pid: int) -> dict[int, float]:
    """Seconds of CPU time, by process."""
    tick = os.sysconf("SC_CLK_TCK")
    found = {}
    for child, _ in descendants(pid):
        fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
        found[child] = (int(fields[11]) + int(fields[12])) / tick
    return found


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
