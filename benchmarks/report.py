"""The tables, ratios and goals, and the JSON file, made of popload's results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from goals import Goal
from peers import OURS
from scenarios import Against, Scenario


class Row(NamedTuple):
    """The medians of the rounds of one server in one scenario."""

    peer: str
    value: float
    lowest: float
    highest: float
    cpu: float | None  # microseconds of the server's processes for one session
    busy: float | None  # of one core; None where it is meaningless (idle)
    client_busy: float  # near 1: the load generator was the limit
    ratio: float | None  # how many times better geventpop3 is, by the figure
    cpu_ratio: float | None  # the same by CPU time, which other load on the machine changes less


class Table(NamedTuple):
    scenario: Scenario
    rows: list[Row]


def table(scenario: Scenario, answers: Mapping[str, Sequence[Mapping[str, Any]]], messages_each: int) -> Table:
    """Return the table. *answers* are popload's by server; a maildrop of the set has *messages_each* messages."""
    values = {
        peer: [value for answer in given if (value := scenario.value(answer)) is not None]
        for peer, given in answers.items()
    }
    cpu = {
        peer: _median([cpu_per_session(scenario, answer, messages_each) for answer in given])
        for peer, given in answers.items()
    }
    ours, our_cpu = (median(values[OURS]) if values.get(OURS) else None), cpu.get(OURS)
    rows = []
    for peer, measured in values.items():
        if not measured:
            continue
        middle = median(measured)
        rows.append(
            Row(
                peer,
                middle,
                min(measured),
                max(measured),
                cpu[peer],
                _median([None if scenario.kind == "idle" else answer["srv_cpu_util"] for answer in answers[peer]]),
                median(answer["client_cpu_util"] for answer in answers[peer]),
                scenario.ratio(ours, middle) if ours is not None else None,
                theirs / our_cpu if our_cpu and (theirs := cpu[peer]) else None,
            )
        )
    return Table(scenario, rows)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def cpu_per_session(scenario: Scenario, answer: Mapping[str, Any], messages_each: int) -> float | None:
    """Return microseconds. A fetch is counted by its messages, because few of its sessions end within a run."""
    if scenario.kind in ("login", "poll"):
        sessions = float(answer["sessions"])
    elif scenario.kind == "fetch":
        sessions = answer["messages"] / messages_each
    else:
        return None
    return answer["srv_cpu_s"] * 1e6 / sessions if sessions else None


def lines(found: Table) -> Iterator[str]:
    scenario = found.scenario
    crowd = "1 client" if scenario.clients == 1 else f"{scenario.clients:,} clients"
    yield f"{scenario.name} ({crowd}): {scenario.title}"
    yield (
        f"  {'':<16}{scenario.unit:>14}{'lowest - highest':>24}{'CPU us/session':>17}"
        f"{'server busy':>13}{'load busy':>11}{'geventpop3 is':>15}{'by CPU':>10}"
    )
    for row in found.rows:
        spread = f"{_number(row.lowest)} - {_number(row.highest)}" if row.lowest < row.highest else ""
        cpu = "" if row.cpu is None else _number(row.cpu)
        times, cpu_times = ("" if row.peer == OURS else _times(ratio) for ratio in (row.ratio, row.cpu_ratio))
        busy = "" if row.busy is None else f"{row.busy:.2f}"
        line = (
            f"  {row.peer:<16}{_number(row.value):>14}{spread:>24}{cpu:>17}"
            f"{busy:>13}{row.client_busy:>11.2f}{times:>15}{cpu_times:>10}"
        )
        yield line.rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f} x"


def reached(tables: Sequence[Table]) -> Iterator[tuple[Goal, float | None]]:
    """Return the goals of the scenarios with the measured figures; None if one of the two servers was not measured."""
    for found in tables:
        rows = {row.peer: row for row in found.rows}
        for against in found.scenario.goals:
            yield against.goal, _reached(against, rows.get(against.peer), rows.get(OURS))


def _reached(against: Against, row: Row | None, ours: Row | None) -> float | None:
    if row is None or ours is None:
        return None
    if against.peer == OURS:
        return ours.value
    ratio = row.cpu_ratio if against.by_cpu else row.ratio
    # The table tells how many times better geventpop3 is; the goal against the baseline is how many times worse.
    return 1 / ratio if ratio and against.goal.at_most else ratio


def as_json(tables: Sequence[Table]) -> list[dict[str, Any]]:
    return [
        {
            "scenario": found.scenario.name,
            "title": found.scenario.title,
            "clients": found.scenario.clients,
            "unit": found.scenario.unit,
            "higher_is_better": found.scenario.higher_is_better,
            "servers": [row._asdict() for row in found.rows],
        }
        for found in tables
    ]
