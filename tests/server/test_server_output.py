"""What is written while something else happens: deadlines before login, notices, farewells, and what breaks off."""

from __future__ import annotations

import gevent
import pytest

from geventpop3 import POP3Server, err, ok
from geventpop3.pipeline.events import Event
from geventpop3.server.limits import SEGMENT_OCTETS, Limits
from geventpop3.server.output import Output
from geventpop3.server.server import session_over
from geventpop3.testing.memory_stream import MemoryStream

HERE = ("127.0.0.1", 1), ("127.0.0.1", 110)


def made(stream, **limits):
    pop3d = POP3Server(port=0, **limits)
    pop3d.on("cmd_noop", "cmd_quit")(lambda pop3d, event: ok(event.name))
    return session_over(pop3d, stream, *HERE)


class Meanwhile(MemoryStream):
    """A peer during a write to which another greenlet does something: once, at the reply to NOOP."""

    act = None

    def send_all(self, data):
        super().send_all(data)
        if b"cmd_noop" in data and self.act is not None:
            act, self.act = self.act, None
            gevent.spawn(act).get()


def test_a_notice_given_while_a_reply_is_written_is_said_before_the_client_is_waited_for():
    def peer():
        yield b"NOOP\r\n"
        assert stream.output.endswith(b"+OK cmd_noop\r\n+OK by the way\r\n")
        yield b"QUIT\r\n"

    stream = Meanwhile(peer())
    client = made(stream, login_deadline=None)
    stream.act = lambda: client.send("+OK by the way")
    client.connection._strict = False
    client.run()
    assert stream.output.endswith(b"+OK by the way\r\n+OK cmd_quit\r\n")
    assert client.summary.reason == "quit"


def test_a_farewell_given_while_a_reply_is_written_is_said_before_the_client_is_waited_for():
    def peer():
        yield b"NOOP\r\n"
        raise AssertionError("waited for")

    stream = Meanwhile(peer())
    client = made(stream)
    client.connection._strict = False
    stream.act = lambda: client.finish(err("closing"), "shutdown")
    client.run()
    assert stream.output.endswith(b"+OK cmd_noop\r\n-ERR closing\r\n")
    assert client.summary.reason == "shutdown"


def test_who_takes_nothing_before_login_meets_the_write_deadline():
    stream = MemoryStream([])
    client = made(stream, write_deadline=10, login_deadline=None)
    client._answering = Event("cmd_auth", client)
    client.output._sending, client.output._mark = True, (0.0, 0)
    client.check_deadlines(5.0)
    assert not stream.aborted
    client.check_deadlines(11.0)
    assert stream.aborted
    assert client.summary.reason == "write deadline"


def test_the_deadline_of_a_write_that_goes_on_is_not_begun_anew_when_the_peer_speaks():
    output = Output(MemoryStream([]))
    output._sending, output._mark = True, (0.0, 0)
    output.begin_turn()
    assert output.is_stuck(100.0, Limits(write_deadline=10))


class Slow(MemoryStream):
    """A peer that takes nothing for so many *seconds* of a clock of its own: is it given up meanwhile?"""

    def __init__(self, seconds, rate):
        super().__init__([])
        self.rate = rate
        self.now, self.seconds = 1000.0, seconds
        self.watched = Output(self)
        self.given_up = []

    def send_all(self, data):
        self.now += self.seconds
        self.given_up.append(self.watched.is_stuck(self.now, Limits(write_deadline=10, write_rate=self.rate)))
        super().send_all(data)


def test_the_deadline_of_a_peer_whose_segments_are_large_is_longer():
    class Loopback(MemoryStream):
        def segment(self):
            return 10 * SEGMENT_OCTETS

    output = Output(Loopback([]))
    output._sending, output._mark = True, (0.0, 0)
    assert not output.is_stuck(600.0, Limits(write_deadline=60))
    assert output.is_stuck(601.0, Limits(write_deadline=60))


@pytest.fixture
def slow(monkeypatch):
    def made(seconds, rate=0):
        stream = Slow(seconds, rate)
        monkeypatch.setattr("geventpop3.server.output.monotonic", lambda: stream.now)
        return stream, stream.watched

    return made


def test_the_time_that_we_take_between_two_writes_is_not_the_peers(slow):
    stream, output = slow(1)
    for _ in range(3):
        output.put(b"+OK\r\n")
        output.flush()
        stream.now += 100  # a slow store, a long removal
    assert stream.given_up == [False, False, False]


def test_the_time_of_all_writes_adds_up_where_a_rate_is_asked_for(slow):
    stream, output = slow(6, rate=1024)
    for _ in range(2):
        output.put(b"+OK\r\n")
        output.flush()
        stream.now += 100
    assert stream.given_up == [False, True]


def test_a_peer_that_takes_an_octet_now_and_then_goes_on_for_ever(slow):
    stream, output = slow(9)
    for _ in range(20):
        output.put(b".")
        output.flush()
    assert not any(stream.given_up)


def test_the_time_between_two_notices_is_not_the_peers(slow):
    stream, output = slow(1)
    output.interject([b"+OK one\r\n"])
    stream.now += 100
    output.interject([b"+OK two\r\n"])
    assert stream.given_up == [False, False]


@pytest.mark.parametrize("error", [gevent.Timeout, OSError])
def test_a_write_that_breaks_off_is_the_last(error):
    class Broken(MemoryStream):
        def send_all(self, data):
            super().send_all(data[:3])
            raise error

    stream = Broken([])
    output = Output(stream)
    output.put(b"+OK half of it\r\n")
    with pytest.raises(error):
        output.flush()
    assert stream.aborted


def test_notices_wait_once_the_client_is_no_longer_idle():
    class Answering(MemoryStream):
        """The first notice is taken slowly: a command came meanwhile."""

        def send_all(self, data):
            super().send_all(data)
            client._answering = Event("cmd_noop", client)

    stream = Answering([])
    client = made(stream)
    client._announced = client.waiting = True
    client.send("+OK one")
    client.send("+OK two")
    assert bytes(stream.output) == b"+OK one\r\n"
    assert [notice.text for notice in client._notices] == ["two"]
