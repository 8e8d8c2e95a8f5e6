"""The ways to a server (clear text, STLS, TLS from the start), an authority that signs, and a server for each way."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import trustme

from geventpop3 import POP3Server
from geventpop3.server.tls import Certificates

Wire = Literal["clear", "stls", "pop3s"]
WIRES: tuple[Wire, ...] = ("clear", "stls", "pop3s")
HOST = "localhost"
"""The name in the server's certificate."""


class Authority:
    """A certificate authority that clients are told to trust, and what it signed: PEM files."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.certificate = folder / "authority.pem"
        authority.cert_pem.write_to_path(str(self.certificate))
        self.server = folder / "server.pem"
        authority.issue_cert(HOST, "127.0.0.1", common_name=HOST).private_key_and_cert_chain_pem.write_to_path(
            str(self.server)
        )
        self.alice = folder / "alice.pem"
        alice = authority.issue_cert("desk.example.org", common_name="alice")
        alice.private_key_and_cert_chain_pem.write_to_path(str(self.alice))


class WireServer(POP3Server):
    """A server that is reached by *wire*, and notes how logins went: mechanism, and whether by TLS."""

    def __init__(self, wire: Wire, authority: Authority) -> None:
        super().__init__(
            hostname="pop.example.org",
            tls=None
            if wire == "clear"
            else Certificates([(str(authority.server), None)], client_ca=str(authority.certificate)),
            tls_listen=[("127.0.0.1", 0)] if wire == "pop3s" else (),
        )
        self.wire = wire
        self.logins: list[tuple[str, bool]] = []
        self.on("authenticated")(self._note)

    def start(self, listen: Iterable[Any] | None = None) -> None:
        # the test kit says where to listen, but knows of clear text only
        super().start(None if self.wire == "pop3s" else listen)

    def _note(self, pop3d: POP3Server, event: Any) -> None:
        self.logins.append((event.args[1], event.client.secure))
