"""Each outcome that a file can have words for: what a client must do to read them."""

import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from geventpop3.protocol.commands import COMMANDS, State
from geventpop3.testing import Double
from geventpop3.testing.double.wording import NEGATIVE, outcome_of, outcomes_of
from geventpop3.wire.replies import err, ok

LOGIN = ["USER alice", "PASS secret"]


@pytest.fixture
def spoken(tmp_path: Path) -> Callable[..., str]:
    """Send lines to a double that names each outcome; return the last reply."""
    lines = ['title = "All"', 'about = "x"', 'sources = ["x"]', 'utf8-messages = "refuse"']
    for verb in (*COMMANDS, "*"):
        lines.append(f'[replies."{verb}"]')
        for outcome in sorted(outcomes_of(verb)):
            lines.append(f'{outcome} = "{"-ERR" if outcome in NEGATIVE else "+OK"} {verb} {outcome}"')
    path = tmp_path / "all.toml"
    path.write_text("\n".join(lines), "utf-8")

    def speak(*commands: str, tls: str = "off", prepare: Callable[[Double], object] = lambda double: None) -> str:
        with Double(personality=path, tls=tls) as double:
            double.maildrop("alice", "secret").deliver(b"Subject: one\n\n1\n", b"Subject: two\n\n2\n")
            prepare(double)
            sock = socket.create_connection((double.host, double.port), timeout=10)
            with closing(sock), closing(sock.makefile("rb")) as file:
                reply = file.readline()
                for command in commands:
                    sock.sendall(f"{command}\r\n".encode())
                    reply = file.readline()
                return reply.decode().removesuffix("\r\n")

    return speak


@pytest.mark.parametrize(
    ("commands", "reply"),
    [
        (["XYZ"], "-ERR * unknown"),
        ([""], "-ERR * unknown"),
        (["XYZ"] * 3, "-ERR * too-many"),
        (["STAT"], "-ERR STAT state"),
        (["QUIT x"], "-ERR QUIT extra"),
        (["USER"], "-ERR USER missing"),
        (["USER a b"], "-ERR USER extra"),
        (["USER alice"], "+OK USER ok"),
        (["USER alice", "PASS"], "-ERR PASS missing"),
        (["USER alice", "PASS wrong"], "-ERR PASS auth"),
        (["PASS secret"], "-ERR PASS order"),
        (["APOP alice"], "-ERR APOP missing"),
        (["APOP alice 0123456789abcdef0123456789abcdef"], "-ERR APOP auth"),
        (["AUTH"], "+OK AUTH list"),
        (["AUTH NTLM"], "-ERR AUTH mechanism"),
        (["AUTH PLAIN", "*"], "-ERR AUTH aborted"),
        (["AUTH PLAIN !"], "-ERR AUTH aborted"),
        (["AUTH PLAIN a b"], "-ERR AUTH extra"),
        (["AUTH PLAIN AGFsaWNlAHdyb25n"], "-ERR AUTH auth"),
        (["AUTH PLAIN AGFsaWNlAHNlY3JldA=="], "+OK AUTH ok"),
        (["STLS"], "-ERR STLS unavailable"),
        (["UTF8 x"], "-ERR UTF8 extra"),
        (["UTF8"], "+OK UTF8 ok"),
        (["LANG"], "+OK LANG list"),
        (["LANG en"], "+OK LANG ok"),
        (["LANG tlh"], "-ERR LANG language"),
        (["CAPA"], "+OK CAPA ok"),
        (["CAPA x"], "-ERR CAPA extra"),
        (["QUIT"], "+OK QUIT before-login"),
        (LOGIN, "+OK PASS ok"),
        ([*LOGIN, "XYZ"], "-ERR * unknown-after-login"),
        ([*LOGIN, *["XYZ"] * 20], "-ERR * too-many-after-login"),
        ([*LOGIN, "USER alice"], "-ERR USER state-after-login"),
        ([*LOGIN, "STAT"], "+OK STAT ok"),
        ([*LOGIN, "STAT x"], "-ERR STAT extra"),
        ([*LOGIN, "LIST"], "+OK LIST list"),
        ([*LOGIN, "LIST 1"], "+OK LIST ok"),
        ([*LOGIN, "LIST 9"], "-ERR LIST no-message"),
        ([*LOGIN, "LIST 0"], "-ERR LIST no-message"),
        ([*LOGIN, "LIST x"], "-ERR LIST number"),
        ([*LOGIN, "LIST -1"], "-ERR LIST number"),
        ([*LOGIN, "LIST 1 2"], "-ERR LIST extra"),
        ([*LOGIN, "UIDL"], "+OK UIDL list"),
        ([*LOGIN, "UIDL 1"], "+OK UIDL ok"),
        ([*LOGIN, "RETR"], "-ERR RETR missing"),
        ([*LOGIN, "RETR 1"], "+OK RETR ok"),
        ([*LOGIN, "TOP 1"], "-ERR TOP missing"),
        ([*LOGIN, "TOP 1 x"], "-ERR TOP lines"),
        ([*LOGIN, "TOP x 1"], "-ERR TOP number"),
        ([*LOGIN, "TOP 1 1"], "+OK TOP ok"),
        ([*LOGIN, "DELE 1"], "+OK DELE ok"),
        ([*LOGIN, "DELE 1", "DELE 1"], "-ERR DELE deleted"),
        ([*LOGIN, "DELE 1", "RETR 1"], "-ERR RETR deleted"),
        ([*LOGIN, "NOOP"], "+OK NOOP ok"),
        ([*LOGIN, "NOOP x"], "-ERR NOOP extra"),
        ([*LOGIN, "RSET"], "+OK RSET ok"),
        ([*LOGIN, "QUIT"], "+OK QUIT ok"),
        ([*LOGIN, "DELE 1", "QUIT"], "+OK QUIT removed"),
    ],
)
def test_what_a_client_does_has_this_outcome(spoken, commands: list[str], reply: str) -> None:
    assert spoken(*commands) == reply


def test_a_login_in_clear_text(spoken) -> None:
    assert spoken("USER alice", tls="required") == "-ERR USER clear-text"
    assert spoken("AUTH PLAIN AGFsaWNlAHNlY3JldA==", tls="required") == "-ERR AUTH clear-text"


def test_a_message_that_needs_utf8(spoken) -> None:
    def deliver(double: Double) -> None:
        double.maildrop("alice", "secret").deliver("Subject: grüße\n\nx\n".encode())

    assert spoken(*LOGIN, "RETR 3", prepare=deliver) == "-ERR RETR utf8"


def test_an_update_that_fails(spoken) -> None:
    def fail(double: Double) -> None:
        double.maildrop("alice", "secret").fail("QUIT", "half-update")

    assert spoken(*LOGIN, "DELE 1", "DELE 2", "QUIT", prepare=fail) == "-ERR QUIT temporary"


@pytest.mark.parametrize(
    ("verb", "reply", "outcome"),
    [
        ("PASS", err("x", "IN-USE"), "in-use"),
        ("PASS", err("x", "login-delay"), "login-delay"),
        ("PASS", err("x", "SYS/PERM"), "permanent"),
        ("PASS", err("x", "XYZ"), "failed"),
        ("NOOP", err("x"), "failed"),
        ("XFOO", ok("x"), "ok"),
    ],
)
def test_other_replies(verb: str, reply, outcome: str) -> None:
    args = ["secret"] if verb == "PASS" else []
    assert outcome_of(verb, args, reply, State.AUTHORIZATION) == outcome
