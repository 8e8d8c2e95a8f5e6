"""Each quirk of a personality, and the mistake of a client that it is there to find."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from geventpop3.testing import Double
from geventpop3.testing.double.quirks import QUIRKS

MESSAGES = (b"Subject: one\n\nHello\n", b"Subject: two\n\nWorld wide\n", b"Subject: three\n\nx\n.dot\n")
CLIENTS: list["Client"] = []


class Client:
    """A session of alice, logged in."""

    def __init__(self, double: Double, name: str = "alice", password: str = "secret") -> None:
        self.sock = socket.create_connection((double.host, double.port), timeout=10)
        self.file = self.sock.makefile("rb")
        CLIENTS.append(self)
        self.line()
        self.say(f"USER {name}")
        self.login = self.say(f"PASS {password}")

    def line(self) -> str:
        return self.file.readline().decode().removesuffix("\r\n")

    def say(self, command: str) -> str:
        self.sock.sendall(f"{command}\r\n".encode())
        return self.line()

    def lines(self, command: str) -> list[str]:
        assert self.say(command).startswith("+OK")
        return list(iter(self.line, "."))

    def drop(self) -> None:
        self.file.close()
        self.sock.close()

    def quit(self) -> None:
        assert self.say("QUIT").startswith("+OK")
        self.drop()


Made = Callable[..., Double]


@pytest.fixture
def with_quirk(tmp_path: Path) -> Iterator[Made]:
    """Make a double with one quirk, and alice's three messages."""
    doubles: list[Double] = []

    def make(name: str, options: str = "", *, beside: str = "") -> Double:
        path = tmp_path / "mine.toml"
        quirk = f'[[quirk]]\nname = "{name}"\nsource = "this test"\n{options}\n{beside}'
        path.write_text(f'title = "Mine"\nabout = "x"\nsources = ["this test"]\n{quirk}', "utf-8")
        double = Double(personality=path, tls="off").start()
        doubles.append(double)
        double.maildrop("alice", "secret").deliver(*MESSAGES)
        return double

    yield make
    while CLIENTS:
        CLIENTS.pop().drop()
    for double in doubles:
        double.stop()
        double.check()


def test_hides_retrieved(with_quirk: Made) -> None:
    double = with_quirk("hides-retrieved")
    client = Client(double)
    client.lines("RETR 2")
    client.drop()  # without QUIT
    double.wait_for(sessions=1)
    client = Client(double)
    assert client.say("STAT") == "+OK 3 78"
    client.lines("RETR 2")
    client.lines("TOP 1 0")
    client.quit()
    client = Client(double)
    assert client.lines("LIST") == ["1 23", "2 27"]
    assert client.lines("RETR 2")[0] == "Subject: three"
    client.quit()
    double.wait_for(sessions=3)
    box = double.maildrop("alice", "secret")
    assert box.messages == list(MESSAGES)  # hidden, not removed
    ids = [unique_id for session in box.sessions for unique_id in session.retrieved]
    assert [unique_id.split(".")[0] for unique_id in ids] == ["2", "2", "3"]


def test_hides_retrieved_only_what_was_sent(with_quirk: Made) -> None:
    double = with_quirk("hides-retrieved")
    double.maildrop("alice", "secret").fail("RETR", "error")
    client = Client(double)
    assert client.say("RETR 1").startswith("-ERR")
    assert client.say("RETR 9").startswith("-ERR")
    client.lines("RETR 3")
    client.quit()
    assert Client(double).lines("LIST") == ["1 23", "2 28"]


def test_hides_retrieved_not_if_quit_failed(with_quirk: Made) -> None:
    double = with_quirk("hides-retrieved")
    double.maildrop("alice", "secret").fail("QUIT", "error")
    client = Client(double)
    client.lines("RETR 1")
    assert client.say("QUIT").startswith("-ERR")
    client.drop()
    double.wait_for(sessions=1)
    assert Client(double).say("STAT") == "+OK 3 78"


def test_recent_users(with_quirk: Made) -> None:
    double = with_quirk(
        "hides-retrieved", beside='[[quirk]]\nname = "recent-users"\nsource = "x"\nprefix = "recent:"\n'
    )
    client = Client(double)
    client.lines("RETR 1")
    client.quit()
    client = Client(double, "recent:alice", "wrong")
    assert client.login.startswith("-ERR")
    client.drop()
    client = Client(double)
    assert client.say("STAT") == "+OK 2 55"
    client.quit()
    client = Client(double, "recent:alice")
    assert client.say("STAT") == "+OK 3 78"
    client.quit()
    assert Client(double).say("STAT") == "+OK 2 55"
    double.wait_for("QUIT", 3)
    assert {session.user for session in double.sessions} == {"alice"}


def test_without_it_a_prefix_is_part_of_the_name(with_quirk: Made) -> None:
    assert Client(with_quirk("hides-retrieved"), "recent:alice").login.startswith("-ERR")


def test_oldest_only(with_quirk: Made) -> None:
    double = with_quirk("oldest-only", "messages = 2")
    client = Client(double)
    assert client.lines("LIST") == ["1 23", "2 28"]
    assert client.say("RETR 3").startswith("-ERR")
    client.say("DELE 1")
    client.quit()
    assert Client(double).lines("LIST") == ["1 28", "2 27"]


def test_estimated_sizes(with_quirk: Made) -> None:
    client = Client(with_quirk("estimated-sizes", "percent = 100"))
    assert client.lines("LIST") == ["1 46", "2 56", "3 54"]
    assert client.say("STAT") == "+OK 3 156"
    assert client.say("RETR 1") == "+OK 46 octets"
    assert sum(len(line) + 2 for line in iter(client.line, ".")) == 23


def test_sizes_without_header(with_quirk: Made) -> None:
    double = with_quirk("sizes-without-header")
    double.maildrop("alice", "secret").deliver(b"Subject: no body\n", b"Subject: empty body\n\n")
    client = Client(double)
    assert client.lines("LIST") == ["1 7", "2 12", "3 9", "4 0", "5 0"]
    assert client.lines("RETR 1") == ["Subject: one", "", "Hello"]


def test_sizes_without_cr(with_quirk: Made) -> None:
    double = with_quirk("sizes-without-cr")
    double.maildrop("alice", "secret").deliver(b"Subject: crlf\r\n\r\nx\r\n")
    assert Client(double).lines("LIST") == [f"{at} {len(one)}" for at, one in enumerate(MESSAGES, 1)] + ["4 17"]


@pytest.mark.parametrize("mechanism", ["XOAUTH2", "xoauth2"])
def test_no_initial_response(with_quirk: Made, mechanism: str) -> None:
    double = with_quirk("no-initial-response", 'mechanisms = ["XOAUTH2"]\nreply = "-ERR Protocol error. 10"')
    double.maildrop("alice", "secret", token="t0ken")
    client = Client(double, "nobody")
    assert client.say(f"AUTH {mechanism} dXNlcj0=") == "-ERR Protocol error. 10"
    assert client.line() == ""
    client.drop()
    client = Client(double, "nobody")
    assert client.say(f"AUTH {mechanism}") == "+ "
    assert client.say("dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0MGtlbgEB").startswith("+OK")
    client.quit()
    assert Client(double, "nobody").say("AUTH PLAIN AGFsaWNlAHNlY3JldA==").startswith("+OK")


def test_leading_digits(with_quirk: Made) -> None:
    double = with_quirk("leading-digits")
    client = Client(double)
    assert client.say("DELE 2x") == "+OK message 2 marked as deleted"
    assert client.say("DELE 4294967297") == "+OK message 1 marked as deleted"
    assert client.say("DELE x").startswith("-ERR")
    assert client.lines("TOP 003 x") == ["Subject: three", ""]
    assert client.say("LIST 3.5") == "+OK 3 27"
    client.quit()
    double.wait_for(sessions=1)
    assert double.maildrop("alice", "secret").messages == [MESSAGES[2]]


def test_first_word_password(with_quirk: Made) -> None:
    double = with_quirk("first-word-password")
    assert Client(double, "alice", "secret and more").login.startswith("+OK")
    double.maildrop("bob", "two words")
    assert Client(double, "bob", "two words").login.startswith("-ERR")


def test_renumbered_listings(with_quirk: Made) -> None:
    client = Client(with_quirk("renumbered-listings"))
    client.say("DELE 1")
    assert client.lines("LIST") == ["1 28", "2 27"]
    assert [line.split(".")[0] for line in client.lines("UIDL")] == ["1 2", "2 3"]
    assert client.say("LIST 2") == "+OK 2 28"  # the message-numbers themselves stay
    assert client.say("RETR 1").startswith("-ERR")


def test_first_dot(with_quirk: Made) -> None:
    double = with_quirk("first-dot")
    box = double.maildrop("alice", "secret")
    box.deliver(b".first: x\n\n.second\n", b"Subject: 5\n\n.\n")
    client = Client(double)
    assert client.lines("RETR 4") == [".first: x", "", "..second"]
    assert client.lines("TOP 4 0") == [".first: x", ""]
    assert client.lines("RETR 5") == ["Subject: 5", "", ".."]
    client.sock.sendall(b"RETR 1\r\nRETR 4\r\nNOOP\r\n")
    assert [client.line() for _ in range(9)] == [
        *("+OK 23 octets", "Subject: one", "", "Hello", "."),
        *("+OK 22 octets", ".first: x", "", "..second"),
    ]
    assert [client.line(), client.line()] == [".", "+OK"]


def test_first_dot_and_a_fault_in_one_reply(with_quirk: Made) -> None:
    double = with_quirk("first-dot")
    box = double.maildrop("alice", "secret")
    box.deliver(b".first: x\n\n.second\n")
    box.fail("RETR", "unstuffed")
    assert Client(double).lines("RETR 4") == [".first: x", "", ".second"]


@pytest.mark.parametrize("how", ["silence", "error"])
def test_first_dot_and_a_fault_in_its_place(with_quirk: Made, how: str) -> None:
    double = with_quirk("first-dot")
    double.maildrop("alice", "secret").fail("RETR", how)
    client = Client(double)
    client.sock.sendall(b"RETR 1\r\nNOOP\r\n")
    if how == "error":
        assert client.line().startswith("-ERR")
    assert client.line() == "+OK"
    assert client.lines("RETR 1") == ["Subject: one", "", "Hello"]


def test_answers_twice(with_quirk: Made) -> None:
    double = with_quirk("answers-twice", 'verb = "RSET"\nfirst = "+OK first"')
    client = Client(double)
    assert client.say("RSET") == "+OK first"
    assert client.say("STAT") == "+OK 3 messages (78 octets)"  # the client is one reply behind for ever
    assert client.line() == "+OK 3 78"
    assert "S: +OK first" in double.transcript


def test_no_mechanism_list(with_quirk: Made) -> None:
    client = Client(with_quirk("no-mechanism-list", 'reply = "-ERR name one"'), "nobody")
    assert client.say("AUTH") == "-ERR name one"
    assert client.say("AUTH PLAIN AGFsaWNlAHNlY3JldA==").startswith("+OK")


def test_late_utf8(with_quirk: Made) -> None:
    client = Client(with_quirk("late-utf8"))
    assert client.say("UTF8").startswith("+OK")
    assert client.say("USER alice").startswith("-ERR")


def test_every_quirk_has_a_test() -> None:
    assert [name for name in QUIRKS if f"test_{name.replace('-', '_')}" not in globals()] == []


def test_every_quirk_says_what_it_does_and_finds() -> None:
    for name, kind in QUIRKS.items():
        assert kind.does.endswith("."), name
        assert kind.finds.endswith("."), name
        assert any((kind.command, kind.reply, kind.snapshot, kind.commands)), name
