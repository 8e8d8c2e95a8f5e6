"""``geventpop3 double`` as a program: what it prints, how it ends, and that it does not outlive its parent."""

from __future__ import annotations

import json
import os
import poplib
import select
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from control_calls import reserved_ports

from geventpop3 import __version__
from geventpop3.cli import double as command
from geventpop3.cli.main import main

SECONDS = 60
ROOT = Path(__file__).parent.parent.parent
PROGRAM = [sys.executable, "-W", "error", "-m", "geventpop3", "double"]


class Program:
    """A running ``geventpop3 double``."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()
        self.ready = json.loads(line)

    def call(self, method: str, path: str, content: object = None) -> Any:
        body = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": f"Bearer {self.ready['token']}", "Content-Type": "application/json"}
        request = Request(f"{self.ready['control']}{path}", body, headers, method=method)
        with urlopen(request, timeout=SECONDS) as response:
            return json.load(response)

    def end(self) -> tuple[int, bytes, bytes]:
        """Exit status and what else it printed, once it has ended."""
        out, err = self.process.communicate(timeout=SECONDS)
        return self.process.returncode, out, err


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    programs: list[Program] = []

    def started(*arguments: str) -> Program:
        programs.append(Program(*arguments))
        return programs[-1]

    yield started
    for program in programs:
        program.process.kill()
        program.process.communicate()


def refused(*arguments: str) -> str:
    """The error of a command that does not start."""
    told = subprocess.run(
        [*PROGRAM, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("geventpop3: error: ")
    assert told.stderr.count("\n") == 1
    return told.stderr


def test_the_ready_line_and_a_poll_with_and_without_tls(start: Callable[..., Program]) -> None:
    program = start()
    ready = program.ready
    assert ready.keys() == {"host", "port", "tls_port", "url", "tls_url", "ca", "pid", "version", "control", "token"}
    assert (ready["host"], ready["pid"], ready["version"]) == ("127.0.0.1", program.process.pid, __version__)
    assert len(ready["token"]) >= 32
    program.call("POST", "/maildrops", {"name": "alice"})
    program.call("POST", "/maildrops/alice/messages", {"messages": [{"text": "Subject: one\n\nHello\n"}]})
    context = ssl.create_default_context(cafile=ready["ca"])
    for box in (
        poplib.POP3(ready["host"], ready["port"], timeout=SECONDS),
        poplib.POP3_SSL("localhost", ready["tls_port"], context=context, timeout=SECONDS),
    ):
        box.user("alice")
        box.pass_("secret")
        assert box.retr(1)[1] == [b"Subject: one", b"", b"Hello"]
        box.quit()
    assert program.call("POST", "/wait", {"sessions": 2}) == {"ok": True}
    assert [each["secure"] for each in program.call("GET", "/sessions")["sessions"]] == [False, True]
    assert program.call("POST", "/stop")["ok"] is True
    assert program.end() == (0, b"", b"")
    assert not Path(ready["ca"]).exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_also_while_a_session_runs_and_a_call_waits(
    start: Callable[..., Program], number: signal.Signals
) -> None:
    program = start("--no-tls")
    assert program.ready["tls_port"] is program.ready["tls_url"] is program.ready["ca"] is None
    where = (program.ready["host"], program.ready["port"])
    control = program.ready["control"].removeprefix("http://")
    with (
        socket.create_connection(where, timeout=SECONDS) as session,
        socket.create_connection(control.split(":")) as waiting,
    ):
        assert session.recv(1) == b"+"
        body = b'{"sessions": 9, "timeout": 60}'
        head = (
            f"POST /wait HTTP/1.1\r\nHost: {control}\r\nAuthorization: Bearer {program.ready['token']}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        waiting.sendall(head.encode() + body)
        program.process.send_signal(number)
        assert program.end() == (0, b"", b"")


def test_it_ends_when_its_standard_input_is_closed(start: Callable[..., Program]) -> None:
    program = start("--no-tls", "--until-stdin-closes")
    program.process.stdin.write(b"what is written there is ignored\n")
    program.process.stdin.flush()
    assert program.call("GET", "/check")["ok"] is True
    assert program.end() == (0, b"", b"")  # communicate() closes it


PARENT = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)
sys.stdin.read()
"""


def test_it_does_not_outlive_a_parent_that_is_killed() -> None:
    arguments = [sys.executable, "-c", PARENT, *PROGRAM, "--no-tls", "--until-stdin-closes"]
    with subprocess.Popen(arguments, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        ready = json.loads(parent.stdout.readline())
        child = os.pidfd_open(ready["pid"])
        try:
            parent.kill()
            ended, _, _ = select.select([child], [], [], SECONDS)  # readable once the process has ended
            if not ended:
                os.kill(ready["pid"], signal.SIGKILL)
            assert ended
        finally:
            os.close(child)


def test_nobody_to_tell_where_it_listens() -> None:
    with subprocess.Popen(
        [*PROGRAM, "--no-tls"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        assert "standard output: Broken pipe" in process.stderr.read()
        assert process.wait(SECONDS) == 2


def test_fixed_ports(start: Callable[..., Program]) -> None:
    with reserved_ports(3) as (port, tls_port, control):
        ready = start(f"--port={port}", f"--tls-port={tls_port}", f"--control={control}").ready
        assert (ready["port"], ready["tls_port"]) == (port, tls_port)
        assert ready["control"] == f"http://127.0.0.1:{control}"


@pytest.mark.parametrize("option", ["--port", "--tls-port", "--control"])
def test_a_port_that_is_taken(option: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        assert f"127.0.0.1:{port}: Address already in use" in refused(option, str(port))


@pytest.mark.parametrize("option", ["--host", "--control-host"])
def test_an_address_of_another_machine(option: str) -> None:
    assert "192.0.2.1:0: Cannot assign requested address" in refused("--no-tls", option, "192.0.2.1")


def test_an_unknown_personality() -> None:
    assert "personality" in refused("--no-tls", "--personality", "no-such-server")


def test_a_given_token_and_one_in_a_file(start: Callable[..., Program], tmp_path: Path) -> None:
    assert start("--no-tls", "--token", "given-token").ready["token"] == "given-token"
    (tmp_path / "token").write_text("token-of-a-file\n")
    program = start("--no-tls", "--token-file", str(tmp_path / "token"))
    assert program.ready["token"] == "token-of-a-file"
    assert program.call("GET", "/check")["ok"] is True


def test_each_process_has_its_own_token(start: Callable[..., Program]) -> None:
    assert start("--no-tls").ready["token"] != start("--no-tls").ready["token"]


def test_a_control_that_others_can_reach_warns(start: Callable[..., Program]) -> None:
    program = start("--no-tls", "--control-host", "0.0.0.0", "--control-name", "double")
    port = program.ready["control"].rpartition(":")[2]
    headers = {"Authorization": f"Bearer {program.ready['token']}", "Host": f"double:{port}"}
    with urlopen(Request(f"http://127.0.0.1:{port}/check", headers=headers), timeout=SECONDS) as response:
        assert response.status == 200
    program.process.terminate()
    status, out, err = program.end()
    assert (status, out) == (0, b"")
    assert err == b"geventpop3: warning: other machines can reach the control, and its token is not encrypted\n"


# Mistakes, without a process


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--port", "x"], "--port: 'x' is not a port, 0 to 65535"),
        (["--port", "65536"], "--port: '65536' is not a port"),
        (["--port", "-1"], "--port: '-1' is not a port"),
        (["--tls-port", "٣"], "--tls-port: '٣' is not a port"),
        (["--control", ""], "--control: '' is not a port"),
        (["--no-tls", "--tls-port", "1"], "not allowed with argument"),
        (["--token", "a-b-c-d-e", "--token-file", "f"], "not allowed with argument"),
        (["--token", "short"], "--token: a token has at least 8 characters, not 5"),
        (["--token", "with a blank"], "--token: a token has only letters"),
        (["--token-file", "/nonexistent/file"], "--token-file: /nonexistent/file: No such file or directory"),
        (["--until-stdin-close"], "did you mean --until-stdin-closes?"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["double", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert error in told.err


def test_a_file_that_is_no_token(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in (b"\xff\xfe", b"", b"two words"):
        (tmp_path / "token").write_bytes(content)
        assert main(["double", "--token-file", str(tmp_path / "token")]) == 2
        assert capsys.readouterr().err.startswith("geventpop3: error: --token-file: ")


def test_tls_without_trustme(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "find_spec", lambda _name: None)
    assert main(["double"]) == 2
    assert "or give --no-tls" in capsys.readouterr().err


def test_a_personality_is_handed_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: dict[str, object] = {}

    def double(**options: object) -> None:
        seen.update(options)
        raise ValueError("no further")

    monkeypatch.setattr("geventpop3.testing.double.Double", double)
    assert main(["double", "--no-tls", "--host", "::1", "--personality", "dovecot"]) == 2
    assert seen == {"tls": "off", "host": "::1", "port": 0, "tls_port": 0, "personality": "dovecot"}
    assert "no further" in capsys.readouterr().err
