"""Every command of RFC 1939 and CAPA, as the service answers them."""

from __future__ import annotations

import hashlib
import re

import pytest

from geventpop3 import EAT_ALL, err, ok
from geventpop3.auth import ClearSecret, SecretAuthenticator
from geventpop3.errors import MaildropLocked, RemovalIncomplete, StoreUnavailable
from geventpop3.stores.memory import MemoryStore
from geventpop3.testing.memory_stream import MemoryStream


def test_stat_list_uidl_and_retr_agree(app):
    assert app.login("STAT", "LIST", "LIST 2", "RETR 1", "QUIT") == [
        "+OK 3 71",
        "+OK 3 messages (71 octets)",
        "1 23",
        "2 45",
        "3 3",
        ".",
        "+OK 2 45",
        "+OK 23 octets",
        "Subject: one",
        "",
        "first",
        ".",
        "+OK goodbye",
    ]


def test_retr_normalises_stuffs_and_ends_the_last_line(app):
    assert app.login("RETR 2", "RETR 3") == [
        "+OK 45 octets",
        "Subject: two",
        "",
        "..second",
        "third line",
        "fourth",
        ".",
        "+OK 3 octets",
        "..",
        ".",
    ]


def test_top_gives_the_header_and_so_many_lines(app):
    assert app.login("TOP 2 0", "TOP 2 1", "TOP 2 99") == [
        "+OK top of message follows",
        "Subject: two",
        "",
        ".",
        "+OK top of message follows",
        "Subject: two",
        "",
        "..second",
        ".",
        "+OK top of message follows",
        "Subject: two",
        "",
        "..second",
        "third line",
        "fourth",
        ".",
    ]


def test_uidl_is_the_same_in_the_next_session(app):
    first, second = app.login("UIDL"), app.login("UIDL")
    assert first == second
    assert first[0] == "+OK 3 messages"
    assert app.login("UIDL 2") == [f"+OK {first[2]}"]


def test_marks_hide_a_message_and_shift_no_number(app):
    assert app.login("DELE 1", "STAT", "LIST", "LIST 1", "UIDL 1", "RETR 1", "TOP 1 0", "DELE 1", "LIST 3") == [
        "+OK message 1 marked as deleted",
        "+OK 2 48",
        "+OK 2 messages (48 octets)",
        "2 45",
        "3 3",
        ".",
        *["-ERR message 1 is marked as deleted"] * 5,
        "+OK 3 3",
    ]


def test_rset_takes_all_marks_back_with_one_reply(app):
    assert app.login("DELE 1", "DELE 3", "STAT", "RSET", "STAT", "QUIT")[2:] == [
        "+OK 1 45",
        "+OK 3 messages (71 octets)",
        "+OK 3 71",
        "+OK goodbye",
    ]
    assert app.login("STAT") == ["+OK 3 71"]


def test_quit_removes_what_is_marked(app):
    assert app.login("DELE 1", "DELE 3", "QUIT")[-1] == "+OK goodbye, 2 messages removed"
    assert app.login("STAT", "RETR 1")[:2] == ["+OK 1 45", "+OK 45 octets"]


def test_without_quit_nothing_is_removed(app):
    # RFC 1939 section 6: "If a session terminates for some reason other than a client-issued QUIT command, the POP3
    # session does NOT enter the UPDATE state and MUST not remove any messages from the maildrop."
    app.login("DELE 1", "DELE 2", "DELE 3")
    assert app.login("STAT") == ["+OK 3 71"]


def test_an_empty_maildrop_lists_nothing(make):
    app = make(MemoryStore({"alice": []}))
    assert app.login("STAT", "LIST", "UIDL", "LIST 1", "RETR 1") == [
        "+OK 0 0",
        "+OK 0 messages (0 octets)",
        ".",
        "+OK 0 messages",
        ".",
        "-ERR no such message, only 0 messages in the maildrop",
        "-ERR no such message, only 0 messages in the maildrop",
    ]


@pytest.mark.parametrize(
    "command", ["STAT 1", "NOOP 1", "RSET 1", "CAPA 1", "QUIT 1", "LIST 1 2", "UIDL 1 2", "DELE 1 2"]
)
def test_an_argument_too_many_is_refused(app, command):
    (reply, *_) = app.login(command, "STAT")
    assert reply.startswith("-ERR ")
    assert "argument" in reply


@pytest.mark.parametrize("command", ["RETR", "DELE", "TOP", "TOP 1"])
def test_an_argument_too_few_is_refused(app, command):
    (reply,) = app.login(command)
    assert reply.startswith("-ERR ")
    assert "argument" in reply


@pytest.mark.parametrize("number", ["0", "-1", "4", "01", "+1", "1_0", "1e0", "0x1", "\u0661", "9" * 400, "4294967297"])
@pytest.mark.parametrize("command", ["LIST {}", "UIDL {}", "RETR {}", "DELE {}", "TOP {} 0"])
def test_what_is_no_message_number_is_no_message(app, command, number):
    (reply, after) = app.login(command.format(number), "STAT")
    assert reply.startswith("-ERR ")
    assert after == "+OK 3 71"


def test_the_transaction_state_needs_a_login(app):
    replies = app.talk("STAT", "USER alice", "RETR 1", "PASS alice", "STAT")
    assert [reply[:4] for reply in replies] == ["-ERR", "+OK ", "-ERR", "-ERR", "-ERR"]


def test_in_the_transaction_state_nobody_logs_in_again(app):
    assert [reply[:4] for reply in app.login("USER alice", "PASS alice", "APOP a b", "STAT")] == [*["-ERR"] * 3, "+OK "]


def test_without_strict_the_service_still_asks_for_a_login(app):
    app.pop3d.strict = False
    assert app.talk("STAT", "QUIT") == ["-ERR log in first", "+OK goodbye"]


def test_unknown_user_and_wrong_password_have_one_answer(app):
    replies = app.talk("USER alice", "PASS wrong", "USER nobody", "PASS wrong")
    assert replies == ["+OK send PASS", "-ERR [AUTH] authentication failed"] * 2


def test_after_three_failures_the_connection_is_closed(app):
    replies = app.talk(*["USER alice", "PASS wrong"] * 4)
    assert len(replies) == 6


def test_pass_needs_a_user_just_before_it(app):
    assert app.talk("PASS alice") == ["-ERR say USER first"]
    assert app.talk("USER alice", "PASS wrong", "PASS alice")[2] == "-ERR say USER first"
    replies = app.talk("USER alice", "CAPA", "PASS alice")
    assert replies[-1] == "-ERR say USER first"


def test_user_and_pass_need_their_argument(app):
    assert app.talk("USER", "USER alice", "PASS") == [
        "-ERR an argument is missing",
        "+OK send PASS",
        "-ERR PASS needs a password",
    ]


def test_a_password_keeps_its_blanks(make):
    class Blanks(type(make().service.site.back_end.authenticator)):
        def authenticate(self, name, password):
            return name if password == " open  sesame " else None

    app = make(authenticator=Blanks())
    assert app.talk("USER alice", "PASS  open  sesame ")[1].startswith("+OK")
    assert app.talk("USER alice", "PASS open sesame")[1].startswith("-ERR")


def test_a_clear_text_login_is_for_loopback_unless_the_site_allows_it(make):
    for peer in ("192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"):
        replies = make().talk("USER alice", "PASS alice", "CAPA", peer=peer)
        assert replies[0] == "-ERR [AUTH] a clear-text login is not allowed on this connection"
        assert replies[1] == "-ERR say USER first"
        assert "USER" not in replies
        assert make(allow_plaintext=True).talk("USER alice", "PASS alice", peer=peer)[1].startswith("+OK")
    for peer in ("127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1", "::ffff:127.8.9.10", "unix:/run/pop3.sock"):
        assert make().talk("USER alice", "PASS alice", peer=peer)[1].startswith("+OK")


def test_capa_says_what_works_in_both_states(app):
    before = ["TOP", "USER", "SASL PLAIN LOGIN", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING"]
    before += ["UTF8 USER", "LANG"]
    assert app.talk("CAPA") == ["+OK capabilities follow", *before, "."]
    after = app.login("CAPA")
    # RFC 2449 section 5: "Capabilities available in the AUTHORIZATION state MUST be announced in both states."
    assert after[1:-2] == before
    assert after[-2].startswith("IMPLEMENTATION geventpop3/")


def test_expire_and_further_capabilities_are_the_sites(make):
    app = make(expire=30)
    app.service.capabilities["X-PIGEONS"] = lambda session, pop3d: "2"
    del app.service.capabilities["TOP"]
    replies = app.talk("CAPA")
    assert "EXPIRE 30" in replies
    assert "X-PIGEONS 2" in replies
    assert "TOP" not in replies


class Clear(SecretAuthenticator):
    def authenticate(self, name, password):
        return None

    def secret(self, name):
        return ClearSecret(b"tanstaaf") if name == "alice" else None


class ApopClient(MemoryStream):
    """Answers the timestamp of the greeting."""

    def __init__(self, name, secret):
        super().__init__(self._lines(name, secret))

    def _lines(self, name, secret):
        timestamp = bytes(self.output)[bytes(self.output).index(b"<") :].strip()
        digest = hashlib.md5(timestamp + secret, usedforsecurity=False).hexdigest()
        yield f"APOP {name} {digest}\r\nSTAT\r\n".encode()


def test_apop_logs_in_who_shares_the_secret(make):
    app = make(authenticator=Clear())
    for name, secret, answer in [
        ("alice", b"tanstaaf", b"+OK 3 messages (71 octets)\r\n+OK 3 71\r\n"),
        ("alice", b"wrong", b"-ERR [AUTH] authentication failed\r\n-ERR not allowed in the AUTHORIZATION state\r\n"),
        ("bob", b"tanstaaf", b"-ERR [AUTH] authentication failed\r\n-ERR not allowed in the AUTHORIZATION state\r\n"),
    ]:
        stream = ApopClient(name, secret)
        app.run(stream)
        assert bytes(stream.output).split(b"\r\n", 1)[1] == answer


def test_who_has_a_clear_secret_may_use_apop_and_pass(make):
    class Both(Clear):
        def authenticate(self, name, password):
            return name if (name, password) == ("alice", "tanstaaf") else None

    app = make(authenticator=Both())
    stream = ApopClient("alice", b"tanstaaf")
    app.run(stream)
    assert b"+OK 3 71\r\n" in bytes(stream.output)
    assert app.talk("USER alice", "PASS tanstaaf", "STAT")[-1] == "+OK 3 71"


def test_every_greeting_has_a_timestamp_of_its_own(make):
    app = make(authenticator=Clear())
    timestamps = set()
    for _ in range(3):
        stream = MemoryStream([])
        app.run(stream)
        # One "<" only: RFC 2449 section 3 keeps it for the timestamp.
        assert stream.output.count(b"<") == 1
        timestamps.add(bytes(stream.output))
    assert len(timestamps) == 3


def test_apop_needs_a_timestamp_and_two_arguments(app, make):
    assert app.talk("APOP alice 0")[0].startswith("-ERR APOP is not available")
    apop = make(authenticator=Clear())
    assert "argument" in apop.talk("APOP alice")[0]

    class Greeted(Clear):
        pass

    greeted = make(authenticator=Greeted())
    greeted.pop3d.on("connection")(lambda pop3d, event: ok("hello"))
    assert greeted.talk("APOP alice 0")[0].startswith("-ERR APOP is not available")


def test_no_timestamp_where_no_greeting_is_sent(make):
    app = make(authenticator=Clear())
    app.pop3d.handle_connects = False
    stream = MemoryStream([b"APOP alice 0\r\n"])
    app.run(stream)
    assert bytes(stream.output).startswith(b"-ERR APOP is not available")


def test_a_maildrop_in_use_is_told_only_after_the_right_password(app):
    held = app.store.open("alice")
    try:
        assert app.talk("USER alice", "PASS wrong", "USER alice", "PASS alice")[1::2] == [
            "-ERR [AUTH] authentication failed",
            "-ERR [IN-USE] the maildrop is in use by another session",
        ]
    finally:
        held.close()
    assert app.talk("USER alice", "PASS alice")[1].startswith("+OK")


def test_a_maildrop_is_free_after_any_end(app):
    for ending in (["QUIT"], [], ["DELE 1"], ["BOGUS"] * 20):
        app.login(*ending)
        app.store.open("alice").close()


def test_the_maildrop_is_free_before_quit_is_answered(app):
    free = []

    @app.pop3d.plugin("response")
    def look(pop3d, event):
        if event.args == ["cmd_quit"]:
            app.store.open("alice").close()
            free.append(True)

    app.login("QUIT")
    assert free == [True]


def test_a_store_that_fails_at_login_is_not_a_wrong_password(make, app):
    class Down(MemoryStore):
        def open(self, owner):
            raise StoreUnavailable(detail="/srv/mail/alice: Input/output error")

    replies = make(Down({})).talk("USER alice", "PASS alice")
    assert replies[1] == "-ERR [SYS/TEMP] the maildrop is not available now, try again later"


def test_a_maildrop_that_cannot_be_scanned_is_closed_again(make):
    app = make()
    drop = type(app.store.open("alice"))
    app = make()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drop, "scan", lambda self: (_ for _ in ()).throw(StoreUnavailable()))
        assert app.talk("USER alice", "PASS alice")[1].startswith("-ERR [SYS/TEMP]")
    app.store.open("alice").close()


def test_a_removal_that_fails_is_said_and_the_lock_is_released(make):
    app = make()
    drop = type(app.store.open("alice"))
    app = make()

    def fail(self, unique_ids):
        raise RemovalIncomplete(len(list(unique_ids)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drop, "remove", fail)
        assert app.login("DELE 1", "DELE 2", "QUIT", "STAT")[2:] == [
            "-ERR [SYS/TEMP] some deleted messages not removed: 2 messages left"
        ]
    assert app.login("STAT") == ["+OK 3 71"]


def test_a_message_that_cannot_be_opened_is_refused_before_ok(make):
    app = make()
    drop = type(app.store.open("alice"))
    app = make()

    def gone(self, unique_id):
        raise StoreUnavailable("the message is gone")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drop, "retrieve", gone)
        assert app.login("RETR 1", "TOP 1 0", "STAT") == [
            *["-ERR [SYS/TEMP] the message is gone"] * 2,
            "+OK 3 71",
        ]


def test_a_message_whose_first_octets_cannot_be_read_is_refused_before_ok(make):
    app = make()
    drop = type(app.store.open("alice"))
    app = make()

    def broken(self, unique_id):
        raise StoreUnavailable("cannot be read")
        yield b""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drop, "retrieve", broken)
        assert app.login("RETR 1", "STAT") == ["-ERR [SYS/TEMP] cannot be read", "+OK 3 71"]


def test_a_listener_overrides_a_command_and_a_plugin_stands_before_it(app):
    app.pop3d.on("cmd_stat")(lambda pop3d, event: ok("7 7"))

    @app.pop3d.plugin("cmd_noop")
    def eat(pop3d, event):
        event.reply = ok("eaten")
        return EAT_ALL

    assert app.login("STAT", "NOOP", "RSET") == ["+OK 7 7", "+OK eaten", "+OK 3 messages (71 octets)"]


def test_what_a_plugin_rewrote_is_checked_again(app):
    @app.pop3d.plugin("cmd_retr")
    def rewrite(pop3d, event):
        event.args[:] = ["0"] if event.args == ["1"] else ["1"]

    assert app.login("RETR 1", "RETR nonsense") == [
        "-ERR message-numbers begin at 1",
        "+OK 23 octets",
        "Subject: one",
        "",
        "first",
        ".",
    ]


def test_who_answers_quit_takes_update_over(app):
    app.pop3d.on("cmd_quit")(lambda pop3d, event: ok("later"))
    assert app.login("DELE 1", "QUIT")[1] == "+OK later"
    app.store.open("alice").close()
    assert app.login("STAT") == ["+OK 3 71"]


def test_a_login_that_a_plugin_took_back_holds_no_lock(app):
    refused = []

    @app.pop3d.plugin("response")
    def refuse_once(pop3d, event):
        if event.args == ["cmd_pass"] and not refused:
            refused.append(event.reply)
            event.reply = err("not yet")

    assert app.talk("USER alice", "PASS alice", "USER alice", "PASS alice", "STAT")[1::2] == [
        "-ERR not yet",
        "+OK 3 messages (71 octets)",
    ]
    app.store.open("alice").close()


def test_logins_are_told(app):
    told = []
    app.pop3d.on("authenticated", "authentication_failed")(
        lambda pop3d, event: told.append((event.name, event.args, event.client.owner))
    )
    app.talk("USER alice", "PASS wrong", "USER alice", "PASS alice")
    assert told == [
        ("authentication_failed", ["alice", "USER"], None),
        ("authenticated", ["alice", "USER", "alice"], "alice"),
    ]


def test_a_session_is_summed_up_with_what_was_done_to_the_maildrop(app):
    told = []
    app.pop3d.on("session_finished")(lambda pop3d, event: told.append(event.args[0]))
    app.login("RETR 1", "RETR 2", "TOP 3 0", "DELE 1", "QUIT")
    (summary,) = told
    assert (summary.owner, summary.retrieved, summary.removed, summary.commands) == ("alice", 2, 1, 7)


def test_one_service_may_serve_several_servers(app, make):
    other = make()
    assert app.login("STAT") == other.login("STAT")


def test_a_locked_maildrop_is_a_refusal_of_its_own():
    assert str(MaildropLocked()) == "the maildrop is in use by another session"


@pytest.mark.parametrize(
    ("hostname", "domain"),
    [
        ("pop.example.org", "pop.example.org"),
        ("b\u00fccher.example", "localhost"),
        ("a b>c", "localhost"),
        ("x" * 600, "localhost"),
    ],
)
def test_the_timestamp_is_a_msg_id_whatever_the_server_is_called(make, hostname, domain):
    app = make(authenticator=Clear())
    app.pop3d.hostname = hostname
    app.pop3d.greeting = f"{hostname} <beta> ready"
    stream = ApopClient("alice", b"tanstaaf")
    app.run(stream)
    greeting, reply, *_ = bytes(stream.output).split(b"\r\n")
    assert re.fullmatch(rb"<[0-9a-f]{24}@%s>" % domain.encode(), greeting[greeting.index(b"<") :])
    assert reply.startswith(b"+OK")


def test_a_login_that_a_plugin_takes_back_releases_the_lock_at_once(app):
    free = []

    @app.pop3d.plugin("response")
    def refuse(pop3d, event):
        if event.args == ["cmd_pass"] and event.reply.positive:
            event.reply = err("not today")

    @app.pop3d.on("cmd_capa", priority=-1)
    def look(pop3d, event):
        app.store.open("alice").close()
        free.append(event.client.owner)

    replies = app.talk("USER alice", "PASS alice", "CAPA")
    assert replies[1] == "-ERR not today"
    assert free == [None]


def test_a_command_that_plugins_eat_is_told_before_its_reply(app):
    told = []
    app.pop3d.on("command_eaten")(lambda pop3d, event: told.append(event.args))

    @app.pop3d.plugin("cmd_noop")
    def eat(pop3d, event):
        event.reply = ok("eaten")
        return EAT_ALL

    @app.pop3d.plugin("response")
    def count(pop3d, event):
        told.append(event.args)

    app.login("STAT", "NOOP", "QUIT")
    assert told[3:] == [["cmd_stat"], ["cmd_noop"], ["cmd_noop"], ["cmd_quit"]]
