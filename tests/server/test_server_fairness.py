"""Turns: what is counted, on both of gevent's loops, and who gives way."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import gevent
import pytest

from geventpop3.server.fairness import PollCounter, Turns
from geventpop3.server.limits import PAUSE, SLICE

LOOPS = pytest.mark.parametrize("loop", ["libev-cext", "libuv-cffi"])


def run(program, loop):
    """What *program* prints, on that loop; nothing may go wrong, leaked watchers included."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "GEVENT_LOOP": loop},
    )
    assert done.stderr == ""
    return done.stdout.split()


COUNTED = """
    import sys, gevent
    from geventpop3.server.fairness import Turns
    loop = gevent.get_hub().loop
    turns = Turns()
    turns.start(loop)
    print(type(loop).__module__.split(".")[1], turns.polls is loop)
    seen = []
    for _ in range(5):
        seen.append(turns.polls.iteration)
        assert turns.polls.iteration == seen[-1], "nobody waited"
        gevent.sleep(0.001)
    print(len(set(seen)))
    turns.stop()
    turns.stop()
    print(turns.polls is loop)
    gevent.get_hub().destroy(destroy_loop=True)
"""


@LOOPS
def test_a_wait_is_counted_and_nothing_else_is(loop):
    name = loop.partition("-")[0]
    assert run(COUNTED, loop) == [name, str(name == "libev"), "5", "False"]


UNHELD = """
    import gevent
    from gevent.event import Event
    from geventpop3.server.fairness import Turns
    gevent.get_hub().print_exception = lambda *_: None
    turns = Turns()
    turns.start(gevent.get_hub().loop)
    try:
        Event().wait()
    except gevent.exceptions.LoopExit:
        print("ended")
    turns.stop()
"""


@LOOPS
def test_counting_does_not_keep_a_loop_running(loop):
    assert run(UNHELD, loop) == ["ended"]


IDLE = """
    import gevent
    from gevent import socket
    from geventpop3 import POP3Server, ok
    from geventpop3.server import client, fairness, session

    import logging

    logging.disable()  # by this clock, the loop was held for a second
    clock, pauses = [0.0], []
    client.monotonic = session.monotonic = lambda: clock[0]
    yield_to_others = fairness.Turns.yield_to_others
    fairness.Turns.yield_to_others = lambda self: (pauses.append(clock[0]), yield_to_others(self))
    pop3d = POP3Server(port=0)
    pop3d.on("cmd_user")(lambda pop3d, event: ok("yes"))

    @pop3d.on("cmd_pass")
    def long(pop3d, event):
        clock[0] += 1
        return ok("yes")

    pop3d.start()
    with socket.create_connection(pop3d.getsockname()) as peer:
        file = peer.makefile("rb")
        file.readline()
        for _ in range(20):
            clock[0] += 1
            peer.sendall(b"USER x\\r\\n")
            file.readline()
        print(len(pauses))
        peer.sendall(b"PASS x\\r\\n")
        file.readline()
        print(len(pauses))
        file.close()
    pop3d.shutdown()
"""


@LOOPS
def test_a_client_that_waits_between_commands_is_not_made_to_wait_more(loop):
    # a second goes by between the commands, and once within one
    assert run(IDLE, loop) == ["0", "1"]


def test_those_who_give_way_share_one_slice(monkeypatch):
    turns, seen = Turns(), []

    def sleep(seconds):
        seen.append((seconds, turns.slice))
        if len(seen) < 3:
            turns.yield_to_others()

    monkeypatch.setattr(gevent, "sleep", sleep)
    turns.yield_to_others()
    assert seen == [(PAUSE, SLICE / 2), (PAUSE, SLICE / 3), (PAUSE, SLICE / 4)]
    assert turns.slice == SLICE


def test_before_the_start_no_poll_is_counted():
    turns = Turns()
    before = turns.polls.iteration
    gevent.sleep(0)
    assert turns.polls.iteration == before


def test_polls_are_counted_where_the_loop_does_not():
    counter = PollCounter()
    counter.start(gevent.get_hub().loop)
    before = counter.iteration
    gevent.sleep(0.0001)
    assert counter.iteration > before
    counter.stop()
    before = counter.iteration
    gevent.sleep(0.0001)
    assert counter.iteration == before


def test_a_loop_that_says_nothing_is_counted():
    class Silent:
        iteration = -1

        def __init__(self, loop):
            self.check = loop.check

    turns = Turns()
    turns.start(Silent(gevent.get_hub().loop))
    before = turns.polls.iteration
    gevent.sleep(0.0001)
    assert turns.polls.iteration > before
    turns.stop()
