"""Measure geventpop3 beside Dovecot, a minimal gevent program and the ideal server, and print the ratios.

The scenarios are interleaved: in each round every server runs each of them, so that a disturbance of the
machine affects all servers alike. Traffic goes to 127.0.0.1 only, and every run is bounded.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import descriptors
import goals
import load
import mail
import probes
import report
from peers import FLOOR, OURS, PEERS, RIVAL, Peer, PeerFailed, Place, Running, available, mail_user, running
from scenarios import SCENARIOS, Scenario

import geventpop3

QUICK_OWNERS = {"small": 200, "medium": 16, "large": 4, "huge": 1}
QUICK_PEERS = (OURS, RIVAL, FLOOR)
FULL_OWNERS = {name: mail_set.owners for name, mail_set in mail.SETS.items()}
IDLE_OWNERS = 1000  # each idle client has its own maildrop
MESSAGES_EACH = {"small": 10, "medium": 200, "large": 20, "huge": 100_000}


class Plan(NamedTuple):
    rounds: int
    seconds: float
    owners: Mapping[str, int]
    scenarios: Sequence[Scenario]


Answers = dict[str, dict[str, list[load.Answer]]]  # scenario -> server -> one for each round


BEGAN = time.monotonic()


def seconds() -> float:
    """Return the seconds since the command began."""
    return time.monotonic() - BEGAN


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"{seconds():6.1f}  {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shorter, with less mail, in under 2 minutes")
    parser.add_argument("--rounds", type=int, help="rounds; their medians are shown (3; quick: 2)")
    parser.add_argument("--seconds", type=float, help="length of one run (3; quick: 0.8)")
    parser.add_argument("--data", type=Path, default=Path("build/bench"), help="mail and results (%(default)s)")
    parser.add_argument(
        "--peers", type=_names([peer.name for peer in PEERS]), help="only these peers, separated by commas"
    )
    parser.add_argument(
        "--scenarios",
        type=_names([scenario.name for scenario in SCENARIOS]),
        help="only these scenarios, separated by commas",
    )
    parser.add_argument(
        "--probes",
        type=_names(list(probes.PROBES)),
        help="only these probes, separated by commas; --no-probes for none",
    )
    parser.add_argument("--no-probes", action="store_true", help="the scenarios alone")
    parser.add_argument("--no-scenarios", action="store_true", help="the probes alone")
    parser.add_argument("--plot", type=Path, help="draw the ratios into this SVG file; needs matplotlib")
    return parser.parse_args()


def _names(known: Sequence[str]) -> Any:
    def names(text: str) -> list[str]:
        wanted = text.split(",")
        if wrong := [name for name in wanted if name not in known]:
            raise argparse.ArgumentTypeError(f"{wrong[0]!r} is not one of {', '.join(known)}")
        return wanted

    return names


def plan(given: argparse.Namespace) -> Plan:
    if given.no_scenarios:
        chosen = []
    elif given.scenarios:
        chosen = [scenario for scenario in SCENARIOS if scenario.name in given.scenarios]
    else:
        chosen = [scenario for scenario in SCENARIOS if scenario.quick or not given.quick]
    sets = {"small", *(scenario.mail_set for scenario in chosen)}  # "mixed" has small maildrops beside the large
    sets |= {"small", "large", "huge"} if not given.no_probes else set()
    owners = {name: count for name, count in (QUICK_OWNERS if given.quick else FULL_OWNERS).items() if name in sets}
    if any(scenario.kind == "idle" for scenario in chosen):
        owners["small"] = IDLE_OWNERS
    rounds, seconds = (2, 0.8) if given.quick else (3, 3.0)
    return Plan(given.rounds or rounds, given.seconds or seconds, owners, chosen)


def prepare(data: Path, scratch: Path, owners: Mapping[str, int]) -> Place:
    """Compile the programs, make missing mail and write the password file."""
    load.compile_programs(data)
    user = mail_user()
    everybody = mail.build(data / "mail", owners, user, say)
    passwords = scratch / "passwords"
    passwords.write_text("".join(f"{owner}:{{PLAIN}}{mail.PASSWORD}\n" for owner in everybody))
    # floor.py and ideal.c would read 100,000 files before their greeting.
    letters = "".join(mail.SETS[name].letter for name in owners if name != "huge")
    return Place(data / "mail", letters, passwords, scratch, data, user)


def start(chosen: Sequence[Peer], place: Place, cores: set[int] | None, stack: ExitStack) -> list[Running]:
    up = []
    for peer in chosen:
        if reason := peer.missing(place):
            say(f"{peer.name} is left out: {reason}")
            continue
        up.append(stack.enter_context(running(peer, place, cores)))
    return up


def measure(wanted: Plan, up: Sequence[Running], generator: load.LoadGenerator) -> tuple[Answers, list[str]]:
    """Run the scenarios; return every result, and a line for each run with an error."""
    answers: Answers = {scenario.name: {peer.name: [] for peer in up} for scenario in wanted.scenarios}
    faults = []
    for mail_set in wanted.owners:
        for peer in up:
            if mail_set == "huge" and peer.name not in (OURS, RIVAL):
                continue
            say(f"warming: {mail_set}, {peer.name}")
            faults += fault("warming " + mail_set, generator.warm(mail_set, peer))
    for number in range(wanted.rounds):
        for scenario in sorted(wanted.scenarios, key=lambda scenario: not scenario.once):
            if scenario.once and number:
                continue
            say(f"round {number + 1} of {wanted.rounds}: {scenario.name}")
            for peer in up:
                if scenario.peers is not None and peer.name not in scenario.peers:
                    continue
                answer = generator.measure(scenario, peer, wanted.seconds)
                answers[scenario.name][peer.name].append(answer)
                faults += fault(scenario.name, answer)
    return answers, faults


def fault(what: str, answer: load.Answer) -> list[str]:
    if not answer["errors_total"]:
        return []
    return [f"{what}, {answer['label']}: {answer['errors_total']} errors, the first: {answer['first_error']}"]


def probe(given: argparse.Namespace, rounds: int, setting: probes.Setting) -> dict[str, list[float]]:
    """Run the probes; return a figure for each round, by the names of goals and of figures in remarks."""
    figures: dict[str, list[float]] = {goal.name: [] for goal in goals.PROBED}
    chosen = given.probes or list(probes.PROBES)
    once = probes.ONCE_IF_QUICK if given.quick else probes.ONCE
    for number in range(0 if given.no_probes else rounds):
        for name in chosen:
            if name in once and number:
                continue
            say(f"round {number + 1} of {rounds}: {name}")
            for what, value in probes.PROBES[name](setting).items():
                figures.setdefault(what, []).append(value)
    return figures


def interpreter() -> str:
    """Return the version of Python, and whether it was built with optimizations."""
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    said = "configured" if optimised else "not configured"
    return f"{platform.python_version()} at {sys.base_prefix}, {said} with --enable-optimizations"


def machine() -> dict[str, str]:
    found = {
        "system": platform.platform(),
        "cores": str(len(os.sched_getaffinity(0))),
        "python": interpreter(),
        "package": str(Path(geventpop3.__file__).parent),
    }
    found |= {name: version(name) for name in ("geventpop3", "gevent", "blinker")}
    if available("dovecot"):
        told = subprocess.run(["dovecot", "--version"], capture_output=True, text=True, check=False)
        found["dovecot"] = told.stdout.strip()
    return found


@contextmanager
def alone(data: Path) -> Iterator[None]:
    """Lock the folder: two benchmarks would use the same maildrops. Raises LoadFailed if another one runs."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise load.LoadFailed(
                f"another benchmark runs in {data}: wait for it, or give another folder with --data"
            ) from None
        yield


def benchmark(given: argparse.Namespace) -> int:
    wanted = plan(given)
    data = given.data.resolve()
    names = given.peers or (QUICK_PEERS if given.quick else [peer.name for peer in PEERS])
    chosen = [peer for peer in PEERS if peer.name in names]
    about = machine()
    for name, value in about.items():
        say(f"{name}: {value}")
    server_cores, load_cores = load.two_cores()
    if server_cores is None:
        say("one core only: servers and load share it, so the figures say little")
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="geventpop3-bench-")))
        scratch.chmod(0o755)  # Dovecot's processes are not root
        place = prepare(data, scratch, wanted.owners)
        generator = load.LoadGenerator(data, load_cores, wanted.owners)
        with ExitStack() as peers:  # these have ended when the probes begin
            up = start(chosen if wanted.scenarios else [], place, server_cores, peers)
            answers, faults = measure(wanted, up, generator)
        figures = probe(given, wanted.rounds, probes.Setting(place, server_cores, load_cores, given.quick))
    tables = [
        report.table(scenario, answers[scenario.name], MESSAGES_EACH[scenario.mail_set])
        for scenario in wanted.scenarios
    ]
    for found in tables:
        print(*report.lines(found), "", sep="\n")
    reached = [*report.reached(tables), *((goal, goals.middle(figures, goal)) for goal in goals.PROBED)]
    print("goals", *goals.lines(reached, goals.remarks(figures)), "", sep="\n")
    if given.plot:
        import plot  # matplotlib is a separate extra

        plot.ratios(tables, given.plot)
        print(f"plot: {given.plot}")
    results = data / "results.json"
    results.write_text(
        json.dumps(
            {
                "machine": about,
                "rounds": wanted.rounds,
                "seconds": wanted.seconds,
                "faults": faults,
                "goals": {goal.name: value for goal, value in reached},
                "probes": figures,
                "tables": report.as_json(tables),
                "runs": answers,
            },
            indent=1,
        )
    )
    for line in faults:
        say(f"WRONG: {line}")
    print(f"python {about['python']}; all figures: {results}")
    print(f"done in {seconds():.0f} s")
    return 1 if faults else 0


def main() -> int:
    given = arguments()
    if not available("gcc"):
        say("the benchmarks need a C compiler for their load generator: apt-get install gcc libc6-dev")
        return 2
    descriptors.take()  # for the servers too: they inherit it
    # SIGTERM is handled like Ctrl-C: the servers are stopped before the exit.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with alone(given.data):
            return benchmark(given)
    except (PeerFailed, load.LoadFailed, ConnectionError) as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; the servers were stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
