"""A server in a process of its own, that a test may starve, stop and kill; ended by its number, whatever happens."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from faults_pop import SECONDS, Pop

PASSWORD = b"sesame opens"

_PROGRAM = Path(__file__).with_name("faults_program.py")
_LISTENING = re.compile(rb"listening on 127\.0\.0\.1:([0-9]+)\n")
_PYTHON = (sys.executable, "-W", "error")


def command_line(root: Path, *flags: str) -> list[str]:
    """``geventpop3 serve`` with the Maildirs and the password file below *root*."""
    served = ["--maildir", f"{root}/{{user}}", "--passwords", f"{root}/passwords"]
    return [*_PYTHON, "-m", "geventpop3", "serve", "--listen", "127.0.0.1:0", *served, *flags]


def program(root: Path, **setup: Any) -> list[str]:
    """``faults_program.py`` with the same, and with what the command line does not let one say.

    *limits*: keywords of POP3Server; *uid*: whose process it becomes; *without_journal*: true plants that fault.
    """
    given = {"root": str(root), "limits": {}, "uid": None, "without_journal": False, **setup}
    return [*_PYTHON, str(_PROGRAM), json.dumps(given)]


class Server:
    """A server that *command* starts and that logs to *log*; listening once this returns.

    *nofile*: how many descriptors it may have.
    """

    def __init__(self, command: Sequence[str], log: Path, *, nofile: int | None = None) -> None:
        if nofile is not None:
            command = ["prlimit", f"--nofile={nofile}", *command]
        self.log = log
        with log.open("ab") as output:
            self._log_begins = output.tell()
            # In a session of its own, so that nothing meant for the tests (Ctrl-C) reaches it.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            self.port = self._listens()
        except BaseException:
            self.kill()
            raise

    def _listens(self) -> int:
        end = time.monotonic() + SECONDS
        with self.log.open("rb") as logged:
            while time.monotonic() < end and self.process.poll() is None:
                logged.seek(self._log_begins)
                if found := _LISTENING.search(logged.read()):
                    return int(found[1])
                time.sleep(0.001)
        raise AssertionError(f"the server did not start: {self.written()[-2000:]}")

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, as a crash would have it; returns when nothing of the process is left."""
        self.process.kill()
        self.process.wait(SECONDS)

    def terminate(self, seconds: float = SECONDS) -> int:
        """SIGTERM; the exit status. Raises subprocess.TimeoutExpired if it does not end in time."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        finally:
            self.kill()

    def dial(self, source: str | None = None) -> Pop:
        """A client that has not read the greeting yet."""
        return Pop(self.port, source)

    def login(self, name: str, password: bytes = PASSWORD) -> Pop:
        """A client in the TRANSACTION state."""
        pop = self.dial()
        try:
            assert pop.line().startswith(b"+OK")
            reply = pop.login(name, password)
            assert reply.startswith(b"+OK"), reply
        except BaseException:
            pop.close()
            raise
        return pop

    def written(self) -> str:
        """What the server logged so far."""
        return self.log.read_text(errors="replace")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        """Octets of memory that are this process's own (PSS)."""
        for line in Path(f"/proc/{self.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no Pss in smaps_rollup")

    def processor_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def make_root(root: Path, names: Iterable[str]) -> None:
    """An empty Maildir below *root* and a line in the password file for each of *names*."""
    names = list(names)
    root.mkdir(exist_ok=True)
    for name in names:
        make_maildir(root / name)
    lines = [b"%s:{PLAIN}%s\n" % (name.encode(), PASSWORD) for name in names]
    (root / "passwords").write_bytes(b"".join(lines))


def make_maildir(path: Path, messages: Iterable[bytes] = ()) -> None:
    """A Maildir holding *messages*, the oldest first."""
    for part in ("new", "cur", "tmp"):
        (path / part).mkdir(parents=True, exist_ok=True)
    for number, octets in enumerate(messages, 1):
        (path / "cur" / f"{1_700_000_000 + number}.M{number}P1.example:2,S").write_bytes(octets)


def stored(maildir: Path) -> list[bytes]:
    """Return the messages in a Maildir, the oldest first; a server may move and remove files meanwhile."""
    deadline = time.monotonic() + SECONDS
    while True:
        # First new, then cur: a message that moves meanwhile is found twice, not missed, and its old name fails.
        found = [maildir / part / name for part in ("new", "cur") for name in os.listdir(maildir / part)]
        try:
            return [path.read_bytes() for path in sorted(found, key=lambda path: path.name)]
        except FileNotFoundError:
            assert time.monotonic() < deadline, "the Maildir never came to rest"


def until(condition: Callable[[], object]) -> None:
    """Waits for what another process brings about."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it never came about"
        time.sleep(0.002)


def end(servers: Iterable[Server]) -> None:
    """Kills what is still running."""
    for server in servers:
        with suppress(ProcessLookupError):
            server.kill()
