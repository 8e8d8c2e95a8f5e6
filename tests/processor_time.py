"""The processor time of each test, told at the end of the run. A plugin: see conftest.py.

Nothing fails here. A limit in seconds, of processor time too, is a different limit on each machine, with each version
of Python and under coverage. The summary shows a test that has become expensive to its author and in CI's log.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

BUDGET = 5.0
"""Seconds of processor time that a test without the mark ``slow`` takes at most, on an ordinary machine."""

PROPERTY = "processor seconds"
_BEGUN = pytest.StashKey[float]()


def used() -> float:
    """Return the processor time of this process and of those children whose end it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    item.stash[_BEGUN] = used()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        # A property of the test's last report: pytest-xdist passes reports on from the process that ran the test.
        if _BEGUN in item.stash:
            item.user_properties.append((PROPERTY, used() - item.stash[_BEGUN]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [report for reports in terminalreporter.stats.values() for report in reports]
    last = [report for report in reports if isinstance(report, pytest.TestReport) and report.when == "teardown"]
    taken = [(seconds, report) for report in last for name, seconds in report.user_properties if name == PROPERTY]
    over = [(seconds, report) for seconds, report in taken if seconds > BUDGET and "slow" not in report.keywords]
    if not taken:
        return
    terminalreporter.section("processor time")
    terminalreporter.write_line(f"{sum(seconds for seconds, _ in taken):.0f} s in all tests")
    for seconds, report in sorted(over, key=lambda each: -each[0]):
        terminalreporter.write_line(f"{seconds:.1f} s, over the budget of {BUDGET:g} s: {report.nodeid}")
