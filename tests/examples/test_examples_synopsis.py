"""examples/synopsis.py: a client that knows nothing of it gets its mail, and who has no password gets nothing."""

import poplib
import subprocess
from pathlib import Path

import pytest
import required

from geventpop3.testing import play_over_socket, serve

EXAMPLE = Path(__file__).parent.parent.parent / "examples/synopsis.py"

FIRST = [b"Subject: hello", b"", b"Hello, Alice."]
SECOND = [b"Subject: lunch", b"", b".. at noon?"]


@pytest.fixture
def printed():
    return []


@pytest.fixture
def synopsis(example, printed):
    module = example("synopsis")
    module.print = lambda *words: printed.append(words)
    return module


@pytest.fixture
def address(synopsis):
    with serve(synopsis.pop3d) as address:
        yield address


@pytest.fixture
def box(address):
    """A client that has logged in."""
    box = poplib.POP3(*address, timeout=20)
    box.user("alice")
    box.pass_("sesame")
    yield box
    box.close()


def test_it_has_fewer_than_60_lines():
    assert len(EXAMPLE.read_text("utf-8").splitlines()) < 60


def test_poplib_reads_all_there_is(box, synopsis):
    sizes = [len(message) for message in synopsis.MAIL["alice"].values()]
    assert box.stat() == (2, sum(sizes))
    assert box.list()[1] == [b"1 %d" % sizes[0], b"2 %d" % sizes[1]]
    assert box.list(2) == b"+OK 2 %d" % sizes[1]
    assert box.uidl()[1] == [b"1 a1", b"2 a2"]
    assert box.uidl(2) == b"+OK 2 a2"
    assert [box.retr(number)[1] for number in (1, 2)] == [FIRST, SECOND]
    assert box.noop() == b"+OK"


def test_what_is_deleted_is_gone_after_quit_and_not_before(box, address, synopsis):
    box.dele(1)
    assert box.stat()[0] == 1
    assert box.uidl()[1] == [b"2 a2"]
    box.rset()
    assert box.stat()[0] == 2
    box.dele(2)
    assert list(synopsis.MAIL["alice"]) == ["a1", "a2"]
    box.quit()
    assert list(synopsis.MAIL["alice"]) == ["a1"]
    again = poplib.POP3(*address, timeout=20)
    again.user("alice")
    again.pass_("sesame")
    assert again.uidl()[1] == [b"1 a1"]
    again.quit()


def test_a_connection_that_is_lost_removes_nothing(box, address, synopsis):
    box.dele(1)
    box.close()
    assert list(synopsis.MAIL["alice"]) == ["a1", "a2"]


def test_its_octets_are_those_of_the_rfc(address):
    play_over_socket(
        address,
        r"""
        S: +OK pop.example.org POP3 server ready
        C: USER alice
        S: +OK send PASS
        C: PASS sesame
        S: +OK maildrop ready
        C: RETR 2
        S: +OK message follows
        S: Subject: lunch
        S:
        S: ... at noon?
        S: .
        C: DELE 2
        S: +OK marked as deleted
        C: RETR 2
        S: -ERR ...
        C: RETR 0
        S: -ERR ...
        C: DELE
        S: -ERR ...
        C: QUIT
        S: +OK goodbye
        S: <closed>
        """,
    )


@pytest.mark.parametrize(
    "login", [("alice", "Sesame"), ("alice", "sesame "), ("mallory", "sesame"), ("mallory", ""), ("alice", "")]
)
def test_a_wrong_password_and_an_unknown_user_are_refused_alike_and_hung_up_on(address, login):
    name, password = login
    play_over_socket(
        address,
        f"""
        S: +OK pop.example.org POP3 server ready
        C: USER {name}
        S: +OK send PASS
        C! "PASS {password}\\r\\n"
        S: -ERR [AUTH] authentication failed
        S: <closed>
        """,
    )


def test_nothing_is_told_before_login(address):
    play_over_socket(
        address,
        """
        S: +OK pop.example.org POP3 server ready
        C: LIST
        S: -ERR not allowed in the AUTHORIZATION state
        C: PASS sesame
        S: -ERR [AUTH] authentication failed
        S: <closed>
        """,
    )


def test_it_hears_of_clients_that_come_and_go(synopsis, printed):
    with serve(synopsis.pop3d) as address:
        box = poplib.POP3(*address, timeout=20)
        peer = box.sock.getsockname()
        box.quit()
    assert printed == [("connection", *peer), ("disconnected", *peer)]


def test_quit_before_login_removes_nothing(address, synopsis):
    play_over_socket(address, "S: +OK ...\nC: QUIT\nS: +OK goodbye\nS: <closed>")
    assert len(synopsis.MAIL["alice"]) == 2


@pytest.mark.client
def test_curl_reads_a_message_and_deletes_it(address, synopsis):
    program = required.program("curl")

    def curl(*arguments: str) -> bytes:
        command = [program, "--silent", "--max-time", "20", "--user", "alice:sesame", *arguments]
        return subprocess.run(command, capture_output=True, check=True, timeout=60).stdout

    assert curl(address.url) == b"1 33\r\n2 31\r\n"
    assert curl(f"{address.url}/2") == synopsis.MAIL["alice"]["a2"]
    curl("--request", "DELE", "--list-only", f"{address.url}/2")
    assert list(synopsis.MAIL["alice"]) == ["a1"]
