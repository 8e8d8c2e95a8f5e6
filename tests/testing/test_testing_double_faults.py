"""Each fault of the double, at the level of octets."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import closing
from time import monotonic

import pytest

from geventpop3.testing import Double, Fault
from geventpop3.testing.double import KINDS

ONE = b"Subject: one\n\n.dot\n..two\n"
SENT = b"Subject: one\r\n\r\n.dot\r\n..two\r\n"
STUFFED = b"Subject: one\r\n\r\n..dot\r\n...two\r\n.\r\n"
STATUS = b"+OK %d octets\r\n" % len(SENT)


@pytest.fixture
def double():
    with Double(tls="off") as double:
        yield double


@pytest.fixture
def box(double):
    box = double.maildrop("alice", "secret")
    box.deliver(ONE, b"two\n", b"three\n")
    return box


class Wire:
    """A client that says lines and keeps all octets that it receives."""

    def __init__(self, double, port=None):
        self.sock = socket.create_connection((double.host, port or double.port), 20)

    def read(self, end=b"\r\n"):
        """Return the octets up to *end*."""
        received = bytearray()
        while not received.endswith(end):
            octets = self.sock.recv(1)
            if not octets:
                raise EOFError(bytes(received))
            received += octets
        return bytes(received)

    def say(self, line, end=b"\r\n"):
        self.sock.sendall(line.encode() + b"\r\n")
        return self.read(end)

    def log_in(self):
        self.read()
        self.say("USER alice")
        assert self.say("PASS secret").startswith(b"+OK ")
        return self

    def rest(self):
        """Return what is received until the connection ends; ``"reset"`` is appended if it is reset."""
        received = bytearray()
        while True:
            try:
                octets = self.sock.recv(65536)
            except ConnectionResetError:
                return bytes(received) + b"reset"
            if not octets:
                return bytes(received)
            received += octets


@pytest.fixture
def wire(double, box):
    made = Wire(double)
    with closing(made.sock):
        yield made.log_in()


def lines_of(double):
    return [line for line in double.transcript.splitlines() if line.startswith("F: ")]


@pytest.mark.parametrize("after", [0, 1, len(STATUS), len(STATUS) + 7, 10_000])
def test_close_ends_the_reply_after_so_many_octets(double, box, wire, after):
    box.fail("RETR", how="close", after_octets=after)
    wire.sock.sendall(b"RETR 1\r\nDELE 1\r\nQUIT\r\n")
    assert wire.rest() == (STATUS + STUFFED)[:after]
    box.wait_for(sessions=1)
    (session,) = box.sessions
    assert session.commands[-1] == ("RETR", "1", None, min(after, len(STATUS + STUFFED)))
    assert (session.retrieved, session.removed, len(box.messages)) == ([], [], 3)
    assert session.ended == f"fault: close on RETR (nth=1, after_octets={after})"
    assert lines_of(double) == [f"F: close on RETR (nth=1, after_octets={after})"]


def test_reset_is_a_reset_and_no_end_of_input(box, wire):
    box.fail("STAT", how="reset")
    wire.sock.sendall(b"STAT\r\n")
    assert wire.rest() == b"reset"


def test_stall_sends_nothing_more_and_the_end_of_the_double_ends_it(double, box):
    box.fail("LIST", how="stall", after_octets=5)
    wire = Wire(double).log_in()
    with closing(wire.sock):
        wire.sock.sendall(b"LIST\r\n")
        assert wire.read(b"+OK 3") == b"+OK 3"
        wire.sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            wire.sock.recv(1)
        double.stop()
        wire.sock.settimeout(20)
        assert wire.rest() in (b"", b"reset")


def test_stall_ends_when_the_client_leaves(double, box):
    box.fail("LIST", how="stall")
    wire = Wire(double).log_in()
    wire.sock.sendall(b"LIST\r\n")
    wire.sock.close()
    box.wait_for(sessions=1, timeout=30)
    assert box.sessions[0].ended == "fault: stall on LIST (nth=1)"


def test_stall_may_last_some_time_alone(box, wire):
    box.fail("NOOP", how="stall", seconds=0.01)
    wire.sock.sendall(b"NOOP\r\n")
    assert wire.rest() == b""


def test_drip_sends_the_same_octets_in_pieces(double, box, wire):
    box.fail("RETR", how="drip", octets=7, seconds=0)
    assert wire.say("RETR 1", b"\r\n.\r\n") == STATUS + STUFFED
    assert wire.say("NOOP") == b"+OK\r\n"
    assert lines_of(double) == ["F: drip on RETR (nth=1, seconds=0, octets=7)"]


def test_delay_waits_before_the_reply(box, wire):
    box.fail("NOOP", how="delay", seconds=0.05)
    began = monotonic()
    assert wire.say("NOOP") == b"+OK\r\n"
    assert monotonic() - began >= 0.05


def test_a_delay_does_not_delay_the_end(double, box):
    box.fail("NOOP", how="delay", seconds=600)
    wire = Wire(double).log_in()
    with closing(wire.sock):
        wire.sock.sendall(b"NOOP\r\n")
        double.stop()


@pytest.mark.parametrize(
    ("line", "verb"), [("STAT", "STAT"), ("RETR 1", "RETR"), ("DELE 1", "DELE"), ("CAPA", "CAPA"), ("QUIT", "QUIT")]
)
def test_error_is_the_reply_in_place_of_the_command(box, wire, line, verb):
    box.fail(verb, how="error", code="SYS/TEMP", text="later")
    assert wire.say(line) == b"-ERR [SYS/TEMP] later\r\n"
    if verb == "QUIT":
        assert wire.rest() == b""
        box.wait_for(sessions=1)
    else:
        assert wire.say("STAT") == b"+OK 3 %d\r\n" % (len(SENT) + 5 + 7)
        assert wire.say("QUIT").startswith(b"+OK ")
    assert len(box.messages) == 3


def test_error_is_the_default_and_has_a_text(box, wire):
    box.fail("STAT")
    assert wire.say("STAT") == b"-ERR this error was asked for\r\n"


@pytest.mark.parametrize("on", ["PASS", "auth"])
def test_an_error_at_the_login_is_no_login(double, box, on):
    box.fail(on, how="error", code="IN-USE", text="busy")
    wire = Wire(double)
    with closing(wire.sock):
        wire.read()
        wire.say("USER alice")
        assert wire.say("PASS secret") == b"-ERR [IN-USE] busy\r\n"
        assert wire.say("STAT").startswith(b"-ERR ")
        wire.say("USER alice")
        assert wire.say("PASS secret").startswith(b"+OK ")
        wire.say("QUIT")
    box.wait_for(sessions=1)
    assert box.sessions[0].mechanism == "USER"


@pytest.mark.parametrize("line", ["STAT", "QUIT"])
def test_silence_is_no_reply_and_the_next_command_has_one(box, wire, line):
    box.fail(line, how="silence")
    wire.sock.sendall(f"{line}\r\nNOOP\r\n".encode())
    assert wire.read() == b"+OK\r\n"
    assert wire.say("QUIT").startswith(b"+OK ")


def test_truncate_ends_the_body_properly(box, wire):
    box.fail("RETR", how="truncate", after_octets=16)
    assert wire.say("RETR 1", b"\r\n.\r\n") == STATUS + b"Subject: one\r\n\r\n..d\r\n.\r\n"
    box.fail("TOP", how="truncate")
    assert wire.say("TOP 1 9", b"\r\n.\r\n").startswith(b"+OK top of message follows\r\nSubject: one")


def test_unstuffed_dots_are_sent_as_they_are(box, wire):
    box.fail("RETR", how="unstuffed")
    assert wire.say("RETR 1", b"\r\n.\r\n") == STATUS + SENT + b".\r\n"
    assert wire.say("RETR 1", b"\r\n.\r\n") == STATUS + STUFFED


def test_bare_lf_ends_every_line_of_the_reply(box, wire):
    box.fail("RETR", how="bare-lf")
    assert wire.say("RETR 1", b"\n.\n") == (STATUS + STUFFED).replace(b"\r\n", b"\n")


def test_a_long_line_is_the_first_of_the_body_or_the_status_line(box, wire):
    box.fail("RETR", how="long-line", octets=600)
    assert wire.say("RETR 1", b"\r\n.\r\n") == STATUS + b"Subject: one" + b"x" * 600 + STUFFED[12:]
    box.fail("NOOP", how="long-line")
    assert wire.say("NOOP") == b"+OK " + b"x" * 100_000 + b"\r\n"
    box.fail("LIST", how="long-line", octets=3)
    for number in (1, 2, 3):
        wire.say(f"DELE {number}")
    assert wire.say("LIST", b".\r\n") == b"+OK 0 messages (0 octets)\r\nxxx\r\n.\r\n"


def test_wrong_sizes_are_wrong_everywhere(box, wire):
    for verb, by in (("STAT", None), ("LIST", -3), ("RETR", 100)):
        box.fail(verb, how="wrong-size", octets=by, times=None)
    assert wire.say("STAT") == b"+OK 3 %d\r\n" % (len(SENT) + 12 + 1)
    assert wire.say("LIST 2") == b"+OK 2 2\r\n"
    assert wire.say("LIST", b"\r\n.\r\n").endswith(b"\r\n1 %d\r\n2 2\r\n3 4\r\n.\r\n" % (len(SENT) - 3))
    assert wire.say("RETR 1", b"\r\n.\r\n").startswith(b"+OK %d octets\r\n" % (len(SENT) + 100))


def test_wrong_unique_ids_change_each_time(box, wire):
    box.fail("UIDL", how="wrong-uidl", nth=2, times=2)
    lists = [wire.say("UIDL", b"\r\n.\r\n") for _ in range(4)]
    assert lists[0] == lists[3]
    assert len(set(lists)) == 3
    ids = [line.split() for line in lists[1].splitlines()[1:-1]]
    assert [number for number, _ in ids] == [b"1", b"2", b"3"]
    assert len({unique_id for _, unique_id in ids}) == 3


def test_duplicate_unique_ids_are_those_of_the_first(box, wire):
    box.fail("UIDL", how="duplicate-uidl", times=2)
    (first,) = {line.split()[1] for line in wire.say("UIDL", b"\r\n.\r\n").splitlines()[1:-1]}
    assert wire.say("UIDL 3") == b"+OK 3 " + first + b"\r\n"
    assert wire.say("UIDL 3") != b"+OK 3 " + first + b"\r\n"


def test_garbage_takes_the_place_of_the_reply_and_a_seed_decides_which(box, wire):
    noises = []
    for seed in (1, 1, 2):
        box.fail("NOOP", how="garbage", octets=20, seed=seed)
        wire.sock.sendall(b"NOOP\r\n")
        noises.append(wire.sock.recv(20, socket.MSG_WAITALL))
    assert noises[0] == noises[1] != noises[2]
    assert wire.say("NOOP") == b"+OK\r\n"


def test_half_update_removes_the_first_half_and_says_so(box, wire):
    box.fail("QUIT", how="half-update")
    for number in (1, 2, 3):
        wire.say(f"DELE {number}")
    assert wire.say("QUIT").startswith(b"-ERR [SYS/TEMP] ")
    assert wire.rest() == b""
    box.wait_for(sessions=1)
    assert box.messages == [b"two\n", b"three\n"]
    assert len(box.sessions[0].removed) == 1


# Moments


@pytest.mark.parametrize(("how", "received"), [("close", b""), ("reset", b"reset"), ("stall", b"")])
def test_a_connection_may_end_before_the_greeting(double, how, received):
    double.fail("connect", how=how, **({"seconds": 0.01} if how == "stall" else {}))
    try:
        wire = Wire(double)
    except ConnectionResetError:
        assert how == "reset"  # before the client had noticed that it was connected
    else:
        with closing(wire.sock):
            assert wire.rest() == received
    double.wait_for(sessions=1)
    assert double.sessions[0].ended.startswith(f"fault: {how} on connect")
    assert lines_of(double)[0].startswith(f"F: {how} on connect")


def test_the_greeting_may_be_anything(double):
    double.fail("greeting", how="error", text="come back later")
    double.fail("greeting", how="garbage", octets=5, nth=2)
    double.fail("greeting", how="close", nth=3, after_octets=3)
    wire = Wire(double)
    with closing(wire.sock):
        assert wire.rest() == b"-ERR come back later\r\n"
    wire = Wire(double)
    with closing(wire.sock):
        assert len(wire.sock.recv(5, socket.MSG_WAITALL)) == 5
        assert wire.say("QUIT").startswith(b"+OK ")
    wire = Wire(double)
    with closing(wire.sock):
        assert wire.rest() == b"+OK"


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("how", ["close", "reset", "garbage"])
def test_a_tls_handshake_may_fail(how, implicit):
    with Double() as double:
        double.fail("tls", how=how)
        wire = Wire(double, double.tls_port if implicit else None)
        context = double.ssl_context
        with closing(wire.sock):
            if not implicit:
                wire.read()
                assert wire.say("STLS").startswith(b"+OK ")
            options = {"server_hostname": "localhost", "do_handshake_on_connect": False}
            with (
                context.wrap_socket(wire.sock, **options) as secured,
                pytest.raises((ssl.SSLError, ConnectionError)),
            ):
                secured.do_handshake()
        double.wait_for(sessions=1)
        assert lines_of(double) == [f"F: {how} on tls (nth=1)"]
        with socket.create_connection((double.host, double.tls_port)) as sock:
            context.wrap_socket(sock, server_hostname="localhost").close()


def test_faults_count_the_octets_above_tls():
    with Double() as double:
        box = double.maildrop("alice", "secret")
        box.deliver(ONE)
        box.fail("RETR", how="close", after_octets=30)
        wire = Wire(double, double.tls_port)
        wire.sock = double.ssl_context.wrap_socket(wire.sock, server_hostname="localhost")
        with closing(wire.sock):
            wire.log_in().sock.sendall(b"RETR 1\r\n")
            received = b""
            while octets := wire.sock.recv(1000):
                received += octets
        assert received == (STATUS + STUFFED)[:30]


# Occurrences


def test_an_occurrence_is_counted_across_sessions_of_the_maildrop(double, box):
    other = double.maildrop("bob", "secret")
    other.deliver(b"x\n")
    box.fail("STAT", how="error", nth=3, times=2)
    replies = []
    for _ in range(3):
        wire = Wire(double).log_in()
        with closing(wire.sock):
            replies += [wire.say("STAT")[:4], wire.say("STAT")[:4]]
            wire.say("QUIT")
    assert replies == [b"+OK ", b"+OK ", b"-ERR", b"-ERR", b"+OK ", b"+OK "]


def test_a_fault_of_the_double_is_counted_over_all_users(double, box):
    double.maildrop("bob", "secret")
    fault = double.fail("QUIT", how="error", nth=2)
    for name in ("alice", "bob"):
        wire = Wire(double)
        with closing(wire.sock):
            wire.read()
            wire.say(f"USER {name}")
            wire.say("PASS secret")
            assert wire.say("QUIT")[:4] == (b"+OK " if name == "alice" else b"-ERR")
    assert fault.happened == 1


def test_a_probability_is_repeatable():
    def happened(seed):
        fault = Fault("STAT", "error", times=None, probability=0.5, seed=seed)
        return [fault.is_due() for _ in range(50)]

    assert happened(7) == happened(7) != happened(8)
    assert 10 < sum(happened(7)) < 40


def test_faults_of_one_reply_come_together(double, box, wire):
    box.fail("RETR", how="bare-lf")
    box.fail("RETR", how="drip", octets=50, seconds=0)
    box.fail("RETR", how="close", after_octets=40)
    wire.sock.sendall(b"RETR 1\r\n")
    assert wire.rest() == (STATUS + STUFFED).replace(b"\r\n", b"\n")[:40]
    assert len(lines_of(double)) == 3


def test_a_pipelining_client_gets_the_replies_before_the_fault(box, wire):
    box.fail("STAT", how="close", nth=2)
    wire.sock.sendall(b"NOOP\r\nSTAT\r\nNOOP\r\nSTAT\r\nDELE 1\r\nQUIT\r\n")
    assert wire.rest() == b"+OK\r\n+OK 3 %d\r\n+OK\r\n" % (len(SENT) + 12)
    box.wait_for(sessions=1)
    assert len(box.messages) == 3


def test_a_client_that_leaves_before_a_fault_is_no_error(double, box):
    box.fail("RETR", how="drip", octets=1, seconds=0.01)
    wire = Wire(double).log_in()
    wire.sock.sendall(b"RETR 1\r\n")
    wire.sock.close()
    box.wait_for(sessions=1, timeout=30)
    assert double.errors == []


# What a test gets wrong


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"on": "RTER"}, ValueError, r"there is no command or moment 'RTER': did you mean 'RETR'\?"),
        ({"on": "RETR", "how": "close_"}, ValueError, r"no fault is called 'close_': did you mean 'close'\?"),
        ({"on": "RETR", "how": "explode"}, ValueError, "no fault is called 'explode'; there are close, reset"),
        ({"on": 1}, TypeError, "not on 1"),
        ({"on": "STAT", "how": "truncate"}, ValueError, "'truncate' cannot happen at STAT, only at CAPA, LIST"),
        ({"on": "connect"}, ValueError, "'error' cannot happen at connect"),
        (
            {"on": "RETR", "how": "close", "text": "x"},
            TypeError,
            "'close' has no option text; its options: after_octets",
        ),
        ({"on": "RETR", "how": "silence", "seconds": 1}, TypeError, "its options: none"),
        ({"on": "RETR", "how": "close", "when": 1}, TypeError, "when"),
        ({"on": "RETR", "nth": 0}, ValueError, "nth counts from 1"),
        ({"on": "RETR", "times": 0}, ValueError, "times is 1 or more"),
        ({"on": "RETR", "how": "close", "after_octets": -1}, ValueError, "after_octets is 0 or more"),
        ({"on": "RETR", "how": "delay", "seconds": -1}, ValueError, "seconds is 0 or more"),
        ({"on": "RETR", "how": "drip", "octets": 0}, ValueError, "octets is 1 or more, not 0"),
        ({"on": "RETR", "how": "garbage", "octets": -1}, ValueError, "octets is 0 or more, not -1"),
        ({"on": "RETR", "code": "A]B"}, ValueError, "'A]B' is no response code"),
        ({"on": "RETR", "probability": 2}, ValueError, "at most 1"),
        ({"on": "RETR", "code": "no code"}, ValueError, "'no code' is no response code"),
    ],
)
def test_a_fault_that_cannot_be_is_an_error_at_once(double, given, error, text):
    given = dict(given)
    with pytest.raises(error, match=text):
        double.fail(given.pop("on"), **given)
    double.check()


@pytest.mark.parametrize("on", ["connect", "greeting", "tls"])
def test_a_maildrop_has_no_fault_before_the_user_is_known(box, on):
    with pytest.raises(ValueError, match=r"use double\.fail"):
        box.fail(on, how="close")


def test_case_does_not_matter_except_that_auth_is_not_auth():
    assert Fault("retr", "close").on == "RETR"
    assert Fault("Greeting", "close").on == "greeting"
    assert (Fault("AUTH", "close").on, Fault("auth", "close").on) == ("AUTH", "auth")


def test_every_kind_of_fault_says_what_it_does_and_finds():
    assert set(KINDS) >= {
        *("close", "reset", "stall", "drip", "delay", "error", "silence", "truncate", "unstuffed", "bare-lf"),
        *("long-line", "wrong-size", "wrong-uidl", "duplicate-uidl", "garbage", "half-update"),
    }
    for kind in KINDS.values():
        assert kind.does.endswith(".")
        assert kind.finds.endswith(".")


def test_two_clients_at_once_do_not_mix(double, box):
    other = double.maildrop("bob", "secret")
    other.deliver(b"x\n" * 1000)
    box.fail("RETR", how="drip", octets=3, seconds=0)
    results = {}

    def fetch(name):
        wire = Wire(double)
        with closing(wire.sock):
            wire.read()
            wire.say(f"USER {name}")
            wire.say("PASS secret")
            results[name] = wire.say("RETR 1", b"\r\n.\r\n")
            wire.say("QUIT")

    threads = [threading.Thread(target=fetch, args=(name,)) for name in ("alice", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results["alice"] == STATUS + STUFFED
    assert results["bob"].count(b"x\r\n") == 1000
