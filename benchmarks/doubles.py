"""Measure the time from the start of a test double until it accepts connections, and the time of its end.

Each round starts a double, connects to it, reads the greeting and stops it, in this process. The exit status is 1 if
the median from start to greeting is above the goal. The first double of a process also imports modules and, with TLS,
makes a certificate authority: that is printed, and not judged.
"""

from __future__ import annotations

import argparse
import socket
import sys
from statistics import median
from time import perf_counter
from typing import Literal, NamedTuple

from geventpop3.testing import Double

ROUNDS = 100
GOAL_SECONDS = 0.050
SECONDS = 30


class Round(NamedTuple):
    """Seconds of one double."""

    start: float
    greeting: float
    """From the beginning of the start to the greeting of a connection."""
    stop: float


def measure(tls: Literal["off", "offered"]) -> Round:
    """Start a double, read its greeting and stop it."""
    began = perf_counter()
    double = Double(tls=tls).start()
    started = perf_counter()
    with socket.create_connection((double.host, double.port), SECONDS) as sock:
        greeting = sock.recv(1)
        assert greeting == b"+"
        greeted = perf_counter()
    ending = perf_counter()
    double.stop()
    return Round(started - began, greeted - began, perf_counter() - ending)


def main() -> int:
    """Print the medians in milliseconds; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"doubles of each kind (default: {ROUNDS})")
    rounds = parser.parse_args().rounds
    slow = False
    for tls in ("off", "offered"):
        first = measure(tls)
        measured = [measure(tls) for _ in range(rounds)]
        start, greeting, stop = (median(column) * 1000 for column in zip(*measured, strict=True))
        slow = slow or greeting > GOAL_SECONDS * 1000
        print(
            f"tls={tls}: start {start:.1f} ms, greeting {greeting:.1f} ms (goal: {GOAL_SECONDS * 1000:.0f} ms), "
            f"stop {stop:.1f} ms; the first: {first.greeting * 1000:.0f} ms; {rounds} rounds"
        )
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
