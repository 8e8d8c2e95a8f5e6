"""What is said from other greenlets: between two replies, never inside one, never in place of one."""

from __future__ import annotations

import gevent
import pytest
from gevent.event import Event as GreenEvent

from geventpop3 import EAT_ALL, err, multiline, ok
from geventpop3.protocol.commands import State


def test_a_notice_is_no_answer_to_the_command_under_way(pop3d, login):
    go, begun = GreenEvent(), GreenEvent()

    @pop3d.on("cmd_dele", priority=-1)
    def slow(pop3d, event):
        begun.set()
        go.wait()
        return err("no")

    peer = login(pop3d)
    (client,) = pop3d.clients.values()
    peer.send(b"DELE 1\r\n")
    begun.wait()
    gevent.spawn(pop3d.send_to_client, client.id, "+OK the server goes down at noon").join()
    go.set()
    assert [peer.line(), peer.line()] == [b"-ERR no", b"+OK the server goes down at noon"]


def test_a_notice_during_a_login_moves_no_state(app, dial):
    pop3d = app()
    go, begun = GreenEvent(), GreenEvent()

    @pop3d.on("cmd_pass", priority=-1)
    def slow(pop3d, event):
        begun.set()
        go.wait()
        return err("wrong", "AUTH")

    pop3d.start()
    peer = dial(pop3d)
    peer.line()
    peer.send(b"USER x\r\nPASS y\r\n")
    begun.wait()
    (client,) = pop3d.clients.values()
    gevent.spawn(client.send, ok("hello")).join()
    go.set()
    assert [peer.line(), peer.line(), peer.line()] == [b"+OK yes", b"-ERR [AUTH] wrong", b"+OK hello"]
    assert client.state is State.AUTHORIZATION


def test_a_notice_never_lands_inside_a_multi_line_response(pop3d, login):
    go, begun = GreenEvent(), GreenEvent()

    def body():
        yield b"1 2\n" * 20_000
        begun.set()
        go.wait()
        yield b"2 3\n"

    pop3d.on("cmd_list")(lambda pop3d, event: multiline("here", body()))
    peer = login(pop3d)
    (client,) = pop3d.clients.values()
    peer.send(b"LIST\r\nNOOP\r\n")
    begun.wait()
    gevent.spawn(client.send, "+OK notice").join()
    go.set()
    assert peer.line() == b"+OK here"
    assert peer.body() == b"1 2\r\n" * 20_000 + b"2 3\r\n"
    assert [peer.line(), peer.line()] == [b"+OK notice", b"+OK yes"]


def test_a_notice_waits_for_the_end_of_an_exchange_of_challenges(pop3d, dial):
    @pop3d.on("cmd_auth")
    def auth(pop3d, event):
        gevent.spawn(event.client.send, "+OK notice")
        return err("no") if event.client.challenge(b"") is None else ok("yes")

    peer = dial(pop3d)
    peer.line()
    assert peer.command(b"AUTH X") == b"+ "
    assert peer.command(b"*") == b"-ERR no"
    assert peer.line() == b"+OK notice"


def test_notices_keep_their_order(pop3d, login):
    peer = login(pop3d)
    (client,) = pop3d.clients.values()
    for number in range(5):
        gevent.spawn(client.send, f"+OK {number}")
    assert [peer.line() for _ in range(5)] == [b"+OK %d" % number for number in range(5)]
    assert peer.command(b"NOOP") == b"+OK yes"


def test_shutdown_during_quit_says_one_thing_only(pop3d, login, shut_down):
    go, begun = GreenEvent(), GreenEvent()

    @pop3d.on("cmd_quit", priority=-1)
    def update(pop3d, event):
        begun.set()
        go.wait()
        return ok("removed")

    peer = login(pop3d)
    peer.send(b"QUIT\r\n")
    begun.wait()
    stopping = shut_down(pop3d)
    go.set()
    assert peer.rest() == b"+OK removed\r\n"
    stopping.get(timeout=20)


def test_lines_that_are_no_commands_put_autologout_off(app, login):
    # RFC 1939 section 3: "The receipt of any command from the client during that interval should suffice to reset the
    # autologout timer."
    pop3d = app(autologout=None)
    pop3d.start()
    peer = login(pop3d)
    (client,) = pop3d.clients.values()
    before = client._active_at
    assert peer.command(b"BOGUS").startswith(b"-ERR")
    assert client._active_at > before


@pytest.mark.parametrize("eaten", ["command", "reply"])
def test_a_notice_after_a_login_that_was_eaten_logs_nobody_in(app, dial, until, eaten):
    pop3d = app()
    pop3d.plugin("cmd_pass" if eaten == "command" else "response")(
        lambda pop3d, event: EAT_ALL if "cmd_pass" in (event.name, event.args[0]) else None
    )
    passed = []
    pop3d.on("command_finished")(lambda pop3d, event: passed.append(event.args[0].verb))
    pop3d.start()
    peer = dial(pop3d)
    peer.line()
    peer.command(b"USER x")
    peer.send(b"PASS x\r\n")
    until(lambda: "PASS" in passed)
    (client,) = pop3d.clients.values()
    gevent.spawn(client.send, ok("hello")).join()
    assert peer.line() == b"+OK hello"
    assert client.state is State.AUTHORIZATION
    assert peer.command(b"STAT") == b"-ERR not allowed in the AUTHORIZATION state"


def test_a_notice_is_said_at_once_to_who_has_only_been_greeted(pop3d, dial, until):
    peer = dial(pop3d)
    assert peer.line().startswith(b"+OK")
    (client,) = pop3d.clients.values()
    until(lambda: client.waiting)
    gevent.spawn(client.send, ok("hello")).join()
    assert peer.line() == b"+OK hello"
