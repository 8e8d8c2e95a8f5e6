"""A client polls a test double twice, with a fault and then without it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from clients_faults import LATE, MAIL, Case, Step
from clients_fetched import contents
from clients_maildrop import Home
from clients_outcome import Outcome, Poll, judge
from clients_pollers import PATIENCE, Client, Target

from geventpop3.testing import Address, Double, Fault

LIMIT = 4 * PATIENCE
"""Seconds until a client that does not end is killed."""

_SESSION = re.compile(r"^session \d+: ", re.MULTILINE)


def play(client: Client, case: Case) -> tuple[Outcome, str]:
    """Let *client* poll twice; return the outcome, and what it printed with the transcripts.

    Raises DoubleFailed if the double itself had an error.
    """
    steps = [step.by(client.fetches, client.quits) for step in case.steps]
    if None in steps:
        return Outcome("-"), "the fault cannot happen at the command that this client fetches by"
    double = Double()
    with tempfile.TemporaryDirectory(prefix="clients-") as folder:
        double.start()
        try:
            played = _play(client, [step for step in steps if step], case.tls, double, Path(folder))
        finally:
            double.stop()
    double.check()
    return played


def _play(client: Client, steps: list[Step], tls: bool, double: Double, folder: Path) -> tuple[Outcome, str]:
    home = Home(folder)
    home.address = Address("localhost", double.tls_port) if tls else Address(double.host, double.port)
    target = Target(home, tls, double.ca)
    box = double.maildrop(home.user, home.password)
    box.deliver(*MAIL)
    faults = [(step, double.fail(step.on, step.how, optional=True, **dict(step.options))) for step in steps]
    polls: list[Poll] = []
    sent = MAIL
    for _ in range(2):
        if polls:
            box.deliver(LATE)
            sent = (*sent, LATE)
            _end_faults(faults)
        status, printed = run(client.command(target), home)
        double.wait_for(sessions=len(_SESSION.findall(double.transcript)), timeout=LIMIT)
        if status in client.hangs:
            status = None
        stored = [octets.removeprefix(client.adds) for octets in contents(home.fetched)]
        polls.append(Poll(status, printed.replace(client.always, ""), sent, stored, box.messages))
    told = "\n".join(f"poll {number}: {poll.status}\n{poll.printed}" for number, poll in enumerate(polls, 1))
    told = f"{told}\n{double.transcript}"
    if not all(fault.happened for _, fault in faults):
        return Outcome("-"), told
    return judge(polls[0], polls[1], client.well), told


def _end_faults(faults: list[tuple[Step, Fault]]) -> None:
    """Let those that have not happened never happen, unless they are for the second poll."""
    for step, fault in faults:
        if not step.later and not fault.happened:
            fault.nth = sys.maxsize


def run(command: list[object], home: Home) -> tuple[int | None, str]:
    """Run a client; return its exit status, None if it was killed after ``LIMIT`` seconds, and what it printed."""
    with subprocess.Popen(
        [str(word) for word in command],
        env=home.environment(),
        cwd=home.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as running:
        try:
            printed, _ = running.communicate(timeout=LIMIT)
            status: int | None = running.returncode
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)  # the client and what it started
            printed, _ = running.communicate()
            status = None
    return status, printed.decode("utf-8", "replace")
