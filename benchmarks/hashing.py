"""Measure the response time of a session while others log in with passwords that are expensive to check.

The server has a core of its own if there are two, and checks argon2 there too: hashing uses what the sessions leave.
A session sends NOOP all the time, before and during the load; each row has its own server. Every phase is bounded, and
the command ends by itself within two minutes. The exit status is 1 if a goal was not met.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import argon2
from load import ADDRESSES
from peers import OURS, PEERS, Place, Running, mail_user, running

from geventpop3.auth.schemes import hash_password

PASSWORD = "secret"
USERS = 200
IDLE_SECONDS = 4.0
PAUSE = 0.002  # seconds between two NOOP
PATIENCE = 60.0  # maximum seconds of one login
BEFOREHAND = 1.0  # seconds of logins before the measurement
BUSY_PAUSE = 1.0  # seconds until a refused client tries again


class Load(NamedTuple):
    name: str
    what: str
    cost: str  # a key of COSTS
    clients: int  # concurrent clients; 0: a rate is given instead
    rate: int  # logins started in each second, without waiting for earlier ones
    above_idle: bool  # True if the goal is added to the idle time
    goal: float  # of the p99, seconds


COSTS = {"argon2-cffi": "argon2-cffi's default cost", "passwd": "geventpop3 passwd's cost"}
LOADS = (
    Load("crowd", f"{USERS} at once", "argon2-cffi", USERS, 0, True, 0.020),
    Load("rate", "50 a second", "argon2-cffi", 0, 50, False, 0.015),
    Load("rate-passwd", "50 a second", "passwd", 0, 50, False, 0.015),
)


class Noops(NamedTuple):
    """The seconds from NOOP to its +OK."""

    p50: float
    p99: float
    most: float
    measured: int


class Row(NamedTuple):
    load: Load
    idle: Noops
    loaded: Noops
    outcomes: Mapping[str, int]  # of logins: "in", "busy", "lost"
    seconds: float

    @property
    def bound(self) -> float:
        return self.load.goal + (self.idle.p99 if self.load.above_idle else 0)

    @property
    def is_met(self) -> bool:
        return self.loaded.p99 < self.bound and self.outcomes.get("in", 0) > 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [load.name for load in LOADS]
    parser.add_argument("--loads", nargs="+", choices=names, default=names, help="only these loads")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of each load")
    return parser.parse_args()


def main() -> int:
    chosen = arguments()
    peer = next(peer for peer in PEERS if peer.name == OURS)
    cores = sorted(os.sched_getaffinity(0))
    rows = []
    for load in LOADS:
        if load.name in chosen.loads:
            with tempfile.TemporaryDirectory(prefix="geventpop3-hashing-") as scratch:
                place = make_place(Path(scratch), load.cost)
                with running(peer, place, set(cores[:1])) as server:
                    os.sched_setaffinity(0, set(cores[1:] or cores))
                    rows.append(measure(server, load, chosen.seconds))
                os.sched_setaffinity(0, set(cores))
    for line in table(rows):
        print(line)
    return 0 if all(row.is_met for row in rows) else 1


def make_place(scratch: Path, cost: str) -> Place:
    """Make an empty maildrop for each user; all have the same password, which is hashed once."""
    field = {
        "argon2-cffi": lambda: "{ARGON2ID}" + argon2.PasswordHasher().hash(PASSWORD),
        "passwd": lambda: hash_password(PASSWORD.encode(), "ARGON2ID"),
    }[cost]()
    names = ["probe", *(f"user{number}" for number in range(USERS))]
    root = scratch / "mail"
    for name in names:
        for part in ("new", "cur", "tmp"):
            (root / name / part).mkdir(parents=True)
    passwords = scratch / "passwords"
    passwords.write_text("".join(f"{name}:{field}\n" for name in names))
    # A password file that has just changed is read again at each login.
    os.utime(passwords, (time.time() - 60,) * 2)
    return Place(root, "", passwords, scratch, scratch, mail_user())


def measure(server: Running, load: Load, seconds: float, idle_seconds: float = IDLE_SECONDS) -> Row:
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as probe:
        receive(probe)
        for command in (b"USER probe\r\n", f"PASS {PASSWORD}\r\n".encode()):
            probe.sendall(command)
            receive(probe)
        idle = time_noops(probe, idle_seconds)
        with logging_in(server.port, load) as outcomes:
            time.sleep(BEFOREHAND)
            loaded = time_noops(probe, seconds)
            return Row(load, idle, loaded, outcomes(), BEFOREHAND + seconds)


def receive(sock: socket.socket) -> bytes:
    """Return one status line: here the server sends one at a time. Raises OSError at the end of the connection."""
    line = b""
    while not line.endswith(b"\n"):
        octets = sock.recv(4096)
        if not octets:
            raise ConnectionError(f"closed after {line!r}")
        line += octets
    return line


def time_noops(probe: socket.socket, seconds: float) -> Noops:
    times: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        started = time.perf_counter()
        probe.sendall(b"NOOP\r\n")
        receive(probe)
        times.append(time.perf_counter() - started)
        time.sleep(PAUSE)
    times.sort()
    return Noops(times[len(times) // 2], times[len(times) * 99 // 100], times[-1], len(times))


@contextmanager
def logging_in(port: int, load: Load) -> Iterator[Callable[[], Mapping[str, int]]]:
    """Run clients in a process, which is killed at the end; yield a function that returns their results."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=log_in_again_and_again, args=(port, load, theirs), daemon=True)
    process.start()

    def outcomes() -> Mapping[str, int]:
        ours.send(None)
        found: Mapping[str, int] = ours.recv()
        return found

    try:
        ours.recv()
        yield outcomes
    finally:
        process.kill()
        process.join()


def log_in_again_and_again(port: int, load: Load, connection: Connection) -> None:
    os.nice(5)  # on one core with the measured session, which has the higher priority
    outcomes: Counter[str] = Counter()

    def once(number: int) -> bool:
        outcome = outcome_of_login(port, number)
        outcomes[outcome] += 1
        return outcome == "in"

    def for_ever(number: int) -> None:
        while True:
            if not once(number):
                time.sleep(BUSY_PAUSE)

    def at_a_rate() -> None:
        began = time.monotonic()
        for number in itertools.count():
            time.sleep(max(0.0, began + number / load.rate - time.monotonic()))
            threading.Thread(target=once, args=(number,), daemon=True).start()

    if load.rate:
        threading.Thread(target=at_a_rate, daemon=True).start()
    else:
        for number in range(load.clients):
            threading.Thread(target=for_ever, args=(number,), daemon=True).start()
    connection.send(None)
    connection.recv()
    connection.send(dict(outcomes))


def outcome_of_login(port: int, number: int) -> str:
    """Log in and quit; return "in", "busy" (the server said so) or "lost" (no reply)."""
    source = f"127.0.0.{number % ADDRESSES + 1}", 0
    try:
        with socket.create_connection(("127.0.0.1", port), PATIENCE, source) as sock:
            receive(sock)
            sock.sendall(f"USER user{number % USERS}\r\n".encode())
            receive(sock)
            sock.sendall(f"PASS {PASSWORD}\r\n".encode())
            reply = receive(sock)
            if not reply.startswith(b"+OK"):
                return "busy" if b"[SYS/TEMP]" in reply or b"[IN-USE]" in reply else reply.decode("ascii")
            sock.sendall(b"QUIT\r\n")
            receive(sock)
            return "in"
    except OSError:
        return "lost"


def table(rows: list[Row]) -> Iterator[str]:
    yield f"{'logins':<42}{'of them':<34}{'NOOP idle p99':>14}{'loaded p50':>12}{'p99':>10}{'most':>10}  goal"
    for row in rows:
        load = row.load
        went = ", ".join(f"{count / row.seconds:.1f}/s {name}" for name, count in sorted(row.outcomes.items()))
        goal = f"p99 < {'idle + ' if load.above_idle else ''}{load.goal * 1000:g} ms"
        verdict = "met" if row.is_met else "NOT MET"
        yield (
            f"{f'{load.what}, {COSTS[load.cost]}':<42}{went:<34}{row.idle.p99 * 1000:>11.2f} ms"
            f"{row.loaded.p50 * 1000:>9.2f} ms{row.loaded.p99 * 1000:>7.2f} ms{row.loaded.most * 1000:>7.1f} ms"
            f"  {goal}: {verdict}"
        )


if __name__ == "__main__":
    sys.exit(main())
