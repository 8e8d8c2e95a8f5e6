"""``geventpop3 record`` and ``geventpop3 replay``: processes that a signal ends, and mistakes that are one line."""

from __future__ import annotations

import contextlib
import poplib
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from geventpop3.cli.main import main
from geventpop3.testing import Double

ROOT = Path(__file__).parents[2]
SECONDS = 60


@contextlib.contextmanager
def recorded_server(tls="off"):
    """A double with one message, which is the server that is recorded."""
    with Double(tls=tls) as double:
        double.maildrop("alice", "open sesame").deliver(b"Subject: tea\n\nat five\n")
        yield double


@contextlib.contextmanager
def running(*arguments):
    """The process and the address at which it listens; a signal ends it at the end of the test at the latest."""
    process = subprocess.Popen(
        [sys.executable, "-m", "geventpop3", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        said = process.stdout.readline()
        assert said.startswith("listening at "), process.stderr.read()
        host, _, port = said.removeprefix("listening at ").partition(",")[0].rpartition(":")
        yield process, (host, int(port))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
        watchdog.cancel()


def end(process, number=signal.SIGTERM):
    process.send_signal(number)
    output, errors = process.communicate(timeout=SECONDS)
    return process.returncode, output, errors


def session(address, password):
    with contextlib.closing(poplib.POP3(*address, timeout=SECONDS)) as box:
        return [box.user("alice"), box.pass_(password), box.stat(), box.retr(1), box.quit()]


@contextlib.contextmanager
def connected(address):
    with contextlib.closing(poplib.POP3(*address, timeout=SECONDS)) as box:
        yield box.file


def say_user(address, name):
    with contextlib.closing(poplib.POP3(*address, timeout=SECONDS)) as box:
        box.user(name)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_session_over_tls_is_recorded_and_replayed(tmp_path, number):
    path = tmp_path / "x.pop3"
    with recorded_server(tls="offered") as server:
        upstream = f"localhost:{server.tls_port}"
        tls = ["--upstream-tls", "--upstream-ca", server.ca]
        with running("record", "--upstream", upstream, *tls, "--keep-bodies", path) as (process, proxy):
            there = session(proxy, "open sesame")
            assert end(process, number) == (0, f"recorded 1 session in {path}\n", "")
    first = path.read_text("utf-8").partition("\n")[0]
    assert first == f"# {upstream}, recorded by geventpop3; messages as they were, **** is anything"
    with running("replay", path) as (process, server):
        assert session(server, "another") == there
        with pytest.raises(poplib.error_proto, match="the recording has here: USER alice"):
            say_user(server, "bob")
        assert end(process, number) == (0, "", f"geventpop3: {path}:3: the recording has here: USER alice\n")


def test_without_a_session_there_is_no_file(tmp_path):
    with recorded_server() as server:
        upstream = f"{server.host}:{server.port}"
        with running("record", "--upstream", upstream, tmp_path / "x.pop3") as (process, _):
            assert end(process) == (0, "there was no session to record\n", "")
    assert list(tmp_path.iterdir()) == []


def test_two_sessions_are_counted(tmp_path):
    path = tmp_path / "x.pop3"
    with recorded_server() as server:
        upstream = f"{server.host}:{server.port}"
        with running("record", "--upstream", upstream, "--mask-names", path) as (process, proxy):
            session(proxy, "open sesame")
            session(proxy, "open sesame")
            assert end(process)[:2] == (0, f"recorded 2 sessions in {path}\n")
    for one in (path, tmp_path / "x.pop3.2"):
        assert "alice" not in one.read_text("utf-8")
        assert "at five" not in one.read_text("utf-8")


def test_sessions_that_go_on_are_ended_by_the_signal(tmp_path):
    path = tmp_path / "x.pop3"
    with recorded_server() as server:
        upstream = f"{server.host}:{server.port}"
        for arguments in (["record", "--upstream", upstream, path], ["replay", path]):
            with running(*arguments) as (process, address), connected(address) as file:
                code, _, errors = end(process)
                assert (code, errors) == (0, "")
                assert file.read() == b""


# Mistakes


@pytest.fixture
def upstream():
    with recorded_server() as server:
        yield f"{server.host}:{server.port}"


def refusal(capsys, *arguments):
    assert main(list(map(str, arguments))) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err.removeprefix("geventpop3: error: ").strip()


def test_a_server_that_is_not_there(capsys, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        said = refusal(capsys, "record", "--upstream", f"127.0.0.1:{port}", tmp_path / "x")
    assert said == f"--upstream: 127.0.0.1:{port}: Connection refused"
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_trusted(capsys, tmp_path):
    with recorded_server(tls="offered") as server:
        said = refusal(capsys, "record", "--upstream", f"localhost:{server.tls_port}", "--upstream-tls", tmp_path / "x")
    assert "certificate verify failed" in said


def test_a_recording_that_is_there(capsys, tmp_path, upstream):
    (tmp_path / "x").write_text("mine")
    said = refusal(capsys, "record", "--upstream", upstream, tmp_path / "x")
    assert said == f"{tmp_path}/x exists; --force replaces it"
    assert (tmp_path / "x").read_text() == "mine"


def test_a_folder_that_is_not_there(capsys, tmp_path, upstream):
    said = refusal(capsys, "record", "--upstream", upstream, tmp_path / "no" / "x")
    assert said == f"{tmp_path}/no/x: No such file or directory"


def test_an_address_that_is_taken(capsys, tmp_path, upstream):
    said = refusal(capsys, "record", "--upstream", upstream, "--listen", upstream, tmp_path / "x")
    assert said == f"--listen: {upstream}: Address already in use"
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_not_loopback_is_warned_of(capsys, tmp_path, upstream):
    arguments = ["record", "--upstream", upstream, "--listen", "192.0.2.1:0", str(tmp_path / "x")]
    assert main(arguments) == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert warning == "geventpop3: --listen 192.0.2.1:0: passwords cross the network in clear text"
    assert error == "geventpop3: error: --listen: 192.0.2.1:0: Cannot assign requested address"


def test_a_server_elsewhere_without_tls_is_warned_of(capsys, monkeypatch):
    monkeypatch.setattr("geventpop3.cli.recordings.CONNECT_SECONDS", 0.0)
    assert main(["record", "--upstream", "192.0.2.1:110", "x"]) == 2
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.endswith("192.0.2.1:110: passwords cross the network in clear text without --upstream-tls")
    assert error == "geventpop3: error: --upstream: 192.0.2.1:110: no answer in time"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["record", "x"], "the following arguments are required: --upstream"),
        (
            ["record", "--upstream", "pop.example.org", "x"],
            "--upstream: 'pop.example.org': an address must be HOST:PORT",
        ),
        (["record", "--upstream", "unix:/x", "x"], "a host and a port are needed here, no unix socket"),
        (["record", "--upstream", "127.0.0.1:1", "--upstream-ca", "f", "x"], "--upstream-ca goes with --upstream-tls"),
        (
            ["record", "--upstream", "127.0.0.1:1", "--upstream-tls", "--upstream-ca", "/nonexistent", "x"],
            "--upstream-ca: /nonexistent: No such file or directory",
        ),
        (["replay", "/nonexistent"], "/nonexistent: No such file or directory"),
        (["replay", "README.md"], "README.md:3: a line must begin with C: C! S: S! or #"),
        (["replay", "PYTHON"], "this is not UTF-8, so it is no dialogue"),
    ],
)
def test_mistakes(arguments, words, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    given = [sys.executable if each == "PYTHON" else each for each in arguments]
    assert words in refusal(capsys, *given)
