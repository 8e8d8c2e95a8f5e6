"""Personalities at the level of octets: the dialogues of tests/testing/personalities, and what CAPA promises."""

import base64
import poplib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from geventpop3.testing import Double
from geventpop3.testing.double.personality import load_personality, names
from geventpop3.testing.play import play_over_socket
from geventpop3.testing.script import load as load_script

SCRIPTS = [load_script(path) for path in sorted((Path(__file__).parent / "personalities").glob("*.pop3"))]
MESSAGES = (b"Subject: one\n\nHello\n", b"Subject: two\n\nWorld wide\n", b"Subject: three\n\nx\n.dot\n")


def personality_of(script) -> str:
    (name,) = (name for name in names() if Path(script.name).stem.startswith(f"{name}-"))
    return name


@pytest.mark.parametrize("how", ["lines", "octets"])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: Path(script.name).stem)
def test_the_double_says_to_the_octet_what_the_real_server_says(script, how) -> None:
    with Double(personality=personality_of(script), tls="off") as double:
        double.maildrop("alice", "secret").deliver(*MESSAGES)
        play_over_socket((double.host, double.port), script, how)


def test_every_personality_has_a_dialogue_of_the_login_and_one_of_the_mail() -> None:
    stems = {Path(script.name).stem for script in SCRIPTS}
    assert stems >= {f"{name}-{part}" for name in names() for part in ("login", "mail")}


@pytest.mark.parametrize("name", names())
def test_poplib_polls_it_as_far_as_it_has_the_commands(name: str) -> None:
    unsupported = load_personality(name).unsupported
    with Double(personality=name, tls="off") as double:
        box = double.maildrop("alice", "secret")
        box.deliver(*MESSAGES)
        client = poplib.POP3(double.host, double.port, timeout=10)
        if "USER" in unsupported:
            client.apop("alice", "secret")
        else:
            client.user("alice")
            client.pass_("secret")
        count, _octets = client.stat()
        assert count == 3
        if "UIDL" in unsupported:
            with pytest.raises(poplib.error_proto):
                client.uidl()
        else:
            assert len(client.uidl()[1]) == 3
        if "TOP" in unsupported:
            with pytest.raises(poplib.error_proto):
                client.top(1, 0)
        else:
            assert client.top(1, 0)[1] == [b"Subject: one", b""]
        for number in range(1, count + 1):
            assert b"\n".join(client.retr(number)[1]) + b"\n" == MESSAGES[number - 1]
            client.dele(number)
        client.quit()
        double.wait_for(sessions=1)
        assert box.messages == []
        assert len(box.sessions[0].removed) == 3


class Talk:
    def __init__(self, double: Double) -> None:
        self.sock = socket.create_connection((double.host, double.port), timeout=10)
        self.file = self.sock.makefile("rb")
        self.greeting = self.line()

    def line(self) -> str:
        return self.file.readline().decode().removesuffix("\r\n")

    def say(self, command: str) -> str:
        self.sock.sendall(f"{command}\r\n".encode())
        return self.line()

    def lines(self, command: str) -> list[str]:
        assert self.say(command).startswith("+OK")
        return list(iter(self.line, "."))

    def close(self) -> None:
        self.file.close()
        self.sock.close()


@pytest.fixture
def talk() -> Iterator[object]:
    talks: list[Talk] = []

    def begin(double: Double) -> Talk:
        talks.append(Talk(double))
        return talks[-1]

    yield begin
    for each in talks:
        each.close()


def plain(name: str, password: str) -> str:
    return base64.b64encode(f"\0{name}\0{password}".encode()).decode()


@pytest.mark.parametrize("name", [name for name in names() if "CAPA" not in load_personality(name).unsupported])
def test_every_mechanism_that_is_announced_works_and_no_other(name: str, talk) -> None:
    with Double(personality=name, tls="off") as double:
        double.maildrop("alice", "secret")
        client = talk(double)
        announced = [word for line in client.lines("CAPA") if line.startswith("SASL ") for word in line.split()[1:]]
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"):
            reply = talk(double).say(f"AUTH {mechanism}")
            assert reply.startswith("+ " if mechanism in announced else "-ERR"), mechanism
        if "PLAIN" in announced:
            assert talk(double).say(f"AUTH PLAIN {plain('alice', 'secret')}").startswith("+OK")


@pytest.mark.parametrize("name", [name for name in names() if "CAPA" not in load_personality(name).unsupported])
def test_stls_is_announced_where_tls_is_offered_and_the_server_has_it(name: str, talk) -> None:
    for tls in ("off", "offered"):
        with Double(personality=name, tls=tls) as double:
            has_stls = "STLS" in talk(double).lines("CAPA")
            assert has_stls == (tls == "offered" and "STLS" not in load_personality(name).unsupported)


def test_after_stls_it_is_not_announced_any_more() -> None:
    with Double(personality="dovecot") as double:
        double.maildrop("alice", "secret")
        client = poplib.POP3(double.host, double.port, timeout=10)
        assert "STLS" in client.capa()
        client.stls(double.ssl_context)
        assert "STLS" not in client.capa()
        client.user("alice")
        assert client.pass_("secret") == b"+OK Logged in."
        client.quit()


def test_user_is_not_announced_where_logins_need_tls(talk) -> None:
    with Double(personality="exchange", tls="required") as double:
        client = talk(double)
        assert "USER" in client.lines("CAPA")
        assert client.say("USER alice") == "-ERR Command is not valid in this state."


def test_tokens_bring_the_mechanisms_for_tokens(talk) -> None:
    with Double(personality="gmail", tls="off") as double:
        double.maildrop("alice", "secret", token="t0ken")
        assert "SASL PLAIN XOAUTH2 OAUTHBEARER" in [
            f"SASL {' '.join(sorted(line.split()[1:], key=['PLAIN', 'XOAUTH2', 'OAUTHBEARER'].index))}"
            for line in talk(double).lines("CAPA")
            if line.startswith("SASL")
        ]


def test_the_greeting_has_a_timestamp_only_where_the_real_one_has(talk) -> None:
    for name in names():
        has_apop = "APOP" not in load_personality(name).unsupported and load_personality(name).greeting is None
        with Double(personality=name, tls="off") as double:
            assert ("<" in talk(double).greeting) == (has_apop or name == "apop-only"), name


def test_faults_act_on_what_the_personality_says(talk) -> None:
    with Double(personality="dovecot", tls="off") as double:
        box = double.maildrop("alice", "secret")
        box.deliver(*MESSAGES)
        box.fail("LIST", "wrong-size", octets=1000)
        box.fail("STAT", "error", text="Personal words", code="SYS/TEMP")
        client = talk(double)
        client.say("USER alice")
        client.say("PASS secret")
        assert client.lines("LIST") == ["1 1023", "2 1028", "3 1027"]
        assert client.say("STAT") == "-ERR [SYS/TEMP] Personal words"


def test_the_records_have_what_was_sent(talk) -> None:
    with Double(personality="dovecot", tls="off") as double:
        double.maildrop("alice", "secret")
        client = talk(double)
        client.say("XYZ")
        client.say("USER alice")
        client.say("QUIT")
        double.wait_for(sessions=1)
        replies = [command.reply for command in double.sessions[0].commands]
        assert replies == ["-ERR Unknown command.", "+OK", "+OK Logging out"]
        assert double.sessions[0].commands[0].octets == len(b"-ERR Unknown command.\r\n")


def test_limits_can_be_overridden(talk) -> None:
    with Double(personality="gmail", tls="off", bad_before_login=3) as double:
        client = talk(double)
        assert [client.say("XYZ")[:4] for _ in range(3)] == ["-ERR"] * 3
        assert client.line() == ""


def test_a_locked_maildrop_has_the_words_of_the_server(talk) -> None:
    with Double(personality="dovecot", tls="off") as double:
        double.maildrop("alice", "secret")
        first, second = talk(double), talk(double)
        for client, expected in (
            (first, "+OK Logged in."),
            (second, "-ERR [IN-USE] Mailbox is locked by another POP3 session."),
        ):
            client.say("USER alice")
            assert client.say("PASS secret") == expected


def test_utf8_refuses_a_message_that_needs_it(talk) -> None:
    with Double(personality="utf8", tls="off") as double:
        double.maildrop("alice", "secret").deliver("Subject: grüße\n\nx\n".encode())
        client = talk(double)
        client.say("USER alice")
        client.say("PASS secret")
        assert client.say("RETR 1").startswith("-ERR [UTF8]")
        other = talk(double)
        client.say("QUIT")
        assert other.say("UTF8").startswith("+OK")
        other.say("USER alice")
        other.say("PASS secret")
        assert "Subject: grüße" in other.lines("RETR 1")


def test_unique_ids_are_those_that_deliver_returns() -> None:
    with Double(personality="courier") as double:
        box = double.maildrop("alice")
        assert box.deliver(*MESSAGES) == ["UID1-1700000000", "UID2-1700000000", "UID3-1700000000"]


def test_a_personality_of_ones_own_comes_from_a_file(tmp_path: Path, talk) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('title = "Mine"\nabout = "x"\nsources = ["me"]\ngreeting = "+OK hello {peer}"\n', "utf-8")
    with Double(personality=mine, tls="off") as double:
        assert talk(double).greeting == "+OK hello 127.0.0.1"


def test_reset_keeps_the_personality(talk) -> None:
    with Double(personality="courier", tls="off") as double:
        double.maildrop("alice", "secret")
        double.reset()
        double.maildrop("alice", "secret").deliver(MESSAGES[0])
        client = talk(double)
        assert client.greeting == "+OK Hello there."
        assert client.say("USER alice") == "+OK Password required."
        assert client.say("PASS secret") == "+OK logged in."


LIMITS = """
title = "Mine"
about = "x"
sources = ["this test"]
[limits]
line-limit = 40
tries = 1
login-delay = 60
source = "this test"
"""


def test_limits_of_a_file_are_kept_and_announced(tmp_path: Path, talk) -> None:
    (tmp_path / "mine.toml").write_text(LIMITS, "utf-8")
    with Double(personality=tmp_path / "mine.toml", tls="off") as double:
        double.maildrop("alice", "secret")
        client = talk(double)
        assert "LOGIN-DELAY 60" in client.lines("CAPA")
        assert client.say(f"USER {'x' * 40}") == "-ERR line too long"
        for expected in ("+OK 0 messages", "-ERR [LOGIN-DELAY]"):
            client = talk(double)
            client.say("USER alice")
            assert client.say("PASS secret").startswith(expected)
            client.say("QUIT")
        client = talk(double)
        client.say("USER alice")
        assert client.say("PASS wrong").startswith("-ERR [AUTH]")
        assert client.line() == ""


def test_marks_are_counted_as_greenmail_does_also_if_a_fault_replaces_a_reply(talk) -> None:
    with Double(personality="greenmail", tls="off") as double:
        box = double.maildrop("alice", "secret")
        box.deliver(*MESSAGES)
        box.fail("DELE", "error", nth=2)
        box.fail("RSET", "error")
        client = talk(double)
        client.say("USER alice")
        client.say("PASS secret")
        assert [client.say(f"DELE {number}")[:4] for number in (1, 2, 2, 3)] == ["+OK ", "-ERR", "+OK ", "+OK "]
        assert client.say("RSET") == "+OK"  # the quirk's first line; the second is the fault's
        assert client.line().startswith("-ERR")
        assert client.say("RSET") == "+OK"
        assert client.line() == "+OK maildrop has 3 messages undeleted."
        assert client.say("RSET") == "+OK"
        assert client.line() == "+OK maildrop has 0 messages undeleted."
