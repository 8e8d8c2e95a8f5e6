"""What may wait runs in a bounded pool, and the hub goes on."""

from __future__ import annotations

import threading
from contextlib import ExitStack

import gevent
import pytest
from gevent import monkey
from gevent.event import Event as GreenletEvent

from geventpop3.errors import Refusal, StoreUnavailable
from geventpop3.service.body import Body, Watched
from geventpop3.service.threads import Offload
from geventpop3.stores import Chunks, Message
from geventpop3.stores.store import Maildrop, Store

Event = monkey.get_original("threading", "Event")
SECONDS = 60


@pytest.fixture
def pool():
    """Makes pools, and ends their threads in the end."""
    with ExitStack() as stack:

        def make(threads, queue=9):
            offload = Offload(threads, queue)
            stack.callback(offload.close)
            return offload

        yield make


class Call:
    """A call that says when it runs in its thread, and returns or fails there when it is told to go."""

    def __init__(self, failing=None):
        self.began, self.returned = GreenletEvent(), False
        self._loop = gevent.get_hub().loop
        self._go, self._failing = Event(), failing

    def __call__(self):
        self._loop.run_callback_threadsafe(self.began.set)
        assert self._go.wait(SECONDS)
        self.returned = True
        if self._failing is not None:
            raise self._failing
        return "lock"

    def wait_for_it(self):
        """Other greenlets run until the call does."""
        assert self.began.wait(SECONDS)

    def go(self):
        self._go.set()


def kill(greenlet):
    """Something is raised in it, and it has been its turn since."""
    greenlet.kill(block=False)
    gevent.idle()


def test_a_call_runs_in_another_thread_and_returns_what_it_returns(pool):
    assert pool(1).run(threading.get_native_id) != threading.get_native_id()


def test_a_refusal_passes_without_being_printed(capfd, pool):
    def refuse():
        raise Refusal("no")

    with pytest.raises(Refusal, match="no"):
        pool(1).run(refuse)
    assert capfd.readouterr().err == ""


def test_others_run_while_a_call_waits(pool):
    offload, call = pool(1), Call()
    waiting = gevent.spawn(offload.run, call)
    call.wait_for_it()
    call.go()
    assert waiting.get(timeout=SECONDS) == "lock"


def test_more_than_the_queue_holds_is_refused(pool):
    offload, first, second = pool(1, queue=1), Call(), Call()
    waiting = [gevent.spawn(offload.run, call) for call in (first, second)]
    # The second was handed over before the first could say, in the hub, that it runs.
    first.wait_for_it()
    assert not second.began.is_set()
    with pytest.raises(StoreUnavailable, match="busy"):
        offload.run(threading.get_native_id)
    first.go()
    second.go()
    assert [w.get(timeout=SECONDS) for w in waiting] == ["lock", "lock"]
    assert offload.run(lambda: "free") == "free"


def test_what_was_acquired_for_a_killed_greenlet_is_released(pool):
    offload, call, released = pool(1), Call(), []
    waiting = gevent.spawn(offload.acquire, released.append, call)
    call.wait_for_it()
    kill(waiting)
    assert released == []
    call.go()
    waiting.join(SECONDS)
    assert released == ["lock"]


def test_a_killed_greenlet_goes_when_its_call_has_returned(pool):
    # So that nothing which it lets go of then is still in use in a thread.
    offload, call, had_returned = pool(1), Call(), []

    def session():
        try:
            offload.run(call)
        finally:
            had_returned.append(call.returned)

    waiting = gevent.spawn(session)
    call.wait_for_it()
    kill(waiting)
    assert not waiting.dead
    call.go()
    waiting.join(SECONDS)
    assert had_returned == [True]


def test_what_failed_to_be_acquired_is_not_released(pool):
    offload, call, released = pool(1), Call(failing=Refusal("no")), []
    waiting = gevent.spawn(offload.acquire, released.append, call)
    call.wait_for_it()
    kill(waiting)
    call.go()
    waiting.join(SECONDS)
    assert waiting.dead
    assert released == []


class Pages(Chunks):
    """Chunks of which every second must be waited for."""

    def __init__(self, chunks):
        self.chunks = list(chunks)
        self.waited = 0
        self.closed = False

    def ready(self):
        if len(self.chunks) % 2:
            return None
        return self.chunks.pop(0) if self.chunks else b""

    def __next__(self):
        assert threading.get_native_id() != MAIN
        self.waited += 1
        if not self.chunks:
            raise StopIteration
        return self.chunks.pop(0)

    def close(self):
        self.closed = True


MAIN = threading.get_native_id()


def test_only_chunks_that_are_not_at_hand_go_to_a_thread(pool):
    pages = Pages([b"a", b"b", b"c"])
    body = Body(pages, pool(1), waits=False)
    assert list(body) == [b"a", b"b", b"c"]
    assert pages.waited == 2
    body.close()
    assert pages.closed


def test_a_generator_is_read_where_its_maildrop_says(monkeypatch, pool):
    threads = []

    def chunks():
        for chunk in (b"", b"a", b"", b"b"):
            threads.append(threading.get_native_id())
            yield chunk

    assert list(Body(chunks(), pool(1), waits=False)) == [b"a", b"b"]
    assert set(threads) == {MAIN}
    threads.clear()
    assert list(Body(chunks(), pool(1), waits=True)) == [b"a", b"b"]
    assert MAIN not in threads


def test_a_body_that_fails_at_once_lets_go(pool):
    class Broken(Pages):
        def ready(self):
            raise StoreUnavailable

    broken = Broken([])
    with pytest.raises(StoreUnavailable):
        Body(broken, pool(1), waits=False)
    assert broken.closed


def test_who_watches_a_message_is_told_once_that_it_was_taken(pool):
    pages, taken = Pages([b"a", b"b"]), []
    watched = Watched(Body(pages, pool(1), waits=False), lambda: taken.append(True))
    assert next(watched) == b"a"
    assert not taken
    assert list(watched) == [b"b"]
    assert list(watched) == []
    assert taken == [True]
    watched.close()
    assert pages.closed


def test_a_plain_list_is_a_body_too(pool):
    body = Body([b"a"], pool(1), waits=False)
    assert list(body) == [b"a"]
    body.close()


class SlowStore(Store):
    """A store that does everything in a thread, and says where it was called."""

    def __init__(self):
        self.threads = {}

    def open(self, owner):
        self.threads["open"] = threading.get_native_id()
        return SlowMaildrop(self.threads)


class SlowMaildrop(Maildrop):
    def __init__(self, threads):
        self.threads = threads

    def scan(self):
        self.threads["scan"] = threading.get_native_id()
        return [Message("a", 3)]

    def retrieve(self, unique_id):
        self.threads["retrieve"] = threading.get_native_id()
        return [b"x\r\n"]

    def remove(self, unique_ids):
        self.threads["remove"] = threading.get_native_id()

    def close(self):
        self.threads["close"] = threading.get_native_id()


def test_a_store_that_may_wait_is_never_called_in_the_hubs_thread(make):
    store = SlowStore()
    app = make(store)
    assert app.login("RETR 1", "DELE 1", "QUIT")[-1] == "+OK goodbye, 1 message removed"
    assert sorted(store.threads) == ["close", "open", "remove", "retrieve", "scan"]
    assert MAIN not in store.threads.values()


def test_an_authenticator_that_may_wait_is_called_in_a_thread(make):
    threads = []

    class Slow(type(make().service.site.back_end.authenticator)):
        def authenticate(self, name, password):
            threads.append(threading.get_native_id())
            return super().authenticate(name, password)

        def answers_at_once(self):
            return False

    assert make(authenticator=Slow()).login("STAT") == ["+OK 3 71"]
    assert MAIN not in threads


def test_100000_messages_are_listed_in_pieces():
    from array import array

    from geventpop3.pipeline.interfaces import SessionSummary
    from geventpop3.service.open_maildrop import LISTING_LINES, Transaction
    from geventpop3.stores import Snapshot
    from geventpop3.stores.memory import MemoryStore

    snapshot = Snapshot([str(n) for n in range(100_000)], array("Q", [5] * 100_000))
    transaction = Transaction(
        None,
        MemoryStore().open("alice"),
        snapshot,
        SessionSummary(),
        owner="alice",
        present=None,
        removes_retrieved=False,
    )
    pieces = list(transaction.scan_listings())
    assert len(pieces) == 100_000 // LISTING_LINES
    assert pieces[-1].endswith(b"\r\n100000 5\r\n")
    transaction.mark(100_000)
    assert b"".join(transaction.unique_id_listings()).endswith(b"\r\n99999 99998\r\n")
    assert (transaction.count, transaction.octets) == (99_999, 499_995)
