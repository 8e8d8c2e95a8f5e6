"""The benchmarks' own arithmetic: what is a ratio, and when a goal is met."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def bench() -> Iterator[dict[str, ModuleType]]:
    """The pure modules, which import each other by their file names as the programs beside them do."""
    before = set(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import goals
        import report
        import scenarios

        yield {"goals": goals, "report": report, "scenarios": scenarios}
    finally:
        sys.path.remove(str(BENCHMARKS))
        for name in set(sys.modules) - before:
            del sys.modules[name]


def answers(ours: float, floor: float, rival: float) -> dict[str, list[dict[str, float]]]:
    """popload's, of 100 sessions each, by the CPU seconds of the server; twice the CPU is half the rate."""
    return {
        name: [{"sessions": 100, "sessions_s": 1 / cpu, "srv_cpu_s": cpu, "srv_cpu_util": 1, "client_cpu_util": 0.1}]
        for name, cpu in {"geventpop3": ours, "gevent-floor": floor, "dovecot-hp": rival}.items()
    }


def test_a_goal_at_most_is_met_at_its_bound_and_not_above(bench: dict[str, ModuleType]) -> None:
    goal = bench["goals"].Goal("name", "what", 5, "ms", at_most=True)
    assert goal.is_met(5)
    assert not goal.is_met(5.01)


def test_a_goal_at_least_is_met_at_its_bound_and_not_below(bench: dict[str, ModuleType]) -> None:
    goal = bench["goals"].Goal("name", "what", 1.8)
    assert goal.is_met(1.8)
    assert not goal.is_met(1.79)


def test_what_was_not_measured_is_neither_met_nor_missed(bench: dict[str, ModuleType]) -> None:
    goals = bench["goals"]
    one, two, three = (goals.Goal(name, "what", 2) for name in "abc")
    *each, last = goals.lines([(one, 3.0), (two, 1.0), (three, None)])
    assert [line.rsplit("  ", 1)[1] for line in each] == ["met", "NOT MET", "not measured"]
    assert last.split() == ["1", "of", "2", "met;", "1", "not", "measured"]


def test_the_figure_of_a_goal_is_the_median_of_its_rounds(bench: dict[str, ModuleType]) -> None:
    goals = bench["goals"]
    assert goals.middle({"tls": [0.9, 0.1, 0.5]}, goals.TLS) == 0.5
    assert goals.middle({"tls": []}, goals.TLS) is None


def test_goals_against_the_floor_say_how_many_times_more_cpu_and_against_dovecot_how_many_times_less(
    bench: dict[str, ModuleType],
) -> None:
    login = bench["scenarios"].SCENARIOS[0]
    table = bench["report"].table(login, answers(ours=0.03, floor=0.02, rival=0.15), 10)
    reached = {goal.name: value for goal, value in bench["report"].reached([table])}
    assert reached == {
        "login-2": pytest.approx(5),
        "login-5": pytest.approx(5),
        "login-floor": pytest.approx(1.5),
    }


def test_goals_against_a_server_that_is_not_there_are_not_measured(bench: dict[str, ModuleType]) -> None:
    found = answers(ours=0.03, floor=0.02, rival=0.15)
    del found["dovecot-hp"]
    table = bench["report"].table(bench["scenarios"].SCENARIOS[0], found, 10)
    reached = {goal.name: value for goal, value in bench["report"].reached([table])}
    assert reached["login-2"] is None
    assert reached["login-5"] is None


def test_every_goal_has_a_name_of_its_own(bench: dict[str, ModuleType]) -> None:
    names = [goal.name for goal in bench["goals"].PROBED]
    names += [against.goal.name for one in bench["scenarios"].SCENARIOS for against in one.goals]
    assert len(names) == len(set(names))
