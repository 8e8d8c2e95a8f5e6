"""A session whose greenlet is killed, wherever it waits and how often: the lock is free and the stream closed."""

from __future__ import annotations

from typing import Any

import gevent
import pytest
from gevent.event import Event as GreenEvent

from geventpop3 import err, multiline, ok
from geventpop3.testing.memory_stream import MemoryStream

SECONDS = 20
LOGIN = "USER alice\r\nPASS alice\r\n"


class Closed(MemoryStream):
    """A stream that knows whether it was closed."""

    closed = False

    def close(self) -> None:
        super().close()
        self.closed = True


class Wait:
    """A listener that waits until its greenlet is killed, and counts how often it was called."""

    def __init__(self) -> None:
        self.waits = GreenEvent()
        self.calls = 0

    def __call__(self, pop3d: Any, event: Any) -> None:
        self.calls += 1
        self.waits.set()
        GreenEvent().wait(SECONDS)
        raise AssertionError("nobody killed it")

    def kill(self, greenlet: gevent.Greenlet) -> None:
        """Kill *greenlet* while it waits here."""
        assert self.waits.wait(SECONDS)
        self.waits.clear()
        greenlet.kill(block=False)


def run(app: Any, lines: str) -> tuple[Closed, gevent.Greenlet]:
    stream = Closed([lines.encode()])
    return stream, gevent.spawn(app.run, stream)


def is_clean(app: Any, stream: Closed, greenlet: gevent.Greenlet) -> bool:
    greenlet.join(SECONDS)
    app.store.open("alice").close()  # else MaildropLocked
    return greenlet.dead and stream.closed and not app.service._sessions


@pytest.mark.parametrize("as_plugin", [False, True])
def test_a_listener_of_disconnected_that_waits_keeps_nobody_from_cleaning_up(app, as_plugin):
    first, second, told, gone = Wait(), Wait(), [], []
    if as_plugin:
        app.pop3d.plugin("disconnected", alias="wait")(first)
    else:
        app.pop3d.on("disconnected")(first)
    app.pop3d.on("disconnected", priority=1)(second)
    app.pop3d.on("disconnected", priority=2000)(lambda pop3d, event: gone.append(event.client.id))
    app.pop3d.on("session_finished")(lambda pop3d, event: told.append(event.args[0].owner))
    stream, greenlet = run(app, LOGIN)
    first.kill(greenlet)
    second.kill(greenlet)
    assert is_clean(app, stream, greenlet)
    assert (first.calls, second.calls, len(gone), told) == (1, 1, 1, ["alice"])


def test_nor_does_one_of_session_finished_or_of_a_failure(app, caplog):
    wait, told = Wait(), []

    @app.pop3d.plugin("disconnected")
    def fail(pop3d, event):
        raise ValueError

    app.pop3d.on("plugin_error", "session_finished")(wait)
    app.pop3d.on("session_finished")(lambda pop3d, event: told.append(event.args[0].owner))
    stream, greenlet = run(app, LOGIN)
    wait.kill(greenlet)
    wait.kill(greenlet)
    assert is_clean(app, stream, greenlet)
    assert (wait.calls, told) == (2, ["alice"])


def test_a_deadline_within_a_listener_of_disconnected_is_a_failure_like_any(app, caplog):
    told = []

    @app.pop3d.on("disconnected")
    def late(pop3d, event):
        gevent.Timeout(0.001).start()
        GreenEvent().wait(SECONDS)

    app.pop3d.on("session_finished")(lambda pop3d, event: told.append(event.args[0].owner))
    stream, greenlet = run(app, LOGIN)
    assert is_clean(app, stream, greenlet)
    assert (greenlet.exception, told) == (None, ["alice"])


@pytest.mark.parametrize("name", ["authenticated", "cmd_pass", "cmd_stat", "reply_withdrawn", "command_finished"])
@pytest.mark.parametrize("priority", [-1, 2000])
def test_wherever_a_session_is_killed_the_lock_is_free(app, name, priority):
    wait = Wait()

    @app.pop3d.plugin("response")
    def withdraw(pop3d, event):
        if name == "reply_withdrawn" and event.args == ["cmd_pass"]:
            event.reply = err("no")

    @app.pop3d.on("cmd_noop")
    def prepare(pop3d, event):
        app.pop3d.on(name, priority=priority)(wait)
        return ok()

    app.pop3d.strict = False
    stream, greenlet = run(app, "NOOP\r\n" + LOGIN + "STAT\r\nNOOP\r\n")
    wait.kill(greenlet)
    assert is_clean(app, stream, greenlet)
    assert wait.calls == 1


@pytest.mark.parametrize("name", ["response", "cmd_retr"])
def test_a_message_that_was_opened_is_let_go_of(app, name):
    wait, closed = Wait(), []

    class Body:
        def __iter__(self):
            return iter([b"octets"])

        def close(self):
            closed.append(True)

    @app.pop3d.on("cmd_retr", priority=-1)
    def retr(pop3d, event):
        return multiline("here", Body())

    if name == "response":
        app.pop3d.plugin("response")(lambda pop3d, event: wait(pop3d, event) if event.args == ["cmd_retr"] else None)
    else:
        app.pop3d.on(name)(wait)
    stream, greenlet = run(app, LOGIN + "RETR 1\r\n")
    wait.kill(greenlet)
    assert is_clean(app, stream, greenlet)
    assert closed == [True]
