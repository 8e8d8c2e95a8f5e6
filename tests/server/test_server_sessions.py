"""A session over a real socket: greeting, order, pipelining, half-close, disconnect, send_to_client."""

from __future__ import annotations

import logging
import re
import sys

import gevent
import pytest

from geventpop3 import PipelineError, POP3Server, Refusal, Reply, err, multiline, ok
from geventpop3.errors import ConfigError
from geventpop3.protocol.commands import State
from geventpop3.server.stream import SocketStream


def test_a_greeting_is_the_default_answer_to_a_connection(pop3d, dial):
    assert dial(pop3d).line() == b"+OK pop.example.org POP3 server ready"


def test_the_version_is_told_only_if_the_application_names_one(serve, dial):
    pop3d = serve(version="Post 1.0")
    pop3d.start()
    assert dial(pop3d).line() == b"+OK pop.example.org Post 1.0 ready"


def test_a_listener_may_answer_the_connection(serve, dial):
    pop3d = serve()

    @pop3d.on("connection")
    def greet(pop3d, event):
        assert event.args[:2] == list(event.client.peer)
        assert event.args[2:] == list(pop3d.getsockname())
        return ok("hello")

    pop3d.start()
    assert dial(pop3d).line() == b"+OK hello"


def test_a_refused_connection_hears_why_and_is_closed(serve, dial):
    pop3d = serve()

    @pop3d.on("connection")
    def refuse(pop3d, event):
        raise Refusal("not you", "SYS/PERM")

    pop3d.start()
    assert dial(pop3d).rest() == b"-ERR [SYS/PERM] not you\r\n"


def test_pipelined_commands_are_answered_in_order_in_one_write(serve, dial):
    pop3d = serve()
    writes = []

    @pop3d.on("cmd_user", "cmd_pass", "cmd_noop")
    def number(pop3d, event):
        return ok(event.name)

    @pop3d.on("connection")
    def watch(pop3d, event):
        class Watched(SocketStream):
            __slots__ = ()

            def send_some(self, data):
                writes.append(data)
                return super().send_some(data)

        stream = Watched(event.client.sock)
        event.client.output.stream = stream

    pop3d.start()
    peer = dial(pop3d)
    peer.line()
    peer.send(b"USER a\r\nPASS b\r\nNOOP\r\nNOOP\r\nQUIT\r\n")
    replies = peer.rest()
    assert replies == b"+OK cmd_user\r\n+OK cmd_pass\r\n+OK cmd_noop\r\n+OK cmd_noop\r\n+OK goodbye\r\n"
    assert writes[1:] == [replies]


def test_what_came_before_a_half_close_is_answered(pop3d, dial):
    peer = dial(pop3d)
    peer.line()
    peer.send(b"USER a\r\nPASS b\r\nNOOP\r\nNOO")
    peer.sock.shutdown(1)
    assert peer.rest() == b"+OK yes\r\n" * 3


def test_a_body_is_byte_stuffed_and_terminated(pop3d, login):
    peer = login(pop3d)
    peer.send(b"RETR 1\r\nQUIT\r\n")
    assert peer.rest() == b"+OK here\r\nSubject: x\r\n\r\n..dot\r\n.\r\n+OK yes\r\n"


def test_a_body_that_breaks_off_closes_without_the_termination_octet(pop3d, login, caplog):
    def broken():
        yield b"Subject: x\r\n"
        raise OSError("the disk is gone")

    @pop3d.on("cmd_list")
    def list_(pop3d, event):
        return multiline("here it comes", broken())

    peer = login(pop3d)
    peer.send(b"LIST\r\nNOOP\r\n")
    assert b"+OK yes" not in peer.rest().replace(b"+OK here", b"")
    assert "a reply broke off, reference" in caplog.text


def test_a_body_is_closed_also_when_it_was_not_read_to_the_end(pop3d, login, until):
    closed = []

    class Body:
        def __iter__(self):
            raise OSError("no")

        def close(self):
            closed.append(True)

    @pop3d.on("cmd_list")
    def list_(pop3d, event):
        return multiline("here it comes", Body())

    login(pop3d).send(b"LIST\r\n")
    until(lambda: closed)


def test_disconnect_closes_once_the_next_reply_is_out(pop3d, login):
    @pop3d.on("cmd_stat")
    def last(pop3d, event):
        assert pop3d.disconnect(event.client.id)
        return ok("that was all")

    peer = login(pop3d)
    peer.send(b"STAT\r\nNOOP\r\n")
    assert peer.rest() == b"+OK that was all\r\n"


def test_send_to_client_answers_the_command_that_is_being_handled(pop3d, login):
    @pop3d.on("cmd_stat")
    def stat(pop3d, event):
        assert pop3d.send_to_client(event.client.id, "+OK 0 0")

    assert login(pop3d).command(b"STAT") == b"+OK 0 0"


def test_a_command_is_not_answered_twice(pop3d, login):
    errors = []

    @pop3d.on("cmd_stat")
    def stat(pop3d, event):
        event.client.send(ok("0 0"))
        try:
            event.client.send(ok("0 0"))
        except PipelineError as error:
            errors.append(str(error))

    peer = login(pop3d)
    assert peer.command(b"STAT") == b"+OK 0 0"
    assert peer.command(b"NOOP") == b"+OK yes"
    assert errors == ["cmd_stat has been answered already: one command, one reply"]


def test_send_to_client_between_commands_sends_at_once(pop3d, login):
    peer = login(pop3d)
    (client,) = pop3d.clients.values()
    assert pop3d.send_to_client(client.id, multiline("unasked", b".x"))
    assert peer.line() == b"+OK unasked"
    assert peer.body() == b"..x\r\n"
    client.disconnect()
    client.send("-ERR enough")
    assert peer.line() == b"-ERR enough"
    assert peer.rest() == b""


def test_what_is_said_to_a_client_that_has_gone_is_said_to_nobody(pop3d):
    assert pop3d.send_to_client(123456789, "+OK") is False
    assert pop3d.disconnect(123456789) is False


def test_client_data_is_the_applications_own(pop3d, login):
    @pop3d.on("cmd_noop", priority=-1)
    def count(pop3d, event):
        data = event.client.data
        data["n"] = data.get("n", 0) + 1
        return ok(str(data["n"]))

    peer, other = login(pop3d), login(pop3d)
    assert [peer.command(b"NOOP"), peer.command(b"NOOP"), other.command(b"NOOP")] == [b"+OK 1", b"+OK 2", b"+OK 1"]


def test_a_command_finished_event_tells_of_each_command_with_secrets_masked(pop3d, dial):
    finished = []
    pop3d.on("command_finished")(lambda pop3d, event: finished.append(event.args[0]))
    peer = dial(pop3d)
    peer.line()
    peer.send(b"USER alice\r\nPASS open sesame\r\nRETR 1\r\nBOGUS\r\nQUIT\r\n")
    peer.rest()
    assert [(f.verb, f.argument, f.positive) for f in finished] == [
        ("USER", "alice", True),
        ("PASS", "****", True),
        ("RETR", "1", True),
        ("QUIT", "", True),
    ]
    assert [f.octets_in for f in finished] == [12, 18, 8, 6]
    assert [f.octets_out for f in finished] == [9, 9, len(b"+OK here\r\nSubject: x\r\n\r\n..dot\r\n.\r\n"), 9]
    assert all(f.seconds >= 0 for f in finished)


def test_a_session_finished_event_sums_up(pop3d, login, until):
    finished = []
    pop3d.on("session_finished")(lambda pop3d, event: finished.append(event.args[0]))
    peer = login(pop3d)
    peer.send(b"NOOP\r\nQUIT\r\n")
    replies = peer.rest()
    until(lambda: finished)
    (summary,) = finished
    assert (summary.address, summary.port) == peer.sock.getsockname()
    assert summary.commands == 4
    assert summary.octets_in == len(b"USER x\r\nPASS x\r\nNOOP\r\nQUIT\r\n")
    assert summary.octets_out == len(b"+OK pop.example.org POP3 server ready\r\n" + b"+OK yes\r\n" * 2 + replies)
    assert summary.reason == "quit"


@pytest.mark.parametrize(
    ("last", "reason"),
    [
        (b"", "disconnected"),
        (b"QUIT\r\n", "quit"),
        (b"X\r\n" * 20, "bad commands"),
        (b"DELE 1\r\n", "refused"),
    ],
)
def test_why_a_session_ended_is_told(pop3d, login, until, last, reason):
    finished = []
    pop3d.on("session_finished")(lambda pop3d, event: finished.append(event.args[0].reason))
    pop3d.on("cmd_dele", priority=-1)(lambda pop3d, event: event.client.disconnect())
    peer = login(pop3d)
    peer.send(last)
    if last:
        peer.rest()
    peer.close()
    until(lambda: finished)
    assert finished == [reason]


def test_a_peer_that_resets_ends_only_its_own_session(pop3d, login, until, caplog):
    import struct

    peer = login(pop3d)
    peer.sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER of no seconds: a reset
    peer.close()
    until(lambda: not pop3d.clients)
    assert login(pop3d).command(b"NOOP") == b"+OK yes"
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_failure_of_ours_is_a_reference_on_the_wire_and_a_traceback_in_the_log(pop3d, login, caplog):
    @pop3d.on("cmd_stat")
    def stat(pop3d, event):
        raise ZeroDivisionError("secret detail")

    reply = login(pop3d).command(b"STAT")
    assert reply.startswith(b"-ERR [SYS/TEMP] internal error, reference ")
    assert b"secret" not in reply
    reference = reply.rsplit(b" ", 1)[1].decode()
    assert reference in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_command_that_only_a_failing_plugin_heard_is_answered_with_its_reference(pop3d, login, caplog):
    @pop3d.plugin("cmd_stat")
    def broken(pop3d, event):
        raise ZeroDivisionError

    reply = login(pop3d).command(b"STAT")
    assert reply.startswith(b"-ERR [SYS/TEMP] internal error, reference ")
    assert reply.rsplit(b" ", 1)[1].decode() in caplog.text


def test_a_timeout_of_the_applications_own_does_not_end_the_session(pop3d, login, caplog):
    @pop3d.on("cmd_stat")
    def stat(pop3d, event):
        raise gevent.Timeout(1)

    peer = login(pop3d)
    assert peer.command(b"STAT").startswith(b"-ERR [SYS/TEMP] internal error")
    assert peer.command(b"NOOP") == b"+OK yes"
    assert "failed at cmd_stat of address=127.0.0.1 id=" in caplog.text


def test_a_timeout_of_a_listener_keeps_nobody_from_hearing_that_a_client_is_gone(pop3d, login, until, caplog):
    told = []

    @pop3d.on("disconnected")
    def slow(pop3d, event):
        raise gevent.Timeout(1)

    pop3d.on("disconnected", "session_finished", priority=1000)(lambda pop3d, event: told.append(event.name))
    login(pop3d).close()
    until(lambda: len(told) == 2)
    assert told == ["disconnected", "session_finished"]
    assert "failed at disconnected" in caplog.text


def test_an_authenticating_listener_may_challenge_the_client(pop3d, dial):
    @pop3d.on("cmd_auth")
    def auth(pop3d, event):
        answer = event.client.challenge(b"Username:")
        if answer is None:
            return err("cancelled")
        return ok(answer.decode())

    peer = dial(pop3d)
    peer.line()
    assert peer.command(b"AUTH LOGIN") == b"+ VXNlcm5hbWU6"
    assert peer.command(b"*") == b"-ERR cancelled"
    assert peer.command(b"AUTH LOGIN") == b"+ VXNlcm5hbWU6"
    assert peer.command(b"!!!") == b"-ERR the response is not valid base64"
    assert peer.command(b"AUTH LOGIN") == b"+ VXNlcm5hbWU6"
    assert peer.command(b"YWxpY2U=") == b"+OK alice"
    assert peer.command(b"NOOP") == b"+OK yes"


def test_a_client_that_goes_while_it_is_challenged_counts_as_cancelled(pop3d, dial, until):
    answers = []

    @pop3d.on("cmd_auth")
    def auth(pop3d, event):
        answers.append(event.client.challenge(b""))
        return err("cancelled")

    peer = dial(pop3d)
    peer.line()
    assert peer.command(b"AUTH LOGIN") == b"+ "
    peer.close()
    until(lambda: answers)
    assert answers == [None]


def test_a_verb_of_the_applications_own_is_a_command(pop3d, login):
    @pop3d.on("cmd_xfoo")
    def xfoo(pop3d, event):
        return ok(" ".join(event.args))

    assert login(pop3d).command(b"xfoo  bar baz ") == b"+OK bar baz"


def test_the_response_hook_sees_what_the_protocol_rejected(pop3d, login):
    seen = []

    @pop3d.plugin("response")
    def rewrite(pop3d, event):
        if not event.reply.positive:
            seen.append(event.args)
            event.reply = err("no such thing")

    assert login(pop3d).command(b"BOGUS") == b"-ERR no such thing"
    assert seen == [["cmd_"]]


def test_a_changed_reply_moves_the_state_as_what_it_became(pop3d, dial):
    @pop3d.plugin("response")
    def refuse(pop3d, event):
        if event.args == ["cmd_pass"]:
            event.reply = err("no", "AUTH")

    peer = dial(pop3d)
    peer.line()
    peer.command(b"USER x")
    assert peer.command(b"PASS x") == b"-ERR [AUTH] no"
    (client,) = pop3d.clients.values()
    assert client.state is State.AUTHORIZATION


def test_an_eaten_reply_is_silence(pop3d, login):
    from geventpop3 import EAT_ALL

    @pop3d.plugin("response")
    def eat(pop3d, event):
        return EAT_ALL if event.args == ["cmd_stat"] else None

    peer = login(pop3d)
    peer.send(b"STAT\r\nNOOP\r\n")
    assert peer.line() == b"+OK yes"


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(ConfigError, match="unknown option 'tarce'"):
        POP3Server(port=0, options={"tarce": True})


@pytest.mark.parametrize("chunks", [("text",), ["text"], (b"one", "two"), (7,)])
def test_a_body_that_is_not_octets_is_never_ended(pop3d, login, until, caplog, chunks):
    reasons = []
    pop3d.on("session_finished")(lambda pop3d, event: reasons.append(event.args[0].reason))
    pop3d.on("cmd_xbody")(lambda pop3d, event: Reply(True, "here", None, chunks))
    peer = login(pop3d)
    peer.send(b"XBODY\r\nNOOP\r\n")
    assert peer.line() == b"+OK here"
    assert peer.rest() in (b"", b"one")
    until(lambda: reasons)
    assert reasons == ["failed"]
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert re.search(
        r"session address=\S+ id=\d+: a reply broke off, reference \w{8}, at cmd_xbody$", record.getMessage()
    )
    wrong = next(chunk for chunk in chunks if not isinstance(chunk, bytes))
    hint = "encode it" if isinstance(wrong, str) else "convert it to bytes"
    assert f"HandedOverError: a chunk of a body must be bytes, not {type(wrong).__name__}: {hint}" in caplog.text


def test_sys_exit_in_a_body_breaks_off_the_reply_and_ends_nothing_else(pop3d, login, caplog):
    def leaving():
        yield b"one"
        sys.exit(3)

    pop3d.on("cmd_xbody")(lambda pop3d, event: multiline("here", leaving()))
    peer = login(pop3d)
    peer.send(b"XBODY\r\n")
    assert peer.rest() == b"+OK here\r\n"
    assert "a reply broke off, reference " in caplog.text
    peer = login(pop3d)
    peer.send(b"NOOP\r\n")
    assert peer.line() == b"+OK yes"


def test_sys_exit_in_a_translation_ends_the_session_and_nothing_else(pop3d, login, until):
    reasons = []
    pop3d.on("session_finished")(lambda pop3d, event: reasons.append(event.args[0].reason))
    pop3d.on("cmd_xleave")(lambda pop3d, event: setattr(event.client, "translate", sys.exit) or ok("bye"))
    peer = login(pop3d)
    peer.send(b"XLEAVE\r\n")
    assert peer.rest() == b""
    until(lambda: reasons)
    assert reasons == ["failed"]
    assert login(pop3d).command(b"NOOP") == b"+OK yes"


def test_sys_exit_in_a_handler_costs_the_command_and_nothing_else(pop3d, login):
    pop3d.on("cmd_xleave")(lambda pop3d, event: sys.exit(3))
    pop3d.on("cmd_xthread")(lambda pop3d, event: pop3d.in_thread(sys.exit, 3))
    peer = login(pop3d)
    for command in (b"XLEAVE\r\n", b"XTHREAD\r\n"):
        peer.send(command)
        assert peer.line().startswith(b"-ERR [SYS/TEMP] internal error, reference ")
    peer.send(b"NOOP\r\n")
    assert peer.line() == b"+OK yes"


def test_a_greeting_that_a_response_hook_refuses_ends_the_session(serve, dial):
    pop3d = serve()
    pop3d.plugin("response", alias="broken", fail_closed=True)(lambda pop3d, event: 1 // 0)
    pop3d.start()
    peer = dial(pop3d)
    assert peer.rest().startswith(b"-ERR [SYS/TEMP] internal error, reference ")
