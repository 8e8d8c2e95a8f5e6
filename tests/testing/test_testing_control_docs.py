"""Every example of docs/double-http.md, in order, against one double; and what the page says of limits and options."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import required

from geventpop3.testing import Double
from geventpop3.testing.double.control import Control
from geventpop3.testing.double.control import server as control_server
from geventpop3.testing.double.control.core import MIN_TOKEN, ROUTES
from geventpop3.testing.double.control.exchange import MAX_BODY, HttpRequest

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs" / "double-http.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(http|pop3)\n(.+?)^```", TEXT, re.DOTALL | re.MULTILINE)
TOKEN = "a-token-of-the-docs"
SECONDS = 60


@pytest.fixture(scope="module")
def double() -> Iterator[Double]:
    double = Double().start()
    yield double
    double.stop()


@pytest.fixture(scope="module")
def control(double: Double) -> Control:
    return Control(double, TOKEN, ["localhost"], 80, lambda: None)


def matches(shown: object, value: object) -> bool:
    """Whether *value* is what the page shows; ``...`` in a text is anything, and alone any value."""
    if shown == "...":
        return True
    if isinstance(shown, dict) and isinstance(value, dict):
        return shown.keys() == value.keys() and all(matches(shown[key], value[key]) for key in shown)
    if isinstance(shown, list) and isinstance(value, list):
        return len(shown) == len(value) and all(map(matches, shown, value))
    if isinstance(shown, str) and isinstance(value, str):
        return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), value, re.DOTALL) is not None
    return type(shown) is type(value) and shown == value


def call(control: Control, example: str) -> None:
    asked, status, shown = re.split(r"\nHTTP (\d+)\n", example)
    head, _, body = asked.partition("\n\n")
    line, *fields = head.strip().splitlines()
    method, target = line.split()
    headers = [("Host", "localhost"), ("Authorization", f"Bearer {TOKEN}"), *(each.split(": ", 1) for each in fields)]
    response = control.respond(HttpRequest(method, target, headers, body.encode))
    text = response.body.decode()
    assert response.status == int(status), (line, text)
    expected: object = json.loads(shown) if response.content_type == "application/json" else shown
    answered = json.loads(text) if response.content_type == "application/json" else text
    assert matches(expected, answered), (line, answered)


def poll(double: Double, dialogue: str) -> None:
    """Say each line, and read what is answered, to the end of the reply."""
    lines = dialogue.splitlines()
    assert lines.pop() == "S: <closed>"
    with socket.create_connection((double.host, double.port), timeout=SECONDS) as sock, sock.makefile("rwb") as file:
        file.readline()
        for line in lines:
            file.write(line.removeprefix("C: ").encode() + b"\r\n")
            file.flush()
            reply = file.readline()
            if line.startswith("C: RETR") and reply.endswith(b"\r\n"):
                while file.readline() not in (b".\r\n", b""):
                    continue
        assert file.read() == b""


def test_examples(double: Double, control: Control) -> None:
    polls = 0
    for kind, example in BLOCKS:
        if kind == "http":
            call(control, example)
        else:
            polls += 1
            poll(double, example)
            double.wait_for(sessions=polls, timeout=SECONDS)


def test_every_route_has_an_example() -> None:
    shown = {tuple(example.split("\n", 1)[0].partition("?")[0].split()) for kind, example in BLOCKS if kind == "http"}
    for route in ROUTES:
        pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", route.path))
        assert any(method == route.method and pattern.fullmatch(path) for method, path in shown), route


@pytest.mark.parametrize(
    ("shown", "value", "is_match"),
    [
        ("...", 3, True),
        ({"a": "b..."}, {"a": "bc"}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([1], [1, 2], False),
        ("a", "ab", False),
        (True, 1, False),
    ],
)
def test_a_wrong_answer_is_noticed(shown: object, value: object, is_match: bool) -> None:
    assert matches(shown, value) is is_match


def test_limits_are_those_of_the_page() -> None:
    page = " ".join(TEXT.split())
    assert f"A body has at most {MAX_BODY // 2**20} MiB" in page
    assert f"the head at most {control_server.MAX_HEAD // 1024} KiB" in page
    assert f"a request has {control_server.SECONDS:g} seconds" in page
    assert f"{control_server.MAX_REQUESTS} requests are served at a time" in page
    assert f"at least {MIN_TOKEN} characters" in page


def test_options_are_those_of_the_page() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "geventpop3", "double", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    options = set(re.findall(r"--[a-z-]+", told.stdout.partition("examples:")[0])) - {"--help"}
    table = "\n".join(line for line in TEXT.splitlines() if line.startswith("| `--"))
    assert set(re.findall(r"--[a-z-]+", table)) == options


@pytest.mark.client
def test_the_shell_of_the_page(tmp_path: Path) -> None:
    required.program("curl")
    (script,) = re.findall(r"^```sh\n(.+?)^```", TEXT, re.DOTALL | re.MULTILINE)
    command = f'DIR={tmp_path}\ngeventpop3() {{ exec {sys.executable} -m geventpop3 "$@"; }}\n{script}'
    told = subprocess.run(
        ["sh", "-e", "-u", "-c", command], capture_output=True, text=True, cwd=ROOT, timeout=SECONDS, check=False
    )
    assert told.returncode == 0, told.stderr
    assert "Subject: one" in told.stdout
    assert "C: RETR 1" in told.stdout
    assert '"ok": true' in told.stdout.rpartition("failures")[0]
