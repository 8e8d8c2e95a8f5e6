"""gunicorn's arbiter with two habits of its own: who is leaving does not count, and nobody leaves before a successor.

Sessions of POP3 may last for minutes, and gunicorn takes a worker that only waits for its last session for one that
serves. So counts are kept here, and a worker is told to leave only when enough others have given a sign of life.
"""

from __future__ import annotations

import signal
import sys
import time
from typing import Any

from gunicorn import arbiter
from gunicorn.errors import HaltServer

from geventpop3.errors import ConfigError

RETRY_SECONDS = 1.0
"""Until a worker is started again that could not begin to serve."""


class Arbiter(arbiter.Arbiter):  # type: ignore[misc]  # gunicorn is untyped
    """Keeps so many workers, starts new ones at SIGHUP, and gives up only when there is none that serves."""

    def __init__(self, app: Any) -> None:
        super().__init__(app)
        # As it was started, `python -m` included: sys.argv would begin with a file of the package.
        self.START_CTX["args"] = [sys.executable, *sys.orig_argv[1:]]
        self._leaving: set[int] = set()
        self._outdated = 0
        self._ending = False

    def start(self) -> None:
        super().start()
        # Also of the second parent and those after it: systemd's sockets are nobody's to remove.
        self.systemd = "LISTEN_FDS" in self.cfg.env_orig

    def stop(self, graceful: bool = True) -> None:
        self._ending = True
        super().stop(graceful)

    def reexec(self) -> None:
        """Make a new parent; it inherits the sockets where they are, which is no longer where systemd put them."""
        from_systemd, self.systemd = self.systemd, False
        super().reexec()
        self.systemd = from_systemd

    def handle_hup(self) -> None:
        """New workers with what is configured now; if that cannot work, nothing changes."""
        try:
            self.app.reload()
        except ConfigError as error:
            self.log.error("not reloaded, the old configuration stays in force: %s", error)
            return
        self.log.reopen_files()
        self._outdated = self.worker_age
        self.manage_workers()

    def manage_workers(self) -> None:
        """As many up-to-date workers as are wanted; then the oldest of those that are too many leave."""
        self._leaving &= self.WORKERS.keys()
        current = [worker for pid, worker in self.WORKERS.items() if self._stays(pid) and worker.age > self._outdated]
        for _ in range(self.num_workers - len(current)):
            self.spawn_worker()
        serving = [pid for pid, worker in self.WORKERS.items() if self._stays(pid) and _serves(worker)]
        serving.sort(key=lambda pid: self.WORKERS[pid].age)
        for pid in serving[: max(0, len(serving) - self.num_workers)]:
            self._leaving.add(pid)
            self.kill_worker(pid, signal.SIGTERM)

    def reap_workers(self) -> None:
        """Bury the dead; one that never came to serve ends everything only if no other serves."""
        while True:
            try:
                super().reap_workers()
            except HaltServer as halt:
                if self._ending:
                    continue  # it is over already, and in good order
                if not any(map(_serves, self.WORKERS.values())):
                    raise
                self.log.error("%s The others serve on; it is tried again.", halt.reason)
                time.sleep(RETRY_SECONDS)
            else:
                return

    def _stays(self, pid: int) -> bool:
        return pid not in self._leaving


def _serves(worker: Any) -> bool:
    """Whether it has given a sign of life: gunicorn stamps its file by the monotonic clock, at first by the other."""
    stamp: float = worker.tmp.last_update()
    return stamp <= time.monotonic()
