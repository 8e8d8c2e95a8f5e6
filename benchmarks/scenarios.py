"""The scenarios: each is one table, with the figure that is compared and its goal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from goals import Goal
from peers import FLOOR, OURS, RIVAL


class Against(NamedTuple):
    """A goal: a ratio to *peer*, or the figure itself if *peer* is geventpop3."""

    peer: str
    by_cpu: bool  # compares CPU time for a session, which other load on the machine changes less, instead of the figure
    goal: Goal


def _rival(name: str, bound: float, by_cpu: bool = False) -> Against:
    what = "CPU for a session, times less than" if by_cpu else "times as quick as"
    return Against(RIVAL, by_cpu, Goal(f"{name}-{bound:g}", f"{what} {RIVAL}", bound))


def _floor(name: str, bound: float) -> Against:
    return Against(FLOOR, True, Goal(f"{name}-floor", f"CPU for a session, times the {FLOOR}'s", bound, at_most=True))


class Scenario(NamedTuple):
    name: str
    title: str
    kind: str  # popload's --scenario
    mail_set: str
    clients: int
    figure: str  # path into popload's answer
    unit: str
    scale: float = 1.0  # popload's unit to ours
    higher_is_better: bool = True
    options: tuple[str, ...] = ()
    goals: tuple[Against, ...] = ()
    peers: frozenset[str] | None = None  # None: all; the others would take minutes
    once: bool = False  # measures memory: runs first, before other scenarios leave free memory to reuse
    quick: bool = True  # part of the quick run

    def value(self, answer: Mapping[str, Any]) -> float | None:
        """Return the figure in popload's *answer*; None if the run was too short."""
        found: Any = answer
        for step in self.figure.split("."):
            if step not in found or found.get("n") == 0:  # an empty histogram has zeros for figures
                return None
            found = found[step]
        return float(found) * self.scale

    def ratio(self, ours: float, theirs: float) -> float | None:
        """Return how many times better geventpop3 is; above 1 is better."""
        better, worse = (ours, theirs) if self.higher_is_better else (theirs, ours)
        return better / worse if min(better, worse) > 0 else None


SCENARIOS = (
    Scenario(
        "login",
        "USER PASS STAT QUIT, 10 messages in the maildrop",
        *("login", "small", 64, "sessions_s", "sessions/s"),
        goals=(_rival("login", 2), _rival("login", 5, True), _floor("login", 1.6)),
    ),
    Scenario(
        "poll",
        "CAPA USER PASS STAT UIDL QUIT, 10 messages in the maildrop",
        *("poll", "small", 64, "sessions_s", "sessions/s"),
        goals=(_rival("poll", 2), _rival("poll", 5, True), _floor("poll", 1.6)),
    ),
    Scenario(
        "fetch-small",
        "LIST, then RETR of 10 messages of 4 KiB, one after the other",
        *("fetch", "small", 16, "messages_s", "messages/s"),
        goals=(_rival("fetch-small", 2), _rival("fetch-small", 5)),
    ),
    Scenario(
        "fetch-medium",
        "LIST, then RETR of 200 messages of 1 to 100 KiB",
        *("fetch", "medium", 8, "body_MB_s", "MB/s"),
        goals=(_rival("fetch-medium", 2), _rival("fetch-medium", 6)),
    ),
    Scenario(
        "fetch-large",
        "LIST, then RETR of 20 messages of 5 MiB",
        *("fetch", "large", 4, "body_MB_s", "MB/s"),
        goals=(_rival("fetch-large", 2), _rival("fetch-large", 6)),
    ),
    Scenario(
        "poll-huge",
        "poll of a maildrop of 100,000 messages that was polled before",
        *("poll", "huge", 1, "session_us.p50", "ms/session", 1e-3, False),
        goals=(_rival("poll-huge", 15, True),),
        peers=frozenset({OURS, RIVAL}),
    ),
    Scenario(
        "mixed",
        "NOOP every 0.1 s by each of 16 clients while 4 others fetch large messages: 99 % are answered within",
        *("mixed", "large", 20, "noop_us.p99", "ms", 1e-3, False),
        options=("--bulk", "4", "--hold-format", "s%05d"),
        goals=(Against(OURS, False, Goal("mixed-fetch", "NOOP p99 beside 4 large fetches", 15, "ms", at_most=True)),),
    ),
    Scenario(
        "idle",
        "logged in and silent: memory of the server for each client",
        *("idle", "small", 1000, "idle_pss_kb_per_session", "KiB/session", 1.0, False),
        once=True,
        quick=False,
    ),
)
