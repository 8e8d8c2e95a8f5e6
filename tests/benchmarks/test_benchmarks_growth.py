"""The benchmarks' own arithmetic: the curves of growth, and how many sessions there may be."""

from __future__ import annotations

import resource
from types import ModuleType

import pytest


def test_as_many_sessions_as_wanted_where_open_files_are_enough(bench: dict[str, ModuleType]) -> None:
    assert bench["descriptors"].sessions(10_000, 100_000) == 10_000
    assert bench["descriptors"].sessions(10_000, resource.RLIM_INFINITY) == 10_000


def test_as_many_sessions_as_the_server_would_let_in_with_some_to_spare(bench: dict[str, ModuleType]) -> None:
    descriptors = bench["descriptors"]
    limited = descriptors.sessions(10_000, 20_000)
    let_in = (20_000 - descriptors.RESERVED_DESCRIPTORS) // descriptors.DESCRIPTORS_PER_SESSION
    assert limited == let_in - descriptors.BESIDE


def test_there_is_always_one_session(bench: dict[str, ModuleType]) -> None:
    assert bench["descriptors"].sessions(10_000, 64) == 1


def test_the_limit_of_this_process_counts_where_none_is_given(bench: dict[str, ModuleType]) -> None:
    descriptors = bench["descriptors"]
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert descriptors.sessions(10_000) == descriptors.sessions(10_000, soft)


def test_fewer_sessions_than_wanted_are_said_with_the_reason(bench: dict[str, ModuleType]) -> None:
    said = bench["descriptors"].said
    assert said(10_000, 10_000) == "10,000 sessions"
    assert said(6_569, 10_000) == "6,569 of 10,000 sessions: limit of descriptors, 5 for each"


def test_a_point_is_the_median_of_its_rounds(bench: dict[str, ModuleType]) -> None:
    first, second, third = (
        [{"sessions": 1, "login": one}, {"sessions": 100, "login": other}] for one, other in ((5, 50), (1, 90), (3, 70))
    )
    assert bench["growth"].middle([first, second, third]) == [
        {"sessions": 1, "login": 3},
        {"sessions": 100, "login": 70},
    ]


def test_columns_are_as_wide_as_their_widest_cell_and_empty_where_nothing_is_known(
    bench: dict[str, ModuleType],
) -> None:
    growth = bench["growth"]
    columns = (growth.Column("silent", "sessions"), growth.Column("KiB", "KiB", "{:,.1f}"))
    lines = list(growth.lines(columns, [{"sessions": 1}, {"sessions": 10_000, "KiB": 14.62}]))
    assert lines == ["silent   KiB", "     1      ", "10,000  14.6"]


def test_every_column_of_growth_is_a_figure_that_is_measured(bench: dict[str, ModuleType]) -> None:
    growth = bench["growth"]
    measured = {"messages", *growth.COSTS_WITHIN, *(f"{name} each" for name in growth.COSTS_WITHIN)}
    assert {column.name for column in growth.WITHIN} == measured


def test_numbers_are_read_with_commas_between_them(bench: dict[str, ModuleType]) -> None:
    assert bench["growth"].numbers("1,100,1000") == (1, 100, 1000)


@pytest.mark.parametrize(("attacked", "is_met"), [(0.0029, True), (0.0030, False), (0.0031, False)])
def test_a_login_less_than_three_times_as_long_as_in_quiet_is_met(
    bench: dict[str, ModuleType], attacked: float, is_met: bool
) -> None:
    hostile = bench["hostile"]
    stalled = next(attack for attack in hostile.ATTACKS if attack.sort == "stls")
    quiet, slower = hostile.Logins(0.001, 0.002, 400), hostile.Logins(attacked, 0.02, 400)
    row = hostile.Row(stalled, quiet, slower, 61_440.0, stalled.clients)
    assert row.is_met is is_met
    _, line = hostile.table([row])
    assert line.endswith("ratio < 3: met" if is_met else "ratio < 3: NOT MET")


def test_what_hogs_is_judged_by_its_longest_logins(bench: dict[str, ModuleType]) -> None:
    hostile = bench["hostile"]
    hog = next(attack for attack in hostile.ATTACKS if attack.sort == "hog")
    quiet, slower = hostile.Logins(0.001, 0.002, 400), hostile.Logins(0.02, 0.049, 400)
    assert hostile.Row(hog, quiet, slower, 0.0, 2).is_met
    assert not hostile.Row(hog, quiet, slower._replace(p99=0.051), 0.0, 2).is_met


def test_attackers_that_were_dropped_are_counted(bench: dict[str, ModuleType]) -> None:
    hostile = bench["hostile"]
    quiet = hostile.Logins(0.001, 0.002, 400)
    _, line = hostile.table([hostile.Row(hostile.ATTACKS[0], quiet, quiet, 0.0, 498)])
    assert line.endswith("met, 2 were dropped")


def test_a_client_hello_is_a_record_of_a_handshake_that_has_only_begun(bench: dict[str, ModuleType]) -> None:
    said = bench["attackers"].client_hello()
    # RFC 8446: a record's type 22 is a handshake (5.1), whose first octet 1 is a ClientHello (4)
    assert said[0] == 22
    assert said[5] == 1
    assert len(said) == 5 + int.from_bytes(said[3:5])
