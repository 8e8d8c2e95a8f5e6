"""``serve`` for programs without a gunicorn configuration: bind, fork, build a server in each process, reload.

The process that forks makes no hub, so that workers inherit none. All workers accept from the sockets that it binds or
inherits, from systemd or the process it replaces.
"""

from __future__ import annotations

import grp
import logging
import os
import pwd
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn, TypeVar

import gevent
from gevent import monkey
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.pidfile import Pidfile

from geventpop3.errors import ConfigError
from geventpop3.server import acceptor
from geventpop3.server.addresses import parse_address
from geventpop3.server.server import POP3Server
from geventpop3.workers.arbiter import Arbiter
from geventpop3.workers.worker import Worker

_HEARTBEAT_DIRECTORY = "/dev/shm"  # noqa: S108  # gunicorn creates its file there safely and unlinks it at once

_THREAD_SECONDS = 5.0
_THREAD_POLL_SECONDS = 0.0005
"""Most seconds that the end of a native thread is waited for, and those between two looks."""

T = TypeVar("T")

Build = Callable[[], POP3Server]
"""A function that makes the server of one worker, called in that worker after the change of user."""


class _Log(Logger):  # type: ignore[misc]  # gunicorn is untyped
    """A logger that sends gunicorn's lines to our loggers, at the level set there."""

    def setup(self, cfg: Any) -> None:
        self.error_log = logging.getLogger("geventpop3.workers")
        super().setup(cfg)
        self.error_log.setLevel(logging.NOTSET)


class _Application(BaseApplication):  # type: ignore[misc]  # gunicorn is untyped
    """The application from which gunicorn's arbiter gets its configuration and the server."""

    def __init__(self, settings: dict[str, Any], build: Build, renew: Callable[[], Build]) -> None:
        self._settings = settings
        self._build = build
        self._renew = renew
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            self.cfg.set(name, value)

    def load(self) -> POP3Server:
        return self._build()

    def reload(self) -> None:
        self._build = self._renew()


def in_native_thread(function: Callable[[], T]) -> T:
    """Call *function* in a native thread and return its result or raise its error.

    A hub that it makes is destroyed, so that a forked worker inherits none. The thread has ended, also for the system.
    """
    if monkey.is_module_patched("threading"):
        raise RuntimeError("the process is monkey-patched: workers cannot be forked from it, so do not patch it")
    outcome: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001  # raised again in the thread that waits
            failed.append(error)
        finally:
            # This also ends the hub's greenlets, and the threads that looked up names.
            gevent.get_hub().destroy(destroy_loop=True)

    before = _native_threads()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    _wait_for_the_end_of_others(before)
    if failed:
        raise failed[0]
    return outcome[0]


def _native_threads() -> set[str]:
    """Return the system's numbers of this process's threads; none where there is no /proc."""
    try:
        return set(os.listdir("/proc/self/task"))
    except FileNotFoundError:
        return set()


def _wait_for_the_end_of_others(before: set[str]) -> None:
    """Wait until all native threads have ended that are not among *before*, or for ``_THREAD_SECONDS``.

    ``Thread.join`` returns a moment earlier up to Python 3.12. In that moment greenlet holds a lock, and a process
    that is forked then would wait for the lock for ever when it exits.
    """
    until = time.monotonic() + _THREAD_SECONDS
    while not _native_threads() <= before and time.monotonic() < until:
        time.sleep(_THREAD_POLL_SECONDS)


def bind(addresses: Iterable[str]) -> list[int]:
    """Return descriptors of sockets that listen at *addresses*, texts as ``POP3Server`` takes them.

    Raises ConfigError, and OSError with the address as its filename; then no socket is left open.
    """

    def work() -> list[int]:
        bound: list[int] = []
        try:
            for text in addresses:
                bound.append(acceptor.listening_socket(parse_address(text)).detach())  # noqa: PERF401  # closed if another fails
        except BaseException:
            for descriptor in bound:
                os.close(descriptor)
            raise
        return bound

    return in_native_thread(work)


def serve(
    build: Build,
    descriptors: Sequence[int],
    *,
    workers: int,
    reload: Callable[[], Build] | None = None,
    user: str | None = None,
    group: str | None = None,
    pid_file: str | None = None,
    graceful_timeout: int = 30,
    timeout: int = 30,
) -> NoReturn:
    """Serve in *workers* processes until a signal, then exit. Raises ConfigError.

    *descriptors* are listening sockets (``bind``), none if this process ``inherits`` them. *build* is called in each
    worker. *reload* is called in this process at SIGHUP and returns the *build* of the next workers; it raises
    ConfigError to keep the present one. Workers become *user* and *group* (default: that user's) before they build. A
    worker that leaves gives its sessions *graceful_timeout* seconds. One without a sign of life for *timeout* seconds
    is killed.
    """
    accounts = identity(user, group)
    _check_rights(accounts)
    settings: dict[str, Any] = {
        "worker_class": Worker,
        "workers": workers,
        "timeout": timeout,
        "graceful_timeout": graceful_timeout,
        "pidfile": pid_file,
        "proc_name": "geventpop3",
        "logger_class": _Log,
        "errorlog": None,
        "control_socket_disable": True,
        # In memory, so that a sign of life does not wait for a disk.
        "worker_tmp_dir": _HEARTBEAT_DIRECTORY if os.path.isdir(_HEARTBEAT_DIRECTORY) else None,
        **accounts,
    }
    if pid_file is not None and "GUNICORN_PID" not in os.environ:  # a replacing process (SIGUSR2) writes a second file
        _check_pid_file(pid_file)
    arbiter = Arbiter(_Application(settings, build, reload or (lambda: build)), descriptors)
    try:
        raise SystemExit(arbiter.run())
    except RuntimeError as error:  # of the pid file
        raise ConfigError(str(error)) from None


def identity(user: str | None, group: str | None) -> dict[str, Any]:
    """Return gunicorn's settings for the user and group of workers. Raises ConfigError for an unknown account."""
    found: dict[str, Any] = {}
    if user is not None:
        try:
            account = pwd.getpwnam(user)
        except KeyError:
            raise ConfigError(f"the user {user!r} does not exist on this machine") from None
        found = {"user": account.pw_uid, "group": account.pw_gid, "initgroups": True}
    if group is not None:
        try:
            found["group"] = grp.getgrnam(group).gr_gid
        except KeyError:
            raise ConfigError(f"the group {group!r} does not exist on this machine") from None
    return found


def _check_rights(wanted: dict[str, Any]) -> None:
    own = {"user": os.geteuid(), "group": os.getegid()}
    if os.geteuid() != 0 and any(wanted.get(name, number) != number for name, number in own.items()):
        raise ConfigError(
            "only root can start workers of another user or group: start as root, or do not set user and group"
        )


def _check_pid_file(path: str) -> None:
    """Check the pid file as gunicorn does, but before it logs anything. Raises ConfigError that names the file."""
    try:
        pid = Pidfile(path).validate()
    except OSError as error:
        raise ConfigError(f"pid file {path}: {error.strerror}") from None
    if pid and pid != os.getpid():
        raise ConfigError(f"pid file {path}: in use by process {pid}: stop that process, or name another file")
    folder = os.path.dirname(os.path.abspath(path))
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"pid file {path}: no file can be created in {folder}")
