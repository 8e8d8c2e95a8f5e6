"""The server that the worker tests serve: real maildrops, and verbs that tell which process answers.

What it is like is said in the environment: WORKERS_ROOT is a folder with Maildirs, ``passwords`` and ``generation``;
with WORKERS_GATE a server takes until there is a file ``open`` in that folder to be made.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import gevent

from geventpop3 import POP3Server, ok
from geventpop3.auth.passwd import PasswordFile
from geventpop3.plugins.access_log import AccessLog
from geventpop3.server.tls import Certificates
from geventpop3.service import MaildropService
from geventpop3.stores.maildir import MaildirStore


def root() -> Path:
    return Path(os.environ["WORKERS_ROOT"])


def generation() -> str:
    """What stands for a configuration: it changes between reloads."""
    return (root() / "generation").read_text().strip()


def make(configured: str | None = None) -> POP3Server:
    """A server that was not started; its own place would fail to bind."""
    found = generation() if configured is None else configured
    tls_port = os.environ.get("WORKERS_TLS_PORT")
    pop3d = POP3Server(
        listen=["192.0.2.1:1"],
        tls=Certificates([(str(root() / "chain.pem"), None)]) if tls_port else None,
        tls_listen=[f"127.0.0.1:{tls_port}"] if tls_port else [],
        shutdown_grace=1.0,
    )
    pop3d.register(MaildropService(MaildirStore(f"{root()}/{{user}}"), PasswordFile(str(root() / "passwords"))))
    pop3d.register(AccessLog())

    @pop3d.on("cmd_xwho")
    def who(_pop3d: Any, _event: Any) -> Any:
        return ok(f"{os.getpid()} {found}")

    @pop3d.on("cmd_xhang")
    def hang(_pop3d: Any, _event: Any) -> Any:
        time.sleep(3600)

    @pop3d.on("cmd_xend")
    def end(pop3d: POP3Server, _event: Any) -> Any:
        pop3d.shutdown()
        return ok("as you wish")

    @pop3d.on("registered")
    @pop3d.on("unregistered")
    def told(_pop3d: Any, event: Any) -> None:
        tell(event.name)

    if "WORKERS_GATE" in os.environ:
        tell("loading")
        while not (root() / "open").exists():
            gevent.sleep(0.005)
        gevent.sleep(0.005)  # once more, for the signal that came before the file
    return pop3d


def tell(name: str) -> None:
    """Tell the test what happens in this process."""
    with (root() / "events").open("a") as file:
        file.write(f"{name} {os.getpid()}\n")
