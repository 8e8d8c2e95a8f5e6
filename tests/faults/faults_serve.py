"""A server in a process of its own, that a test may starve, stop and kill; ended by its number, whatever happens."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from faults_pop import SECONDS, Pop

PROGRAM = Path(__file__).with_name("faults_program.py")
PASSWORD = b"sesame opens"


class Server:
    """``faults_program.py`` serving the Maildirs below *root*; listening once this returns.

    *limits* are keywords of POP3Server; *nofile* is the soft limit of descriptors; *uid* is whose process it becomes.
    """

    def __init__(
        self,
        root: Path,
        log: Path,
        *,
        limits: dict[str, Any] | None = None,
        nofile: int | None = None,
        uid: int | None = None,
        trace: bool = False,
        without_journal: bool = False,
    ) -> None:
        self.log = log
        setup = {
            "maildir": f"{root}/{{user}}",
            "passwords": f"{root}/passwords",
            "limits": limits or {},
            "uid": uid,
            "trace": trace,
            "without_journal": without_journal,
        }
        command = [sys.executable, "-W", "error", str(PROGRAM), json.dumps(setup)]
        if nofile is not None:
            command = ["prlimit", f"--nofile={nofile}:", *command]
        with log.open("ab") as errors:
            # In a session of its own, so that nothing meant for the tests (Ctrl-C) reaches it.
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        try:
            self.port = self._port()
        except BaseException:
            self.kill()
            raise

    def _port(self) -> int:
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        line = self.process.stdout.readline() if ready else b""
        assert line, f"the server did not start: {self.written()[-2000:]}"
        return int(line)

    @property
    def pid(self) -> int:
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, as a crash would have it; returns when nothing of the process is left."""
        self.process.kill()
        self._reap()

    def terminate(self, seconds: float = SECONDS) -> int:
        """SIGTERM; the exit status. Raises subprocess.TimeoutExpired if it does not end in time."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        finally:
            self.kill()

    def _reap(self) -> None:
        self.process.wait(SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def dial(self, source: str | None = None) -> Pop:
        """A client that has not read the greeting yet."""
        return Pop(self.port, source)

    def login(self, name: str, password: bytes = PASSWORD) -> Pop:
        """A client in the TRANSACTION state."""
        pop = self.dial()
        assert pop.line().startswith(b"+OK")
        reply = pop.login(name, password)
        assert reply.startswith(b"+OK"), reply
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
    """The messages in a Maildir, the oldest first."""
    files = sorted([*maildir.glob("new/*"), *maildir.glob("cur/*")], key=lambda path: path.name)
    return [path.read_bytes() for path in files]


def end(servers: Iterable[Server]) -> None:
    """Kills what is still running."""
    for server in servers:
        with suppress(ProcessLookupError):
            server.kill()
