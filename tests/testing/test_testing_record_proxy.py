"""The recording proxy and the replaying server, over sockets of the loopback interface."""

from __future__ import annotations

import asyncio
import os
import poplib
import shutil
import socket
import stat
import subprocess
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import required

from geventpop3.testing import Double, load, play_over_socket
from geventpop3.testing.recording import proxy as proxy_module
from geventpop3.testing.recording.answers import answer_client
from geventpop3.testing.recording.proxy import Proxy, RecordingFiles, reason
from geventpop3.testing.recording.recorder import Recorder
from geventpop3.testing.replay import Recording
from geventpop3.testing.script import Kind

SECONDS = 20
PASSWORD = "open sesame"
MESSAGES = [
    b"Subject: one\n\nDear Alice,\n.\n..dots\nbye\n",
    b"Subject: zwei\nX-Long: " + b"y" * 900 + "\n\nGrüße 😀\n".encode() + b"\xfc\r\x00\n" + (b"z" * 1900 + b"\n") * 99,
]


@contextmanager
def recorded_server():
    """The address of a double with two messages, which is the server that is recorded."""
    with Double(tls="off") as double:
        double.maildrop("alice", PASSWORD).deliver(*MESSAGES)
        yield double.host, double.port


class Loop:
    """An event loop in a thread with a server that calls *answer*; in the end it awaits *stop*."""

    def __init__(self, answer, stop=None):
        self.answer, self.stop = answer, stop
        self.ready = threading.Event()
        self.ended = None
        self.thread = threading.Thread(target=lambda: asyncio.run(self.main()))

    async def main(self):
        self.loop, self.ended = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self.answer, "127.0.0.1", 0)
        self.address = server.sockets[0].getsockname()
        self.ready.set()
        await self.ended.wait()
        server.close()
        if self.stop is not None:
            await self.stop()

    def __enter__(self):
        self.thread.start()
        assert self.ready.wait(SECONDS)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.ended.set)
        self.thread.join(2 * SECONDS)
        assert not self.thread.is_alive()


@contextmanager
def recording(address, path, *, context=None, reports=None, **options):
    """A proxy before the server at *address*, which may be a path; in the end all sessions are in the files."""

    async def connect():
        if isinstance(address, str):
            return await asyncio.open_unix_connection(address)
        return await asyncio.open_connection(*address, ssl=context)

    files = RecordingFiles(path, "a test")
    reports = [] if reports is None else reports
    proxy = Proxy(connect, files, partial(Recorder, **options), reports.append)

    async def stop():
        await proxy.stop(SECONDS)
        files.close()

    with Loop(proxy.session, stop) as loop:
        yield loop.address


@contextmanager
def replaying(path, reports):
    with Loop(partial(answer_client, Recording.load(path), reports.append)) as loop:
        yield loop.address


@contextmanager
def connected(address):
    """A socket and its file for reading; the greeting has been read."""
    with closing(socket.create_connection(address, SECONDS)) as sock, sock.makefile("rb") as file:
        assert file.readline().startswith(b"+OK")
        yield sock, file


def session(address, password=PASSWORD):
    """What a client reads in a whole session."""
    with closing(poplib.POP3(*address, timeout=SECONDS)) as box:
        read = [box.getwelcome(), box.capa(), box.user("alice"), box.pass_(password), box.stat(), box.list()]
        read += [box.uidl(), box.retr(1), box.retr(2), box.top(2, 1), box.uidl(1), box.dele(1), box.rset(), box.quit()]
        return read


@pytest.mark.parametrize("keep_bodies", [False, True])
def test_a_session_is_recorded_and_replayed_octet_for_octet(tmp_path, keep_bodies):
    path = tmp_path / "x.pop3"
    with recorded_server() as address, recording(address, path, keep_bodies=keep_bodies) as proxy:
        there = session(proxy)
    written = path.read_text("utf-8")
    assert "sesame" not in written
    assert ("Dear Alice" in written) == keep_bodies
    reports = []
    with replaying(path, reports) as server:
        for how in load(path).ways:
            play_over_socket(server, path, how, timeout=SECONDS)
        here = session(server, "another password")
    assert reports == []
    if keep_bodies:
        assert here == there
    else:
        assert [len(line) for line in here[7][1]] == [len(line) for line in there[7][1]]
        assert here[8][2] == there[8][2]
        assert here[8][1] != there[8][1]


def test_the_files_are_for_their_owner_alone_and_one_for_each_session(tmp_path):
    path = tmp_path / "x.pop3"
    with recorded_server() as address, recording(address, path) as proxy:
        session(proxy)
        with connected(proxy) as (sock, file):
            sock.sendall(b"QUIT\r\n")
            assert file.read().startswith(b"+OK")
    for one in (path, tmp_path / "x.pop3.2"):
        assert stat.S_IMODE(one.stat().st_mode) == 0o600
        assert one.read_text("utf-8").endswith("S: <closed>\n")
        assert one.read_text("utf-8").startswith("# a test\nS: +OK ")
    assert sorted(os.listdir(tmp_path)) == ["x.pop3", "x.pop3.2"]


def test_a_pipelining_client_is_recorded_as_one_that_waits(tmp_path):
    path = tmp_path / "x.pop3"
    with recorded_server() as address, recording(address, path) as proxy, connected(proxy) as (sock, file):
        sock.sendall(b"USER alice\r\nPASS open sesame\r\nSTLS\r\nSTAT\r\nQUIT\r\n")
        assert len(file.readlines()) == 5
    said = [step.text for step in load(path).steps if step.is_client]
    assert said == ["C: USER alice", "C: PASS ****", "C: STLS", "C: STAT", "C: QUIT"]


def test_a_client_that_leaves_in_the_middle_of_a_message_is_recorded_with_all_of_it(tmp_path):
    path = tmp_path / "x.pop3"
    with recorded_server() as address, recording(address, path) as proxy, connected(proxy) as (sock, file):
        sock.sendall(b"USER alice\r\nPASS open sesame\r\nRETR 2\r\n")
        assert [file.readline()[:3] for _ in range(3)] == [b"+OK"] * 3
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not an end
    assert [step.text for step in load(path).steps[-3:]] == ["S: .", "C: <end>", "S: <closed>"]


def test_a_client_that_ends_its_input_reads_the_replies(tmp_path):
    path = tmp_path / "x.pop3"
    with recorded_server() as address, recording(address, path) as proxy, connected(proxy) as (sock, file):
        sock.sendall(b"USER alice\r\nPASS open")
        sock.shutdown(socket.SHUT_WR)
        assert file.readline().startswith(b"+OK")
        file.read()
    said = [step.text for step in load(path).steps if step.is_client]
    assert said == ["C: USER alice", 'C! "PASS ****"', "C: <end>"]
    assert load(path).steps[-1].kind is Kind.CLOSED


def test_over_tls_to_the_server_a_client_without_quit_does_not_keep_the_session(tmp_path):
    path = tmp_path / "x.pop3"
    with (
        Double() as double,
        recording(("localhost", double.tls_port), path, context=double.ssl_context) as proxy,
        connected(proxy) as (sock, file),
    ):
        double.maildrop("alice", PASSWORD)
        sock.sendall(b"USER alice\r\nPASS open sesame\r\nCAPA\r\n")
        while file.readline() != b".\r\n":
            pass
    assert [step.text for step in load(path).steps[-2:]] == ["C: <end>", "S: <closed>"]


def test_a_server_that_is_gone_is_reported_to_both(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        reports = []
        with (
            recording(taken.getsockname(), tmp_path / "x.pop3", reports=reports) as proxy,
            closing(socket.create_connection(proxy, SECONDS)) as sock,
            sock.makefile("rb") as file,
        ):
            assert file.read().startswith(b"-ERR [SYS/TEMP] the recording proxy cannot connect")
    assert reports == ["cannot connect to the server: Connection refused"]
    assert os.listdir(tmp_path) == []


def test_a_line_without_end_ends_the_session(tmp_path):
    reports = []
    with (
        recorded_server() as address,
        recording(address, tmp_path / "x.pop3", reports=reports) as proxy,
        connected(proxy) as (sock, file),
        suppress(ConnectionError),  # the proxy may have more that it did not read
    ):
        sock.sendall(b"x" * (proxy_module.LINE_OCTETS + 1))
        assert file.read() == b""
    (report,) = reports
    assert report.startswith("a session was not recorded to its end: the client sent more than")


def test_a_file_that_came_between_is_not_overwritten(tmp_path):
    reports = []
    path = tmp_path / "x.pop3"
    with recorded_server() as address, recording(address, path, reports=reports) as proxy:
        (tmp_path / "x.pop3.2").write_text("mine")
        session(proxy)
        with closing(socket.create_connection(proxy, SECONDS)) as sock:
            assert sock.recv(1) == b""
    assert (tmp_path / "x.pop3.2").read_text() == "mine"
    assert reports == ["a session was not recorded to its end: File exists"]


def test_a_recording_is_replaced_only_by_force(tmp_path):
    path = tmp_path / "x.pop3"
    for name in ("x.pop3", "x.pop3.2", "x.pop3.4"):
        (tmp_path / name).write_text("old")
    with pytest.raises(FileExistsError, match="exists"):
        RecordingFiles(path, "a test")
    files = RecordingFiles(path, "a test", force=True)
    assert sorted(os.listdir(tmp_path)) == ["x.pop3", "x.pop3.4"]
    files.close()
    assert os.listdir(tmp_path) == ["x.pop3.4"]


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path):
    (tmp_path / "x.pop3").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        RecordingFiles(tmp_path / "x.pop3", "a test")
    assert not (tmp_path / "elsewhere").exists()


def test_sessions_are_ended_at_the_stop(tmp_path):
    path = tmp_path / "x.pop3"
    files = RecordingFiles(path, "a test")
    with recorded_server() as address:

        async def connect():
            return await asyncio.open_connection(*address)

        proxy = Proxy(connect, files, Recorder, lambda _: None)
        with ExitStack() as after:
            with Loop(proxy.session, proxy.stop) as loop:
                _, file = after.enter_context(connected(loop.address))
            assert file.read() == b""
    assert [step.text[:6] for step in load(path).steps] == ["S: +OK"]


def test_reasons_are_those_of_the_system():
    assert reason(ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 1)")) == "Connection refused"
    assert reason(ConnectionResetError()) == "Connection reset by peer"
    assert reason(socket.gaierror(-2, "Name or service not known")) == "Name or service not known"
    assert reason(OSError("two at once")) == "two at once"
    assert reason(OSError("could not bind on any address out of []")) == "Cannot assign requested address"
    assert reason(TimeoutError()) == "no answer in time"


@contextmanager
def silent_server(greeting):
    """A server that says its greeting and no more; its connections are closed in the end."""
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as connections:

        def serve_all():
            with suppress(OSError):
                while True:
                    connection = connections.enter_context(listening.accept()[0])
                    connection.sendall(greeting)

        thread = threading.Thread(target=serve_all)
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(SECONDS)


def test_a_client_that_gives_a_silent_server_up_ends_the_session(tmp_path, monkeypatch):
    monkeypatch.setattr(proxy_module, "LINGER_SECONDS", 0.05)
    path = tmp_path / "x.pop3"
    with silent_server(b"+OK\r\n") as address, recording(address, path) as proxy, connected(proxy) as (sock, _):
        sock.sendall(b"NOOP\r\nNOOP\r\n")
    assert [step.text for step in load(path).steps] == ["S: +OK", "C: NOOP"]


def test_a_server_without_a_greeting_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(proxy_module, "LINGER_SECONDS", 0.05)
    with (
        silent_server(b"") as address,
        recording(address, tmp_path / "x.pop3") as proxy,
        closing(socket.create_connection(proxy, SECONDS)) as sock,
    ):
        sock.shutdown(socket.SHUT_WR)
        assert sock.recv(1) == b""
    assert os.listdir(tmp_path) == []


def test_a_client_may_send_more_ahead_than_is_held(tmp_path, monkeypatch):
    monkeypatch.setattr(proxy_module, "LINE_OCTETS", 600)
    path = tmp_path / "x.pop3"
    count = 400
    with recorded_server() as address, recording(address, path) as proxy, connected(proxy) as (sock, file):
        sock.sendall(b"USER alice\r\nPASS open sesame\r\n" + b"NOOP\r\n" * count + b"QUIT\r\n")
        assert len(file.readlines()) == count + 3
    assert path.read_text("utf-8").count("C: NOOP") == count


# Replay


REPLAYED = "S: +OK\nC: NOOP\nS: +OK\nC: LIST\n{}"


@pytest.fixture
def replayed(tmp_path):
    def write(rest):
        path = tmp_path / "x.pop3"
        path.write_text(REPLAYED.format(rest))
        return path

    return write


def test_what_was_not_recorded_is_reported(replayed):
    path = replayed("S: +OK")
    reports = []
    with replaying(path, reports) as server, connected(server) as (sock, file):
        sock.sendall(b"STAT\r\nNOOP\r\nLIST\r\n")
        wanted = f"{path}:2: the recording has here: NOOP"
        assert file.readline() == f"-ERR {wanted}\r\n".encode()
        assert file.readline() == b"+OK\r\n"
        sock.shutdown(socket.SHUT_WR)
        assert file.read() == b"+OK\r\n"
    assert reports == [wanted]


def test_a_cut_line_at_the_end_is_answered_and_silence_is_silence(replayed):
    path = replayed("S: <closed>")
    with replaying(path, []) as server:
        for last in (b"LIST", b"LIST\r\n"):
            with connected(server) as (sock, file):
                sock.sendall(b"NOOP\r\n" + last)
                sock.shutdown(socket.SHUT_WR)
                assert file.read() == b"+OK\r\n"


def test_a_line_without_end_is_not_replayed(replayed):
    with replaying(replayed("S: +OK"), []) as server, connected(server) as (sock, file), suppress(ConnectionError):
        sock.sendall(b"x" * 1_000_000)
        assert file.read() == b""


# Dovecot

DOVECOT = """
protocols = pop3
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
first_valid_uid = 1
mail_location = maildir:{folder}/mail/%u
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid=dovecot gid=dovecot home={folder}/mail/%u
}}
service pop3-login {{
  inet_listener pop3 {{
    port = 0
  }}
  inet_listener pop3s {{
    port = 0
  }}
  unix_listener pop3 {{
    mode = 0600
  }}
}}
"""


@contextmanager
def dovecot():
    """Dovecot with alice's maildrop, at a unix socket; the folder of a test is closed to its users."""
    program = required.program("dovecot")
    if os.geteuid() != 0:
        pytest.skip("Dovecot needs root: it changes to the mail's owner")
    folder = Path(tempfile.mkdtemp())
    try:
        folder.chmod(0o755)
        for part in ("cur", "new", "tmp"):
            (folder / "mail" / "alice" / part).mkdir(parents=True)
        for number, message in enumerate(MESSAGES):
            (folder / "mail" / "alice" / "new" / f"{number}.M1P1.host").write_bytes(message)
        for path in (folder / "mail", *(folder / "mail").rglob("*")):
            shutil.chown(path, "dovecot", "dovecot")
        (folder / "state").mkdir()
        config = folder / "dovecot.conf"
        config.write_text(DOVECOT.format(folder=folder, password=PASSWORD.replace(" ", "-")))
        process = subprocess.Popen([program, "-F", "-c", config])
        try:
            wait_until_listening(process, str(folder / "run" / "pop3"))
            yield str(folder / "run" / "pop3")
        finally:
            process.terminate()
            process.wait(SECONDS)
    finally:
        shutil.rmtree(folder)


def wait_until_listening(process, path):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with socket.socket(socket.AF_UNIX) as sock:
            if sock.connect_ex(path) == 0:
                return
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"Dovecot ended with {process.wait(0.05)}")
    raise AssertionError("Dovecot does not listen")


@pytest.mark.service
@pytest.mark.parametrize("keep_bodies", [False, True])
def test_dovecot_is_recorded_and_replayed(tmp_path, keep_bodies):
    path = tmp_path / "x.pop3"
    password = PASSWORD.replace(" ", "-")
    with dovecot() as address, recording(address, path, keep_bodies=keep_bodies) as proxy:
        there = session(proxy, password)
    written = path.read_text("utf-8")
    assert "S: +OK Dovecot" in written
    assert password not in written
    reports = []
    with replaying(path, reports) as server:
        play_over_socket(server, path, timeout=SECONDS)
        here = session(server, "another password")
    assert reports == []
    assert here[:7] == there[:7]
    assert (here == there) == keep_bodies
