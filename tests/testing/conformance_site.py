"""geventpop3 itself as the server that is examined: one account with a Maildir, TLS, and all that it offers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from authority import Authority

from geventpop3 import POP3Server
from geventpop3.auth.passwd import PasswordFile
from geventpop3.server.tls import Certificates
from geventpop3.service import MaildropService
from geventpop3.stores.maildir import MaildirStore
from geventpop3.testing import Address, serve
from geventpop3.testing.conformance import Target

USER = "alice"
PASSWORD = "sesame open"


class Site:
    """A running server, its Maildir, and the target that a run is given."""

    def __init__(self, address: Address, maildir: Path) -> None:
        self.address = address
        self.maildir = maildir

    def target(self, **options: Any) -> Target:
        values = {
            "host": self.address.host,
            "port": self.address.port,
            "user": USER,
            "password": PASSWORD,
            "timeout": 5,
        }
        return Target(**{**values, **options})

    def deliver(self, *messages: bytes) -> None:
        for number, message in enumerate(messages):
            (self.maildir / "new" / f"{number}.M1P1.host").write_bytes(message)

    def files(self) -> dict[str, bytes]:
        return {
            path.name.partition(":")[0]: path.read_bytes()
            for part in ("new", "cur")
            for path in (self.maildir / part).iterdir()
        }


@contextmanager
def site(folder: Path, authority: Authority | None = None, **options: Any) -> Iterator[Site]:
    """Serve a Maildir below *folder*; *options* are those of MaildropService."""
    maildir = folder / "mail" / USER
    for part in ("tmp", "new", "cur"):
        (maildir / part).mkdir(parents=True)
    passwords = folder / "passwords"
    passwords.write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")

    def application() -> POP3Server:
        tls = None if authority is None else Certificates([authority.pair(folder, "127.0.0.1")])
        pop3d = POP3Server(
            hostname="pop.example.org",
            listen=[("127.0.0.1", 0)],
            tls=tls,
            tls_listen=[("127.0.0.1", 0)] if authority is not None else (),
        )
        pop3d.register(
            MaildropService(MaildirStore(str(folder / "mail" / "{user}")), PasswordFile(str(passwords)), **options)
        )
        return pop3d

    with serve(application) as address:
        yield Site(address, maildir)
