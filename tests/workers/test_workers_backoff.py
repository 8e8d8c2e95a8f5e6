"""How soon a worker that ended is replaced."""

from __future__ import annotations

import pytest

from geventpop3.workers.backoff import LONGEST_SECONDS, STEADY_SECONDS, Backoff


def waits(patience: Backoff, lives: list[float], workers: int) -> list[float]:
    """What is waited after each of these, of which every one begins when the wait is over."""
    now, found = 1000.0, []
    for lived in lives:
        now += lived
        found.append(patience.record_exit(lived, now, workers))
        assert patience.is_needed(now) is (found[-1] > 0)
        now += found[-1]
        assert not patience.is_needed(now)
    return found


@pytest.mark.parametrize(
    ("workers", "expected"),
    [(1, [0, 1, 2, 4, 8, 8, 8]), (2, [0, 0, 1, 1, 2, 2, 4]), (4, [0, 0, 0, 0, 1, 1, 1]), (0, [0, 1, 2, 4, 8, 8, 8])],
)
def test_each_round_of_workers_that_die_young_waits_longer(workers: int, expected: list[float]) -> None:
    assert waits(Backoff(), [0.1] * 7, workers) == expected


def test_the_wait_has_a_bound() -> None:
    assert waits(Backoff(), [0.1] * 5000, 1)[-1] == LONGEST_SECONDS


def test_a_worker_that_was_in_order_is_replaced_at_once_and_all_is_forgotten() -> None:
    assert waits(Backoff(), [0.1, 0.1, 0.1, STEADY_SECONDS, 0.1, 0.1], 1) == [0, 1, 2, 0, 0, 1]
