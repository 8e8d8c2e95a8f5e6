"""A double with a recording as its personality: octets as recorded, faults, and lines that were not recorded."""

from __future__ import annotations

import poplib
import socket
from contextlib import closing

import pytest

from geventpop3.testing import Double, DoubleFailed, ScriptError

SESSION = """
S: +OK Qpopper at your service
C: CAPA
S: +OK list follows
S: TOP
S: UIDL
S: .
C: USER alice
S: +OK Password please
C: PASS ****
S: +OK alice has 1 visible message (0 hidden) in 20 octets.
C: XTND XLST
S: -ERR Unknown command: "xtnd".
C: LIST
S: +OK 1 visible messages (20 octets)
S: 1 20
S: .
C: RETR 1
S: +OK 20 octets
S: Subject: x
S:
S: ..dot
S: .
C: DELE 1
S: +OK Message 1 has been deleted.
C: QUIT
S: +OK bye
S: <closed>
"""


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "session.pop3"
    path.write_text(SESSION)
    return path


@pytest.fixture
def double(recording):
    with Double(tls="off", personality=f"record:{recording}") as double:
        yield double


def say(double, *lines):
    """Return all that the server sends to a client that says these lines at once."""
    with closing(socket.create_connection((double.host, double.port), 20)) as sock:
        sock.sendall("".join(f"{line}\r\n" for line in lines).encode())
        sock.shutdown(socket.SHUT_WR)
        received = b""
        while octets := sock.recv(65536):
            received += octets
        return received


LINES = ["CAPA", "USER alice", "PASS any", "XTND XLST", "LIST", "RETR 1", "DELE 1", "QUIT"]
REPLIES = "".join(
    f"{line.removeprefix('S: ').removeprefix('S:')}\r\n"
    for line in SESSION.splitlines()
    if line.startswith("S:") and "<closed>" not in line
).encode()


def test_the_recorded_octets_are_sent_for_every_connection(double):
    assert say(double, *LINES) == REPLIES
    assert say(double, *LINES) == REPLIES
    double.wait_for(sessions=2)
    session = double.sessions[0]
    assert (session.user, session.ended) == ("alice", "quit")
    assert [command.verb for command in session.commands] == [line.split()[0] for line in LINES]
    assert session.commands[2].argument == "****"
    assert session.commands[5].reply == "+OK 20 octets"
    assert "C: PASS ****" in session.transcript
    assert "any" not in session.transcript


def test_a_real_client_is_served(double):
    client = poplib.POP3(double.host, double.port, timeout=20)
    assert client.capa() == {"TOP": [], "UIDL": []}
    client.user("alice")
    client.pass_("secret")
    client.close()
    double.wait_for(sessions=1)
    assert double.sessions[0].ended == "disconnected"


def test_a_line_that_was_not_recorded_fails_the_test(recording):
    with (
        pytest.raises(DoubleFailed, match="the recording has here: CAPA"),
        Double(tls="off", personality=f"record:{recording}") as double,
    ):
        assert b"the recording has here: CAPA\r\n" in say(double, "STAT", "CAPA")


@pytest.mark.parametrize(
    ("on", "options", "received"),
    [
        (
            "LIST",
            {"how": "error", "text": "later"},
            REPLIES.replace(b"+OK 1 visible messages (20 octets)\r\n1 20\r\n.\r\n", b"-ERR later\r\n"),
        ),
        ("DELE", {"how": "silence"}, REPLIES.replace(b"+OK Message 1 has been deleted.\r\n", b"")),
        ("RETR", {"how": "unstuffed"}, REPLIES.replace(b"..dot", b".dot")),
        ("RETR", {"how": "truncate", "after_octets": 12}, REPLIES.replace(b"\r\n..dot\r\n", b"")),
        ("LIST", {"how": "wrong-size", "octets": 5}, REPLIES.replace(b"\r\n1 20\r\n", b"\r\n1 25\r\n")),
        ("RETR", {"how": "close", "after_octets": 20}, REPLIES[: REPLIES.index(b"+OK 20 octets") + 20]),
        ("greeting", {"how": "close"}, b""),
        ("auth", {"how": "bare-lf"}, REPLIES.replace(b"in 20 octets.\r\n", b"in 20 octets.\n")),
        ("XTND", {}, None),
    ],
)
def test_faults_happen_to_recorded_replies(double, on, options, received):
    if received is None:
        with pytest.raises(ValueError, match="there is no command or moment 'XTND'"):
            double.fail(on)
        return
    double.fail(on, **options)
    assert say(double, *LINES) == received
    double.wait_for(sessions=1)
    assert "F: " in double.transcript


def test_an_endless_line_ends_the_session(double):
    assert say(double, "x" * 5000).startswith(b"+OK Qpopper at your service\r\n")
    double.wait_for(sessions=1)
    assert double.sessions[0].ended == "bad commands"


def test_the_end_of_the_double_ends_a_replay(double):
    with closing(socket.create_connection((double.host, double.port), 20)) as sock:
        assert sock.recv(100) == b"+OK Qpopper at your service\r\n"
        double.stop()
        while sock.recv(100):
            continue


def test_a_recording_that_is_none_is_refused_at_once(tmp_path):
    with pytest.raises(FileNotFoundError):
        Double(personality=f"record:{tmp_path / 'missing'}")
    broken = tmp_path / "broken.pop3"
    broken.write_text("hello\n")
    with pytest.raises(ScriptError, match=r"broken\.pop3:1"):
        Double(personality=f"record:{broken}")
