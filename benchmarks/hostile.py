"""Measure the time of a client's login while other clients are slow, send without pause, or never read.

Each attack is compared with the quiet phase right before it, in one run. The server has a core of its own if there
are two. Every phase is bounded, and the command ends by itself within a minute or two. The exit status is 1 if a goal
was not met.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import descriptors
import tls
from peers import Place, available, free_port, mail_user, ours, running
from usage import memory

HERE = Path(__file__).parent
PASSWORD = "secret"
LARGE_OCTETS = 8 * 1024 * 1024  # more than the kernel buffers for a peer that does not read
LOGINS = 400
SECONDS = 8.0  # seconds of one phase
RATIO = 3.0
HOGGED_P99 = 0.050  # seconds
ATTACK_SECONDS = (
    50.0  # less than every other deadline of the server, so that no client is dropped during the measurement
)
HANDSHAKES = ("tls", "stls")


class Attack(NamedTuple):
    sort: str
    clients: int
    what: str
    bound: float | None = None  # maximum p99 in seconds; None: the ratio of the medians is judged
    seconds: float = SECONDS  # maximum concurrent logins


ATTACKS = (
    Attack("never", 500, "ask for 8 MiB and never read"),
    Attack("sip", 500, "read an octet a second"),
    Attack("drip", 500, "send an octet a second"),
    Attack("hog", 2, "pipeline NOOP, read all", HOGGED_P99),
    # The deadline of a handshake is 10 s. The measured client uses TLS in the first case, and none in the second.
    Attack("tls", 1000, "stall in TLS's handshake", seconds=4.0),
    Attack("stls", 1000, "stall behind STLS", seconds=4.0),
)


class Logins(NamedTuple):
    """The seconds from connect to the +OK of PASS, in one phase."""

    p50: float
    p99: float
    measured: int


class Row(NamedTuple):
    attack: Attack
    quiet: Logins
    attacked: Logins
    octets_each: float  # octets of the server's memory for each attacker
    left: int  # attackers that were still connected at the end

    @property
    def is_met(self) -> bool:
        if self.attack.bound is not None:
            return self.attacked.p99 < self.attack.bound
        return self.attacked.p50 < RATIO * self.quiet.p50


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sorts = [attack.sort for attack in ATTACKS]
    parser.add_argument("--attacks", nargs="+", choices=sorts, default=sorts, help="only these attacks")
    return parser.parse_args()


def main() -> int:
    sorts = arguments().attacks
    if not available("openssl") and set(sorts) & set(HANDSHAKES):
        print("handshakes are left out: openssl, which makes the certificate, is not installed", file=sys.stderr)
        sorts = [sort for sort in sorts if sort not in HANDSHAKES]
    descriptors.take()
    with tempfile.TemporaryDirectory(prefix="geventpop3-hostile-") as scratch:
        place = make_place(Path(scratch))
        cores = sorted(os.sched_getaffinity(0))
        rows = []
        for attack in (attack for attack in ATTACKS if attack.sort in sorts):
            # Each attack has its own server, so that none reuses memory that an earlier attack allocated.
            with serving(attack, place, set(cores[:1])) as server:
                os.sched_setaffinity(0, set(cores[1:] or cores))
                time_logins(server.login, 1.0)  # fills the caches
                rows.append(measure(server, attack))
            os.sched_setaffinity(0, set(cores))
    for line in table(rows):
        print(line)
    return 0 if all(row.is_met for row in rows) else 1


class Attacked(NamedTuple):
    """A server and its port, for the attackers and the honest client."""

    port: int
    pid: int
    login: Callable[[], float]  # seconds of the honest client's logins


@contextmanager
def serving(attack: Attack, place: Place, cores: set[int]) -> Iterator[Attacked]:
    if attack.sort not in HANDSHAKES:
        with running(ours(), place, cores) as server:
            yield Attacked(server.port, server.pid, lambda: login(server.port))
        return
    certificate, port = tls.make_certificate(place.scratch), free_port()
    options = ("--tls-listen", f"127.0.0.1:{port}", "--tls-cert", str(certificate))
    context = tls.context(certificate)
    with running(ours(*options), place, cores) as server:
        if attack.sort == "tls":
            yield Attacked(port, server.pid, lambda: login(port, context))
        else:
            yield Attacked(server.port, server.pid, lambda: login(server.port))


def make_place(scratch: Path) -> Place:
    """Make a maildrop for each attacker, all with the same large message, and one for the honest client."""
    root = scratch / "mail"
    names = [
        "honest",
        *(f"{attack.sort}{n}" for attack in ATTACKS if attack.sort not in HANDSHAKES for n in range(attack.clients)),
    ]
    large = scratch / "large"
    line = b"x" * 76 + b"\n"
    large.write_bytes(b"Subject: large\n\n" + line * (LARGE_OCTETS // len(line)))
    octets = large.stat().st_size
    size = f"S={octets},W={octets + large.read_bytes().count(10)}"
    for name in names:
        for part in ("new", "cur", "tmp"):
            (root / name / part).mkdir(parents=True)
        if name != "honest":
            os.link(large, root / name / "cur" / f"1700000000.M1P1.bench,{size}:2,S")
    passwords = scratch / "passwords"
    passwords.write_text("".join(f"{name}:{{PLAIN}}{PASSWORD}\n" for name in names))
    return Place(root, "", passwords, scratch, scratch, mail_user())


def measure(server: Attacked, attack: Attack) -> Row:
    quiet = time_logins(server.login, SECONDS)
    before = memory(server.pid)
    with attacking(server.port, attack) as process:
        attacked = time_logins(server.login, attack.seconds)
        each = max(0, memory(server.pid) - before) / attack.clients
        answer, _ = process.communicate(timeout=ATTACK_SECONDS)
    return Row(attack, quiet, attacked, each, json.loads(answer.splitlines()[-1])["alive"])


@contextmanager
def attacking(port: int, attack: Attack) -> Iterator[subprocess.Popen[str]]:
    """Run the attackers in a process of their own, which is killed at the end."""
    command = [sys.executable, str(HERE / "attackers.py"), attack.sort, str(port), str(attack.clients)]
    with subprocess.Popen(
        [*command, f"{attack.sort}%d", str(ATTACK_SECONDS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            if ready != "ready\n":
                raise SystemExit(f"the attackers of sort {attack.sort} did not become ready")
            yield process
        finally:
            process.kill()


def time_logins(login: Callable[[], float], seconds: float) -> Logins:
    times: list[float] = []
    end = time.monotonic() + seconds
    while len(times) < LOGINS and time.monotonic() < end:
        times.append(login())
    times.sort()
    return Logins(median(times), times[len(times) * 99 // 100], len(times))


def connect(port: int, context: ssl.SSLContext | None) -> socket.socket:
    return tls.connect(port, context) if context else socket.create_connection(("127.0.0.1", port), timeout=30)


def login(port: int, context: ssl.SSLContext | None = None) -> float:
    """Return the seconds from connect to the +OK of PASS, over TLS with *context*; then QUIT and read to the end."""
    started = time.perf_counter()
    with connect(port, context) as sock:
        answers = sock.makefile("rb")
        answers.readline()
        for command in (b"USER honest\r\n", f"PASS {PASSWORD}\r\n".encode()):
            sock.sendall(command)
            reply = answers.readline()
            if not reply.startswith(b"+OK"):
                raise SystemExit(f"the honest client was refused: {reply!r}")
        seconds = time.perf_counter() - started
        sock.sendall(b"QUIT\r\n")
        answers.read()
    return seconds


def table(rows: list[Row]) -> Iterator[str]:
    yield f"{'attackers':<34}{'quiet p50':>11}{'p99':>9}{'attacked p50':>14}{'p99':>9}{'ratio':>8}{'each':>10}  goal"
    for attack, quiet, attacked, each, left in rows:
        goal = f"ratio < {RATIO:g}" if attack.bound is None else f"p99 < {attack.bound * 1000:g} ms"
        verdict = "met" if Row(attack, quiet, attacked, each, left).is_met else "NOT MET"
        gone = f", {attack.clients - left} were dropped" if left < attack.clients else ""
        yield (
            f"{f'{attack.clients} {attack.what}':<34}{quiet.p50 * 1000:>8.2f} ms{quiet.p99 * 1000:>6.1f} ms"
            f"{attacked.p50 * 1000:>11.2f} ms{attacked.p99 * 1000:>6.1f} ms{attacked.p50 / quiet.p50:>8.2f}"
            f"{each / 1024:>6.0f} KiB  {goal}: {verdict}{gone}"
        )


if __name__ == "__main__":
    sys.exit(main())
