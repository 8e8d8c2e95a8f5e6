"""Ways to put messages into the maildrop: a command, or files in a Maildir."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from geventpop3.testing.conformance.outcome import CannotRun, Skipped

USER_VARIABLE = "POP3_USER"
"""Environment variable in which a delivery command finds the user's name."""

COMMAND_SECONDS = 60.0


class Delivery(Protocol):
    """A way to put messages into the maildrop of the user."""

    exact: bool
    """True if the store holds exactly the octets that were delivered, without added header fields or lines."""

    def deliver(self, content: bytes) -> None:
        """Deliver a message, whose lines end with LF. Raises Skipped if the store cannot hold it, else CannotRun."""

    def take_back(self) -> None:
        """Remove the last message, if possible: it did not arrive in the maildrop."""

    def empty(self) -> bool:
        """Remove the messages that DELE and QUIT did not remove; return False if that is not possible."""


class CommandDelivery:
    """A shell command that reads the message from standard input, and the user's name from ``POP3_USER``."""

    exact = False

    def __init__(self, command: str, user: str) -> None:
        self._command = command
        self._user = user

    def deliver(self, content: bytes) -> None:
        """Run the command. Raises Skipped at the status EX_DATAERR of sysexits.h, CannotRun if it fails otherwise."""
        environment = {**os.environ, USER_VARIABLE: self._user}
        try:
            done = subprocess.run(  # noqa: S602  # it is the operator's own command line
                self._command,
                shell=True,
                input=content,
                capture_output=True,
                env=environment,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CannotRun(f"the delivery command did not end within {COMMAND_SECONDS:g} s") from None
        if done.returncode == os.EX_DATAERR:
            raise Skipped("the delivery command refused this message")
        if done.returncode:
            said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
            raise CannotRun(f"the delivery command ended with status {done.returncode}: {said or 'it printed nothing'}")

    def take_back(self) -> None:
        """Leave it where the command put it."""

    def empty(self) -> bool:
        """Leave it to the server."""
        return False


class MaildirDelivery:
    """Files in ``new/`` of a Maildir, owned as the folder is."""

    exact = True

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._serials = itertools.count(1)
        self._last: Path | None = None
        missing = [part for part in ("tmp", "new", "cur") if not (self._folder / part).is_dir()]
        if missing:
            raise CannotRun(f"{self._folder} is not a Maildir: it has no folder {missing[0]}")

    def deliver(self, content: bytes) -> None:
        """Write a file. Raises CannotRun if that fails."""
        now = time.time_ns()
        serial = next(self._serials)
        host = socket.gethostname().replace("/", "_").replace(":", "_")
        name = f"{now // 10**9}.M{now // 1000 % 10**6:06d}P{os.getpid()}Q{serial:06d}.{host}"
        try:
            owner = self._folder.stat()
            path = self._folder / "tmp" / name
            path.write_bytes(content)
            path.chmod(0o600)
            with suppress(PermissionError):
                os.chown(path, owner.st_uid, owner.st_gid)
            self._last = path.rename(self._folder / "new" / name)
        except OSError as error:
            raise CannotRun(f"{error.filename}: {error.strerror}") from None

    def take_back(self) -> None:
        """Remove the file of the last message."""
        if self._last is not None:
            self._last.unlink(missing_ok=True)

    def empty(self) -> bool:
        """Remove the files of all messages. Raises CannotRun if that fails."""
        try:
            for part in ("new", "cur"):
                for path in (self._folder / part).iterdir():
                    if path.is_file():
                        path.unlink(missing_ok=True)
        except OSError as error:
            raise CannotRun(f"{error.filename}: {error.strerror}") from None
        return True
