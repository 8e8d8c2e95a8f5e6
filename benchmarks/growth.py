"""The cost of a session among 1 to 10,000 others, and in maildrops of 10 to 100,000 messages: figures and curves.

Every point has servers of its own in each round, and the medians of the rounds are shown; the silent sessions
have a process of their own, which ends with the point. A missed deadline, also that of the whole run, ends the
command with a message and status 1.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import descriptors
import load
import mail
import probes
import run
from noops import Session
from peers import OURS, PeerFailed, Place, Running, on_cores, ours
from scenarios import Scenario
from usage import cpu, memory

SESSIONS = (1, 100, 1_000, 10_000)
MESSAGES = (10, 100, 1_000, 10_000, 100_000)
ALL_IN_WITHIN = 60.0  # maximum seconds until all sessions are logged in
LIMIT = 330  # maximum seconds of the whole run
ACTIVE = 16  # sessions that come and go beside those that stay
SMALL_OWNERS = 200
TELLING = 100  # sessions; the memory of fewer is lost in that of the process
SILENT = "86400"  # seconds between two NOOPs of a silent session: none

Point = dict[str, float]  # figures by column; "sessions" or "messages" tells to which curve the point belongs


class Overtime(Exception):
    """An error: the time of the whole run is over."""


class Column(NamedTuple):
    head: str
    name: str
    text: str = "{:,.0f}"

    def cell(self, point: Point) -> str:
        return self.text.format(point[self.name]) if self.name in point else ""


AMONG = (
    Column("silent sessions", "sessions"),
    Column("login, CPU us", "login"),
    Column("poll, CPU us", "poll"),
    Column("KiB of each", "KiB", "{:,.1f}"),
    Column("silence, CPU ms/s", "silence", "{:,.1f}"),
)
WITHIN = (
    Column("messages", "messages"),
    Column("first login, ms", "first", "{:,.2f}"),
    Column("from the index, ms", "index", "{:,.2f}"),
    Column("again, ms", "again", "{:,.2f}"),
    Column("LIST and UIDL, ms", "listing", "{:,.2f}"),
    Column("us a message: first", "first each", "{:,.2f}"),
    Column("index", "index each", "{:,.3f}"),
    Column("again", "again each", "{:,.3f}"),
    Column("LIST, UIDL", "listing each", "{:,.3f}"),
)
COSTS_WITHIN = ("first", "index", "again", "listing")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.5, help="length of one run (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; their medians are shown (%(default)s)")
    parser.add_argument("--limit", type=int, default=LIMIT, help="maximum seconds of the whole run (%(default)s)")
    parser.add_argument(
        "--sessions", type=numbers, default=SESSIONS, help="numbers of silent sessions, separated by commas"
    )
    parser.add_argument(
        "--messages", type=numbers, default=MESSAGES, help="numbers of messages in a maildrop, separated by commas"
    )
    parser.add_argument("--data", type=Path, default=Path("build/bench"), help="mail and results (%(default)s)")
    parser.add_argument("--plot", type=Path, help="draw the curves into this SVG file; needs matplotlib")
    return parser.parse_args()


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


@contextmanager
def staying(place: Place, port: int, sessions: int, cores: set[int] | None) -> Iterator[None]:
    """Keep a number of silent sessions logged in; end them by process id. Raises LoadFailed if one cannot log in."""
    command = [
        *(str(place.binaries / "popload"), "--port", str(port), "--scenario", "idle", "--users", str(sessions)),
        *("--user-format", probes.IDLE_FORMAT, "--password", mail.PASSWORD, "--sources", str(load.ADDRESSES)),
        *("--concurrency", str(sessions), "--duration", "3600", "--noop-every", SILENT, "--announce"),
    ]
    with on_cores(cores):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    with process.stderr as words:
        try:
            told = words.readline().strip() if select.select([words], [], [], ALL_IN_WITHIN)[0] else "no message"
            if told != f"in: {sessions}":
                raise load.LoadFailed(f"{sessions:,} sessions did not log in within {ALL_IN_WITHIN:g} s; {told}")
            yield
        finally:
            process.kill()
            process.wait()


def by_sessions(setting: probes.Setting, sessions: int, seconds: float) -> Point:
    """Measure the cost of a session beside a number of silent ones."""
    with probes.fresh(setting, ours(*probes.crowded(sessions))) as (place, port, pid):
        generator = load.LoadGenerator(place.binaries, setting.load_cores, {"small": SMALL_OWNERS})
        peer = Running(OURS, port, pid)
        login, poll = (Scenario(kind, "", kind, "small", ACTIVE, "", "") for kind in ("login", "poll"))
        generator.measure(login, peer, 0.3)
        before = memory(pid)
        with staying(place, port, sessions, setting.load_cores):
            each = (memory(pid) - before) / 1024 / sessions
            silence = cpu_while(pid, lambda: time.sleep(seconds)) / seconds
            costs = {one.name: cost(generator, one, peer, seconds) for one in (login, poll)}
    found = {"sessions": sessions, **costs, "silence": silence * 1e3}
    return found | {"KiB": each} if sessions >= TELLING else found


def cost(generator: load.LoadGenerator, scenario: Scenario, peer: Running, seconds: float) -> float:
    """Return microseconds of the server's CPU time for a session. Raises LoadFailed if a reply was wrong."""
    answer = generator.measure(scenario, peer, seconds)
    for line in run.fault(scenario.name, answer):
        raise load.LoadFailed(line)
    if not answer["sessions"]:
        raise load.LoadFailed(f"{scenario.name}: no session ended within {seconds:g} s")
    return float(answer["srv_cpu_s"]) * 1e6 / float(answer["sessions"])


def cpu_while(pid: int, what: Callable[[], object]) -> float:
    """Return seconds of the server's CPU time while *what* runs."""
    before = cpu(pid)
    what()
    return cpu(pid) - before


def by_messages(setting: probes.Setting, messages: int, seconds: float) -> Point:
    """Measure the CPU time of a login into a maildrop without index, with index and with cache, and of its listings."""
    owner = _owner(messages)
    probes.forget_index(setting.place, owner)

    def login(port: int) -> None:
        with Session(port, owner, mail.PASSWORD) as session:
            session.say("STAT")
            session.say("QUIT")

    found: Point = {"messages": messages}
    for state in ("first", "index"):  # the first server writes the index, which the second server must read
        with probes.fresh(setting, ours()) as (place, port, pid):
            with Session(port, probes.SMALL, mail.PASSWORD) as other:
                other.say("STAT")  # the code is warm, the maildrop is not
                found[state] = cpu_while(pid, partial(login, port)) * 1e3
            if state == "index":
                found["listing"] = _listing(port, pid, owner, seconds) * 1e3
                scenario = Scenario("again", "", "login", "small", 1, "", "", options=("--user-format", owner))
                generator = load.LoadGenerator(place.binaries, setting.load_cores, {"small": 1})
                found["again"] = cost(generator, scenario, Running(OURS, port, pid), seconds) / 1e3
    return found | {f"{what} each": found[what] * 1e3 / messages for what in COSTS_WITHIN}


def _listing(port: int, pid: int, owner: str, seconds: float) -> float:
    """Return seconds of CPU time for one LIST and one UIDL."""
    with Session(port, owner, mail.PASSWORD) as session:
        times = 0

        def listings() -> None:
            nonlocal times
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                for command in ("LIST", "UIDL"):
                    session.say(command, end=b"\r\n.\r\n")
                times += 1

        used = cpu_while(pid, listings)
        session.say("QUIT")  # after this reply, the maildrop is free for the next session
    return used / times


def _owner(messages: int) -> str:
    return f"g{messages:06d}"


def middle(rounds: Sequence[Sequence[Point]]) -> list[Point]:
    """Return the points; each figure is the median of its rounds."""
    return [
        {name: median(point[name] for point in points) for name in points[0]} for points in zip(*rounds, strict=True)
    ]


def lines(columns: Sequence[Column], points: Sequence[Point]) -> Iterator[str]:
    """Return the table, each column as wide as its widest cell."""
    rows = [[column.head for column in columns]]
    rows += [[column.cell(point) for column in columns] for point in points]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True))


def measure(given: argparse.Namespace, setting: probes.Setting) -> tuple[list[Point], list[Point]]:
    """Measure the points of each table; measurements are interleaved, as the scenarios are."""
    sessions = sorted({descriptors.sessions(count) for count in given.sessions})
    among: list[list[Point]] = []
    within: list[list[Point]] = []
    for number in range(1, given.rounds + 1):
        among.append([])
        for count in sessions:
            run.say(f"round {number} of {given.rounds}: among {count:,} sessions")
            among[-1].append(by_sessions(setting, count, given.seconds))
        within.append([])
        for count in given.messages:
            run.say(f"round {number} of {given.rounds}: in maildrops of {count:,} messages")
            within[-1].append(by_messages(setting, count, given.seconds))
    return middle(among), middle(within)


def benchmark(given: argparse.Namespace) -> int:
    data = given.data.resolve()
    server_cores, load_cores = load.two_cores()
    run.say(f"python: {run.interpreter()}")
    with tempfile.TemporaryDirectory(prefix="geventpop3-growth-") as scratch:
        os.chmod(scratch, 0o755)
        place = run.prepare(data, Path(scratch), {"small": SMALL_OWNERS})
        for count in given.messages:  # early, because a directory that has just changed is listed twice
            mail.build_of_links(place.maildirs / _owner(count), count, place.mail_user)
        everybody = [
            *mail.owner_names("small", SMALL_OWNERS),
            *probes.idle_owners(place, descriptors.sessions(max(given.sessions))),
            *map(_owner, given.messages),
        ]
        place = place._replace(passwords=probes.passwords_for(place, everybody, "everybody"))
        among, within = measure(given, probes.Setting(place, server_cores, load_cores, False))
    print(*lines(AMONG, among), "", *lines(WITHIN, within), "", sep="\n")
    for count in given.sessions:
        if descriptors.sessions(count) < count:
            print(descriptors.said(descriptors.sessions(count), count))
    (data / "growth.json").write_text(json.dumps({"sessions": among, "messages": within}, indent=1))
    if given.plot:
        draw(among, within, given.plot)
        print(f"plot: {given.plot}")
    print(f"done in {run.seconds():.0f} s; all figures: {data / 'growth.json'}")
    return 0


def draw(among: Sequence[Point], within: Sequence[Point], path: Path) -> None:
    import plot  # matplotlib is a separate extra

    def curve(points: Sequence[Point], x: str, y: str) -> list[tuple[float, float]]:
        return [(point[x], point[y]) for point in points if y in point]

    names = {
        "first": "first login, no index",
        "index": "login, from the index",
        "again": "login again",
        "listing": "LIST and UIDL",
    }
    panels = (
        plot.Panel(
            "silent sessions",
            "CPU us for a session",
            {name: curve(among, "sessions", name) for name in ("login", "poll")},
        ),
        plot.Panel(
            "messages in the maildrop",
            "CPU ms",
            {words: curve(within, "messages", name) for name, words in names.items()},
            is_logarithmic=True,
        ),
        plot.Panel("silent sessions", "KiB of each", {"memory": curve(among, "sessions", "KiB")}),
        plot.Panel(
            "messages in the maildrop",
            "CPU us for a message",
            {words: curve(within, "messages", f"{name} each") for name, words in names.items()},
            is_logarithmic=True,
        ),
    )
    plot.curves(panels, path)


def over(*_signal: object) -> None:
    raise Overtime


def main() -> int:
    given = arguments()
    descriptors.take()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the servers are ended when the context exits
    signal.signal(signal.SIGALRM, over)
    signal.alarm(given.limit)
    try:
        with run.alone(given.data):
            return benchmark(given)
    except Overtime:
        run.say(f"NOT COMPLETED within {given.limit} s: stopped, nothing is drawn")
    except (PeerFailed, load.LoadFailed, ConnectionError) as error:
        run.say(f"FAILED: {error}")
    except KeyboardInterrupt:
        run.say("interrupted; the servers were stopped")
        return 130
    finally:
        signal.alarm(0)
    return 1


if __name__ == "__main__":
    sys.exit(main())
