"""The measured servers: each is started on a free loopback port, and ended in every case.

Every peer is one child process (with what it forks) on one core, serving the same Maildirs and the same password file.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import dovecot

HERE = Path(__file__).parent
READY_WITHIN = 60.0  # seconds until the greeting; floor.py and ideal.c read 100,000 files first
HURRIED_AFTER = 1.0  # seconds from SIGTERM to a second one
STOPPED_WITHIN = 10.0  # seconds from the second SIGTERM to SIGKILL


class Place(NamedTuple):
    """The configuration that all peers share."""

    maildirs: Path  # a Maildir for each owner, named after the owner
    letters: str  # the mail sets in use; an owner's name begins with one
    passwords: Path  # name:{PLAIN}password
    scratch: Path  # short-lived, readable by everybody
    binaries: Path  # compiled programs
    mail_user: tuple[int, int]  # user and group that the Maildirs belong to


class Peer(NamedTuple):
    name: str
    command: Callable[[Place, int], list[str]]
    missing: Callable[[Place], str | None]  # reason why it cannot run here


class Running(NamedTuple):
    name: str
    port: int
    pid: int


class PeerFailed(Exception):
    """An error: a server did not start; the text is one line for the user."""


def _always(_place: Place) -> str | None:
    return None


def _geventpop3(place: Place, port: int) -> list[str]:
    # -P: the installed package, not one in the current directory.
    return [
        *(sys.executable, "-P", "-m", "geventpop3", "serve", "--listen", f"127.0.0.1:{port}"),
        *("--maildir", f"{place.maildirs}/{{user}}", "--passwords", str(place.passwords)),
    ]


def ours(*options: str) -> Peer:
    """Return geventpop3 as a peer, with further *options*."""
    return Peer(OURS, lambda place, port: [*_geventpop3(place, port), *options], _always)


def _floor(place: Place, port: int) -> list[str]:
    return [sys.executable, str(HERE / "floor.py"), str(port), str(place.maildirs), place.letters]


def _ideal(place: Place, port: int) -> list[str]:
    return [str(place.binaries / "ideal"), str(port), str(place.maildirs), place.letters]


def _dovecot(mode: str) -> Callable[[Place, int], list[str]]:
    def command(place: Place, port: int) -> list[str]:
        config = dovecot.configure(mode, port, place.scratch / mode, place.maildirs, place.passwords, place.mail_user)
        return ["dovecot", "-F", "-c", str(config)]

    return command


def _dovecot_missing(place: Place) -> str | None:
    return dovecot.missing(place.maildirs)


OURS = "geventpop3"
RIVAL = "dovecot-hp"
FLOOR = "gevent-floor"
PEERS = (
    Peer(OURS, _geventpop3, _always),
    Peer(RIVAL, _dovecot("high-performance"), _dovecot_missing),
    Peer("dovecot-default", _dovecot("high-security"), _dovecot_missing),
    Peer(FLOOR, _floor, _always),
    Peer("ideal", _ideal, _always),
)


def mail_user() -> tuple[int, int]:
    """Return the owner of the Maildirs: for root Debian's user "mail", because Dovecot serves no mail as root."""
    if os.geteuid() != 0:
        return os.getuid(), os.getgid()
    entry = pwd.getpwnam("mail")
    return entry.pw_uid, entry.pw_gid


@contextmanager
def on_cores(cores: set[int] | None) -> Iterator[None]:
    """Let processes that are started inside inherit *cores* (None: no pinning)."""
    before = os.sched_getaffinity(0)
    if cores:
        os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def running(peer: Peer, place: Place, cores: set[int] | None) -> Iterator[Running]:
    """Start *peer* on a free port and wait for its greeting. Raises PeerFailed with its last line if it fails."""
    port = free_port()
    log = place.scratch / f"{peer.name}.log"
    with log.open("wb") as output, on_cores(cores):
        # A session of its own: only this process receives Ctrl-C, and ends the servers as below.
        process = subprocess.Popen(
            peer.command(place, port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=place.scratch,
        )
    try:
        _wait_for_greeting(peer.name, process, port, log)
        yield Running(peer.name, port, process.pid)
    finally:
        with undisturbed():
            end(process)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _wait_for_greeting(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as probe:
                if probe.recv(512).startswith(b"+OK"):
                    return
        except OSError:
            pass  # not listening yet
        time.sleep(0.05)
    written = log.read_text(errors="replace").strip().splitlines()
    raise PeerFailed(f"{name} did not start: {written[-1] if written else 'it wrote nothing'}")


@contextmanager
def undisturbed() -> Iterator[None]:
    """Delay SIGINT and SIGALRM, so that a second Ctrl-C leaves no server behind; stopping one takes seconds at most."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def end(process: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, later a second one; then kill the processes of the server that are left, each
    by its number."""
    family = descendants(process.pid)
    for seconds in (HURRIED_AFTER, STOPPED_WITHIN):
        process.terminate()
        try:
            process.wait(seconds)
            break
        except subprocess.TimeoutExpired:
            continue
    else:
        process.kill()
        process.wait()
    for pid, started in family:
        if _started(pid) == started:  # the same process, not a later one with the same id
            os.kill(pid, signal.SIGKILL)


def descendants(ancestor: int) -> list[tuple[int, str]]:
    """Yield (process id, start time) of all descendants of *ancestor*."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdecimal() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, unseen = [], [ancestor]
    while unseen:
        for pid in children.get(unseen.pop(), []):
            unseen.append(pid)
            found.append((pid, _started(pid)))
    return found


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on (proc(5)); none if the process does not exist."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _started(pid: int) -> str:
    fields = _stat(pid)
    return fields[19] if fields and fields[0] != "Z" else ""


def available(name: str) -> bool:
    return shutil.which(name) is not None
