"""Threads for stores: a pool for each place, a share for each owner, others in the stead of slow calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import gevent
import pytest
from gevent import monkey
from gevent.event import Event as GreenletEvent

from geventpop3.errors import StoreUnavailable
from geventpop3.service import threads as pools
from geventpop3.service.threads import Call, Offload, StoreThreads

Event = monkey.get_original("threading", "Event")
SECONDS = 60


class Slow:
    """A call that says when it runs, and returns when it is told to."""

    def __init__(self) -> None:
        self.began = GreenletEvent()
        self._loop = gevent.get_hub().loop
        self._go = Event()

    def __call__(self) -> str:
        self._loop.run_callback_threadsafe(self.began.set)
        assert self._go.wait(SECONDS)
        return "done"

    def go(self) -> None:
        self._go.set()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "SLOW_SECONDS", 0.02)


@pytest.fixture
def threads() -> Iterator[StoreThreads]:
    made = StoreThreads(4)
    yield made
    made.close()


def begun(count: int, run: Callable[[Slow], gevent.Greenlet]) -> list[tuple[Slow, gevent.Greenlet]]:
    calls = []
    for _ in range(count):
        call = Slow()
        greenlet = run(call)
        assert call.began.wait(SECONDS)
        calls.append((call, greenlet))
    return calls


def end(calls: list[tuple[Slow, gevent.Greenlet]]) -> None:
    for call, _ in calls:
        call.go()
    assert [greenlet.get(timeout=SECONDS) for _, greenlet in calls] == ["done"] * len(calls)


def test_slow_calls_of_one_place_cost_no_other_place(threads: StoreThreads) -> None:
    slow = begun(4, lambda call: gevent.spawn(threads.of("slow").run, call))
    assert threads.of("other").run(int, "7") == 7
    assert threads.of("slow") is threads.of("slow")
    end(slow)


def test_calls_that_take_long_have_others_begin_in_their_stead(impatient: None, threads: StoreThreads) -> None:
    slow = begun(4, lambda call: gevent.spawn(threads.of("disk").run, call))
    slow += begun(20, lambda call: gevent.spawn(threads.of("disk").run, call))
    assert threads.of("disk").run(int, "7") == 7
    end(slow)
    # The places are as many as before.
    again = begun(4, lambda call: gevent.spawn(threads.of("disk").run, call))
    (pool,) = threads.of("disk")._pools.values()
    assert pool.places.counter == 0
    end(again)
    assert pool.places.counter == 4


def test_only_so_many_begin_in_the_stead_of_slow_ones(impatient: None) -> None:
    pool = Offload(1, 9, extra=1)
    slow = begun(2, lambda call: gevent.spawn(pool.run, call))
    third = Slow()
    waiting = gevent.spawn(pool.run, third)
    gevent.sleep(0.2)
    assert not third.began.is_set()
    end(slow)
    assert third.began.wait(SECONDS)
    third.go()
    assert waiting.get(timeout=SECONDS) == "done"
    pool.close()


def test_one_owner_has_a_share_of_the_threads(threads: StoreThreads) -> None:
    def run(call: Slow, owner: str = "alice") -> str:
        with threads.share("disk", owner) as shared:
            return shared.run(call)

    first = begun(1, lambda call: gevent.spawn(run, call))
    second = Slow()
    waiting = gevent.spawn(run, second)
    others = begun(3, lambda call: gevent.spawn(run, call, f"owner {id(call)}"))
    assert not second.began.is_set()
    end(first)
    assert second.began.wait(SECONDS)
    second.go()
    assert waiting.get(timeout=SECONDS) == "done"
    end(others)
    assert threads._shares == {}


def test_a_call_whose_client_has_gone_gives_its_place_in_the_queue_back(impatient: None) -> None:
    pool = Offload(1, 9)
    slow = begun(1, lambda call: gevent.spawn(pool.run, call))
    waiting = gevent.spawn(pool.run_call, Call(has_gone=lambda: True), Slow())
    with pytest.raises(StoreUnavailable) as given_up:
        waiting.get(timeout=SECONDS)
    assert "the client disconnected" in str(given_up.value.detail)
    (threads,) = pool._pools.values()
    assert threads.waiting == 0
    end(slow)
    pool.close()


@pytest.mark.parametrize("how", ["gone", "killed"])
def test_a_running_call_that_nobody_waits_for_is_interrupted(impatient: None, how: str) -> None:
    pool = Offload(1, 9)
    call = Slow()
    running = gevent.spawn(pool.run_call, Call(has_gone=lambda: how == "gone", interrupt=call.go), call)
    if how == "killed":
        assert call.began.wait(SECONDS)
        running.kill(block=False)
    running.join(SECONDS)
    assert running.ready()
    pool.close()


def test_what_lets_go_of_something_is_never_refused_nor_given_up(impatient: None) -> None:
    pool = Offload(1, 0)
    slow = begun(1, lambda call: gevent.spawn(pool.run, call))
    with pytest.raises(StoreUnavailable):
        pool.run(int)
    let_go: list[str] = []
    closing = gevent.spawn(pool.run_call, Call(has_gone=lambda: True, is_needed=True), let_go.append, "the lock")
    gevent.sleep(0.05)
    closing.kill(block=False)
    gevent.sleep(0.05)
    assert not let_go
    end(slow)
    closing.join(SECONDS)
    assert let_go == ["the lock"]
    pool.close()
