"""A home for a client that is its alone, and a Maildir of awkward messages with what serves it."""

from __future__ import annotations

import os
import poplib
import pty
import select
import subprocess
import time
from pathlib import Path

from geventpop3 import POP3Server
from geventpop3.auth.passwd import PasswordFile
from geventpop3.service import MaildropService
from geventpop3.stores.maildir import MaildirStore
from geventpop3.testing import Address
from geventpop3.testing.mail import AwkwardMessage, awkward_messages

SECONDS = 300
"""How long a client may take; it takes one or two, and more only if it hangs."""


class Home:
    """Folders for a client that fetches Alice's mail, and where it goes to fetch it."""

    user = "alice"
    password = "sesame"

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.fetched = folder / "fetched"
        self.address = Address("", 0)

    @property
    def host(self) -> str:
        """The address that clients connect to."""
        return self.address.host

    def environment(self) -> dict[str, str]:
        """Nothing of the caller's but where programs are."""
        return {"HOME": str(self.home), "PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "TERM": "vt100"}

    def configure(self, name: str, text: str) -> Path:
        """A configuration file in the client's home, for its eyes only."""
        path = self.home / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def delivery_agent(self) -> Path:
        """A program that writes each message it is given into a file of its own in ``fetched``."""
        self.fetched.mkdir(exist_ok=True)
        path = self.home / "deliver"
        path.write_text(f'#!/bin/sh\ncd "{self.fetched}" && exec cat > "$(ls | wc -l)"\n')
        path.chmod(0o700)
        return path


class Maildrop(Home):
    """Alice's maildrop on disk and at an address, and what a client that fetches from it needs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.messages: list[AwkwardMessage] = awkward_messages()
        self._maildir = folder / "mail" / self.user
        self._template = folder / "mail" / "{user}"
        self._passwords = folder / "passwd"
        self._passwords.write_text(f"{self.user}:{{PLAIN}}{self.password}\n")
        make_maildir(self._maildir)
        for number, message in enumerate(self.messages, 1):
            # delivered one a second, every second one seen by another program
            name = f"{1_700_000_000 + number}.M{number}P1.example"
            path = self._maildir / ("new" if number % 2 else "cur") / (name if number % 2 else f"{name}:2,S")
            path.write_bytes(message.content)

    def app(self) -> POP3Server:
        """What serves it."""
        pop3d = POP3Server(hostname="pop.example.org")
        pop3d.register(MaildropService(MaildirStore(str(self._template)), PasswordFile(self._passwords)))
        return pop3d

    def is_empty(self) -> bool:
        """Whether nothing is left: on disk, and as the server says."""
        box = poplib.POP3(*self.address, timeout=SECONDS)
        box.user(self.user)
        box.pass_(self.password)
        said = box.stat()
        box.quit()
        on_disk = [path for folder in ("new", "cur", "tmp") for path in (self._maildir / folder).iterdir()]
        return (said, on_disk) == ((0, 0), [])

    def run(self, *command: object) -> bytes:
        """Run a client to its end; what it printed. Fails the test if it fails."""
        done = subprocess.run(
            [str(word) for word in command],
            env=self.environment(),
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")
        return done.stdout

    def run_in_terminal(self, *command: object) -> None:
        """As ``run``, for a program that wants a terminal."""
        terminal, side = pty.openpty()
        shown = b""
        ends = time.monotonic() + SECONDS
        with subprocess.Popen(
            [str(word) for word in command],
            env=self.environment() | {"LINES": "24", "COLUMNS": "80"},
            cwd=self.home,
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
        ) as running:
            os.close(side)
            try:
                while select.select([terminal], [], [], max(0, ends - time.monotonic()))[0]:
                    shown += os.read(terminal, 65536)
            except OSError:
                running.wait(SECONDS)  # the terminal was closed at the other side
            finally:
                running.kill()
                os.close(terminal)
        assert running.returncode == 0, shown.decode("utf-8", "replace")


def make_maildir(path: Path) -> None:
    for folder in ("new", "cur", "tmp"):
        (path / folder).mkdir(parents=True)
