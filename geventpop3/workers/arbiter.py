"""gunicorn's arbiter with three changes: leaving workers do not count, a worker leaves only after its successor serves,
and early exits of workers delay new ones.

POP3 sessions may last for minutes, and gunicorn counts a worker that only waits for its last session as serving. So the
workers are counted here, and one is asked to leave only when enough others have given a sign of life.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from gunicorn import arbiter, sock, systemd
from gunicorn.errors import HaltServer

from geventpop3.errors import ConfigError
from geventpop3.server.addresses import format_address
from geventpop3.workers.backoff import Backoff

STOP_SECONDS = 2.0
"""Seconds that sessions have to end by themselves when the service ends. Together with the time for running replies
they are less than the ten seconds after which container engines kill."""

_STOP_POLL_SECONDS = 0.05


def inherits() -> bool:
    """Return whether this process inherited listening sockets, from systemd or the process it replaces (SIGUSR2)."""
    return "GUNICORN_FD" in os.environ or os.environ.get("LISTEN_PID") == str(os.getpid())


class Arbiter(arbiter.Arbiter):  # type: ignore[misc]  # gunicorn is untyped
    """An arbiter that keeps the number of workers, replaces them at SIGHUP, and gives up only if none serves.

    *descriptors* are its listening sockets; without them it must have inherited some.
    """

    def __init__(self, app: Any, descriptors: Sequence[int]) -> None:
        super().__init__(app)
        # The original command, also with `python -m`: sys.argv would begin with a file of the package.
        self.START_CTX["args"] = [sys.executable, *sys.orig_argv[1:]]
        self._descriptors = descriptors
        self._leaving: set[int] = set()
        self._outdated = 0
        self._ending = False
        self._began: dict[int, float] = {}
        self._backoff = Backoff()

    def start(self) -> None:
        descriptors = self._descriptors or _inherited()
        self.LISTENERS = [_Listener(one) for one in sock.create_sockets(self.cfg, self.log, descriptors)]
        super().start()
        # Also true in a parent that replaced another (SIGUSR2): no process may remove systemd's sockets.
        self.systemd = "LISTEN_FDS" in self.cfg.env_orig

    def stop(self, graceful: bool = True) -> None:
        """Stop the workers; sessions have ``STOP_SECONDS`` seconds to end, or the full time if a new parent serves."""
        self._ending = True
        if graceful and self.reexec_pid == self.master_pid == 0:
            sock.close_sockets(self.LISTENERS, not self.systemd)
            self.LISTENERS = []
            self.kill_workers(signal.SIGTERM)
            until = time.monotonic() + min(STOP_SECONDS, self.cfg.graceful_timeout)
            while self.WORKERS and time.monotonic() < until:
                self.reap_workers()
                time.sleep(_STOP_POLL_SECONDS)
            graceful = False
        super().stop(graceful)

    def reexec(self) -> None:
        """Start a new parent; it inherits the sockets at their present descriptors, not at those of systemd."""
        from_systemd, self.systemd = self.systemd, False
        super().reexec()
        self.systemd = from_systemd

    def handle_hup(self) -> None:
        """Replace the workers, with the new configuration; if it has an error, log that and change nothing."""
        try:
            self.app.reload()
        except ConfigError as error:
            self.log.error("the configuration was not reloaded, the old one stays in force: %s", error)
            return
        self.log.reopen_files()
        self._outdated = self.worker_age
        self._backoff = Backoff()  # the new configuration may have removed the cause
        self.manage_workers()

    def manage_workers(self) -> None:
        """Start missing up-to-date workers; then ask the oldest surplus workers to leave."""
        now = time.monotonic()
        self._delay_after_early_exits(now)
        self._leaving &= self.WORKERS.keys()
        current = [worker for pid, worker in self.WORKERS.items() if self._stays(pid) and worker.age > self._outdated]
        if not self._backoff.is_needed(now):
            for _ in range(self.num_workers - len(current)):
                self.spawn_worker()
        serving = [pid for pid, worker in self.WORKERS.items() if self._stays(pid) and _serves(worker)]
        serving.sort(key=lambda pid: self.WORKERS[pid].age)
        for pid in serving[: max(0, len(serving) - self.num_workers)]:
            self._leaving.add(pid)
            self.kill_worker(pid, signal.SIGTERM)

    def spawn_worker(self) -> Any:
        pid = super().spawn_worker()
        self._began[pid] = time.monotonic()
        return pid

    def reap_workers(self) -> None:
        """Reap exited workers; a boot failure stops the arbiter only if no worker serves."""
        while True:
            try:
                super().reap_workers()
            except HaltServer as halt:
                if self._ending:
                    continue  # the arbiter is stopping anyway
                if not any(map(_serves, self.WORKERS.values())):
                    raise
                self.log.error("%s The other workers continue; a new worker is started.", halt.reason)
            else:
                return

    def _delay_after_early_exits(self, now: float) -> None:
        """Delay new workers after early exits of workers that were not asked to leave."""
        for pid in self._began.keys() - self.WORKERS.keys():
            began = self._began.pop(pid)
            seconds = 0.0 if pid in self._leaving else self._backoff.record_exit(now - began, now, self.num_workers)
            if seconds:
                self.log.warning("workers exit soon after their start; the next one starts in %g seconds", seconds)

    def _stays(self, pid: int) -> bool:
        return pid not in self._leaving


class _Listener:
    """A listening socket of gunicorn whose text is its address, not an HTTP URL."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def __str__(self) -> str:
        return format_address(self._made.getsockname())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)


def _inherited() -> Iterable[int]:
    """Return the descriptors from systemd, or from the parent that this one replaces. Raises ConfigError."""
    if count := systemd.listen_fds():
        return range(systemd.SD_LISTEN_FDS_START, systemd.SD_LISTEN_FDS_START + count)
    numbers = os.environ.pop("GUNICORN_FD", "")
    if not numbers:
        raise ConfigError("no listening socket was given: give the sockets that bind() returns")
    return [int(number) for number in numbers.split(",")]


def _serves(worker: Any) -> bool:
    """Return whether the worker has given a sign of life.

    gunicorn makes its file with a time of the wall clock; each sign of life sets it to the monotonic clock.
    """
    stamp: float = worker.tmp.last_update()
    return stamp <= time.monotonic()
