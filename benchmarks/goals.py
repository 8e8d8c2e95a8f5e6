"""The performance goals of the project: each is one number with a bound, and tells whether measurements meet it.

A goal that cannot be measured here (no Dovecot, no openssl) is neither met nor missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from statistics import median
from typing import NamedTuple

import descriptors

TIMES = "x"


class Goal(NamedTuple):
    name: str  # unique
    what: str
    bound: float
    unit: str = TIMES
    at_most: bool = False  # the bound is a maximum, not a minimum

    def is_met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    def cells(self, value: float | None) -> tuple[str, ...]:
        """Return the cells of its line in the table: name, subject, bound, figure, verdict."""
        wanted = f"at {'most' if self.at_most else 'least'} {self.bound:g} {self.unit}"
        if value is None:
            return self.name, self.what, wanted, "", "not measured"
        verdict = "met" if self.is_met(value) else "NOT MET"
        return self.name, self.what, wanted, f"{value:.2f} {self.unit}", verdict


# The goals of the probes; scenarios.py has those of the scenarios.
COLD = Goal("huge-cold", "first login, no index, a fresh process, times as quick as Dovecot's", 3)
HELD = Goal("huge-held", "longest NOOP beside its STAT, LIST and UIDL", 5, "ms", at_most=True)
BESIDE_COLD = Goal("mixed-cold", "NOOP p99 beside a cold huge login", 15, "ms", at_most=True)
BESIDE_HASHING = Goal("mixed-argon2", "NOOP p99 beside 50 argon2 logins a second", 15, "ms", at_most=True)
IDLE = Goal("idle", "memory (PSS) of a session that is logged in and silent", 12, "KiB", at_most=True)
WORKERS = Goal("workers", "two workers, times what one does, by CPU for a session", 1.8)
TLS = Goal("tls", "RETR's octets for a second of CPU, times openssl s_server's", 0.6)
RESUMED = Goal("tls-resumed", "share of the second handshakes that were resumed", 1, "of 1")
LISTENERS = Goal("listeners", "a command beside 40 listeners, 10 plugins of other events", 2, "us", at_most=True)
PROBED = (COLD, HELD, BESIDE_COLD, BESIDE_HASHING, IDLE, WORKERS, TLS, RESUMED, LISTENERS)

Figures = Mapping[str, list[float]]  # by the name of a goal or of another figure of a probe, one for each round


class Remark(NamedTuple):
    """Further results of a goal's probe: a line below that of the goal, made of the medians of *figures*."""

    goal: Goal
    text: Callable[..., str]  # names of the figures, in their order
    figures: tuple[str, ...]

    def line(self, found: Figures) -> str | None:
        if not all(found.get(name) for name in self.figures):
            return None
        return self.text(*(median(found[name]) for name in self.figures))


REMARKS = (
    Remark(COLD, "each alone: {:,.0f} ms, Dovecot {:,.0f} ms".format, ("cold ms", "cold ms, rival")),
    Remark(
        IDLE,
        lambda count, wanted, octets: f"{descriptors.said(int(count), int(wanted))}; PSS of all {octets / 1e6:,.0f} MB",
        ("idle sessions", "idle sessions wanted", "idle octets"),
    ),
    Remark(
        WORKERS,
        "sessions/s: {:,.0f} with one, {:,.0f} with two, which share their cores with the load generator".format,
        ("sessions/s, 1 worker", "sessions/s, 2 workers"),
    ),
    Remark(
        WORKERS,
        "CPU for a session: {:,.0f} us and {:,.0f} us, of which the busier had {:.0%}".format,
        ("CPU us, 1 worker", "CPU us, 2 workers", "share of the busier"),
    ),
)


def middle(figures: Figures, goal: Goal) -> float | None:
    values = figures.get(goal.name)
    return median(values) if values else None


def remarks(figures: Figures) -> dict[str, list[str]]:
    """Return the lines below that of each goal, by the goal's name."""
    found: dict[str, list[str]] = {}
    for remark in REMARKS:
        if line := remark.line(figures):
            found.setdefault(remark.goal.name, []).append(line)
    return found


def lines(reached: Iterable[tuple[Goal, float | None]], under: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Yield a line for each goal (met, not met, not measured), the lines *under* it, and the number of met goals."""
    reached = list(reached)
    rows = [goal.cells(value) for goal, value in reached]
    name, what, wanted, got, _ = (max(map(len, column)) for column in zip(*rows, strict=True))
    for row in rows:
        yield f"  {row[0]:<{name}}  {row[1]:<{what}}  {row[2]:<{wanted}}  {row[3]:>{got}}  {row[4]}"
        for line in under.get(row[0], ()):
            yield f"  {'':<{name}}    {line}"
    measured = [(goal, value) for goal, value in reached if value is not None]
    met = sum(goal.is_met(value) for goal, value in measured)
    yield f"  {met} of {len(measured)} met; {len(reached) - len(measured)} not measured"
