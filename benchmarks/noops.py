"""The response time of NOOP in one session while another session does something: the hub's delay, seen from outside.

The measuring client has a higher priority on its core if the system allows it, so that its own waiting is not counted.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

PAUSE = 0.001  # seconds between two NOOPs
PATIENCE = 120.0  # maximum seconds of one reply


class Noops(NamedTuple):
    """The milliseconds from NOOP to its +OK, and the duration of the other's work in seconds."""

    p50: float
    p99: float
    longest: float
    seconds: float


class Session:
    """A client that has logged in and reads one reply at a time."""

    def __init__(self, port: int, owner: str, password: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        try:
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.hear(b"\r\n")
            self.say(f"USER {owner}")
            self.say(f"PASS {password}")
        except BaseException:
            self.sock.close()
            raise

    def say(self, command: str, end: bytes = b"\r\n") -> None:
        self.sock.sendall(command.encode() + b"\r\n")
        self.hear(end)

    def hear(self, end: bytes) -> None:
        """Read to *end* with one buffer, so that a large reply costs this side little."""
        buffer, kept, first = bytearray(1 << 18), b"", b""
        view = memoryview(buffer)
        while not kept.endswith(end):
            count = self.sock.recv_into(view)
            if not count:
                raise ConnectionError("the server closed")
            first = first or bytes(view[: min(count, 80)])
            kept = (kept + bytes(view[max(0, count - 8) : count]))[-8:]
        if not first.startswith(b"+OK"):
            raise ConnectionError(f"the server said {first!r}")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.sock.close()


@contextmanager
def first_on_its_core() -> Iterator[None]:
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def noops_beside(asking: Session, what: Callable[[], None]) -> Noops:
    """Send NOOPs while a thread runs *what*, which only waits for a server. Raises the thread's error."""
    failures: list[Exception] = []

    def work() -> None:
        with suppress(PermissionError):  # a thread inherits the priority of its creator
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        try:
            what()
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=work, daemon=True)
    times = []
    with first_on_its_core():
        started = time.monotonic()
        thread.start()
        while thread.is_alive() and time.monotonic() - started < PATIENCE:
            before = time.perf_counter()
            asking.say("NOOP")
            times.append((time.perf_counter() - before) * 1000)
            time.sleep(PAUSE)
        seconds = time.monotonic() - started
    if failures:
        raise failures[0]
    times.sort()
    return Noops(times[len(times) // 2], times[len(times) * 99 // 100], times[-1], seconds)
