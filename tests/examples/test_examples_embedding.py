"""The blocks of docs/embedding.md in real programs: ``flask run`` with its reloader and without, and gunicorn."""

from __future__ import annotations

import os
import poplib
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import required

required.module("flask")
required.module("gunicorn")
pytestmark = pytest.mark.slow

PAGE = Path(__file__).parent.parent.parent / "docs" / "embedding.md"
SECONDS = 60

FLASK = [sys.executable, "-m", "flask", "--app", "shop"]


def block(name: str) -> str:
    """The block of the page that is the file *name*."""
    found = re.findall(r"^```python\n(# (\S+), for: .+?)^```$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (text,) = [text for text, is_name in found if is_name == name]
    return str(text)


@pytest.fixture
def port() -> Iterator[int]:
    """A port that nobody else is given meanwhile: it is bound, and nothing listens."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


@pytest.fixture
def folder(tmp_path: Path, port: int) -> Path:
    """The files of the page, which take the test's port; the greeting tells the process, too."""
    for name in ("shop.py", "gunicorn.conf.py"):
        shown = block(name)
        assert shown.count("1110") == 1
        (tmp_path / name).write_text(shown.replace("1110", str(port)))
    say(tmp_path, "pop.example.org", "old")
    with (tmp_path / "shop.py").open("a") as file:
        file.write("\n\n@app.get('/')\ndef page():\n    return greeting\n")
    return tmp_path


def say(folder: Path, before: str, name: str) -> None:
    """Change what the application says."""
    file = folder / "shop.py"
    changed = file.read_text().replace(f'hostname="{before}"', "hostname=greeting")
    changed = re.sub(r"^greeting = .*\n|(?=^pop3d = )", "", changed, flags=re.MULTILINE)
    file.write_text(changed.replace("pop3d = ", f"greeting = f'{name}-{{__import__(\"os\").getpid()}}'\npop3d = ", 1))


class Program:
    """A program that runs, and its lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.written: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def wait_for(self, pattern: str) -> str:
        """The first group of *pattern*, in a line that comes."""
        while (line := self._lines.get(timeout=SECONDS)) is not None:
            self.written.append(line)
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError("".join(self.written))

    def end(self) -> str:
        """All that it has written; none of its processes is left."""
        os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self._reader.join()
        while (line := self._lines.get()) is not None:
            self.written.append(line)
        return "".join(self.written)


@contextmanager
def running(folder: Path, *command: str) -> Iterator[Program]:
    # Compiled code is taken for that of a file which changed within the same second and to the same length.
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        program = Program(process)
        try:
            yield program
        finally:
            written = program.end()
    assert "Traceback" not in written, written


def greeted(port: int) -> tuple[str, int]:
    """The application's greeting over POP3, and the process that sends it."""
    box = poplib.POP3("127.0.0.1", port, timeout=SECONDS)
    name, _, pid = box.getwelcome().decode().split()[1].rpartition("-")
    box.close()
    return name, int(pid)


def served(web: str) -> tuple[str, int]:
    """The same by HTTP."""
    with urllib.request.urlopen(web, timeout=SECONDS) as answer:
        name, _, pid = answer.read().decode().rpartition("-")
    return name, int(pid)


@pytest.mark.parametrize("options", [(), ("--debug", "--no-reload"), ("--no-debugger",)])
def test_flask_run_serves_both(folder, port, options):
    with running(folder, *FLASK, "run", "--port", "0", *options) as program:
        program.wait_for(rf"listening on 127.0.0.1:({port})")
        web = program.wait_for(r"Running on (http://\S+)")
        assert greeted(port) == served(web) == ("old", program.process.pid)


@pytest.mark.parametrize("options", [("--debug",), ("--reload",)])
def test_the_reloader_brings_new_code_and_the_port_is_always_the_childs(folder, port, options):
    with running(folder, *FLASK, "run", "--port", "0", *options) as program:
        web = program.wait_for(r"Running on (http://\S+)")
        program.wait_for(r"(Restarting with)")
        program.wait_for(rf"listening on 127.0.0.1:({port})")
        name, child = greeted(port)
        assert (name, child) == served(web)
        assert name == "old"
        assert child != program.process.pid
        idle = poplib.POP3("127.0.0.1", port, timeout=SECONDS)
        say(folder, "", "new")
        program.wait_for(rf"listening on 127.0.0.1:({port})")
        with pytest.raises(poplib.error_proto, match="shutting down"):
            idle.noop()
        idle.close()
        name, other = greeted(port)
        assert name == "new"
        assert other not in (child, program.process.pid)
        assert (name, other) == served(web)


def test_other_commands_take_no_port(folder, port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen()
        done = subprocess.run([*FLASK, "routes"], cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_a_port_that_is_taken_ends_flask_run_with_the_address(folder, port):
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen()
        command = [*FLASK, "run", "--port", "0"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode != 0
    assert f"Address already in use: '127.0.0.1:{port}'" in done.stderr


def test_gunicorn_serves_both_and_new_code_after_hup(folder, port):
    command = [sys.executable, "-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:0", "--no-control-socket"]
    with running(folder, *command, "shop:app") as program:
        web = program.wait_for(r"Listening at: (http://\S+)")
        old = {int(program.wait_for(rf"\[(\d+)\].* listening on 127.0.0.1:{port}")) for _ in range(2)}
        assert greeted(port)[0] == served(web)[0] == "old"
        assert greeted(port)[1] in old
        say(folder, "", "new")
        program.process.send_signal(signal.SIGHUP)
        ended: set[int] = set()
        while ended != old:
            ended.add(int(program.wait_for(r"Worker exiting \(pid: (\d+)\)")))
        assert greeted(port)[0] == served(web)[0] == "new"
