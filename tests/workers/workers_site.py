"""A parent process with its workers, started and ended by a test, and a client that asks who answers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from authority import NAME

SECONDS = 120.0
"""How long anything that must come is waited for."""

MESSAGE = b"From: a@example.org\nSubject: hello\n\n.dot\nbye\n"

_HERE = Path(__file__).parent
_LISTENING = re.compile(r"listening on 127\.0\.0\.1:([0-9]+)\n")

T = TypeVar("T")


def until(look: Callable[[], T], what: str) -> T:
    """What *look* returns as soon as that is true."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.005)
    raise AssertionError(f"waited in vain for {what}")


class Pop:
    """A connection in plain octets; raises OSError and EOFError as it does."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")

    def __enter__(self) -> Pop:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def line(self) -> str:
        line = self._file.readline()
        if not line:
            raise EOFError
        return line.decode().rstrip()

    def say(self, command: str) -> str:
        """The status line that answers it."""
        self.sock.sendall(command.encode() + b"\r\n")
        return self.line()

    def body(self) -> list[str]:
        """The lines of a multi-line response that follow."""
        return list(iter(self.line, "."))

    def who(self) -> tuple[int, str]:
        """The process that answers, and what was configured when it began."""
        pid, generation = self.say("XWHO").removeprefix("+OK ").split()
        return int(pid), generation

    def login(self, name: str) -> str:
        self.say(f"USER {name}")
        return self.say("PASS sesame")

    def close(self) -> None:
        self._file.close()
        self.sock.close()


class Site:
    """A folder with maildrops, and the parent process that serves them."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.log = folder / "log"
        self.log.touch()
        (folder / "events").touch()
        self.environment: dict[str, str] = {"WORKERS_ROOT": str(folder), "PYTHONPATH": str(_HERE)}
        self.names = ["alice", "bob"]
        for name in self.names:
            for part in ("tmp", "new", "cur"):
                (folder / name / part).mkdir(parents=True)
            (folder / name / "new" / "1.M1P1.host").write_bytes(MESSAGE)
        (folder / "passwords").write_text("".join(f"{name}:{{PLAIN}}sesame\n" for name in self.names))
        self.configure("first")
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def configure(self, generation: str) -> None:
        (self.root / "generation").write_text(generation)

    def command(self, kind: str, workers: int = 2, **options: Any) -> list[str]:
        """``gunicorn -k``, or the program on ``serve``; options as the latter has them."""
        if kind == "gunicorn":
            flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items() if name != "app"]
            named = options.get("app", "workers_app:pop3d")
            return [sys.executable, "-m", "gunicorn", "-k", "geventpop3.workers.Worker", f"--workers={workers}",
                    "--no-control-socket", "--bind=127.0.0.1:0", *flags, named]  # fmt: skip
        setup = {"listen": ["127.0.0.1:0"], "workers": workers, **options}
        return [sys.executable, str(_HERE / "workers_program.py"), json.dumps(setup)]

    def start(self, command: Sequence[str], sockets: Sequence[socket.socket] = ()) -> None:
        """Run it; returns when as many workers serve as are to. *sockets* are passed as systemd does."""
        self.run(command, sockets)
        found = until(lambda: self._ended() or _LISTENING.search(self.written()), "a worker that listens")
        assert isinstance(found, re.Match), self.written()
        self.port = int(found[1])

    def run(self, command: Sequence[str], sockets: Sequence[socket.socket] = ()) -> subprocess.Popen[bytes]:
        """Start it, and wait for nothing."""
        environment = {**os.environ, **self.environment}
        if sockets:
            # As systemd: from descriptor 3 on, for the process that is named.
            script = (
                "import os, sys\n"
                "own = list(map(int, sys.argv[1].split(',')))\n"
                "moved = [os.dup2(fd, 100 + at) for at, fd in enumerate(own)]\n"
                "[os.dup2(fd, 3 + at, inheritable=True) for at, fd in enumerate(moved)]\n"
                "os.closerange(100, 120)\n"
                "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(own)))\n"
                "os.execv(sys.argv[2], sys.argv[2:])\n"
            )
            numbers = ",".join(str(sock.fileno()) for sock in sockets)
            command = [sys.executable, "-c", script, numbers, *command]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self.root,
                pass_fds=[sock.fileno() for sock in sockets],
                start_new_session=True,
            )
        return self.process

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def written(self) -> str:
        """The log so far."""
        return self.log.read_text()

    def workers(self, parent: int | None = None) -> set[int]:
        """The processes that *parent* has, dead ones that are not buried yet left out."""
        wanted = self.pid if parent is None else parent
        return {pid for pid, ppid, state in _processes() if ppid == wanted and state != "Z"}

    def serving(self) -> set[int]:
        """The workers that have said that they listen and not yet that they stopped."""
        return self.told("registered") - self.told("unregistered")

    def told(self, event: str) -> set[int]:
        """The processes that have told of this event."""
        # Without a line of which only a part is written yet.
        lines = [line.split() for line in (self.root / "events").read_text().split("\n")[:-1]]
        return {int(pid) for name, pid in lines if name == event}

    def settled(self, count: int) -> set[int]:
        """Wait until *count* workers serve and there are no others; their numbers."""
        return until(
            lambda: (found := self.workers()) and len(found) == count and found <= self.serving() and found,
            f"{count} workers",
        )

    def has_said_listening(self, pids: set[int]) -> bool:
        """Whether the log says so of each of these processes."""
        written = self.written()
        return all(re.search(rf"\[{pid}\].* listening on ", written) for pid in pids)

    def listening(self, count: int) -> set[int]:
        """As ``settled``, of a server that writes no events."""
        return until(
            lambda: (found := self.workers()) and len(found) == count and self.has_said_listening(found) and found,
            f"{count} workers",
        )

    def send(self, number: signal.Signals, pid: int | None = None) -> None:
        os.kill(self.pid if pid is None else pid, number)

    def dial(self) -> Pop:
        """A client that was greeted."""
        pop = Pop(socket.create_connection(("127.0.0.1", self.port), SECONDS))
        assert pop.line().startswith("+OK"), "no greeting"
        return pop

    def dial_tls(self, port: int, context: ssl.SSLContext) -> Pop:
        """The same with TLS from the start."""
        sock = socket.create_connection(("127.0.0.1", port), SECONDS)
        pop = Pop(context.wrap_socket(sock, server_hostname=NAME))
        assert pop.line().startswith("+OK"), "no greeting"
        return pop

    def dial_worker(self, pid: int) -> Pop:
        """A client of this worker: the others are held until it has accepted."""
        with held(self.workers() - {pid}):
            pop = self.dial()
            assert pop.who()[0] == pid
        return pop

    def dial_held(self, pid: int) -> Pop:
        """The same of a server that does not tell who answers."""
        with held(self.workers() - {pid}):
            return self.dial()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The exit status after a signal; nothing of it is left then."""
        assert self.process is not None
        self.send(number)
        status = self.process.wait(SECONDS)
        until(lambda: not self._group(), "the end of all workers")
        return status

    def end_parent(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The same, whoever it may have passed its sockets to."""
        assert self.process is not None
        self.send(number)
        return self.process.wait(SECONDS)

    def kill(self) -> None:
        """Whatever is left: by asking, and at once if that takes long."""
        if self.process is not None:
            if not self._ended():
                self.send(signal.SIGQUIT)
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(5)
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(SECONDS)
            until(lambda: not self._group(), "the end of all workers")

    def _group(self) -> list[int]:
        return [pid for pid, _, state in _processes() if state != "Z" and _group_of(pid) == self.pid]


@contextmanager
def held(pids: set[int]) -> Iterator[None]:
    """These processes stand still meanwhile."""
    try:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
            until(lambda pid=pid: any(one == pid and state == "T" for one, _, state in _processes()), "a stop")
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _processes() -> Iterator[tuple[int, int, str]]:
    """Number, parent's number and state of each."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                yield int(folder.name), int(parent), state


def _group_of(pid: int) -> int | None:
    with suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None
