"""The goals of the project's speed: each is one bounded number, and says of what was measured whether it is met.

A number nobody could measure here (no Dovecot, no openssl) meets nothing and fails nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from statistics import median
from typing import NamedTuple

TIMES = "x"


class Goal(NamedTuple):
    name: str  # unique
    what: str
    bound: float
    unit: str = TIMES
    at_most: bool = False  # the bound is the most, not the least

    def is_met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    def line(self, value: float | None) -> str:
        relation = "at most" if self.at_most else "at least"
        wanted = f"{relation} {self.bound:g} {self.unit}"
        if value is None:
            return f"  {self.name:<24}{self.what:<62}{wanted:<18}{'':>14}  not measured"
        verdict = "met" if self.is_met(value) else "NOT MET"
        return f"  {self.name:<24}{self.what:<62}{wanted:<18}{f'{value:.2f} {self.unit}':>14}  {verdict}"


# Of what the probes measure; those of the scenarios stand with them.
COLD = Goal("huge-cold", "first login, no index, a fresh process, times as quick as Dovecot's", 3)
HELD = Goal("huge-held", "longest NOOP beside its STAT, LIST and UIDL", 5, "ms", at_most=True)
BESIDE_COLD = Goal("mixed-cold", "NOOP p99 beside a cold huge login", 15, "ms", at_most=True)
BESIDE_HASHING = Goal("mixed-argon2", "NOOP p99 beside 50 argon2 logins a second", 15, "ms", at_most=True)
IDLE = Goal("idle", "memory (PSS) of a session that is logged in and silent", 12, "KiB", at_most=True)
WORKERS = Goal("workers", "two workers, times what one does", 1.8)
TLS = Goal("tls", "RETR's octets for a second of CPU, times openssl s_server's", 0.6)
RESUMED = Goal("tls-resumed", "share of the second handshakes that were resumed", 1, "of 1")
LISTENERS = Goal("listeners", "a command beside 40 listeners, 10 plugins of other events", 2, "us", at_most=True)
PROBED = (COLD, HELD, BESIDE_COLD, BESIDE_HASHING, IDLE, WORKERS, TLS, RESUMED, LISTENERS)

Figures = Mapping[str, list[float]]  # by goal, one for each round


def middle(figures: Figures, goal: Goal) -> float | None:
    values = figures.get(goal.name)
    return median(values) if values else None


def lines(reached: Iterable[tuple[Goal, float | None]]) -> Iterator[str]:
    """A line for each goal: met, not met, or not measured; and how many of them are met."""
    reached = list(reached)
    for goal, value in reached:
        yield goal.line(value)
    measured = [(goal, value) for goal, value in reached if value is not None]
    met = sum(goal.is_met(value) for goal, value in measured)
    yield f"  {met} of {len(measured)} met; {len(reached) - len(measured)} not measured"
