"""What a session costs among 1 to 10,000 others, and in maildrops of 10 to 100,000 messages: figures and curves.

Every point has a server of its own; the sessions that only stay have a process of their own, which ends with the point.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import load
import mail
import probes
import run
from hostile import memory
from noops import Session
from peers import Place, Running, on_cores, ours
from scenarios import Scenario

SESSIONS = (1, 100, 1_000, 10_000)
MESSAGES = (10, 100, 1_000, 10_000, 100_000)
ALL_IN_WITHIN = 120.0  # seconds that the sessions may take to log in


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one run (%(default)s)")
    parser.add_argument("--data", type=Path, default=Path("build/bench"), help="mail and results (%(default)s)")
    parser.add_argument("--plot", type=Path, help="draw the curves into this SVG file; needs matplotlib")
    return parser.parse_args()


@contextmanager
def staying(place: Place, port: int, pid: int, sessions: int, cores: set[int] | None) -> Iterator[None]:
    """So many sessions, logged in and silent; ended by the process's number."""
    before = len(os.listdir(f"/proc/{pid}/fd"))
    command = [
        *(str(place.binaries / "popload"), "--port", str(port), "--scenario", "idle", "--users", str(sessions)),
        *("--user-format", f"{probes.IDLE_LETTER}%05d", "--password", mail.PASSWORD, "--sources", str(load.ADDRESSES)),
        *("--concurrency", str(sessions), "--duration", "300"),
    ]
    with on_cores(cores):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + ALL_IN_WITHIN
        # A session has its connection and its maildrop's lock.
        while len(os.listdir(f"/proc/{pid}/fd")) < before + 2 * sessions and time.monotonic() < deadline:
            time.sleep(0.1)
        yield
    finally:
        process.kill()
        process.wait()


def by_sessions(setting: probes.Setting, sessions: int, seconds: float) -> dict[str, float]:
    options = ("--max-sessions", str(2 * sessions + 100), "--log-level", "warning")
    scenario = Scenario("login", "", "login", "small", 16, "", "")
    with probes.fresh(setting, ours(*options)) as (place, port, pid):
        generator = load.LoadGenerator(place.binaries, setting.load_cores, {"small": 200})
        peer = Running("geventpop3", port, pid)
        generator.measure(scenario, peer, 0.3)
        before = memory(pid)
        with staying(place, port, pid, sessions, setting.load_cores):
            each = (memory(pid) - before) / 1024 / sessions
            answer = generator.measure(scenario, peer, seconds)
    return {"sessions": sessions, "KiB": each, "CPU us": answer["srv_cpu_s"] * 1e6 / answer["sessions"]}


def by_messages(setting: probes.Setting, messages: int, seconds: float) -> dict[str, float]:
    owner = f"g{messages:06d}"
    folder = setting.place.maildirs / owner
    mail.build_of_links(folder, messages, setting.place.mail_user)
    (folder / probes.INDEX).unlink(missing_ok=True)
    scenario = Scenario("poll", "", "poll", "small", 1, "", "", options=("--user-format", owner, "--users", "1"))
    with probes.fresh(setting, ours()) as (place, port, pid):
        started = time.monotonic()
        with Session(port, owner, mail.PASSWORD) as session:
            session.say("STAT")
            first = time.monotonic() - started
            session.say("QUIT")
        generator = load.LoadGenerator(place.binaries, setting.load_cores, {"small": 1})
        answer = generator.measure(scenario, Running("geventpop3", port, pid), seconds)
    return {"messages": messages, "first ms": first * 1e3, "CPU us": answer["srv_cpu_s"] * 1e6 / answer["sessions"]}


def main() -> int:
    given = arguments()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    data = given.data.resolve()
    server_cores, load_cores = load.two_cores()
    with tempfile.TemporaryDirectory(prefix="geventpop3-growth-") as scratch:
        os.chmod(scratch, 0o755)
        place = run.prepare(data, Path(scratch), {"small": 200})
        everybody = [
            *mail.owner_names("small", 200),
            *probes.idle_owners(place, max(SESSIONS)),
            *(f"g{messages:06d}" for messages in MESSAGES),
        ]
        place = place._replace(passwords=probes.passwords_for(place, everybody, "everybody"))
        setting = probes.Setting(place, server_cores, load_cores, False)
        among = [
            by_sessions(setting, count, given.seconds) for count in (min(count, probes.room()) for count in SESSIONS)
        ]
        within = [by_messages(setting, count, given.seconds) for count in MESSAGES]
    for row in (*among, *within):
        print("  ".join(f"{name} {value:,.1f}" for name, value in row.items()))
    (data / "growth.json").write_text(json.dumps({"sessions": among, "messages": within}, indent=1))
    if given.plot:
        import plot  # matplotlib is an extra of its own

        plot.curves(
            {
                ("sessions that stay", "CPU us for a login"): {"login": [(r["sessions"], r["CPU us"]) for r in among]},
                ("sessions that stay", "KiB of each"): {"memory": [(r["sessions"], r["KiB"]) for r in among]},
                ("messages", "CPU us for a warm poll"): {"poll": [(r["messages"], r["CPU us"]) for r in within]},
                ("messages", "ms of a first login"): {"first": [(r["messages"], r["first ms"]) for r in within]},
            },
            given.plot,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
