"""What is kept of the seed, POE::Component::Server::POP3, and what is mended, where it is the server that does it.

A test a row; what plugins and the pipeline do is in tests/pipeline/test_seed_semantics.py.
"""

from __future__ import annotations

import logging

import pytest

from geventpop3 import EAT_ALL, EAT_NONE, Plugin, POP3Server, err, handles, ok
from geventpop3.protocol.commands import COMMANDS, State
from geventpop3.server.limits import Limits


@pytest.fixture
def heard():
    """The names of what listeners heard, in order."""
    return []


@pytest.fixture
def listen(heard):
    """Registers a listener that hears *names* and says nothing."""

    def register(pop3d, *names):
        pop3d.on(*names, priority=-100)(lambda pop3d, event: heard.append(event.name))

    return register


class TestKept:
    def test_alias_finds_a_server_again(self, serve):
        pop3d = serve(alias="mailhost")
        assert POP3Server.find("mailhost") is pop3d
        assert POP3Server.find("another") is None

    def test_options_trace_logs_the_dialogue_with_secrets_masked(self, app, dial, caplog):
        caplog.set_level(logging.INFO, "geventpop3.trace")
        pop3d = app(options={"trace": True})
        pop3d.start()
        peer = dial(pop3d)
        peer.send(b"USER alice\r\nPASS open sesame\r\nAPOP alice c4c9334bac560ecc979e58001b3e22fb\r\nQUIT\r\n")
        peer.rest()
        traced = [record.getMessage() for record in caplog.records if record.name == "geventpop3.trace"]
        assert [line.split(" ", 2)[2] for line in traced if " C: " in line][:2] == ["C: USER alice", "C: PASS ****"]
        assert not any("sesame" in line or "c4c9" in line for line in traced)

    def test_no_dialogue_is_logged_without_options_trace(self, pop3d, login, caplog):
        caplog.set_level(logging.DEBUG)
        login(pop3d).send(b"QUIT\r\n")
        assert [record for record in caplog.records if record.name == "geventpop3.trace"] == []

    def test_session_id_is_server_id_and_no_two_servers_share_one(self, serve):
        ids = [serve().server_id for _ in range(3)]
        assert len(set(ids)) == 3
        assert all(isinstance(server_id, int) for server_id in ids)

    def test_handle_connects_sends_the_greeting_and_without_it_none_is_sent(self, app, dial):
        greeting, silent = app(), app(handle_connects=False)
        greeting.start()
        silent.start()
        assert dial(greeting).line() == b"+OK pop.example.org POP3 server ready"
        assert dial(silent).command(b"USER x") == b"+OK yes"

    def test_without_handle_connects_a_listener_may_greet(self, app, dial):
        pop3d = app(handle_connects=False)
        pop3d.on("connection")(lambda pop3d, event: "+OK at your service")
        pop3d.start()
        assert dial(pop3d).line() == b"+OK at your service"

    def test_disconnect_closes_once_the_next_reply_is_out(self, pop3d, login, heard, listen):
        @pop3d.on("cmd_stat")
        def stat(pop3d, event):
            pop3d.disconnect(event.client.id)
            heard.append("disconnect")
            return ok("0 0")

        listen(pop3d, "cmd_noop")
        peer = login(pop3d)
        peer.send(b"STAT\r\nNOOP\r\n")
        assert peer.rest() == b"+OK 0 0\r\n"
        assert heard == ["disconnect"]

    def test_quit_closes_after_its_reply(self, pop3d, login, heard, listen):
        listen(pop3d, "cmd_noop")
        peer = login(pop3d)
        peer.send(b"QUIT\r\nNOOP\r\n")
        assert peer.rest() == b"+OK yes\r\n"
        assert heard == []

    def test_quit_closes_also_when_its_reply_is_negative(self, pop3d, login):
        pop3d.on("cmd_quit", priority=-1)(lambda pop3d, event: err("some messages are left", "SYS/TEMP"))
        peer = login(pop3d)
        peer.send(b"QUIT\r\n")
        assert peer.rest() == b"-ERR [SYS/TEMP] some messages are left\r\n"

    @pytest.mark.parametrize("line", [b"HELO", b"XFOO 1", b"STATS", b"", b"USER:"])
    def test_an_unknown_command_is_answered_with_err(self, pop3d, login, line):
        peer = login(pop3d)
        assert peer.command(line).startswith(b"-ERR ")
        assert peer.command(b"NOOP") == b"+OK yes"

    @pytest.mark.parametrize("line", [b"  USER alice", b"USER alice  ", b"\tUSER \t alice\t ", b" user  alice"])
    def test_leading_and_trailing_blanks_are_tolerated(self, pop3d, dial, line):
        names = []
        pop3d.on("cmd_user")(lambda pop3d, event: names.append(event.args))
        peer = dial(pop3d)
        peer.line()
        assert peer.command(line) == b"+OK yes"
        assert names == [["alice"]]

    def test_event_order_is_connection_then_commands_then_disconnected(self, app, dial, heard, listen, until):
        pop3d = app()
        listen(pop3d, "connection", "disconnected", "cmd_user", "cmd_pass", "cmd_retr", "cmd_quit")
        pop3d.start()
        peer = dial(pop3d)
        peer.send(b"USER x\r\nPASS x\r\nRETR 1\r\nQUIT\r\n")
        peer.rest()
        until(lambda: "disconnected" in heard)
        assert heard == ["connection", "cmd_user", "cmd_pass", "cmd_retr", "cmd_quit", "disconnected"]

    def test_plugins_hear_an_event_before_listeners_whatever_came_first(self, app, login, heard):
        pop3d = app()
        pop3d.on("cmd_noop", priority=-100)(lambda pop3d, event: heard.append("listener"))
        pop3d.plugin("cmd_noop", priority=100)(lambda pop3d, event: heard.append("plugin"))
        pop3d.start()
        assert login(pop3d).command(b"NOOP") == b"+OK yes"
        assert heard == ["plugin", "listener"]

    def test_a_plugin_may_mangle_arguments_and_add_some(self, app, login):
        pop3d = app()
        seen = []

        @pop3d.plugin("cmd_dele")
        def mangle(pop3d, event):
            event.args[0] = "2"
            event.args.append("extra")

        pop3d.on("cmd_dele")(lambda pop3d, event: seen.append(event.args))
        pop3d.start()
        assert login(pop3d).command(b"DELE 1") == b"+OK yes"
        assert seen == [["2", "extra"]]

    def test_a_command_eaten_without_a_reply_is_silence(self, pop3d, login):
        pop3d.plugin("cmd_stat")(lambda pop3d, event: EAT_ALL)
        peer = login(pop3d)
        peer.send(b"STAT\r\nNOOP\r\n")
        assert peer.line() == b"+OK yes"


class TestMended:
    def test_quit_and_capa_have_an_answer_where_nobody_gives_one(self, serve, dial):
        pop3d = serve()
        pop3d.start()
        peer = dial(pop3d)
        peer.line()
        assert peer.command(b"CAPA") == b"+OK capabilities follow"
        assert peer.body() == b"RESP-CODES\r\nPIPELINING\r\n"
        assert peer.command(b"CAPA all") == b"-ERR no argument is allowed"
        assert peer.command(b"QUIT") == b"+OK goodbye"
        assert peer.rest() == b""

    def test_capa_tells_of_the_commands_that_the_application_answers(self, serve, login):
        pop3d = serve()

        @pop3d.on("cmd_user", "cmd_pass", "cmd_uidl")
        def yes(pop3d, event):
            return ok("yes")

        told = []
        pop3d.on("command_finished")(lambda pop3d, event: told.append(event.args[0][:3]))
        pop3d.start()
        peer = login(pop3d)
        assert peer.command(b"CAPA") == b"+OK capabilities follow"
        assert peer.body() == b"USER\r\nUIDL\r\nRESP-CODES\r\nPIPELINING\r\n"
        assert peer.command(b"QUIT") == b"+OK goodbye"
        assert peer.rest() == b""
        assert told[-2:] == [("CAPA", "", True), ("QUIT", "", True)]

    def test_where_an_application_failed_at_quit_or_capa_it_has_not_answered(self, serve, dial, caplog):
        pop3d = serve()
        pop3d.on("cmd_quit", "cmd_capa")(lambda pop3d, event: 1 // 0)
        pop3d.start()
        peer = dial(pop3d)
        peer.line()
        assert peer.command(b"CAPA").startswith(b"-ERR [SYS/TEMP] internal error")
        assert peer.command(b"QUIT").startswith(b"-ERR [SYS/TEMP] internal error")
        assert peer.rest() == b""

    def test_a_command_that_nobody_answers_gets_err_and_does_not_hang_the_client(self, serve, dial):
        pop3d = serve()
        pop3d.on("cmd_user")(lambda pop3d, event: None)
        pop3d.start()
        peer = dial(pop3d)
        peer.line()
        assert peer.command(b"USER x") == b"-ERR not supported here"
        assert peer.command(b"LANG") == b"-ERR not supported here"

    @pytest.mark.parametrize(
        ("line", "password"),
        [
            (b"PASS sesame ", "sesame "),
            (b"PASS  sesame", " sesame"),
            (b"PASS open  sesame\t", "open  sesame\t"),
            (b"  pass sesame  ", "sesame  "),
            (b"PASS ", ""),
        ],
    )
    def test_passwords_keep_their_blanks(self, pop3d, dial, line, password):
        given = []
        pop3d.on("cmd_pass")(lambda pop3d, event: given.append(event.args))
        peer = dial(pop3d)
        peer.line()
        peer.command(b"USER x")
        assert peer.command(line) == b"+OK yes"
        assert given == [[password]]

    def test_the_autologout_timer_is_ten_minutes_and_not_300_seconds(self, serve):
        # RFC 1939 section 3: "Such a timer MUST be of at least 10 minutes' duration."
        assert Limits().autologout == 600
        assert serve().limits.autologout == 600

    def test_the_greeting_goes_out_only_after_plugins_could_refuse(self, app, dial, heard, listen):
        class Closed(Plugin):
            def __init__(self):
                self.is_closed = True

            @handles("connection")
            def refuse(self, pop3d, event):
                if not self.is_closed:
                    return EAT_NONE
                event.reply = err("closed for today", "SYS/TEMP")
                return EAT_ALL

        pop3d = app()
        listen(pop3d, "connection", "cmd_user")
        plugin = Closed()
        pop3d.plugin_add("closed", plugin)
        pop3d.start()
        assert dial(pop3d).rest() == b"-ERR [SYS/TEMP] closed for today\r\n"
        assert heard == []
        plugin.is_closed = False
        assert dial(pop3d).line() == b"+OK pop.example.org POP3 server ready"
        assert heard == ["connection"]

    def test_stat_before_pass_does_not_reach_handlers(self, app, dial, heard, listen):
        pop3d = app()
        listen(pop3d, "cmd_stat")
        pop3d.start()
        peer = dial(pop3d)
        peer.line()
        assert peer.command(b"STAT") == b"-ERR not allowed in the AUTHORIZATION state"
        assert heard == []

    def test_stat_before_pass_reaches_handlers_with_strict_false_as_in_the_seed(self, app, dial):
        pop3d = app(strict=False)
        pop3d.on("cmd_stat")(lambda pop3d, event: ok("0 0"))
        pop3d.start()
        peer = dial(pop3d)
        peer.line()
        assert peer.command(b"STAT") == b"+OK 0 0"

    @pytest.mark.parametrize("verb", ["CAPA", "STLS", "AUTH", "UTF8", "LANG"])
    def test_the_verbs_of_rfc_2449_and_later_are_events_as_any_other(self, app, dial, verb):
        assert State.AUTHORIZATION in COMMANDS[verb].states
        pop3d = app()
        pop3d.on(f"cmd_{verb.lower()}")(lambda pop3d, event: ok(" ".join(event.args)))
        pop3d.start()
        peer = dial(pop3d)
        peer.line()
        assert peer.command(f"{verb} x y".encode()) == b"+OK x y"
