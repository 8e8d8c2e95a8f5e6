"""The double: maildrops, records and waits, as a test of a client uses them."""

from __future__ import annotations

import mailbox
import poplib
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import suppress
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

import gevent
import pytest

from geventpop3.testing import Double, DoubleFailed


def connect(url, timeout=10):
    parts = urlsplit(url)
    box = poplib.POP3(parts.hostname, parts.port, timeout=timeout)
    box.user(unquote(parts.username))
    box.pass_(unquote(parts.password))
    return box


def poll(url):
    """A poller that retrieves and deletes all mail."""
    box = connect(url)
    try:
        messages = []
        for number in range(1, len(box.list()[1]) + 1):
            messages.append(b"\n".join(box.retr(number)[1]) + b"\n")
            box.dele(number)
        box.quit()
        return messages
    finally:
        box.close()


@pytest.fixture
def double():
    with Double(tls="off") as double:
        yield double


@pytest.fixture
def box(double):
    return double.maildrop("alice", "secret")


def test_a_poller_survives_a_cut_retr(pop3_double, tmp_path):
    report = tmp_path / "report.eml"
    report.write_bytes(b"Subject: two\n\nHello\n")
    box = pop3_double.maildrop("alice", "secret")
    box.deliver(b"Subject: one\n\n" + b"1\n" * 100, report)
    box.fail("RETR", nth=1, after_octets=100, how="reset")
    with suppress(OSError):
        poll(box.url)
    poll(box.url)
    box.wait_for(sessions=2, timeout=5)
    assert box.sessions[0].removed == []
    assert box.messages == []


def test_messages_are_delivered_in_every_shape(box, tmp_path):
    email = EmailMessage()
    email["Subject"] = "three"
    email.set_content("3\n")
    one_file = tmp_path / "one.eml"
    one_file.write_bytes(b"Subject: four\n\n4\n")
    mbox = mailbox.mbox(tmp_path / "mbox")
    mbox.add(b"Subject: five\n\n5\n")
    mbox.add(b"Subject: six\n\n6\n")
    mbox.close()
    maildir = mailbox.Maildir(tmp_path / "Maildir")
    maildir.add(b"Subject: seven\n\n7\n")
    ids = box.deliver(
        b"Subject: one\n\n1\n", "Subject: two\n\n2\n", email, one_file, tmp_path / "mbox", tmp_path / "Maildir", maildir
    )
    subjects = [line.split(b" ")[1] for message in box.messages for line in message.splitlines() if b"Subject" in line]
    assert subjects == [b"one", b"two", b"three", b"four", b"five", b"six", b"seven", b"seven"]
    assert len(set(ids)) == 8


@pytest.mark.parametrize("wrong", [7, None, ["Subject: x\n\n"], object])
def test_a_message_of_a_wrong_type_is_refused_and_nothing_is_added(box, wrong):
    with pytest.raises(TypeError, match="a message is bytes, str, an EmailMessage"):
        box.deliver(b"x\n", wrong)
    assert box.messages == []


def test_a_path_must_be_there_and_a_folder_must_be_a_maildir(box, tmp_path):
    with pytest.raises(FileNotFoundError):
        box.deliver(tmp_path / "missing.eml")
    with pytest.raises(ValueError, match="no Maildir"):
        box.deliver(tmp_path)
    with pytest.raises(TypeError, match="deliver needs a message"):
        box.deliver()


def test_a_message_that_arrives_during_a_session_is_in_the_next(box):
    box.deliver(b"one\n")
    client = connect(box.url)
    box.deliver(b"two\n")
    assert client.stat()[0] == 1
    client.quit()
    assert poll(box.url) == [b"one\n", b"two\n"]


def test_a_session_records_what_its_client_did(double, box):
    first, second = box.deliver(b"one\n", b"two\n")
    client = connect(box.url)
    client.retr(2)
    client.top(1, 0)
    client.dele(1)
    client.quit()
    box.wait_for(sessions=1)
    (session,) = box.sessions
    assert [(command.verb, command.argument) for command in session.commands] == [
        ("USER", "alice"),
        ("PASS", "****"),
        ("RETR", "2"),
        ("TOP", "1 0"),
        ("DELE", "1"),
        ("QUIT", ""),
    ]
    assert session.commands[2].reply == "+OK 5 octets"
    assert session.commands[2].octets == len(b"+OK 5 octets\r\ntwo\r\n.\r\n")
    assert (session.retrieved, session.removed) == ([second], [first])
    assert (session.user, session.mechanism, session.secure, session.ended) == ("alice", "USER", False, "quit")
    assert "C: PASS ****" in session.transcript
    assert "secret" not in double.transcript
    assert box.messages == [b"two\n"]


def test_a_line_that_is_no_command_is_recorded_too(double, box):
    with socket.create_connection((double.host, double.port), 10) as sock:
        lines = sock.makefile("rb")
        lines.readline()
        sock.sendall(b"XPIGEON 1\r\nQUIT\r\n")
        lines.read()
    double.wait_for(sessions=1)
    (session,) = double.sessions
    assert [command.verb for command in session.commands] == ["", "QUIT"]
    assert session.commands[0].reply.startswith("-ERR ")
    assert "XPIGEON" in session.transcript


@pytest.mark.parametrize("mechanism", ["USER", "APOP"])
def test_the_name_and_the_mechanism_of_a_session_are_recorded(double, box, mechanism):
    client = poplib.POP3(double.host, double.port, timeout=10)
    if mechanism == "APOP":
        client.apop("alice", "secret")
    else:
        client.user("alice")
        client.pass_("secret")
    client.quit()
    box.wait_for("auth")
    box.wait_for(sessions=1)
    assert box.sessions[0].mechanism == mechanism


def test_a_wrong_password_is_no_login(double, box):
    client = poplib.POP3(double.host, double.port, timeout=10)
    client.user("alice")
    with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
        client.pass_("wrong")
    client.quit()
    box.wait_for(sessions=1)
    assert (box.sessions[0].user, box.sessions[0].mechanism) == ("alice", None)


def test_maildrops_are_apart(double, box):
    other = double.maildrop("bob@example.org", "p@ss:word/")
    box.deliver(b"one\n")
    other.deliver(b"two\n")
    assert poll(other.url) == [b"two\n"]
    other.wait_for(sessions=1)
    assert box.sessions == []
    assert box.messages == [b"one\n"]
    assert other.url == f"pop3://bob%40example.org:p%40ss%3Aword%2F@127.0.0.1:{double.port}/"


def test_a_maildrop_is_made_once(double, box):
    assert double.maildrop("alice", "secret") is box
    with pytest.raises(ValueError, match="exists already, with another password"):
        double.maildrop("alice", "other")
    with pytest.raises(TypeError, match="both str"):
        double.maildrop(b"alice")


# Waits


def test_a_wait_ends_as_soon_as_the_command_is_answered(box):
    box.deliver(b"one\n", b"two\n")
    box.wait_for(messages=2)
    thread = threading.Thread(target=poll, args=(box.url,))
    thread.start()
    box.wait_for("DELE", count=2, timeout=30)
    box.wait_for(sessions=1, messages=0, timeout=30)
    thread.join()


def test_a_wait_lets_the_greenlets_of_its_thread_run(box):
    box.deliver(b"one\n")
    client = gevent.spawn(
        lambda: gevent.socket.create_connection(tuple(urlsplit(box.url)[1].rpartition("@")[2].split(":"))).close()
    )
    box._double.wait_for("connect", timeout=30)
    box._double.wait_for(sessions=1, timeout=30)
    client.join()


def test_a_wait_in_vain_says_what_was_missing_and_shows_the_sessions(box):
    poll(box.url)
    box.wait_for(sessions=1)
    with pytest.raises(DoubleFailed, match=r"RETR 2 times, not 0; 3 sessions ended, not 1") as caught:
        box.wait_for("RETR", 2, sessions=3, timeout=0)
    assert "C: USER alice" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ((), TypeError, "waits for a command such as 'RETR'"),
        (("RTER",), ValueError, "did you mean 'RETR'"),
        (("greeting",), ValueError, "cannot wait for 'greeting'"),
        ((7,), TypeError, "not on 7"),
    ],
)
def test_a_wait_for_what_never_comes_is_an_error(box, given, error, text):
    with pytest.raises(error, match=text):
        box.wait_for(*given)


# TLS


@pytest.mark.parametrize("way", ["stls", "implicit"])
def test_tls_is_offered_with_an_authority_to_trust(pop3_double, way):
    box = pop3_double.maildrop("alice", "secret")
    box.deliver(b"one\n")
    if way == "stls":
        client = poplib.POP3("localhost", pop3_double.port, timeout=10)
        client.stls(pop3_double.ssl_context)
    else:
        client = poplib.POP3_SSL("localhost", pop3_double.tls_port, timeout=10, context=pop3_double.ssl_context)
    client.user("alice")
    client.pass_("secret")
    assert client.retr(1)[1] == [b"one"]
    client.quit()
    box.wait_for(sessions=1)
    assert box.sessions[0].secure
    assert box.sessions[0].retrieved == box.deliver(b"two\n")[:0] + box.sessions[0].retrieved
    assert ssl.create_default_context(cafile=pop3_double.ca)
    assert box.tls_url == f"pop3s://alice:secret@127.0.0.1:{pop3_double.tls_port}/"


def test_tls_can_be_required():
    with Double(tls="required") as double:
        double.maildrop("alice", "secret")
        client = poplib.POP3("localhost", double.port, timeout=10)
        with pytest.raises(poplib.error_proto):
            client.user("alice")
        client.stls(double.ssl_context)
        client.user("alice")
        client.pass_("secret")
        client.quit()
        double.wait_for(sessions=1)


def test_the_certificate_may_be_that_of_another_host():
    with Double(certificate_names=["other.example.org"]) as double:
        with pytest.raises(ssl.SSLCertVerificationError, match=r"(?i)mismatch"):
            poplib.POP3_SSL("127.0.0.1", double.tls_port, timeout=10, context=double.ssl_context)
        double.wait_for(sessions=1)


def test_doubles_that_start_at_once_have_one_authority(monkeypatch):
    from geventpop3.testing.double import authority as module

    monkeypatch.setattr(module, "_authorities", [])
    doubles = [Double() for _ in range(8)]
    threads = [threading.Thread(target=double.start) for double in doubles]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert {double.ca for double in doubles} == {module.authority().ca}
        for double in doubles:
            with socket.create_connection((double.host, double.tls_port), 20) as sock:
                double.ssl_context.wrap_socket(sock, server_hostname="localhost").close()
    finally:
        for double in doubles:
            double.stop()


def test_tls_can_be_off(double):
    with pytest.raises(LookupError):
        _ = double.tls_port
    with pytest.raises(ValueError, match="no TLS"):
        double.fail("tls", how="close")
    with pytest.raises(ValueError, match="'off', 'offered' or 'required'"):
        Double(tls="none")


# Life


def test_a_double_is_started_once_and_must_be_started():
    double = Double(tls="off")
    for look in (lambda: double.port, lambda: double.url, lambda: double.wait_for(sessions=1), double.reset):
        with pytest.raises(RuntimeError, match="not started"):
            look()
    double.stop()
    double.start()
    try:
        with pytest.raises(RuntimeError, match="started already"):
            double.start()
    finally:
        double.stop()
    double.stop()
    with pytest.raises(RuntimeError, match="started already"):
        double.start()


def test_a_start_that_fails_raises_at_once():
    with pytest.raises(OSError, match=r"192\.0\.2\.1"):
        Double(tls="off", host="192.0.2.1").start()
    with pytest.raises(TypeError, match="autolgout"):
        Double(tls="off", autolgout=3).start()


def test_a_reset_leaves_nothing_of_the_test_before(double, box):
    box.deliver(b"one\n")
    client = connect(box.url)
    port = double.port
    double.reset()
    with pytest.raises((EOFError, OSError, poplib.error_proto)):
        client.stat()
    client.close()
    assert double.port == port
    assert (double.sessions, double.transcript) == ([], "")
    again = double.maildrop("alice", "another")
    assert again.messages == []
    assert poll(again.url) == []


def test_a_reset_fails_for_a_fault_that_never_happened_and_forgets_it(double, box):
    box.fail("RETR", how="close")
    with pytest.raises(DoubleFailed, match=r"never happened: close on RETR \(nth=1\)"):
        double.reset()
    double.check()


def test_the_end_fails_for_faults_that_never_happened_unless_they_are_optional(box):
    box.fail("RETR", how="close", optional=True)
    box._double.check()
    fault = box.fail("DELE", how="error", nth=2)
    with pytest.raises(DoubleFailed, match=r"never happened: error on DELE \(nth=2\)"):
        box._double.check()
    fault.optional = True


def test_the_end_fails_for_errors_of_the_server(double, box):
    double._pop3d.on("cmd_noop")(lambda pop3d, event: 1 / 0)
    client = connect(box.url)
    with pytest.raises(poplib.error_proto):
        client.noop()
    client.quit()
    with pytest.raises(DoubleFailed, match="ZeroDivisionError"):
        double.check()
    double.errors.clear()
    double.check()


def test_an_error_in_the_block_shows_the_sessions():
    def test():
        with Double(tls="off") as double:
            poll(double.maildrop("alice").url)
            double.wait_for(sessions=1)
            raise KeyError("of the test")

    with pytest.raises(KeyError) as caught:
        test()
    assert "C: USER alice" in "\n".join(caught.value.__notes__)


PROBE = """
import gc, os, resource, sys, threading
import gevent, greenlet
from geventpop3.testing import Double

def use():
    with Double() as double:
        box = double.maildrop("alice")
        box.deliver(b"one\\n")
        import poplib
        client = poplib.POP3(double.host, double.port, timeout=10)
        client.user("alice")
        client.pass_("secret")
        client.retr(1)
        client.quit()
        box.wait_for(sessions=1)

def resources():
    gc.collect()
    greenlets = sum(isinstance(one, greenlet.greenlet) and not one.dead for one in gc.get_objects())
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    descriptors = len(os.listdir("/proc/self/fd"))
    return descriptors, threading.active_count(), greenlets, len(gc.get_objects()), pages * resource.getpagesize()

for _ in range(100):
    use()
before = resources()
for _ in range(200):
    use()
after = resources()
assert after[:3] == before[:3], (before, after)
assert after[3] - before[3] < 100, (before, after)  # less than an object for each double
assert after[4] - before[4] < 200 * 20_000, (before, after)  # a double has 80 kB
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_three_hundred_starts_leave_no_thread_greenlet_descriptor_or_memory():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
