"""The benchmarks' own arithmetic: what is a ratio, and when a goal is met."""

from __future__ import annotations

from types import ModuleType

import pytest


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
    *each, last = goals.lines([(one, 3.0), (two, 1.0), (three, None)], {})
    assert [line.rsplit("  ", 1)[1] for line in each] == ["met", "NOT MET", "not measured"]
    assert last.split() == ["1", "of", "2", "met;", "1", "not", "measured"]


def test_the_columns_are_as_wide_as_the_longest_goal_needs(bench: dict[str, ModuleType]) -> None:
    goals = bench["goals"]
    short, long = goals.Goal("a", "b", 2), goals.Goal("long", "what takes room " * 8, 1000, "octets", at_most=True)
    first, second, _ = goals.lines([(short, 12.0), (long, 9.0)], {})
    assert first.index("at least") == second.index("at most")
    assert first.index("12.00 x") + len("12.00 x") == second.index("9.00 octets") + len("9.00 octets")
    assert first.endswith("  met")


def test_what_a_goal_was_made_of_stands_under_it(bench: dict[str, ModuleType]) -> None:
    goals = bench["goals"]
    figures = {"cold ms": [200.0, 100.0, 300.0], "cold ms, rival": [1500.0], "idle sessions": [6569.0]}
    under = goals.remarks(figures)
    assert under == {"huge-cold": ["each alone: 200 ms, Dovecot 1,500 ms"]}
    _, below, _ = goals.lines([(goals.COLD, 7.5)], under)
    assert below.strip() == under["huge-cold"][0]


def test_fewer_idle_sessions_than_the_goal_has_are_said_under_it(bench: dict[str, ModuleType]) -> None:
    figures = {"idle sessions": [6569.0], "idle sessions wanted": [10000.0], "idle octets": [125e6]}
    (line,) = bench["goals"].remarks(figures)["idle"]
    assert line == "6,569 of 10,000 sessions: limit of descriptors, 5 for each; PSS of all 125 MB"


def test_workers_are_told_by_their_rates_and_by_their_cost(bench: dict[str, ModuleType]) -> None:
    figures = {
        "sessions/s, 1 worker": [2000.0],
        "sessions/s, 2 workers": [2600.0],
        "CPU us, 1 worker": [450.0],
        "CPU us, 2 workers": [470.0],
        "share of the busier": [0.52],
    }
    rates, costs = bench["goals"].remarks(figures)["workers"]
    assert rates.startswith("sessions/s: 2,000 with one, 2,600 with two")
    assert costs == "CPU for a session: 450 us and 470 us, of which the busier had 52%"


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


def test_a_run_in_which_no_session_ended_has_no_figure(bench: dict[str, ModuleType]) -> None:
    huge = next(one for one in bench["scenarios"].SCENARIOS if one.name == "poll-huge")
    assert huge.value({"session_us": {"n": 0, "p50": 0.0}}) is None
    assert huge.value({"session_us": {"n": 1, "p50": 2000.0}}) == 2
    assert huge.value({}) is None


def test_every_goal_has_a_name_of_its_own(bench: dict[str, ModuleType]) -> None:
    names = [goal.name for goal in bench["goals"].PROBED]
    names += [against.goal.name for one in bench["scenarios"].SCENARIOS for against in one.goals]
    assert len(names) == len(set(names))
